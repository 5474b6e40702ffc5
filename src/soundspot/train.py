"""Training a similarity model from pairs alone, on one page, read from top to bottom.

    soundspot train DATA... --model NAME --out RUN
    torchrun --nproc-per-node 8 -m soundspot train DATA... --model NAME --out RUN

1. The sound tower (from `soundspot distill`, or the default model's) stands still; each sound is
   heard once (`training.hearing`), or, of a stream of shards, in the step unless told otherwise.
2. Each step composes scenes of training pictures (`augment_scenes`), draws a sound for each tile,
   and lowers the model's objective (`losses`), whole also where a batch is larger than memory or
   shared by many ranks (`training.learning`).
3. What is kept is an average of the weights over steps.

No box, class or group name is read. A step depends on (seed, step) and the state alone: a run
that was cut short and started again ends with the weights of an uninterrupted one.

In RUN: `run.yaml` (what to give `--config`), `log.jsonl`, `checkpoints/`, `sounds.safetensors`
(the heard sounds), at the end `model.safetensors`, and `best.safetensors` of a run that was judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from soundspot.batches import Batch
from soundspot.errors import SoundspotError, TrainingError
from soundspot.files import make_folder, one_line
from soundspot.locating import pick_device
from soundspot.losses import objective_of
from soundspot.options import RECIPES, Handling, TrainOptions
from soundspot.ranks import Ranks, ranks_of_environment
from soundspot.recipes import Places, RunConfig
from soundspot.shards.catalogue import refuse_shards
from soundspot.sound_bank import Sounds
from soundspot.training.computing import Computing
from soundspot.training.feeding import TOLD, Feed
from soundspot.training.hearing import Hearing
from soundspot.training.identity import identity_of, require_same
from soundspot.training.journal import Journal, warn
from soundspot.training.keeping import Checkpoints, held, kept
from soundspot.training.learning import Learner
from soundspot.training.origin import Origin
from soundspot.training.products import (
    BEST,
    DIVERGED,
    MODEL,
    Products,
    write_config,
    write_diverged,
)
from soundspot.training.provenance import provenance
from soundspot.training.starting import (
    ModelName,
    notes_on,
    open_batches,
    open_data,
    start_model,
)
from soundspot.training.stopping import Request, StoppedError, stop_requests
from soundspot.training.validating import Validation

PASSED_KEPT = 1000
"""Unreadable files whose names are kept; more are only counted."""


def train(
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    model: str = "two_tower",
    sound_tower: str | Path = "default",
    bank: str | Path | None = None,
    device: str = "auto",
    handling: Handling | None = None,
) -> Path:
    """Train, or go on with an unfinished run, and return the path of the model.

    Args:
        data: a manifest, a folder of sets (`data.pairs`), or shards (`soundspot data pack`), of
            which several folders are mixed as one.
        out: folder of the run.
        options: see `options.TrainOptions`; None takes the model's own (`options.RECIPES`).
        model: a name in `models.MODELS`, with options as in "two_tower(pool=peak)".
        sound_tower: what `soundspot distill` wrote, or "default" for the default model's.
        bank: folder where the heard sounds are kept, which runs may share; None: `out`.
        device: where to train; under torchrun each process takes its own GPU.
        handling: see `options.Handling`.

    Raises:
        OptionError: an unknown model, or options that do not fit together.
        TrainingError: nothing to pair, another run in `out`, a loss that is not finite, a full
            disk, a dead process. `training.stopping.StoppedError`: a signal asked to leave.
        CheckpointError: the sound tower or the kept state cannot be read.
    """
    name = ModelName.read(model)
    several = [data] if isinstance(data, str | Path) else data
    paths = tuple(map(str, several))
    places = Places(paths, str(out), str(name), str(sound_tower), str(bank or ""), device)
    config = RunConfig(places, options or RECIPES[name.kind], handling or Handling())
    with (
        ranks_of_environment(device) as (ranks, own_device),
        ranks.together(),
        stop_requests(patient=ranks.count > 1) as request,
        ExitStack() as holds,
    ):
        run = Run(config, name, ranks, request)
        ranks.first_does(lambda: holds.enter_context(held(run.out)))
        run.start(own_device)
        return run.train()


class Run:
    """One run: what it learns with, where it keeps it, and how far it is.

    Args:
        config: what it is told.
        name: of the model.
        ranks: who trains with this process.
        request: a signal that asks it to leave.
    """

    def __init__(self, config: RunConfig, name: ModelName, ranks: Ranks, request: Request) -> None:
        self.config, self.name, self.ranks, self.request = config, name, ranks, request
        self.out, self.handling = Path(config.places.out), config.handling
        ranks.first_does(self._make_folder)
        self.checkpoints = Checkpoints(self.out, self.handling.keep)
        self.validation = Validation(self.handling, ranks)
        self.kept, self.tensors = self._newest()
        known = int(self.kept.get("run", {}).get("blocks", ranks.count))
        self.options = replace(config.options, blocks=config.options.blocks or known)
        self.step, self.ended = (int(self.kept.get(key, 0)) for key in ("step", "ended"))
        self.judged = int(self.kept.get("judged_at", self.step))
        self.saved = self.step
        self.passed: dict[str, str] = dict(self.kept.get("passed", {}))

    def _make_folder(self) -> None:
        refuse_shards(self.out)
        make_folder(self.out)

    def start(self, device: str) -> None:
        """Open the data, build the model, hear, and go back to the newest checkpoint."""
        places, handling, where = self.config.places, self.handling, pick_device(device)
        data = open_data(places.data)
        self.ranks.first_does(lambda: [*map(warn, notes_on(data, self.options))])
        model = start_model(self.name, places.sound_tower, self.options, where)
        objective = objective_of(self.name.kind, self.options.objective)().to(where)
        self.origin = Origin.of(data, model.sound_tower, self.ranks)
        if self.kept:
            require_same(self.out, self.kept, self.identity, self.origin)
        self.ranks.first_does(lambda: write_config(self.out, self.config))

        def hearing(sounds: Sounds) -> Hearing:
            return Hearing(
                model.sound_tower.eval(), sounds, Path(places.bank or self.out),
                self.origin.bank(self.options), self.ranks, handling.strict, self._leave_hearing,
                self.origin.sounds,
            )  # fmt: skip

        self.batches = open_batches(
            data, hearing, self.options, waves=objective.waves, strict=handling.strict
        )
        model.facts = replace(model.facts, heard=self.batches.names)
        objective.start(model, self.batches.bank)
        computing = Computing(self.options.bf16, handling.compile, handling.checkpoint)
        self.learner = Learner(
            model, objective, self.options, handling.chunk, self.ranks, computing
        )
        self.products = Products(self.out, self.learner, self.batches)
        self.feed = Feed(self.batches, self.ranks, handling.workers)
        if self.kept:
            self.learner.restore(self.tensors)
            self.validation.restore(self.kept["judged"])
            self.tensors = {}

    def train(self) -> Path:
        """Every step that is left, then the finished model."""
        with self._what_is_kept(), self.ranks.together(), self._journal() as journal:
            for name, reason in self.batches.broken.items():
                self._pass_over(journal, name, reason)
            if self.step != self.judged and self._is_due():
                self._judge(journal)
            if not self.ended:
                self._learn(journal)
            if self.saved != self.step:
                self.save()
            with self.request.at_once(self.out, "after the last step, which is kept"):
                return self._finish()

    def _learn(self, journal: Journal) -> None:
        """Every step that is left."""
        with closing(self.feed(self.step, self.options.steps)) as batches:
            while not self.ended:
                batch, unread = self._next(batches)
                if batch is None:
                    return
                loss = self.learner.learn(batch, self.step)
                self.step += 1
                self._note(journal, loss, batch, unread)
                if self._is_due() or self.step % self.options.save_every == 0:
                    self.save()
                if self._is_due():
                    self._judge(journal)
        journal.say(f"no better judgement for a while; ended at step {self.step}")

    def _next(self, batches: Iterator[Batch]) -> tuple[Batch | None, bool]:
        """The next batch, None at the end, and whether a rank could not read some of its own.

        A rank cannot leave a step that others are in, so all ask each other before each: where one
        has no batch, or a signal asked one to leave, everything is kept and all leave.

        Raises:
            StoppedError: a signal came.
            SoundspotError, OSError, MemoryError: there is no batch.
        """
        batch, error = None, None
        if not self.request.number:
            try:
                batch = next(batches, None)
            except TOLD as raised:
                error = raised
        unread = 0 if batch is None else len(batch.passed)
        asked, failed, unread = self.ranks.greatest(self.request.number, error is not None, unread)
        if (asked or failed) and self.saved != self.step:
            self.save()
        if asked:
            raise StoppedError.by(asked, self.out, self._kept_step())
        if failed:
            raise next(one for one in self.ranks.objects(error) if one is not None)
        return batch, unread > 0

    def save(self) -> None:
        """Keep all that a later step depends on, at one stroke; the first rank writes."""
        header = {
            "run": self.identity,
            "sources": self.origin.sources,
            "made with": provenance(),
            "judged": self.validation.state(),
            "judged_at": self.judged,
            "passed": dict(list(self.passed.items())[:PASSED_KEPT]),
            "ended": self.ended,
        }
        self.ranks.first_does(
            lambda: self.checkpoints.save(self.step, self.learner.tensors(), header)
        )
        self.saved = self.step

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this run from another."""
        origin = self.origin
        return identity_of(self.options, str(self.name), origin.digest, origin.free)

    def _newest(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The newest checkpoint, read by the first rank; empty where there is none."""
        found = self.ranks.first_does(lambda: self.checkpoints.newest(warn))
        header, tensors = found or ({}, {})
        return self.ranks.of_first(header), self.ranks.tensors_of_first(tensors)

    def _journal(self) -> Journal:
        return Journal(
            self.out, self.step, self.options.steps, self.options.scenes,
            judged=self.judged, writes=self.ranks.leads, tensorboard=self.handling.tensorboard,
        )  # fmt: skip

    def _note(self, journal: Journal, loss: float, batch: Batch, unread: bool) -> None:
        """Write down a step, with what a rank could not read of it.

        Raises:
            TrainingError: the loss is not finite; everything is kept.
        """
        journal.step(self.step, loss, self.learner.optimiser, self.feed.waited)
        passed = self.ranks.objects(batch.passed) if unread else []
        for name, reason in (one for some in passed for one in some):
            self._pass_over(journal, name, reason)
        if math.isfinite(loss):
            return
        files = [name for some in self.ranks.objects(batch.files) for name in some]
        self.ranks.first_does(lambda: write_diverged(self.out, self.step, loss, files))
        raise TrainingError(
            f"{self.out}: loss or gradient of step {self.step} is {loss}; {DIVERGED} names the "
            "files of this step; lower --rate or --tower-rate"
        )

    def _pass_over(self, journal: Journal, name: str, reason: str) -> None:
        """Count and name what could not be read, once."""
        if name not in self.passed:
            self.passed[name] = reason
            journal.event(self.step, "unreadable", name=name, reason=reason)
            journal.say(f"passed over: {reason}")

    def _is_due(self) -> bool:
        return self.validation.due(self.step, self.options.save_every)

    def _judge(self, journal: Journal) -> None:
        """Judge the averaged model; its step is kept before and, with what was found, after."""
        with self.request.at_once(self.out, self._kept_step()):
            model = self.products.read_out()
            verdict = self.validation.judge(model, self.step)
        maps = self.validation.maps(model) if journal.board is not None else {}
        journal.judged(self.step, verdict.scores, maps)
        if verdict.better:
            notes = {"step": self.step, "validation": verdict.scores}
            self.ranks.first_does(lambda: self.products.save(model, BEST, **notes))
        self.judged, self.ended = self.step, self.step if verdict.enough else 0
        self.save()

    def _leave_hearing(self, progress: str) -> None:
        (asked,) = self.ranks.greatest(self.request.number)
        if asked:
            raise StoppedError.by(asked, self.out, f"while hearing; {progress}")

    def _kept_step(self) -> str:
        return f"after step {self.step}, which is kept" if self.step else "before the first step"

    @contextmanager
    def _what_is_kept(self) -> Iterator[None]:
        """Add to an error what the run can go on from."""
        try:
            yield
        except StoppedError:
            raise
        except (SoundspotError, OSError) as error:
            kind = type(error) if isinstance(error, SoundspotError) else TrainingError
            raise kind(f"{one_line(error)}; {kept(self.saved)}") from error

    def _finish(self) -> Path:
        """Save the averaged model, read out as it will be used; of a judged run, name the best."""
        self.ranks.first_does(self._save_model)
        return self.out / (BEST if self.validation.best.step else MODEL)

    def _save_model(self) -> None:
        notes = {"step": self.step, "unreadable": len(self.passed)}
        self.products.save(self.products.read_out(), MODEL, **notes)
