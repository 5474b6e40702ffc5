"""Distillation: train our small sound tower to say what a teacher says (Hinton et al., 2015).

    soundspot distill DATA/train/sounds DATA/train/extra_sounds \
        --teacher DATA/teacher/yamnet.safetensors --out RUN

The student starts from random weights and sees no label. The teacher, YAMNet, was trained with
the labels of AudioSet: what is learned here is declared as distilled from it.

Stretches of two teacher windows are cut out of the recordings and varied
(`soundspot.augment_sounds`), and only then the teacher is asked, so the data never end. The
teacher costs as much as the student, so each of its answers serves `PASSES` times. In each
window the student's positions, pooled by its own attention, are decoded by one linear layer to
the teacher's embedding, and on through the teacher's own classifier to its 521 scores:

    loss = mean squared error of the standardised embedding + SCORE_WEIGHT * cross entropy

While it learns, every convolution is followed by batch norm; `fold` makes them one again.
A step depends on (seed, step) and the state alone, so a run that was cut short and resumed ends
with the weights of an uninterrupted one.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from tqdm import tqdm

from soundspot.augment_sounds import Wave, draw, trim, vary
from soundspot.checkpoint import read_checkpoint, write_checkpoint
from soundspot.data.pairs import SOUNDS
from soundspot.errors import CheckpointError, TrainingError
from soundspot.files import make_folder
from soundspot.media.audio import read_sound
from soundspot.optimiser_state import pack_optimiser, unpack_optimiser
from soundspot.towers.logmel_cnn import HOP, POSITION_FRAMES, SAMPLE_RATE, LogMelCNN
from soundspot.towers.yamnet import WINDOW, YAMNet, read_yamnet

Key = tuple[int, ...]
"""Seeds of a random generator."""

SHORTEST = SAMPLE_RATE // 10
"""Samples: a recording with less than 0.1 s of sound teaches nothing."""

RUN_FILE, TOWER_FILE, LOG_FILE = "training.safetensors", "sound_tower.safetensors", "log.jsonl"
TEACHER = "YAMNet (TensorFlow models, Apache-2.0), trained with the labels of AudioSet"

WINDOWS = 2
"""Teacher windows in a stretch, so that the student also sees sound before and after."""
WINDOW_POSITIONS = 6
WINDOW_STEP = WINDOW_POSITIONS * POSITION_FRAMES * HOP
"""Samples from one teacher window to the next: 0.96 s, whole positions of the student."""
STRETCH = WINDOW_STEP * (WINDOWS - 1) + WINDOW

POOL, PASSES = 8, 3
"""Batches that are made at once, and how often each stretch in them is learned from."""

SCORE_WEIGHT = 0.1
SMALLEST_DEVIATION = 0.05
"""A feature of the teacher that hardly moves is not blown up to unit variance."""
LEARNING_RATE = 2e-3
WARM_UP = 200
"""Steps in which the learning rate rises; then it falls to zero as a half cosine."""
WEIGHT_DECAY = 0.02
CLIP_NORM = 5.0


class NormedConv(nn.Module):
    """A convolution and the batch norm that it will swallow at the end."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Shape: as the convolution's."""
        y: Tensor = self.norm(self.conv(x))
        return y

    def folded(self) -> nn.Conv2d:
        """One convolution that says the same in evaluation mode."""
        conv, norm = self.conv, self.norm
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, mean, variance, norm.eps, norm.weight, norm.bias
        )
        conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
        return conv


def add_batch_norm(net: nn.Module) -> None:
    """Put a batch norm behind every 2-D convolution inside `net`."""
    for name, child in net.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(net, name, NormedConv(child))
        else:
            add_batch_norm(child)


def fold(net: nn.Module) -> None:
    """Undo `add_batch_norm`, keeping what `net` says in evaluation mode."""
    for name, child in net.named_children():
        if isinstance(child, NormedConv):
            setattr(net, name, child.folded())
        else:
            fold(child)


def channels_last(net: nn.Module) -> None:
    """Lay out convolution weights as processors like them: the same values, twice the speed."""
    for weight in net.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


class Student(nn.Module):
    """The tower, and the linear decoder to the teacher's embedding that is thrown away later."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, teacher_features: int) -> None:
        super().__init__()
        self.tower = LogMelCNN()
        add_batch_norm(self.tower)
        self.decoder = nn.Linear(self.tower.features, teacher_features)
        self.register_buffer("mean", torch.zeros(teacher_features))
        self.register_buffer("deviation", torch.ones(teacher_features))

    def forward(self, stretches: Tensor) -> Tensor:
        """Guess the teacher's standardised embedding: `b samples` -> `b windows 1024`."""
        positions = self.tower(stretches).unflatten(2, (-1, WINDOW_POSITIONS)).transpose(1, 2)
        windows = self.tower.pool(positions.flatten(0, 1))
        guess: Tensor = self.decoder(windows)
        return guess.float().view(*positions.shape[:2], -1)


def read_recordings(folders: Sequence[Path]) -> list[Wave]:
    """Read every sound under the folders, sorted by path, silent ends cut off."""
    paths = sorted(
        path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SOUNDS
    )
    waves = [trim(read_sound(path, SAMPLE_RATE)) for path in tqdm(paths, "reading sounds")]
    waves = [wave for wave in waves if len(wave) >= SHORTEST]
    if not waves:
        named = ", ".join(map(str, folders))
        raise TrainingError(f"{named}: no sound of 0.1 s or more; give a folder with audio files")
    return waves


@torch.no_grad()
def ask(teacher: YAMNet, stretches: Tensor) -> Tensor:
    """The teacher's embedding of each window: `b samples` -> `b windows 1024`."""
    embeddings: Tensor = teacher(stretches, WINDOW_STEP)
    return embeddings.transpose(1, 2).float()


class Lesson(NamedTuple):
    """A batch to learn from: what is heard and what the teacher says to it."""

    stretches: Tensor
    """`b samples`."""
    targets: Tensor
    """`b windows 1024`."""


def pool_of_round(waves: Sequence[Wave], teacher: YAMNet, batch: int, key: Key) -> Lesson:
    """Make `POOL` batches of stretches and ask the teacher about them, batch by batch."""
    lessons = []
    rng = np.random.default_rng(key)
    for _ in range(POOL):
        dice = Generator().manual_seed(int(rng.integers(2**62)))
        stretches = vary(draw(waves, batch, STRETCH, rng), dice)
        lessons.append(Lesson(stretches, ask(teacher, stretches)))
    return Lesson(*(torch.cat(column) for column in zip(*lessons, strict=True)))


def endless_lessons(
    waves: Sequence[Wave], teacher: YAMNet, batch: int, seed: int, start: int
) -> Iterator[Lesson]:
    """Yield the lesson of step `start` and of each step behind it: a function of seed and step."""
    for place in itertools.count(start // (POOL * PASSES)):
        pool = pool_of_round(waves, teacher, batch, (seed, place))
        rng = np.random.default_rng((seed, place, POOL))
        orders = [rng.permutation(POOL * batch) for _ in range(PASSES)]
        steps = np.concatenate(orders).reshape(POOL * PASSES, batch)
        first = max(0, start - place * POOL * PASSES)
        for rows in torch.from_numpy(steps[first:]):
            yield Lesson(pool.stretches[rows], pool.targets[rows])


def measure(student: Student, targets: Tensor) -> None:
    """Set mean and deviation of the teacher's features from some of its answers."""
    student.mean.copy_(targets.mean((0, 1)))
    student.deviation.copy_(targets.std((0, 1)).clamp(min=SMALLEST_DEVIATION))


def losses(student: Student, teacher: YAMNet, guess: Tensor, target: Tensor) -> dict[str, Tensor]:
    """How far the student's windows are from the teacher's, in embedding and in scores."""
    logits = teacher.fc(guess * student.deviation + student.mean)
    scores = teacher.fc(target).sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, scores, reduction="none").sum(-1)
    embedding = F.mse_loss(guess, (target - student.mean) / student.deviation)
    return {"embedding": embedding, "scores": entropy.mean()}


def learning_rate(step: int, steps: int) -> float:
    """Rise over `WARM_UP` steps (at most a tenth), then half a cosine down to zero."""
    rise = min(1.0, (step + 1) / min(WARM_UP, max(1, steps // 10)))
    return LEARNING_RATE * rise * 0.5 * (1 + math.cos(math.pi * step / steps))


class Learner:
    """A student, its teacher and the optimiser between them."""

    def __init__(self, teacher: YAMNet, bfloat16: bool) -> None:
        self.teacher = teacher.requires_grad_(False)
        self.student = Student(teacher.features)
        channels_last(self.teacher)
        channels_last(self.student)
        self.optimiser = torch.optim.AdamW(self.student.parameters(), weight_decay=WEIGHT_DECAY)
        self.precision = torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)

    def learn(self, lesson: Lesson, rate: float) -> dict[str, float]:
        """Take one step and return the losses before it."""
        with self.precision:
            guess = self.student(lesson.stretches)
        parts = losses(self.student, self.teacher, guess, lesson.targets)
        loss = parts["embedding"] + SCORE_WEIGHT * parts["scores"]
        if not loss.isfinite():
            raise TrainingError("the loss is not finite; the last save is kept, try another seed")
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.student.parameters(), CLIP_NORM)
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.step()
        return {name: round(part.item(), 4) for name, part in parts.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a later step depends on."""
        kept = {f"student.{name}": value for name, value in self.student.state_dict().items()}
        return kept | pack_optimiser(self.optimiser)

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Undo `tensors`."""
        prefix = "student."
        self.student.load_state_dict(
            {k.removeprefix(prefix): v for k, v in kept.items() if k.startswith(prefix)}
        )
        unpack_optimiser(self.optimiser, kept)

    def finished_tower(self) -> LogMelCNN:
        """A copy of the tower with batch norm folded in."""
        copy = Student(self.teacher.features)
        copy.load_state_dict(self.student.state_dict())
        fold(copy.tower)
        return copy.tower


def resume(path: Path, learner: Learner, run: Mapping[str, object]) -> int:
    """Restore the run that `path` keeps and return the step to go on with."""
    header, kept = read_checkpoint(path, "distillation")
    if header.get("run") != run:
        raise TrainingError(
            f"{path}: keeps the run {header.get('run')}, not {run}; use another out"
        )
    try:
        learner.restore(kept)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: does not fit this soundspot ({reason}); delete it to start again"
        ) from None
    return int(header["step"])


def save(out: Path, learner: Learner, run: Mapping[str, object], said: list[str]) -> None:
    """Keep the run, the finished tower and the log up to here."""
    steps = json.loads(said[-1])["step"] + 1
    tower = {name: value.half() for name, value in learner.finished_tower().state_dict().items()}
    notes = {"tower": "logmel_cnn", "distilled_from": TEACHER, "steps": steps, **run}
    write_checkpoint(out / TOWER_FILE, tower, {"kind": "tower", **notes})
    with (out / LOG_FILE).open("a") as log:
        log.write("".join(line + "\n" for line in said))
    header = {"kind": "distillation", "run": run, "step": steps}
    write_checkpoint(out / RUN_FILE, learner.tensors(), header)


def distill(
    *,
    sounds: Sequence[Path],
    teacher: Path,
    out: Path,
    steps: int,
    seed: int = 0,
    batch: int = 64,
    bfloat16: bool = False,
    save_every: int = 240,
) -> Path:
    """Train a `LogMelCNN` and return the path of its weights, in `out`.

    Called again with the same `out`, it goes on from the last save; `steps` may have grown.

    Args:
        sounds: folders, searched for audio files at any depth.
        teacher: YAMNet's weights, see `soundspot.towers.yamnet`.
        out: folder for the tower, the state of the run and the log of losses (JSON Lines).
        steps: how many updates in all.
        seed: of the first weights and of all that is drawn.
        batch: stretches an update.
        bfloat16: half the time on processors with bfloat16 arithmetic.
        save_every: updates from save to save.

    Raises:
        MediaError: a sound cannot be read.
        CheckpointError: the teacher or the last save is no such file, or damaged.
        TrainingError: no sound, another run's `out`, or a loss that is not finite.
    """
    if steps < 1 or seed < 0:
        raise TrainingError(f"distill: steps is at least 1 and seed 0 or more, not {steps}, {seed}")
    for folder in sounds:
        if not folder.is_dir():
            raise TrainingError(f"{folder}: no such folder; give folders with audio files")
    make_folder(out)
    torch.manual_seed(seed)
    learner = Learner(read_yamnet(teacher), bfloat16)
    waves = read_recordings(sounds)
    run = {"seed": seed, "batch": batch, "bfloat16": bfloat16}
    if (out / RUN_FILE).exists():
        start = resume(out / RUN_FILE, learner, run)
    else:
        start = 0
        pool = pool_of_round(waves, learner.teacher, batch, (seed, 0))
        measure(learner.student, pool.targets)
    said: list[str] = []
    lessons = endless_lessons(waves, learner.teacher, batch, seed, start)
    for step in (bar := tqdm(range(start, steps), "distilling", initial=start, total=steps)):
        with learner.precision:
            lesson = next(lessons)
        parts = learner.learn(lesson, learning_rate(step, steps))
        bar.set_postfix(parts)
        said.append(json.dumps({"step": step, **parts}))
        if (step + 1) % save_every == 0 or step + 1 == steps:
            save(out, learner, run, said)
            said = []
    return out / TOWER_FILE
