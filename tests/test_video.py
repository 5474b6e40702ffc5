"""Videos: the frame a player shows, whatever the rate, the start, the turn and the pixels."""

from __future__ import annotations

import itertools
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from soundspot.errors import MediaError, OptionError
from soundspot.media.video import frame_times, frames, read_frame, read_info

BITS = 8
"""A frame's number stands in it as black and white bars, the highest bit on the left."""
CLOCK = 1000
RATE = 8000
SIZE = (128, 64)


def numbered(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    bars = [255 * (number >> bit & 1) for bit in reversed(range(BITS))]
    row = np.repeat(np.array(bars, np.uint8), size[0] // BITS)
    return np.broadcast_to(row[None, :, None], (size[1], size[0], 3)).copy()


def number_of(picture: np.ndarray) -> int:
    row = picture[picture.shape[0] // 2, :, 1]
    bars = row.reshape(BITS, -1).mean(1) > 127
    return int("".join(str(int(bar)) for bar in bars), 2)


def film(
    path: Path,
    times: list[float],
    *,
    codec: str = "libx264",
    pictures: list[np.ndarray] | None = None,
    sound: float = 0.0,
    aspect: Fraction | None = None,
    turn: tuple[int, bool] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write frames at these times (s); with `sound`, a tone of so many seconds from time 0 on."""
    pictures = pictures or [numbered(n) for n in range(len(times))]
    with av.open(path, "w", container_options=container_options or {}) as out:
        stream = out.add_stream(codec, rate=25, options=options or {"g": "12", "bf": "2"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        track = out.add_stream("aac", rate=RATE, layout="mono") if sound else None
        ends = [*times[1:], times[-1] + 0.04]
        for time, end, picture in zip(times, ends, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = round(time * CLOCK), Fraction(1, CLOCK)
            frame.duration = round(end * CLOCK) - frame.pts
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if track is not None:
            wave = np.sin(np.arange(round(sound * RATE)) / 5).astype(np.float32)[None]
            heard = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            heard.rate, heard.pts = RATE, 0
            out.mux(track.encode(heard))
            out.mux(track.encode())
    return path


UNEVEN = list(itertools.accumulate([0.04, 0.04, 0.1, 0.3, 0.04, 0.02] * 12, initial=0.0))[:-1]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 frames at a rate that varies, key frames 12 apart, with frames stored out of order."""
    return film(tmp_path_factory.mktemp("video") / "uneven.mp4", UNEVEN)


def shown_at(times: list[float], time: float) -> int:
    return max([n for n, t in enumerate(times) if t <= time + 1e-9], default=0)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mp4", "libx264"), ("mov", "mpeg4"), ("mkv", "libx264"), ("avi", "mpeg4"), ("ts", "libx264")],
)
def test_every_frame_is_found_by_its_time(tmp_path, suffix, codec):
    times = [n / 25 for n in range(60)]
    options = {"g": "20", "bf": "0" if suffix == "avi" else "2"}
    path = film(tmp_path / f"even.{suffix}", times, codec=codec, options=options)
    offset = frame_times(path)[0]  # some containers cannot start at 0
    for n in (0, 1, 19, 20, 21, 22, 39, 40, 41, 58, 59):
        assert number_of(read_frame(path, times[n] + offset + 0.02)) == n
    assert [number_of(p) for _, p in frames(path)] == list(range(60))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(0, UNEVEN[-1]))
def test_time_counts_not_the_frame_number(uneven, time):
    nearest = min(abs(time - t) for t in UNEVEN)
    if nearest > 0.002 or nearest < 1e-9:  # mp4 keeps time in ticks
        assert number_of(read_frame(uneven, time)) == shown_at(UNEVEN, time)


def test_the_frames_own_times_give_that_frame(uneven):
    times = frame_times(uneven)
    assert times == pytest.approx(UNEVEN, abs=1e-3)
    for n in (0, 1, 11, 12, 13, 36, 71):
        assert number_of(read_frame(uneven, times[n])) == n


def test_frames_one_after_another(uneven):
    seen = [(time, number_of(picture)) for time, picture in frames(uneven)]
    assert [n for _, n in seen] == list(range(72))
    assert [time for time, _ in seen] == frame_times(uneven)
    part = [number_of(picture) for _, picture in frames(uneven, start=1.0, stop=2.0)]
    assert part == list(range(shown_at(UNEVEN, 1.0), shown_at(UNEVEN, 2.0 - 1e-3) + 1))


def test_a_picture_each_so_many_seconds(uneven):
    seen = [(time, number_of(picture)) for time, picture in frames(uneven, 0.5, 3.0, every=0.25)]
    assert [time for time, _ in seen] == pytest.approx(np.arange(0.5, 3.0, 0.25))
    assert [n for _, n in seen] == [shown_at(UNEVEN, time) for time, _ in seen]
    fast = [number_of(picture) for _, picture in frames(uneven, 0.3, 0.4, every=0.01)]
    assert fast == [3] * 10
    whole = [time for time, _ in frames(uneven, every=1.0)]
    assert whole == pytest.approx(np.arange(0, read_info(uneven).seconds, 1.0))


def test_pictures_that_start_after_the_sound_keep_its_clock(tmp_path):
    times = [0.5 + n / 10 for n in range(10)]
    path = film(tmp_path / "late.mp4", times, sound=2.0)
    assert frame_times(path) == pytest.approx(times, abs=2e-3)
    assert number_of(read_frame(path, 0.0)) == 0
    assert number_of(read_frame(path, 0.95)) == 4
    assert number_of(read_frame(path, 1.9)) == 9  # the sound goes on, the last frame stays
    info = read_info(path)
    assert (info.has_sound, info.seconds) == (True, pytest.approx(2.0, abs=0.15))
    with pytest.raises(MediaError, match=r"late.mp4 ends at 2\.\d\d s, before 3 s"):
        read_frame(path, 3.0)


def test_an_edit_list_that_leaves_frames_out(tmp_path):
    whole = film(tmp_path / "whole.mp4", [n / 10 for n in range(20)], options={"g": "5", "bf": "0"})
    cut = tmp_path / "cut.mp4"
    with av.open(whole) as source, av.open(cut, "w", options={"avoid_negative_ts": "0"}) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                shift = round(Fraction(7, 10) / packet.time_base)  # in the middle of a group
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                out.mux(packet)
    assert len(frame_times(cut)) == 13
    assert [number_of(p) for _, p in frames(cut)] == list(range(7, 20))
    assert number_of(read_frame(cut, 0.0)) == 7
    assert number_of(read_frame(cut, 0.55)) == 12


CORNERS = np.zeros((32, 64, 3), np.uint8)
CORNERS[:16, :32] = 255
"""White where the stored picture is top left."""
WHITE_AT = {  # anticlockwise degrees, then mirrored left to right -> rows, columns of the white
    (0, False): ("top", "left"),
    (90, False): ("bottom", "left"),
    (180, False): ("bottom", "right"),
    (270, False): ("top", "right"),
    (0, True): ("top", "right"),
    (90, True): ("bottom", "right"),
    (180, True): ("bottom", "left"),
    (270, True): ("top", "left"),
}


@pytest.mark.parametrize("turn", WHITE_AT, ids=str)
def test_turned_and_mirrored_videos_are_upright(tmp_path, turn):
    path = film(tmp_path / "turned.mp4", [0.0, 0.1], pictures=[CORNERS] * 2, turn=turn)
    picture = read_frame(path, 0.0)
    height, width = picture.shape[:2]
    assert (height, width) == ((64, 32) if turn[0] % 180 else (32, 64))
    means = {
        (row, column): picture[rows, columns].mean()
        for row, rows in (("top", slice(0, height // 2)), ("bottom", slice(height // 2, None)))
        for column, columns in (("left", slice(0, width // 2)), ("right", slice(width // 2, None)))
    }
    assert max(means, key=means.__getitem__) == WHITE_AT[turn]
    info = read_info(path)
    assert (info.height, info.width) == (height, width)
    if not turn[1]:
        assert info.turned == -turn[0] % 360


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(2), (256, 64)), (Fraction(1, 2), (128, 128)), (None, SIZE)]
)
def test_pixels_become_square(tmp_path, aspect, size):
    path = film(tmp_path / "wide.mp4", [0.0, 0.1], aspect=aspect)
    info = read_info(path)
    assert (info.width, info.height) == size
    assert read_frame(path, 0.1).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("matrix", ["itu709", "itu601"])
@pytest.mark.parametrize("extent", ["MPEG", "JPEG"])
def test_colours_follow_the_flags_of_the_file(tmp_path, matrix, extent):
    path = tmp_path / "red.mp4"
    colour = np.full((32, 32, 3), (200, 50, 30), np.uint8)
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=10, options={"qp": "1"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.colorspace = {"itu709": 1, "itu601": 5}[matrix]
        stream.codec_context.color_range = {"MPEG": 1, "JPEG": 2}[extent]
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(colour, "rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=extent)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    assert np.abs(read_frame(path, 0.0).astype(int) - colour).max() <= 3


def test_odd_sizes_are_whole(tmp_path):
    path = tmp_path / "odd.mkv"
    noise = np.random.default_rng(0).integers(0, 256, (17, 33, 3), np.uint8)
    with av.open(path, "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 33, 17, "bgr0"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(noise, "rgb24")))
        out.mux(stream.encode())
    picture = read_frame(path, 0.0)
    assert np.array_equal(picture, noise)
    assert picture.flags.c_contiguous


def test_info(tmp_path):
    path = film(tmp_path / "even.mkv", [n / 25 for n in range(50)], codec="mpeg4", sound=1.0)
    info = read_info(path)
    assert (info.width, info.height, info.turned) == (*SIZE, 0)
    assert (info.has_sound, info.codec) == (True, "mpeg4")
    assert info.seconds == pytest.approx(2.0, abs=0.01)
    assert info.rate == pytest.approx(25, abs=1)


def test_what_is_no_video_is_named(tmp_path):
    wave = tmp_path / "tone.wav"
    soundfile.write(wave, np.zeros(8000), 8000)
    with pytest.raises(MediaError, match=r"tone.wav is a sound without pictures"):
        read_frame(wave, 0)
    picture = tmp_path / "p.png"
    Image.new("RGB", (8, 8)).save(picture)
    with pytest.raises(MediaError, match=r"p.png is a PNG picture, not a video"):
        read_frame(picture, 0)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(MediaError, match="0 bytes"):
        read_info(empty)
    with pytest.raises(MediaError, match="does not exist"):
        read_info(tmp_path / "none.mp4")
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(4000))
    with pytest.raises(MediaError, match="not a video that can be read"):
        read_info(noise)


def test_a_song_with_cover_art_is_no_video(tmp_path):
    path = tmp_path / "song.mka"
    with av.open(path, "w", format="matroska") as out:
        track = out.add_stream("aac", rate=RATE, layout="mono")
        heard = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.float32), "fltp", "mono")
        heard.rate, heard.pts = RATE, 0
        out.mux(track.encode(heard))
        out.mux(track.encode())
    with pytest.raises(MediaError, match="sound without pictures"):
        read_info(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_video_cut_short_says_so(tmp_path, suffix):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 256, (64, 128, 3), np.uint8) for _ in range(100)]
    path = film(
        tmp_path / f"whole.{suffix}",
        [n / 25 for n in range(100)],
        codec="mpeg4",
        pictures=noisy,
        options={"g": "10"},
        container_options={"movflags": "faststart"} if suffix == "mp4" else None,
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert read_frame(path, 0.4).shape == (64, 128, 3)
    with pytest.raises(MediaError, match=r"damaged or cut short after [12]\.\d\d s"):
        list(frames(path))
    with pytest.raises(MediaError, match="cut short"):
        read_frame(path, 3.5)


def test_damage_is_never_another_error(tmp_path, uneven):
    data = bytearray(uneven.read_bytes())
    rng = np.random.default_rng(1)
    broken = tmp_path / "broken.mp4"
    for _ in range(60):
        copy = bytearray(data)
        for place in rng.integers(0, len(copy), 20):
            copy[place] = int(rng.integers(256))
        broken.write_bytes(copy)
        try:
            message = str(read_frame(broken, 2.0).shape)
        except MediaError as error:
            message = str(error)
        assert "\n" not in message


def test_options_out_of_range(uneven):
    for time in (-1.0, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="time="):
            read_frame(uneven, time)
    with pytest.raises(OptionError, match="stop=1 s must lie after start=2 s"):
        frames(uneven, 2, 1)
    with pytest.raises(OptionError, match="every="):
        frames(uneven, every=0)


def test_memory_does_not_grow_with_the_film(tmp_path):
    peaks = []
    for count in (20, 200):
        path = film(tmp_path / f"{count}.mp4", [n / 25 for n in range(count)])
        tracemalloc.start()
        for _ in frames(path):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000


def test_real_clips_read_by_time_as_one_after_another(shared_data):
    for path in sorted((shared_data / "videos").glob("*.mp4")):
        info = read_info(path)
        assert info.has_sound
        times = frame_times(path)
        middle = info.seconds / 2
        at = max(n for n, time in enumerate(times) if time <= middle + 1e-6)
        picture = read_frame(path, middle)
        assert picture.shape == (info.height, info.width, 3)
        (_, first), (_, second) = itertools.islice(frames(path, times[at - 1]), 2)
        assert np.array_equal(second, picture)
        assert not np.array_equal(first, second)
        assert read_frame(path, info.seconds).shape == picture.shape
