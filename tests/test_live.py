"""Live: the latest frame, sound in its place, latency, and the command."""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import soundspot
from soundspot import cli, live, live_devices
from soundspot.errors import MediaError, OptionError
from soundspot.facts import ModelFacts
from soundspot.live import Answer, Pace, watch_live
from soundspot.live_devices import Aligned, device_feed
from soundspot.live_feeds import LatestFrame, film_feed
from test_video import film, number_of

RATE = 16_000


class Slow:
    """Any function of pictures and sounds, with a map of its own, that takes its time."""

    facts = ModelFacts("slow", 16, RATE, 1.0, None, "occlusion(patch=8, stride=8)")

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self, images, sounds):
        time.sleep(self.seconds)
        return images.mean((1, 2, 3)) * torch.ones(len(sounds))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """1.2 s at 25 frames a second, numbered."""
    return film(
        tmp_path_factory.mktemp("live") / "clip.mp4", [n / 25 for n in range(30)], sound=1.2
    )


def picture(value: int):
    return lambda: np.full((4, 4, 3), value, np.uint8)


def test_the_slot_holds_the_latest():
    slot = LatestFrame()
    taken = iter(slot)
    assert slot.put(0.0, picture(0))
    assert next(taken)[0] == 0.0
    for n in (1, 2, 3):
        assert slot.put(n, picture(n))
    number, found = next(taken)
    assert (number, found[0, 0, 0], slot.dropped) == (3, 3, 2)
    slot.put(4, picture(4))
    slot.end(MediaError("pulled out"))
    assert not slot.put(5, picture(5))
    assert next(taken)[0] == 5
    with pytest.raises(MediaError, match="pulled out"):
        next(taken)


def test_who_takes_waits_for_a_frame():
    slot = LatestFrame()
    threading.Timer(0.05, lambda: (slot.put(1.0, picture(1)), slot.end())).start()
    assert [t for t, _ in slot] == [1.0]


def test_pictures_of_one_s_own_threads(model_file: Path) -> None:
    """As docs/video.md shows: pictures from one thread, sound in pieces from another."""
    pictures, pieces = soundspot.LatestFrame(), queue.SimpleQueue[np.ndarray]()
    seconds, rate = 1.2, 16_000

    def camera() -> None:
        for n in range(6):
            pictures.put(n * seconds / 6, np.full((48, 64, 3), 40 * n, np.uint8))
            pieces.put(np.random.default_rng(n).normal(0, 0.1, round(seconds / 6 * rate)))
            time.sleep(0.02)
        pictures.end()

    def microphone() -> Iterator[np.ndarray]:
        while True:
            yield pieces.get()

    threading.Thread(target=camera).start()
    sound, model = (microphone(), rate), soundspot.load(model_file)
    moments = list(soundspot.stream(pictures, sound, model, live=True, hop=0.2, window=0.2))
    assert [m.time for m in moments] == sorted({m.time for m in moments})
    assert moments[-1].time == pytest.approx(5 * seconds / 6)
    assert int(moments[-1].result.picture[0, 0, 0]) == 200


def test_sound_is_put_where_the_clock_says():
    aligned = Aligned(1000)
    piece = np.ones(100, np.float32)
    first = aligned.place(piece, 0.35)  # the microphone began 0.25 s after the clock
    assert np.array_equal(first, np.concatenate((np.zeros(250), piece)))
    for n in range(1, 20):  # jitter is let be
        assert np.array_equal(aligned.place(piece, 0.35 + n / 10 + (-1) ** n * 0.04), piece)
    lost = aligned.place(piece, 2.25 + 0.1 + 0.3)
    assert len(lost) == 400
    assert not lost[:300].any()
    assert len(aligned.place(piece, 2.65 + 0.1 - 0.2)) == 0  # the card runs ahead
    assert aligned.place(piece, 2.65).size <= 100


def test_a_film_is_played_in_real_time_and_frames_are_dropped(clip):
    begin = time.perf_counter()
    answers = list(watch_live(lambda: film_feed(clip), Slow(0.05), smooth=0.0))
    assert time.perf_counter() - begin >= 29 / 25
    numbers = [number_of(a.moment.result.picture) for a in answers]
    times = [a.moment.time for a in answers]
    assert times == pytest.approx([n / 25 for n in numbers], abs=1e-3)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 29
    dropped = answers[-1].dropped
    assert len(numbers) + dropped == 30
    assert dropped > 0
    assert all(0 < a.latency < 1 for a in answers)


def test_it_stops_in_time(clip):
    answers = list(watch_live(lambda: film_feed(clip), Slow(), seconds=0.4))
    assert answers[-1].moment.time < 0.4


def test_a_film_that_cannot_be_played(tmp_path, clip):
    with pytest.raises(MediaError, match="does not exist"):
        list(watch_live(lambda: film_feed(tmp_path / "none.mp4"), Slow()))
    mute = film(tmp_path / "mute.mp4", [0.0, 0.1])
    with pytest.raises(MediaError, match="without a sound track"):
        list(watch_live(lambda: film_feed(mute), Slow()))
    with pytest.raises(OptionError, match="this model hears 1 s"):
        list(watch_live(lambda: film_feed(clip), Slow(), window=2.0))


# --- camera and microphone, made up ----------------------------------------------------------


def sound_card(pieces: int = 10_000) -> types.SimpleNamespace:
    """A package like `sounddevice` whose microphone hears a rising tone."""

    @contextlib.contextmanager
    def opened(rate, *, device, channels, dtype, callback) -> Iterator[None]:
        stopped = threading.Event()

        def play() -> None:
            for n in range(pieces):
                if stopped.wait(0.02):
                    return
                wave = np.sin((np.arange(320) + 320 * n) / 5).astype(np.float32)[:, None]
                callback(wave, 320, None, None)

        assert (rate, channels, dtype, device) == (RATE, 1, "float32", None)
        threading.Thread(target=play, daemon=True).start()
        yield
        stopped.set()

    return types.SimpleNamespace(InputStream=opened, PortAudioError=RuntimeError)


@pytest.fixture
def camera(monkeypatch) -> None:
    """FFmpeg's test picture in place of the first camera."""
    monkeypatch.setitem(
        live_devices.CAMERAS, sys.platform, ("lavfi", "testsrc=size=64x48:rate=25,realtime")
    )


@pytest.mark.usefixtures("camera")
def test_camera_and_microphone(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", sound_card())
    answers = list(watch_live(device_feed, Slow(), seconds=1.0, window=0.4, hop=0.2))
    assert len(answers) > 3
    assert answers[0].moment.result.picture.shape == (48, 64, 3)
    heard = [a.moment.result.confidence > 0 for a in answers if a.moment.time > 0.3]
    assert heard
    assert all(heard)


@pytest.mark.usefixtures("camera")
def test_a_microphone_that_falls_silent_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", sound_card(5))
    monkeypatch.setattr(live_devices, "DEAF", 0.1)
    with pytest.raises(MediaError, match="the microphone gives no sound"):
        list(watch_live(device_feed, Slow(), seconds=5.0, hop=0.2))


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(OptionError, match=r"pip install 'soundspot\[live\]'"), device_feed():
        pass
    monkeypatch.setitem(sys.modules, "sounddevice", sound_card())
    with (
        pytest.raises(MediaError, match=r"camera nowhere cannot be opened"),
        device_feed("nowhere"),
    ):
        pass
    monkeypatch.setitem(live_devices.CAMERAS, sys.platform, ("dshow", ""))
    with pytest.raises(OptionError, match="name the camera"), device_feed():
        pass


# --- the command -----------------------------------------------------------------------------


def test_the_command_appends_answers_and_says_how_quick_it_was(clip, model_file, tmp_path, capsys):
    out = tmp_path / "answers.jsonl"
    asked = ["live", "--from", str(clip), "--model", str(model_file), "--json", str(out)]
    asked += ["--window", "0.5", "--method", "similarity_map"]
    assert cli.main(asked) == 0
    said = capsys.readouterr().out
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert f"{len(lines)} frames answered" in said
    assert "95th percentile" in said
    assert set(lines[0]) == {"time", "index", "visible", "confidence", "boxes", "latency"}
    assert cli.main([*asked, "--seconds", "0.3"]) == 0
    assert len(out.read_text().splitlines()) > len(lines)


def test_ctrl_c_ends_cleanly(clip, model_file, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        for number, answer in enumerate(watch_live(*arguments, **options)):
            if number == 2:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(live, "watch_live", interrupted)
    code = cli.main(["live", "--from", str(clip), "--model", str(model_file), "--window", "1"])
    assert code == 0
    assert capsys.readouterr().out.startswith("2 frames answered")


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--camera", "x"], "--camera goes with a camera"),
        (["--seconds", "0"], "--seconds"),
        (["--json", "CLIP"], "read from"),
    ],
)
def test_wrong_use_is_one_line(clip, extra, said, capsys):
    extra = [str(clip) if word == "CLIP" else word for word in extra]
    assert cli.main(["live", "--from", str(clip), *extra]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_sounddevice_the_command_says_so(model_file, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.main(["live", "--model", str(model_file)]) == 2
    assert capsys.readouterr().err.startswith("soundspot: the microphone needs sounddevice")


def test_pace_in_closed_form():
    pace = Pace()
    assert str(pace) == "no frame answered"
    for n in range(101):
        moment = types.SimpleNamespace(time=n / 10)
        pace.add(Answer(moment, n / 1000, 7))
    assert pace.rate == pytest.approx(101 / 10.1)
    assert "latency 50 ms median, 95 ms 95th percentile" in str(pace)
    assert "101 frames answered, 7 dropped, 10.0 a second" in str(pace)
