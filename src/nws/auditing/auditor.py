"""A meta-classifier that knows how far to trust itself: learned from a zoo, saved beside its calibration and reference, loaded."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nws import meta as meta_classifiers
from nws.auditing.calibration import Calibration, calibrate, conformal, percent
from nws.auditing.reference import UNFAMILIAR, Reference, share
from nws.auditing.specimen import Specimen
from nws.errors import NwsError
from nws.layout import PARTS, STRIPS, Layout
from nws.meta import Meta
from nws.recorded import printable
from nws.representations.statistics import STATISTICS
from nws.tasks.evaluation import held_out
from nws.tasks.inputs import Inputs, evenly
from nws.tasks.protocol import Task
from nws.tasks.results import provenance
from nws.zoo import Zoo

SLICES = 24  # of a net that is audited, evenly spread; its votes are calibrated with as many
_LONGEST_SLICE = 10**9


@dataclass(frozen=True)
class Evidence:
    """What one slice says. layer: where its middle lies; start, stop: in theta; probabilities in the order of the classes."""

    layer: str
    start: int
    stop: int
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Answer:
    """What one meta-classifier says of one net.

    probabilities  of the classes: what the slices say together, calibrated; every class is taken to be as likely beforehand
    votes          slices for which each class is the most probable
    evidence       slice by slice along depth, not calibrated; a single entry when the net is read as a whole
    calibration    how its votes did on held-out nets of its own zoo; None when nobody measured it
    distance       to the nearest nets of its own zoo; percentile: the share of them that are closer to the others, in percent
    reasons        why not to trust it, in sentences about the net
    weaknesses     the same about the meta-classifier
    contradiction  of another one that would be trusted as well, in a sentence; empty where there is none
    plausible      the classes that cannot be ruled out: they held the truth for at least 90% of held-out nets of its zoo; empty
                   where nobody measured it
    """

    model: str
    property: str
    meta: str
    zoo: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    votes: tuple[int, ...]
    evidence: tuple[Evidence, ...]
    calibration: Calibration | None
    distance: float | None
    percentile: float | None
    reasons: tuple[str, ...]
    weaknesses: tuple[str, ...]
    contradiction: str = ""
    plausible: tuple[str, ...] = ()

    @builtins.property
    def trusted(self) -> bool:
        """Whether there is nothing to be said against it."""
        return not self.reasons and not self.weaknesses and not self.contradiction

    @builtins.property
    def percentages(self) -> tuple[str, ...]:
        """The probabilities for people."""
        return tuple(percent(p) for p in self.probabilities)

    @builtins.property  # `property` is a field here
    def best(self) -> str:
        """The most probable class."""
        return self.classes[int(np.argmax(self.probabilities))]

    @builtins.property  # `property` is a field here
    def clear(self) -> bool:
        """Whether the most probable class is at least half-way from chance to certainty."""
        return max(self.probabilities) >= (1 + 1 / len(self.classes)) / 2


@dataclass(frozen=True, eq=False)
class Auditor:
    """A fitted meta-classifier and what it takes to ask it about strangers. Refuses nonsense when built.

    part, slice_length, without   which weights it reads, as in `nws.Task`; slice_length None: the whole part
    slices        of a net that vote
    calibration, reference   None for a meta-classifier that was not made for audits (`nws classify --out`)
    train_nets    of its zoo
    least         probability of a class that cannot be ruled out (`nws.auditing.calibration.conformal`); None: not measured
    """

    name: str
    meta: Meta
    property: str
    meta_name: str
    zoo: str
    part: str = "all"
    slice_length: int | None = None
    without: tuple[str, ...] = ()
    slices: int = SLICES
    calibration: Calibration | None = None
    reference: Reference | None = None
    train_nets: tuple[int, ...] = ()
    least: float | None = None

    def __post_init__(self) -> None:
        length = self.slice_length
        if self.part not in PARTS or not set(self.without) <= set(STRIPS):
            raise NwsError(f"{self.name} reads part={self.part!r} without {self.without}, of which nws knows nothing")
        if length is not None and not (type(length) is int and 2 <= length <= _LONGEST_SLICE):
            raise NwsError(f"{self.name} reads slices of {length!r} weights: that makes no sense")
        if type(self.slices) is not int or not 1 <= self.slices <= 10_000:
            raise NwsError(f"{self.name} asks {self.slices!r} slices: that makes no sense")
        if self.least is not None and not (type(self.least) is float and 0 <= self.least <= 1):
            raise NwsError(f"{self.name} rules out classes below {self.least!r}: that is no probability")
        if self.calibration and self.calibration.weights and len(self.calibration.weights) != len(self.meta.classes_):
            raise NwsError(f"{self.name} is calibrated for another number of classes")

    def answer(self, specimen: Specimen) -> Answer:
        """What it says of the net; NwsError, one line, when it cannot read it."""
        if self.meta.regression:
            raise NwsError(f"{self.property} is a number to it, which has no probabilities")
        theta, layout, kept = specimen.theta, specimen.layout, None
        if self.without:
            kept = layout.kept(self.without)
            theta, layout = theta[kept], layout.without(self.without)
        x, starts, length = self._rows(theta, layout)
        probability = self.meta.predict_proba(x)  # (K, C)
        calibrated = self.calibration.probabilities(probability) if self.calibration else probability.mean(0)
        evidence = tuple(
            Evidence(_layer_at(layout, a + length // 2), _place(a, kept), _place(a + length - 1, kept) + 1, tuple(row))
            for a, row in zip(starts.tolist(), probability.tolist())
        )
        classes = tuple(printable(label) for label in self.meta.classes_)
        votes = np.bincount(probability.argmax(1), minlength=len(classes))
        distance = self.reference.distance(specimen.portrait(self.reference.unused)) if self.reference else None
        percentile = self.reference.percentile(distance) if self.reference and distance is not None else None
        return Answer(
            model=self.name,
            property=self.property,
            meta=self.meta_name,
            zoo=self.zoo,
            classes=classes,
            probabilities=tuple(calibrated.tolist()),
            votes=tuple(votes.tolist()),
            evidence=evidence,
            calibration=self.calibration,
            distance=distance,
            percentile=percentile,
            reasons=tuple(self._reasons(specimen, percentile)),
            weaknesses=self._weaknesses(),
            plausible=self._plausible(classes, calibrated),
        )

    def _plausible(self, classes: tuple[str, ...], said: np.ndarray) -> tuple[str, ...]:
        """The surest first, and never none."""
        if self.least is None:
            return ()
        order = np.argsort(-said, kind="stable")
        return tuple(classes[k] for place, k in enumerate(order) if place == 0 or said[k] >= self.least)

    def _rows(self, theta: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray, int]:
        """What the meta-classifier reads (K, ...), where each slice starts in theta (K,), and its length."""
        part = layout.part(self.part)
        size = part.stop - part.start
        shown = self.meta.representation
        if not shown.sliced:
            if shown.one_layout(None):
                self._check_architecture(layout)
            if not np.isfinite(theta[part]).all():
                raise NwsError("it reads every weight, and some are NaN or infinite")
            return shown.of_net(theta[None], layout, self.part), np.array([part.start]), size
        length = self.slice_length or size
        if size < max(length, 2):
            part_name = "" if self.part == "all" else f"{self.part} part of the "
            raise NwsError(f"the {part_name}net has {size:,} weights, less than a slice of {length:,}")
        starts = part.start + np.unique(evenly(size, length, self.slices if self.slice_length else 1))
        vectors = np.stack([theta[a : a + length] for a in starts])
        finite = np.isfinite(vectors).all(1)
        if not finite.any():
            raise NwsError("every slice holds NaN or infinite weights")
        vectors = vectors[finite]
        return shown.of_slices(vectors), starts[finite], length

    def _check_architecture(self, layout: Layout) -> None:
        known = not self.reference or self.without or self.reference.shares_architecture(layout)
        expected, found = self.meta.n_features_in_, _columns(layout, self.part)
        if not known or expected != found:
            raise NwsError(
                "it reads layer by layer, and the net's layers have other shapes than its zoo's: use one that reads slices"
            )

    def _reasons(self, specimen: Specimen, percentile: float | None) -> list[str]:
        found = list(specimen.oddities)
        if self.reference:
            found += self.reference.unlike(specimen.layout)
        if percentile is not None and percentile >= UNFAMILIAR:
            found.append(f"Its weights are further from the nets of the zoo than {share(percentile)} of these are from each other.")
        return found

    def _weaknesses(self) -> tuple[str, ...]:
        if self.reference is None or self.calibration is None:
            return ("It was not made for audits: it is not calibrated, and what is unlike its zoo goes unnoticed.",)
        weakness = self.calibration.weakness(self.property, len(self.meta.classes_))
        return (weakness,) if weakness else ()

    def described(self) -> dict[str, Any]:
        """What it reads and how well, as JSON values; `said` for people."""
        measured = self.calibration
        said = f"right on {measured.accuracy:.0%}, calibration error {measured.ece_after:.1%}" if measured else "not measured"
        return {
            "model": self.name,
            "property": self.property,
            "meta": self.meta_name,
            "nets": len(self.train_nets),
            "accuracy": measured.accuracy if measured else None,
            "low": measured.low if measured else None,
            "high": measured.high if measured else None,
            "ece": measured.ece_after if measured else None,
            "least": self.least,
            "said": said,
        }

    def save(self, path: str | Path) -> None:
        """PATH.safetensors and PATH.json, as `nws.meta.save` writes them; what an audit needs is in `about`."""
        audit = {
            "slices": self.slices,
            "calibration": self.calibration.to_dict() if self.calibration else None,
            "reference": self.reference.to_dict() if self.reference else None,
            "least": self.least,
        }
        about = {name: getattr(self, name) for name in ("property", "zoo", "part", "slice_length", "without", "train_nets")}
        meta_classifiers.save(self.meta, path, {**about, "meta": self.meta_name, **provenance(), "audit": audit})


def _columns(layout: Layout, part: str) -> int:
    last = layout.tensors[-1].layer
    return len(STATISTICS) * sum(part in ("all", t.part) for t in layout.tensors if t.layer != last)


def _place(position: int, kept: np.ndarray | None) -> int:
    """Where a weight lies in theta, given its position among those kept."""
    return position if kept is None else int(kept[position])


def _layer_at(layout: Layout, position: int) -> str:
    return printable(next(t.layer for t in layout.tensors if t.start <= position < t.stop))


def learn(
    meta: str,
    task: Task,
    zoo: Zoo | Inputs,
    *,
    folds: int = 4,
    reference: Reference | None = None,
    on_progress: Callable[[str], None] = lambda doing: None,
) -> Auditor:
    """A meta-classifier for audits: it learns from all of the zoo's nets; its votes are calibrated on nets held out, fold by fold.

    meta        a name of `nws.meta.METAS`
    task        the property and the weights to read it from; without_at="both" for weights that are to be left out
    zoo         or its `Inputs(zoo, seed, SLICES)`, which remember what was computed for an earlier property
    reference   of the same zoo, when it is known from an earlier call
    """
    inputs = zoo if isinstance(zoo, Inputs) else Inputs(zoo, test_slices=SLICES)
    held = held_out(meta, task, inputs, folds=folds, on_progress=on_progress)
    column = {label: k for k, label in enumerate(held.meta.classes_.tolist())}
    truth = np.array([column[label] for label in held.labels.tolist()])
    calibration = calibrate(held.probability, truth, held.fold)
    return Auditor(
        name=task.property,
        meta=held.meta,
        property=task.property,
        meta_name=meta,
        zoo=str(inputs.zoo.path),
        part=held.where.part,
        slice_length=held.where.slice_length,
        without=task.training.without,
        slices=inputs.test_slices,
        calibration=calibration,
        reference=reference or Reference.of_zoo(inputs.zoo),
        train_nets=tuple(held.nets.tolist()),
        least=conformal(calibration.probabilities(held.probability[:, -1]), truth),
    )


def load(path: str | Path) -> Auditor:
    """What `Auditor.save` wrote, or any saved meta-classifier that says which property it reads. NwsError, one line, else."""
    path = Path(path)
    if path.suffix in (".json", ".safetensors"):
        path = path.with_suffix("")
    meta: Any = meta_classifiers.load(path)
    about: Mapping[str, Any] = meta.about_
    try:
        audit, length = _object(about.get("audit") or {}), about.get("slice_length")
        return Auditor(
            name=printable(path.name),
            meta=meta,
            property=_text(about["property"]),
            meta_name=_text(about.get("meta", type(meta).__name__)),
            zoo=_text(about.get("zoo", "")),
            part=about.get("part", "all"),
            slice_length=None if length == "whole" else length if meta.representation.table else meta.n_features_in_,
            without=tuple(_text(name) for name in about.get("without") or ()),
            slices=audit.get("slices", SLICES),
            calibration=Calibration.of(_object(audit["calibration"])) if audit.get("calibration") else None,
            reference=Reference.of(_object(audit["reference"])) if audit.get("reference") else None,
            train_nets=tuple(about.get("train_nets") or ()),
            least=audit.get("least"),
        )
    except (KeyError, TypeError, NwsError) as error:
        reason = f"it does not say its {error}" if isinstance(error, KeyError) else str(error)
        raise NwsError(f"{path}.json cannot be used for an audit: {reason}") from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NwsError("what it says about audits is no object")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise NwsError(f"{str(value)[:40]!r} is no text")
    return printable(value)[:1000]


def described(answer: Answer) -> dict[str, Any]:
    """An answer as JSON values."""
    return {**asdict(answer), "best": answer.best, "clear": answer.clear, "trusted": answer.trusted}
