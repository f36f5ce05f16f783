"""A file of weights and some meta-classifiers -> what is known about the file's training."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nws.auditing.architecture import READ, Architecture
from nws.auditing.auditor import Answer, Auditor, described, load
from nws.auditing.calibration import percent
from nws.auditing.counterfeits import GENUINE, doubt
from nws.auditing.specimen import Specimen
from nws.errors import NwsError
from nws.meta.saved import is_model


@dataclass(frozen=True)
class Skipped:
    """A meta-classifier that could not read the net, and why."""

    model: str
    property: str
    reason: str


@dataclass(frozen=True)
class Check:
    """A meta-classifier's answer about what the file shows by itself: no finding, only a check of the meta-classifier.

    read    what the file shows
    says, probability   the meta-classifier's most probable class
    """

    model: str
    property: str
    read: str
    says: str
    probability: float

    @builtins.property  # `property` is a field here
    def agrees(self) -> bool:
        return self.read == self.says

    @builtins.property  # `property` is a field here
    def sentence(self) -> str:
        """For people, where it does not agree."""
        sentence = f"{self.model} says {self.property} {self.says} ({percent(self.probability)})"
        return f"{sentence}; the file shows {self.read}, which counts."


@dataclass(frozen=True)
class Audit:
    """What `audit` found.

    layers     in order: {"name", "part", "shapes": role -> shape, "weights"}
    weights    of the net, the length of theta
    oddities   what makes any answer about this file doubtful, in sentences
    answers    by property, the surest first; none about a property that is read from the file
    architecture   what is read from the file
    checks     meta-classifiers that were asked for such a property all the same
    nets       what the file holds: name, tensors, weights of each
    """

    file: str
    format: str
    layers: tuple[dict[str, Any], ...]
    weights: int
    notes: tuple[str, ...]
    oddities: tuple[str, ...]
    answers: tuple[Answer, ...]
    skipped: tuple[Skipped, ...]
    architecture: Architecture
    checks: tuple[Check, ...] = ()
    nets: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def best(self) -> dict[str, Answer]:
        """property -> the answer to go by: a trusted one, then the one that did best on held-out nets."""
        chosen: dict[str, Answer] = {}
        for answer in self.answers:
            if answer.property not in chosen or _rank(answer) > _rank(chosen[answer.property]):
                chosen[answer.property] = answer
        return chosen

    @property
    def reasons(self) -> tuple[str, ...]:
        """What about the net makes answers doubtful, each sentence once."""
        return tuple(dict.fromkeys([*self.oddities, *(reason for answer in self.answers for reason in answer.reasons)]))

    @property
    def contradictions(self) -> dict[str, tuple[Answer, ...]]:
        """property -> answers that would be trusted, if they did not contradict each other."""
        names = dict.fromkeys(answer.property for answer in self.answers if answer.contradiction)
        return {name: tuple(a for a in self.answers if a.property == name and a.contradiction) for name in names}

    @property
    def sentence(self) -> str:
        """The finding in plain words."""
        if not self.answers:
            nobody = "No meta-classifier was asked: name one with --with (in Python with_)."
            asked = "No model could read this net." if self.skipped else nobody
            if self.checks:
                asked = f"Read from the file: {', '.join(f'{name} {value}' for name, value in self._checked.items())}."
            return f"{asked} {self.oddities[0]}" if self.oddities else asked
        trusted = {name: answer for name, answer in self.best.items() if answer.trusted}
        contradictions = [found[0].contradiction for found in self.contradictions.values()]
        if not trusted:
            first = next(iter(self.best.values()))
            weak = [weakness.replace("It ", f"{first.model} ", 1) for weakness in first.weaknesses]  # out of its place in a table
            return f"Do not trust these answers. {' '.join(contradictions or [*first.reasons, *weak][:1])}"
        clear = [f"{n} {a.best} ({percent(max(a.probabilities))})" for n, a in trusted.items() if a.clear]
        unsure = [name for name, answer in trusted.items() if not answer.clear]
        doubtful = [name for name in self.best if name not in trusted and name not in self.contradictions]
        sentences = [f"Probably trained with {', '.join(clear)}."] if clear else []
        sentences += contradictions
        sentences += [f"Not clear: {', '.join(unsure)}."] if unsure else []
        sentences += [f"Not to be trusted: {', '.join(doubtful)}."] if doubtful else []
        return " ".join(sentences)

    @property
    def _checked(self) -> dict[str, str]:
        return {check.property: check.read for check in self.checks}

    def to_dict(self) -> dict[str, Any]:
        """JSON values, complete; an infinite distance is None."""
        return {
            "file": self.file,
            "format": self.format,
            "sentence": self.sentence,
            "trusted": any(answer.trusted for answer in self.best.values()),
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "weights": self.weights,
            "layers": list(self.layers),
            "architecture": self.architecture.to_dict(),
            "nets": [dict(net) for net in self.nets],
            "answers": [_finite(described(answer)) for answer in self.answers],
            "contradictions": {name: [answer.model for answer in found] for name, found in self.contradictions.items()},
            "checks": [{**asdict(check), "agrees": check.agrees} for check in self.checks],
            "skipped": [asdict(skipped) for skipped in self.skipped],
        }


def audit(path: str | Path, with_: str | Path | Auditor | Sequence[str | Path | Auditor] = (), net: str | None = None) -> Audit:
    """How was the net in a file probably trained? Asks every meta-classifier in `with_`; runs nothing that the file holds.

    path    a file of any ending of `nws.weights.SUFFIXES`, also of a whole training state
    with_   saved meta-classifiers, or folders of them; without any, the file is only described
    net     which one of several nets in the file; see `nws.weights.read`

    Raises NwsError, one line, when the file or a model cannot be read; a model that cannot read this net is in `skipped`.
    """
    given = [with_] if isinstance(with_, str | Path | Auditor) else with_
    return examine(Specimen.read(path, net), [found for one in given for found in _auditors(one)])


def examine(specimen: Specimen, auditors: Iterable[Auditor]) -> Audit:
    """The same for weights that are in memory."""
    answers: list[Answer] = []
    checks, skipped, doubts = [], [], []
    shown = specimen.architecture
    for auditor in auditors:
        name = auditor.property
        try:
            if name == GENUINE:
                doubts.append(doubt(auditor, specimen.theta, specimen.layout))
            elif name not in READ:
                answers.append(auditor.answer(specimen))
            elif (read := shown.label(name)) is None:
                raise NwsError(
                    f"{name} is read from the file, never guessed, and this file does not show it: {shown.not_read[name]}"
                )
            else:
                answer = auditor.answer(specimen)
                checks.append(Check(auditor.name, name, read, answer.best, max(answer.probabilities)))
        except NwsError as error:
            skipped.append(Skipped(auditor.name, name, str(error)))
    doubted = tuple(dict.fromkeys(filter(None, doubts)))
    answers = [replace(answer, reasons=(*answer.reasons, *doubted)) for answer in answers]
    return Audit(
        file=specimen.name,
        format=specimen.format,
        layers=tuple(specimen.layers()),
        weights=specimen.layout.size,
        notes=specimen.notes,
        oddities=specimen.oddities,
        answers=_ordered(_compared(answers)),
        skipped=tuple(skipped),
        architecture=shown,
        checks=tuple(checks),
        nets=specimen.nets,
    )


def _compared(answers: list[Answer]) -> list[Answer]:
    """With a contradiction in every answer to which another one, trusted like it, gives another class."""
    surest: dict[str, dict[str, Answer]] = {}  # property -> class -> the surest trusted answer
    for answer in sorted((a for a in answers if a.trusted), key=lambda a: max(a.probabilities)):
        surest.setdefault(answer.property, {})[answer.best] = answer
    sentences = {}
    for name, found in surest.items():
        if len(found) > 1:
            each = [f"{label} ({percent(max(a.probabilities))}, {a.model})" for label, a in found.items()]
            sentences[name] = f"Trusted models contradict each other about {name}, so that none is trusted: {' or '.join(each)}."
    return [replace(a, contradiction=sentences.get(a.property, "") if a.trusted else "") for a in answers]


def _auditors(given: str | Path | Auditor) -> list[Auditor]:
    """One saved meta-classifier, or all of a folder: of one that `nws classify --out` wrote, those below models/."""
    if isinstance(given, Auditor):
        return [given]
    path = Path(given)
    if not path.is_dir():
        if not any(path.with_suffix(ending).exists() for ending in (path.suffix, ".json")) and not Path(f"{path}.json").exists():
            raise NwsError(f"{path} does not exist, nor does {path.name}.json: name a saved meta-classifier, or a folder of them")
        return [load(path)]
    folder = path / "models" if (path / "models").is_dir() else path
    found = [load(file) for file in sorted(folder.glob("*.json")) if is_model(file)]
    if not found:
        raise NwsError(f"{folder} holds no saved meta-classifier: make some with recipes/audit_models.py")
    return found


def _ordered(answers: list[Answer]) -> tuple[Answer, ...]:
    """Property by property, first what can be trusted and said with most certainty."""

    def certainty(answer: Answer) -> tuple[bool, float]:
        chance = 1 / len(answer.classes)
        return answer.trusted, (max(answer.probabilities) - chance) / (1 - chance)

    first = {answer.property: max(certainty(a) for a in answers if a.property == answer.property) for answer in answers}
    return tuple(sorted(answers, key=lambda a: (first[a.property], a.property), reverse=True))


def _rank(answer: Answer) -> tuple[bool, float]:
    return answer.trusted, answer.calibration.low if answer.calibration else 0.0


def _finite(answer: dict[str, Any]) -> dict[str, Any]:
    distance = answer["distance"]
    return {**answer, "distance": distance if distance is not None and distance < float("inf") else None}
