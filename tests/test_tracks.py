"""Boxes keep their number: overlap first, distance next, a lifetime in seconds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundspot.maps import ScoredBox
from soundspot.streaming.tracks import LIFETIME, Tracks, assign, distances, overlaps


def box(x: float, y: float, side: float = 10) -> ScoredBox:
    return ScoredBox((x, y, x + side, y + side), 0.5)


def ids(tracks: Tracks, time: float, *boxes: ScoredBox, cut: bool = False):
    tracks, found = tracks.follow(time, boxes, cut=cut)
    assert [b.box for b in found] == [b.box for b in boxes]
    return tracks, [b.id for b in found]


def test_overlaps_and_distances_in_closed_form():
    a = np.array([[0, 0, 10, 10.0]])
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 5, 5.0]])
    assert overlaps(a, b)[0] == pytest.approx([1, 1 / 3, 0, 1 / 4])
    assert distances(a, b)[0] == pytest.approx([0, 0.5, 1, np.hypot(2.5, 2.5) / 7.5])


def test_two_things_that_pass_keep_their_numbers():
    tracks, first = ids(Tracks(), 0, box(0, 0), box(100, 8))
    assert first == [1, 2]
    for step in range(1, 30):
        boxes = [box(3 * step, 0), box(100 - 3 * step, 8)]
        tracks, found = ids(tracks, step / 10, *(boxes if step % 2 else boxes[::-1]))
        assert found == ([1, 2] if step % 2 else [2, 1])
    assert tracks.next == 3


def test_the_sum_of_overlaps_counts_not_the_first_come():
    """Greedy would give the old box of 1 to the first new box, and nothing to the second."""
    old, new = [box(0, 0), box(4, 0)], [box(3, 0), box(-5, 0)]
    assert assign([b.box for b in old], [b.box for b in new]) == {0: 1, 1: 0}


def test_a_jump_is_followed_up_to_half_a_size():
    tracks, _ = ids(Tracks(), 0, ScoredBox((0, 0, 40, 4), 1.0))
    assert ids(tracks, 0.1, ScoredBox((0, 5, 40, 9), 1.0))[1] == [1]
    assert ids(tracks, 0.1, ScoredBox((0, 30, 40, 34), 1.0))[1] == [2]


def test_lifetime_is_in_seconds():
    tracks, _ = ids(Tracks(), 0, box(0, 0))
    for rate in (2, 30):
        gone = tracks
        for n in range(1, round(LIFETIME * rate)):
            gone, _ = ids(gone, n / rate)
        assert ids(gone, LIFETIME, box(0, 0))[1] == [1]
        assert ids(gone, LIFETIME + 0.01, box(0, 0))[1] == [2]


def test_a_cut_ends_all_tracks_and_numbers_are_never_given_twice():
    tracks, _ = ids(Tracks(), 0, box(0, 0), box(50, 0))
    tracks, found = ids(tracks, 0.1, box(0, 0), cut=True)
    assert found == [3]
    assert ids(tracks, 0.2, box(0, 0), box(50, 0))[1] == [3, 4]


corners = st.integers(0, 50)
boxes = st.lists(
    st.builds(lambda x, y, w, h: ScoredBox((x, y, x + w, y + h), 0.5), *[corners.map(int)] * 2,
              st.integers(1, 30), st.integers(1, 30)),
    max_size=5,
)  # fmt: skip


@given(st.lists(boxes, max_size=6))
def test_laws(frames):
    tracks = Tracks()
    for n, found in enumerate(frames):
        tracks, numbered = tracks.follow(n / 5, found)
        given_ids = [b.id for b in numbered]
        assert len(set(given_ids)) == len(found)
        assert all(1 <= i < tracks.next for i in given_ids)
        again = Tracks.from_json(json.loads(json.dumps(tracks.json())))
        assert again == tracks
        distinct = len({b.box for b in found}) == len(found)
        if distinct:  # asked about the same frame again, the same numbers
            assert [b.id for b in tracks.follow(n / 5, found)[1]] == given_ids
