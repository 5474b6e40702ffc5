"""From a file to blocks of mono sound: libsndfile where it can, FFmpeg for all else."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from soundspot.media.decoders.blocks import Block
from soundspot.media.decoders.ffmpeg import ffmpeg_blocks
from soundspot.media.decoders.sndfile import blocks_of, opened_sound


def decode(file: Path, name: str, after: float) -> Generator[Block]:
    """Yield the blocks of a file from `after` seconds or earlier, by the decoder that can."""
    with file.open("rb", buffering=0) as opened:
        sound = opened_sound(opened)
        if sound is not None:
            with sound:
                yield from blocks_of(sound, opened, file, name, after)
            return
    yield from ffmpeg_blocks(file, name, after)
