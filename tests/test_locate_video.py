"""`soundspot locate CLIP.mp4`: a film in, a film out, whatever the film, even interrupted."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from films import GREEN, RATE, RED, SIZE, scene, sound_packets, tones, write_film
from red_and_green import FACTS, Planted
from soundspot import film_job, filming
from soundspot.cli import main
from soundspot.errors import MediaError, OptionError
from soundspot.film_job import FilmTask
from soundspot.filming import film_clip
from soundspot.media.image import write_picture
from soundspot.media.video import frame_times, frames, read_frame, read_info
from soundspot.render_film import Look
from soundspot.track_file import read_tracks

METHOD = "similarity_map"
MODEL = Planted()
TICK = 1 / 1000 + 1e-6
SPANS = ((0.0, 2.0, "red"), (3.0, 5.0, "green"))
"""Red sounds, then nothing, then green."""
TIMES = [n / 10 for n in range(50)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_film(path, TIMES, wave=tones(SPANS, 5.0))


def film(task, **options):
    return film_clip(task, MODEL, METHOD, device="cpu", **options)


def near(box, truth):
    return np.abs(np.subtract(box, truth)).max() <= 8


def test_thresholds_can_be_given(clip, tmp_path):
    def found(**cuts):
        task = FilmTask(clip, tracks=tmp_path / "t.jsonl", smooth=0.0, every=5, stop=2.0, **cuts)
        film(task)
        return read_tracks(task.tracks)

    usual = found()
    assert all(line["visible"] and line["boxes"] for line in usual.frames[1:])
    nowhere = found(threshold=1e9)
    assert nowhere.header["threshold"] == 1e9
    assert all(line["visible"] and not line["boxes"] for line in nowhere.frames[1:])
    certain = found(visible=1.0)
    assert certain.header == {**usual.header, "visible_from": 1.0}
    assert not any(line["visible"] or line["boxes"] for line in certain.frames)
    with pytest.raises(OptionError, match="finite raw map value"):
        found(threshold=float("nan"))


def test_who_sounds_when_is_found_drawn_and_written(clip, tmp_path):
    task = FilmTask(clip, tmp_path / "where.mp4", tmp_path / "t.jsonl", smooth=0.0, hop=0.1)
    report = film(task)
    assert frame_times(task.film) == pytest.approx(frame_times(clip), abs=TICK)
    assert sound_packets(task.film) == sound_packets(clip)
    assert read_info(task.film).seconds == pytest.approx(read_info(clip).seconds, abs=0.05)
    found = read_tracks(task.tracks)
    assert len(found.frames) == len(TIMES) == report.frames
    assert found.summary == report.summary
    for line in found.frames:
        if 0.3 < line["time"] < 1.7 or 3.3 < line["time"] < 4.7:
            truth = RED if line["time"] < 2.5 else GREEN
            assert line["visible"]
            assert near(line["boxes"][0]["box"], truth), line
        if 2.3 < line["time"] < 2.7:
            assert (line["visible"], line["boxes"], line["confidence"]) == (False, [], 0.0)
    red, green = (
        next(t for t in report.summary["tracks"] if near(t["best"]["box"], b)) for b in (RED, GREEN)
    )
    assert red["intervals"][0] == pytest.approx([0.0, 2.0], abs=0.3)
    assert green["intervals"][-1] == pytest.approx([3.0, 5.0], abs=0.3)
    plain, shown = read_frame(clip, 1.0), read_frame(task.film, 1.0)
    changed = np.abs(shown.astype(int) - plain).sum(2)
    x0, y0, x1, y1 = RED
    assert changed[y0:y1, x0:x1].mean() > 40 > changed[36:44, 40:60].mean()
    assert not (tmp_path / "where.mp4.part").exists()
    assert found.header["window"] == FACTS.seconds
    assert json.loads(json.dumps(report.json()))["broken"] is None


def test_options_of_the_look(clip, tmp_path):
    look = Look(side_by_side=True, curve=True, opacity=0.3, boxes=False)
    task = FilmTask(clip, tmp_path / "where.mkv", look=look, start=1.0, stop=2.05)
    report = film(task)
    info = read_info(task.film)
    width, height = look.canvas(SIZE)
    assert (info.width, info.height) == (width, height + height % 2)
    assert len(frame_times(task.film)) == 11 == report.summary["judged"]
    assert info.seconds == pytest.approx(1.05, abs=0.05)
    left = read_frame(task.film, 0.5)[: SIZE[1], : SIZE[0]]
    assert np.abs(left.astype(int) - read_frame(clip, 1.5)).mean() < 6


def test_every_nth_frame_is_judged_and_all_are_shown(clip, tmp_path):
    task = FilmTask(clip, tmp_path / "where.mp4", tmp_path / "t.jsonl", every=4)
    report = film(task)
    assert (report.frames, report.summary["judged"]) == (50, 13)
    assert frame_times(task.film) == pytest.approx(TIMES, abs=TICK)
    lines = read_tracks(task.tracks).frames
    assert [line["time"] for line in lines] == pytest.approx(TIMES[::4], abs=TICK)


def test_tracks_alone(clip, tmp_path):
    report = film(FilmTask(clip, tracks=tmp_path / "t.jsonl"))
    assert report.sound is None
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]
    assert film(FilmTask(clip)).summary == report.summary


def test_another_sound_takes_the_place_of_the_clips_own(clip, tmp_path):
    wave = tmp_path / "green.wav"
    soundfile.write(wave, tones([(0.0, 9.0, "green")], 9.0), RATE)
    task = FilmTask(clip, tmp_path / "where.mkv", sound=wave)
    report = film(task)
    assert near(report.summary["tracks"][0]["best"]["box"], GREEN)
    assert report.summary["visible"] == 1
    assert read_info(task.film).seconds == pytest.approx(frame_times(clip)[-1] + 0.04, abs=0.03)


class StoppedError(Exception):
    """In place of a plug that is pulled."""


def assert_same_films(one, two):
    """The same tracks to the byte, the same sound, and frames equal but for the coding."""
    assert (one / "t.jsonl").read_bytes() == (two / "t.jsonl").read_bytes()
    films = one / "w.mp4", two / "w.mp4"
    assert sound_packets(films[0]) == sound_packets(films[1])
    for (time_a, a), (time_b, b) in zip(*map(frames, films), strict=True):
        assert time_a == time_b
        assert np.abs(a.astype(int) - b).mean() < 0.2


def stops_after(monkeypatch, count, task):
    """Let the job die at its `count`-th line."""
    calls = iter(range(count))
    line_of = filming.frame_line

    def line(moment):
        if next(calls, None) is None:
            raise StoppedError
        return line_of(moment)

    with monkeypatch.context() as patched:
        patched.setattr(filming, "frame_line", line)
        with pytest.raises(StoppedError):
            film(task)


@pytest.mark.parametrize("every", [1, 3])
def test_a_job_that_stopped_goes_on_and_ends_the_same(clip, tmp_path, monkeypatch, every):
    monkeypatch.setattr(film_job, "SEGMENT_FRAMES", 8)
    look = Look(curve=True)

    def task(name):
        folder = tmp_path / name
        return FilmTask(clip, folder / "w.mp4", folder / "t.jsonl", look=look, every=every)

    film(task("whole"))
    for count in (5, 20, 11):
        stops_after(monkeypatch, -(-count // every), task("again"))
        assert not (tmp_path / "again" / "w.mp4").exists()
    assert len(list((tmp_path / "again" / "w.mp4.part").glob("*.nut"))) >= 3
    film(task("again"))
    assert_same_films(tmp_path / "whole", tmp_path / "again")
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == ["t.jsonl", "w.mp4"]


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from red_and_green import slow
from soundspot import film_job
from soundspot.filming import film_clip
film_job.SEGMENT_FRAMES = 8
out = Path(sys.argv[3])
task = film_job.FilmTask(Path(sys.argv[2]), out / "w.mp4", out / "t.jsonl")
film_clip(task, slow, "similarity_map", device="cpu")
"""


@pytest.mark.slow
def test_a_killed_job_goes_on(clip, tmp_path):
    def start(name):
        words = (str(Path(__file__).parent), str(clip), str(tmp_path / name))
        return subprocess.Popen([sys.executable, "-c", KILLED, *words])

    assert start("whole").wait() == 0
    job = start("again")
    deadline = time.monotonic() + 60
    while not (tmp_path / "again" / "w.mp4.part" / "000001.json").exists():
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not (tmp_path / "again" / "w.mp4").exists()
    assert start("again").wait() == 0
    assert_same_films(tmp_path / "whole", tmp_path / "again")


def test_an_unfinished_film_of_other_settings_is_not_mixed_in(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(film_job, "SEGMENT_FRAMES", 8)
    task = FilmTask(clip, tmp_path / "w.mp4")
    stops_after(monkeypatch, 20, task)
    with pytest.raises(OptionError, match=r"w.mp4.part: holds an unfinished film of another clip"):
        film(FilmTask(clip, tmp_path / "w.mp4", smooth=0.2))
    film(task)
    folder = tmp_path / "v.mp4.part"
    folder.mkdir()
    (folder / "mine.txt").touch()
    with pytest.raises(OptionError, match=r"v.mp4.part: is needed for parts"):
        film(FilmTask(clip, tmp_path / "v.mp4"))
    assert (folder / "mine.txt").exists()


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film cut short in the middle."""
    rng = np.random.default_rng(0)
    times = [n / 10 for n in range(60)]
    grain = [
        np.clip(scene().astype(int) + rng.integers(-40, 40, (64, 96, 3)), 0, 255).astype(np.uint8)
        for _ in times
    ]
    whole = tmp_path_factory.mktemp("broken") / "broken.mkv"
    write_film(whole, times, grain, tones([(0, 6, "red")], 6.0), codec="mpeg4", sound="flac")
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    return whole


def test_a_film_that_breaks_off(broken, tmp_path):
    task = FilmTask(broken, tmp_path / "w.mkv", tmp_path / "t.jsonl")
    with pytest.raises(
        MediaError,
        match=r"broken.mkv is damaged or cut short after \d.*frames "
        r"before it are in .*w.mkv.part: give --keep-partial",
    ):
        film(task)
    assert [path.name for path in tmp_path.iterdir()] == ["w.mkv.part"]
    report = film(FilmTask(broken, task.film, task.tracks, keep_partial=True))
    assert "cut short" in str(report.broken)
    assert 15 < report.frames < 45
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.jsonl", "w.mkv"]
    assert len(frame_times(task.film)) == report.frames
    assert len(read_tracks(task.tracks).frames) == report.frames
    info = read_info(task.film)
    assert info.has_sound
    assert info.seconds == pytest.approx(report.summary["seconds"], abs=0.15)
    assert len(list(frames(task.film))) == report.frames


ODD = {
    "silent.mp4": "without a sound track",
    "sound.mp4": "is a sound without pictures",
    "empty.mp4": "is empty",
    "noise.mp4": "not a picture that can be read",
    "none.mp4": "does not exist",
    "head.mp4": "is an MP4 video, but empty, cut short or damaged",
}


@pytest.fixture
def odd(tmp_path, clip):
    write_film(tmp_path / "silent.mp4", TIMES[:3])
    write_film(tmp_path / "one.mp4", [0.0], wave=tones([(0, 0.3, "red")], 0.3))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(4000))
    (tmp_path / "head.mp4").write_bytes(clip.read_bytes()[:400])
    soundfile.write(tmp_path / "s.wav", tones([(0, 1, "red")], 1.0), RATE)
    with av.open(tmp_path / "sound.mp4", "w") as out:
        track = out.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(tones([], 1.0)[None], "fltp", "mono")
        frame.rate, frame.pts = RATE, 0
        out.mux([*track.encode(frame), *track.encode()])
    return tmp_path


@pytest.mark.parametrize("name", ODD)
def test_odd_films_get_a_clear_answer(name, odd, capfd, monkeypatch):
    monkeypatch.chdir(odd)
    words = ["s.wav"] if name == "noise.mp4" else []
    before = sorted(odd.iterdir())
    output = "w.png" if name == "noise.mp4" else "w.mp4"
    code = main(["locate", name, *words, "-o", output, "--model", "default"])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert f"{name} " in err
    assert ODD[name] in err
    assert sorted(odd.iterdir()) == before


def test_a_film_of_one_frame(odd):
    task = FilmTask(odd / "one.mp4", odd / "w.mp4", odd / "t.jsonl")
    report = film(task)
    assert (report.frames, report.summary["judged"]) == (1, 1)
    assert len(frame_times(task.film)) == 1


def test_a_silent_film_with_a_sound_given(odd):
    report = film(FilmTask(odd / "silent.mp4", odd / "w.mp4", sound=odd / "s.wav"))
    assert report.frames == 3
    assert read_info(odd / "w.mp4").has_sound
    assert report.sound is not None
    assert report.sound.note is not None


def test_outputs_are_tried_before_the_work(clip, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="cannot be written"):
        film(FilmTask(clip, tmp_path / "file" / "w.mp4"))
    with pytest.raises(MediaError, match="is a folder"):
        film(FilmTask(clip, tracks=tmp_path))
    with pytest.raises(OptionError, match=r"w.gif: a film is written as"):
        film(FilmTask(clip, tmp_path / "w.gif"))
    with pytest.raises(OptionError, match="every=0"):
        film(FilmTask(clip, tmp_path / "w.mp4", every=0))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for task in (FilmTask(clip, clip), FilmTask(clip, tracks=clip)):
        with pytest.raises(OptionError, match="is read from; write to another file"):
            film(task)
    both = tmp_path / "both.mp4"
    with pytest.raises(OptionError, match=r"both\.mp4: is written twice"):
        film(FilmTask(clip, both, both))


def test_stopped_before_anything_is_done_leaves_nothing(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("soundspot.filming.stream", _stopped)
    with pytest.raises(KeyboardInterrupt):
        film(FilmTask(clip, tmp_path / "w.mp4"))
    assert not list(tmp_path.iterdir())


def _stopped(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["clip.mp4"], "say what to write: -o FILM.mp4, --tracks FILE.jsonl or --json FILE"),
        (["clip.mp4", "-o", "w.png"], "w.png: a film is written as .mp4, .m4v, .mov, .mkv"),
        (["clip.mp4", "-o", "w.mp4", "--map", "m.npy"], "--map goes with a picture, not with a v"),
        (["clip.mp4", "-o", "w.mp4", "--out-dir", "d"], "--out-dir goes with a manifest"),
        (["clip.mp4", "--tracks", "t.jsonl", "--curve"], "--curve changes how a film looks"),
        (["clip.mp4", "--tracks", "-"], "--tracks -: give a file"),
        (["clip.mp4", "--tracks", "t.json"], "t.json: --tracks takes a name ending in .jsonl"),
        (["clip.mp4", "--json", "p.png/w.json"], "p.png/w.json cannot be written"),
        (["clip.mp4", "-o", "clip.mp4"], "clip.mp4: is read from or written twice"),
        (["clip.mp4", "-o", "w.mp4", "--start", "soon"], "'soon' is no time; give 90 or 1:30"),
        (["clip.mp4", "-o", "w.mp4", "--start", "9"], "ends at 5.00 s, before 9 s"),
        (["clip.mp4", "-o", "w.mp4", "--start", "2", "--stop", "1"], "must lie after start"),
        (["clip.mp4", "-o", "w.mp4", "--opacity", "2"], "opacity=2; it must be 0 to 1"),
        (["clip.mp4", "-o", "w.mp4", "--batch", "0"], "batch=0"),
        (["p.png", "clip.mp4", "--every", "2"], "--every goes with a video, not with a picture"),
        (["p.png", "clip.mp4", "--no-boxes"], "--no-boxes goes with a video"),
        (["p.png", "clip.mp4", "--batch", "2"], "--batch goes with a manifest (.jsonl) or"),
        (
            ["l.jsonl", "--out-dir", "d", "--tracks", "t"],
            "--tracks goes with a video, not with a m",
        ),
    ],
)
def test_wrong_use(words, says, clip, tmp_path, capfd, monkeypatch, model_file):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "clip.mp4")
    write_picture("p.png", scene())
    before = sorted(tmp_path.iterdir())
    try:
        code = main(["locate", *words, "--model", str(model_file)])
    except SystemExit as stopped:
        code = stopped.code
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert says in err
    assert sorted(tmp_path.iterdir()) == before


def test_the_command(clip, tmp_path, capfd, monkeypatch, model_file):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "film")  # the content counts, not the name
    words = ["--model", str(model_file), "--start", "0:01", "--stop", "2", "--every", "5"]
    words += ["-o", "w.mp4", "--tracks", "t.jsonl", "--json", "-", "--side-by-side", "--curve"]
    assert main(["locate", "film", *words]) == 0
    out, err = capfd.readouterr()
    answer = json.loads(out)
    assert (answer["film"], answer["frames"], answer["judged"]) == ("film", 10, 2)
    assert answer["sound_copied"] is True
    assert "written: w.mp4" in err
    assert "frame/s" in err
    assert read_tracks("t.jsonl").summary["judged"] == 2
    assert len(frame_times(Path("w.mp4"))) == 10


def test_the_command_keeps_a_part(broken, tmp_path, capfd, monkeypatch, model_file):
    monkeypatch.chdir(tmp_path)
    words = [str(broken), "-o", "w.mp4", "--every", "10", "--model", str(model_file)]
    assert main(["locate", *words, "--keep-partial"]) == 1
    out, err = capfd.readouterr()
    assert "written: w.mp4" in out
    assert err.strip().splitlines()[-1].endswith("what came before is kept")
    assert [path.name for path in tmp_path.iterdir()] == ["w.mp4"]


def test_sound_that_does_not_fit_is_said_to_be_encoded_again(tmp_path, capfd, model_file):
    clip = write_film(tmp_path / "c.mov", [0.0, 0.1], wave=tones([], 0.2), sound="pcm_s16le")
    words = ["--model", str(model_file), "-o", str(tmp_path / "w.mp4")]
    assert main(["locate", str(clip), *words]) == 0
    assert (
        "pcm_s16le sound does not go into .mp4; it is encoded again as AAC"
        in capfd.readouterr().err
    )


@pytest.mark.slow
def test_real_clips(shared_data, tmp_path):
    for clip in sorted((shared_data / "videos").glob("*.mp4")):
        task = FilmTask(clip, tmp_path / clip.name, stop=0.5, every=8)
        film(task)
        assert frame_times(task.film) == pytest.approx(
            [t for t in frame_times(clip) if t < 0.5 - 1e-6], abs=TICK
        )
        whole = [data for _, data in sound_packets(clip)]
        kept = [data for _, data in sound_packets(task.film)]
        assert kept == whole[: len(kept)]
