"""Zoo: many nets in one folder."""

from __future__ import annotations

import contextlib
import operator
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nws.errors import NwsError, unknown
from nws.families import CNN2020, Family
from nws.families.space import Config, Property, Space
from nws.layout import Layout
from nws.net import Net, at_snapshots
from nws.recorded import Recorded
from nws.zoo import annotated, describe, failed, packing, scan, verify, writers, writing
from nws.zoo import select as selection
from nws.zoo.index import Index, View
from nws.zoo.plan import Plan
from nws.zoo.properties import properties
from nws.zoo.reader import ThetaReader, check_road, fits_in_memory
from nws.zoo.rows import Columns, typed_columns
from nws.zoo.select import split
from nws.zoo.shardfile import NETS

if TYPE_CHECKING:
    import pandas as pd

    from nws.zoo.dataset import ZooDataset

_FEW = 100  # nets whose files are asked for one by one


class Zoo:
    """An existing zoo, opened. Nets are numbered from 0, their snapshots from 1.

    Several processes may read and append at once: whatever is listed is whole. NwsError when `path` is no zoo or was made by a
    newer nws.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._plan = Plan.read(self.path)
        self._columns = Columns.of(self._plan.family)
        self._reader = ThetaReader(self.path)
        self._index = Index(self.path, self._columns)
        self._road = ""  # how "auto" slices are read: by the size of the zoo
        self._stamp: scan.Stamp | None = None  # of the folders, when the index was made
        self._annotated: tuple[Any, pd.DataFrame] | None = None  # the file's stamp, and what it holds

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        space: Space | None = None,
        seed: int = 0,
        *,
        family: Family | None = None,
        nets: int | None = None,
        images: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Zoo:
        """Make a zoo, or open the one that was made with the same settings, to go on with it.

        family: of the nets, where no space says it, the paper's; nets: planned number (it may grow); images: name -> about, with
        its "sha256"; settings: whatever else decides what the nets are (epochs, limit ...), JSON values. NwsError when the folder
        holds something else, a zoo made with other settings (they are named), or cannot be written.
        """
        root = Path(path)
        if family is None and "imported" not in settings:
            family = space.family if space else CNN2020
        wanted = Plan.make(family, space, seed, nets, images or {}, settings)
        writing.make(root, wanted, compare_images=images is not None)
        return cls(root)

    def __repr__(self) -> str:
        return f"Zoo({str(self.path)!r}, {len(self)} nets)"

    def __len__(self) -> int:
        return len(self.numbers())

    def __getitem__(self, number: int) -> Net:
        """The whole net of this number, as `net`; IndexError when there is none."""
        if not self._reader.has(operator.index(number)):
            raise IndexError(f"{self.path} has no net {number}")
        return self.net(number)

    def __iter__(self) -> Iterator[Net]:
        """Every net, in the order of the numbers, read when it is its turn."""
        return (self.net(number) for number in self.numbers())

    def _repr_html_(self) -> str:
        return describe.html_table(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Zoo, (self.path,)  # open files stay behind when a zoo is sent to another process

    @property
    def format(self) -> int:
        """Of zoo.json (docs/format.md): 4 once nets lie in shards."""
        return int(self._plan["format"])

    @property
    def seed(self) -> int:
        return int(self._plan["seed"])

    @property
    def planned(self) -> int | None:
        """How many nets the zoo is to have, or None when nobody said."""
        return None if self._plan["nets"] is None else int(self._plan["nets"])

    @property
    def family(self) -> Family:
        """The family of the nets; of a family whose code is elsewhere what the zoo remembers of it, its table of properties."""
        return self._plan.family

    @property
    def space(self) -> Space | None:
        return self._plan.space

    @property
    def images(self) -> Mapping[str, Any]:
        return dict(self._plan["images"])

    @property
    def settings(self) -> Mapping[str, Any]:
        return dict(self._plan["settings"])

    # -- nets in -------------------------------------------------------------------------------------------------------------

    def append(self, net: Net, split: str | None = None) -> None:
        """Store a net: whole or not at all, on disk when this returns.

        split: its side ("train", "test") where the source fixes one, else by the zoo's rule. TakenError when the number is taken,
        NwsError when the disk is full or fails: then nothing is left of the net and the zoo stays valid.
        """
        side = self.split(net.number) if split is None else split
        writing.append(self.path, net, side, self.family, self._reader.has)

    def append_many(self, nets: Iterable[Net | tuple[Net, str]]) -> int:
        """Store small nets in shards, up to 256 to a file, as they come; returns how many. Give them in the order of the numbers.

        nets: each alone, with its side by the zoo's rule, or as (net, split). A shard is on disk, whole and read back, or not;
        it is written when it is full, or all its thousand numbers were given. Raises as `append`; earlier shards stay. Older
        versions of nws ask for an upgrade when they open a zoo with shards.
        """
        self._plan = writing.mark_packed(self.path, self._plan)
        sided = (net if isinstance(net, tuple) else (net, self.split(net.number)) for net in nets)
        return writing.append_many(self.path, sided, self.family, self._reader.has)

    def pack(self, nets_per_shard: int = NETS, on_progress: verify.Progress | None = None) -> packing.Summary:
        """Put small nets together in shards, of so many nets and 64 MB at most: by the thousand, files are slow to open.

        A net's file goes once its shard is on disk and read back; a stopped call is gone on with by the next. Shards with less than
        half of that are put together too. NwsError while another program fills the zoo. on_progress(done, of) hears of files.
        """
        with self.only_writer():
            self._plan = writing.mark_packed(self.path, self._plan)
            try:
                return packing.pack(self.path, nets_per_shard, on_progress)
            finally:
                self._reader.forget()

    def mark_failed(self, number: int, why: str) -> None:
        """Note that a net could not be trained: `failed` lists it until it is appended. NwsError when that cannot be written."""
        try:
            failed.mark(self.path, number, why)
        except OSError as error:
            raise NwsError(f"{failed.path(self.path, number)}: cannot be written ({error.strerror}): free some space") from None

    def only_writer(self, doing: str = "writing to") -> contextlib.AbstractContextManager[None]:
        """`with zoo.only_writer(): ...`: nobody else writes to the zoo meanwhile. NwsError that names who does already."""
        return writers.only_writer(self.path, doing)

    @property
    def writers(self) -> list[writers.Writer]:
        """The processes that write to the zoo now, on whichever machine."""
        return writers.at_work(self.path)

    def split(self, number: int) -> str:
        """ "train" or "test" by the zoo's rule: one net in every four consecutive numbers is a test net."""
        return split(self.seed, number)

    def numbers(self) -> list[int]:
        """Numbers of the nets that are there, from the files' names and the shards' tables alone."""
        return sorted(self._present())

    def missing(self, among: range | None = None) -> list[int]:
        """Numbers that are planned, or of `among`, and not there: what is left to train."""
        among = range(self.planned or 0) if among is None else among
        there = self._reader.has if len(among) < _FEW else self._present().__contains__
        return [number for number in among if not there(number)]

    @property
    def failed(self) -> dict[int, str]:
        """Nets that could not be trained and are still missing: number -> why. The next `nws sample` tries them again."""
        return {number: why for number, why in failed.marks(self.path).items() if not self._reader.has(number)}

    def annotate(self, frame: pd.DataFrame, replace: bool = False) -> None:
        """Add columns of one's own: properties of these nets from now on, for `nws.evaluate`, figures and the report.

        frame: a row per net, its number in a column "net" or as the frame's index; text, numbers or switches, NaN where a net has
        none; nets may be absent. They lie in annotations.json, and stay when the index is made anew. NwsError for a net that is
        not there, a name that the index has, or one that was added before, unless replace; then the zoo is as before.
        """
        self._look()
        taken = self._columns.shown(self._index.frame())
        try:
            with self.only_writer("annotating"):
                annotated.write(self.path, annotated.added(self.annotations, frame, self.numbers(), taken, replace))
        except OSError as error:
            raise NwsError(f"{self.path / annotated.FILE}: cannot be written ({error.strerror}): nothing was changed") from None

    # -- nets out ------------------------------------------------------------------------------------------------------------

    @property
    def index(self) -> pd.DataFrame:
        """One row per net, by number: hyper-parameters, split, status, sizes, accuracies ... (docs/format.md). A copy.

        Of foreign nets what is not recorded is missing, and what only they have stands in columns at the end, as do those of
        `annotate`.
        """
        return self._frame()

    def view(self) -> pd.DataFrame | View:
        """As `index`; of a large zoo columns are read from disk when they are asked for, `view["status"]`, numbered from 0."""
        self._look()
        return self._frame() if len(self.annotations.columns) else self._index.view()

    @property
    def annotations(self) -> pd.DataFrame:
        """The columns that `annotate` added, by net. A copy."""
        found = annotated.stamp(self.path)
        if self._annotated is None or self._annotated[0] != found:
            self._annotated = found, annotated.read(self.path)
        return self._annotated[1].copy()

    @property
    def properties(self) -> dict[str, Property]:
        """What is known of the nets' trainings, by name: our hyper-parameters, and what the source of foreign nets recorded."""
        frame = self.view()
        return properties(frame, self.family, self._columns.recorded(frame))

    @property
    def damaged(self) -> list[tuple[str, str]]:
        """Files that the index leaves out, as (path, why). `verify` looks closer."""
        self._look()
        return [*self._index.damaged]

    def refresh(self) -> None:
        """Look at every file again. Needed only when one was changed in place; new nets are seen without."""
        now, taken = time.time_ns(), scan.stamp(self.path)
        if self._index.refresh():
            self._reader.forget()
        self._road = ""
        self._stamp = taken if scan.settled(taken, now) else None

    def net(self, number: int) -> Net:
        """The whole net, every byte checked. NwsError when it is not there or damaged."""
        return self._reader.net(operator.index(number))

    def records(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """epoch (S,) and history (T, M) of a net (`Net.measures`), without reading its weights. Raises as `net`."""
        return self._reader.records(operator.index(number))

    def measured(self, number: int) -> dict[str, np.ndarray]:
        """What was measured at each snapshot of a net: name -> (S,) float64, NaN where nothing was. Raises as `net`."""
        found = at_snapshots(*self.records(number))
        return dict(zip(self._reader.header(operator.index(number)).measures, found.T, strict=True))

    def theta(self, net: int, snapshot: int | None = None) -> np.ndarray:
        """(P,) float32 of one snapshot, numbered 1 to S, or (S, P) of all. A copy; checksums are `net`'s and `verify`'s matter."""
        return self._reader.theta(operator.index(net), None if snapshot is None else operator.index(snapshot))

    def layout(self, net: int) -> Layout:
        """Where each weight of the net lies in theta."""
        return self._reader.layout(operator.index(net))

    def config(self, net: int) -> Config | Recorded:
        return self._reader.header(operator.index(net)).hp  # what was chosen, or what the source of a foreign net recorded

    def layouts(self, nets: Iterable[int] | None = None) -> set[Layout]:
        """The different layouts of these nets, or of all: one means that they have one architecture."""
        return set(map(self.layout, self.numbers() if nets is None else nets))

    def slices(self, nets: Any, snapshots: Any, starts: Any, length: int, via: str = "auto") -> np.ndarray:
        """(n, L) float32: slice i is theta(nets[i], snapshots[i])[starts[i] : starts[i] + L]. Arguments are broadcast.

        via: "pread" for files that are not in memory, "memmap" for those that are, "auto" by the size of the zoo.
        """
        check_road(via)
        if via == "auto":
            if not self._road:
                self._road = "memmap" if fits_in_memory(int(self._frame()["bytes"].sum())) else "pread"
            via = self._road
        return self._reader.slices(nets, snapshots, starts, length, via)

    def vectors(self, nets: Any, snapshots: Any, part: str = "all") -> list[np.ndarray]:
        """Read-only views (P_part,) of theta(nets[i], snapshots[i]), read from disk when used. Arguments are broadcast."""
        return self._reader.vectors(nets, snapshots, part)

    def select(
        self,
        property: str | None = None,
        *,
        converged: bool | Mapping[str, float] = False,
        split: str | None = None,
        part: str = "all",
        slice_length: int | None = None,
    ) -> tuple[pd.DataFrame, list[str]]:
        """Rows of the index that a task may use, and notes that say why others are left out, or which options no net has.

        Diverged nets are always left out, and those whose part is shorter than a slice. converged: True for the paper's
        thresholds on the last test accuracy, or a mapping image set -> accuracy over them. NwsError when no net remains.
        """
        known = None if property is None else self._property(property)
        return selection.select(self._frame(), self.space, known, converged, split, part, slice_length)

    def varying(self) -> list[str]:
        """The properties that can be told apart here: those that are not the same in every net that trained."""
        frame = self._frame()
        usable = frame[frame["status"] == "ok"]
        return [name for name in self.properties if usable[name].nunique() > 1]

    def load(
        self,
        property: str,
        snapshots: Any = None,
        part: str = "all",
        slice_length: int | None = None,
        balance: bool = False,
        seed: int = 0,
        **which: Any,
    ) -> tuple[Any, np.ndarray]:
        """(X, y) for scikit-learn: weights, and the property's values.

        snapshots: numbers, or None for each net's last; slice_length: one random slice of each vector instead of the whole;
        balance: as many nets per option as the rarest has; which: `converged` and `split` of `select`. X is (n, P) float32, or a
        list of n vectors where nets differ in size. Rows go net by net, and within a net in the order of `snapshots`: near-twins,
        so cross-validate by net, or use split="train" and "test".
        """
        return selection.load(self, property, snapshots, part, slice_length, balance, seed, **which)

    def torch(self, target: str, view: str = "weights", **options: Any) -> ZooDataset:
        """The zoo as a `torch.utils.data.Dataset` of (x, y), or of tokens (x, mask, y), of a property, an own column, or what was
        measured; see `nws.zoo.dataset.ZooDataset`, also for the options: snapshots, split, part, slice_length, per_vector."""
        from nws.zoo.dataset import ZooDataset

        return ZooDataset(self, target, view, **options)

    # -- care ----------------------------------------------------------------------------------------------------------------

    def verify(self, repair: bool = False, progress: verify.Progress | None = None) -> verify.Report:
        """Read every byte of every net and check it against what was written. progress(done, of) is called after each net.

        repair: move damaged files to damaged/, remove temporary files of killed processes, rebuild the index. NwsError when the
        folder cannot be written."""
        try:
            report = verify.verify(self.path, self._plan, repair, progress)
        except OSError as error:
            raise NwsError(f"{self.path}: cannot be repaired ({error.strerror}): see that you may write to it") from None
        if repair:
            self._reader.forget()
            self._index = Index(self.path, self._columns)
            self.refresh()
        return report

    def summary(self) -> dict[str, Any]:
        """The zoo in numbers, as JSON can hold it: counts by option, accuracies, sizes, seconds of training, settings."""
        return describe.summary(self)

    def card(self) -> str:
        """README.md text that makes the folder a Hugging Face data set whose table is the index."""
        return describe.card(self)

    def _frame(self) -> pd.DataFrame:
        self._look()
        frame = self._index.frame()
        return annotated.joined(frame[self._columns.shown(frame)], self.annotations, typed_columns)

    def _look(self) -> None:
        """Bring the index up to date, unless nothing can have changed."""
        if self._stamp is None or self._stamp != scan.stamp(self.path):
            self.refresh()

    def _present(self) -> set[int]:
        found = scan.scan(self.path)
        return set(found.nets).union(*(self._reader.numbers(self.path / name) for name in found.shards))

    def _property(self, name: str) -> Property:
        known = self.properties
        if name not in known:
            raise unknown("property", name, known)
        return known[name]
