"""From samples to pictures, sounds and masks; and the command that checks a data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from data_layouts import RATE, lay, write, write_video
from soundspot.cli import main
from soundspot.data import DATASETS
from soundspot.data.manifest import read_manifest
from soundspot.data.media import mask_of, picture_of, probe, sound_of, source_sound, time_of
from soundspot.data.pairs import read_pairs
from soundspot.errors import MediaError, TrainingError
from soundspot.types import Sample, Source


def pitch(sound: np.ndarray) -> float:
    """The strongest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * RATE / len(sound))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, 10 frames a second, each 10 brighter than the one before; 200, then 400 Hz."""
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4")


def at(film: Path, time: float | None) -> Sample:
    return Sample("a", film, film, video=film, time=time)


def test_pictures_and_sounds_of_files(tmp_path):
    lay(tmp_path, "a.png", "a.wav")
    sample = Sample("a", tmp_path / "a.png", tmp_path / "a.wav")
    assert np.array_equal(picture_of(sample), np.asarray(Image.open(tmp_path / "a.png")))
    assert len(sound_of(sample, RATE)) == RATE // 4
    assert len(sound_of(sample, RATE, 0.1)) == RATE // 4
    with pytest.raises(MediaError, match="no sample of a video"):
        time_of(sample)


@pytest.mark.parametrize("time", [0.0, 0.55, 1.0, 1.9])
def test_the_frame_at_a_time_of_a_video(film, time):
    grey = picture_of(at(film, time)).mean()
    assert grey == pytest.approx(10 * int(time * 10 + 1e-9), abs=4)


def test_the_middle_where_no_time_is_said(film):
    assert time_of(at(film, None)) == pytest.approx(1.0, abs=0.1)
    assert np.array_equal(picture_of(at(film, None)), picture_of(at(film, time_of(at(film, None)))))


def test_the_sound_around_a_time(film):
    assert pitch(sound_of(at(film, 0.5), RATE, 0.5)) == pytest.approx(200, abs=5)
    assert pitch(sound_of(at(film, 1.5), RATE, 0.5)) == pytest.approx(400, abs=5)
    whole = sound_of(at(film, 0.5), RATE)
    part = sound_of(at(film, 0.5), RATE, 0.5)
    assert len(part) == RATE // 2
    assert part == pytest.approx(whole[RATE // 4 : 3 * RATE // 4], abs=1e-3)


def test_the_sound_is_clipped_at_the_ends_of_the_film(film):
    assert len(sound_of(at(film, 0.1), RATE, 1.0)) == round(0.6 * RATE)
    end = len(sound_of(at(film, 0.0), RATE)) / RATE
    late = sound_of(at(film, 1.9), RATE, 1.0)
    assert len(late) / RATE == pytest.approx(end - 1.4, abs=0.01)


def test_sources_with_their_own_pictures_are_shown_side_by_side(tmp_path):
    for name, grey, hertz, seconds in (("left", 40, 500, 0.5), ("right", 200, 900, 1.0)):
        Image.new("RGB", (30, 10), (grey,) * 3).save(tmp_path / f"{name}.png")
        wave = 0.9 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
        soundfile.write(tmp_path / f"{name}.wav", wave, RATE)
    sources = tuple(
        Source((), sound=tmp_path / f"{n}.wav", image=tmp_path / f"{n}.png")
        for n in ("left", "right")
    )
    sample = Sample("d", sources[0].image, sources[0].sound, kind="mixture", sources=sources)
    picture = picture_of(sample)
    assert picture.shape == (224, 448, 3)
    assert (picture[:, :224] == 40).all()
    assert (picture[:, 224:] == 200).all()
    sound = sound_of(sample, RATE)
    assert len(sound) == RATE
    assert np.abs(sound).max() <= 1
    spectrum = np.abs(np.fft.rfft(sound[: RATE // 2]))
    assert {int(n) * 2 for n in np.argsort(spectrum)[-2:]} == {500, 900}
    assert pitch(sound[RATE // 2 :]) == pytest.approx(900, abs=5)
    heard = source_sound(sources[0], RATE)
    assert heard is not None
    assert pitch(heard) == pytest.approx(500, abs=5)
    assert source_sound(Source(()), RATE) is None


@pytest.mark.parametrize(
    ("suffix", "mode"), [("png", "L"), ("png", "1"), ("png", "P"), ("jpg", "L")]
)
def test_masks(tmp_path, suffix, mode):
    truth = np.zeros((40, 60), bool)
    truth[8:24, 16:48] = True
    image = Image.fromarray(np.where(truth, 255, 0).astype(np.uint8)).convert(mode)
    image.save(tmp_path / f"m.{suffix}")
    assert np.array_equal(mask_of(tmp_path / f"m.{suffix}"), truth)


def test_a_mask_of_labels_and_a_black_one(tmp_path):
    labels = np.zeros((4, 4), np.uint8)
    labels[1, 2] = 1
    Image.fromarray(labels).save(tmp_path / "labels.png")
    assert mask_of(tmp_path / "labels.png").sum() == 1
    Image.new("L", (4, 4)).save(tmp_path / "black.jpg")
    assert not mask_of(tmp_path / "black.jpg").any()


def test_probing(tmp_path, film):
    lay(tmp_path, "a.jpg", "a.wav")
    probe(tmp_path / "a.jpg", "picture")
    probe(tmp_path / "a.wav", "sound")
    probe(film, "video", decode=True)
    for path, role in ((tmp_path / "a.wav", "picture"), (tmp_path / "a.jpg", "sound")):
        with pytest.raises(MediaError, match=str(path)):
            probe(path, role)
    silent = write_video(tmp_path / "silent.mp4", seconds=0.0)
    with pytest.raises(MediaError, match=r"silent\.mp4 is a video without a sound track"):
        probe(silent, "video")
    cut = tmp_path / "cut.wav"
    soundfile.write(cut, np.zeros(10 * RATE), RATE)
    cut.write_bytes(cut.read_bytes()[:-RATE])
    with pytest.raises(MediaError, match="cut short"):
        probe(cut, "sound", decode=True)


# --- videos and masks in manifests -----------------------------------------------------------


def manifest(folder: Path, *records: dict[str, object]) -> Path:
    return write(folder, "m.jsonl", "\n".join(map(json.dumps, records)))


def test_videos_masks_and_frames_of_one_film(tmp_path):
    box = [[0, 0, 0.5, 1]]
    path = manifest(
        tmp_path,
        {"id": "a", "video": "v.mp4", "time": 1.5, "boxes": box},
        {"id": "b", "video": "v.mp4", "time": 0, "boxes": []},
        {"id": "c", "video": "v.mp4"},
        {"id": "d", "image": "i", "sound": "s", "mask": "m.png"},
        {"id": "e", "image": "i", "sound": "s", "sources": [{"mask": "n.png"}, {"boxes": box}]},
    )
    a, b, c, d, e = read_manifest(path)
    assert a.video == a.image == a.sound == tmp_path / "v.mp4"
    assert (a.time, b.time, c.time, d.time) == (1.5, 0.0, None, None)
    assert (d.mask, d.video) == (tmp_path / "m.png", None)
    assert e.sources == (Source((), mask=tmp_path / "n.png"), Source(((0.0, 0.0, 0.5, 1.0),)))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"video": "v", "image": "i"}, "'image' is taken out of the video"),
        ({"video": "v", "sound": "s"}, "'sound' is the video's"),
        ({"image": "i", "sound": "s", "time": 1}, "'time' belongs to a 'video'"),
        ({"video": "v", "time": -1}, "'time' must be seconds, 0 or more, not -1"),
        ({"video": "v", "time": "1"}, "'time' must be seconds"),
        ({"video": "v", "time": True}, "'time' must be seconds"),
        ({"video": "v", "time": float("nan")}, "'time' must be seconds"),
        ({"video": 3}, "'video' must be a string"),
        ({"video": ""}, "give the name of a file"),
        ({"image": "i", "sound": "s", "mask": 1}, "'mask' must be a string"),
        ({"image": "i", "sound": "s", "sources": [{"mask": 1}]}, "'mask' must be a string"),
        ({"image": "i", "sound": "s", "sources": [{}]}, "'boxes' is missing"),
    ],
)
def test_wrong_videos_and_masks(tmp_path, record, message):
    path = manifest(tmp_path, {"id": "x"} | record)
    with pytest.raises(Exception, match=message) as caught:
        list(read_manifest(path))
    assert str(caught.value).startswith(f"{path}, line 1")


def test_ids_that_differ_only_in_case(tmp_path):
    record = {"image": "i", "sound": "s"}
    path = manifest(tmp_path, {"id": "Cat"} | record, {"id": "cat"} | record)
    with pytest.raises(Exception, match=r"line 2: the id 'cat' differs from 'Cat' of line 1 only"):
        list(read_manifest(path))


# --- the command -----------------------------------------------------------------------------


def test_data_list(capsys):
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out and kind.source in out for name, kind in DATASETS.items())


def test_data_check(tmp_path, capsys):
    lay(tmp_path, "frames/1.jpg", "audio/1.wav")
    write(tmp_path, "l.txt", "1\n")
    words = ["data", "check", "flickr_soundnet", str(tmp_path)]
    options = ["--option", "list=l.txt", "--option", "truth=none"]
    assert main([*words, *options]) == 0
    assert capsys.readouterr().out.endswith("all there\n")
    report = tmp_path / "report.json"
    write(tmp_path, "l.txt", "1\n2\n")
    assert main([*words, *options, "--json", str(report)]) == 1
    out = capsys.readouterr().out
    assert f"  {tmp_path / 'frames/2.jpg'} (of 2)" in out
    found = json.loads(report.read_text())
    assert (found["samples"], len(found["missing"]), found["ok"]) == (2, 2, False)
    assert main([*words, *options, "--json", "-", "--decode"]) == 1
    assert json.loads(capsys.readouterr().out) == found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flickr", "."], "there is no data set 'flickr'; there are flickr_soundnet"),
        (["vgg_ss", "nowhere"], "nowhere does not exist; vgg_ss wants"),
        (["vgg_ss", "."], "vggss.json is missing; vgg_ss wants"),
        (["vgg_ss", ".", "--option", "x=1"], "has no option 'x'"),
        (["vgg_ss", ".", "--option", "x"], "must be KEY=VALUE"),
        (["manifest", "m.jsonl", "--json", "m.jsonl"], "is read from or written twice"),
    ],
)
def test_data_check_wrong_use(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "check", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_data_wants_a_part(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["data"])
    assert stop.value.code == 2
    assert "required: PART" in capsys.readouterr().err


def test_locating_frames_of_a_film(tmp_path, film, model_file):
    """`locate` and its manifests read videos; training refuses them with a word."""
    import shutil

    shutil.copy(film, tmp_path / "v.mp4")
    path = manifest(
        tmp_path,
        {"id": "first", "video": "v.mp4", "time": 0.2},
        {"id": "second", "video": "v.mp4"},
        {"id": "beyond", "video": "v.mp4", "time": 60},
    )
    words = ["locate", str(path), "--out-dir", str(tmp_path / "out"), "--save", "json"]
    assert main([*words, "--model", str(model_file), "--device", "cpu"]) == 1
    found = json.loads((tmp_path / "out" / "first.json").read_text())
    assert found["size"] == [32, 32]
    assert (tmp_path / "out" / "second.json").exists()
    (error,) = (tmp_path / "out" / "errors.jsonl").read_text().splitlines()
    assert "before 60 s" in json.loads(error)["error"]
    with pytest.raises(TrainingError, match=r"'first' is a frame of a video"):
        read_pairs(path)
