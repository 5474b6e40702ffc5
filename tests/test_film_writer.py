"""Films that are written: every frame at its time, the sound's own bytes, in sync, or no file."""

from __future__ import annotations

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from films import SIZE, scene, sound_packets
from films import write_film as make_film
from soundspot.errors import MediaError, OptionError
from soundspot.media.audio import read_sound
from soundspot.media.film_pictures import CLOCK, PictureFile
from soundspot.media.film_sound import plan_sound
from soundspot.media.film_writer import SoundFrom, join, pictures_end, write_film
from soundspot.media.video import frame_times, frames, read_frame, read_info

RATE = 48_000
SECONDS = 3.0
TICK = 1 / 1000 + 1e-6
"""Seconds: of mkv and of the made clips."""
UNEVEN = list(itertools.accumulate([0.04, 0.04, 0.1, 0.3, 0.04, 0.02] * 5, initial=0.0))[:-1]


def noise(seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """Bursts: a shift of one sample shows in the correlation."""
    rng = np.random.default_rng(0)
    wave = rng.uniform(-0.4, 0.4, round(seconds * rate)).astype(np.float32)
    return np.convolve(wave, np.ones(8, np.float32) / 8, "same")


def copy(clip, film, start=0.0, stop=None):
    info = read_info(clip)
    size = info.width, info.height
    with write_film(film, size, info.rate, sound_from=clip, start=start, stop=stop) as writer:
        for time, picture in frames(clip, start, stop):
            writer.write(time, picture)
    return film


def lag(a: np.ndarray, b: np.ndarray, rate: int, begin: float = 0.3, reach: float = 0.2) -> float:
    """By how many seconds `b` comes after `a`, from a second of both."""
    first, span, room = round(begin * rate), round(0.5 * rate), round(reach * rate)
    piece = a[first : first + span]
    around = b[first - room : first + span + room]
    return (int(np.correlate(around, piece, "valid").argmax()) - room) / rate


CLIPS = {
    "aac.mp4": ("libx264", "aac"),
    "mp3.mp4": ("libx264", "libmp3lame"),
    "opus.mkv": ("mpeg4", "libopus"),
    "opus.webm": ("libvpx", "libopus"),
    "mp3.avi": ("mpeg4", "libmp3lame"),
    "pcm.mov": ("mpeg4", "pcm_s16le"),
    "flac.mkv": ("libx264", "flac"),
}
COPIED_IN_MP4 = {"aac.mp4", "mp3.mp4", "opus.mkv", "opus.webm", "mp3.avi", "flac.mkv"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("clips")
    times = [n / 25 for n in range(round(25 * SECONDS))]
    return {
        name: make_film(folder / name, times, wave=noise(), codec=codec, sound=sound, rate=RATE)
        for name, (codec, sound) in CLIPS.items()
    }


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("name", CLIPS)
def test_frames_and_sound_are_those_of_the_clip(name, suffix, clips, tmp_path):
    clip = clips[name]
    plan = plan_sound(clip, tmp_path / f"out{suffix}")
    film = copy(clip, tmp_path / f"out{suffix}")
    assert frame_times(film) == pytest.approx(frame_times(clip), abs=TICK)
    assert read_info(film).seconds == pytest.approx(read_info(clip).seconds, abs=0.04)
    if suffix == ".mkv" or (suffix == ".mp4" and name in COPIED_IN_MP4):
        assert (plan.copied, plan.note) == (True, None)
    if plan.copied:
        before, after = sound_packets(clip), sound_packets(film)
        lost = len(before) - len(after)  # what lies before second 0 where no edit list can say so
        assert lost <= (1 if suffix == ".mkv" else 0)
        assert [data for _, data in after] == [data for _, data in before[lost:]]
        times = [time for time, _ in after]
        assert times == pytest.approx([time for time, _ in before[lost:]], abs=2 * TICK)
    heard = read_sound(clip, RATE), read_sound(film, RATE)
    assert abs(lag(*heard, RATE)) <= TICK


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_film_says_the_rate_of_its_frames(suffix: str, clips, tmp_path):
    with av.open(copy(clips["aac.mp4"], tmp_path / f"out{suffix}")) as film:
        assert float(film.streams.video[0].average_rate or 0) == pytest.approx(25, abs=0.01)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("name", CLIPS)
def test_a_range_starts_and_ends_where_asked(name, suffix, clips, tmp_path):
    clip, start, stop = clips[name], 0.74, 2.34
    film = copy(clip, tmp_path / f"out{suffix}", start, stop)
    origin = frame_times(clip)[0]
    wanted = [t for t in frame_times(clip) if start - 0.04 + 1e-6 < t < stop - 1e-6]
    shown = [max(0.0, t - start) for t in wanted]
    assert frame_times(film) == pytest.approx(shown, abs=TICK), origin
    assert read_info(film).seconds == pytest.approx(stop - start, abs=0.04)
    whole, part = read_sound(clip, RATE), read_sound(film, RATE)
    assert abs(lag(whole[round(start * RATE) :], part, RATE)) <= 1.5 * TICK


def test_what_cannot_be_copied_is_said(clips, tmp_path):
    plan = plan_sound(clips["pcm.mov"], "where.mp4")
    assert (plan.codec, plan.copied) == ("pcm_s16le", False)
    assert plan.note is not None
    assert "pcm_s16le sound does not go into .mp4; it is encoded again as AAC" in plan.note
    film = copy(clips["pcm.mov"], tmp_path / "where.mp4")
    with av.open(str(film)) as opened:
        assert opened.streams.audio[0].codec_context.name == "aac"
    assert plan_sound(clips["pcm.mov"], "where.mov").copied


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_rate_that_varies_and_a_late_start(suffix, tmp_path):
    times = [0.5 + t for t in UNEVEN]
    clip = make_film(tmp_path / "late.mp4", times, wave=noise(4.0), rate=RATE)
    film = copy(clip, tmp_path / f"out{suffix}")
    assert frame_times(clip) == pytest.approx(times, abs=TICK)
    assert frame_times(film) == pytest.approx(times, abs=2 * TICK)
    assert abs(lag(read_sound(clip, RATE), read_sound(film, RATE), RATE)) <= TICK


def test_a_sound_that_starts_late(tmp_path):
    times = [n / 25 for n in range(75)]
    clip = make_film(tmp_path / "clip.mp4", times, wave=noise(2.0), rate=RATE, sound_start=0.6)
    film = copy(clip, tmp_path / "out.mp4")
    heard = [read_sound(path, RATE) for path in (clip, film)]
    assert [int(np.flatnonzero(np.abs(h) > 0.05)[0]) / RATE for h in heard] == pytest.approx(
        [0.6, 0.6], abs=0.03
    )
    assert abs(lag(*heard, RATE, begin=1.0)) <= TICK
    assert frame_times(film) == pytest.approx(times, abs=TICK)


def test_an_edit_list(tmp_path):
    whole = make_film(tmp_path / "whole.mp4", [n / 10 for n in range(30)], wave=noise(), rate=RATE)
    clip = tmp_path / "cut.mp4"
    with av.open(whole) as source, av.open(clip, "w", options={"avoid_negative_ts": "0"}) as out:
        tracks = {s.index: out.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                shift = round(Fraction(7, 10) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = tracks[packet.stream_index]
                out.mux(packet)
    film = copy(clip, tmp_path / "out.mp4")
    assert len(frame_times(clip)) == 23
    assert frame_times(film) == pytest.approx(frame_times(clip), abs=TICK)
    assert abs(lag(read_sound(clip, RATE), read_sound(film, RATE), RATE)) <= TICK


def test_turned_clips_and_oblong_pixels_become_plain(tmp_path):
    turned = make_film(tmp_path / "t.mp4", [0.0, 0.1], turn=90)
    film = copy(turned, tmp_path / "out.mp4")
    info = read_info(film)
    assert (info.width, info.height, info.turned) == (SIZE[1], SIZE[0], 0)
    wide = make_film(tmp_path / "w.mp4", [0.0, 0.1], aspect=Fraction(4, 3))
    film = copy(wide, tmp_path / "wide.mp4")
    assert (read_info(film).width, read_info(film).height) == (SIZE[0] * 4 // 3, SIZE[1])
    with av.open(str(film)) as opened:
        assert opened.streams.video[0].sample_aspect_ratio == 1


def test_an_odd_size_keeps_its_pixels(tmp_path):
    picture = scene(size=(97, 65))
    with write_film(tmp_path / "odd.mp4", (97, 65)) as writer:
        for n in range(3):
            writer.write(n / 10, picture)
    found = read_frame(tmp_path / "odd.mp4", 0.1)
    assert found.shape == (66, 98, 3)
    assert np.abs(found[:65, :97].astype(int) - picture).mean() < 6
    assert np.abs(found[65, :].astype(int) - found[64, :]).mean() < 4


def test_colours_come_back(tmp_path):
    picture = np.full((64, 64, 3), (200, 50, 30), np.uint8)
    with write_film(tmp_path / "red.mp4", (64, 64)) as writer:
        writer.write(0.0, picture)
    assert np.abs(read_frame(tmp_path / "red.mp4", 0.0).astype(int) - picture).max() <= 6


def test_parts_join_without_a_seam(tmp_path):
    parts, times = [], [n / 30 for n in range(20)]
    for number, group in enumerate((times[:7], times[7:15], times[15:])):
        parts.append(tmp_path / f"{number}.nut")
        with PictureFile(parts[-1], SIZE, 30) as pictures:
            for time in group:
                pictures.write(time, scene(red=(round(60 * time), 8, round(60 * time) + 24, 32)))
    join(parts, tmp_path / "whole.mp4", until=21 / 30)
    assert frame_times(tmp_path / "whole.mp4") == pytest.approx(times, abs=float(CLOCK))
    assert pictures_end(tmp_path / "whole.mp4") == pytest.approx(0.7, abs=1e-3)
    for time, picture in frames(tmp_path / "whole.mp4"):
        middle = np.average(np.arange(SIZE[0]), weights=(picture[16, :, 0] > 140) + 1e-9)
        assert middle == pytest.approx(60 * time + 11.5, abs=1.2)
    with PictureFile(tmp_path / "other.nut", (32, 32)) as pictures:
        pictures.write(1.0, scene(size=(32, 32)))
    with pytest.raises(MediaError, match=r"other.nut: was encoded by another encoder"):
        join([parts[0], tmp_path / "other.nut"], tmp_path / "mixed.mp4")
    assert not (tmp_path / "mixed.mp4").exists()


def test_pictures_may_be_made_in_the_encoders_thread(tmp_path):
    with write_film(tmp_path / "made.mp4", SIZE) as writer:
        for n in range(30):
            writer.write(n / 25, scene)
    assert len(frame_times(tmp_path / "made.mp4")) == 30


def test_two_frames_at_one_time_are_kept_apart(tmp_path):
    with write_film(tmp_path / "same.mp4", SIZE) as writer:
        for time in (0.0, 0.0, 0.04):
            writer.write(time, scene())
    assert len(set(frame_times(tmp_path / "same.mp4"))) == 3


def test_nothing_is_left_where_something_fails(tmp_path):
    def breaks():
        raise ValueError("no picture")

    def write(made):
        with write_film(tmp_path / "out.mp4", SIZE) as writer:
            for n in range(40):
                writer.write(n / 25, made)

    with pytest.raises(ValueError, match="no picture"):
        write(breaks)
    with pytest.raises(ZeroDivisionError), write_film(tmp_path / "out.mp4", SIZE) as writer:
        writer.write(0.0, scene(size=(1 // 0, 1)))
    with pytest.raises(OptionError, match=r"out.gif: a film is written as .mp4, .m4v, .mov, .mkv"):
        write_film(tmp_path / "out.gif", SIZE).__enter__()
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="cannot be written"):
        write_film(tmp_path / "file" / "out.mp4", SIZE).__enter__()
    with (
        pytest.raises(MediaError, match=r"none.mp4 does not exist"),
        write_film(tmp_path / "out.mp4", SIZE, sound_from=tmp_path / "none.mp4") as writer,
    ):
        writer.write(0.0, scene())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_another_sound(tmp_path):
    wave = tmp_path / "other.wav"
    soundfile.write(wave, noise(), RATE)
    part = tmp_path / "part.nut"
    with PictureFile(part, SIZE) as pictures:
        for n in range(50):
            pictures.write(n / 25, scene())
    join([part], tmp_path / "out.mkv", SoundFrom(wave, 0.5, 2.5), 2.0)
    heard = read_sound(tmp_path / "out.mkv", RATE)
    assert read_info(tmp_path / "out.mkv").seconds == pytest.approx(2.0, abs=0.002)
    assert abs(lag(noise()[RATE // 2 :], heard, RATE)) <= TICK
    join([part], tmp_path / "silent.mp4")
    assert not read_info(tmp_path / "silent.mp4").has_sound
