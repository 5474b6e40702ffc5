"""Sounds through libsndfile: wav, flac, aiff, ogg, opus and the like.

It is asked first, and declines what FFmpeg does better: mp3, and files of unknown length.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import soundfile

from soundspot.media.decoders.blocks import BLOCK_SAMPLES, SLACK_SECONDS, Block, cut_short, mono
from soundspot.media.decoders.wholeness import is_cut

SMALL_BLOCK_SAMPLES = 256
"""Reads after damage: they come close to the place where the file breaks off."""
UNKNOWN_LENGTH = 0x7FFF0000
"""Bytes; recorders that write to a pipe declare this much or more."""
UNKNOWN_FRAMES = 1 << 60


def opened_sound(opened: FileIO) -> soundfile.SoundFile | None:
    """Open with libsndfile; None for what FFmpeg does better: mp3 and unknown lengths.

    Its mp3 decoder prints to the terminal, and starts for any file that is *named* .mp3: hence
    the bare file descriptor.
    """
    if _is_mpeg_audio(opened.read(3)):
        return None
    opened.seek(0)
    try:
        sound = soundfile.SoundFile(opened.fileno(), closefd=False)
    except (soundfile.SoundFileError, TypeError, ValueError):
        return None
    if sound.format != "MP3" and 0 < sound.frames < UNKNOWN_FRAMES:
        return sound
    sound.close()
    return None


def blocks_of(
    sound: soundfile.SoundFile, opened: FileIO, file: Path, name: str, after: float
) -> Iterator[Block]:
    """The blocks of a sound, from `after` seconds on."""
    rate: int = sound.samplerate
    position = min(math.floor(after * rate), sound.frames - 1)
    try:
        for block in _reads(sound, position, BLOCK_SAMPLES):
            yield block
            position = block.first + len(block.samples)
    except soundfile.SoundFileError as error:
        opened.seek(0)
        again = opened_sound(opened)  # for the failed block, as far as it is whole
        if again is not None:
            with again, contextlib.suppress(soundfile.SoundFileError):
                for block in _reads(again, position, SMALL_BLOCK_SAMPLES):
                    yield block
                    position = block.first + len(block.samples)
        raise cut_short(name, position / rate) from error
    if position < sound.frames or _is_cut_wave(sound) or is_cut(file):
        raise cut_short(name, position / rate)


def _reads(sound: soundfile.SoundFile, position: int, size: int) -> Iterator[Block]:
    sound.seek(position)
    while len(samples := sound.read(size, dtype="float32", always_2d=True)):
        yield Block(sound.samplerate, position, mono(samples, axis=1))
        position += len(samples)


def _is_mpeg_audio(head: bytes) -> bool:
    return head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


def _is_cut_wave(sound: soundfile.SoundFile) -> bool:
    """Tell whether the head declares more bytes of sound than the file holds."""
    found = re.search(r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", sound.extra_info)
    if not found or sound.frames == 0:
        return False
    declared, held = int(found[1]), int(found[2])
    missing = (declared - held) / (held / sound.frames) / sound.samplerate
    return declared < UNKNOWN_LENGTH and missing > SLACK_SECONDS
