"""A tone of known pitch and loudness comes back from every container; bad files say why."""

import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from soundspot.errors import MediaError, OptionError
from soundspot.media.audio import (
    MAX_RATE,
    MIN_RATE,
    MIN_SECONDS,
    as_sound,
    read_sound,
    write_sound,
)
from soundspot.media.sound_track import SoundTrack

RATE = 16_000
PITCH, LOUDNESS = 440.0, 0.5
EDGE = 1_000
"""Samples left out at both ends, where codecs and filters start and stop."""


def tone(seconds=1.0, rate=RATE, pitch=PITCH, loudness=LOUDNESS):
    return loudness * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)


def sweep(seconds, rate=RATE):
    """A rising tone: no two places in it are alike."""
    t = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * (200 + 100 * t) * t)


def measure(sound, rate=RATE, pitch=PITCH):
    """Return (loudness at `pitch`, root mean square of all that is not at `pitch`)."""
    inner = sound[EDGE:-EDGE].astype(np.float64)
    t = np.arange(EDGE, EDGE + len(inner)) / rate
    waves = np.stack([np.sin(2 * np.pi * pitch * t), np.cos(2 * np.pi * pitch * t)], 1)
    parts, *_ = np.linalg.lstsq(waves, inner, rcond=None)
    return float(np.hypot(*parts)), float(np.sqrt(np.mean((inner - waves @ parts) ** 2)))


def ffmpeg_write(path, codec, samples, rate, video=None, delay=0.0, **options):
    """Write mono samples, and a grey video where asked, through FFmpeg."""
    layout = options.pop("layout", "mono")
    with av.open(str(path), "w", **options) as container:
        picture = None
        if video:
            picture = container.add_stream(video, rate=10)
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
        track = container.add_stream(codec, rate=rate, layout=layout) if codec else None
        if track is not None:
            track.bit_rate = 128_000 if rate > 8_000 else 12_200
            kind = track.codec_context.codec.audio_formats[0].name
            convert = av.AudioResampler(format=kind, layout=layout, rate=rate)
        step = rate // 10
        for k in range(len(samples) // step):
            if picture is not None:
                grey = np.full((64, 64, 3), k * 5 % 255, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
                frame.pts = k
                container.mux(picture.encode(frame))
            if track is not None:
                piece = samples[k * step : (k + 1) * step].astype(np.float32)
                channels = convert.layout.nb_channels
                sound = av.AudioFrame.from_ndarray(
                    np.repeat(piece[None], channels, 0), format="fltp", layout=layout
                )
                sound.sample_rate = rate
                sound.pts = k * step + round(delay * rate)
                for converted in convert.resample(sound):
                    container.mux(track.encode(converted))
        if picture is not None:
            container.mux(picture.encode())
        if track is not None:
            container.mux(track.encode())
    return path


# --- every container ---------------------------------------------------------------------------

SNDFILE_KINDS = [
    ("a.wav", "PCM_U8", 0.006),
    ("a.wav", "PCM_16", 2e-5),
    ("a.wav", "PCM_24", 1e-6),
    ("a.wav", "PCM_32", 1e-6),
    ("a.wav", "FLOAT", 1e-6),
    ("a.wav", "DOUBLE", 1e-6),
    ("a.wav", "ULAW", 0.01),
    ("a.aiff", "PCM_16", 2e-5),
    ("a.flac", "PCM_16", 2e-5),
    ("a.flac", "PCM_24", 1e-6),
    ("a.ogg", "VORBIS", 0.02),
    ("a.ogg", "OPUS", 0.07),  # its encoder ends on a click above 1: the whole is scaled down
    ("a.mp3", "MPEG_LAYER_III", 0.02),
]


@pytest.mark.parametrize(("name", "subtype", "noise"), SNDFILE_KINDS)
def test_every_sample_format(tmp_path, name, subtype, noise):
    path = tmp_path / name
    soundfile.write(path, tone(), RATE, subtype=subtype)
    sound = read_sound(path)
    loudness, rest = measure(sound)
    assert len(sound) == RATE
    assert sound.dtype == np.float32
    assert sound.flags.c_contiguous
    assert sound.flags.writeable
    assert loudness == pytest.approx(LOUDNESS, abs=max(noise, 1e-4))
    assert rest < noise


@pytest.mark.parametrize(
    ("name", "codec", "rate", "video"),
    [
        ("a.m4a", "aac", 44_100, None),
        ("a.m4a", "alac", 44_100, None),
        ("a.aac", "aac", 44_100, None),
        ("a.wma", "wmav2", 44_100, None),
        ("a.amr", "libopencore_amrnb", 8_000, None),
        ("a.mp3", "libmp3lame", 44_100, None),
        ("a.mp4", "aac", 48_000, "mpeg4"),
        ("a.mov", "pcm_s24le", 48_000, "mpeg4"),
        ("a.mkv", "flac", 48_000, "mpeg4"),
        ("a.webm", "libopus", 48_000, "libvpx"),
        ("a.avi", "libmp3lame", 44_100, "mpeg4"),
        ("a.ts", "aac", 48_000, "mpeg2video"),
    ],
)
def test_every_ffmpeg_container(tmp_path, name, codec, rate, video):
    if codec not in av.codecs_available or (video and video not in av.codecs_available):
        pytest.skip(f"this FFmpeg has no {codec}")
    path = ffmpeg_write(tmp_path / name, codec, tone(2, rate), rate, video)
    sound = read_sound(path)
    loudness, rest = measure(sound[EDGE:-EDGE])
    assert len(sound) / RATE == pytest.approx(2, abs=0.1)
    error = {"libopencore_amrnb": 0.2, "libmp3lame": 0.06}.get(codec, 0.03)  # LAME: 0.95 as loud
    assert loudness == pytest.approx(LOUDNESS, rel=error)
    assert rest < error / 2


@pytest.mark.parametrize("name", ["a.m4a", "a.mp3", "a.mkv", "a.webm"])
def test_codecs_keep_their_place_in_time(tmp_path, name):
    """Encoders put a start-up delay in front; decoders must take it away again."""
    codec = {"a.m4a": "aac", "a.mp3": "libmp3lame", "a.mkv": "aac", "a.webm": "libopus"}[name]
    path = ffmpeg_write(tmp_path / name, codec, sweep(3, 48_000), 48_000)
    sound, truth = read_sound(path), sweep(3)
    assert np.corrcoef(sound[EDGE : 2 * RATE], truth[EDGE : 2 * RATE])[0, 1] > 0.98


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_127, 22_050, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("wanted", [8_000, 16_000, 44_100])
def test_every_rate(tmp_path, rate, wanted):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1, rate), rate, subtype="FLOAT")
    sound = read_sound(path, wanted)
    assert len(sound) == wanted
    loudness, rest = measure(sound, wanted)
    assert loudness == pytest.approx(LOUDNESS, abs=1e-4)
    assert rest < 1e-4


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "PCM_16"), ("a.flac", "PCM_24")])
def test_channels_are_mixed_by_their_mean(tmp_path, channels, name, subtype):
    weights = np.linspace(0.2, 1.0, channels)
    soundfile.write(tmp_path / name, tone()[:, None] * weights, RATE, subtype=subtype)
    loudness, rest = measure(read_sound(tmp_path / name))
    assert loudness == pytest.approx(LOUDNESS * weights.mean(), abs=1e-4)
    assert rest < 1e-4


def test_planar_and_packed_video_sound(tmp_path):
    for codec in ("aac", "pcm_s16le", "pcm_f32le", "pcm_u8"):
        layout = "stereo" if codec == "aac" else "5.1"  # aac keeps only the bass of 5.1's sixth
        path = ffmpeg_write(tmp_path / "a.mkv", codec, tone(2), RATE, layout=layout)
        loudness, rest = measure(read_sound(path))
        assert loudness == pytest.approx(LOUDNESS, rel=0.03)
        assert rest < 0.02


@pytest.mark.parametrize("rate", [44_100, 96_000, 192_000])
def test_nothing_above_nyquist_survives(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(1, rate, pitch=9_000), rate, subtype="FLOAT")
    assert np.abs(read_sound(tmp_path / "a.wav")[EDGE:-EDGE]).max() < 1e-4
    soundfile.write(tmp_path / "b.wav", tone(1, rate, pitch=7_000), rate, subtype="FLOAT")
    assert measure(read_sound(tmp_path / "b.wav"), pitch=7_000)[0] == pytest.approx(0.5, abs=1e-3)


# --- windows -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    for name, rate in (
        ("a.wav", 44_100),
        ("odd.wav", 11_127),
        ("a.flac", 48_000),
        ("a.ogg", 44_100),
    ):
        soundfile.write(folder / name, sweep(6, rate), rate)
    soundfile.write(folder / "opus.ogg", sweep(6, 48_000), 48_000, subtype="OPUS")
    ffmpeg_write(folder / "a.m4a", "aac", sweep(6, 48_000), 48_000)
    ffmpeg_write(folder / "a.mp3", "libmp3lame", sweep(6, 44_100), 44_100)
    ffmpeg_write(folder / "a.mp4", "aac", sweep(6, 48_000), 48_000, "mpeg4")
    return folder


LONG = ["a.wav", "odd.wav", "a.flac", "a.ogg", "opus.ogg", "a.m4a", "a.mp3", "a.mp4"]


@pytest.mark.parametrize("name", LONG)
@settings(deadline=None, max_examples=6, derandomize=True)
@given(start=st.floats(0, 5.5), seconds=st.floats(0.03, 7), rate=st.sampled_from([8_000, 16_000]))
def test_a_window_is_a_piece_of_the_whole(long_files, name, start, seconds, rate):
    whole = read_sound(long_files / name, rate)
    window = read_sound(long_files / name, rate, start, seconds)
    first = round(start * rate)
    assert len(window) == min(round(seconds * rate), len(whole) - first)
    np.testing.assert_allclose(window, whole[first : first + len(window)], atol=2e-6)


def test_coarse_clocks_are_off_by_a_millisecond_at_most(tmp_path):
    path = ffmpeg_write(tmp_path / "a.mkv", "aac", sweep(6, 48_000), 48_000)
    whole, window = read_sound(path), read_sound(path, start=4.0, seconds=0.5)
    errors = [
        np.abs(window - whole[64_000 + shift : 72_000 + shift]).max() for shift in range(-16, 17)
    ]
    assert min(errors) < 0.1


def test_window_past_the_end(long_files):
    for name in LONG:
        with pytest.raises(MediaError, match=rf"{name} ends at 6\.\d\d s, before start=60; start"):
            read_sound(long_files / name, start=60)
    assert len(read_sound(long_files / "a.wav", start=5, seconds=99)) == RATE
    assert len(read_sound(long_files / "a.wav", 16_000.0, start=5)) == RATE


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 100},
        {"rate": 16_000.5},
        {"rate": float("nan")},
        {"rate": 400_000},
        {"start": -1},
        {"start": float("nan")},
        {"seconds": 0},
        {"seconds": -2},
        {"seconds": float("inf")},
    ],
)
def test_options_out_of_range(long_files, options):
    with pytest.raises(OptionError):
        read_sound(long_files / "a.wav", **options)


def test_long_files_are_streamed(tmp_path):
    path, rate, minutes = tmp_path / "long.wav", 48_000, 4
    noise = np.random.default_rng(0).standard_normal((rate * 10, 2)).astype(np.float32) * 0.1
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as out:
        for _ in range(minutes * 6):
            out.write(noise)
    tracemalloc.start()
    try:
        read_sound(path, start=120, seconds=10)
        assert tracemalloc.get_traced_memory()[1] < 8e6
        tracemalloc.reset_peak()
        mono = read_sound(path).nbytes
        assert tracemalloc.get_traced_memory()[1] < 2.5 * mono + 8e6
    finally:
        tracemalloc.stop()


def test_delayed_track_starts_with_silence(tmp_path):
    path = ffmpeg_write(tmp_path / "a.mkv", "pcm_s16le", tone(2), RATE, "mpeg4", delay=0.5)
    sound = read_sound(path)
    assert len(sound) / RATE == pytest.approx(2.5, abs=0.002)
    assert not sound[: RATE // 2 - 20].any()
    assert measure(sound[RATE // 2 + 20 :])[0] == pytest.approx(LOUDNESS, abs=1e-3)
    window = read_sound(path, start=0.25, seconds=0.5)
    np.testing.assert_allclose(window, sound[RATE // 4 : RATE // 4 * 3], atol=1e-6)


def test_pause_within_a_track_is_silence(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for first in (0, 2 * RATE):
            samples = (tone() * 32_767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, first
            container.mux(track.encode(frame))
        container.mux(track.encode())
    sound = read_sound(path)
    assert len(sound) == 3 * RATE
    assert not sound[RATE : 2 * RATE].any()
    assert measure(sound[2 * RATE :])[0] == pytest.approx(LOUDNESS, abs=1e-3)


# --- loudness and values -----------------------------------------------------------------------


def test_loud_floats_are_divided_by_their_peak(tmp_path):
    soundfile.write(tmp_path / "a.wav", 3 * tone(), RATE, subtype="FLOAT")
    sound = read_sound(tmp_path / "a.wav")
    assert np.abs(sound).max() == pytest.approx(1)
    assert measure(sound)[1] < 1e-5  # still a pure tone: nothing was clipped


def test_arrays_may_overshoot_and_are_refused_on_another_scale():
    """A codec's overshoot is divided by its peak; 16-bit values that were cast are no sound."""
    for loud in (1.2, 3.0):
        sound = as_sound((loud * tone() / LOUDNESS, RATE))
        assert np.abs(sound).max() == pytest.approx(1)
        assert measure(sound)[1] < 1e-5
    cast = np.round(20_000 * tone())
    with pytest.raises(MediaError, match=r"floats up to 10000, beyond -1\.\.1; divide them"):
        as_sound((cast, RATE))
    np.testing.assert_allclose(
        as_sound((cast / 32_768, RATE)), as_sound((cast.astype(np.int16), RATE)), atol=1e-6
    )


def test_resampled_square_wave_stays_in_range(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.sign(tone(1, 48_000) + 1e-9), 48_000)
    assert np.abs(read_sound(tmp_path / "a.wav")).max() <= 1


def test_silence_is_valid(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(44_100), 44_100)
    sound = read_sound(tmp_path / "a.wav")
    assert len(sound) == RATE
    assert not sound.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_not_finite(tmp_path, value):
    samples = tone()
    samples[5_000] = value
    soundfile.write(tmp_path / "sound.wav", samples, RATE, subtype="DOUBLE")
    with pytest.raises(MediaError, match=r"sound\.wav holds NaN or infinite samples"):
        read_sound(tmp_path / "sound.wav")


def test_too_short(tmp_path):
    least = round(MIN_SECONDS * RATE)
    soundfile.write(tmp_path / "a.wav", tone()[:least], RATE)
    assert len(read_sound(tmp_path / "a.wav")) == least
    soundfile.write(tmp_path / "b.wav", tone()[: least // 2], RATE)
    with pytest.raises(MediaError, match=r"b\.wav gives only 0\.0125 s"):
        read_sound(tmp_path / "b.wav")


@pytest.mark.parametrize("rate", [1_000, MIN_RATE - 1, MAX_RATE + 1, 384_000])
def test_rates_out_of_range(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.zeros(rate), rate)
    with pytest.raises(MediaError, match=f"a sample rate of {rate} Hz; rates from 4000 to 192000"):
        read_sound(tmp_path / "a.wav")


# --- bad files ---------------------------------------------------------------------------------


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    shorter = path.with_name(f"cut_{path.name}")
    shorter.write_bytes(content[: int(len(content) * share)])
    return shorter


@pytest.mark.parametrize(
    "name", ["a.wav", "a.flac", "a.ogg", "opus.ogg", "a.mp3", "fast.mp4", "a.mkv"]
)
def test_cut_short_says_where_and_what_is_whole_can_be_had(tmp_path, long_files, name):
    path = long_files / name
    if name == "fast.mp4":
        options = {"options": {"movflags": "faststart"}}
        path = ffmpeg_write(tmp_path / name, "aac", sweep(6, 48_000), 48_000, "mpeg4", **options)
    if name == "a.mkv":
        path = ffmpeg_write(tmp_path / name, "aac", sweep(6, 48_000), 48_000)
    shorter = cut(path, 0.6)
    with pytest.raises(MediaError, match=r"damaged or cut short after \d\.\d\d s; save") as caught:
        read_sound(shorter)
    whole = float(str(caught.value).split("cut short after ")[1].split(" s")[0])
    assert 2 < whole < 4.5
    expected = read_sound(path, seconds=whole)
    np.testing.assert_allclose(
        read_sound(shorter, seconds=whole)[:-EDGE], expected[:-EDGE], atol=1e-3
    )


@pytest.mark.parametrize("name", ["a.m4a", "a.mp4", "a.ogg", "a.flac", "a.wav"])
def test_hardly_anything_left(long_files, name):
    with pytest.raises(MediaError, match=rf"cut_{name} .*(damaged|cut short|no samples)"):
        read_sound(cut(long_files / name, 0.005))


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_unknown_length_of_piped_wavs(tmp_path, size):
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    at = content.find(b"data") + 4
    content[4:8] = content[at : at + 4] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_sound(tmp_path / "a.wav")) == RATE


def test_tags_behind_the_end_are_no_damage(long_files, tmp_path):
    for name in ("a.mp3", "a.flac", "a.ogg", "a.m4a"):
        path = tmp_path / name
        path.write_bytes((long_files / name).read_bytes() + b"TAG" + b"x" * 125 + bytes(3_000))
        np.testing.assert_array_equal(read_sound(path), read_sound(long_files / name))


def test_video_without_sound(tmp_path):
    path = ffmpeg_write(tmp_path / "mute.mp4", None, tone(), RATE, "mpeg4")
    with pytest.raises(MediaError, match=r"mute\.mp4 is a video without a sound track; give"):
        read_sound(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(60), "is a JPEG picture, which has no sound"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "is a PNG picture"),
        (b"#EXTM3U\n#EXTINF:1,\nother.wav\n#EXT-X-ENDLIST\n", "is a playlist"),
        (b"ffconcat version 1.0\nfile other.wav\n", "is not a sound that can be read"),
        (b"hello world, this is text", "is not a sound that can be read"),
        (b"RIFF\x24\0\0\0WAVE", "is a WAV sound, but empty, cut short or damaged"),
        (b"", "is empty"),
    ],
)
@pytest.mark.parametrize("name", ["a sound.wav", "b.mp3", "c.raw"])
def test_other_things_are_named(tmp_path, capfd, content, message, name):
    soundfile.write(tmp_path / "other.wav", tone(), RATE)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match=message) as caught:
        read_sound(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(MediaError, match="is a folder"):
        read_sound(tmp_path)
    with pytest.raises(MediaError, match="does not exist"):
        read_sound(tmp_path / "missing.wav")


def test_odd_file_names(long_files, tmp_path):
    for name in ("12:30.m4a", "with space %d.m4a", "Grüße.m4a", "noext"):
        path = tmp_path / name
        path.write_bytes((long_files / "a.m4a").read_bytes())
        assert len(read_sound(path, seconds=1)) == RATE


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.m4a", "a.mp3"])
@settings(deadline=None, max_examples=12, derandomize=True)
@given(
    places=st.lists(
        st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=9
    ),
    head=st.booleans(),
)
def test_damaged_files_give_sound_or_one_line(long_files, name, places, head):
    content = bytearray((long_files / name).read_bytes())
    for at, value in places:
        content[at % (200 if head else len(content))] = value
    path = long_files / "damaged"
    path.write_bytes(content)
    message = ""
    try:
        sound = read_sound(path, seconds=3)
        assert np.abs(sound).max() <= 1
    except MediaError as error:
        message = str(error)
    assert "\n" not in message


def test_damage_prints_nothing(long_files, capfd):
    for name in LONG:
        content = bytearray((long_files / name).read_bytes())
        middle = len(content) // 2
        content[middle : middle + 400] = bytes(range(200)) * 2
        path = long_files / f"noisy_{name}"
        path.write_bytes(content)
        try:
            read_sound(path)
        except MediaError:
            continue
    assert capfd.readouterr() == ("", "")


# --- writing, and the Python API ---------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "noise"), [("wav", 2e-5), ("flac", 2e-5), ("ogg", 0.02)])
@pytest.mark.parametrize("channels", [1, 2])
def test_written_sounds_come_back(tmp_path, suffix, noise, channels):
    samples = tone(3) if channels == 1 else np.stack([tone(3)] * channels, 1)
    write_sound(tmp_path / f"a.{suffix}", samples.astype(np.float32), RATE)
    sound = read_sound(tmp_path / f"a.{suffix}")
    assert len(sound) == 3 * RATE
    loudness, rest = measure(sound)
    assert loudness == pytest.approx(LOUDNESS, abs=max(noise, 1e-4))
    assert rest < noise
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{suffix}"]


def test_unwritable_sounds(tmp_path):
    with pytest.raises(MediaError, match=r"a\.xyz: a sound is written as \.wav, \.flac, \.ogg"):
        write_sound(tmp_path / "a.xyz", tone(), RATE)
    with pytest.raises(MediaError, match="divide by their peak"):
        write_sound(tmp_path / "a.wav", 3 * tone(), RATE)
    with pytest.raises(MediaError, match="divide by their peak"):
        write_sound(tmp_path / "a.wav", np.array([np.nan]), RATE)
    with pytest.raises(MediaError, match="is no sound"):
        write_sound(tmp_path / "a.wav", np.zeros(9, np.int16), RATE)
    with pytest.raises(OptionError, match="rate=1000000 Hz"):
        write_sound(tmp_path / "a.ogg", tone(), 1_000_000)
    with pytest.raises(MediaError, match=r"a\.flac cannot be written"):
        write_sound(tmp_path / "a.flac", np.zeros((100, 9)), RATE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dtype", "scale", "zero"),
    [("f4", 1, 0), ("f8", 1, 0), ("i2", 2**15, 0), ("i4", 2**31, 0), ("u1", 2**7, 128)],
)
def test_arrays_with_their_rate(dtype, scale, zero):
    samples = (tone(1, 48_000) * scale + zero).astype(dtype)
    for array in (samples, np.stack([samples] * 2), np.stack([samples] * 2, 1)):
        sound = as_sound((array, 48_000), RATE)
        loudness, rest = measure(sound)
        assert len(sound) == RATE
        assert loudness == pytest.approx(LOUDNESS, abs=0.005)
        assert rest < 0.01


def test_paths_and_tensors(long_files):
    np.testing.assert_array_equal(
        as_sound(long_files / "a.wav", RATE), read_sound(long_files / "a.wav")
    )
    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(as_sound((torch.tensor(tone()), RATE)), tone(), atol=1e-6)
    samples = tone().astype(np.float32)
    as_sound((samples, RATE))[:] = 0
    assert samples.any()


@pytest.mark.parametrize(
    "source",
    [
        None,
        np.zeros(100),
        (np.zeros(0), RATE),
        (np.zeros((2, 3, 4)), RATE),
        (np.zeros(9_000, np.int64), RATE),
        (np.zeros(9_000, complex), RATE),
        (np.full(9_000, np.nan), RATE),
        (np.zeros(9_000), 100),
        (np.zeros(9_000), "fast"),
        ([[0.0], [0.0, 1.0]], RATE),
        (np.zeros(10), RATE),
        ("a.wav", RATE),
        "missing.wav",
    ],
)
def test_other_sources_are_refused(source):
    with pytest.raises(MediaError):
        as_sound(source, RATE)


def test_likely_mistakes_are_named():
    samples = tone()
    for source, message in (
        ((RATE, samples), r"given as \(rate, samples\); the order is \(samples, their rate\)"),
        ((samples, "16000"), "sample rate that is '16000'; give a number"),
        ((samples, samples), "sample rate that is an array 16000 of float64"),
    ):
        with pytest.raises(MediaError, match=message):
            as_sound(source, RATE)
        track = SoundTrack(source, RATE)
        track.window(0, 1)
        with pytest.raises(MediaError, match=message):
            track.check(0)
    with pytest.raises(OptionError, match="rate='16000' Hz; it must be a whole number"):
        as_sound((samples, RATE), "16000")


# --- real files --------------------------------------------------------------------------------


def test_real_sounds(shared_data):
    paths = sorted((shared_data / "val" / "sounds").glob("*/*.ogg"))[:20]
    assert paths
    for path in paths:
        sound = read_sound(path)
        truth, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(sound, truth / max(1, np.abs(truth).max()), atol=1e-6)


def test_real_videos(shared_data):
    for path in sorted((shared_data / "videos").glob("*.mp4")):
        sound = read_sound(path)
        with av.open(str(path)) as container:
            assert len(sound) / RATE == pytest.approx(container.duration / av.time_base, abs=0.1)
        assert 0.05 < np.abs(sound).max() <= 1


def test_torch_is_not_imported():
    code = "import sys, soundspot.media.audio; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
