"""One step of training: embed, lose, follow the gradient, average.

**A batch larger than memory.** A contrastive loss needs all samples at once, but only their
embeddings: gradient caching (Gao, Zhang, Han & Callan, "Scaling Deep Contrastive Learning Batch
Size under Memory Limited Setup", RepL4NLP 2021) embeds piece by piece without a graph, takes the
gradient of the loss with respect to the joined embeddings, and then embeds each piece again, with
a graph, to pass its rows of that gradient on:

    dL/dw = sum over pieces i of (dL/dz_i) (dz_i/dw)

It is exact, costs one more forward pass, and needs the memory of one piece. Every random choice
of a piece (dropout) is the same in both passes.

**A batch larger than a machine.** Each rank embeds its own rows, the objective gathers what it
must (`soundspot.ranks`), and gradients are averaged in one message at the end.

With one piece on one process all this is the plain step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from soundspot.optimiser_state import pack_optimiser, unpack_optimiser
from soundspot.training.computing import Computing
from soundspot.training.schedule import factor, set_rates

if TYPE_CHECKING:
    from soundspot.batches import Batch
    from soundspot.losses.objective import Objective, Parts
    from soundspot.models import SimilarityModel
    from soundspot.options import TrainOptions
    from soundspot.ranks import Ranks

CLIP_NORM = 5.0
LARGE_PRIME = 1_000_003
"""Keeps the dropout of different seeds apart."""
BETAS = (0.9, 0.98)


class Dice:
    """Random numbers of a piece: within it, the same whenever it is entered again.

    Args:
        seed: None goes on from wherever the first entry finds the generators.
    """

    def __init__(self, seed: int | None) -> None:
        self.seed, self.before = seed, list[Tensor]()

    def __enter__(self) -> None:
        """Roll on, or as the first time."""
        if self.before:
            self._set(self.before)
        elif self.seed is not None:
            torch.manual_seed(self.seed)
        self.before = self._get()

    def __exit__(self, *_: object) -> None:
        """Remember where the numbers got to."""
        self.after = torch.get_rng_state()

    def _get(self) -> list[Tensor]:
        own = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
        return [torch.get_rng_state(), *own]

    def _set(self, states: Sequence[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for state in states[1:]:
            torch.cuda.set_rng_state(state)


class Learner:
    """A model, its objective, its average, and the optimiser that moves them.

    Args:
        model: as it starts, on its device.
        objective: what it learns by.
        options: of the run.
        chunk: most scenes that are embedded at once; 0: all of this rank's.
        ranks: who learns with this process.
        computing: how it is computed.
    """

    def __init__(
        self,
        model: SimilarityModel,
        objective: Objective[Any],
        options: TrainOptions,
        chunk: int,
        ranks: Ranks,
        computing: Computing,
    ) -> None:
        self.model, self.objective = model, objective
        self.options, self.chunk, self.ranks, self.computing = options, chunk, ranks, computing
        self.averaged = copy.deepcopy(model).requires_grad_(False)
        pairs = zip(self.averaged.parameters(), model.parameters(), strict=True)
        moving = [(average, own) for average, own in pairs if own.requires_grad]
        self.averages: list[Tensor] = [average for average, _ in moving]
        self.values: list[Tensor] = [own for _, own in moving]
        self.device = next(model.parameters()).device
        groups = _groups(model, objective, options)
        self.trained = [p for group in groups for p in group["params"]]
        self.optimiser = torch.optim.AdamW(
            groups, weight_decay=options.decay, betas=BETAS, fused=True
        )
        computing.apply(model)

    def learn(self, batch: Batch, step: int) -> float:
        """One step; returns the loss before it, NaN of a gradient that is not finite.

        A loss or a gradient that is not finite moves nothing.
        """
        torch.manual_seed(self.options.seed * LARGE_PRIME + step)
        self.model.train()
        self.model.sound_tower.eval()
        self.optimiser.zero_grad()
        loss = self._differentiate(batch.to(self.device), step)
        self.ranks.mean([p.grad for p in self.trained if p.grad is not None])
        set_rates(self.optimiser, factor(step, self.options.steps, self.options.warm_up))
        norm = float(nn.utils.clip_grad_norm_(self.trained, CLIP_NORM))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return loss if math.isfinite(norm) else math.nan
        self.optimiser.step()
        self._average(step)
        return loss

    def _differentiate(self, batch: Batch, step: int) -> float:
        """Leave the gradient of the whole batch's loss in the parameters; returns the loss."""
        whole = self.objective.prepare(self.model, batch, self.ranks)
        pieces = whole.cut(self.chunk)
        dice = [Dice(seed) for seed in self._seeds(pieces, step)]
        with torch.no_grad():
            known = [self._embed(*at) for at in zip(pieces[:-1], dice, strict=False)]
        last = self._embed(pieces[-1], dice[-1])
        torch.set_rng_state(self.ranks.of_first(dice[0].after))
        parts = joined(known, last)
        loss = self.objective.loss(self.model, parts, self.ranks)
        loss.backward()  # type: ignore[no-untyped-call]
        if known:
            self._pass_on(pieces, dice, parts, last)
        return float(loss.detach())

    def _pass_on(
        self, pieces: Sequence[Batch], dice: Sequence[Dice], parts: Parts, last: Parts
    ) -> None:
        """Send the gradient of the joined parts back through each piece, the last one first."""
        ends = {name: len(rows) for name, rows in parts.items()}
        for i in reversed(range(len(pieces))):
            mine = self._embed(pieces[i], dice[i]) if i < len(pieces) - 1 else last
            taught, gradients = [], []
            for name, rows in mine.items():
                ends[name] -= len(rows)
                gradient = parts[name].grad
                if rows.requires_grad and gradient is not None:
                    taught.append(rows)
                    gradients.append(gradient[ends[name] : ends[name] + len(rows)])
            torch.autograd.backward(taught, gradients)

    def _embed(self, piece: Batch, dice: Dice) -> Parts:
        """Embed one piece with its own dice."""
        with dice, self.computing.autocast(self.device):
            parts = self.objective.embed(self.model, heard(self.model, piece))
        return {k: t.float() if t.is_floating_point() else t for k, t in parts.items()}

    def _seeds(self, pieces: Sequence[Batch], step: int) -> Iterator[int | None]:
        """Of each piece's dice; the first piece of all goes on with those of the step."""
        scenes = sum(len(piece.pixels) for piece in pieces)
        start = self.ranks.place(torch.empty(scenes)).start
        for piece in pieces:
            key = np.random.SeedSequence((self.options.seed, step, start))
            yield int(key.generate_state(1, np.uint32)[0]) if start else None
            start += len(piece.pixels)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        keep = min(self.options.ema, (step + 1) / (step + 10))
        torch._foreach_lerp_(self.averages, self.values, 1 - keep)
        for kept, buffer in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
            kept.copy_(buffer)

    def tensors(self) -> dict[str, Tensor]:
        """All that a later step depends on."""
        kept = pack_optimiser(self.optimiser)
        for prefix, part in self._parts().items():
            kept |= {f"{prefix}.{name}": t for name, t in part.state_dict().items()}
        return kept

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo `tensors`."""
        for prefix, part in self._parts().items():
            mine = {k: t for k, t in tensors.items() if k.startswith(f"{prefix}.")}
            part.load_state_dict({k.removeprefix(f"{prefix}."): t for k, t in mine.items()})
        unpack_optimiser(self.optimiser, tensors)

    def _parts(self) -> dict[str, nn.Module]:
        return {"model": self.model, "averaged": self.averaged, "objective": self.objective}


def heard(model: SimilarityModel, batch: Batch) -> Batch:
    """The batch with its clips embedded by the sound tower, which stands still."""
    if not len(batch.clips):
        return batch
    with torch.no_grad():
        sounds = model.sound_tower.embed(batch.clips).float() + batch.sounds
    return replace(batch, sounds=sounds, clips=batch.clips[:0])


def _groups(
    model: SimilarityModel, objective: Objective[Any], options: TrainOptions
) -> list[dict[str, Any]]:
    """What is learned, with its peak rate: fresh layers, and the picture tower."""
    tower = [p for p in model.image_tower.parameters() if p.requires_grad]
    known = set(map(id, tower))
    heads = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    heads += objective.parameters()
    return [
        {"params": heads, "peak": options.rate},
        {"params": tower, "peak": options.tower_rate},
    ]


def joined(known: Sequence[Parts], last: Parts) -> Parts:
    """The parts of all pieces: of one, its own; of several, leaves that collect gradients."""
    if not known:
        return last
    parts = {}
    for name, rows in last.items():
        parts[name] = torch.cat([*(each[name] for each in known), rows.detach()])
        parts[name].requires_grad_(rows.requires_grad)
    return parts
