"""Weights that only look trained, and a meta-classifier that tells them from those that were.

Each net of a zoo is its own counterfeiter: with the weights of each tensor shuffled; drawn anew from a normal distribution with the
tensor's mean and deviation; and as it was at the start and after the first record of its training. Statistics of single tensors
hardly see the first two, for they are the same; relations between tensors do (`nws.representations.relations`).
"""

from __future__ import annotations

import numpy as np

from nws.auditing.auditor import Auditor
from nws.errors import NwsError
from nws.layout import Layout
from nws.meta import Boosting
from nws.representations import tensors
from nws.zoo import Zoo

GENUINE = "genuine weights"  # what such a model reads; no property can be called that
TRAINED = "trained"
LOOKS = {
    "shuffled": "Its tensors do not fit each other: they look as if the weights in each were shuffled",
    "drawn": "Its tensors do not fit each other: they look as if the weights in each were drawn at random",
    "early": "It looks hardly trained, for one epoch or less",
}
MOST_NETS = 600  # that are counterfeited: 10 ms each, five times
LEAST = 0.5  # probability of having been trained, below which a net is doubted


def counterfeits(theta: np.ndarray, layout: Layout, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Kind -> theta (P,) of a net that only looks like the given one."""
    shuffled, drawn = theta.copy(), theta.copy()
    for t in layout.tensors:
        weights = theta[t.start : t.stop]
        shuffled[t.start : t.stop] = rng.permutation(weights)
        drawn[t.start : t.stop] = rng.normal(weights.mean(), weights.std(), weights.shape)
        if t.role == "var":
            drawn[t.start : t.stop] = np.abs(drawn[t.start : t.stop])
    return {"shuffled": shuffled, "drawn": drawn}


def learn_genuine(zoo: Zoo, seed: int = 0) -> Auditor:
    """The meta-classifier, learned from the nets that trained, at their last snapshots and as counterfeits."""
    rng = np.random.default_rng([seed, 6])
    index = zoo.index[zoo.index["status"] == "ok"]
    last = int(index["snapshots"].min()) if len(index) else 0
    if len(index) < 2 or last < 3:
        raise NwsError(f"{zoo.path}: counterfeits take two nets that trained and three snapshots of each")
    nets = np.sort(rng.permutation(index.index.to_numpy())[:MOST_NETS]).tolist()
    rows, kinds = [], []
    for net in nets:
        layout = zoo.layout(net)
        theta = {s: np.array(zoo.theta(net, s)) for s in (1, 2, last - 1, last)}
        made = [(TRAINED, theta[last - 1]), (TRAINED, theta[last]), ("early", theta[1]), ("early", theta[2])]
        made += counterfeits(theta[last], layout, rng).items()
        found = np.stack([weights for _, weights in made])
        rows.append(tensors(found, layout)[0].astype(np.float32))
        kinds += [kind for kind, _ in made]
    each = len(rows[0])
    meta = Boosting(random_state=seed).fit(np.concatenate(rows), np.array(kinds), groups=np.repeat(nets, each))
    return Auditor(
        name="genuine", meta=meta, property=GENUINE, meta_name="tensors", zoo=str(zoo.path), slices=1, train_nets=tuple(nets)
    )


def doubt(auditor: Auditor, theta: np.ndarray, layout: Layout) -> str:
    """Why a net seems not to have been trained, in a sentence; empty when it does not seem so. NwsError when it cannot be read."""
    said = dict(zip(auditor.meta.classes_.tolist(), auditor.meta.predict_proba(tensors(theta[None], layout)[0])[0]))
    if said.get(TRAINED, 1.0) >= LEAST:
        return ""
    kind = max((name for name in said if name != TRAINED), key=lambda name: said[name])
    return f"{LOOKS.get(kind, 'It looks untrained')} (probability of having been trained: {said[TRAINED]:.0%})."
