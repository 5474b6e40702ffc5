"""A track read window by window is the track read whole, in bounded memory."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from soundspot.errors import MediaError
from soundspot.media.audio import as_sound, read_sound
from soundspot.media.sound_track import SoundTrack

RATE = 16_000


def noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    drawn = np.random.default_rng(0).normal(0, 0.1, (round(seconds * rate), channels))
    return drawn[:, 0] if channels == 1 else drawn


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_windows_are_cut_out_of_the_whole(tmp_path, rate, suffix):
    path = tmp_path / f"noise.{suffix}"
    soundfile.write(path, noise(7.3, rate, 2), rate)
    whole = read_sound(path, RATE)
    with SoundTrack(path, RATE) as track:
        for start, stop in ((0, 2), (0.5, 2.5), (0.5, 1.0), (1.7, 3.333), (4, 6), (6.5, 9)):
            found = track.window(start, stop)
            assert np.allclose(found, whole[round(start * RATE) : round(stop * RATE)], atol=1e-6)
        assert track.end == len(whole) / RATE


def test_reading_may_begin_anywhere(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise(9, 44_100), 44_100)
    whole = read_sound(path, RATE)
    for after in (0.05, 1.0, 3.21, 8.9):
        with SoundTrack(path, RATE, after) as track:
            stop = after + 0.5
            found = track.window(after, stop)
            assert np.allclose(found, whole[round(after * RATE) : round(stop * RATE)], atol=2e-4)


@pytest.mark.parametrize("kind", [np.float64, np.int16, np.float32])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("flipped", [False, True])
def test_samples_are_cut_like_files(kind, channels, flipped):
    samples = noise(3, 22_050, channels)
    samples = (samples * 20_000).astype(kind) if kind is np.int16 else samples.astype(kind)
    given = samples.T if flipped else samples
    whole = as_sound((given, 22_050), RATE)
    track = SoundTrack((given, 22_050), RATE)
    parts = [track.window(t, t + 0.5) for t in np.arange(0, 3, 0.5)]
    assert np.allclose(np.concatenate(parts), whole, atol=1e-6)


def test_before_and_behind_there_is_nothing():
    track = SoundTrack((np.ones(RATE, np.float32) / 2, RATE), RATE)
    assert len(track.window(-1, 0)) == 0
    assert len(track.window(-1, 0.25)) == RATE // 4
    assert len(track.window(0.75, 1.5)) == RATE // 4
    assert len(track.window(2, 3)) == 0
    with pytest.raises(ValueError, match="forwards"):
        track.window(0, 1)


def test_pieces_are_asked_for_only_as_far_as_a_window_reaches():
    asked = []

    def pieces():
        for number in range(100):
            asked.append(number)
            yield np.full(RATE // 10, number / 100, np.float32)

    track = SoundTrack((pieces(), RATE), RATE)
    assert track.window(0, 1.0)[-1] == pytest.approx(0.09)
    assert len(asked) <= 11
    assert track.window(5, 6)[0] == pytest.approx(0.5)
    assert len(asked) <= 61


def test_loud_windows_are_divided_by_their_own_peak():
    samples = np.concatenate([np.full(RATE, 0.5), np.full(RATE, -4.0)]).astype(np.float32)
    track = SoundTrack((samples, RATE), RATE)
    assert track.window(0, 1).max() == 0.5
    assert track.window(1, 2).min() == -1


def test_a_broken_track_is_heard_up_to_where_it_breaks(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise(4, RATE), RATE, subtype="PCM_16")
    whole = read_sound(path, RATE)
    path.write_bytes(path.read_bytes()[: 44 + 2 * RATE * 2])
    track = SoundTrack(path, RATE)
    assert np.allclose(track.window(1, 3), whole[RATE : 2 * RATE], atol=1e-6)
    track.check(1.99)
    with pytest.raises(MediaError, match=r"noise.wav is damaged or cut short after 2\.00 s"):
        track.check(2.0)


def test_no_sound_is_said_when_it_is_asked_for(tmp_path):
    path = tmp_path / "mute.mp4"
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    track = SoundTrack(path, RATE)
    assert len(track.window(0, 1)) == 0
    with pytest.raises(MediaError, match=r"mute.mp4 is a video without a sound track; give a wav"):
        track.check(0)
    for wrong in (3, ("a", 1, 2), (np.zeros((2, 2, 2)), RATE), (np.full(9, np.nan), RATE)):
        track = SoundTrack(wrong, RATE)
        track.window(0, 1)
        with pytest.raises(MediaError, match="the sound"):
            track.check(0)


def test_memory_is_that_of_a_window(tmp_path):
    peaks = []
    for seconds in (60, 600):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, np.zeros(seconds * RATE, np.int16), RATE)
        tracemalloc.start()
        with SoundTrack(path, RATE) as track:
            for start in range(0, seconds, 5):
                track.window(start, start + 2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


def test_real_films_are_heard_as_read_whole(shared_data):
    def level(samples):  # a film that is too loud is divided by its peak, a window by its own
        return samples / np.abs(samples).max()

    for path in sorted((shared_data / "videos").glob("*.mp4")):
        whole = read_sound(path, RATE)
        for after in (0.0, 1.0):
            with SoundTrack(path, RATE, after) as track:
                for start in np.arange(after, 3, 0.5):
                    wanted = whole[round(start * RATE) : round((start + 0.5) * RATE)]
                    found = track.window(start, start + 0.5)[: len(wanted)]
                    assert np.allclose(level(found), level(wanted), atol=2e-3)
