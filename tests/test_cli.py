"""The command line from outside: what it prints, what it leaves, and how it says no."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import save_file

from soundspot import checkpoint
from soundspot.cli import COMMANDS, main
from soundspot.facts import Calibration, ModelFacts
from soundspot.localize import METHODS
from soundspot.models import TwoTower
from soundspot.streams import LastingStream

RATE = 16_000


@pytest.fixture(scope="session")
def sure_model(two_tower: TwoTower, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same random weights; its confidence is near 1 for any pair."""
    path = tmp_path_factory.mktemp("model") / "sure.safetensors"
    facts = two_tower.facts
    two_tower.facts = ModelFacts(size=64, seconds=1.0, calibration=Calibration(1e-3, 5.0))
    checkpoint.save(two_tower, path)
    two_tower.facts = facts
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a picture and a sound in it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8)).save("p.png")
    soundfile.write("s.wav", 0.3 * rng.standard_normal(RATE // 2), RATE)
    return tmp_path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], sure_model: Path) -> Run:
    """Run `main` in this process: exit code, standard output, standard error."""

    def run(*words: object, model: object = sure_model) -> tuple[int, str, str]:
        given = [str(word) for word in words]
        for option, value in (("--model", model), ("--device", "cpu")):
            if given[:1] == ["locate"] and option not in given:
                given += [option, str(value)]
        try:
            code = main(given)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return run


# --- one pair --------------------------------------------------------------------------------


def test_locate_draws(folder: Path, run: Run) -> None:
    code, out, err = run("locate", "p.png", "s.wav", "-o", "where.png")
    assert (code, err) == (0, "")
    assert out.startswith("source at ")
    assert out.endswith(", drawn in where.png\n")
    shown = np.asarray(Image.open("where.png"))
    assert shown.shape[0] > 60, "words stand below"
    assert shown.shape[1:] == (90, 3)
    assert (shown[:60] != np.asarray(Image.open("p.png"))).any()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_locate_draws_in_any_format(suffix: str, folder: Path, run: Run) -> None:
    assert run("locate", "p.png", "s.wav", "-o", f"deep/er/where{suffix}")[0] == 0
    with Image.open(f"deep/er/where{suffix}") as shown:
        assert shown.width == 90
        assert shown.height > 60


def test_locate_as_json(folder: Path, run: Run) -> None:
    code, out, err = run("locate", "p.png", "s.wav", "--json", "-")
    assert code == 0
    answer = json.loads(out)
    assert err.startswith("source at ")
    assert answer["size"] == [90, 60]
    assert answer["model"] == "sure"
    assert answer["method"] == "input_gradient"
    assert answer["calibrated"] is True
    assert answer["confidence"] == pytest.approx(0.993, abs=1e-3)
    for found in answer["boxes"]:
        x0, y0, x1, y1 = found["box"]
        assert 0 <= x0 < x1 <= 90
        assert 0 <= y0 < y1 <= 60
    assert run("locate", "p.png", "s.wav", "--json", "answer.json")[0] == 0
    written = json.loads(Path("answer.json").read_text())
    assert written | {"seconds": 0} == answer | {"seconds": 0}


def test_locate_writes_maps(folder: Path, run: Run) -> None:
    assert run("locate", "p.png", "s.wav", "--map", "m.npy")[0] == 0
    values = np.load("m.npy")
    assert (values.dtype, values.shape) == (np.float32, (60, 90))
    assert run("locate", "p.png", "s.wav", "--map", "m.png")[0] == 0
    grey = np.asarray(Image.open("m.png")).astype(float)
    assert (grey.min(), grey.max()) == (0, 65535)
    np.testing.assert_allclose(grey / 65535, (values - values.min()) / np.ptp(values), atol=1e-4)


@pytest.mark.parametrize(
    "method",
    [
        *(name for name in METHODS if not METHODS[name].parts and name != "occlusion"),
        "multi_scale(guided_backprop, scales=(1, 0.5))",
        "occlusion(patch=32, stride=16)",
        "combined(similarity_map, guided_backprop(blur=0.1))",
    ],
)
def test_locate_with_every_method(method: str, folder: Path, run: Run) -> None:
    code, out, _ = run("locate", "p.png", "s.wav", "--json", "-", "--method", method)
    assert code == 0
    assert json.loads(out)["method"] == method


def test_silence_is_a_sound(folder: Path, run: Run) -> None:
    soundfile.write("silent.wav", np.zeros(RATE), RATE)
    code, out, _ = run("locate", "p.png", "silent.wav", "-o", "where.png")
    assert code == 0
    assert out.startswith("no visible source (confidence 0.00)")
    shown = np.asarray(Image.open("where.png"))
    assert (shown[:40] == np.asarray(Image.open("p.png"))[:40]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (3, 2)])
def test_tiny_pictures_work(size: tuple[int, int], folder: Path, run: Run) -> None:
    Image.new("RGB", size, "red").save("tiny.png")
    code, out, _ = run("locate", "tiny.png", "s.wav", "--json", "-", "-o", "where.png")
    assert code == 0
    assert json.loads(out)["size"] == list(size)
    with Image.open("where.png") as shown:
        assert shown.size == size


def test_sounds_of_any_length(folder: Path, run: Run) -> None:
    for seconds in (0.03, 7.3):
        soundfile.write("x.wav", 0.1 * np.ones(round(seconds * 8000)), 8000)
        assert run("locate", "p.png", "x.wav")[0] == 0


# --- bad input -------------------------------------------------------------------------------


def png_of_size(path: Path, width: int, height: int) -> None:
    """A whole small picture whose head claims other proportions (with a right checksum)."""
    import struct
    import zlib

    Image.new("L", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def bad_pictures(folder: Path) -> dict[str, str]:
    """Name of each file, and what the message says beside it."""
    whole = Path("p.png").read_bytes()
    Path("empty.png").touch()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    Path("head.png").write_bytes(whole[:20])
    Path("noise.jpg").write_bytes(np.random.default_rng(0).bytes(5000))
    Path("text.jpg").write_text("this is no picture\n")
    Path("sound.png").write_bytes(Path("s.wav").read_bytes())
    Path("folder.png").mkdir()
    png_of_size(Path("huge.png"), 30_000, 30_000)
    return {
        "missing.png": "does not exist",
        "empty.png": "empty",
        "cut.png": "cut short",
        "head.png": "",
        "noise.jpg": "not a picture",
        "text.jpg": "not a picture",
        "sound.png": "a WAV sound",
        "folder.png": "folder",
        "huge.png": "30,000 x 30,000",
        "http://x.org/a.png": "web address",
        "new\nline.png": "does not exist",
    }


def bad_sounds(folder: Path) -> dict[str, str]:
    whole = Path("s.wav").read_bytes()
    Path("empty.wav").touch()
    Path("cut.wav").write_bytes(whole[: len(whole) // 2])
    Path("head.wav").write_bytes(whole[:30])
    Path("noise.mp3").write_bytes(np.random.default_rng(0).bytes(5000))
    Path("text.wav").write_text("this is no sound\n")
    Path("picture.wav").write_bytes(Path("p.png").read_bytes())
    soundfile.write("none.wav", np.zeros(0), RATE)
    soundfile.write("short.wav", np.zeros(100), RATE)
    bad = np.full(RATE, np.nan, np.float32)
    soundfile.write("nan.wav", bad, RATE, "FLOAT")
    return {
        "missing.wav": "does not exist",
        "empty.wav": "empty",
        "cut.wav": "cut short",
        "head.wav": "",
        "noise.mp3": "",
        "text.wav": "not a sound",
        "picture.wav": "",
        "none.wav": "no samples",
        "short.wav": "0.0063 s",
        "nan.wav": "NaN",
        ".": "folder",
    }


def check_refusal(answer: tuple[int, str, str], *says: str) -> None:
    code, out, err = answer
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("soundspot: ")
    assert "Traceback" not in err
    for text in says:
        assert text in err, err


def test_bad_pictures(folder: Path, run: Run) -> None:
    for name, says in bad_pictures(folder).items():
        before = sorted(os.listdir())
        answer = run("locate", name, "s.wav", "-o", "out.png", "--map", "m.npy", "--json", "j.json")
        check_refusal(answer, name.replace("\n", " "), says)
        assert sorted(os.listdir()) == before, name


def test_bad_sounds(folder: Path, run: Run) -> None:
    for name, says in bad_sounds(folder).items():
        before = sorted(os.listdir())
        answer = run("locate", "p.png", name, "-o", "out.png", "--map", "m.npy", "--json", "j.json")
        check_refusal(answer, name, says)
        assert sorted(os.listdir()) == before, name


def test_bad_models(folder: Path, run: Run, model_file: Path) -> None:
    Path("cut.safetensors").write_bytes(model_file.read_bytes()[:50_000])
    header = json.dumps({"version": 1, "kind": "distillation"})
    save_file({"x": torch.zeros(1)}, "other.safetensors", {"soundspot": header})
    for name, says in {
        "defualt": "neither a model that comes with soundspot",
        "cut.safetensors": "cut short",
        "other.safetensors": "holds a 'distillation' checkpoint",
        "p.png": "not a soundspot checkpoint",
        ".": "folder",
        "no\nsuch": "neither",
    }.items():
        answer = run("locate", "p.png", "s.wav", "-o", "out.png", "--model", name)
        check_refusal(answer, name.replace("\n", " "), says)
        assert not Path("out.png").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--method", "gradcam"], "unknown method 'gradcam'; there are similarity_map"),
        (["--method", "occlusion(size=3)"], "its options are patch, stride, fill"),
        (["--method", "occlusion(patch=0)"], "patch is a whole number"),
        (["--method", ""], "cannot be read"),
        (["--method", "__import__('os').abort()"], "cannot be read"),
        (["--device", "tpu"], "unknown device 'tpu'; there are auto, cuda, mps, cpu"),
        (["--device", "cpu:first"], "not available"),
        (["-o", "where.gif"], "where.gif: --output takes a name ending in .png"),
        (["-o", "where"], "where: --output takes"),
        (["--map", "map.txt"], "map.txt: --map takes a name ending in .npy, .png"),
        (["--colour"], "--colour"),
        (["--out", "where.png"], "--out"),
        (["--out-dir", "results"], "--out-dir goes with a manifest"),
        (["-o"], "expected one argument"),
    ],
)
def test_bad_options(options: list[str], says: str, folder: Path, run: Run) -> None:
    before = sorted(os.listdir())
    check_refusal(run("locate", "p.png", "s.wav", *options), says)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("option", ["-o", "--json", "--map"])
def test_places_that_cannot_be_written(option: str, folder: Path, run: Run) -> None:
    """A file stands where a folder is needed; or a folder stands where a file is needed."""
    suffix = {"-o": ".png", "--json": ".json", "--map": ".npy"}[option]
    Path("file").touch()
    Path(f"folder{suffix}").mkdir()
    before = sorted(os.listdir())
    for place in (f"file/out{suffix}", f"folder{suffix}"):
        check_refusal(run("locate", "p.png", "s.wav", option, place), f"{place} ")
        assert sorted(os.listdir()) == before


def test_wrong_use(folder: Path, run: Run) -> None:
    check_refusal(run("locate", "p.png"), "p.png: a sound is needed too")
    Path("text.mp4").write_text("no film")
    check_refusal(run("locate", "text.mp4"), "text.mp4: is no video; for a picture a sound is")
    check_refusal(run("locate", model=""), "INPUT")
    check_refusal(run("locate", "s.wav"), "s.wav: is a WAV sound; a picture is needed too")
    check_refusal(run("locate", "p.png", "--modle", "x"), "--modle", "`soundspot locate --help`")
    check_refusal(run("data", "check", "x", "--nay"), "--nay", "`soundspot data check --help`")
    check_refusal(run("lcoate", "p.png"), "lcoate")
    check_refusal(run("--verison"), "--verison")


def test_a_model_in_code_is_located_with(folder: Path, run: Run) -> None:
    Path("own_code.py").write_text(
        "from soundspot import ModelFacts\n\n\n"
        "def bright(images, sounds):\n    return images.mean((1, 2, 3)) + sounds.std(1)\n\n\n"
        "bright.facts = ModelFacts('bright', size=32, sample_rate=8000, seconds=0.25)\n"
    )
    code, out, err = run("locate", "p.png", "s.wav", "--map", "m.npy", model="own_code:bright")
    assert (code, err) == (0, "")
    assert out.endswith("map in m.npy\n")
    check_refusal(
        run("locate", "p.png", "s.wav", model="own_code:none"), "the module has no 'none'"
    )
    check_refusal(
        run(
            "separate", "p.png", "s.wav", "--at", "1,1", "-o", "o.wav", "--model", "own_code:bright"
        ),
        "own_code:bright: does not separate sounds; leave --model out",
    )


# --- many pairs ------------------------------------------------------------------------------


def write_manifest(*entries: dict[str, Any]) -> None:
    Path("pairs.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def pair(name: str, **changes: str) -> dict[str, str]:
    return {"id": name, "image": "p.png", "sound": "s.wav", **changes}


def test_manifest(folder: Path, run: Run) -> None:
    write_manifest(*(pair(f"n{i}") for i in range(5)))
    code, out, _ = run("locate", "pairs.jsonl", "--out-dir", "r", "--save", "json,map,overlay",
                       "--batch", 2)  # fmt: skip
    assert code == 0
    assert out == "5 located, 0 done before, 0 failed; results in r\n"
    names = {f"n{i}{suffix}" for i in range(5) for suffix in (".json", ".npy", ".png")}
    assert set(os.listdir("r")) == names | {"run.settings", "errors.jsonl"}
    assert Path("r/errors.jsonl").read_text() == ""
    single = json.loads(run("locate", "p.png", "s.wav", "--json", "-", "--map", "m.npy")[1])
    many = json.loads(Path("r/n3.json").read_text())
    assert many | {"seconds": 0} == single | {"seconds": 0}
    np.testing.assert_allclose(np.load("r/n3.npy"), np.load("m.npy"), rtol=1e-3, atol=1e-6)


def test_manifest_with_bad_entries_and_going_on(folder: Path, run: Run) -> None:
    bad_sounds(folder)
    write_manifest(
        pair("good"), pair("no-picture", image="missing.png"), pair("nan", sound="nan.wav"),
        pair("also-good"),
    )  # fmt: skip
    code, out, err = run("locate", "pairs.jsonl", "--out-dir", "r", "--save", "json")
    assert code == 1
    assert out == "2 located, 0 done before, 2 failed; results in r\n"
    assert "no-picture: " in err
    errors = [json.loads(line) for line in Path("r/errors.jsonl").read_text().splitlines()]
    assert [e["id"] for e in errors] == ["no-picture", "nan"]
    assert "missing.png" in errors[0]["error"]
    assert sorted(os.listdir("r")) == [
        "also-good.json",
        "errors.jsonl",
        "good.json",
        "run.settings",
    ]

    before = os.stat("r/good.json").st_mtime_ns
    Image.new("RGB", (9, 9)).save("missing.png")
    code, out, _ = run("locate", "pairs.jsonl", "--out-dir", "r", "--save", "json")
    assert (code, out) == (1, "1 located, 2 done before, 1 failed; results in r\n")
    assert os.stat("r/good.json").st_mtime_ns == before
    assert len(Path("r/errors.jsonl").read_text().splitlines()) == 1

    soundfile.write("nan.wav", np.ones(RATE), RATE)
    assert run("locate", "pairs.jsonl", "--out-dir", "r", "--save", "json")[0] == 0
    assert Path("r/errors.jsonl").read_text() == ""
    code, out, _ = run("locate", "pairs.jsonl", "--out-dir", "r", "--save", "json")
    assert (code, out) == (0, "0 located, 4 done before, 0 failed; results in r\n")


def test_manifest_with_other_settings(folder: Path, run: Run, model_file: Path) -> None:
    write_manifest(pair("a"))
    assert run("locate", "pairs.jsonl", "--out-dir", "r", "--save", "json")[0] == 0
    before = sorted(os.listdir("r"))
    for options in (["--method", "grad_cam"], ["--model", str(model_file)]):
        answer = run("locate", "pairs.jsonl", "--out-dir", "r", "--save", "json", *options)
        check_refusal(answer, "r: holds results made with")
    Path("r/run.settings").write_text("?")
    check_refusal(run("locate", "pairs.jsonl", "--out-dir", "r"), "r: holds results")
    assert sorted(os.listdir("r")) == before


def test_manifest_whose_ids_are_our_names(folder: Path, run: Run) -> None:
    """No id can overwrite what the run notes of itself."""
    write_manifest(*(pair(name) for name in ("run", "errors", "settings", "run.settings")))
    for count in ("4 located, 0 done", "0 located, 4 done"):
        code, out, _ = run("locate", "pairs.jsonl", "--out-dir", "r", "--save", "json")
        assert code == 0
        assert out.startswith(count)
    assert len(os.listdir("r")) == 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pairs.jsonl"], "pairs.jsonl: a manifest needs --out-dir"),
        (
            ["pairs.jsonl", "s.wav", "--out-dir", "r"],
            "s.wav goes with a picture or a video, not with a manifest",
        ),
        (
            ["pairs.jsonl", "--out-dir", "r", "-o", "x.png"],
            "--output goes with a picture or a video, not with a manifest",
        ),
        (
            ["pairs.jsonl", "--out-dir", "r", "--json", "-"],
            "--json goes with a picture or a video, not with a manifest",
        ),
        (
            ["pairs.jsonl", "--out-dir", "r", "--save", "png,map"],
            "unknown output png; there are overlay, json, map and",
        ),
        (
            ["pairs.jsonl", "--out-dir", "r", "--save", ","],
            "no output is named; there are overlay, json, map and",
        ),
        (["pairs.jsonl", "--out-dir", "r", "--batch", "0"], "--batch is at least 1"),
        (["pairs.jsonl", "--out-dir", "r", "--batch", "x"], "--batch"),
        (["pairs.jsonl", "--out-dir", "r", "--method", "similarity"], "unknown method"),
        (["none.jsonl", "--out-dir", "r"], "none.jsonl"),
        (["bad.jsonl", "--out-dir", "r"], "bad.jsonl, line 2"),
        (["empty.jsonl", "--out-dir", "r"], "empty.jsonl"),
        (["pairs.jsonl", "--out-dir", "p.png"], "p.png is a file; give --out-dir a folder"),
    ],
)
def test_manifests_that_cannot_start(words: list[str], says: str, folder: Path, run: Run) -> None:
    write_manifest(pair("a"))
    Path("bad.jsonl").write_text(json.dumps(pair("a")) + "\n{'id': 5}\n")
    Path("empty.jsonl").touch()
    before = sorted(os.listdir())
    check_refusal(run("locate", *words), says)
    assert sorted(os.listdir()) == before


# --- lists and help --------------------------------------------------------------------------


def test_lists(run: Run) -> None:
    code, out, err = run("methods")
    assert (code, err) == (0, "")
    for name, method in METHODS.items():
        assert name in out
        assert method.summary in out
    assert "options patch=64, stride=32, fill='mean'" in out
    assert "options scales=(1.0, 0.4375)" in out
    code, out, err = run("models")
    assert (code, err) == (0, "")
    assert out.startswith("default")


def test_help(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for name in (command.__name__.rpartition(".")[2] for command in COMMANDS):
        assert f"  {name}" in out
        code, text, err = run(name, "--help")
        assert (code, err) == (0, "")
        assert text.startswith(f"usage: soundspot {name}")
    assert run() == (0, out, "")
    code, out, _ = run("--version")
    assert (code, out) == (0, "soundspot 0.1.0\n")


# --- as a process of its own -----------------------------------------------------------------


def process(*words: object) -> subprocess.CompletedProcess[str]:
    code = "import sys; from soundspot.cli import main; sys.exit(main())"
    given = [sys.executable, "-W", "error", "-c", code, *map(str, words)]
    return subprocess.run(given, capture_output=True, text=True, check=False, timeout=60)


def test_processes(folder: Path, sure_model: Path) -> None:
    options = ("--model", sure_model, "--device", "cpu", "--json", "-")
    done = process("locate", "p.png", "s.wav", "-o", "where.png", *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["visible"] is True
    assert done.stderr.count("\n") == 1
    assert Path("where.png").exists()
    done = process("methods")
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="file names")
def test_names_that_are_no_text(folder: Path, sure_model: Path) -> None:
    """A name of bytes that are not UTF-8 is used as it is and printed in a readable way."""
    os.rename(b"p.png", b"caf\xe9.png")
    options = ("--model", sure_model, "--device", "cpu")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from soundspot.cli import main; sys.exit(main())",
         b"locate", b"caf\xe9.png", b"missing-\xe9.wav", *map(str, options)],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"missing-" in done.stderr


def without_reader(*words: object) -> subprocess.CompletedProcess[bytes]:
    """Run a command whose standard output and error nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    given = [
        sys.executable,
        "-u",
        "-c",
        "import sys; from soundspot.cli import main; sys.exit(main())",
    ]
    try:
        return subprocess.run(
            [*given, *map(str, words)], stdout=writer, stderr=writer, check=False, timeout=60
        )
    finally:
        os.close(writer)


def test_nobody_reads_what_is_printed(folder: Path, sure_model: Path) -> None:
    """What writes files goes on, and its exit code says how it went; what only prints is done."""
    write_manifest(pair("good"), pair("bad", image="missing.png"))
    options = ("--save", "json", "--model", sure_model, "--device", "cpu")
    done = without_reader("locate", "pairs.jsonl", "--out-dir", "r", *options)
    assert done.returncode == 1
    assert Path("r/good.json").exists()
    assert without_reader("protocols").returncode == 0
    assert without_reader("locate", "missing.png", "s.wav").returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full")
def test_a_full_disk_is_no_reader_that_left() -> None:
    """Answers that cannot be written are an error, progress that cannot be is none."""
    with Path("/dev/full").open("w") as full:
        answers, progress = (LastingStream(full, any_error=any_) for any_ in (False, True))
        with pytest.raises(OSError, match="No space left"):
            print("answer", file=answers, flush=True)
        for _ in range(2):
            print("bar", file=progress, flush=True)
