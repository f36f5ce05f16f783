"""Linear regression of test accuracy from hyper-parameters, one model per image set (section 4.2 and supplement D of the paper).

The model is the paper's equation 3: a constant, the learning rate, and one indicator for each option of each other property,
34 coefficients for the whole space. The indicators of a property add up to the constant, so the fit alone does not determine the
coefficients, and the paper does not say which of the equally good ones it shows. Here those of a property add up to zero: each is
the effect of its option against the mean of the property's options, whichever options happen to be frequent, and its p-value tests
just that. (Those of least norm, which software gives that knows of no constraint, mix the properties' imbalances: of two options
one can then be significant and the other not.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg

from nws.analysis.statistics import image_sets, usable
from nws.families.cnn2020 import CNN2020, PROPERTIES
from nws.families.space import Property
from nws.tables import NotForThisZooError
from nws.zoo import Zoo

LEAST_FREEDOM = 10  # residual degrees of freedom: with fewer nets to spare, estimates and p-values are worth nothing
FOLDS, REPEATS = 10, 10


@dataclass(frozen=True)
class Design:
    """The nets of one image set: x (N, K) with named columns (property, option), y (N,) of mean 0 and variance 1."""

    columns: tuple[tuple[str, str], ...]
    x: np.ndarray
    y: np.ndarray

    @property
    def spanned(self) -> np.ndarray:
        """(K, R): the coefficients that are allowed, as combinations of R free ones; within a property they add up to zero."""
        blocks = []
        for name in dict.fromkeys(name for name, _ in self.columns):
            k = sum(name == other for other, _ in self.columns)
            blocks.append(np.vstack([np.eye(k - 1), -np.ones(k - 1)]) if k > 1 else np.eye(1))
        return linalg.block_diag(*blocks)


def design(frame: pd.DataFrame, known: Mapping[str, Property] = PROPERTIES) -> Design:
    """Rows of the index -> design matrix of the known properties. Those that are the same in all of them, or that one of them
    did not record, have no column; numbers such as the learning rate are given in standard deviations from their mean."""
    columns, values = [("constant", "")], [np.ones(len(frame))]
    for name, property_ in known.items():
        present = frame[name]
        if name == "dataset" or present.nunique() < 2 or present.isna().any():
            continue
        if property_.continuous:
            columns.append((name, ""))
            values.append(((present - present.mean()) / present.std(ddof=0)).to_numpy(float))
        else:
            options = [o for o in property_.options if (present == o).any()]
            options += sorted(set(present.tolist()) - set(options))
            columns += [(name, property_.label(option)) for option in options]
            values += [(present == option).to_numpy(float) for option in options]
    accuracy = frame["test_accuracy"].to_numpy(float)
    return Design(tuple(columns), np.stack(values, 1), (accuracy - accuracy.mean()) / (accuracy.std() or 1.0))


def designs(zoo: Zoo) -> tuple[dict[str, Design], list[str]]:
    """Image set -> design of its converged nets, and notes on the sets that have too few."""
    if not zoo.index["test_accuracy"].notna().any():
        raise NotForThisZooError("no net of this zoo has a test accuracy")
    frame, _ = usable(zoo, converged=True)
    own = zoo.annotations.columns  # a user's columns may be measured ones: no choices that explain an accuracy
    known = {name: property_ for name, property_ in zoo.properties.items() if name not in own}
    found, notes = {}, []
    for name, rows in frame.groupby(image_sets(frame)):
        one = design(rows, known)
        free = one.spanned.shape[1]
        if len(rows) < free + LEAST_FREEDOM or rows["test_accuracy"].nunique() < 2:
            needed = f"{free} free coefficients need {free + LEAST_FREEDOM}"
            notes.append(f"{name} is left out: {len(rows)} converged nets, {needed}")
        elif np.linalg.matrix_rank(one.x @ one.spanned) < free:
            notes.append(f"{name} is left out: in its {len(rows)} converged nets two properties always go together")
        else:
            found[str(name)] = one
    if not found:
        largest = image_sets(frame).value_counts().idxmax()
        raise NotForThisZooError(f"no regression: {next(note for note in notes if note.startswith(f'{largest} '))}")
    return found, notes


def regression(zoo: Zoo) -> pd.DataFrame:
    """Coefficients per image set (Figs. 1 and 14), a row for each option of each property.

    Columns: dataset, property, option (empty for constant and learning_rate), coefficient, error (its standard error), p,
    low, high (95% interval), star (p > 5%), nets, r2. Coefficients are in standard deviations of the accuracy.
    """
    from statsmodels.api import OLS

    found, notes = designs(zoo)
    rows = []
    for name, d in found.items():
        fit = OLS(d.y, d.x @ d.spanned).fit()
        tested = fit.t_test(d.spanned)
        each = zip(d.columns, tested.effect, np.ravel(tested.sd), np.ravel(tested.pvalue), tested.conf_int(), strict=True)
        for (property_, option), b, error, p, (low, high) in each:
            rows.append((name, property_, option, b, error, p, low, high, p > 0.05, len(d.y), fit.rsquared))
    names = ["dataset", "property", "option", "coefficient", "error", "p", "low", "high", "star", "nets", "r2"]
    table = pd.DataFrame(rows, columns=names)
    table.attrs["notes"] = [*_coefficients(found, zoo), *notes]
    return table


def _coefficients(found: dict[str, Design], zoo: Zoo) -> list[str]:
    """How many coefficients there are, and why, of the paper's nets, not the paper's 34."""
    counts = sorted({len(d.columns) for d in found.values()})
    sentence = f"{counts[0]} coefficients" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} coefficients"
    present = {property_ for d in found.values() for property_, _ in d.columns}
    same = [name for name in PROPERTIES if name not in present and name not in ("dataset", "batch_norm")]
    if zoo.family is not CNN2020:
        same = [p.name for p in zoo.family.properties if p.name not in present and p.name != "dataset"]
        sentence += f" (the same in all nets: {', '.join(same).replace('_', ' ')})" if same else ""
    elif same:
        sentence += f" (the paper's whole space has 34; the same in all nets: {', '.join(same).replace('_', ' ')})"
    elif counts != [34]:
        sentence += " (the paper's whole space has 34; not every option has a converged net)"
    return [sentence]


def error(zoo: Zoo, seed: int = 0) -> pd.DataFrame:
    """Error of the linear model on nets it has not seen, against always saying the mean of those it has (Fig. 15a).

    Columns: dataset, model ("linear", "constant"), error (root of the mean squared error in standard deviations of the accuracy,
    10 repeats of 10-fold cross-validation), low, high (95% interval over nets), nets.
    """
    found, notes = designs(zoo)
    rows = []
    for name, d in found.items():
        for model in ("linear", "constant"):
            squared = _squared_errors(d, model == "linear", np.random.default_rng(seed))
            reach = 1.96 * squared.std(ddof=1) / np.sqrt(len(squared))
            mean = squared.mean()
            rows.append((name, model, *np.sqrt([mean, max(mean - reach, 0), mean + reach]), len(squared)))
    table = pd.DataFrame(rows, columns=["dataset", "model", "error", "low", "high", "nets"])
    table.attrs["notes"] = notes
    return table


def _squared_errors(d: Design, linear: bool, rng: np.random.Generator) -> np.ndarray:
    """(N,) squared error of each net when it was left out, mean over repeats. The same folds for the same generator."""
    x = d.x if linear else d.x[:, :1]
    total = np.zeros(len(d.y))
    for _ in range(REPEATS):
        for fold in np.array_split(rng.permutation(len(d.y)), FOLDS):
            rest = np.setdiff1d(np.arange(len(d.y)), fold)
            fitted = np.linalg.lstsq(x[rest], d.y[rest], rcond=None)[0]
            total[fold] += (d.y[fold] - x[fold] @ fitted) ** 2
    return total / REPEATS


def correlation(table: pd.DataFrame) -> pd.DataFrame:
    """Pearson correlation of the coefficients of each pair of image sets (Fig. 15b). table: `regression`.

    Columns: a, b, correlation, coefficients (how many). Over the options that both sets have; the constant, which says nothing
    of tuning, is left out.
    """
    wide = table[table["property"] != "constant"].pivot(index=["property", "option"], columns="dataset", values="coefficient")
    if wide.shape[1] < 2:
        raise NotForThisZooError("a correlation between image sets needs two of them with enough converged nets")
    pairs = [(a, b) for a in wide.columns for b in wide.columns]
    rows = [(a, b, wide[a].corr(wide[b]), int((wide[a].notna() & wide[b].notna()).sum())) for a, b in pairs]
    result = pd.DataFrame(rows, columns=["a", "b", "correlation", "coefficients"])
    result.attrs["notes"] = table.attrs.get("notes", [])[1:]
    return result
