"""Digests of nets and result rows, for a change that must not change them: run before and after, on one machine, and compare.

python benchmarks/golden.py > before.json;  python benchmarks/golden.py --against before.json

Prints one JSON row per net and engine (SHA-256 of theta) and one per meta-classifier (of its result row). Bits depend on the
instruction set and on the versions of PyTorch and scikit-learn, so digests are compared, never stored with the project.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nws
from nws.images import load
from nws.train import Job, Schedule, train

ENGINES = ("native", "torch")
NETS, EPOCHS = 6, 3
METAS = ("svm-linear-16", "svm-rbf-16", "svm-linear-480", "svm-rbf-480", "dmc")
VOLATILE = ("seconds", "version", "key", "about", "zoo")  # of a result row


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def nets() -> Iterator[dict[str, object]]:
    images = load("digits", limit=400, limit_test=100)
    for space, name in ((nws.MAIN, "main"), (nws.FIXED, "fixed")):
        jobs = [Job(k, hp) for k, hp in enumerate(space.with_(dataset="digits").sample(NETS // 2, seed=3))]
        for engine in ENGINES:
            for net in train(jobs, {"digits": images}, Schedule(3, 3, EPOCHS), engine=engine):
                yield {
                    "net": f"{name} {net.number}",
                    "engine": engine,
                    "digest": digest(net.theta.tobytes() + net.history.tobytes()),
                }


def rows(folder: Path) -> Iterator[dict[str, object]]:
    space = nws.FIXED.with_(dataset="digits", width_conv=2, width_fc=16)
    zoo = nws.sample(folder, space.sample(24, seed=1), images="digits", limit=200, limit_test=50, snapshots=4, epochs=3, workers=1)
    for meta in METAS:
        tasks = [nws.Task("optimizer"), nws.Task("learning_rate", part="fc")]
        given = nws.meta.make(meta)
        if meta == "dmc":
            given.set_params(max_steps=4)
            tasks = [nws.Task("optimizer", slice_length=300)]
        for result in nws.evaluate({meta: given}, tasks, zoo, rounds=2):
            row = {name: value for name, value in result.row().items() if name in KEPT and name not in VOLATILE}
            yield {"meta": meta, "property": result.property, "digest": digest(json.dumps(row, sort_keys=True).encode())}


# The fields of 0.1.0: later ones may be added, these must stay as they were.
KEPT = (
    *("property", "meta", "part", "slice_length", "snapshots", "accuracy", "error", "low", "high", "spread", "vote", "vote_low"),
    *("vote_high", "chance", "classes", "n_train", "n_test", "n_tested", "rounds", "per_round", "confusion", "seed", "split"),
)

if __name__ == "__main__":
    before = json.loads(Path(sys.argv[2]).read_text()) if sys.argv[1:2] == ["--against"] else None
    with tempfile.TemporaryDirectory() as scratch:
        found = [*nets(), *rows(Path(scratch) / "zoo")]
    print("[\n" + ",\n".join(map(json.dumps, found)) + "\n]")
    if before is not None:
        changed = [row for row in found if row not in before]
        print(f"{len(found) - len(changed)} of {len(found)} as before", file=sys.stderr)
        sys.exit(bool(changed))
