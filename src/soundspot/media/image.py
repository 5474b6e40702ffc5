"""Pictures: any file that people call a picture, as an `H W 3` array of uint8 RGB.

What a file holds and what people see on their screen differ in more ways than one expects.
Each row is a decision, taken here once:

| in the file | in the array |
|---|---|
| turned by the camera (EXIF orientation 1 to 8) | upright |
| transparency | laid over white, as on a page |
| 16 bits a channel | 65,535 is white |
| 32-bit integers | 65,535 is white; other ranges are stretched from darkest to lightest |
| floats | 1 is white, or 255, or 65,535, whichever first holds the peak; else stretched |
| grey, palette, 1 bit, CMYK, YCbCr | Pillow's conversion; colour profiles are not applied |
| several frames (GIF, APNG, WebP, TIFF) | the first |

A picture's header is checked before its pixels are decoded: a file of a few kilobytes can
claim pixels for gigabytes.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import MediaError, OptionError
from ..files import one_line, require_file, what_is, write_beside
from .kinds import as_array, kind_of

Picture: TypeAlias = NDArray[np.uint8]
"""`H W 3`, RGB, row 0 at the top."""

STRIDE = 32
"""Pixels: `proportions` gives sides that are multiples of it, as picture towers like them."""
LONGEST = 4.0
"""A picture longer than this many of its shorter sides is squeezed to it by `proportions`."""
PIXEL_LIMIT = 200_000_000
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF"),
    *("PPM", "AVIF", "JPEG2000", "ICO", "QOI"),
)
"""Pillow's names. Left out: formats without a signature, and those that start other programs."""
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF or JPEG 2000"
READABLE_SIGNS = tuple(f"{kind} picture" for kind in ("JPEG", "PNG", "GIF", "WebP", "TIFF", "AVIF"))
WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95}),
}
STRIP_PIXELS = 1 << 20
"""Pixels converted at once: bounds the memory beside the decoded picture and the result."""

WHITE_16_BIT = 65_535
FLOAT_WHITES = (1.0, 255.0, 65_535.0)
ORIENTATION_TAG = 0x0112
# orientation -> (quarter turns anticlockwise, then mirrored left to right)
TURNS = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}


def read_picture(path: str | os.PathLike[str], at_least: tuple[int, int] | None = None) -> Picture:
    """Read a picture, upright, as RGB.

    Args:
        path: a file; its content decides the format, not its name.
        at_least: (width, height) that suffice; a JPEG may then come back 2, 4 or 8 times
            smaller, never below this size, in a fraction of the time.

    Raises:
        MediaError: not a picture, cut short, damaged, or above `PIXEL_LIMIT`.
    """
    file = require_file(path)
    name = one_line(path)
    with _pillow_at_rest:
        try:
            with Image.open(file, formats=FORMATS) as opened:
                _check_size(opened.size, name)
                if at_least is not None:
                    opened.draft(None, _unturned(at_least, opened))
                opened.load()
                return _upright(_rgb(opened, name), _orientation(opened))
        except MediaError:
            raise
        except UnidentifiedImageError as error:
            raise MediaError(f"{name} {_what_instead(file)}; give a {READABLE} picture") from error
        except Exception as error:  # decoders raise anything on hostile bytes
            raise MediaError(
                f"{name} is cut short or damaged ({one_line(error)}); save or download it again"
            ) from error


def as_picture(source: str | os.PathLike[str] | Image.Image | NDArray[Any]) -> Picture:
    """Return a picture from a path, a Pillow image or an array.

    Arrays are `H W`, `H W 1`, `H W 3` or `H W 4` (with alpha); uint8, or floats in 0..1.

    Raises:
        MediaError: anything else.
    """
    if isinstance(source, str | os.PathLike):
        return read_picture(source)
    if isinstance(source, Image.Image):
        _check_size(source.size, "the picture")
        with _pillow_at_rest:
            return _upright(_rgb(source, "the picture"), _orientation(source))
    return _from_array(source)


def fit_picture(picture: Picture, width: int, height: int) -> Picture:
    """Resize `H W 3` to exactly `height width 3`; proportions are the caller's business.

    Bilinear with antialiasing: each new pixel is a triangle-weighted mean of all the old ones
    that it covers. No ringing at edges, and the same as torch's
    `F.interpolate(mode="bilinear", antialias=True)` within one level of 255.
    """
    if width < 1 or height < 1:
        raise OptionError(f"a picture cannot be {width} x {height}; both must be 1 or more")
    if picture.shape[:2] == (height, width):
        return picture.copy()
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(small)


def proportions(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of about side x side pixels in the proportions of `size` (height, width).

    Both are multiples of `STRIDE`, so the proportions are kept to within a few per cent; a picture
    longer than `LONGEST` of its shorter sides is squeezed to that.
    """
    ratio = min(max(size[1] / size[0], 1 / LONGEST), LONGEST)
    root = math.sqrt(ratio)
    return _multiple(side / root), _multiple(side * root)


def _multiple(length: float) -> int:
    return max(1, round(length / STRIDE)) * STRIDE


def write_picture(path: str | os.PathLike[str], picture: NDArray[np.uint8]) -> None:
    """Write `H W 3` (RGB) or `H W` (grey) uint8 as the suffix says: .png, .jpg, .jpeg, .webp.

    Raises:
        MediaError: another suffix or kind of array, or the disk refuses.
    """
    name = one_line(path)
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise MediaError(f"{name}: a picture is written as {', '.join(WRITERS)}")
    if picture.dtype != np.uint8 or not _is_picture_shape(picture.shape, channels=(3,)):
        raise MediaError(f"{name}: {kind_of(picture)} is no picture; give uint8 H W or H W 3")
    kind, options = WRITERS[suffix]
    image = Image.fromarray(np.ascontiguousarray(picture))
    with write_beside(path) as temporary:
        try:
            image.save(temporary, kind, **options)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None):
                raise
            raise MediaError(f"{name} cannot be written: {one_line(error)}") from error


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > PIXEL_LIMIT:
        raise MediaError(
            f"{name} has {width:,} x {height:,} pixels, more than {PIXEL_LIMIT // 1_000_000} "
            "million; give a smaller copy"
        )


def _rgb(image: Image.Image, name: str) -> Picture:
    """Convert a decoded image to RGB strip by strip, so that no second full copy exists."""
    width, height = image.size
    if width * height == 0:
        raise MediaError(f"{name} has {width} x {height} pixels; give a picture with some")
    scale = _scale_to_white(image, name)
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = image.crop((0, top, width, bottom))
        if scale is None:
            pixels[top:bottom] = np.asarray(_flat_rgb(strip))
        else:
            low, white = scale
            grey = (np.asarray(strip, np.float64) - low) * (255 / (white - low))
            pixels[top:bottom] = np.clip(np.rint(grey), 0, 255)[..., None]
    return pixels


def _flat_rgb(strip: Image.Image) -> Image.Image:
    """Convert 8-bit modes to RGB, over white where they are transparent."""
    if not strip.has_transparency_data:
        return strip.convert("RGB")
    layer = strip.convert("RGBA")
    page = Image.new("RGB", layer.size, "white")
    page.paste(layer, mask=layer)
    return page


def _scale_to_white(image: Image.Image, name: str) -> tuple[float, float] | None:
    """Return the values that become 0 and 255, for modes above 8 bits; None for the others."""
    if image.mode.startswith("I;16"):
        return 0.0, float(WHITE_16_BIT)
    if image.mode not in ("I", "F"):
        return None
    low, high = (float(v) for v in _extrema(image))
    if not np.isfinite([low, high]).all():
        raise MediaError(f"{name} holds NaN or infinite pixels; give finite ones")
    whites = FLOAT_WHITES if image.mode == "F" else (float(WHITE_16_BIT),)
    for white in whites:
        if low >= 0 and high <= white:
            return 0.0, white
    return low, max(high, low + 1)


def _extrema(image: Image.Image) -> tuple[float, float]:
    """Return the smallest and largest value; NaN where any value is NaN."""
    values = np.asarray(image)
    return values.min(), values.max()


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 where there is none or nonsense."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001  damaged EXIF: the pixels are good
        return 1
    return value if value in TURNS else 1


def _upright(picture: Picture, orientation: int) -> Picture:
    quarters, mirrored = TURNS[orientation]
    turned = np.rot90(picture, quarters)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def _unturned(size: tuple[int, int], image: Image.Image) -> tuple[int, int]:
    """Return (width, height) as the file stores them: before the turn to upright."""
    width, height = size
    return (height, width) if TURNS[_orientation(image)][0] % 2 else (width, height)


def _from_array(source: object) -> Picture:
    if source is None or isinstance(source, tuple):
        raise MediaError(
            f"the picture is {kind_of(source)}; give a file, a Pillow picture or an array"
        )
    array = as_array(source, "the picture")
    if not _is_picture_shape(array.shape, channels=(1, 3, 4)):
        raise MediaError(f"{kind_of(array)} is no picture; give H W, H W 3 or H W 4")
    if array.dtype.kind == "f":
        if not (array.size and np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise MediaError(f"{kind_of(array)} has values outside 0..1; scale them, or use uint8")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise MediaError(f"{kind_of(array)} is no picture; give uint8, or floats in 0..1")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return _rgb(Image.fromarray(np.ascontiguousarray(array)), "the picture")


def _is_picture_shape(shape: tuple[int, ...], channels: tuple[int, ...]) -> bool:
    flat = len(shape) == 2 or (len(shape) == 3 and shape[2] in channels)
    return flat and min(shape) > 0


def _what_instead(file: Path) -> str:
    """Say what a file is that does not open as a picture."""
    what = what_is(file)
    if what is None:
        return "is not a picture that can be read"
    if what.endswith(READABLE_SIGNS):
        return f"is {what}, but cut short or damaged"
    if what.endswith("picture"):
        return f"is {what}, a kind that cannot be read"
    return f"is {what}, not a picture"


class _PillowAtRest:
    """`with` this, Pillow neither warns nor applies its own pixel limit (ours is checked).

    Both are state of the whole process. Threads may overlap: the first one in saves the state,
    the last one out restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._restore = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._restore.enter_context(_silenced())
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore.close()


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


_pillow_at_rest = _PillowAtRest()
