"""What is asked of a zoo's weights, and how much is spent on the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from nws import tables
from nws.analysis.statistics import usable
from nws.errors import NwsError
from nws.layout import PARTS
from nws.tasks.evaluation import evaluate, first_fit
from nws.tasks.inputs import Inputs
from nws.tasks.protocol import Result, Task
from nws.tasks.results import Fitted

FEWEST = 4  # nets of an option: less cannot stand on both sides of a split and mean anything


@dataclass(frozen=True)
class Effort:
    """What may be spent. The numbers of the paper are those of FULL: F.1, Figs. 2 and 4.

    rounds        repetitions of the SVMs
    dmc_rounds    of the DMC, with `dmc_steps` training steps on slices of `slice_length`
    dmc_parts     of which it learns; a quick answer leaves conv and FC weights alone to the RBF SVM
    dmc_properties   that it learns, if the zoo has them, for each costs minutes; none: all
    global_steps  training steps of the DMC that reads whole nets; 0: in its place stands the one that reads slices
    converged     only nets above the paper's thresholds of accuracy; else all that trained, for a small zoo has few
    """

    rounds: int
    dmc_rounds: int
    dmc_steps: int
    dmc_parts: tuple[str, ...]
    dmc_properties: tuple[str, ...]
    slice_length: int
    global_steps: int
    converged: bool

    def dmc(self, steps: int) -> dict[str, Any]:
        return {"epochs": steps, "max_steps": steps}  # an epoch is a step at least: exactly so many steps


QUICK = Effort(
    rounds=10,
    dmc_rounds=1,
    dmc_steps=300,
    dmc_parts=("all",),
    dmc_properties=("dataset", "optimizer", "initialization"),
    slice_length=1000,
    global_steps=0,
    converged=False,
)
FULL = Effort(
    rounds=10,
    dmc_rounds=10,
    dmc_steps=125_000,
    dmc_parts=PARTS,
    dmc_properties=(),
    slice_length=5000,
    global_steps=11_000,
    converged=True,
)


@dataclass(frozen=True)
class Study:
    """One zoo under one effort. `out`: a folder for rows, models and pieces of tables, so that nothing is computed twice."""

    inputs: Inputs
    effort: Effort
    out: Path | None = None
    on_progress: Callable[[str], None] = lambda doing: None

    def properties(self, among: Iterable[str] | None = None) -> list[str]:
        """Those to be read here: no regressions, at least two options, none too rare. NotForThisZooError when there is none.

        among   names; None: all that the zoo knows, those that only its foreign source recorded included
        """
        known = self.inputs.zoo.properties
        among = list(known if among is None else self.usual(among))
        table, _ = usable(self.inputs.zoo, converged=self.effort.converged)
        found = []
        for name in among:
            if name in known and not known[name].continuous:
                counts = table[name].value_counts()
                if len(counts) > 1 and counts.min() >= FEWEST:
                    found.append(name)
        if not found:
            raise tables.NotForThisZooError(
                f"no property to be read: at least two options with {FEWEST} nets each are needed, of {', '.join(among)}"
            )
        return found

    def usual(self, names: Iterable[str]) -> list[str]:
        """The paper's choice of properties; where the family lacks some, others in which its nets differ stand in for them."""
        names, own = list(names), {p.name: p for p in self.inputs.zoo.family.properties}
        if set(names) <= set(own):
            return names
        differ = [name for name in self.inputs.zoo.varying() if name in own and not own[name].continuous]
        return sorted(differ, key=lambda name: name not in names)[: len(names)] or names

    def for_dmc(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that the DMC is to learn; the first three of a zoo that has none of the usual ones."""
        asked = self.effort.dmc_properties or names
        return [name for name in names if name in asked] or list(names[:3])

    def last(self, n: int) -> tuple[int, ...]:
        """Numbers of the last n snapshots that all nets have."""
        last = int(self.inputs.zoo.index["snapshots"].min())
        return tuple(range(max(1, last - n + 1), last + 1))

    @cached_property
    def slice_length(self) -> int:
        """Weights of a slice: as the effort says, or half of the smallest net where even the largest is shorter than that."""
        sizes = self.inputs.zoo.index["weights"]
        return self.effort.slice_length if sizes.max() >= self.effort.slice_length else max(2, int(sizes.min()) // 2)

    def why_not(self, task: Task) -> str:
        """Why the task cannot be put to this zoo: too few nets have such a part, or are long enough for its slices. Or ""."""
        zoo = self.inputs.zoo
        length = task.slice_length if isinstance(task.slice_length, int) else None
        try:
            table, _ = zoo.select(task.property, converged=task.converged, part=task.part, slice_length=length)
        except NwsError as error:
            return str(error)
        for name, value in task.only.items():
            table = table[table[name] == value]
        if task.without:
            left = [zoo.layout(int(net)).without(task.without).size_of(task.part) for net in table.index]
            table = table[[size >= (length or 1) for size in left]]
        counts = table[task.property].value_counts()
        if len(counts) > 1 and counts.min() > 1:
            return ""
        short = f" have slices of {length:,} weights and" if length else ""
        return f"too few nets{short} differ in {task.property}"

    def possible(self, tasks: Sequence[Task]) -> list[Task]:
        """Those that can be put to this zoo."""
        return [task for task in tasks if not self.why_not(task)]

    def asked(self, tasks: Sequence[Task]) -> list[Task]:
        """The same where one is needed: NotForThisZooError when there is none."""
        if not (found := self.possible(tasks)):
            raise tables.NotForThisZooError(self.why_not(tasks[0]) if tasks else "its nets are shorter than the shortest slice")
        return found

    def parts(self, among: Iterable[str] = PARTS) -> list[str]:
        """Without conv and fc where the nets have but one of the two, which is then all of them."""
        frame = self.inputs.zoo.index
        both = (frame["weights_conv"] > 0).any() and (frame["weights_conv"] < frame["weights"]).any()
        return [part for part in among if both or part == "all"]

    def whole(self, name: str) -> Task:
        """Reading whole nets: of the last four snapshots (F.1)."""
        return Task(name, self.last(4), slice_length="whole", converged=self.effort.converged)

    def local(self, name: str, length: int | None = None, part: str = "all", **changes: Any) -> Task:
        """Reading slices: of the last two snapshots (F.1)."""
        length = length or self.slice_length
        return Task(name, self.last(2), slice_length=length, part=part, converged=self.effort.converged, **changes)

    def svms(self, tasks: Sequence[Task], names: Sequence[str]) -> list[Result]:
        return evaluate(names, tasks, self.inputs, rounds=self.effort.rounds, out=self.out, on_progress=self.on_progress)

    def dmc(self, tasks: Sequence[Task], steps: int | None = None) -> list[Result]:
        settings = {"dmc": self.effort.dmc(steps or self.effort.dmc_steps)}
        rounds = self.effort.dmc_rounds
        return evaluate(["dmc"], tasks, self.inputs, rounds=rounds, out=self.out, settings=settings, on_progress=self.on_progress)

    def first_dmc(self, task: Task) -> Fitted:
        """The DMC of the first round, which `dmc` kept if it was asked before."""
        settings, rounds = self.effort.dmc(self.effort.dmc_steps), self.effort.dmc_rounds
        return first_fit(self.inputs, task, "dmc", rounds=rounds, out=self.out, settings=settings, on_progress=self.on_progress)

    def piece(self, name: str, make: Callable[[], pd.DataFrame], **settings: Any) -> pd.DataFrame:
        """One piece of a long table, made once for the same zoo, effort and settings."""
        if self.out is None:
            return make()
        about = tables.about(self.inputs.zoo, {**asdict(self.effort), "seed": self.inputs.seed, **settings})
        folder = self.out / "pieces"
        if not tables.is_current(folder, name, about["key"]):
            frame = make()
            frame.attrs["about"] = about
            tables.save(frame, folder, name)
        return tables.load(folder, name)
