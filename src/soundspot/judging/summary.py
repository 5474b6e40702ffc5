"""From a finished evaluation to its report: scores, counts, and what is missing and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from soundspot.errors import SoundspotError
from soundspot.judging.asking import Asker, FolderAsker, ModelAsker
from soundspot.judging.conventions import COMMON_CONVENTIONS, OWN_CONVENTIONS
from soundspot.judging.referee import Referee
from soundspot.judging.scoring import Scorer
from soundspot.report import NEGATIVE_KINDS, OWN, Report


def report_of(referee: Referee, heard: Collection[str] | None, seed: int) -> Report:
    """Sum up the findings, once everything was judged.

    Args:
        referee: has judged every block.
        heard: groups that the models met in training; None takes them from the models' facts.
        seed: of the bootstrap.

    Raises:
        SoundspotError: nothing could be read.
    """
    found = referee.findings
    if not found.subjects:
        first = found.failures[0]
        raise SoundspotError(
            f"none of the {len(referee.plan.samples)} samples could be read; the first, "
            f"{first.id!r}: {first.reason}"
        )
    models = [asker for asker in referee.askers if isinstance(asker, ModelAsker)]
    scorer = Scorer(found, referee.protocols, _heard(models, heard), seed)
    samples = list(scorer.samples.values())
    kinds = Counter(sample.kind for sample in samples)
    own = any(protocol.name == OWN for protocol in referee.protocols)
    headings = [h for h in found.headings if h.against is None or found.answered(h.name)]
    return Report(
        model=", ".join(_judged_names(referee.askers)),
        n=len(samples),
        skipped=sum(failure.row is None for failure in found.failures),
        positives=kinds["positive"],
        ambiguous=sum(s.ambiguous for s in samples if s.kind == "positive"),
        negatives={kind: n for kind, n in kinds.items() if kind in NEGATIVE_KINDS},
        unjudged=referee.plan.unjudged,
        rows=[scorer.row(heading) for heading in headings],
        failures=found.failures,
        notes=[note for note in _notes(referee, scorer) if note],
        conventions={**(OWN_CONVENTIONS if own else {}), **COMMON_CONVENTIONS},
        protocols=referee.protocols,
        subjects=[found.subjects[n] for n in scorer.numbers],
        mixtures=kinds["mixture"],
        seed=seed,
    )


def _judged_names(askers: Sequence[Asker]) -> list[str]:
    """The models and folders of maps, in order."""
    named = (heading.model for asker in askers for heading in asker.headings if heading.model)
    models = (asker.facts.name for asker in askers if isinstance(asker, ModelAsker))
    return list(dict.fromkeys([*models, *named]))


def _heard(models: Sequence[ModelAsker], told: Collection[str] | None) -> Collection[str]:
    """Groups met in training: those told, or those that all the models name alike."""
    if told is not None:
        return told
    named = {frozenset(model.facts.heard) for model in models}
    return named.pop() if len(named) == 1 else ()


def _notes(referee: Referee, scorer: Scorer) -> Iterator[str]:
    """Rows that are missing, and why."""
    if not scorer.located:
        yield "no positives: no map was judged, and no AUROC"
    models = [asker for asker in referee.askers if isinstance(asker, ModelAsker)]
    for model in models:
        if model.salience is None:
            name = f"{model.facts.name}: " if len(models) > 1 else ""
            yield f"{name}no picture-only row: the model offers no feature_strength"
    if len({frozenset(model.facts.heard) for model in models}) > 1:
        yield "no groups heard and never heard: the models were trained on different ones"
    yield _wrong_sound_note(referee, scorer, models)
    for asker in referee.askers:
        if isinstance(asker, FolderAsker):
            yield from _folder_notes(asker, referee)


def _wrong_sound_note(referee: Referee, scorer: Scorer, models: Sequence[ModelAsker]) -> str:
    """How many samples have a wrong sound, where some have none; the same for every model."""
    wrong = [h for model in models for h in model.headings if h.against is not None]
    if not wrong or referee.findings.answered(wrong[0].name) == len(scorer.located):
        return ""
    kinds = "positives and mixtures" if len(scorer.located) > len(scorer.positives) else "positives"
    return (
        f"wrong sound: {referee.findings.answered(wrong[0].name)} of {len(scorer.located)} {kinds};"
        " for the others no sound is known to be of another picture and of a group that is not in "
        "this one"
    )


def _folder_notes(asker: FolderAsker, referee: Referee) -> Iterator[str]:
    name = asker.headings[0].name
    if len(asker.headings) == 1:
        yield f"{name}: no wrong-sound row, for maps with wrong sounds were not given"
    yield f"{name}: no picture-only row, for maps come without their model"
    said, answered = len(referee.findings.confidences[name]), referee.findings.answered(name)
    if said < answered:
        yield f"{name}: {said} of {answered} samples have a confidence"
