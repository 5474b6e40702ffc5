"""Films of several sources: how they look, what is heard of each source, another sound."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import soundspot
from films import RATE as FILM_RATE
from films import scene, tones, write_film
from soundspot import several
from soundspot.cli import main
from soundspot.errors import MediaError, OptionError
from soundspot.facts import Calibration, ModelFacts
from soundspot.filming_sources import film_sources
from soundspot.media.audio import read_sound
from soundspot.media.video import frame_times, read_frame, read_info
from soundspot.models.two_tower import TwoTower, TwoTowerConfig
from soundspot.render_curve import GREY_DASH_COLOUR, STRIP_COLOUR, Curves
from soundspot.render_film import Look
from soundspot.render_sources import COLOURS, Layer, frame_of_sources
from soundspot.separating import Separated
from soundspot.several import film
from soundspot.several.film import Stretch
from soundspot.track_file import read_tracks

RATE = 16_000
SIZE = (96, 64)
TIMES = [n / 10 for n in range(20)]
LEAST = 1 / 2**15
"""A step of 16 bits."""


def toy() -> TwoTower:
    """A model that is sure of everything."""
    torch.manual_seed(0)
    facts = ModelFacts(size=64, seconds=2.0, method="similarity_map", calibration=Calibration(1, 9))
    return TwoTower(TwoTowerConfig(embedding=8, hidden=8), facts).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, a film whose two tones sound by turns, a silent one, and another sound."""
    here = tmp_path_factory.mktemp("several_film")
    soundspot.save(toy(), here / "toy.safetensors", half=False)
    wave = tones([(0, 1, "red"), (1, 2, "green")], 2.0)
    write_film(here / "clip.mkv", TIMES, wave=wave, sound="flac")
    write_film(here / "silent.mp4", TIMES)
    soundfile.write(here / "half.wav", tones([(0, 1, "red")], 1.0), FILM_RATE)
    return here


def locate(folder: Path, *words: str) -> int:
    return main(["locate", *words, "--model", str(folder / "toy.safetensors")])


def found_of(clip: several.SourcesOfClip) -> list[Separated]:
    """Sounds where the shares are known: one source sounds up to the middle, the other then."""
    middle = float(clip.times[-1] + clip.times[0]) / 2
    times = torch.cat((torch.from_numpy(clip.times), torch.tensor([middle])))
    first = (times < middle).float() + (times == middle).float() / 2
    shares = torch.stack((first, 1 - first))
    return replace(clip, fitted=replace(clip.fitted, shares=shares)).sounds()


def test_what_sounds_by_turns_is_separated_and_sums_to_the_whole(folder: Path) -> None:
    clip = folder / "clip.mkv"
    stretch = Stretch.of(clip, read_info(clip), 0.0, None)
    model = toy()
    sources = stretch.fit(model, 2, None, device="cpu")
    heard = read_sound(clip, RATE)
    sounds = found_of(sources)
    assert [one.rate for one in sounds] == [RATE, RATE]
    np.testing.assert_allclose(sum(one.samples for one in sounds), heard, atol=1e-5)
    for half, (own, other) in zip(
        (slice(2000, 14000), slice(18000, 30000)), (sounds, sounds[::-1]), strict=True
    ):
        energy = float(heard[half] @ heard[half])
        assert float(own.samples[half] @ heard[half]) > 0.9 * energy
        assert float(np.square(other.samples[half]).sum()) < 0.1 * energy


def test_each_source_is_heard_over_the_stretch(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--sources", "2", "--start", "0.5", "--stop", "1.75", "--every", "9")
    ears = tmp_path / "heard"
    assert locate(folder, str(folder / "clip.mkv"), *words, "--listen", str(ears)) == 0
    assert f"written: {ears / 'source-2.wav'}" in capsys.readouterr().out
    assert sorted(path.name for path in ears.iterdir()) == ["source-1.wav", "source-2.wav"]
    kept = [soundfile.read(ears / f"source-{number}.wav") for number in (1, 2)]
    heard = read_sound(folder / "clip.mkv", RATE, 0.5, 1.25)
    assert [(rate, len(samples)) for samples, rate in kept] == [(RATE, len(heard))] * 2
    np.testing.assert_allclose(kept[0][0] + kept[1][0], heard, atol=2.1 * LEAST)
    assert (
        locate(folder, str(folder / "clip.mkv"), *words, "--listen", str(ears), "--json", "-") == 0
    )
    told = json.loads(capsys.readouterr().out)["sources"]
    assert all(0 <= one["sound_share"] <= 1 for one in told)


def test_one_source_sounds_as_the_clip(folder: Path) -> None:
    (one,) = film_sources(folder / "clip.mkv", toy(), sources=1, every=99, listen=True)
    assert one.sound is not None
    assert one.sound.share == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(one.sound.samples, read_sound(folder / "clip.mkv", RATE), atol=1e-5)
    (deaf,) = film_sources(folder / "clip.mkv", toy(), sources=1, every=99)
    assert deaf.sound is None
    assert "sound_share" not in deaf.json()


def test_sounds_are_written_all_or_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, clip = tmp_path / "w.mp4", str(folder / "clip.mkv")
    (tmp_path / "taken").touch()
    words = ("--sources", "auto", "--every", "9", "-o", str(out), "--listen")
    with monkeypatch.context() as patched:
        patched.setattr(film, "sources_of_clip", None)  # found out before anything is fitted
        assert locate(folder, clip, *words, str(tmp_path / "taken" / "heard")) == 2
    assert not out.exists()
    ears, save = tmp_path / "heard", Separated.save
    calls = iter((save,))

    def save_once(one: Separated, path: Path) -> None:
        next(calls, _full)(one, path)

    monkeypatch.setattr(Separated, "save", save_once)
    assert locate(folder, clip, "--sources", "2", "--every", "9", "--listen", str(ears)) == 2
    assert list(ears.iterdir()) == []


def _full(*_: object) -> None:
    raise MediaError("the disk is full")


def test_the_look_is_that_of_films_of_one_source(folder: Path, tmp_path: Path) -> None:
    clip, out = folder / "clip.mkv", tmp_path / "w.mkv"
    words = ("--sources", "2", "--visible", "0", "--side-by-side", "-o", str(out))
    assert locate(folder, str(clip), *words, "--opacity", "0", "--no-boxes") == 0
    assert read_info(out).width == 2 * SIZE[0]
    plain, shown = read_frame(clip, 0.5).astype(int), read_frame(out, 0.5)
    assert np.abs(shown[:, : SIZE[0]] - plain).mean() < 6
    bare = slice(0, SIZE[1] - 20)  # above the words
    assert np.abs(shown[bare, SIZE[0] :] - plain[bare]).mean() < 6
    out.unlink()
    assert locate(folder, str(clip), *words, "--opacity", "1") == 0
    shown = read_frame(out, 0.5)
    assert np.abs(shown[bare, SIZE[0] :] - plain[bare]).mean() > 10


def test_heat_has_the_colour_of_the_hottest_source_at_the_opacity() -> None:
    picture = np.full((60, 80, 3), 100, np.uint8)
    heat = np.zeros((2, 60, 80), np.uint8)
    heat[0, :20, :40], heat[1, :20, 20:] = 255, 128
    layers = [Layer(number + 1, heat[number], (), 0.9) for number in range(2)]
    drawn = frame_of_sources(picture, layers, 0.5)
    orange, blue = (np.array(colour, float) for colour in COLOURS[:2])
    for column, colour, alpha in ((30, orange, 0.5), (60, blue, 0.25)):
        expected = (1 - alpha) * 100 + alpha * colour
        np.testing.assert_allclose(drawn[10, column], expected, atol=1.5)
    assert (drawn[20:40] == 100).all()
    assert (frame_of_sources(picture, layers, 0.0)[:20] == 100).all()


def test_a_curve_a_source_in_its_colour() -> None:
    curves = Curves(101, 45, COLOURS[:2], 0.25, (0.0, 10.0))
    curves.add(0.0, (1.0, 0.0), (True, False))
    curves.add(4.0, (1.0, 0.0), (True, False))
    curves.add(4.0, (0.0, 1.0), (True, False))
    curves.add(6.0, (0.0, 1.0), (False, True))
    strip = curves.picture(8.0)
    first, second = COLOURS[:2]
    assert tuple(strip[2, 30]) == first
    assert tuple(strip[43, 30]) == tuple((0.4 * np.array(second)).astype(np.uint8))
    assert tuple(strip[20, 30]) == STRIP_COLOUR
    assert (strip[2:44, 40] != STRIP_COLOUR).any(1).all()  # from one answer to the other
    assert tuple(strip[2, 50]) == second
    assert tuple(strip[20, 70]) == STRIP_COLOUR
    assert tuple(strip[2 + 30, 72]) == GREY_DASH_COLOUR


def test_steep_curves_have_no_gaps() -> None:
    curves = Curves(11, 45, COLOURS[:1], 0.5, (0.0, 10.0))
    curves.add(0.0, (0.0,), (True,))
    curves.add(1.0, (1.0,), (True,))
    assert (curves.picture(9.0)[2:44, 1] != STRIP_COLOUR).any(1).all()


def test_the_curves_of_a_film(folder: Path, tmp_path: Path) -> None:
    look = Look(curve=True, boxes=False)
    task = {"sources": 2, "tracks": tmp_path / "t.jsonl", "look": look, "every": 4}
    film_sources(folder / "clip.mkv", toy(), tmp_path / "w.mkv", **task, device="cpu")  # type: ignore[arg-type]
    assert read_info(tmp_path / "w.mkv").height == look.canvas(SIZE)[1]
    for line in read_tracks(tmp_path / "t.jsonl").frames:
        active = [one["active"] for one in line["sources"]]
        assert sum(active) <= 1 + 1e-3
        assert [one["shown"] for one in line["sources"]] == [a >= 0.25 for a in active]


def test_thresholds_can_be_given(folder: Path, tmp_path: Path) -> None:
    def found(**cuts: float) -> tuple[dict[str, object], list[dict[str, object]]]:
        tracks = tmp_path / "t.jsonl"
        options = {"sources": 2, "tracks": tracks, "every": 5, **cuts}
        film_sources(folder / "clip.mkv", toy(), **options, device="cpu")  # type: ignore[arg-type]
        kept = read_tracks(tracks)
        return dict(kept.header), list(kept.frames)

    _, usual = found()
    assert all(line["boxes"] for line in usual)
    header, nowhere = found(threshold=1e9)
    assert header["threshold"] == 1e9
    assert all(line["visible"] and not line["boxes"] for line in nowhere)
    header, certain = found(visible=1.0)
    assert header["visible_from"] == 1.0
    assert not any(line["visible"] or line["boxes"] for line in certain)
    with pytest.raises(OptionError, match="visible is in"):
        found(visible=2.0)


def test_another_sound_takes_the_place_of_the_clips_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tracks = tmp_path / "w.mkv", tmp_path / "t.jsonl"
    pair = (str(folder / "silent.mp4"), str(folder / "half.wav"))
    words = ("--sources", "1", "-o", str(out), "--tracks", str(tracks))
    assert locate(folder, *pair, *words) == 0
    assert read_info(out).has_sound
    assert len(frame_times(out)) == len(TIMES)
    kept = read_tracks(tracks)
    assert kept.header["sound"] == "half.wav"
    visible = {line["time"] for line in kept.frames if line["visible"]}
    assert {time for time in visible if time > 1.5} == set()  # the sound has ended
    assert {0.0, 0.5, 1.0} <= visible
    capsys.readouterr()
    assert locate(folder, str(folder / "silent.mp4"), *words) == 2
    assert "without a sound track" in capsys.readouterr().err
    assert locate(folder, *pair, "--sources", "1", "-o", pair[1]) == 2
    assert "half.wav: is read from" in capsys.readouterr().err


def test_another_sound_runs_on_the_clips_clock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(film, "sources_of_clip", lambda *said, **_: given.append(said))
    clip, sound = folder / "clip.mkv", folder / "half.wav"
    stretch = Stretch.of(clip, read_info(clip), 0.25, 0.75, sound)
    stretch.fit(toy(), 2, None, device="cpu")
    ((_, _, (samples, rate), _, _),) = given
    assert rate == RATE
    np.testing.assert_array_equal(samples, read_sound(sound, RATE, 0.25, 0.5))


def test_nobody_sounds_in_silence() -> None:
    wave = np.zeros(6 * RATE, np.float32)
    wave[: 2 * RATE] = 0.3 * np.sin(np.arange(2 * RATE) / 5)
    clip = several.sources_of_clip(toy(), [scene()] * 3, (wave, RATE), 2, device="cpu")
    assert clip.activity(0.0).sum() > 0
    assert clip.activity(2.0).sum() > 0
    assert not clip.activity(4.0).any()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--window", "2"), "--window does not go with --sources of a video: the sources are told"),
        (("--smooth", "0"), "--smooth does not go with --sources of a video: each frame answers"),
        (("--batch", "4"), "frames are asked one by one; leave it out, --every 5"),
        (("--keep-partial",), "give a --stop that lies before the damage"),
        (("--opacity", "0.3"), "--opacity changes how a film looks; it needs -o"),
        (("--approach", "channels"), "--approach goes with a picture, not with a video"),
        (("--map", "m.npy"), "--map goes with a picture"),
    ],
)
def test_refusals_have_their_reasons(
    words: tuple[str, ...], reason: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert locate(folder, str(folder / "clip.mkv"), "--sources", "2", "--json", "-", *words) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1


def test_listening_to_a_film_needs_sources(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-o", str(tmp_path / "w.mp4"), "--listen", str(tmp_path / "heard"))
    assert locate(folder, str(folder / "clip.mkv"), *words) == 2
    assert "--listen goes with --sources" in capsys.readouterr().err
