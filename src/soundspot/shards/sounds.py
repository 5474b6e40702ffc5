"""The sound of a sample as a file: mono, 16 bits, FLAC or WAV.

Both hold the same numbers: a sample x in [-1, 1] is n = round(32768 x), at most 32767, and is read
as n / 32768. FLAC takes fewer bytes; unlike Vorbis it is lossless from there on, and its files hold
no random number. WAV needs no decoding. `python benchmarks/shards.py --films FOLDER` compares them.
"""

from __future__ import annotations

import io
import wave
from typing import cast

import numpy as np
import soundfile

from soundspot.media.audio import Sound
from soundspot.shards.options import SoundFormat

SCALE = 1 << 15
BYTES = 2
"""Of one sample of sound."""
LAYOUT = (1, BYTES)
"""Channels and bytes of what is read."""


def encoded(sound: Sound, rate: int, sound_format: SoundFormat) -> bytes:
    """A sound as a file; the same bytes for the same input."""
    buffer = io.BytesIO()
    numbers = np.rint(sound * np.float32(SCALE)).clip(-SCALE, SCALE - 1).astype("<i2")
    if sound_format == "flac":
        soundfile.write(buffer, numbers, rate, format="FLAC", subtype="PCM_16")
        return buffer.getvalue()
    with wave.open(buffer, "wb") as file:
        file.setparams((*LAYOUT, rate, len(numbers), "NONE", ""))
        file.writeframes(numbers.tobytes())
    return buffer.getvalue()


def decoded(content: bytes, sound_format: SoundFormat) -> tuple[Sound, int]:
    """A file's samples in [-1, 1), float32, and its rate in Hz.

    Raises:
        ValueError: it is no such file, cut short or empty.
    """
    sound, rate = _flac(content) if sound_format == "flac" else _wav(content)
    if not len(sound):
        raise ValueError("it holds no samples")
    return sound, rate


def _flac(content: bytes) -> tuple[Sound, int]:
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    except (soundfile.SoundFileError, MemoryError) as error:  # whose words name an address
        raise ValueError("it is no FLAC, or cut short") from error
    return cast("Sound", samples), int(rate)


def _wav(content: bytes) -> tuple[Sound, int]:
    try:
        with wave.open(io.BytesIO(content)) as file:
            layout, rate = (file.getnchannels(), file.getsampwidth()), file.getframerate()
            count = file.getnframes()
            numbers = file.readframes(count)
    except (wave.Error, EOFError, RuntimeError) as error:  # the last: a chunk behind the end
        raise ValueError(str(error) or "it is cut short") from error
    if layout != LAYOUT or len(numbers) < BYTES * count:
        raise ValueError("it is not mono with 16 bits, or cut short")
    sound = np.frombuffer(numbers, "<i2").astype(np.float32)
    sound *= np.float32(1 / SCALE)
    return sound, rate
