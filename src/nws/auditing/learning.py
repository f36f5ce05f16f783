"""One folder of models from one zoo: for each target that cannot be read from a file, whatever reads it best on held-out nets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nws.auditing.architecture import READ
from nws.auditing.auditor import SLICES, Auditor, learn
from nws.auditing.counterfeits import learn_genuine
from nws.auditing.reference import Reference
from nws.errors import NwsError
from nws.meta import METAS
from nws.tasks.inputs import Inputs
from nws.tasks.protocol import Task
from nws.zoo import Zoo

SLICE = 5000  # weights, of what reads slices: the paper's; shorter where the zoo's smallest nets are


def targets(zoo: Zoo) -> list[str]:
    """Properties with classes that differ in the zoo and that the shapes in a file do not show."""
    return [name for name in zoo.varying() if not zoo.properties[name].continuous and name not in READ]


def learned(
    zoo: Zoo,
    out: str | Path,
    *,
    properties: Sequence[str] = (),
    metas: Sequence[str] = ("tensors",),
    seed: int = 0,
    workers: int = 1,
    on_progress: Callable[[str], None] = lambda doing: None,
) -> Iterator[Auditor]:
    """Make models for `nws.audit(file, with_=out)`, and give each once its files are there: OUT/PROPERTY.json and .safetensors.

    properties  default: `targets(zoo)`
    metas       names of `nws.meta.METAS`: of several the one is kept that is right most often on held-out nets, by the low end of
                its interval, so that there is one answer per target
    The last one, OUT/genuine.json, doubts nets that were not trained at all or hardly (`nws.auditing.counterfeits`).
    NwsError when the zoo has nothing to learn.
    """
    asked = list(properties) or targets(zoo)
    if not asked:
        raise NwsError(f"{zoo.path}: its nets differ in nothing with classes that could be learned: sample with more options")
    reference = Reference.of_zoo(zoo)
    with Inputs(zoo, seed, test_slices=SLICES, workers=workers) as inputs:
        for number, name in enumerate(asked, 1):
            tried = []
            for meta in metas:
                says = f"property {number} of {len(asked)} ({name}), {meta}"
                length = min(SLICE, int(zoo.index["weights"].min())) if METAS[meta]().representation.sliced else None
                task = Task(name, slice_length=length)
                on_progress(says)
                tried.append(learn(meta, task, inputs, reference=reference, on_progress=_below(on_progress, says)))
            best = max(tried, key=lambda made: made.calibration.low if made.calibration else 0.0)
            best.save(Path(out) / name)
            yield best
        on_progress("nets that only look trained")
        genuine = learn_genuine(zoo, seed)
        genuine.save(Path(out) / "genuine")
        yield genuine


def _below(on_progress: Callable[[str], None], says: str) -> Callable[[str], None]:
    return lambda doing: on_progress(f"{says}: {doing}")
