"""Heads, formats of sounds and the first version: pictures without sounds, and old shards."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import wave
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from small_shards import SIZES, flac, flip, look, noise, old_shards, small_shards
from soundspot.cli import main
from soundspot.errors import DataError, MediaError
from soundspot.shards import RawPictures, RawSample, Shards
from soundspot.shards.format import BLOCK, BrokenTarError, head_of
from soundspot.shards.index import index_bytes, open_index
from soundspot.shards.info import describe
from soundspot.shards.options import SoundFormat
from soundspot.shards.several import open_shards
from soundspot.shards.sounds import decoded, encoded

COUNT = sum(SIZES)
FORMATS = ("flac", "wav")


@pytest.fixture(params=FORMATS)
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return small_shards(tmp_path / "new", request.param)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return old_shards(tmp_path / "old")


def without_sound(raw: RawSample) -> RawPictures:
    return RawPictures(raw.key, raw.pictures, raw.meta, raw.where)


# --- heads ---------------------------------------------------------------------------------------


def test_a_head_is_all_but_the_sound(folder: Path) -> None:
    content = (folder / "shard-000000.tar").read_bytes()
    index = open_index(folder / "shard-000000.idx")
    with tarfile.open(folder / "shard-000000.tar") as tar:
        sounds = [m for m in tar.getmembers() if m.name.endswith((".flac", ".wav"))]
    for number, sound in enumerate(sounds):
        offset, length, crc, head, head_crc = index.place(number)
        assert offset + head == sound.offset
        assert offset + length == sound.offset_data + sound.size + -sound.size % BLOCK
        assert head_crc == zlib.crc32(content[offset : offset + head])
        assert crc == zlib.crc32(content[offset : offset + length])


def test_pictures_are_those_of_the_whole_and_nothing_else_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards, read, pread = Shards.open(folder), list[int](), os.pread

    def counted(file: int, length: int, offset: int) -> bytes:
        read.append(length)
        return pread(file, length, offset)

    monkeypatch.setattr("soundspot.shards.reader.os.pread", counted)
    for number in range(COUNT):
        whole, head = shards.raw(number), shards.pictures(number)
        assert head == without_sound(whole)
        assert np.array_equal(head.picture(at_least=(8, 6)), whole.picture(at_least=(8, 6)))
        assert len(whole.sound) + BLOCK <= read[-2] - read[-1] < len(whole.sound) + 2 * BLOCK
    with pytest.raises(IndexError):
        shards.pictures(COUNT)


@pytest.mark.parametrize(("member", "kept"), [(0, False), (1, False), (2, True)])
def test_pictures_do_not_mind_a_damaged_sound(folder: Path, member: int, kept: bool) -> None:
    with tarfile.open(folder / "shard-000000.tar") as tar:
        at = [m for m in tar.getmembers() if m.name.startswith("000000002.")][member]
    flip(folder / "shard-000000.tar", at.offset_data + at.size // 2)
    shards = Shards.open(folder)
    with pytest.raises(MediaError, match="sample 000000002 is damaged"):
        shards.raw(2)
    assert look(folder).whole == COUNT - 1
    if kept:
        assert shards.pictures(2).meta["id"] == "n2"
        return
    with pytest.raises(MediaError, match="sample 000000002 is damaged"):
        shards.pictures(2)


def test_pictures_of_a_sound_that_was_cut_off(folder: Path) -> None:
    place = open_index(folder / "shard-000002.idx").place(3)
    os.truncate(folder / "shard-000002.tar", place.offset + place.head + BLOCK)
    shards = Shards.open(folder)
    assert shards.pictures(COUNT - 1).meta["id"] == "n9"
    with pytest.raises(MediaError, match="cut short"):
        shards.raw(COUNT - 1)
    os.truncate(folder / "shard-000002.tar", place.offset + place.head - 1)
    with pytest.raises(MediaError, match="not those that were packed"):
        Shards.open(folder).pictures(COUNT - 1)


def test_an_index_made_anew_knows_the_heads(folder: Path) -> None:
    index = folder / "shard-000000.idx"
    true = index.read_bytes()
    index.unlink()
    assert Shards.open(folder).pictures(1).meta["id"] == "n1"
    assert index.read_bytes() == true
    assert look(folder).ok


# --- the first version ---------------------------------------------------------------------------


def test_shards_of_the_first_version_are_read(old: Path, tmp_path: Path) -> None:
    then, now = Shards.open(old), Shards.open(small_shards(tmp_path / "now"))
    assert list(then.names()) == list(now.names())
    for number in range(COUNT):
        before, after = then.raw(number), now.raw(number)
        assert (before.pictures, before.meta, before.sound) == (
            after.pictures, after.meta, after.sound,
        )  # fmt: skip
        assert then.pictures(number) == without_sound(before)
        assert np.array_equal(before.wave()[0], after.wave()[0])
    assert look(old).ok
    assert describe(then).sounds == {"flac": COUNT}
    assert then.catalogue.settings["sound"] == "flac"


def test_damage_to_shards_of_the_first_version_is_named(old: Path) -> None:
    place = open_index(old / "shard-000000.idx").place(2)
    flip(old / "shard-000000.tar", place.offset + place.length - 2 * BLOCK - 10)
    shards = Shards.open(old)
    for read in (shards.raw, shards.pictures):
        with pytest.raises(MediaError, match="sample 000000002 is damaged"):
            read(2)
        assert read(3).meta["id"] == "n3"
    assert look(old).whole == COUNT - 1


@pytest.mark.parametrize("how", ["missing", "flipped"])
def test_a_lost_index_of_the_first_version_comes_back_as_it_was(old: Path, how: str) -> None:
    index = old / "shard-000002.idx"
    true = index.read_bytes()
    index.unlink() if how == "missing" else flip(index, 40)
    assert not look(old).ok
    assert Shards.open(old).raw(8).meta["id"] == "n8"
    assert index.read_bytes() == true
    assert look(old).ok


def test_old_and_new_folders_of_any_sound_are_one_list(old: Path, tmp_path: Path) -> None:
    folders = [old, *(small_shards(tmp_path / name, name) for name in FORMATS)]
    joined = open_shards(folders)
    assert len(joined) == 3 * COUNT
    for number in range(len(joined)):
        raw = joined.raw(number)
        truth = decoded(flac(int(raw.key)), "flac")[0]
        assert np.array_equal(raw.wave()[0], truth)
        assert joined.pictures(number) == without_sound(raw)
    formats = [joined.raw(number).sound_format for number in range(len(joined))]
    assert {name: formats.count(name) for name in FORMATS} == {"flac": 2 * COUNT, "wav": COUNT}


# --- formats of sounds ---------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1e-4, 0.3, 1.0, 2.0]), st.integers(0, 999))
def test_both_formats_hold_the_same_numbers(seed: int, loudness: float, length: int) -> None:
    sound = loudness * np.random.default_rng(seed).uniform(-1, 1, length).astype(np.float32)
    sound = np.append(sound, np.float32([1, -1, 0, 1 - 2**-17, 2**-16]))
    files = {name: encoded(sound, 16_000, name) for name in FORMATS}
    (flac_heard, rate), (wav_heard, same_rate) = (decoded(files[name], name) for name in FORMATS)
    assert rate == same_rate == 16_000
    assert wav_heard.dtype == flac_heard.dtype == np.float32
    assert np.array_equal(wav_heard, flac_heard)
    truth = np.rint(sound.astype(float) * 32768).clip(-32768, 32767) / 32768
    assert np.array_equal(wav_heard, truth)
    assert np.array_equal(soundfile.read(io.BytesIO(files["wav"]))[0], truth)
    assert files == {name: encoded(sound, 16_000, name) for name in FORMATS}


def test_flac_files_are_those_of_the_library(tmp_path: Path) -> None:
    """Shards keep their bytes: libsndfile rounds and clips as `encoded` does."""
    sound = np.append(3 * noise(1), np.float32([1, -1]))
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.clip(-1, 1), 16_000, format="FLAC", subtype="PCM_16")
    assert encoded(sound, 16_000, "flac") == buffer.getvalue()


def test_what_is_no_wave_file_is_refused() -> None:
    whole, other = encoded(noise(0), 8000, "wav"), encoded(noise(0), 8000, "flac")
    for wrong in (b"", b"RIFF", whole[:30], whole[:-2], b"x" + whole[1:], other):
        with pytest.raises(ValueError, match=r".+"):
            decoded(wrong, "wav")
    for layout in ((2, 2), (1, 1)):
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setparams((*layout, 8000, 0, "NONE", ""))
            file.writeframes(bytes(8))
        with pytest.raises(ValueError, match="not mono with 16 bits"):
            decoded(buffer.getvalue(), "wav")


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_and_empty_sounds_are_refused_in_equal_words(
    name: SoundFormat,
) -> None:
    """A finished bank of sounds holds these words, and is the same to the byte."""
    with pytest.raises(ValueError, match=r"no samples|is no FLAC"):
        decoded(encoded(noise(0)[:0], 8000, name), name)
    whole, rng = encoded(noise(0), 8000, name), np.random.default_rng(0)
    said = set[str]()
    for _ in range(300):
        content = bytearray(whole)
        content[rng.integers(60)] ^= 1 << rng.integers(8)
        try:
            decoded(bytes(content), name)
        except ValueError as error:
            said.add(str(error))
    assert said
    assert not any("0x" in words for words in said)


def test_the_format_is_said_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small_shards(tmp_path / "wav", "wav")
    assert main(["data", "info", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "sound=wav" in said
    assert "sounds: wav (10)" in said
    assert "format: version 2; settings: " in said
    assert look(folder).ok
    text = (folder / "shards.json").read_text()
    (folder / "shards.json").write_text(text.replace('"sound": "wav"', '"sound": "flac"'))
    found = look(folder)
    assert found.whole == 0
    assert found.wrong[0].endswith("sample 000000000: its sound is wav, shards.json says flac")


def test_an_index_that_points_behind_all_files_is_damaged(folder: Path) -> None:
    path = folder / "shard-000001.idx"
    far = open_index(path).place(0)._replace(offset=2**63)
    path.write_bytes(index_bytes([far], ["000000005"]))
    with pytest.raises(MediaError, match="is damaged"):
        open_index(path)
    assert Shards.open(folder).raw(5).key == "000000005"


@pytest.mark.parametrize("settings", ["[]", "null", '"x"'])
def test_settings_that_are_none_are_damage(folder: Path, settings: str) -> None:
    path = folder / "shards.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "settings": json.loads(settings)}))
    with pytest.raises(DataError, match=r"shards\.json is damaged \(settings is .*, not an object"):
        Shards.open(folder)


def test_an_index_with_wrong_heads_is_found(folder: Path) -> None:
    """It agrees with its own checksums, with the samples' and with that of `shards.json`."""
    index, content = folder / "shard-000001.idx", (folder / "shard-000001.tar").read_bytes()
    place = open_index(index).place(0)
    shorter = place.head - BLOCK
    wrong = place._replace(head=shorter, head_crc=zlib.crc32(content[:shorter]))
    before = hashlib.sha256(index.read_bytes()).hexdigest()
    index.write_bytes(index_bytes([wrong], ["000000005"]))
    after = hashlib.sha256(index.read_bytes()).hexdigest()
    text = (folder / "shards.json").read_text()
    (folder / "shards.json").write_text(text.replace(before, after))
    found = look(folder)
    assert found.whole == COUNT - 1
    assert found.wrong[0].endswith("its index says wrongly where its sound begins")


# --- headers -------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.from_regex(r"[a-z0-9-]{1,80}\.[a-z0-9.]{1,9}", fullmatch=True), st.integers(0, 8**11 - 1),
       st.integers(0, BLOCK - 1), st.integers(0, 255))  # fmt: skip
def test_headers_are_read_as_by_tarfile(name: str, size: int, at: int, change: int) -> None:
    """A changed byte is seen; or it means nothing, as in the padding of the checksum."""
    info = tarfile.TarInfo(name)
    info.size = size
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    assert head_of(bytes(block)) == (name, size)
    block[at] ^= change
    try:
        found = head_of(bytes(block))
    except BrokenTarError:
        assert change
    else:
        again = tarfile.TarInfo.frombuf(bytes(block), "ascii", "strict")
        assert found == (again.name, again.size) == (name, size)


@pytest.mark.parametrize("block", [b"", bytes(BLOCK), b"x" * BLOCK, bytes(BLOCK - 1)])
def test_what_is_no_header_is_refused(block: bytes) -> None:
    with pytest.raises(BrokenTarError):
        head_of(block)


def test_folders_are_no_members() -> None:
    info = tarfile.TarInfo("folder")
    info.type = tarfile.DIRTYPE
    with pytest.raises(BrokenTarError, match="no plain file"):
        head_of(info.tobuf(tarfile.USTAR_FORMAT))
