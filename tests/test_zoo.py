"""The model zoo: folders as hub repositories are, their digests and cards, and what is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import soundspot
from soundspot import checkpoint
from soundspot.card import card
from soundspot.errors import CheckpointError
from soundspot.model_folder import FILES, sha256_of
from soundspot.models import TwoTower


@pytest.fixture
def folder(two_tower: TwoTower, tmp_path: Path) -> Path:
    two_tower.save(tmp_path / "tiny", trained={"steps": 3}, figures={"pointing": 0.875})
    return tmp_path / "tiny"


def refused(path: Path | str) -> str:
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(path)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


def test_a_folder_holds_all_of_a_model(folder: Path, model_file: Path) -> None:
    assert {path.name for path in folder.iterdir()} == set(FILES)
    config = json.loads((folder / "config.json").read_text())
    assert config["weights"] == {
        "file": "model.safetensors",
        "sha256": sha256_of(folder / "model.safetensors"),
        "bytes": (folder / "model.safetensors").stat().st_size,
    }
    assert config["soundspot"] == checkpoint.read_header(folder / "model.safetensors")
    loaded = soundspot.load(folder)
    assert loaded.facts.name == "tiny"
    assert loaded.notes == {"trained": {"steps": 3}, "figures": {"pointing": 0.875}}
    assert same_weights(loaded, soundspot.load(model_file))
    assert same_weights(loaded, soundspot.load(folder / "model.safetensors"))


def test_what_is_noted_stays_when_a_model_is_saved_again(folder: Path, tmp_path: Path) -> None:
    soundspot.save(soundspot.load(folder), tmp_path / "again.safetensors", limits="tiny")
    again = soundspot.load(tmp_path / "again.safetensors")
    assert again.notes == {
        "trained": {"steps": 3},
        "figures": {"pointing": 0.875},
        "limits": "tiny",
    }


def test_saving_twice_keeps_the_card_that_people_edited(folder: Path, two_tower: TwoTower) -> None:
    (folder / "README.md").write_text("edited")
    two_tower.save(folder, half=False)
    assert (folder / "README.md").read_text() == "edited"
    assert same_weights(soundspot.load(folder), two_tower)


def test_an_embedded_model_saved_to_a_folder_is_the_same(tmp_path: Path) -> None:
    model = soundspot.load("attention")
    model.save(tmp_path / "mine", base="default")
    loaded = soundspot.load(tmp_path / "mine")
    assert same_weights(model, loaded)
    text = (tmp_path / "mine" / "README.md").read_text()
    assert "stands on" in text
    assert "YAMNet" in text
    assert str(tmp_path) not in text


# --- folders that are not what they say ----------------------------------------------------------


def test_weights_that_were_swapped_or_cut_are_not_used(folder: Path, two_tower: TwoTower) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "not the file that config.json beside it names" in refused(folder)
    weights.write_bytes(whole[: len(whole) // 2])
    assert "not the file" in refused(folder)
    weights.write_bytes(whole)
    soundspot.load(folder)


def test_a_config_that_was_edited_is_not_passed_over(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["soundspot"]["facts"]["size"] = 128
    path.write_text(json.dumps(config))
    assert "says other facts than model.safetensors" in refused(folder)
    config["soundspot"]["version"] = 2
    path.write_text(json.dumps(config))
    assert "version 2, and this soundspot reads version 1" in refused(folder)


def test_writing_that_was_interrupted_shows(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "no config.json beside model.safetensors" in refused(folder)


def test_folders_of_other_kinds(tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "bert"
    other.mkdir()
    assert "without config.json and model.safetensors" in refused(other)
    (other / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert "pytorch_model.bin is a pickle, which is never opened" in refused(other)
    for text in ('{"model_type": "bert"}', "[]", "no json", '{"soundspot": {}, "weights": 3}'):
        (other / "config.json").write_text(text)
        assert "a model of another library" in refused(other), text
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(folder / "model.safetensors", run / "best.safetensors")
    assert "name the file in it (best.safetensors)" in refused(run)


def test_other_libraries_files_are_not_overwritten(tmp_path: Path, two_tower: TwoTower) -> None:
    for name, text in (("README.md", "my project"), ("config.json", '{"model_type": "bert"}')):
        place = tmp_path / name.lower()
        place.mkdir()
        (place / name).write_text(text)
        with pytest.raises(CheckpointError, match=r"did not write|another library"):
            two_tower.save(place)
        assert os.listdir(place) == [name]
        assert (place / name).read_text() == text


def test_a_checkpoint_of_another_kind_in_a_folder(tmp_path: Path, folder: Path) -> None:
    header = {"kind": "tower", "version": 1}
    save_file(
        {"w": torch.zeros(2)}, folder / "model.safetensors", {"soundspot": json.dumps(header)}
    )
    config = {"soundspot": header, "weights": {"sha256": sha256_of(folder / "model.safetensors")}}
    (folder / "config.json").write_text(json.dumps(config))
    assert "holds a 'tower' checkpoint where a 'model' is needed" in refused(folder)


# --- files of other libraries --------------------------------------------------------------------


def test_pickles_are_told_and_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle was opened")

    old, new = io.BytesIO(), io.BytesIO()
    torch.save({"w": torch.zeros(3)}, old, _use_new_zipfile_serialization=False)
    torch.save({"w": torch.zeros(3)}, new)
    monkeypatch.setattr("pickle.load", opened)
    monkeypatch.setattr("pickle.loads", opened)
    monkeypatch.setattr(torch, "load", opened)
    for data in (old.getvalue(), new.getvalue()):
        for name in ("m.pth", "m.ckpt", "m.bin", "m.pt", "m.safetensors", "m"):
            (tmp_path / name).write_bytes(data)
            assert "a pickle (as torch.save writes), which is never opened" in refused(
                tmp_path / name
            )


def test_what_else_a_file_may_be(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "git lfs pull" in refused(path)
    save_file({f"layer.{n}.weight": torch.zeros(3) for n in range(4)}, path, {"format": "pt"})
    assert "safetensors of another library (4 tensors, such as 'layer.0.weight')" in refused(path)
    path.write_bytes(b"\x89PNG" + b"0" * 40)
    assert "a PNG picture" in refused(path)


def test_models_are_not_saved_under_a_pickles_name(tmp_path: Path, two_tower: TwoTower) -> None:
    for name in ("m.pth", "m.pickle", "zz.txt", "mean.H5"):
        with pytest.raises(CheckpointError, match=r"saved as \.safetensors, or to a folder"):
            two_tower.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    (tmp_path / "models.old").mkdir()
    for name in ("model-v1.5", "models.old"):  # a folder's number, and a folder that is there
        two_tower.save(tmp_path / name)
        assert (tmp_path / name / "model.safetensors").is_file()


def test_notes_that_are_no_json_are_refused_before_writing(
    tmp_path: Path, two_tower: TwoTower
) -> None:
    with pytest.raises(CheckpointError, match="a note is no JSON"):
        two_tower.save(tmp_path / "m", trained=object())
    assert os.listdir(tmp_path) == []


# --- cards ---------------------------------------------------------------------------------------


def header(**notes: Any) -> dict[str, Any]:
    facts = {
        "name": "m", "size": 64, "sample_rate": 16000, "seconds": 1.5, "method": None,
        "heard": [], "calibration": None,
    }  # fmt: skip
    return {"model": "two_tower", "config": {"pool": "a|b"}, "facts": facts, "notes": notes}


def front_matter(text: str) -> dict[str, Any]:
    hub = pytest.importorskip("huggingface_hub")
    found: dict[str, Any] = hub.ModelCard(text).data.to_dict()
    return found


def test_the_hub_reads_the_front_matter() -> None:
    text = card(header(license="mit"), 1_234_567, title="m", load='"m"')
    assert front_matter(text) == {
        "license": "mit",
        "library_name": "soundspot",
        "pipeline_tag": "image-segmentation",
        "tags": ["soundspot", "sound-source-localization", "audio-visual", "pytorch"],
    }
    assert "| parameters | 1.2 million |" in text
    assert "pool a\\|b" in text


def test_a_card_says_how_pictures_are_fitted() -> None:
    squeezed = header()
    kept = {**squeezed, "facts": {**squeezed["facts"], "keeps_proportions": True}}
    texts = [card(one, 1, title="m", load='"m"') for one in (squeezed, kept)]
    assert "| picture | squeezed to 64 x 64 pixels |" in texts[0]
    assert "| picture | in its own proportions, at about as many pixels as 64 x 64 |" in texts[1]


def test_a_misspelt_model_has_its_likely_name() -> None:
    with pytest.raises(CheckpointError, match=r"; did you mean pixel_sound\?\)"):
        soundspot.load("pixelsound")


@pytest.mark.parametrize("licence", ['My "own": licence', "x\n---\nevil: 1", "CC BY: NC"])
def test_a_licence_of_any_text_cannot_break_the_front_matter(licence: str) -> None:
    found = front_matter(card(header(license=licence), 1, title="m", load='"m"'))
    assert found["license"] == "other"
    assert found["license_name"] == licence
    assert "evil" not in found


def test_what_nobody_stated_is_called_so() -> None:
    text = card(header(), 1, title="m", load='"m"')
    assert front_matter(text)["license"] == "unknown"
    for heading in ("How it was trained", "Labels behind it", "Figures", "Limits"):
        assert f"## {heading}\n\nNot stated by whoever saved this model." in text
    assert "Nothing was calibrated" in text
    assert "Other notes" not in text


def test_what_was_stated_is_there() -> None:
    made = header(labels="none", figures={"AUC": 0.6071}, seed=7)
    made["facts"] |= {
        "calibration": {"scale": 2, "bias": -1.0, "visible": 0.5, "thresholds": {"own": 0.25}},
        "heard": ["bells"],
    }
    text = card(made, 1, title="My model", load='"o/m", fetch=True')
    for part in (
        "# My model",
        'soundspot.load("o/m", fetch=True)',
        "## Labels behind it\n\nnone",
        "- AUC: 0.6071",
        "sigmoid(2 s + -1)",
        "`own` at 0.25",
        "| groups heard in training | bells |",
        "## Other notes\n\n- seed: 7",
    ):
        assert part in text
