"""Which sound matters: the same picture under different sounds, failures included.

    python scripts/which_sound.py                     writes docs/which_sound.md and its figures
    python scripts/which_sound.py --data val/pairs.jsonl --out DIR [--max 12]

Without `--data` the scenes are composed of `samples/` (all CC0), asked about with its sounds and
with sounds that are made here (silence, white noise, a tone). With `--data` real pictures are asked
about under their right sound, sounds of other groups, silence and noise: the table is printed and
the figures go to DIR.

Share: of the map's evidence above its least value, how much lies in the true boxes. A map that
looks nowhere has there what the boxes have of the picture (chance). A sound that is not in the
picture should be answered "no visible source"; a share that does not move with the sound owes
nothing to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import soundspot
from soundspot.batch import fingerprint
from soundspot.data.media import picture_of, sound_of
from soundspot.media.audio import read_sound
from soundspot.media.image import read_picture
from soundspot.metrics import truth_mask
from soundspot.types import Box

ROOT = Path(__file__).resolve().parent.parent
SAMPLES, DOCS = ROOT / "samples", ROOT / "docs"
CAT: Box = (0.04, 0.0, 0.87, 1.0)
"""Of `chelsea.png`, in fractions."""
MEOW = "meow"
"""The sound that is in the picture."""
HEIGHT = 300
"""Pixels, of scenes that are composed."""
SECONDS, TONE, LOUDNESS = 5, 440, 0.1
"""Length of the sounds that are made; Hz; root mean square."""
SHEET, LABEL, TEXT = 960, 22, 14
"""Pixels: a figure's width, a label's height, and that of its letters."""
WIDE = 2
"""Width over height from which pictures stand two in a row, not three."""
QUALITY = 72
COPIES = (95, 85, 75)
"""Qualities of the JPEG copies that are asked about too."""
OTHERS = 3
"""Sounds of other groups that each real picture is asked about with."""

Picture = NDArray[np.uint8]
Sound = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """A picture, the boxes of the cat in it (fractions), and a sentence."""

    name: str
    picture: Picture
    boxes: tuple[Box, ...]
    sentence: str

    def as_jpeg(self, quality: int) -> Scene:
        """The same, of a picture that was stored as JPEG."""
        stored = BytesIO()
        Image.fromarray(self.picture).save(stored, "JPEG", quality=quality)
        return replace(self, picture=np.asarray(Image.open(stored).convert("RGB")))


class Answer(NamedTuple):
    """What was said of a picture under one sound."""

    sound: str
    result: soundspot.Result
    share: float


class Asked(NamedTuple):
    """A scene under every sound."""

    scene: Scene
    answers: list[Answer]

    @classmethod
    def of(cls, locator: soundspot.Locator, scene: Scene, heard: Mapping[str, Sound]) -> Asked:
        """Ask."""
        return cls(scene, ask(locator, scene.picture, scene.boxes, heard))

    @property
    def failures(self) -> list[Answer]:
        """The wrong answers."""
        return [a for a in self.answers if not verdict(self.scene, a).startswith("right")]


def main() -> None:
    """Ask, and write the page; or ask about real pictures, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="default", help="name, file or folder")
    parser.add_argument("--data", type=Path, help="a manifest of real pictures with boxes")
    parser.add_argument("--out", type=Path, help="where the figures go (with --data)")
    parser.add_argument("--max", type=int, default=12, help="real pictures (default: 12)")
    arguments = parser.parse_args()
    if (arguments.data is None) != (arguments.out is None):
        parser.error("--data and --out go together")
    locator = soundspot.Locator(soundspot.load(arguments.model))
    if arguments.data is None:
        write_page(locator)
    else:
        real(locator, arguments.data, arguments.out, arguments.max)


def ask(
    locator: soundspot.Locator,
    picture: Picture,
    boxes: Sequence[Box],
    sounds: Mapping[str, Sound],
) -> list[Answer]:
    """One picture under every sound."""
    results = locator.locate([picture] * len(sounds), list(sounds.values()))
    truth = truth_mask(boxes, *picture.shape[:2])
    return [
        Answer(name, result, _share(result, truth))
        for name, result in zip(sounds, results, strict=True)
    ]


def _share(result: soundspot.Result, truth: NDArray[np.bool_]) -> float:
    evidence = result.map - result.map.min()
    total = float(evidence.sum())
    return float(evidence[truth].sum()) / total if total > 0 else float(truth.mean())


# --- the page ------------------------------------------------------------------------------------


def write_page(locator: soundspot.Locator) -> None:
    """The page in `docs/`: a figure and a table a scene, then what failed."""
    parts, asked = [_intro(locator)], list[Asked]()
    heard, shown = sounds(locator.facts.sample_rate), scenes()
    for scene in shown:
        asked.append(Asked.of(locator, scene, heard))
        figure = DOCS / f"which_sound_{scene.name}.jpg"
        draw(asked[-1].answers).save(figure, quality=QUALITY, optimize=True)
        chance = float(truth_mask(scene.boxes, *scene.picture.shape[:2]).mean())
        parts.append(
            f"## {scene.sentence}\n\n![{scene.sentence}]({figure.name})\n\n"
            f"{_table(scene, asked[-1].answers, chance)}"
        )
    kept = {"as above": asked}
    for quality in COPIES:
        copies = [scene.as_jpeg(quality) for scene in shown]
        kept[f"JPEG, quality {quality}"] = [Asked.of(locator, copy, heard) for copy in copies]
    parts.append(_failed(kept, locator.visible))
    page = DOCS / "which_sound.md"
    page.write_text("\n\n".join(parts) + "\n")
    for name, several in kept.items():
        print(f"{name}: {sum(len(one.failures) for one in several)} answers failed")


def _failed(kept: Mapping[str, Sequence[Asked]], visible: float) -> str:
    """How often, and by how little an answer was right, of the pictures and of their copies."""
    lines = [
        "## What failed\n",
        f"A source is visible from a confidence of {visible:.2f} on. The same scenes are asked "
        "about again as JPEG\nfiles, which look the same: an answer that turns with them hung by "
        "a thread.\n",
        "| scenes | answers that failed | least sure of the meow | surest of another sound |",
        "|---|---|---|---|",
    ]
    for name, several in kept.items():
        answers = [answer for one in several for answer in one.answers]
        right, wrong = (
            [a.result.confidence for a in answers if (a.sound == MEOW) == own]
            for own in (True, False)
        )
        failed = sum(len(one.failures) for one in several)
        lines.append(
            f"| {name} | {failed} of {len(answers)} | {min(right):.2f} | {max(wrong):.2f} |"
        )
    named = [
        f"- {one.scene.sentence} ({name}), {answer.sound}: {verdict(one.scene, answer)} "
        f"(confidence {answer.result.confidence:.2f})"
        for name, several in kept.items()
        for one in several
        for answer in one.failures
    ]
    return "\n".join([*lines, "", *(named or ["Nothing, on these scenes."])])


def _intro(locator: soundspot.Locator) -> str:
    return (
        "# Which sound matters\n\n"
        "The same picture under different sounds. A finder that listens answers the cat under its "
        "meow and\nnothing under any other sound here, for nothing else in these pictures makes "
        "one.\n\n"
        "```\npython scripts/which_sound.py      # writes this page and its figures\n"
        "python scripts/which_sound.py --data PAIRS.jsonl --out DIR      # the same on your "
        "pictures\n```\n\n"
        f"Model `{locator.facts.name}` (weights {fingerprint(locator.model)}), method "
        f"`{locator.method!r}`. The scenes\nare composed of `samples/` (CC0); silence, noise and "
        f'tone are made by the script. A bare picture is the\nanswer "no visible source". '
        "*Share* is how much of the map's evidence lies on the cat: under a sound that is\nnot the "
        "cat's it should fall towards chance, which is what the cat has of the picture."
    )


def _table(scene: Scene, answers: Sequence[Answer], chance: float) -> str:
    lines = [
        f"| sound | confidence | share on the cat (chance {100 * chance:.0f} %) | answer |",
        "|---|---|---|---|",
    ]
    for answer in answers:
        lines.append(
            f"| {answer.sound} | {answer.result.confidence:.2f} | {100 * answer.share:.0f} % | "
            f"{verdict(scene, answer)} |"
        )
    return "\n".join(lines)


def verdict(scene: Scene, answer: Answer) -> str:
    """Right, or how the answer failed: the meow has its cat, nothing else has a source."""
    result = answer.result
    if answer.sound != MEOW:
        return "**a source where there is none**" if result.visible else "right: nothing visible"
    if not result.visible:
        return "**missed**"
    x, y = (place / side for place, side in zip(result.peak, result.size, strict=True))
    inside = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in scene.boxes)
    return "right: the peak lies on the cat" if inside else "**elsewhere**"


def scenes() -> list[Scene]:
    """The cat alone, beside a cup on either side, small on the cup's picture, and twice."""
    cat = read_picture(SAMPLES / "chelsea.png")
    cup = _resized(read_picture(SAMPLES / "coffee.jpg"), 1.5 * HEIGHT, HEIGHT)
    left = (CAT[0] / 2, CAT[1], CAT[2] / 2, CAT[3])
    right = (0.5 + left[0], CAT[1], 0.5 + left[2], CAT[3])
    mirrored = (1 - left[2], CAT[1], 1 - left[0], CAT[3])
    small = cup.copy()
    small[: HEIGHT // 2, : cat.shape[1] // 2] = _resized(cat, cat.shape[1] // 2, HEIGHT // 2)
    place = (CAT[0] / 2, 0.0, CAT[2] / 2, 0.5)
    return [
        Scene("cat", cat, (CAT,), "A cat"),
        Scene("left", np.concatenate([cat, cup], 1), (left,), "A cat, and a cup to its right"),
        Scene("right", np.concatenate([cup, cat], 1), (right,), "A cat, and a cup to its left"),
        Scene("small", small, (place,), "A small cat in a corner of the cup's picture"),
        Scene("two", np.concatenate([cat, cat[:, ::-1]], 1), (left, mirrored), "The cat twice"),
    ]


def sounds(rate: int) -> dict[str, Sound]:
    """What each scene is asked about with."""
    rng, time = np.random.default_rng(0), np.arange(SECONDS * rate) / rate
    made = {
        "silence": np.zeros(len(time)),
        "white noise": LOUDNESS * rng.standard_normal(len(time)),
        "a tone": np.sqrt(2) * LOUDNESS * np.sin(2 * np.pi * TONE * time),
    }
    files = {MEOW: "meow.flac", "barking dogs": "dog.mp3", "a rooster": "rooster.mp3"}
    read = {name: read_sound(SAMPLES / file, rate) for name, file in files.items()}
    return {**read, **{name: wave.astype(np.float32) for name, wave in made.items()}}


def _resized(picture: Picture, width: float, height: float) -> Picture:
    size = round(width), round(height)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


# --- real pictures -------------------------------------------------------------------------------


def real(locator: soundspot.Locator, manifest: Path, out: Path, limit: int) -> None:
    """Each picture under its right sound, others, silence and noise; table and figures."""
    rate = locator.facts.sample_rate
    made = sounds(rate)
    columns = ("right", "others", "silence", "noise")
    out.mkdir(parents=True, exist_ok=True)
    print(f"{'picture':24} {'chance':>6}  " + "  ".join(f"{c:>14}" for c in columns))
    print(f"{'':24} {'':6}  " + "  ".join(f"{'sure':>7}{'share':>7}" for _ in columns))
    rows = []
    for sample, others in chosen(manifest, limit):
        heard = {"right": sound_of(sample, rate, locator.facts.seconds)}
        heard |= {f"other {s.group}": sound_of(s, rate, locator.facts.seconds) for s in others}
        heard |= {"silence": made["silence"], "noise": made["white noise"]}
        answers = ask(locator, picture_of(sample), sample.boxes, heard)
        draw(answers).save(out / f"{sample.id}.jpg", quality=QUALITY)
        height, width = answers[0].result.picture.shape[:2]
        chance = float(truth_mask(sample.boxes, height, width).mean())
        rows.append([chance, *_numbers(answers)])
        print(_line(sample.id, rows[-1]))
    if not rows:
        raise SystemExit(f"{manifest}: no pictures with boxes, of two groups or more")
    print(_line(f"mean of {len(rows)}", np.mean(rows, axis=0)))
    told = np.mean([row[1] > row[3] for row in rows])
    print(f"surer of the right sound than of the others: {100 * told:.0f} % of the pictures")


def _numbers(answers: Sequence[Answer]) -> list[float]:
    """Confidence and share: right, mean of the others, silence, noise."""
    groups = (answers[:1], answers[1:-2], answers[-2:-1], answers[-1:])
    return [
        float(np.mean(values))
        for group in groups
        for values in ([a.result.confidence for a in group], [a.share for a in group])
    ]


def _line(name: str, row: Sequence[float] | NDArray[np.float64]) -> str:
    numbers = "  ".join(f"{row[n]:7.2f}{row[n + 1]:7.2f}" for n in range(1, 9, 2))
    return f"{name[:24]:24} {row[0]:6.2f}  {numbers}"


def chosen(manifest: Path, limit: int) -> Iterator[tuple[soundspot.Sample, list[soundspot.Sample]]]:
    """Different pictures, spread over the manifest, each with samples of other groups."""
    pairs = [
        s for s in soundspot.read_manifest(manifest) if s.kind == "positive" and s.boxes and s.group
    ]
    first = list({s.image: s for s in reversed(pairs)}.values())[::-1]
    strange = {s.id: _strange(s, pairs) for s in first}
    first = [s for s in first if strange[s.id]]
    rng = np.random.default_rng(0)
    for sample in first[:: max(1, len(first) // max(1, limit))][:limit]:
        others = strange[sample.id]
        yield sample, [others[n] for n in rng.permutation(len(others))[:OTHERS]]


def _strange(sample: soundspot.Sample, pairs: Sequence[soundspot.Sample]) -> list[soundspot.Sample]:
    """One sample of each group that is not known to be in this picture, by the groups' names."""
    shown = {s.group for s in pairs if s.image == sample.image}
    others = {str(s.group): s for s in pairs if s.group not in shown}
    return [others[name] for name in sorted(others)]


# --- figures -------------------------------------------------------------------------------------


def draw(answers: Sequence[Answer]) -> Image.Image:
    """The answers as panels, each under its sound's name."""
    panels = [Image.fromarray(answer.result.overlay()) for answer in answers]
    width, height = (max(sides) for sides in zip(*(panel.size for panel in panels), strict=True))
    columns = 2 if width >= WIDE * height else 3
    wide, rows = SHEET // columns, -(-len(answers) // columns)
    tall = round(wide * height / width) + LABEL
    sheet = Image.new("RGB", (SHEET, rows * tall), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for n, (answer, panel) in enumerate(zip(answers, panels, strict=True)):
        x, y = n % columns * wide, n // columns * tall
        size = round(panel.width * wide / width), round(panel.height * wide / width)
        sheet.paste(panel.resize(size, Image.Resampling.LANCZOS), (x, y + LABEL))
        label = f"{answer.sound}: confidence {answer.result.confidence:.2f}"
        pen.text((x + 4, y + 3), label, fill="black", font=font)
    return sheet


if __name__ == "__main__":
    main()
