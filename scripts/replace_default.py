"""Put another default model into the package; the models that stand on it stay exactly as they are.

    python scripts/replace_default.py NEW.safetensors

The others borrow the default's sound tower (`soundspot.embedded`). Where the new default's is the
same, their files are not touched; where it is not, each is written again with the tensors it would
miss. Says for every model what became of it, after comparing all of its tensors with those before.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from soundspot.checkpoint import load, read_header
from soundspot.embedded import EMBEDDED, embedded_path
from soundspot.errors import CheckpointError, SoundspotError
from soundspot.files import write_beside
from soundspot.models import SimilarityModel

BASE = "default"


def main() -> None:
    """Replace, and say what was written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("new", type=Path, metavar="NEW.safetensors")
    try:
        said = replace(parser.parse_args().new)
    except SoundspotError as error:
        raise SystemExit(f"replace_default: {error}") from None
    print("\n".join(f"{name}: {what}" for name, what in said.items()))


def replace(new: Path) -> dict[str, str]:
    """Replace the default model; what became of each model.

    Raises:
        CheckpointError: the new one is no model, or stands on another itself.
    """
    if "base" in read_header(new):
        raise CheckpointError(f"{new}: leaves out tensors of another model; save it without a base")
    load(new)
    others = {name: load(name) for name in EMBEDDED if name != BASE}
    with write_beside(embedded_path(BASE)) as beside:
        shutil.copyfile(new, beside)
    return {BASE: "replaced"} | {name: kept(name, model) for name, model in others.items()}


def kept(name: str, model: SimilarityModel) -> str:
    """Write a model again if the new default does not lend what it borrows; says so.

    Raises:
        CheckpointError: a tensor is not what it was.
    """
    said = "stands as it is"
    try:
        load(name)
    except CheckpointError:
        model.save(embedded_path(name), base=BASE)
        said = "written again"
    before, after = model.state_dict(), load(name).state_dict()
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    if changed:
        raise CheckpointError(f"{name}: {changed[0]} is not what it was; restore its file")
    return said


if __name__ == "__main__":
    main()
