"""Files are whole or absent, and every refusal is one line that names the file."""

import os
import stat
from pathlib import Path

import pytest

from soundspot.errors import MediaError
from soundspot.files import one_line, require_file, what_is, write_beside


def only(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_written_whole(tmp_path):
    target = tmp_path / "new" / "folders" / "out.png"
    with write_beside(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert only(target.parent) == ["out.png"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MediaError])
def test_failure_leaves_the_old_file(tmp_path, error):
    target = tmp_path / "out.txt"
    target.write_text("old")

    def write():
        with write_beside(target) as temporary:
            temporary.write_text("half")
            raise error("stop")

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert only(tmp_path) == ["out.txt"]


def test_disk_full_is_one_line(tmp_path):
    def write():
        with write_beside(tmp_path / "out.txt"):
            raise OSError(28, "No space left on device")

    with pytest.raises(MediaError, match=r"out\.txt cannot be written: no space left on device"):
        write()
    assert only(tmp_path) == []


def test_errors_of_other_files_pass(tmp_path):
    def write():
        with write_beside(tmp_path / "out.txt"):
            (tmp_path / "other").read_text()

    with pytest.raises(FileNotFoundError):
        write()


def test_encoder_that_removes_the_temporary(tmp_path):
    def write():
        with write_beside(tmp_path / "out.txt") as temporary:
            temporary.unlink()

    with pytest.raises(MediaError, match="cannot be written"):
        write()


def test_permissions_links_and_umask(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    with write_beside(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640

    before = os.umask(0o027)
    try:
        with write_beside(tmp_path / "fresh.txt") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "fresh.txt").stat().st_mode) == 0o640


def test_bad_targets(tmp_path):
    (tmp_path / "file").write_text("x")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cases = {
        tmp_path: "is a folder",
        tmp_path / "file" / "out.png": "cannot be written: not a directory|file exists",
        pipe: "is a device or pipe",
        Path(os.devnull): "is a device or pipe",
        tmp_path / ("x" * 300 + ".png"): "cannot be written: file name too long",
    }
    for path, message in cases.items():
        with pytest.raises(MediaError, match=message), write_beside(path):
            pass


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MediaError, match="permission denied"), write_beside(tmp_path / "o.txt"):
        pass


def test_require_file(tmp_path):
    good, empty, pipe = tmp_path / "good", tmp_path / "empty", tmp_path / "pipe"
    good.write_text("x")
    empty.touch()
    os.mkfifo(pipe)
    assert require_file(str(good)) == good
    cases = {
        tmp_path / "missing.wav": "does not exist",
        tmp_path: "is a folder",
        empty: r"is empty \(0 bytes\)",
        pipe: "is not a regular file",
        good / "below": "does not exist|not a directory",
        "a\0b": "does not exist|null",
        "https://example.org/a.jpg": "is a web address",
    }
    for path, message in cases.items():
        with pytest.raises(MediaError, match=message) as caught:
            require_file(path)
        assert "\n" not in str(caught.value)


def test_one_line():
    assert one_line("a\n  b\tc\x1b[0m") == "a b c\\x1b[0m"


def test_what_is(tmp_path):
    file = tmp_path / "x"
    for content, what in ((b"RIFF____WAVE", "a WAV sound"), (b"\xff\xd8\xff", "a JPEG picture")):
        file.write_bytes(content)
        assert what_is(file) == what
    file.write_bytes(b"?")
    assert what_is(file) is None
