"""Training a similarity model from pairs alone, on one page, read from top to bottom.

    soundspot train DATA --model NAME --out RUN

1. The sound tower (from `soundspot distill`, or the default model's) stands still; each sound is
   heard once (`sound_bank`), or again at each step where an objective needs more than embeddings.
2. Each step composes scenes of training pictures (`augment_scenes`), draws a sound for each tile
   from its own set, and lowers the model's objective (`losses`).
3. The picture tower starts from ImageNet weights (learned WITH labels; its first blocks stay as
   they are), all else from nothing. What is kept is an average of the weights over steps.

No box, class or group name is read. A step depends on (seed, step) and the state alone: a run
that was cut short and started again ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from soundspot.batches import Batch, Batches
from soundspot.checkpoint import load, read_checkpoint, save, write_checkpoint
from soundspot.data.pairs import Pairs, read_pairs
from soundspot.errors import OptionError, TrainingError
from soundspot.facts import ModelFacts
from soundspot.files import make_folder, write_beside
from soundspot.locating import pick_device
from soundspot.losses import OBJECTIVES, Objective
from soundspot.models import MODELS, SimilarityModel
from soundspot.optimiser_state import pack_optimiser, unpack_optimiser
from soundspot.options import RECIPES, TrainOptions
from soundspot.sound_bank import open_bank
from soundspot.towers.efficientnet_lite import load_imagenet

WARM_UP = 100
"""Steps in which the learning rates rise, at most half of all; they fall as half a cosine."""
CLIP_NORM = 5.0
EMA = 0.99
METHOD = "combined(similarity_map, guided_backprop)"
"""The finished model's own choice."""
LARGE_PRIME = 1_000_003
"""Keeps the dropout of different seeds apart."""


def train(
    data: str | Path,
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    model: str = "two_tower",
    sound_tower: str | Path = "default",
    bank: str | Path | None = None,
    device: str = "auto",
) -> Path:
    """Train, or go on with an unfinished run, and return the path of the model.

    Args:
        data: a manifest or a folder of sets (`data.pairs`).
        out: folder of the run: `model.safetensors`, `log.jsonl`, `training.safetensors`.
        options: see `options.TrainOptions`; None takes the model's own (`options.RECIPES`).
        model: a name in `models.MODELS`.
        sound_tower: what `soundspot distill` wrote, or "default" for the default model's.
        bank: folder where the heard sounds are kept, which runs may share; None: `out`.
        device: where to train.

    Raises:
        OptionError: an unknown model.
        TrainingError: nothing to pair, another run in `out`, or a loss that is not finite.
        CheckpointError: the sound tower or the kept state cannot be read.
    """
    if model not in MODELS:
        raise OptionError(f"unknown model {model!r}; there are {', '.join(MODELS)}")
    options, where, out = options or RECIPES[model], pick_device(device), Path(out)
    make_folder(out)
    pairs = read_pairs(data)
    started = start_model(model, sound_tower, options, where)
    run = _Run(pairs, started, out, options, Path(bank or out))
    with (
        (out / "log.jsonl").open("a", buffering=1) as log,
        tqdm(total=options.steps, initial=run.step, desc="training", unit="step") as bar,
    ):
        for batch in run.batches(run.step, options.steps):
            loss = run.learn(batch)
            log.write(json.dumps({"step": run.step, "loss": round(loss, 4)}) + "\n")
            bar.set_postfix(loss=f"{loss:.3f}")
            bar.update()
            run.check(loss, batch)
            if run.step % options.save_every == 0 or run.step == options.steps:
                run.save()
    path = out / "model.safetensors"
    save(run.finish(), path, trained=asdict(options), unreadable=len(run.batches.unreadable))
    return path


def origin_of(pairs: Pairs, tower: nn.Module) -> str:
    """A digest of the data's file names and of the sound tower, to tell runs apart."""
    digest = hashlib.sha256()
    for weight in tower.state_dict().values():
        digest.update((weight.cpu() + 0).numpy().tobytes())  # -0 and 0 are the same weight
    for path in (*pairs.all_sounds, *(p for pictures in pairs.pictures for p in pictures)):
        digest.update(str(path).encode())
    return digest.hexdigest()


def start_model(
    name: str, sound_tower: str | Path, options: TrainOptions, device: torch.device
) -> SimilarityModel:
    """A model at the start: ImageNet picture tower, distilled sound tower, the rest fresh."""
    torch.manual_seed(options.seed)
    facts = ModelFacts(name=name, size=options.side, method=METHOD)
    model = MODELS[name].from_config({}, facts)
    load_imagenet(model.image_tower)
    if str(sound_tower) == "default":
        weights = load().sound_tower.state_dict()
    else:
        _, weights = read_checkpoint(sound_tower, "tower")
    model.sound_tower.load_state_dict({key: w.float() for key, w in weights.items()})
    blocks = model.image_tower.blocks
    still = (model.image_tower.stem, *blocks[: options.still], *(b.depthwise for b in blocks))
    for part in (model.sound_tower, *still):
        part.requires_grad_(False)
    return model.to(device)


class _Run:
    """Everything a step changes, and where it is kept."""

    def __init__(
        self, pairs: Pairs, model: SimilarityModel, out: Path, options: TrainOptions, kept: Path
    ) -> None:
        self.out, self.options, self.model = out, options, model
        self.device = next(model.parameters()).device
        model.facts = replace(model.facts, heard=pairs.names)
        self.averaged = copy.deepcopy(model).requires_grad_(False)
        self.objective: Objective[Any] = OBJECTIVES[model.facts.name]().to(self.device)
        tower = [p for p in model.image_tower.parameters() if p.requires_grad]
        known = set(map(id, tower))
        heads = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
        heads += self.objective.parameters()
        self.trained = [*heads, *tower]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": heads, "peak": options.rate},
                {"params": tower, "peak": options.tower_rate},
            ],
            weight_decay=options.decay,
            betas=(0.9, 0.98),
        )
        self.origin = origin_of(pairs, model.sound_tower)
        make_folder(kept)
        bank = open_bank(model.sound_tower, pairs, kept, self.origin)
        for each in (self.model, self.averaged):
            self.objective.start(each, bank)
        self.batches = Batches(pairs, bank, options, waves=self.objective.waves)
        self.step = self.saved = 0
        self.kept = out / "training.safetensors"
        if self.kept.exists():
            self._resume()

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this run from another."""
        return {**asdict(self.options), "model": self.model.facts.name, "origin": self.origin}

    def learn(self, batch: Batch) -> float:
        """One step; returns the loss."""
        torch.manual_seed(self.options.seed * LARGE_PRIME + self.step)
        self.model.train()
        loss = self.objective(self.model, batch.to(self.device))
        self._set_rates()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, CLIP_NORM)
        if math.isfinite(float(loss.detach())):
            self.optimiser.step()
            self._average()
        self.step += 1
        return float(loss.detach())

    def check(self, loss: float, batch: Batch) -> None:
        """Stop at a loss that is not finite, leaving the step's files and the kept checkpoint."""
        if math.isfinite(loss):
            return
        found = {"step": self.step, "loss": str(loss), "files": [str(f) for f in batch.files]}
        report = self.out / "diverged.json"
        with write_beside(report) as beside:
            beside.write_text(json.dumps(found, indent=2))
        kept = f"the checkpoint of step {self.saved} is kept" if self.saved else "nothing was kept"
        raise TrainingError(
            f"{self.out}: the loss of step {self.step} is {loss}; {kept}, and {report.name} names "
            "the files of this step; lower --rate or --tower-rate"
        )

    def finish(self) -> SimilarityModel:
        """The averaged model, read out as it will be used."""
        model = self.averaged.eval()
        self.objective.finish(model, self.batches)
        return model

    def _set_rates(self) -> None:
        """Rise, then half a cosine."""
        done = self.step / self.options.steps
        risen = min(1.0, (self.step + 1) / min(WARM_UP, self.options.steps / 2))
        factor = risen * (0.51 + 0.49 * math.cos(math.pi * done))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(EMA, (self.step + 1) / (self.step + 10))
        for average, value in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
            average.lerp_(value, 1 - keep)

    def save(self) -> None:
        """Keep all that a later step depends on, at one stroke."""
        tensors: dict[str, Tensor] = pack_optimiser(self.optimiser)
        for prefix, part in self._parts().items():
            tensors |= {f"{prefix}.{name}": t for name, t in part.state_dict().items()}
        write_checkpoint(
            self.kept, tensors, {"kind": "training", "step": self.step, "run": self.identity}
        )
        self.saved = self.step

    def _resume(self) -> None:
        header, tensors = read_checkpoint(self.kept, "training")
        if header["run"] != self.identity:
            raise TrainingError(
                f"{self.kept}: belongs to a run with other options or data; "
                "give the same ones or another --out"
            )
        for prefix, part in self._parts().items():
            mine = {k: t for k, t in tensors.items() if k.startswith(f"{prefix}.")}
            part.load_state_dict({k.removeprefix(f"{prefix}."): t for k, t in mine.items()})
        unpack_optimiser(self.optimiser, tensors)
        self.step = self.saved = int(header["step"])

    def _parts(self) -> dict[str, nn.Module]:
        return {"model": self.model, "averaged": self.averaged, "objective": self.objective}
