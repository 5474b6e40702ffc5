"""Every data set in its true layout: tiny media, and the real annotation files where they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from data_layouts import annotation, lay, write
from soundspot.data import DATASETS, open_data
from soundspot.data.boxes import CLIPPED, DROPPED
from soundspot.data.dataset import Dataset
from soundspot.data.manifest import Manifest
from soundspot.data.video_folder import VideoFolder
from soundspot.errors import DataError, OptionError
from soundspot.types import Source

A, B = "zpWuikVorYg_000032", "-EvCUcZ6w88_000030"


@pytest.fixture(scope="session")
def formats(shared_data: Path) -> Path:
    """Beginnings of the real lists and truths."""
    folder = shared_data.parent / "formats"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


# --- opening ---------------------------------------------------------------------------------


def test_every_set_says_what_it_is():
    for name, kind in DATASETS.items():
        assert kind.name == name
        assert kind.sentence.endswith((".", ")."))
        assert kind.source
        assert kind.layout
        assert all(f.metadata["help"] for f in kind.options())
        assert fields(kind)[0].name == "root"
        with pytest.raises(DataError, match=r"does not exist; .* get it from"):
            kind(Path("/nowhere"))


def test_specifications(tmp_path):
    write(tmp_path, "vggss.json", [])
    data = open_data(f"vgg_ss:{tmp_path}?split=heard&images=pictures")
    assert (data.root, data.split, data.images) == (tmp_path, "heard", "pictures")
    assert str(data) == f"vgg_ss:{tmp_path}?split=heard&images=pictures"
    assert open_data(str(data)) == data
    assert str(open_data(f"vgg_ss:{tmp_path}")) == f"vgg_ss:{tmp_path}"
    manifest = write(tmp_path, "a.jsonl", "{}")
    assert open_data(manifest) == open_data(f"manifest:{manifest}") == Manifest(manifest)
    assert open_data(tmp_path) == VideoFolder(tmp_path)
    assert open_data(f"video_folder:{tmp_path}?every=0.5") == VideoFolder(tmp_path, every=0.5)
    odd = tmp_path / "what?"
    odd.mkdir()
    assert open_data(f"video_folder:{odd}").root == odd


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("vgg_sound:{}", OptionError, "no data set 'vgg_sound'; there are flickr_soundnet"),
        ("nowhere", DataError, "nowhere does not exist; give a manifest"),
        ("vgg_ss:{}?spilt=heard", OptionError, "has no option 'spilt'; it has split, list"),
        ("vgg_ss:{}?split=half", OptionError, "split='half'; use one of all, heard, unheard"),
        ("vgg_ss:{}?split", OptionError, "must be KEY=VALUE"),
        ("vgg_ss:{}?split=all&split=all", OptionError, "each key once"),
        ("video_folder:{}?every=soon", OptionError, "must be a number"),
        ("video_folder:{}?every=-1", OptionError, "every=-1.0 must be 0.01 or more seconds"),
        ("video_folder:{}?every=nan", OptionError, "every=nan must be 0.01 or more seconds"),
        ("vgg_ss:/nowhere", DataError, "/nowhere does not exist; vgg_ss wants vggss.json"),
    ],
)
def test_specifications_that_fail(tmp_path, spec, error, message):
    with pytest.raises(error, match=message):
        open_data(spec.format(tmp_path))


def test_a_missing_list_says_what_is_wanted(tmp_path):
    for name, kind in DATASETS.items():
        if name not in ("manifest", "video_folder"):
            with pytest.raises(DataError, match=r"is missing; .* wants .* get it from http"):
                list(kind(tmp_path).samples())
    with pytest.raises(DataError, match="holds no videos"):
        list(VideoFolder(tmp_path).samples())


# --- Flickr-SoundNet -------------------------------------------------------------------------


def flickr(root: Path) -> Path:
    lay(root, "frames/11.jpg", "frames/22.jpg", "audio/11.wav", "audio/22.wav")
    write(root, "flickr_test.csv", b"11,202\r\n22,violin\r\n")
    write(root, "Annotations/11.xml", annotation([[1, 2, 128, 256], [0, 0, 64, 64], [5, 5, 5, 9]]))
    write(root, "Annotations/22.xml", annotation([[1, 2, 3, 4]], names=False))
    return root


def test_flickr(tmp_path):
    data = open_data(f"flickr_soundnet:{flickr(tmp_path)}")
    first, second = data.samples()
    assert (first.id, first.group, second.group) == ("11", None, "violin")
    assert first.image == tmp_path / "frames/11.jpg"
    assert first.sound == tmp_path / "audio/11.wav"
    assert first.boxes == ()
    assert first.annotators == (
        ((1 / 256, 2 / 256, 0.5, 1.0),),
        ((0.0, 0.0, 0.25, 0.25),),
        (),  # a box without area keeps its place
    )
    found = data.check()
    assert found.ok
    assert (found.samples, found.files) == (2, 4)
    assert list(found.oddities) == [DROPPED]


def test_flickr_names_what_is_missing_and_swaps_nothing(tmp_path):
    flickr(tmp_path)
    lay(tmp_path, "frames/3908875350.jpg", "audio/3908875350.wav")
    write(tmp_path, "Annotations/3908875350.xml", annotation([[0, 0, 9, 9]]))
    write(tmp_path, "test_list.txt", "11.png\n3908875357.png\n22.png\n")
    data = open_data(f"flickr_soundnet:{tmp_path}?list=test_list.txt")
    samples = list(data.samples())
    assert [s.id for s in samples] == ["11", "3908875357", "22"]
    assert samples[1].annotators == ()
    found = data.check()
    assert not found.ok
    missing = [str(tmp_path / name) for name in ("frames/3908875357.jpg", "audio/3908875357.wav")]
    missing.append(str(tmp_path / "Annotations/3908875357.xml"))
    assert found.missing == tuple(f"{name} (of 3908875357)" for name in missing)
    assert found.unjudgeable == ("3908875357",)
    assert found.surplus == (
        str(tmp_path / "audio/3908875350.wav"),
        str(tmp_path / "frames/3908875350.jpg"),
    )


def test_flickr_training_lists(tmp_path):
    lay(tmp_path, "frames/2615133000.png", "audio/2615133000.flac.wav")
    write(tmp_path, "10k.txt", "videos/0/0/0/2615133000.mp4\n5692223126.wav\n")
    data = open_data(f"flickr_soundnet:{tmp_path}?list=10k.txt&truth=none")
    first, second = data.samples()
    assert (first.id, second.id) == ("2615133000", "5692223126")
    assert first.image == tmp_path / "frames/2615133000.png"  # whichever suffix is there
    assert second.image == tmp_path / "frames/5692223126.jpg"
    assert first.annotators == first.boxes == ()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("11\n../../etc/passwd\n", "line 2: .* does not stay in the data set's folder"),
        ("11\n/etc/passwd\n", "line 2: .* does not stay"),
        ("11\n22\n11.png\n", "line 3: the id '11' was taken by line 1"),
        ("\n\n", "lists no ids"),
    ],
)
def test_hostile_lists_are_refused(tmp_path, lines, message):
    flickr(tmp_path)
    path = write(tmp_path, "list.txt", lines)
    with pytest.raises(DataError, match=message) as caught:
        list(open_data(f"flickr_soundnet:{tmp_path}?list=list.txt").samples())
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<a>\n<bbox>", ", line 2: cannot be read as XML"),
        ("\n<!DOCTYPE a>\n<a/>", ", line 2: declares a document type"),
        (annotation([[1, 2, 900, 4]]), ": the box [1, 2, 900, 4] lies outside"),
        (annotation([["x", 2, 3, 4]]), ": a bbox must hold whole numbers"),
        (annotation([]) + " " * (1 << 20), ": has 1,048,"),
    ],
)
def test_a_broken_annotation_is_one_sample_that_fails(tmp_path, text, reason):
    flickr(tmp_path)
    path = write(tmp_path, "Annotations/11.xml", text)
    data = open_data(f"flickr_soundnet:{tmp_path}")
    first, second = data.samples()
    assert (first.id, first.annotators, second.broken) == ("11", (), None)
    assert second.annotators
    assert first.broken.startswith(str(path))
    assert reason in first.broken
    found = data.check()
    assert found.broken == (first.broken,)
    assert not found.ok
    assert found.unjudgeable == ()


def test_a_broken_truth_among_others_is_one_sample_that_fails(tmp_path):
    flickr(tmp_path)
    write(tmp_path, "boxes.json", {"11": [[0, 0, 9, 9]], "22": [[0, 0, 9]]})
    samples = open_data(f"flickr_soundnet:{tmp_path}?truth=boxes.json").samples()
    said = [sample.broken for sample in samples]
    place = f"{tmp_path / 'boxes.json'}, line 1, entry 2"
    assert said == [None, f"{place}: a box must be four finite numbers, not [0, 0, 9]"]


def test_the_real_flickr_boxes(shared_data, tmp_path):
    benchmarks = shared_data / "benchmarks"
    truth = json.loads((benchmarks / "flickr_boxes.json").read_text())
    spec = f"flickr_soundnet:{benchmarks}?truth=flickr_boxes.json"
    samples = list(open_data(spec).samples())
    assert len(samples) == 249
    assert sum(len(s.annotators) for s in samples) == 774
    for sample in samples:
        for stored, boxes in zip(truth[sample.id], sample.annotators, strict=True):
            for box in boxes:
                assert [int(224 * v) for v in box] == [int(224 * v / 256) for v in stored]
    older = open_data(f"{spec}&list=flickr_test_senocak.txt").check()
    assert older.samples == 250
    assert older.unjudgeable == ("3908875357",)
    assert f"{benchmarks / 'flickr_boxes.json'}: boxes of '3908875357' (of 3908875357)" in (
        older.missing
    )


def test_every_real_flickr_list_is_read(formats, tmp_path):
    names = [
        *("lvs_flickr_test.csv.head", "acl_flickr_test.csv.head", "senocak_test_list.txt"),
        *("ezvsl_flickr_144k.txt.head", "ssltie_train_flickr_10k.txt.head"),
        "senocak_Flickr_train_144k.txt.head",
    ]
    for name in names:
        shutil.copy(formats / name, tmp_path / "list.csv")
        samples = list(open_data(f"flickr_soundnet:{tmp_path}?list=list.csv&truth=none").samples())
        assert all(s.id.isdigit() for s in samples)
        lines = (formats / name).read_bytes().split()
        assert len(samples) == (250 if "senocak_test" in name else 3 if b"," not in lines[0] else 5)


# --- VGG-SS ----------------------------------------------------------------------------------


def vgg(root: Path) -> Path:
    write(
        root,
        "vggss.json",
        [
            {"file": f"{A} ", "class": "dog, cat", "bbox": [[0.1, 0.2, 0.3, 0.4], [0, 0, -9, 1]]},
            {"file": B, "class": "violin", "bbox": [[0.5, 0.5, 0.5, 0.9]]},
        ],
    )
    write(root, "vggss_heard_test.csv", f"{B}\r\n")
    write(root, "vggss_unheard_test.csv", f"{A}\r\n")
    write(root, "vggss_test.csv", f"{B}\r\n{A}\r\n")
    return lay(
        root, *(f"{folder}" for i in (A, B) for folder in (f"frames/{i}.jpg", f"audio/{i}.wav"))
    )


def test_vgg_ss(tmp_path):
    data = open_data(f"vgg_ss:{vgg(tmp_path)}")
    first, second = data.samples()
    assert (first.id, first.group, first.boxes) == (A, "dog, cat", ((0.1, 0.2, 0.3, 0.4),))
    assert (second.id, second.boxes, second.kind) == (B, (), "positive")
    found = data.check()
    assert found.ok
    assert found.unjudgeable == (B,)
    assert {what: len(n) for what, n in found.oddities.items()} == {CLIPPED: 1, DROPPED: 2}
    assert [s.id for s in open_data(f"vgg_ss:{tmp_path}?list=vggss_test.csv").samples()] == [B, A]
    assert [s.id for s in open_data(f"vgg_ss:{tmp_path}?split=heard").samples()] == [B]
    assert [s.id for s in open_data(f"vgg_ss:{tmp_path}?split=unheard").samples()] == [A]


def test_vgg_ss_from_videos(tmp_path):
    lay(vgg(tmp_path), f"videos/{A}.mp4")
    data = open_data(f"vgg_ss:{tmp_path}?media=videos")
    first = next(data.samples())
    assert first.video == first.image == first.sound == tmp_path / f"videos/{A}.mp4"
    assert first.time is None
    assert data.check().missing == (f"{tmp_path / f'videos/{B}.mp4'} (of {B})",)


def test_vgg_ss_broken(tmp_path):
    vgg(tmp_path)
    write(tmp_path, "twice.json", '[{"file": "a", "class": "", "bbox": []},\n {"file": "a"}]')
    with pytest.raises(DataError, match="line 2, entry 2: the id 'a' was taken by line 1, entry 1"):
        list(open_data(f"vgg_ss:{tmp_path}?truth=twice.json").samples())
    write(tmp_path, "nameless.json", '[{"class": "a", "bbox": []}]')
    with pytest.raises(DataError, match="entry 1: the key 'file' is missing"):
        list(open_data(f"vgg_ss:{tmp_path}?truth=nameless.json").samples())
    entries = [
        {"file": "a", "class": 3, "bbox": []},
        {"file": "b", "class": ""},
        {"file": "c", "class": "", "bbox": 5},
        {"file": "d", "class": "", "bbox": [[0, 0, 7, 1]]},
        {"file": "e", "class": "bell", "bbox": [[0, 0, 1, 1]]},
    ]
    write(tmp_path, "some.json", entries)
    samples = list(open_data(f"vgg_ss:{tmp_path}?truth=some.json").samples())
    reasons = ["'class' must be a string", "the key 'bbox'", "'bbox' must be a list", "the box"]
    for sample, reason in zip(samples, [*reasons, None], strict=True):
        assert reason is None or f"entry {'abcde'.index(sample.id) + 1}: {reason}" in sample.broken
    assert samples[-1].broken is None
    assert samples[-1].boxes == ((0, 0, 1, 1),)
    write(tmp_path, "l.txt", "unknown_000001")
    found = open_data(f"vgg_ss:{tmp_path}?list=l.txt").check()
    assert any("boxes of 'unknown_000001'" in text for text in found.missing)


def test_the_real_vgg_ss(shared_data):
    benchmarks = shared_data / "benchmarks"
    data = open_data(f"vgg_ss:{benchmarks}")
    found = data.check()
    assert found.samples == 5158
    assert {what: len(n) for what, n in found.oddities.items()} == {CLIPPED: 12, DROPPED: 18}
    assert found.unjudgeable == ("M1P1xla8rg0_000000", "MKC9LvRivTM_000030")
    assert len(found.missing) == 2 * 5158
    samples = list(data.samples())
    assert sum(len(s.boxes) for s in samples) == 5941 - 18
    assert len({s.group for s in samples}) == 221
    listed = list(open_data(f"vgg_ss:{benchmarks}?list=vggss_test.csv").samples())
    assert {s.id for s in listed} == {s.id for s in samples}


def test_real_odd_boxes_and_lists(formats, tmp_path):
    for name in ("vggss_odd_boxes.json", "vggss.json.first4.json", "tvsl_vggss.first4.json"):
        shutil.copy(formats / name, tmp_path / "vggss.json")
        assert list(open_data(f"vgg_ss:{tmp_path}").samples())
    for name in ("lvs_vggss_test.csv.head", "acl_vggss_test.csv.head"):
        shutil.copy(formats / name, tmp_path / "l.csv")
        assert len(list(open_data(f"vgg_ss:{tmp_path}?list=l.csv").samples())) > 3


# --- SLAVC extended --------------------------------------------------------------------------


def test_slavc_flickr(tmp_path):
    flickr(tmp_path)
    write(
        tmp_path,
        "flickr_test_plus_silent.csv",
        b"video,audio,label\r\n11,22,non-sounding\r\n22,11,silent\r\n11,11,sounding\r\n",
    )
    data = open_data(f"slavc_extended:{tmp_path}")
    samples = list(data.samples())
    assert [(s.id, s.kind) for s in samples] == [
        ("11", "positive"),
        ("22", "positive"),
        ("11__22", "offscreen"),
        ("22__11", "silence"),
    ]
    assert samples[2].image == tmp_path / "frames/11.jpg"
    assert samples[2].sound == tmp_path / "audio/22.wav"
    assert samples[2].annotators == samples[2].boxes == ()
    assert data.check().kinds == {"positive": 2, "offscreen": 1, "silence": 1}


def test_slavc_vggss(tmp_path):
    vgg(tmp_path)
    write(tmp_path, "vggss_test_plus_silent.csv", f"video,audio,label\r\n{A},{A},non-sounding\r\n")
    samples = list(open_data(f"slavc_extended:{tmp_path}?part=vggss").samples())
    assert [(s.id, s.kind) for s in samples] == [
        (B, "positive"),
        (A, "positive"),
        (f"{A}__{A}", "offscreen"),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("11,22\n", "line 1: must be video,audio,label"),
        ("11,22,quiet\n", "line 1: the label .* none of non-sounding"),
        ("11,../22,silent\n", "line 1: .* does not stay"),
        ("11,22,silent\n11,22,silent\n", "line 2: the id '11__22' was taken by line 1"),
    ],
)
def test_slavc_broken(tmp_path, lines, message):
    flickr(tmp_path)
    write(tmp_path, "flickr_test_plus_silent.csv", lines)
    with pytest.raises(DataError, match=message):
        list(open_data(f"slavc_extended:{tmp_path}").samples())


def test_the_real_slavc_lists(formats, shared_data, tmp_path):
    for name in ("flickr_test.csv", "vggss_test.csv", "vggss.json", "flickr_boxes.json"):
        shutil.copy(shared_data / "benchmarks" / name, tmp_path / name)
    for part in ("flickr", "vggss"):
        shutil.copy(
            formats / f"slavc_{part}_test_plus_silent.csv.head",
            tmp_path / f"{part}_test_plus_silent.csv",
        )
    spec = f"slavc_extended:{tmp_path}"
    found = [s.kind for s in open_data(f"{spec}?truth=flickr_boxes.json").samples()]
    assert found == ["positive"] * 249 + ["offscreen"] * 4
    found = [s.kind for s in open_data(f"{spec}?part=vggss").samples()]
    assert found == ["positive"] * 5158 + ["offscreen"] * 4


# --- lists with absolute author paths: IS3, VPO, AVSBench ------------------------------------

LYNX = "/mnt/lynx2/users/arda/synthetic3241"


def is3_entry(name: str, truth: object, root: str = LYNX) -> dict[str, object]:
    return {
        "image": f"{root}/visual_frames/{name}.jpg",
        "audio": f"{root}/audio_wav/{name}.wav",
        "gt_box": truth,
    }


IS3_NAMES = ("cat_dog_12_cat", "fox_owl_7_fox", "cat_dog_12_dog")


def is3(root: Path) -> Path:
    boxes = ([0, 0, 112, 224], [1, 2, 3, 4], [112.0, 5.0, 223.0, 219.0])
    pairs = list(zip(IS3_NAMES, boxes, strict=True))
    write(root, "synthetic3240_bbox.json", [is3_entry(name, box) for name, box in pairs])
    masks = [is3_entry(name, f"{LYNX}/gt_masks/{name}.jpg") | {"offset": 1} for name, _ in pairs]
    write(root, "synthetic3240_seg.json", masks)
    folders = (("visual_frames", "jpg"), ("audio_wav", "wav"), ("gt_masks", "jpg"))
    return lay(root, *(f"{folder}/{n}.{end}" for folder, end in folders for n in IS3_NAMES))


def test_is3_gathers_the_sounds_of_a_picture(tmp_path):
    data = open_data(f"is3:{is3(tmp_path)}")
    first, second = data.samples()
    assert (first.id, second.id) == ("cat_dog_12", "fox_owl_7")
    assert second.sources == ()
    cat, dog = first.sources
    assert (cat.group, dog.group) == ("cat", "dog")
    assert cat.sound == first.sound == tmp_path / "audio_wav/cat_dog_12_cat.wav"
    assert cat.boxes == first.boxes
    assert [int(224 * v) for v in dog.boxes[0]] == [112, 5, 223, 219]
    assert data.check().ok


def test_is3_a_sample_a_sound_with_masks(tmp_path):
    data = open_data(f"is3:{is3(tmp_path)}?per=sound&truth=masks")
    samples = list(data.samples())
    assert [s.id for s in samples] == list(IS3_NAMES)
    assert samples[0].mask == tmp_path / "gt_masks/cat_dog_12_cat.jpg"
    assert samples[0].boxes == samples[0].sources == ()
    assert data.check().ok


@pytest.mark.parametrize("truth", [[1, 2, 3], [0, 0, 900, 9], None, {"x": 1}])
def test_a_broken_box_of_a_joint_list_is_one_sample_that_fails(tmp_path, truth):
    entries = [is3_entry("a_b_1_a", [0, 0, 9, 9]), is3_entry("a_b_1_b", truth)]
    write(tmp_path, "synthetic3240_bbox.json", [*entries, is3_entry("a_c_2_a", [0, 0, 9, 9])])
    first, second = open_data(f"is3:{tmp_path}").samples()
    assert "entry 2: " in first.broken
    assert second.broken is None
    alone = list(open_data(f"is3:{tmp_path}?per=sound").samples())
    assert [sample.broken is not None for sample in alone] == [False, True, False]
    options = f"list=synthetic3240_bbox.json&truth=boxes&author_root={LYNX}"
    frames = list(open_data(f"avsbench:{tmp_path}?{options}").samples())
    assert [sample.broken is not None for sample in frames] == [False, True, False]


def test_author_paths(tmp_path):
    is3(tmp_path)
    other = [is3_entry("cat_dog_12_cat", [0, 0, 9, 9], "/home/me/is3")]
    path = write(tmp_path, "other.json", other)
    with pytest.raises(DataError, match=r"entry 1: .*author_root=/THEIR/FOLDER") as caught:
        list(open_data(f"is3:{tmp_path}?list=other.json").samples())
    assert str(caught.value).startswith(f"{path}, line 1")
    spec = f"is3:{tmp_path}?list=other.json&author_root=/home/me/is3"
    (sample,) = open_data(spec).samples()
    assert sample.image == tmp_path / "visual_frames/cat_dog_12_cat.jpg"
    write(tmp_path, "slip.json", [is3_entry("../../../cat_dog_1_cat", [0, 0, 9, 9])])
    with pytest.raises(DataError, match=r"entry 1: .* does not stay"):
        list(open_data(f"is3:{tmp_path}?list=slip.json").samples())
    write(tmp_path, "twice.json", [is3_entry("a_b_1_a", [0, 0, 9, 9])] * 2)
    with pytest.raises(DataError, match=r"entry 2: .* was taken by line 1, entry 1"):
        list(open_data(f"is3:{tmp_path}?list=twice.json").samples())
    write(tmp_path, "name.json", [is3_entry("cat", [0, 0, 9, 9])])
    with pytest.raises(DataError, match="is not called THING_THING_NUMBER_SOUNDING"):
        list(open_data(f"is3:{tmp_path}?list=name.json").samples())


def test_the_real_lists_with_author_paths(formats, tmp_path):
    """Boxes are the stored whole numbers again, files lie where the lists say."""
    cases = [
        ("is3", "sslalign_synthetic3240", ("bbox", "seg"), "?per=sound&"),
        ("vpo", "sslalign_vpo_ss", ("bbox", "seg"), "?per=sound&"),
        ("vpo", "sslalign_vpo_ms", ("bbox", "seg"), "?per=sound&part=ms&"),
        ("avsbench", "sslalign_s4", ("box", "seg"), "?"),
        ("avsbench", "sslalign_ms3", ("box", "seg"), "?part=ms3&"),
    ]
    for number, (name, stem, endings, options) in enumerate(cases):
        root = tmp_path / str(number)
        for ending, truth in zip(endings, ("boxes", "masks"), strict=True):
            real = json.loads((formats / f"{stem}_{ending}.first4.json").read_text())
            write(root, "list.json", real)
            data = open_data(f"{name}:{root}{options}truth={truth}&list=list.json")
            samples = list(data.samples())
            assert len(samples) == len(real) == 4
            for sample, entry in zip(samples, real, strict=True):
                assert entry["image"].endswith(str(sample.image.relative_to(root)))
                assert entry["audio"].endswith(str(sample.sound.relative_to(root)))
                if truth == "masks":
                    assert sample.mask is not None
                    assert entry["gt_box"].endswith(str(sample.mask.relative_to(root)))
                elif any(entry["gt_box"]):
                    assert [int(224 * v) for v in sample.boxes[0]] == entry["gt_box"]
                else:
                    assert (sample.boxes, sample.kind) == ((), "offscreen")
                lay(root, *(str(p.relative_to(root)) for p in (sample.image, sample.sound)))
            if truth == "boxes":
                assert data.check().ok


def test_vpo_gathers_the_sources_of_a_picture(tmp_path):
    base = "/mnt/lynx2/users/arda/SSL_COCO/COCO_AV_MS"
    names = ("000000000007_1", "000000000007_2", "000000000009_3")
    write(tmp_path, "vpo_ms_bbox.json", [is3_entry(n, [0, 0, 9, 9], base) for n in names])
    samples = list(open_data(f"vpo:{tmp_path}?part=ms").samples())
    assert [(s.id, len(s.sources)) for s in samples] == [("000000000007", 2), ("000000000009", 0)]


# --- AVSBench --------------------------------------------------------------------------------


def test_avsbench_official_lists(tmp_path):
    write(
        tmp_path,
        "Single-source/s4_meta_data.csv",
        "name,start,category,split\nabc,0,dog,test\nxyz,0,cat,train\n",
    )
    write(tmp_path, "Multi-sources/ms3_meta_data.csv", "video_id,start,label,split\nq_1,0,m,test\n")
    s4 = list(open_data(f"avsbench:{tmp_path}").samples())
    assert [s.id for s in s4] == [f"abc_{n}" for n in range(1, 6)]
    folder = tmp_path / "Single-source/s4_data"
    assert s4[1].image == folder / "visual_frames/test/dog/abc/abc_2.png"
    assert s4[1].sound == folder / "audio_wav/test/dog/abc.wav"
    assert s4[1].mask == folder / "gt_masks/test/dog/abc/abc_2.png"
    assert (s4[1].group, s4[1].kind) == ("dog", "positive")
    training = [s.id for s in open_data(f"avsbench:{tmp_path}?split=train").samples()]
    assert training == ["xyz_1"]
    ms3 = list(open_data(f"avsbench:{tmp_path}?part=ms3").samples())
    folder = tmp_path / "Multi-sources/ms3_data"
    assert ms3[4].image == folder / "visual_frames/q_1/q_1.mp4_5.png"
    assert ms3[4].mask == folder / "gt_masks/test/q_1/q_1_5.png"
    assert ms3[4].sound == folder / "audio_wav/test/q_1.wav"
    with pytest.raises(DataError, match="has no clip of split 'val'"):
        list(open_data(f"avsbench:{tmp_path}?split=val").samples())


def test_avsbench_checks_masks(tmp_path):
    write(tmp_path, "l.csv", b"abc_1,dog\r\n")
    data = open_data(f"avsbench:{tmp_path}?list=l.csv")
    (sample,) = data.samples()
    lay(tmp_path, *(str(p.relative_to(tmp_path)) for p in (sample.image, sample.sound)))
    assert data.check().missing == (f"{sample.mask} (of abc_1)",)
    sample.mask.parent.mkdir(parents=True)
    sample.mask.write_bytes(b"no picture")
    (broken,) = data.check().broken
    assert str(sample.mask) in broken


def test_the_real_avsbench_lists(formats, tmp_path):
    for part in ("s4", "ms3"):
        shutil.copy(formats / f"acl_avs1_{part}_test.csv.head", tmp_path / f"{part}.csv")
        samples = list(open_data(f"avsbench:{tmp_path}?part={part}&list={part}.csv").samples())
        assert len(samples) == 5
        assert {s.group for s in samples} == {"helicopter" if part == "s4" else "man"}
        last = samples[-1].image.relative_to(tmp_path).as_posix()
        assert last.endswith(
            "c/0d9u2CymIxc_5.png" if part == "s4" else "_0/0WxgIKuetYI_0.mp4_5.png"
        )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("abc,dog\n", "line 1: .* is not VIDEO_FRAME"),
        ("abc_1\n", "line 1: a clip of S4 needs its group"),
        ("abc_1,../dog\n", "line 1: the group .* cannot be a folder"),
        ("../abc_1,dog\n", "line 1: .* does not stay"),
        ("name,split\nabc\n", "line 2: has 1 cells, not 2"),
        ("\n", "is empty"),
    ],
)
def test_avsbench_broken(tmp_path, lines, message):
    write(tmp_path, "l.csv", lines)
    with pytest.raises(DataError, match=message):
        list(open_data(f"avsbench:{tmp_path}?list=l.csv").samples())


# --- MUSIC and duets -------------------------------------------------------------------------


def test_music(tmp_path):
    solo, duet = "HnUOaSfTA6c_000_00007", "-_-TDDxoaAc_001_00014"
    write(
        tmp_path, "music_solo.json", [{"file": solo, "class": "cello", "bbox": [0.5, 0, 0.25, 1]}]
    )
    box = {"bbox_src1": [0, 0, 0.5, 0.5], "bbox_src2": [0.5, 0.5, 0.5, 0.5]}
    kinds = {"class_src1": "flute", "class_src2": "tuba"}
    write(tmp_path, "music_duet.json", [{"file": duet} | box | kinds])
    frames = [f"frames/{name}.jpg" for name in (solo, duet)]
    lay(tmp_path, *frames, "audio/HnUOaSfTA6c.wav", "audio/-_-TDDxoaAc_001.wav")
    data = open_data(f"music:{tmp_path}")
    (sample,) = data.samples()
    assert sample.boxes == ((0.5, 0.0, 0.75, 1.0),)
    assert sample.sound == tmp_path / "audio/HnUOaSfTA6c.wav"
    assert (sample.group, sample.kind) == ("cello", "positive")
    assert data.check().ok
    data = open_data(f"music:{tmp_path}?part=duet")
    (sample,) = data.samples()
    assert sample.kind == "mixture"
    assert sample.sources == (
        Source(((0.0, 0.0, 0.5, 0.5),), "flute"),
        Source(((0.5, 0.5, 1.0, 1.0),), "tuba"),
    )
    assert sample.sound == tmp_path / "audio/-_-TDDxoaAc_001.wav"
    assert data.check().ok


def test_a_broken_box_of_music_is_one_sample_that_fails(tmp_path):
    good = {"file": "abcdefghijk_000_00001.jpg", "bbox": [0, 0, 0.5, 0.5], "class": "flute"}
    entries = [good, {**good, "file": "abcdefghijk_000_00002.jpg", "bbox": "none"}]
    write(tmp_path, "music_solo.json", entries)
    write(tmp_path, "dsol.json", {"v/frame_1/1.jpg": {"bbox": [{"normbox": [0, 0, 1]}]}, "w/2": 3})
    said = [sample.broken for sample in open_data(f"music:{tmp_path}").samples()]
    assert said == [None, f"{tmp_path}/music_solo.json, line 1, entry 2: 'bbox' must be a list, "
                    'not "none"']  # fmt: skip
    by_dsol = list(open_data(f"music:{tmp_path}?list=dsol.json").samples())
    assert "four finite numbers" in by_dsol[0].broken
    assert "must be a JSON object" in by_dsol[1].broken


def test_the_real_music_boxes(formats, tmp_path):
    """x, y, w, h: right and bottom come out inside the picture, and no box is empty."""
    for part, name in (("solo", "avgn_music_solo"), ("duet", "avgn_music_duet")):
        real = json.loads((formats / f"{name}.first4.json").read_text())
        write(tmp_path, f"music_{part}.json", real)
        data = open_data(f"music:{tmp_path}?part={part}")
        found = data.check()
        assert (found.samples, found.unjudgeable, dict(found.oddities)) == (4, (), {})
        x, y, width, height = real[0]["bbox" if part == "solo" else "bbox_src1"]
        sample = next(data.samples())
        assert sample.boxes[0] == (x, y, x + width, y + height)
    for part, name, count in (("solo", "dsol_solotest", 1), ("duet", "dsol_duettest", 2)):
        shutil.copy(formats / f"{name}.first4.json", tmp_path / "dsol.json")
        samples = list(open_data(f"music:{tmp_path}?part={part}&list=dsol.json").samples())
        assert [len(s.boxes) for s in samples] == [count] * len(samples)
        assert samples[0].image.relative_to(tmp_path / "frames").suffix == ".jpg"


def test_vggsound_duet(tmp_path):
    vgg(tmp_path)
    write(tmp_path, "vggsound_duet_test.csv", f"{A},dog,{B},violin\r\n")
    data = open_data(f"vggsound_duet:{tmp_path}")
    (sample,) = data.samples()
    assert (sample.id, sample.kind) == (f"{A}__{B}", "mixture")
    left, right = sample.sources
    assert left.boxes == ((0.05, 0.2, 0.15, 0.4),)  # the left half of the composed picture
    assert right.boxes == ()
    assert (left.image, right.sound) == (tmp_path / f"frames/{A}.jpg", tmp_path / f"audio/{B}.wav")
    assert data.check().ok
    truth = [{"file": A, "class": "dog", "bbox": 5}, {"file": B, "class": "violin", "bbox": []}]
    write(tmp_path, "vggss.json", truth)
    (sample,) = data.samples()
    assert "entry 1: 'bbox' must be a list" in sample.broken
    write(tmp_path, "vggsound_duet_test.csv", f"{A},dog\n")
    with pytest.raises(DataError, match="line 1: must be CLIP,CLASS,CLIP,CLASS"):
        list(data.samples())


def test_the_real_duet_list(formats, shared_data, tmp_path):
    shutil.copy(formats / "avgn_vggsound_duet_test.csv.head", tmp_path / "vggsound_duet_test.csv")
    shutil.copy(shared_data / "benchmarks" / "vggss.json", tmp_path / "vggss.json")
    samples = list(open_data(f"vggsound_duet:{tmp_path}").samples())
    assert len(samples) == 5
    for sample in samples:
        left, right = sample.sources
        assert all(box[2] <= 0.5 for box in left.boxes)
        assert all(box[0] >= 0.5 for box in right.boxes)
        assert sample.boxes == left.boxes + right.boxes != ()


# --- any folder of videos, and manifests -----------------------------------------------------


def test_a_folder_of_videos(tmp_path):
    lay(tmp_path, "b.mp4", "deep/er/a.mkv", "picture.jpg")
    data = open_data(tmp_path)
    samples = list(data.samples())
    assert [s.id for s in samples] == ["b", "deep-er-a"]
    assert samples[1].video == samples[1].image == tmp_path / "deep/er/a.mkv"
    assert samples[1].time is None
    found = data.check()
    assert found.ok
    assert found.unjudgeable == ("b", "deep-er-a")
    assert found.surplus == (str(tmp_path / "picture.jpg"),)
    steps = list(open_data(f"video_folder:{tmp_path}?every=0.75").samples())
    assert [(s.id, s.time) for s in steps][:3] == [
        ("b@0.00s", 0.0),
        ("b@0.75s", 0.75),
        ("b@1.50s", 1.5),
    ]
    lay(tmp_path, "B.mov")
    with pytest.raises(DataError, match=r"differs from .* only in case"):
        list(data.samples())


def test_manifests_check_too(tmp_path):
    lay(tmp_path, "a.jpg", "a.wav", "m.png", "v.mp4")
    lines = [
        {"id": "a", "image": "a.jpg", "sound": "a.wav", "boxes": [[0, 0, 1, 1]]},
        {"id": "b", "image": "a.jpg", "sound": "a.wav", "mask": "m.png"},
        {"id": "c", "video": "v.mp4", "time": 0.5, "boxes": [[0, 0, 1, 1]]},
    ]
    path = write(tmp_path, "m.jsonl", "\n".join(map(json.dumps, lines)))
    found = open_data(path).check(decode=True)
    assert found.ok
    assert (found.samples, found.files, found.unjudgeable) == (3, 4, ())
    late = {"id": "d", "video": "v.mp4", "time": 9}
    beyond = write(tmp_path, "late.jsonl", json.dumps(late))
    (broken,) = open_data(beyond).check().broken
    assert broken.startswith(f"{tmp_path / 'v.mp4'} ends at 2.")
    assert broken.endswith("before 9 s (of d)")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "v.mp4").unlink()
    found = open_data(path).check()
    assert found.missing == (f"{tmp_path / 'v.mp4'} (of c)",)
    assert len(found.broken) == 1
    assert "incomplete" in found.lines()[-1]
    assert json.loads(json.dumps(found.json()))["ok"] is False


def test_a_cut_picture_is_broken(tmp_path):
    flickr(tmp_path)
    path = tmp_path / "frames/11.jpg"
    path.write_bytes(path.read_bytes()[:-80])
    (broken,) = open_data(f"flickr_soundnet:{tmp_path}").check().broken
    assert broken.startswith(f"{path} is cut short or damaged")


def test_importing_the_sets_is_light():
    import subprocess
    import sys

    code = (
        "import sys, soundspot.data; print(*(sys.modules.keys() & {'numpy', 'av', 'torch', 'PIL'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert all(issubclass(kind, Dataset) for kind in DATASETS.values())


def test_the_documented_commands_work(tmp_path, monkeypatch, capsys):
    """Each `soundspot data` line of the page runs, in a folder laid out as the page says."""
    import shlex

    from soundspot.cli import main

    page = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text()
    monkeypatch.chdir(tmp_path)
    flickr(tmp_path / "flickr")
    vgg(tmp_path / "vggss")
    is3(tmp_path / "is3")
    lay(tmp_path, "films/a.mp4", "i.jpg", "s.wav")
    write(tmp_path, "pairs.jsonl", json.dumps({"id": "a", "image": "i.jpg", "sound": "s.wav"}))
    write(tmp_path, "train.txt", A)
    write(tmp_path, "vggss_144k.txt", A)
    write(tmp_path, "flickr/flickr_144k.txt", "11")
    write(tmp_path, "flickr/flickr_test_plus_silent.csv", "11,22,non-sounding")
    write(tmp_path, "vggss/vggss_test_plus_silent.csv", f"{A},{A},non-sounding")
    write(tmp_path, "vggss/vggsound_duet_test.csv", f"{A},dog,{B},violin")
    entry = is3_entry("7_1", [0, 0, 9, 9], "/mnt/lynx2/users/arda/SSL_COCO/COCO_AV")
    for part in ("ss", "ms"):
        write(tmp_path, f"vpo/vpo_{part}_bbox.json", [entry])
    write(tmp_path, "avs/Single-source/s4_meta_data.csv", "name,category,split\na,dog,test")
    write(tmp_path, "avs/Multi-sources/ms3_meta_data.csv", "name,split\na,test")
    entry = is3_entry("a_1", [0, 0, 9, 9], "/mnt/lynx3/datasets/AVSbench")
    write(tmp_path, "avs/s4_box.json", [entry])
    write(
        tmp_path, "music/music_solo.json", [{"file": "v_0_1", "class": "x", "bbox": [0, 0, 1, 1]}]
    )
    box = {
        f"{key}_src{n}": value
        for n in (1, 2)
        for key, value in (("bbox", [0, 0, 1, 1]), ("class", "x"))
    }
    write(tmp_path, "music/music_duet.json", [{"file": "v_0_1"} | box])
    lines = [line for line in page.splitlines() if line.startswith("soundspot data")]
    assert len(lines) > 20
    for line in lines:
        assert main(shlex.split(line, comments=True)[1:]) in (0, 1), line
        assert capsys.readouterr().out, line
    for name, kind in DATASETS.items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert all(f"`{known.name}`" in section for known in kind.options()), name
        assert kind.source.split(" ")[0] in section or not kind.source.startswith("http")
