"""Streams: which sound a frame is judged with, smoothing, causality, resuming, bounded memory."""

from __future__ import annotations

import json
import tracemalloc
import weakref
from dataclasses import dataclass, field

import numpy as np
import pytest
import soundfile
import torch

import soundspot
from soundspot.errors import MediaError, OptionError
from soundspot.facts import Calibration, ModelFacts
from soundspot.media.audio import read_sound, write_sound
from soundspot.media.video import frame_times
from soundspot.similarity import Evidence
from soundspot.streaming import SMOOTH
from soundspot.streaming.engine import BATCH_BYTES
from soundspot.streaming.hearing import SHORTEST, Windows
from soundspot.streaming.looking import AHEAD_BYTES
from soundspot.streaming.shots import Shots
from soundspot.streaming.smoothing import weight
from test_video import film, number_of

SIDE = 32
RATE = 4_000
SECONDS = 4.0
CLOCK_RATE = 1 / 100
"""The test sound says what time it is: samples rise by this much a second."""


@dataclass
class Toy:
    """Shows the red of a picture as its map; its similarity is the last sample of the window."""

    facts: ModelFacts = field(
        default_factory=lambda: ModelFacts(
            "toy", SIDE, RATE, SECONDS, Calibration(1.0, 0.0, 0.5), "similarity_map"
        )
    )
    heard: list[np.ndarray] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    def __call__(self, images, sounds):
        return self.fix_sound(sounds)(images)

    def fix_sound(self, sounds):
        self.heard.extend(sounds.numpy())
        return Asked(self, sounds.amax(1))


@dataclass
class Asked:
    model: Toy
    sounds: torch.Tensor

    def of(self, rows):
        return Asked(self.model, self.sounds[list(rows)])

    def __call__(self, images):
        return self.own_map(images).similarities

    def own_map(self, images):
        self.model.asked.append(len(images))
        maps = torch.nn.functional.avg_pool2d(images[:, 0], 4)
        return Evidence(maps, self.sounds + 0 * images.mean((1, 2, 3)))


def clock(seconds: float, rate: int = RATE) -> tuple[np.ndarray, int]:
    return (np.arange(round(seconds * rate)) / rate * CLOCK_RATE).astype(np.float32), rate


def grey(value: float, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    return np.full((*size, 3), round(255 * value), np.uint8)


def pictures(times, values=None):
    values = np.full(len(times), 0.5) if values is None else values
    return [(float(t), grey(v)) for t, v in zip(times, values, strict=True)]


def run(frames, sound=None, model=None, **options):
    options = {"smooth": 0.0, **options}
    return list(soundspot.stream(frames, sound or clock(20), model or Toy(), **options))


def level(moment) -> float:
    """The red that the moment's map shows."""
    return float(moment.result.map.mean())


def similarity(moment) -> float:
    confidence = moment.result.confidence
    return float(np.log(confidence / (1 - confidence)))


# --- windows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(("window", "hop"), [(2.0, 0.5), (0.4, 0.1), (1.0, 3.0)])
def test_each_frame_hears_the_nearest_window(window, hop, live):
    times = np.arange(3, 9, 1 / 7)
    model = Toy()
    moments = run(pictures(times), model=model, window=window, hop=hop, live=live, batch=3)
    ends = [similarity(m) / CLOCK_RATE for m in moments]
    for time, end in zip(times, ends, strict=True):
        if live:
            assert end <= time
            assert time - end < hop + 2 / RATE
        else:
            assert abs(time - (end - window / 2)) <= hop / 2 + 2 / RATE
    on_the_grid = (np.array(ends) - (0 if live else window / 2)) / hop
    assert np.allclose(on_the_grid, np.round(on_the_grid), atol=0.01)
    for samples in filter(np.any, model.heard):  # the window, again and again
        part = round(window * RATE)
        assert np.allclose(samples[part : 2 * part], samples[:part][: len(samples) - part])
        assert samples[0] == pytest.approx(samples.max() - window * CLOCK_RATE, abs=1e-5)


def test_each_window_is_heard_once_and_only_where_it_is_needed():
    model = Toy()
    run(pictures(np.arange(0, 10, 1 / 30)), model=model, hop=0.5, batch=4)
    ends = [float(s.max()) for s in model.heard]
    assert len(set(ends)) == len(ends)
    assert 21 <= len(ends) <= 28  # some are heard ahead
    sparse = Toy()
    run(pictures(np.arange(0, 10, 2.5)), model=sparse, hop=0.5, batch=4)
    assert len(sparse.heard) == 4


def test_windows_are_where_the_docstring_says():
    offline, live = Windows(2.0, 0.5, False), Windows(2.0, 0.5, True)
    assert [offline.number(t) for t in (0, 0.24, 0.25, 0.5, 0.75)] == [0, 0, 1, 1, 2]
    assert [live.number(t) for t in (0, 0.24, 0.499, 0.5, 0.99)] == [0, 0, 0, 1, 1]
    assert (offline.span(4), live.span(4)) == ((1.0, 3.0), (0.0, 2.0))
    assert [Windows(1, 0.1, True).number(n * 0.1) for n in range(100)] == list(range(100))


def test_silence_is_never_visible():
    sound = np.concatenate([clock(10)[0] + 0.3, np.zeros(10 * RATE, np.float32)])
    moments = run(pictures(np.arange(0, 20, 0.5)), (sound, RATE), window=1.0, smooth=1.0)
    for moment in moments:
        silent = moment.time >= 10.5
        assert moment.result.visible is not silent
        assert (moment.result.confidence == 0) is silent
    behind = run(pictures([0.0, 50.0]), clock(10))
    assert [m.result.confidence > 0 for m in behind] == [True, False]
    short = run(pictures([0.0]), (np.full(round(SHORTEST * RATE) - 1, 0.5), RATE))
    assert short[0].result.confidence == 0


# --- smoothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [np.arange(40) / 20, np.cumsum([0.03, 0.11, 0.02, 0.2] * 10)])
@pytest.mark.parametrize("live", [False, True])
def test_smoothing_in_closed_form(times, live):
    values = 0.5 + 0.04 * np.sin(7 * np.arange(len(times)))
    reach = 0.5
    moments = run(pictures(times, values), smooth=reach, live=live, batch=3)
    raw = run(pictures(times, values), live=live)
    apart = times[None] - times[:, None]
    weights = np.where(np.abs(apart) < reach, np.cos(np.pi * apart / (2 * reach)) ** 2, 0)
    weights = np.where(apart > 1e-9, 0, weights) if live else weights
    first = times >= 0.5 if live else times >= 0  # before it, live windows are empty
    weights *= first[None] == first[:, None]
    weights /= weights.sum(1, keepdims=True)
    assert [level(m) for m in moments] == pytest.approx(weights @ [level(m) for m in raw], abs=1e-5)
    sound = first & (np.arange(len(times)) >= 0)
    wanted = weights[sound] @ [similarity(m) if s else 0 for m, s in zip(raw, sound, strict=True)]
    found = [similarity(m) for m, s in zip(moments, sound, strict=True) if s]
    assert found == pytest.approx(wanted, abs=1e-6)


def test_offline_smoothing_has_no_lag():
    times = np.arange(60) / 20
    moments = run(pictures(times, 0.4 + times / 20), smooth=0.5)
    inner = [(level(m), 0.4 + m.time / 20) for m in moments if 0.5 <= m.time <= 2.4]
    assert inner
    assert all(found == pytest.approx(true, abs=2e-3) for found, true in inner)
    late = run(pictures(times, 0.4 + times / 20), smooth=0.5, live=True)[40]
    assert (0.4 + late.time / 20 - level(late)) * 20 == pytest.approx(0.3 * 0.5, abs=0.03)


def test_weights_are_even_and_end_at_zero():
    assert [weight(t, 2.0) for t in (0, 1, -1, 2, -2, 3)] == pytest.approx([1, 0.5, 0.5, 0, 0, 0])


def test_without_smoothing_each_frame_is_what_locate_says():
    rng = np.random.default_rng(0)
    shown = [rng.integers(0, 256, (40, 60, 3), np.uint8) for _ in range(5)]
    sound = rng.normal(0, 0.1, int(SECONDS * RATE)).astype(np.float32)
    frames = [(2.0, p) for p in shown]
    moments = run(frames, (sound, RATE), window=SECONDS)
    for picture, moment in zip(shown, moments, strict=True):
        alone = soundspot.locate(Toy(), picture, (sound, RATE))
        assert np.allclose(moment.result.map, alone.map, atol=1e-6)
        assert moment.result.confidence == pytest.approx(alone.confidence)
        assert (moment.result.boxes, moment.result.visible) == (alone.boxes, alone.visible)
        assert [t.box for t in moment.tracks] == [b.box for b in alone.boxes]
        assert np.array_equal(moment.result.picture, picture)


def test_nothing_is_smeared_over_a_cut():
    times = np.arange(40) / 20
    values = np.where(times < 1, 0.2, 0.7)
    moments = run(pictures(times, values), smooth=0.5)
    assert [level(m) for m in moments] == pytest.approx(np.round(255 * values) / 255, abs=1e-5)
    fade = run(pictures(times, np.clip(times / 2, 0, 1)), smooth=0.5)
    assert level(fade[20]) == pytest.approx(0.5, abs=0.01)


def test_shots_are_counted_by_what_stands_out():
    rng = np.random.default_rng(0)
    scenes = [rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(12, 0).repeat(12, 1) for _ in "abc"]
    shots = Shots()
    moved = [np.roll(scene, step, 1) for scene in scenes for step in range(10)]
    assert [shots.see(p) for p in moved] == [n // 10 for n in range(30)]
    restless = Shots()
    assert [restless.see(grey(v)) for v in (0.1, 0.15, 0.3, 0.45, 0.6, 0.75, 0.6)][2:] == [1] * 5


# --- live ------------------------------------------------------------------------------------


def test_live_answers_do_not_know_the_future():
    rng = np.random.default_rng(0)
    times = np.arange(60) / 10
    values = rng.uniform(0.4, 0.6, 60)
    sound = rng.normal(0, 0.1, 6 * RATE).astype(np.float32)
    whole = run(pictures(times, values), (sound, RATE), smooth=0.7, live=True, batch=8)
    for length in (1, 13, 37):
        other = sound.copy()
        other[round(times[length - 1] * RATE) + 1 :] = 0.9
        part = [*pictures(times, values)[:length], *pictures(times[length:], 1 - values[length:])]
        again = run(part, (other, RATE), smooth=0.7, live=True, batch=8)
        for a, b in zip(whole[:length], again[:length], strict=True):
            assert np.array_equal(a.result.map, b.result.map)
            assert (a.result.confidence, a.tracks) == (b.result.confidence, b.tracks)


@pytest.mark.parametrize("every", [1, 3])
def test_live_frames_are_answered_as_they_come(every):
    taken = []

    def camera():
        for time, picture in pictures(np.arange(20) / 10):
            taken.append(time)
            yield time, picture

    moments = soundspot.stream(camera(), clock(2), Toy(), live=True, every=every)
    for number, moment in enumerate(moments):
        assert len(taken) == number + 1
        assert moment.time == taken[-1]


# --- which frames ----------------------------------------------------------------------------


def test_every_nth_frame_is_judged_and_the_others_repeat_it():
    times = np.arange(20) / 10
    values = np.linspace(0.3, 0.5, 20)
    for batch in (1, 3, 8):
        model = Toy()
        moments = run(pictures(times, values), model=model, every=4, batch=batch)
        assert [m.time for m in moments] == pytest.approx(times)
        assert [m.repeated for m in moments] == [n % 4 != 0 for n in range(20)]
        assert [m.index for m in moments] == [n // 4 for n in range(20)]
        assert sum(model.asked) == 5
        for n, moment in enumerate(moments):
            assert level(moment) == pytest.approx(round(255 * values[n - n % 4]) / 255, abs=1e-6)
            assert np.array_equal(moment.result.picture, grey(values[n]))
            assert moment.tracks == moments[n - n % 4].tracks


def test_a_frame_of_another_size_is_judged():
    frames = [(n / 10, grey(0.5, (SIDE + 8 * (n > 4), SIDE))) for n in range(8)]
    moments = run(frames, every=3)
    assert [m.repeated for m in moments] == [False, True, True, False, True, False, False, True]
    assert all(m.result.map.shape == m.result.picture.shape[:2] for m in moments)


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
@pytest.mark.parametrize("every", [1, 3])
def test_answers_do_not_depend_on_the_batch(batch, every):
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.3, 40))
    values = np.random.default_rng(1).uniform(0.4, 0.6, 40)
    options = {"smooth": 0.4, "window": 1.0, "every": every}
    one = run(pictures(times, values), batch=7, **options)
    two = run(pictures(times, values), batch=batch, **options)
    assert [m.state for m in one] == [m.state for m in two]
    for a, b in zip(one, two, strict=True):
        assert np.allclose(a.result.map, b.result.map, atol=1e-6)
        assert a.result.confidence == pytest.approx(b.result.confidence)


# --- films -----------------------------------------------------------------------------------

UNEVEN = np.cumsum([0.0, *([0.04, 0.1, 0.3, 0.04] * 9)])[:-1]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    return film(tmp_path_factory.mktemp("film") / "uneven.mp4", list(UNEVEN), sound=5.0)


def test_frames_of_a_film_keep_their_times(uneven):
    moments = run_film(uneven)
    assert [m.time for m in moments] == frame_times(uneven)
    assert [number_of(m.result.picture) for m in moments] == list(range(len(UNEVEN)))
    part = run_film(uneven, start=1.0, stop=2.5)
    assert [m.time for m in part][1:] == [t for t in frame_times(uneven) if 1.0 < t < 2.5]
    assert part[0].time <= 1.0
    by_time = {m.time: m for m in moments}
    for moment in part:
        assert moment.result.confidence == pytest.approx(by_time[moment.time].result.confidence)


def run_film(path, sound=None, **options):
    options = {"smooth": 0.0, **options}
    return list(soundspot.stream(path, sound, Toy(), **options))


def test_a_film_of_one_frame(tmp_path):
    path = film(tmp_path / "one.mp4", [0.0], sound=1.0)
    (moment,) = run_film(path, smooth=1.0)
    assert (moment.time, moment.index, moment.repeated) == (0.0, 0, False)


def test_what_cannot_be_streamed_is_said_in_one_line(tmp_path, uneven):
    mute = film(tmp_path / "mute.mp4", [0.0, 0.1])
    with pytest.raises(MediaError, match=r"mute\.mp4 is a video without a sound track; give a wav"):
        run_film(mute)
    assert len(run_film(mute, clock(1))) == 2
    wave = tmp_path / "tone.wav"
    write_sound(wave, clock(1)[0], RATE)
    with pytest.raises(MediaError, match=r"tone\.wav is a sound without pictures; give an mp4"):
        run_film(wave)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match="0 bytes"):
        run_film(tmp_path / "empty.mp4")
    with pytest.raises(MediaError, match="not one frame"):
        run([])
    with pytest.raises(MediaError, match=r"at 0\.500 s comes after 1\.000 s"):
        run(pictures([0.0, 1.0, 0.5]))
    bare = np.zeros((8, 9, 3), np.uint8)
    for wrong in ([bare], [(0.0,)], [("0.5", bare)], bare, 3):
        with pytest.raises(MediaError, match=r"or pairs \(time in seconds, picture\)"):
            run(wrong)
    with pytest.raises(OptionError, match="give sound="):
        soundspot.stream(pictures([0.0]), None, Toy())
    for option, match in (
        ({"window": 5.0}, "this model hears 4 s at once"),
        ({"window": 0.0}, "window=0.0 s"),
        ({"hop": -1}, "hop=-1 s"),
        ({"every": 0}, "every=0"),
        ({"smooth": -0.1}, "smooth=-0.1"),
        ({"batch": 0}, "batch=0"),
        ({"start": -1.0}, "start=-1.0"),
        ({"stop": 0.0}, "stop=0.0 s must lie after"),
        ({"window": "2"}, "window='2' s; it must be more than 0"),
        ({"hop": None}, "hop=None s"),
        ({"every": "2"}, "every='2'; it must be a whole number"),
        ({"every": 1.5}, "every=1.5"),
        ({"smooth": "a"}, "smooth='a' s"),
        ({"batch": "a"}, "batch='a'"),
        ({"start": "1"}, "start='1' s"),
        ({"stop": "1"}, "stop='1' s"),
        ({"resume": {"version": 1}}, "give the state of a moment"),
    ):
        with pytest.raises(OptionError, match=match):
            soundspot.stream(uneven, None, Toy(), **option)


def test_frames_before_a_break_are_answered(tmp_path):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 256, (64, 128, 3), np.uint8) for _ in range(100)]
    path = film(
        tmp_path / "whole.mkv", [n / 25 for n in range(100)], codec="mpeg4", pictures=noisy,
        options={"g": "10"},
    )  # fmt: skip
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    seen = []
    with pytest.raises(MediaError, match=r"whole.mkv is damaged or cut short after [12]\.\d\d s"):
        seen.extend(soundspot.stream(path, clock(4), Toy()))
    assert len(seen) > 25
    assert [m.time for m in seen] == pytest.approx(np.arange(len(seen)) / 25, abs=2e-3)


def test_frames_before_the_sound_breaks_are_answered(tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, clock(6)[0] + 0.1, RATE, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: 44 + 2 * RATE * 3])
    for batch in (1, 4, 7):
        seen = []
        frames = pictures(np.arange(60) / 10)
        with pytest.raises(MediaError, match=r"cut.wav is damaged or cut short after 3\.00 s"):
            seen.extend(soundspot.stream(frames, path, Toy(), batch=batch, every=2))
        assert [m.time for m in seen] == pytest.approx(np.arange(30) / 10)


# --- going on --------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("smooth", [0.0, 0.45])
@pytest.mark.parametrize("live", [False, True])
def test_a_stream_goes_on_where_it_stopped(uneven, every, smooth, live):
    options = {"every": every, "smooth": smooth, "live": live, "window": 1.0}
    whole = run_film(uneven, **options)
    for stop in (0, 1, 7, 16, len(whole) - 1):
        state = json.loads(json.dumps(whole[stop].state))
        assert state == whole[stop].state
        rest = run_film(uneven, resume=state, **options)
        assert [m.time for m in rest] == [m.time for m in whole[stop + 1 :]]
        for a, b in zip(whole[stop + 1 :], rest, strict=True):
            assert (a.index, a.repeated, a.state) == (b.index, b.repeated, b.state)
            assert [(t.id, t.box) for t in a.tracks] == [(t.id, t.box) for t in b.tracks]
            assert np.allclose(a.result.map, b.result.map, atol=1e-6)
            assert np.array_equal(a.result.picture, b.result.picture)
            assert a.result.confidence == pytest.approx(b.result.confidence, abs=1e-6)


def test_given_frames_go_on_too():
    frames = pictures(np.arange(30) / 10, np.linspace(0.3, 0.6, 30))
    whole = run(frames, smooth=0.3)
    rest = run(frames, smooth=0.3, resume=whole[11].state)
    assert [m.time for m in rest] == [m.time for m in whole[12:]]
    assert [level(m) for m in rest] == pytest.approx([level(m) for m in whole[12:]], abs=1e-6)


def test_a_state_goes_with_its_settings(uneven):
    state = run_film(uneven)[3].state
    with pytest.raises(OptionError, match=r"begun with every=1, not 2"):
        soundspot.stream(uneven, None, Toy(), smooth=0.0, every=2, resume=state)
    with pytest.raises(OptionError, match=r"begun with smooth=0\.0, not"):
        soundspot.stream(uneven, None, Toy(), smooth=SMOOTH, resume=state)
    with pytest.raises(OptionError, match="another version"):
        soundspot.stream(uneven, None, Toy(), resume={**state, "version": 0})


# --- memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 4])
def test_frames_are_let_go(every):
    """However long the film: at most what smoothing looks at, and a batch, is alive."""
    alive = most = 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def camera():
        nonlocal alive
        for n in range(400):
            picture = grey(0.5)
            weakref.finalize(picture, gone)
            alive += 1
            yield n / 20, picture

    for number, _ in enumerate(
        soundspot.stream(camera(), clock(20), Toy(), batch=4, every=every, smooth=0.5)
    ):
        if number % 20 == 0:
            most = max(most, alive)
    assert most <= 10 + 4 * every + 4


def test_memory_does_not_grow_with_the_film(tmp_path):
    peaks = []
    for count in (30, 150):
        path = film(tmp_path / f"{count}.mp4", [n / 25 for n in range(count)], sound=count / 25)
        run_film(path, stop=0.1)
        tracemalloc.start()
        for _ in soundspot.stream(path, None, Quiet(), batch=4):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000


@dataclass
class Quiet(Toy):
    """Remembers nothing."""

    def fix_sound(self, sounds):
        return Asked(Quiet(), sounds.amax(1))


def test_large_pictures_do_not_pile_up():
    """Bounded by bytes, as an hour of 1080p must be: 8 of them wait, and 8 are in a batch."""
    nbytes = 1080 * 1920 * 3
    assert AHEAD_BYTES // nbytes == BATCH_BYTES // nbytes == 8


# --- the real thing --------------------------------------------------------------------------


def test_a_real_film_with_the_embedded_model(shared_data):
    path = shared_data / "videos" / "friday.mp4"
    model = soundspot.load()
    moments = list(soundspot.stream(path, model=model, method="similarity_map", every=6, stop=2.0))
    assert len(moments) == 60
    assert all(m.result.visible for m in moments)
    assert {m.index for m in moments} == set(range(10))
    alone = soundspot.locate(
        model, moments[30].result.picture, (read_sound(path)[:32_000], 16_000), "similarity_map"
    )
    assert np.corrcoef(alone.map.ravel(), moments[30].result.map.ravel())[0, 1] > 0.8
