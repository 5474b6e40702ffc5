"""`soundspot protocols`: the table fits, the card is whole, JSON has everything."""

import json
import subprocess
import sys

import pytest

from soundspot.cli import main
from soundspot.commands.protocols import fitted
from soundspot.protocols import PROTOCOLS


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_table_has_a_line_a_protocol_and_fits(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["protocols"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(PROTOCOLS)]] == list(PROTOCOLS)
    assert max(map(len, lines)) <= width
    if width == 160:
        assert ".." not in "".join(lines)
        assert "bilinear half-pixel  > median" in lines[2]


def test_columns_share_what_room_there_is():
    assert fitted([5, 10, 20], 40) == [5, 10, 20]
    assert fitted([5, 10, 20], 25) == [5, 10, 10]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_card_says_everything(monkeypatch, capsys, name):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["protocols", name]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    words = " ".join(text.split())
    protocol = PROTOCOLS[name]
    for said in (*protocol.card.lines().values(), *protocol.metrics, *protocol.metrics.values()):
        assert " ".join(said.split()) in words


def test_json(tmp_path, capsys):
    assert main(["protocols", "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in data] == list(PROTOCOLS)
    assert main(["protocols", "slavc", "--json", str(tmp_path / "p.json")]) == 0
    (one,) = json.loads((tmp_path / "p.json").read_text())
    assert one["version"] == 1
    assert one["metrics"] == dict(PROTOCOLS["slavc"].metrics)


def test_an_unknown_name_is_refused_in_one_line(capsys):
    assert main(["protocols", "lsv"]) == 2
    assert "no protocol 'lsv'" in capsys.readouterr().err


def test_a_reader_who_has_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "soundspot", "protocols"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
