"""How far an audit can be believed: answers, calibration and doubts about nets that its meta-classifiers never saw.

    python benchmarks/audit.py ZOO [OTHER] [--properties initialization,optimizer] [--most 300] > rows.json

Meta-classifiers learn from every net of ZOO whose number does not divide by three. They audit the others, nets of OTHER (unseen
architectures), and theta that nobody trained; at most MOST nets of each group. A JSON row per meta-classifier and group of trained
nets (`answers`), and per group (`doubts`: the share of nets whose answers are not trusted for a reason in the net, and by their
distance alone). Results: docs/audit.md.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nws import Task, Zoo, auditing
from nws.auditing import Answer, Auditor, Specimen, examine
from nws.auditing.auditor import UNFAMILIAR
from nws.auditing.calibration import tempered
from nws.layout import Layout
from nws.tasks.inputs import Inputs
from nws.tasks.metrics import expected_calibration_error
from nws.zoo.netfile import net_path

SNAPSHOTS = tuple(range(17, 21))  # as recipes/audit_models.py


def two_thirds(zoo: Zoo, folder: Path) -> Zoo:
    """A zoo of hard links to the nets that are learned from."""
    for number in zoo.numbers():
        if number % 3:
            link = net_path(folder, number)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(net_path(zoo.path, number), link)
    (folder / "zoo.json").write_bytes((zoo.path / "zoo.json").read_bytes())
    return Zoo(folder)


def learned(zoo: Zoo, properties: list[str]) -> list[Auditor]:
    inputs, reference = Inputs(zoo, test_slices=auditing.SLICES), auditing.Reference.of_zoo(zoo)
    length = min(5000, int(zoo.index["weights"].min()))
    kinds = {"svm-rbf-16": length, **({"svm-linear-480": None} if reference.architecture else {})}
    guessed = [name for name in zoo.varying() if not zoo.properties[name].continuous and name not in auditing.READ]
    asked = properties or guessed
    tasks = [(meta, Task(name, SNAPSHOTS, slice_length=length)) for name in asked for meta, length in kinds.items()]
    made = [auditing.learn(meta, task, inputs, reference=reference) for meta, task in tasks]
    return [replace(auditor, name=f"{auditor.property}-{auditor.meta_name}") for auditor in made]


def specimens(zoo: Zoo, nets: list[int], snapshot: int | None = None) -> Iterator[Specimen]:
    at = snapshot or int(zoo.index["snapshots"].min())
    for net in nets:
        layout = zoo.layout(net)
        yield Specimen(f"net {net}", "zoo", layout, zoo.theta(net, at), tuple(t.name for t in layout.tensors))


def permuted(theta: np.ndarray, layout: Layout, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(theta)


def gaussian(theta: np.ndarray, layout: Layout, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(theta.mean(), theta.std(), theta.size).astype(np.float32)


def tensors_permuted(theta: np.ndarray, layout: Layout, rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([rng.permutation(theta[t.start : t.stop]) for t in layout.tensors])


def tensors_gaussian(theta: np.ndarray, layout: Layout, rng: np.random.Generator) -> np.ndarray:
    pieces = [theta[t.start : t.stop] for t in layout.tensors]
    return np.concatenate([rng.normal(p.mean(), p.std(), p.size).astype(np.float32) for p in pieces])


UNTRAINED: dict[str, Callable[..., np.ndarray]] = {
    "theta permuted": permuted,
    "Gaussian theta, as wide as the net's": gaussian,
    "each tensor permuted within itself": tensors_permuted,
    "each tensor Gaussian with its own mean and deviation": tensors_gaussian,
}


def groups(zoo: Zoo, other: Zoo | None, most: int) -> Iterator[tuple[str, Zoo, list[int], Iterator[Specimen]]]:
    """(what is audited, the zoo it is from, nets, specimens)"""
    trained = zoo.index.index[zoo.index["status"] == "ok"]
    nets = [int(n) for n in trained if n % 3 == 0][:most]
    yield "held-out nets", zoo, nets, specimens(zoo, nets)
    if other:
        strangers = [int(n) for n in other.index.index[other.index["status"] == "ok"]][:most]
        yield "nets of the other zoo", other, strangers, specimens(other, strangers)
    for name, change in UNTRAINED.items():
        rng = np.random.default_rng(0)
        changed = (Specimen(s.name, s.format, s.layout, change(s.theta, s.layout, rng), s.tensors) for s in specimens(zoo, nets))
        yield name, zoo, nets, changed
    for snapshot in (1, 2):
        yield f"held-out nets at snapshot {snapshot}", zoo, nets, specimens(zoo, nets, snapshot)


def rows(zoo: Zoo, other: Zoo | None, auditors: list[Auditor], most: int) -> Iterator[dict[str, Any]]:
    for audited, source, nets, given in groups(zoo, other, most):
        found = [examine(specimen, auditors) for specimen in given]
        doubted, far = [bool(one.reasons) for one in found], [any(_far(a) for a in one.answers) for one in found]
        yield {"table": "doubts", "audited": audited, "nets": len(nets), "doubted": np.mean(doubted), "far": np.mean(far)}
        if source is zoo and audited != "held-out nets":
            continue
        for auditor in auditors:
            said = [next((a for a in one.answers if a.model == auditor.name), None) for one in found]
            kept = [(net, answer) for net, answer in zip(nets, said, strict=True) if answer]
            words = {"table": "answers", "audited": audited, "property": auditor.property, "meta": auditor.meta_name}
            yield words | ({"nets": len(kept), **judged(source, auditor, kept)} if kept else {"nets": 0})


def judged(zoo: Zoo, auditor: Auditor, kept: list[tuple[int, Answer]]) -> dict[str, Any]:
    """How often the votes and the answers are right, and how honest their probabilities are."""
    label = zoo.properties[auditor.property].label
    classes = kept[0][1].classes
    truth = np.array([classes.index(str(label(zoo.index.loc[net, auditor.property]))) for net, _ in kept])
    after = np.array([answer.probabilities for _, answer in kept])
    before = np.array([np.mean([e.probabilities for e in answer.evidence], axis=0) for _, answer in kept])
    heat = kept[0][1].calibration.temperature  # type: ignore[union-attr]
    return {
        "chance": 1 / len(classes),
        "right_before": float((before.argmax(1) == truth).mean()),
        "right": float((after.argmax(1) == truth).mean()),
        "ece_before": expected_calibration_error(before, truth),
        "ece_tempered": expected_calibration_error(tempered(before, heat), truth),
        "ece_after": expected_calibration_error(after, truth),
        "trusted": float(np.mean([answer.trusted for _, answer in kept])),
    }


def _far(answer: Answer) -> bool:
    return answer.percentile is not None and answer.percentile >= UNFAMILIAR


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zoo", type=Zoo)
    parser.add_argument("other", type=Zoo, nargs="?")
    parser.add_argument("--properties", default="", help="comma between; default: all that differ")
    parser.add_argument("--most", type=int, default=300, help="nets of a group")
    given = parser.parse_args()
    properties = [name for name in given.properties.split(",") if name]
    with tempfile.TemporaryDirectory(dir=given.zoo.path.parent) as folder:
        auditors = learned(two_thirds(given.zoo, Path(folder)), properties)
        for row in rows(given.zoo, given.other, auditors, given.most):
            print(json.dumps(row, default=float), flush=True)


if __name__ == "__main__":
    main()
