"""The command gives the field's known numbers on the real boxes of Flickr-SoundNet."""

import json

import numpy as np
import pytest

from soundspot.cli import main
from soundspot.media.image import write_picture

FRAME = 256
"""Pixels of the pictures' sides; boxes are in them."""


@pytest.fixture(scope="module")
def flickr(shared_data, tmp_path_factory):
    """A manifest of the 249 pictures (grey ones) with their boxes, and the disc as maps."""
    folder = tmp_path_factory.mktemp("flickr")
    boxes = json.loads((shared_data / "benchmarks/flickr_boxes.json").read_text())
    write_picture(folder / "grey.png", np.full((FRAME, FRAME, 3), 90, np.uint8))
    y, x = np.mgrid[:224, :224] - 111.5
    (folder / "disc").mkdir()
    np.save(folder / "disc.npy", -np.hypot(y, x).astype(np.float32))
    lines = []
    for name, drawn in boxes.items():
        (folder / "disc" / f"{name}.npy").hardlink_to(folder / "disc.npy")
        people = [[[v / FRAME for v in b]] for b in drawn if b[0] < b[2] and b[1] < b[3]]
        line = {"id": name, "image": "grey.png", "sound": "unheard.wav", "annotators": people}
        lines.append(json.dumps(line) + "\n")
    (folder / "flickr.jsonl").write_text("".join(lines))
    return folder


def test_the_disc_beats_the_early_state_of_the_art(flickr, tmp_path):
    """67.5 / 54.3 from the middle element on, 67.1 / 54.3 above it; the whole image 48.2."""
    report = tmp_path / "report.json"
    run = ["evaluate", str(flickr / "flickr.jsonl"), "--maps", str(flickr / "disc")]
    assert main([*run, "--protocol", "ez_vsl,lvs", "--json", str(report)]) == 0
    data = json.loads(report.read_text())
    assert data["n"] == 249
    rows = {row["name"]: row["scores"] for row in data["rows"]}
    for name in ("disc", "centre disc"):
        assert round(100 * rows[name]["ez_vsl/ciou_share_0.5"], 1) == 67.5
        assert round(100 * rows[name]["lvs/ciou_share_0.5"], 1) == 67.1
        assert round(100 * rows[name]["ez_vsl/auc"], 1) == 54.3
        assert round(100 * rows[name]["lvs/auc"], 1) == 54.3
    assert round(100 * rows["whole image"]["ez_vsl/ciou_share_0.5"], 1) == 48.2
