"""Training the two-tower model from pairs alone, on one page, read from top to bottom.

    soundspot train DATA --sound-tower TOWER --out RUN

1. The sound tower (from `soundspot distill`) stands still; each sound is heard once (`sound_bank`).
2. Each step composes scenes of training pictures (`augment_scenes`), draws a sound for each tile
   from its own set, and lowers `region_contrast`; a gate learns recordings from noise and silence.
3. The picture tower starts from ImageNet weights (learned WITH labels; its first blocks stay as
   they are), the projections from nothing. What is kept is an average of the weights over steps.

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

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from soundspot.batches import Batch, Batches
from soundspot.checkpoint import read_checkpoint, save, write_checkpoint
from soundspot.data.pairs import Pairs, read_pairs
from soundspot.errors import TrainingError
from soundspot.facts import ModelFacts
from soundspot.files import make_folder
from soundspot.locating import pick_device
from soundspot.losses.region_contrast import pool_regions, region_contrast
from soundspot.models.two_tower import TwoTower
from soundspot.optimiser_state import pack_optimiser, unpack_optimiser
from soundspot.options import TrainOptions
from soundspot.sound_bank import open_bank
from soundspot.towers.efficientnet_lite import load_imagenet

WARM_UP = 100
"""Steps in which the learning rates rise; then they fall to a fiftieth as half a cosine."""
CLIP_NORM = 5.0
EMA = 0.99
READ_SOFTNESS, READ_CONTRAST = 20.0, 0.5
"""c and a of the finished model (`models.two_tower`); training itself uses 10 and 0."""
LOOKED_AT = 4
"""Batches of scenes on which the expected score of a sound is fitted."""
RIDGE = 1e-2
METHOD = "combined(similarity_map, guided_backprop)"
"""The finished model's own choice."""
SHARPNESS_START = 30.0
LARGE_PRIME = 1_000_003
"""Keeps the dropout of different seeds apart."""


def train(
    data: str | Path,
    sound_tower: str | Path,
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    device: str = "auto",
) -> Path:
    """Train, or go on with an unfinished run, and return the path of the model.

    Args:
        data: a manifest or a folder of sets (`data.pairs`).
        sound_tower: what `soundspot distill` wrote.
        out: folder of the run: `model.safetensors`, `log.jsonl`, `training.safetensors`.
        options: see `options.TrainOptions`.
        device: where to train.

    Raises:
        TrainingError: nothing to pair, another run in `out`, or a loss that is not finite.
        CheckpointError: the sound tower or the kept state cannot be read.
    """
    options, where, out = options or TrainOptions(), pick_device(device), Path(out)
    make_folder(out)
    run = _Run(read_pairs(data), sound_tower, out, options, where)
    with (
        (out / "log.jsonl").open("a") as log,
        tqdm(total=options.steps, initial=run.step, desc="training", unit="step") as bar,
    ):
        for batch in run.batches(run.step, options.steps):
            loss = run.learn(batch)
            log.write(json.dumps({"step": run.step, "loss": round(loss, 4)}) + "\n")
            bar.set_postfix(loss=f"{loss:.3f}")
            bar.update()
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{out}: the loss of step {run.step} is {loss}; the checkpoint of step "
                    f"{run.saved} is kept; lower --rate or --tower-rate"
                )
            if run.step % options.save_every == 0 or run.step == options.steps:
                run.save()
    model = out / "model.safetensors"
    save(run.finish(), model, trained=asdict(options), unreadable=len(run.batches.unreadable))
    return model


def origin_of(pairs: Pairs, sound_tower: Path) -> str:
    """A digest of the data's file names and of the sound tower, to tell runs apart."""
    digest = hashlib.sha256(sound_tower.read_bytes())
    for path in (*pairs.all_sounds, *(p for pictures in pairs.pictures for p in pictures)):
        digest.update(str(path).encode())
    return digest.hexdigest()


def start_model(sound_tower: str | Path, options: TrainOptions, device: torch.device) -> TwoTower:
    """A model at the start: ImageNet picture tower, distilled sound tower, fresh projections."""
    model = TwoTower(facts=ModelFacts(name="two_tower", size=options.side, method=METHOD))
    load_imagenet(model.image_tower)
    _, weights = read_checkpoint(sound_tower, "tower")
    model.sound_tower.load_state_dict({name: w.float() for name, w in weights.items()})
    blocks = model.image_tower.blocks
    still = (model.image_tower.stem, *blocks[: options.still], *(b.depthwise for b in blocks))
    for part in (model.sound_tower, *still):
        part.requires_grad_(False)
    return model.to(device)


class _Run:
    """Everything a step changes, and where it is kept."""

    def __init__(
        self,
        pairs: Pairs,
        sound_tower: str | Path,
        out: Path,
        options: TrainOptions,
        device: torch.device,
    ) -> None:
        self.pairs, self.out, self.options, self.device = pairs, out, options, device
        torch.manual_seed(options.seed)
        self.model = start_model(sound_tower, options, device)
        self.model.facts = replace(self.model.facts, heard=pairs.names)
        self.averaged = copy.deepcopy(self.model).requires_grad_(False)
        self.log_sharpness = nn.Parameter(torch.tensor(SHARPNESS_START, device=device).log())
        tower = [p for p in self.model.image_tower.parameters() if p.requires_grad]
        known = set(map(id, tower))
        heads = [p for p in self.model.parameters() if p.requires_grad and id(p) not in known]
        self.trained = [*heads, self.log_sharpness, *tower]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [*heads, self.log_sharpness], "peak": options.rate},
                {"params": tower, "peak": options.tower_rate},
            ],
            weight_decay=options.decay,
            betas=(0.9, 0.98),
        )
        self.origin = origin_of(pairs, Path(sound_tower))
        bank = open_bank(self.model.sound_tower, pairs, out, self.origin)
        for model in (self.model, self.averaged):
            model.sound_mean.copy_(bank.whole.mean(0))
            model.sound_deviation.copy_(bank.whole.std(0).mean())
        self.batches = Batches(pairs, bank, options)
        self.step = self.saved = 0
        self.kept = out / "training.safetensors"
        if self.kept.exists():
            self._resume()

    def learn(self, batch: Batch) -> float:
        """One step; returns the loss."""
        torch.manual_seed(self.options.seed * LARGE_PRIME + self.step)
        self.model.train()
        loss = self.loss(batch.to(self.device))
        self._set_rates()
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained, CLIP_NORM)
        if math.isfinite(float(loss.detach())):
            self.optimiser.step()
            self._average()
        self.step += 1
        return float(loss.detach())

    def loss(self, batch: Batch) -> Tensor:
        """Where each sound is, and whether there is anything to hear at all."""
        q, _ = self.model.project_sounds(batch.sounds)
        positions = self.model.encode_images(batch.pixels).flatten(2)
        maps = torch.einsum("rdp,sd->rsp", positions[batch.scenes], q)
        where = region_contrast(pool_regions(maps, batch.regions), self.log_sharpness)
        _, audible = self.model.project_sounds(batch.audible)
        _, empty = self.model.project_sounds(batch.empty)
        return where + F.softplus(-audible).mean() + F.softplus(empty).mean()

    @torch.no_grad()
    def finish(self) -> TwoTower:
        """The averaged model, read out as it will be used."""
        model = self.averaged.eval()
        config = replace(model.config, softness=READ_SOFTNESS, contrast=READ_CONTRAST)
        model.config = config
        bank = self.batches.bank
        own = sum(map(len, self.batches.pairs.sounds))
        every = torch.cat((bank.whole, bank.views.flatten(0, 1), bank.empty)).to(self.device)
        model.mean_sound.copy_(model.project_sounds(bank.whole[:own].to(self.device))[0].mean(0))
        q, _ = model.project_sounds(every)
        pixels = torch.cat(
            [self.batches.make(self.options.steps + i).pixels for i in range(LOOKED_AT)]
        )
        positions = torch.cat(
            [model.encode_images(x.to(self.device)) for x in torch.split(pixels, 16)]
        )
        contrasted = q - config.contrast * model.mean_sound
        scores = torch.cat(
            [
                model.pool(torch.einsum("bdhw,jd->bjhw", positions, some)).mean(0)
                for some in torch.split(contrasted, 32)
            ]
        )
        inputs = torch.cat((q, torch.ones_like(q[:, :1])), 1)
        ridge = RIDGE * torch.eye(inputs.shape[1], device=inputs.device)
        fitted = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ scores)
        model.expected.copy_(fitted)
        return model

    def _set_rates(self) -> None:
        """Rise, then half a cosine."""
        done = self.step / self.options.steps
        factor = min(1.0, (self.step + 1) / WARM_UP) * (0.51 + 0.49 * math.cos(math.pi * done))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(EMA, (self.step + 1) / (self.step + 10))
        for average, value in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
            average.lerp_(value, 1 - keep)

    def save(self) -> None:
        """Keep all that a later step depends on, at one stroke."""
        tensors: dict[str, Tensor] = {"log_sharpness": self.log_sharpness}
        for prefix, model in (("model", self.model), ("averaged", self.averaged)):
            tensors |= {f"{prefix}.{name}": t for name, t in model.state_dict().items()}
        tensors |= pack_optimiser(self.optimiser)
        run = {**asdict(self.options), "origin": self.origin}
        header = {"kind": "training", "step": self.step, "run": run}
        write_checkpoint(self.kept, tensors, header)
        self.saved = self.step

    def _resume(self) -> None:
        header, tensors = read_checkpoint(self.kept, "training")
        if header["run"] != {**asdict(self.options), "origin": self.origin}:
            raise TrainingError(
                f"{self.kept}: belongs to a run with other options or data; "
                "give the same ones or another --out"
            )
        with torch.no_grad():
            self.log_sharpness.copy_(tensors["log_sharpness"])
        for prefix, model in (("model.", self.model), ("averaged.", self.averaged)):
            model.load_state_dict(
                {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
            )
        unpack_optimiser(self.optimiser, tensors)
        self.step = self.saved = int(header["step"])
