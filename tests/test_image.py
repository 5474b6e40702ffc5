"""Pictures come back with the pixels that people see, and bad files with one clear line."""

import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from soundspot.errors import MediaError, OptionError
from soundspot.media.image import (
    PIXEL_LIMIT,
    TURNS,
    as_picture,
    fit_picture,
    read_picture,
    write_picture,
)

RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
COLOUR = np.stack([RAMP, RAMP[::-1, ::-1], np.full_like(RAMP, 77)], -1)
GREY = np.repeat(RAMP[..., None], 3, -1)
EXIF_ORIENTATION = 0x0112


def save(path: Path, image: Image.Image | np.ndarray, **options) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "qoi", "webp"])
def test_lossless_formats_are_exact(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    picture = read_picture(save(tmp_path / f"a.{suffix}", COLOUR, **options))
    np.testing.assert_array_equal(picture, COLOUR)
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    assert picture.flags.c_contiguous


@pytest.mark.parametrize("suffix", ["jpg", "jp2", "avif", "gif"])
def test_lossy_formats_are_close(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    try:
        save(path, COLOUR)
    except (OSError, KeyError):
        pytest.skip(f"this Pillow writes no {suffix}")
    assert np.abs(read_picture(path).astype(int) - COLOUR).mean() < 3


@pytest.mark.parametrize(
    ("name", "array", "options"),
    [
        ("grey8.png", RAMP, {}),
        ("grey16.png", RAMP.astype(np.uint16) * 257, {}),
        ("grey16.tif", RAMP.astype(np.uint16) * 257, {}),
        ("grey16.pgm", RAMP.astype(np.uint16) * 257, {}),
        ("grey16_transparent.png", RAMP.astype(np.uint16) * 257, {"transparency": 1}),
        ("int32.tif", RAMP.astype(np.int32) * 257, {}),
        ("float01.tif", RAMP.astype(np.float32) / 255, {}),
        ("float255.tif", RAMP.astype(np.float32), {}),
        ("float65535.tif", RAMP.astype(np.float32) * 257, {}),
        ("lzw.tif", RAMP, {"compression": "tiff_lzw"}),
    ],
)
def test_deep_and_grey_are_scaled_not_clipped(tmp_path, name, array, options):
    np.testing.assert_array_equal(read_picture(save(tmp_path / name, array, **options)), GREY)


def test_sixteen_bits_round_to_nearest(tmp_path):
    values = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    picture = read_picture(save(tmp_path / "all.png", values))
    np.testing.assert_array_equal(picture[..., 0], np.rint(values / 257).astype(np.uint8))


def test_big_endian_sixteen_bits(tmp_path):
    values = RAMP.astype(">u2") * 257
    header = struct.pack(">2sHIH", b"MM", 42, 8, 8)
    entries = [(256, 64), (257, 48), (258, 16), (259, 1), (262, 1), (273, 110), (277, 1)]
    entries.append((279, values.nbytes))
    table = b"".join(
        struct.pack(">HHI", tag, 4 if tag in (273, 279) else 3, 1)
        + (struct.pack(">I", v) if tag in (273, 279) else struct.pack(">HH", v, 0))
        for tag, v in entries
    )
    content = (header + table + b"\0\0\0\0").ljust(110, b"\0") + values.astype(">u2").tobytes()
    path = tmp_path / "be.tif"
    path.write_bytes(content)
    np.testing.assert_array_equal(read_picture(path), GREY)


def test_other_ranges_are_stretched(tmp_path):
    negative = read_picture(save(tmp_path / "n.tif", RAMP.astype(np.float32) - 100))
    assert (negative.min(), negative.max()) == (0, 255)
    flat = read_picture(save(tmp_path / "f.tif", np.full((4, 4), -3, np.float32)))
    assert flat.max() == 0


def test_bilevel_palette_and_cmyk(tmp_path):
    bilevel = Image.fromarray(RAMP > 127)
    expected = np.where(RAMP > 127, 255, 0)
    for name in ("1.png", "1.tif"):
        picture = read_picture(save(tmp_path / name, bilevel))
        np.testing.assert_array_equal(picture, np.repeat(expected[..., None], 3, -1))
    palette = Image.fromarray(COLOUR).quantize(16)
    picture = read_picture(save(tmp_path / "p.png", palette))
    np.testing.assert_array_equal(picture, np.asarray(palette.convert("RGB")))
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    np.testing.assert_array_equal(read_picture(save(tmp_path / "c.tif", cmyk)), COLOUR)
    close = read_picture(save(tmp_path / "c.jpg", cmyk, quality=100)).astype(int)
    assert np.abs(close - COLOUR).mean() < 3


def test_transparency_is_over_white(tmp_path):
    alpha = np.zeros_like(RAMP)
    alpha[:, :20], alpha[:, 20:40] = 255, 51
    rgba = np.dstack([COLOUR, alpha])
    share = alpha[..., None] / 255
    expected = np.rint(COLOUR * share + 255 * (1 - share))
    for name in ("a.png", "a.tif", "a.webp"):
        options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
        picture = read_picture(save(tmp_path / name, rgba, **options)).astype(int)
        assert np.abs(picture - expected).max() <= 1
    grey_alpha = read_picture(save(tmp_path / "la.png", np.dstack([RAMP, alpha]))).astype(int)
    assert np.abs(grey_alpha - np.rint(GREY * share + 255 * (1 - share))).max() <= 1
    assert np.abs(as_picture(rgba).astype(int) - expected).max() <= 1


def test_transparent_colours(tmp_path):
    one = read_picture(save(tmp_path / "rgb.png", COLOUR, transparency=(0, 252, 77)))
    np.testing.assert_array_equal(one[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(one[0, 1], COLOUR[0, 1])
    grey = read_picture(save(tmp_path / "l.png", RAMP, transparency=8))
    assert (grey[:, 2] == 255).all()
    assert (grey[:, 3] == 12).all()
    palette = Image.fromarray(COLOUR).quantize(8)
    index = palette.getpixel((5, 5))
    assert isinstance(index, int)
    for name, value in (
        ("i.png", index),
        ("b.png", bytes(0 if i == index else 255 for i in range(8))),
    ):
        picture = read_picture(save(tmp_path / name, palette, transparency=value))
        assert (picture[5, 5] == 255).all()
    gif = read_picture(save(tmp_path / "g.gif", palette, transparency=index))
    assert (gif[5, 5] == 255).all()


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp"])
def test_every_orientation_comes_back_upright(tmp_path, orientation, suffix):
    """The eight definitions of the EXIF standard: where row 0 and column 0 of the file are."""
    upright = np.kron(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10, np.ones((8, 8), np.uint8))
    upright = np.repeat(upright[..., None], 3, -1)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),  # row 0 is the right side, column 0 the top
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),  # row 0 is the left side, column 0 the bottom
    }
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    path = save(
        tmp_path / f"o.{suffix}",
        np.ascontiguousarray(stored[orientation]),
        exif=exif,
        **options.get(suffix, {}),
    )
    picture = read_picture(path)
    assert picture.shape == upright.shape
    assert np.abs(picture.astype(int) - upright).max() <= (6 if suffix == "jpg" else 0)
    with Image.open(path) as image:
        np.testing.assert_array_equal(as_picture(image), picture)


def test_nonsense_exif_is_no_reason_to_fail(tmp_path):
    path = save(tmp_path / "a.jpg", COLOUR, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_picture(path).shape == COLOUR.shape
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 77
    assert read_picture(save(tmp_path / "b.jpg", COLOUR, exif=exif)).shape == COLOUR.shape


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_first_frame_of_animations(tmp_path, suffix):
    frames = [Image.new("RGB", (20, 10), c) for c in ("red", "blue")]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    picture = read_picture(path).astype(int)
    assert picture.shape == (10, 20, 3)
    assert np.abs(picture - [255, 0, 0]).max() <= 3


def test_name_does_not_decide(tmp_path):
    np.testing.assert_array_equal(
        read_picture(save(tmp_path / "png.jpg", COLOUR, format="PNG")), COLOUR
    )


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_bomb_is_refused_at_once(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(30_000, 30_000, zlib.compress(bytes(1 << 20))))
    tracemalloc.start()
    begun = time.perf_counter()
    with pytest.raises(MediaError, match=r"bomb\.png has 30,000 x 30,000 pixels, more than 200"):
        read_picture(path)
    assert time.perf_counter() - begun < 0.5
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_below_the_limit_pillow_neither_warns_nor_refuses(tmp_path):
    path = tmp_path / "big.png"
    path.write_bytes(png(14_000, 14_000, zlib.compress(b"")))  # 196 million: no data, so cut short
    assert PIXEL_LIMIT > 14_000**2
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with pytest.raises(MediaError, match="cut short or damaged"):
        read_picture(path)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == warnings.filters


def test_threads_restore_the_state_of_pillow(tmp_path):
    path = save(tmp_path / "a.png", COLOUR)
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    wrong = []

    def work():
        for _ in range(30):
            if not np.array_equal(read_picture(path), COLOUR):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == warnings.filters


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tif", "ppm"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_truncated_is_an_error(tmp_path, suffix, share):
    whole = save(
        tmp_path / f"a.{suffix}", np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)
    )
    content = whole.read_bytes()
    whole.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MediaError, match=rf"a\.{suffix} .*cut short or damaged"):
        read_picture(whole)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFF\0\0\0\0WAVEfmt ", "is a WAV sound, not a picture; give a JPEG"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "is an HEIC picture, a kind that cannot be read"),
        (b"\0\0\0\x18ftypisom" + bytes(40), "is an MP4 video, not a picture"),
        (b"<svg xmlns='x'></svg>", "is an SVG drawing"),
        (b"hello world", "is not a picture that can be read"),
        (b"\x89PNG\r\n\x1a\nrubbish", "is a PNG picture, but cut short or damaged|damaged"),
        (b"\xff\xd8\xff", "is a JPEG picture, but cut short or damaged|damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
        (b"", "is empty"),
    ],
)
def test_other_things_are_named(tmp_path, content, message):
    path = tmp_path / "a picture.jpg"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=message) as caught:
        read_picture(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_nan_pixels(tmp_path):
    values = np.zeros((4, 4), np.float32)
    values[1, 1] = np.nan
    with pytest.raises(MediaError, match="NaN"):
        read_picture(save(tmp_path / "nan.tif", values))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]),
    places=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_files_give_pixels_or_one_line(tmp_path_factory, kind, places):
    path = tmp_path_factory.getbasetemp() / "damaged"
    Image.fromarray(COLOUR).save(path, kind)
    content = bytearray(path.read_bytes())
    for at, value in places:
        content[at % len(content)] = value
    path.write_bytes(content)
    message = ""
    try:
        assert read_picture(path).shape[2] == 3
    except MediaError as error:
        message = str(error)
    assert "\n" not in message


def test_at_least_reads_jpegs_smaller_but_never_too_small(tmp_path):
    big = np.kron(COLOUR, np.ones((10, 10, 1), np.uint8))
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    path = save(tmp_path / "a.jpg", big, exif=exif)
    assert read_picture(path).shape == (640, 480, 3)
    assert read_picture(path, at_least=(120, 160)).shape == (160, 120, 3)
    assert read_picture(path, at_least=(121, 10)).shape == (320, 240, 3)
    assert read_picture(path, at_least=(9999, 9999)).shape == (640, 480, 3)
    assert read_picture(save(tmp_path / "a.png", big), at_least=(10, 10)).shape == big.shape


def test_fit_is_the_triangle_mean():
    np.testing.assert_array_equal(fit_picture(COLOUR, 64, 48), COLOUR)
    half = fit_picture(np.kron(COLOUR, np.ones((4, 4, 1), np.uint8)), 64, 48).astype(int)
    assert np.abs(half - COLOUR).mean() < 2
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    grey = fit_picture(stripes, 8, 8)
    assert np.abs(grey.astype(int) - 127).max() <= 5  # antialiased: no stripe survives
    assert fit_picture(COLOUR, 5, 7).shape == (7, 5, 3)
    assert fit_picture(COLOUR, 5, 7).flags.writeable
    with pytest.raises(OptionError, match="0 x 7"):
        fit_picture(COLOUR, 0, 7)


def test_fit_equals_torch():
    torch = pytest.importorskip("torch")
    noise = np.random.default_rng(0).integers(0, 256, (123, 97, 3), dtype=np.uint8)
    tensor = torch.from_numpy(noise).permute(2, 0, 1)[None].float()
    for width, height in ((40, 50), (97, 61), (200, 150)):
        theirs = torch.nn.functional.interpolate(
            tensor, (height, width), mode="bilinear", antialias=True, align_corners=False
        )
        ours = fit_picture(noise, width, height).astype(np.float64)
        assert np.abs(ours - theirs[0].permute(1, 2, 0).numpy()).max() <= 1.01


def test_sources_of_the_python_api(tmp_path):
    path = save(tmp_path / "a.png", COLOUR)
    for source in (
        path,
        str(path),
        Image.fromarray(COLOUR),
        COLOUR,
        COLOUR / 255,
        (COLOUR / 255).astype("f4"),
    ):
        np.testing.assert_array_equal(as_picture(source), COLOUR)
    np.testing.assert_array_equal(as_picture(RAMP), GREY)
    np.testing.assert_array_equal(as_picture(RAMP[..., None]), GREY)
    np.testing.assert_array_equal(as_picture(COLOUR[:, ::-1]), COLOUR[:, ::-1])
    copy = COLOUR.copy()
    as_picture(copy)[:] = 0
    np.testing.assert_array_equal(copy, COLOUR)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((3, 20, 30), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((4, 4, 3), np.int64),
        np.full((4, 4, 3), 1.5),
        np.full((4, 4, 3), -0.1),
        np.full((4, 4), np.nan),
        None,
        7,
        "missing.png",
    ],
)
def test_other_sources_are_refused(source):
    with pytest.raises(MediaError):
        as_picture(source)


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "webp"])
def test_written_pictures_come_back(tmp_path, suffix):
    for picture, expected in ((COLOUR, COLOUR), (RAMP, GREY)):
        write_picture(tmp_path / f"a.{suffix}", picture)
        back = read_picture(tmp_path / f"a.{suffix}").astype(int)
        assert np.abs(back - expected).mean() <= (0 if suffix == "png" else 2.5)
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{suffix}"]


def test_unwritable_pictures(tmp_path):
    with pytest.raises(MediaError, match=r"a\.xyz: a picture is written as \.png, \.jpg"):
        write_picture(tmp_path / "a.xyz", COLOUR)
    with pytest.raises(MediaError, match="is no picture"):
        write_picture(tmp_path / "a.png", COLOUR / 255)
    with pytest.raises(MediaError, match=r"a\.webp cannot be written"):
        write_picture(tmp_path / "a.webp", np.zeros((2, 20_000), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_real_pictures(shared_data):
    paths = sorted((shared_data / "val" / "images").glob("*.jpg"))[:8]
    assert paths
    for path in paths:
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_picture(path), np.asarray(image.convert("RGB")))


def test_torch_is_not_imported():
    code = "import sys, soundspot.media.image; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
