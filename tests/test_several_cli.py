"""`soundspot locate --sources` from outside, on pictures and films."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import soundspot
from films import tones, write_film
from pack_films import make_film
from soundspot import film_job
from soundspot.cli import main
from soundspot.errors import MediaError, OptionError
from soundspot.facts import Calibration, ModelFacts
from soundspot.filming_sources import FilmedSource, film_sources
from soundspot.media.video import frame_times, frames, read_info
from soundspot.models.two_tower import TwoTower, TwoTowerConfig
from soundspot.render_film import Look
from soundspot.several import film
from soundspot.several.clip import SourcesOfClip
from soundspot.track_file import read_tracks

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is sure of everything, a picture, two tones by turns, and a film."""
    here = tmp_path_factory.mktemp("several")
    torch.manual_seed(0)
    facts = ModelFacts(size=64, seconds=2.0, method="similarity_map", calibration=Calibration(1, 9))
    model = TwoTower(TwoTowerConfig(embedding=8, hidden=8), facts).eval()
    soundspot.save(model, here / "toy.safetensors", half=False)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 120, 3), np.uint8)
    Image.fromarray(pixels).save(here / "a.png")
    t = np.arange(2 * RATE) / RATE
    tones = 0.3 * np.sin(2 * np.pi * np.where(t < 1, 300, 2000) * t)
    soundfile.write(here / "a.wav", tones.astype(np.float32), RATE)
    make_film(here / "film.mp4", seconds=1.0, size=(96, 64))
    return here


def locate(folder: Path, *words: str) -> int:
    return main(["locate", *words, "--model", str(folder / "toy.safetensors")])


def test_two_sources_are_drawn_told_and_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = (str(folder / "a.png"), str(folder / "a.wav"))
    out, maps, ears = tmp_path / "o.png", tmp_path / "m.npy", tmp_path / "heard"
    words = ("-o", str(out), "--map", str(maps), "--listen", str(ears), "--json", "-")
    assert locate(folder, *pair, "--sources", "2", *words) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)["sources"]
    assert [one["source"] for one in told] == [1, 2]
    assert all(one["approach"] == "territories" and one["visible"] for one in told)
    with Image.open(out) as drawn:
        assert drawn.width == 120
        assert drawn.height > 60, "words stand below"
    assert np.load(tmp_path / "m-1.npy").shape == (60, 120)
    shares = [one["sound_share"] for one in told]
    for number, share in zip((1, 2), shares, strict=True):
        samples, rate = soundfile.read(ears / f"source-{number}.wav")
        assert (rate, len(samples)) == (RATE, 2 * RATE)
        assert 0 <= share <= 1
    assert "drawn in" in said.err
    assert all(
        f"written: {path}" in said.err for path in (tmp_path / "m-2.npy", ears / "source-1.wav")
    )


def test_all_or_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    pair, out = (str(folder / "a.png"), str(folder / "a.wav")), tmp_path / "o.png"
    words = ("-o", str(out), "--listen", str(tmp_path / "taken" / "heard"))
    assert locate(folder, *pair, "--sources", "2", *words) == 2
    assert not out.exists()


def test_auto_answers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = (str(folder / "a.png"), str(folder / "a.wav"))
    assert locate(folder, *pair, "--sources", "auto") == 0
    assert "1: source at" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a.png", "a.wav", "--sources", "5"), "give auto, or a number from 1 to 4"),
        (("a.png", "a.wav", "--sources", "two"), "give auto, or a number from 1 to 4"),
        (("a.png", "a.wav", "--listen", "x"), "--listen goes with --sources"),
        (("a.png", "a.wav", "--sources", "2", "--approach", "x"), "unknown approach 'x'"),
        (("film.mp4", "--sources", "2"), "--tracks FILE.jsonl, --listen DIR or --json"),
        (("film.mp4", "--sources", "2", "--json", "-", "--curve"), "--curve changes how a film"),
        (("film.mp4", "--sources", "2", "--json", "-", "--start", "5"), "before 5 s; ask earlier"),
        (("film.mp4", "--sources", "2", "--json", "-", "--start", "5", "--stop", "3"), "lie after"),
        (("film.mp4", "--sources", "2", "-o", "/proc/where.mp4"), "/proc/where.mp4 cannot be"),
    ],
)
def test_refusals(
    words: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [str(folder / word) if "." in word else word for word in words]  # /proc stays
    assert locate(folder, *named) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_film_keeps_its_frames_and_names_its_sources(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "where.mp4"
    clip = folder / "film.mp4"
    tracks = tmp_path / "where.jsonl"
    words = ("--sources", "2", "-o", str(out), "--json", "-", "--every", "5")
    assert locate(folder, str(clip), *words, "--tracks", str(tracks)) == 0
    told = json.loads(capsys.readouterr().out)["sources"]
    assert [one["source"] for one in told] == [1, 2]
    assert all(0 <= a < b <= 1.2 for one in told for a, b in one["sounds"])
    assert len(frame_times(out)) == len(frame_times(clip))
    assert read_info(out).has_sound
    kept = read_tracks(tracks)
    assert kept.header["sources"] == 2
    assert [line["index"] for line in kept.frames] == list(range(-(-len(frame_times(clip)) // 5)))
    for line in kept.frames:
        shown = [one["source"] for one in line["sources"] if one["shown"]]
        assert sorted(box["id"] for box in line["boxes"]) == shown
        assert line["visible"] == bool(shown)
    assert kept.summary is not None
    spans = {one["source"]: one["sounds"] for one in kept.summary["sources"]}
    assert spans == {track["id"]: track["intervals"] for track in kept.summary["tracks"]}
    assert [[[round(v, 3) for v in s] for s in spans[k]] for k in (1, 2)] == [
        one["sounds"] for one in told
    ]


@pytest.mark.parametrize("every", [1, 3])
def test_a_film_that_was_stopped_goes_on_and_ends_the_same(
    every: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film_job, "SEGMENT_FRAMES", 4)
    model = soundspot.load(folder / "toy.safetensors")
    clip = write_film(tmp_path / "c.mp4", [n / 10 for n in range(19)], wave=tones([], 1.9))

    def run(name: str) -> list[FilmedSource]:
        outputs = tmp_path / name / "w.mkv", tmp_path / name / "t.jsonl"
        task = {"tracks": outputs[1], "every": every, "start": 0.25, "look": Look(curve=True)}
        return film_sources(clip, model, outputs[0], 2, **task, listen=True, device="cpu")  # type: ignore[arg-type]

    whole = run("whole")
    located, calls = SourcesOfClip.locate, iter(range(13 // every))

    def locate_once(found: SourcesOfClip, picture: np.ndarray) -> object:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return located(found, picture)

    with monkeypatch.context() as patch:
        patch.setattr(SourcesOfClip, "locate", locate_once)
        with pytest.raises(KeyboardInterrupt):
            run("again")
    assert len(list((tmp_path / "again" / "w.mkv.part").glob("*.nut"))) == 3
    with pytest.raises(OptionError, match="holds an unfinished film of another clip"):
        film_sources(clip, model, tmp_path / "again" / "w.mkv", 1, device="cpu")
    again = run("again")
    assert again == whole
    for one, other in zip(again, whole, strict=True):
        assert one.sound is not None
        assert other.sound is not None
        np.testing.assert_array_equal(one.sound.samples, other.sound.samples)
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == ["t.jsonl", "w.mkv"]
    lines = [(tmp_path / name / "t.jsonl").read_bytes() for name in ("whole", "again")]
    assert lines[0] == lines[1]
    films = [frames(tmp_path / name / "w.mkv") for name in ("whole", "again")]
    for (time_a, a), (time_b, b) in zip(*films, strict=True):
        assert time_a == time_b
        assert np.abs(a.astype(int) - b).mean() < 0.5


def test_a_stop_behind_the_end_is_the_end(folder: Path) -> None:
    model = soundspot.load(folder / "toy.safetensors")
    found = film_sources(folder / "film.mp4", model, sources=1, every=20, stop=999.0, device="cpu")
    assert found[0].stretches[-1][1] <= 1.1


def test_what_becomes_of_the_sound_is_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_film(tmp_path / "pcm.mkv", [0.0, 0.1], wave=tones([], 0.2), sound="pcm_s16le")
    out = str(tmp_path / "where.mp4")
    assert locate(folder, str(clip), "--sources", "1", "-o", out) == 0
    assert "it is encoded again as AAC" in capsys.readouterr().err


def test_nothing_is_fitted_before_the_output_is_known_to_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film, "sources_of_clip", None)
    model = soundspot.load(folder / "toy.safetensors")
    for name, error in (("where.avi", OptionError), ("where.mp4", MediaError)):
        (tmp_path / name).mkdir()
        with pytest.raises(error, match=r"a film is written as|is a folder"):
            film_sources(folder / "film.mp4", model, tmp_path / name)
    with pytest.raises(OptionError, match="is read from"):
        film_sources(folder / "film.mp4", model, folder / "film.mp4")


def test_a_long_film_is_to_be_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "LONGEST", 0.5)
    model = soundspot.load(folder / "toy.safetensors")
    with pytest.raises(OptionError, match=r"at most 0\.5 s at once, and this is 1 s"):
        film_sources(folder / "film.mp4", model)
    found = film_sources(folder / "film.mp4", model, sources=1, stop=0.4, every=4, device="cpu")
    assert [one.number for one in found] == [1]
    assert "1: " in str(found[0])
