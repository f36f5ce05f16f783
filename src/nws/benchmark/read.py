"""nws benchmark read: every reader on every track, row by row; what is known already is not computed again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nws import __version__, atomic
from nws.benchmark import zoos
from nws.benchmark.scoring import BASELINES, Row, Scorer
from nws.benchmark.tracks import Trial, trials
from nws.errors import NwsError, unknown
from nws.meta import METAS
from nws.progress import Doing, Pace, within
from nws.recorded import printable
from nws.tasks.results import digest, provenance, zoo_state

# Who takes part where nobody is named; a name that is no meta-classifier here is left out.
WHOLE = ("prior", "accuracy", "svm-linear-16", "svm-rbf-16", "svm-linear-480", "tensors")
SLICED = ("prior", "svm-rbf-16", "slices", "slice-net", "dmc")
_BY_STEPS = "max_steps"


def models_of(trial: Trial, chosen: Sequence[str]) -> list[str]:
    """Who is asked this question."""
    names = chosen or (WHOLE if trial.slice_length is None else SLICED)
    return [name for name in names if name in BASELINES or name in METAS]


def fresh_seed() -> int:
    """A seed that nobody knew before: tests on nets of it cannot have leaked."""
    return secrets.randbelow(2**31 - 10_000) + 10_000


def benchmark_read(
    folder: str | Path,
    *,
    scale: str = "small",
    seed: int | None = None,
    tracks: Sequence[str] = (),
    models: Sequence[str] = (),
    workers: int | None = None,
    data: str | Path | None = None,
    on_progress: Callable[[str], None] = lambda doing: None,
) -> list[Row]:
    """Rows of readers of weights on all tracks of a scale ("tiny", "small", "full").

    folder   keeps zoos and rows; the same call goes on where it stopped, another seed uses the same training zoos
    seed     of the nets that are tested on, which are trained now; None draws a fresh one. Never that of the training zoos
    tracks   beginnings of names of tracks (`nws.benchmark.tracks`); none: all
    models   names of `nws.meta.METAS`, "prior" or "accuracy"; none: those that suit a track
    workers  processes that train the zoos; scoring is one process, so that times mean something

    NwsError for unknown names and for a seed that is public.
    """
    size, folder = zoos.scale(scale), Path(folder) / scale
    for name in models:
        if name not in (*BASELINES, *METAS):
            raise unknown("model", name, (*BASELINES, *METAS))
    seed = fresh_seed() if seed is None else seed
    if seed == zoos.PUBLIC_SEED:
        raise NwsError(f"seed {seed} is that of the nets to learn from: name another one")
    asked = list(trials(size, tuple(tracks)))
    if not asked:
        raise unknown("track", tracks[0], sorted({t.track for t in trials(size)}))
    learn_kinds, test_kinds = ({getattr(t, side): None for t in asked} for side in ("learn", "test"))
    how: dict[str, Any] = {"workers": workers, "data": data, "on_progress": within(on_progress, "zoos", 0, 0.5)}
    learn = {kind: zoos.to_learn_from(folder, size, kind, **how) for kind in learn_kinds}
    test = {kind: zoos.fresh(folder, size, kind, seed, **how) for kind in test_kinds}
    scorer = Scorer(learn, test, _settings(size.steps), seed)
    work = [(trial, model) for trial in asked for model in models_of(trial, models)]
    store = _Store(folder / f"rows-{seed}.json", [zoo_state(zoo) for zoo in (*learn.values(), *test.values())])
    pace = Pace([(f"{model}, {trial.slice_length}", 1.0) for trial, model in work])
    rows = []
    for trial, model in work:
        on_progress(Doing(f"{trial.track}: {trial.target} by {model}", 0.5 + pace.share / 2))
        rows.append(store.row(trial, model, lambda trial=trial, model=model: scorer.row(trial, model)))  # type: ignore[misc]
        pace.done(f"{model}, {trial.slice_length}", (rows[-1].train_seconds or 0) + 0.05)
    return rows


def _settings(steps: int) -> Mapping[str, Mapping[str, Any]]:
    """Constructor arguments: the same number of steps for all that learn by steps."""
    return {name: {_BY_STEPS: steps} for name, make in METAS.items() if _BY_STEPS in make().get_params()}


class _Store:
    """Rows in a JSON file, by all that they depend on."""

    def __init__(self, path: Path, states: Sequence[str]):
        self.path, self.states = path, list(states)
        self.rows: dict[str, Any] = {}
        if path.exists():
            try:
                self.rows = dict(json.loads(path.read_text("utf-8"))["rows"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise NwsError(f"{path} cannot be read ({printable(error)[:200]}): move it away, it is made anew") from None

    def row(self, trial: Trial, model: str, made: Callable[[], Row]) -> Row:
        key = digest([asdict(trial), model, self.states, __version__])
        if key not in self.rows:
            self.rows[key] = made().to_dict()
            text = json.dumps({"about": provenance(), "rows": self.rows}, indent=1)
            atomic.write_whole(self.path, text.encode())
        return Row.of(self.rows[key])
