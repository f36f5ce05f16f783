"""What tensors of a layer, and of the layer before, say together. Most of what weights tell of the training data lies here.

A norm's moving mean is the mean of what it normalises. In a convolution that is the product itself: (mean - bias) of a filter is
its sum times the mean of what it reads. So the first convolution's moving means, solved for that, give the mean training pixel; its
moving variances, compared with w'Kw for pictures of a correlation length, give their contrast and sharpness. What a later layer
reads is act(N(beta, gamma^2)) of the one before, and the activation whose mean and deviation explain the moving statistics best
is the net's. The order is that of the paper's nets: convolution, norm, activation; but matrix, activation, norm. For matrices the
other order is measured too. Layouts do not say which it is; where it is another, these are numbers like any other.
"""

from __future__ import annotations

import numpy as np

from nws.representations.values import correlation, log, spread

# Role -> (S, units); "weight" (S, units, inputs, window), its "row means" and "row squares" (S, units), its "mean size" (S,).
Arrays = dict[str, np.ndarray]

ACTIVATIONS = ("relu", "elu", "sigmoid", "tanh")
_LENGTHS = (0.5, 1, 1.5, 2, 3, 4, 6, 10, 20)  # pixels over which neighbours are alike
_FLOOR = 1e-6  # of quotients
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_PARTS = ("constant", "energy", "along x", "along y", "colour")

WITHIN = (
    *("bias ~ row mean", "log bias / weight", "log var / row square", "deviation of log var / row square"),
    *("gamma ~ row norm", "gamma ~ beta", "bias ~ beta", "mean ~ beta", "gamma ~ log var", "mean ~ deviation"),
    *("log rms gamma - 1", "log rms beta", "log beta / (gamma - 1)", "log bias / beta", "mean gamma - 1"),
    *("mean / deviation", "log |mean| / deviation"),
    *("mean log var", "deviation of log var", "smallest log var", "largest log var"),
)
PIXELS = (
    *("mean pixel", "log unexplained mean pixel", "mean pixel, channel 1", "mean pixel, channel 2", "mean pixel, channel 3"),
    *("deviation of channels", "log unexplained by channels"),
    *(f"{what} at length {n}" for n in _LENGTHS for what in ("log contrast", "deviation of contrast")),
    *("best length", "contrast at best length", "deviation at best length"),
    *(f"log variance by {part}" for part in _PARTS),
    "unexplained variance",
)
_EACH = ("log unexplained mean", "slope of mean", "slope of deviation", "log var / expected", "deviation of var / expected")
CONV_CHAIN = tuple(f"{what}, if {a}" for a in ACTIVATIONS for what in (*_EACH, "log unexplained beyond the best"))
FC_CHAIN = (
    *(f"{what}, if {a}" for a in ACTIVATIONS for what in ("log mean error", "var error", "log mean error beyond the best")),
    *(f"log unexplained mean, if norm before {a}" for a in ACTIVATIONS),
    *("smallest mean", "largest mean", "log largest var", "var / mean (1 - mean)"),
)
OUTPUT = (
    *("unused bias", "log unused bias", "log deviation of unused biases", "used bias", "log deviation of used biases"),
    *("log unused weight", "log used weight", "log unused / used", "unused cosine", "log unused mean", "log unused apart"),
    *("unused mean ~ beta", "deviation of column sums", "gap of logits", "log deviation of logits"),
    *(f"used bias {k}" for k in range(10)),
)


def within(t: Arrays) -> np.ndarray:
    """`WITHIN` a layer (S, 21); 0 for what takes a tensor that it lacks."""
    squares = t["row squares"]
    found = dict.fromkeys(WITHIN, np.zeros(len(squares)))
    bias, beta, gamma, mean, var = (t.get(role) for role in ("bias", "beta", "gamma", "mean", "var"))
    if bias is not None:
        found["bias ~ row mean"] = correlation(bias, t["row means"])
        found["log bias / weight"] = log(np.abs(bias).mean(1)) - log(t["mean size"])
    if beta is not None:
        found["log rms beta"] = log(_rms(beta))
        if bias is not None:
            found["bias ~ beta"] = correlation(bias, beta)
            found["log bias / beta"] = log(_rms(bias)) - log(_rms(beta))
        if mean is not None:
            found["mean ~ beta"] = correlation(mean, beta)
    if gamma is not None:
        found["gamma ~ row norm"] = correlation(gamma, np.sqrt(squares))
        found["log rms gamma - 1"] = log(_rms(gamma - 1))
        found["mean gamma - 1"] = gamma.mean(1) - 1
        if beta is not None:
            found["gamma ~ beta"] = correlation(gamma, beta)
            found["log beta / (gamma - 1)"] = log(_rms(beta)) - log(_rms(gamma - 1))
    if var is not None:
        width, of = _deviation(var), log(np.maximum(var, 0))
        against = of - log(squares)
        found["log var / row square"], found["deviation of log var / row square"] = against.mean(1), spread(against)
        found |= zip(WITHIN[-4:], (of.mean(1), spread(of), of.min(1), of.max(1)))
        if gamma is not None:
            found["gamma ~ log var"] = correlation(gamma, of)
        if mean is not None:
            found["mean ~ deviation"] = correlation(mean, width)
            found["mean / deviation"] = (mean / (width + _FLOOR)).mean(1)
            found["log |mean| / deviation"] = log((np.abs(mean) / (width + _FLOOR)).mean(1), 1e-9)
    return np.column_stack(list(found.values()))


def pixels(t: Arrays, window: tuple[int, int]) -> np.ndarray:
    """`PIXELS` of a first convolution (S, 34): what its moving statistics say of the pictures it was trained on."""
    S = len(t["weight"])
    if "mean" not in t or "var" not in t:
        return np.zeros((S, len(PIXELS)))
    w, y, var = t["weight"], t["mean"] - t.get("bias", 0.0), t["var"]
    sums = w.sum(3)  # (S, units, inputs)
    total = sums.sum(2)
    pixel = (total * y).sum(1) / np.maximum((total * total).sum(1), 1e-12)
    grey = log(_relative(y - pixel[:, None] * total, y), 1e-9)
    # Channels of their own, held to the grey solution where the filters do not tell them apart.
    held = 1e-4 * (sums * sums).mean((1, 2))[:, None, None] * np.eye(sums.shape[2])
    normal = sums.transpose(0, 2, 1) @ sums + held + 1e-12 * np.eye(sums.shape[2])
    pull = (y[:, None] @ sums)[:, 0] + held.diagonal(0, 1, 2) * pixel[:, None]
    channels = np.linalg.solve(normal, pull[..., None])[..., 0]
    own = log(_relative(y - (sums @ channels[..., None])[..., 0], y), 1e-9)
    three = channels if channels.shape[1] == 3 else np.repeat(channels.mean(1, keepdims=True), 3, 1)
    contrasts, spreads = _contrasts(w, var, window)
    best = spreads.argmin(1)
    at = np.arange(S), best
    return np.column_stack(
        [
            *(pixel, grey, three, channels.std(1), own),
            np.stack([contrasts, spreads], 2).reshape(S, -1),
            *(np.log(_LENGTHS)[best], contrasts[at], spreads[at]),
            *_variance_parts(w, var, window),
        ]
    )


def _contrasts(w: np.ndarray, var: np.ndarray, window: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation over filters of log(var / w'Kw) for each length (S, 9): K falls off as exp(-distance / length)."""
    rows, columns = (axis.ravel() for axis in np.mgrid[: window[0], : window[1]])
    distance = np.hypot(rows[:, None] - rows, columns[:, None] - columns)
    grey = w.sum(2)[:, None]  # (S, 1, units, window)
    kernels = np.exp(-distance / np.array(_LENGTHS)[:, None, None])
    expected = ((grey @ kernels) * grey).sum(3)  # (S, 9, units)
    quotient = np.log(np.maximum(var, 1e-12))[:, None] - np.log(np.maximum(expected, 1e-12))
    return np.clip(quotient.mean(2), -20, 20), spread(quotient)


def _variance_parts(w: np.ndarray, var: np.ndarray, window: tuple[int, int]) -> list[np.ndarray]:
    """Moving variances as a sum, without negative terms, of energies of the filters: log10 of each factor, and what is left."""
    from scipy.optimize import nnls

    S, units = w.shape[:2]
    grey = w.sum(2)
    pictures = grey.reshape(S, units, *window)
    coloured = w - grey[:, :, None] / w.shape[2]
    energies = np.stack(
        [
            grey.sum(2) ** 2,
            np.einsum("soik,soik->so", w, w),
            (np.diff(pictures, axis=3) ** 2).sum((2, 3)),
            (np.diff(pictures, axis=2) ** 2).sum((2, 3)),
            (coloured.sum(3) ** 2).sum(2),
        ],
        axis=2,
    )  # (S, units, 5)
    scale = np.maximum(energies.mean(1, keepdims=True), 1e-12)
    usual = np.abs(var).mean(1) + 1e-12
    trust = usual[:, None] / (np.maximum(var, 0) + 0.01 * usual[:, None])
    # A little of each part is held back: where filters are nearly alike, one part does as well as another.
    held = np.sqrt(1e-4 * units) * np.eye(len(_PARTS))
    found = np.empty((S, len(_PARTS) + 1))
    for s in range(S):
        rows = np.concatenate([energies[s] / scale[s] * trust[s][:, None], held])
        try:
            factors, left = nnls(rows, np.append(var[s] / usual[s] * trust[s], np.zeros(len(_PARTS))))
        except RuntimeError:  # no solution within its limit of steps
            factors, left = np.zeros(len(_PARTS)), 0.0
        found[s] = [*log(factors * usual[s] / scale[s, 0], _FLOOR), left / np.sqrt(units)]
    return list(found.T)


def after(mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of act(N(mean, deviation^2)) for each of the `ACTIVATIONS`: (S, n) -> (4, S, n) each."""
    x = mean[..., None] + deviation[..., None] * _NODES
    up, down = np.maximum(x, 0), np.minimum(x, 0)
    tanh = np.tanh(x / 2)
    values = (up, up + np.expm1(down), (1 + tanh) / 2, 2 * tanh / (1 + tanh * tanh))  # the last is tanh(x)
    means = np.stack([v @ _WEIGHTS for v in values])
    squares = np.stack([(v * v) @ _WEIGHTS for v in values])
    return means, np.sqrt(np.maximum(squares - means * means, 0))


def conv_chain(t: Arrays, before: Arrays) -> np.ndarray:
    """`CONV_CHAIN` (S, 24): moving statistics of a convolution against what each activation would let it read."""
    S = len(t["weight"])
    if not ({"mean", "var"} <= t.keys() and {"beta", "gamma"} <= before.keys()):
        return np.zeros((S, len(CONV_CHAIN)))
    w, y = t["weight"], t["mean"] - t.get("bias", 0.0)
    means, deviations = after(before["beta"], np.abs(before["gamma"]))
    sums, squares = w.sum(3), np.einsum("soik,soik->soi", w, w)
    unexplained, rows = [], []
    for e, d in zip(means, deviations):
        # Pooling takes the largest of four, which moves the mean by a share of the deviation.
        left, first, second = _two_slopes((sums @ e[..., None])[..., 0], (sums @ d[..., None])[..., 0], y)
        quotient = log(np.maximum(t["var"], 0)) - log((squares @ (d * d)[..., None])[..., 0])
        unexplained.append(log(left, _FLOOR))
        rows.append([unexplained[-1], first, second, quotient.mean(1), spread(quotient)])
    best = np.min(unexplained, axis=0)
    return np.column_stack([x for row, one in zip(rows, unexplained) for x in (*row, one - best)])


def fc_chain(t: Arrays, before: Arrays, reads: str, conv: bool) -> np.ndarray:
    """`FC_CHAIN` (S, 20). reads: as `Layer.reads`; conv: whether the layer before is a convolution."""
    S = len(t["weight"])
    if not ({"mean", "var"} <= t.keys() and {"beta", "gamma"} <= before.keys() and reads):
        return np.zeros((S, len(FC_CHAIN)))
    flat, bias = t["weight"][..., 0], t.get("bias", np.zeros((S, 1)))
    beta, gamma = before["beta"], np.abs(before["gamma"])
    shape = (S, flat.shape[1], beta.shape[1], -1) if reads == "first" else (S, flat.shape[1], -1, beta.shape[1])
    axis = 3 if reads == "first" else 2
    by_unit = flat.reshape(shape)
    sums, squares = by_unit.sum(axis), (by_unit * by_unit).sum(axis)
    mean, var = t["mean"], np.maximum(t["var"], 0)
    scale = _rms(mean) + np.sqrt(var.mean(1)) + 1e-9
    read = after(beta, gamma) if conv else (np.broadcast_to(beta, (4, *beta.shape)), np.broadcast_to(gamma, (4, *gamma.shape)))
    errors, rows, first = [], [], []
    for k in range(len(ACTIVATIONS)):
        e, d = read[0][k], read[1][k]
        if k == 0 or conv:
            centre = (sums @ e[..., None])[..., 0]
            # Dropout of one half, between norm and matrix, doubles the squares.
            power = d * d if conv else 2 * d * d + e * e
            came = after(centre + bias, np.sqrt((squares @ power[..., None])[..., 0]))
        errors.append(log(_rms(mean - came[0][k]) / scale, _FLOOR))
        wrong = np.abs(np.log10((came[1][k] + _FLOOR) / (np.sqrt(var) + _FLOOR))).mean(1)
        rows.append([errors[-1], wrong])
        first.append(log(_relative(mean - bias - centre, mean - bias), _FLOOR))
    best = np.min(errors, axis=0)
    binary = np.clip((var / (np.abs(mean * (1 - mean)) + _FLOOR)).mean(1), 0, 100)
    found = [x for row, one in zip(rows, errors) for x in (*row, one - best)]
    return np.column_stack([*found, *first, mean.min(1), mean.max(1), log(var.max(1)), binary])


def output(t: Arrays, before: Arrays, outputs: int = 20, used: int = 10) -> np.ndarray:
    """`OUTPUT` (S, 25) of the paper's nets, whose labels use the first ten of twenty outputs; 0 for any other."""
    flat = t["weight"][..., 0]
    S = len(flat)
    if flat.shape[1] != outputs or "bias" not in t:
        return np.zeros((S, len(OUTPUT)))
    bias, rows, rest = t["bias"], flat[:, :used], flat[:, used:]
    mean = rest.mean(1)
    found = dict.fromkeys(OUTPUT, np.zeros(S))
    centred = rest - rest.mean(2, keepdims=True)
    length = np.sqrt((centred * centred).sum(2))
    unit = centred / np.maximum(length, 1e-12)[..., None]
    cosines = (unit.sum(1) ** 2).sum(1) - (unit * unit).sum((1, 2))
    low, high = bias[:, used:], bias[:, :used]
    weights = log(_rms(rest.reshape(S, -1))), log(_rms(rows.reshape(S, -1)))
    said = [low.mean(1), log(low.mean(1)), log(spread(low)), high.mean(1), log(spread(high))]
    said += [*weights, weights[0] - weights[1], cosines / (used * (used - 1)), log(_rms(mean))]
    said += [log(_rms((rest - mean[:, None]).reshape(S, -1)))]
    found |= zip(OUTPUT, said)
    found["deviation of column sums"] = spread(flat.sum(1))
    found |= zip(OUTPUT[-used:], np.sort(high, axis=1).T)
    if {"beta", "gamma"} <= before.keys() and before["beta"].shape[1] == flat.shape[2]:
        found["unused mean ~ beta"] = correlation(mean, before["beta"])
        logits = (flat @ before["beta"][..., None])[..., 0] + bias
        found["gap of logits"] = logits[:, :used].mean(1) - logits[:, used:].mean(1)
        width = np.sqrt(((flat * flat) @ (before["gamma"] ** 2)[..., None])[..., 0])
        found["log deviation of logits"] = log(width.mean(1))
    return np.column_stack(list(found.values()))


def _two_slopes(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares of y on a and b, all (S, n): what is left relative to y, and both slopes (S,), cut to +-5."""
    # b apart from a, not the determinant of both: where channels are nearly alike, a and b are nearly parallel.
    aa, bb = (a * a).sum(1) + 1e-20, (b * b).sum(1) + 1e-20
    along = (a * b).sum(1) / aa
    apart = b - along[:, None] * a
    second = (apart * y).sum(1) / ((apart * apart).sum(1) + 1e-4 * bb)
    first = (a * (y - second[:, None] * b)).sum(1) / aa
    left = _relative(y - first[:, None] * a - second[:, None] * b, y)
    return left, np.clip(first, -5, 5), np.clip(second, -5, 5)


def _relative(left: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt((left * left).sum(1) / np.maximum((y * y).sum(1), 1e-20))


def _rms(x: np.ndarray) -> np.ndarray:
    return np.sqrt((x * x).mean(1))


def _deviation(var: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(var, 0))
