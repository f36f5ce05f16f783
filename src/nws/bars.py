"""Progress on a terminal or in a notebook: bars with the time left, or plain lines where nobody watches."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text

from nws.families.space import Config
from nws.net import Net
from nws.progress import Doing
from nws.train.loop import Progress as Record

console = Console(stderr=True, highlight=False, soft_wrap=True)  # progress and notes; results go to stdout
PLAIN_SECONDS = 30  # between plain lines, where nobody watches


class SamplingBar:
    """Nets done, nets/hour, images/s and time left, and a line per net in training; plain lines when nobody watches."""

    def __init__(self, total: int, done: int):
        self.total, self.done, self.fresh, self.images = total, done, 0, 0
        self.elsewhere: Callable[[], int] = lambda: 0  # nets that other processes made meanwhile
        self.started = self.spoke = time.monotonic()
        self.lines: dict[int, TaskID] = {}
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"), console=console
        )
        self.whole = self.bar.add_task("nets", total=total, completed=done, text="")

    def __call__(self, made: Record | Net) -> None:
        if isinstance(made, Net):
            self._finished(made)
        else:
            self._record(made)

    def _record(self, record: Record) -> None:
        self.images += record.images
        if record.number not in self.lines:
            self.lines[record.number] = self.bar.add_task(f"  net {record.number}", total=None, text="")
        text = f"epoch {record.epoch}, validation {record.validation_accuracy:.1%}"
        self.bar.update(self.lines[record.number], text=text)
        self.bar.update(self.whole, text=self._rate())

    def _finished(self, net: Net) -> None:
        self.done += 1
        self.fresh += 1
        if net.number in self.lines:
            self.bar.remove_task(self.lines.pop(net.number))
        self.bar.update(self.whole, completed=self.done + self.elsewhere(), text=self._rate())
        now = time.monotonic()
        quick = isinstance(net.hp, Config) and net.hp.family.train_many is not None  # hundreds a second: a line each is no news
        if console.is_terminal or (quick and self.done < self.total and now < self.spoke + PLAIN_SECONDS):
            return
        self.spoke = now
        dataset = net.hp.to_dict().get("dataset", "image set not recorded")
        if "test_accuracy" in net.measures:
            ended = f"test {net.test_accuracy:.1%}"
        else:
            ended = ", ".join(f"{name} {value:.3g}" for name, value in zip(net.measures[1:], net.history[-1, 1:]))
        ended = "diverged" if net.status == "diverged" else ended
        text = f"net {net.number}: {dataset}, {ended}, {max(len(net.history) - 1, int(net.epoch[-1]))} epochs, {net.seconds:.2g} s"
        console.print(f"{text} [{self._rate()}]", markup=False)

    def _rate(self) -> str:
        elapsed = max(time.monotonic() - self.started, 1e-9)
        others = self.elsewhere()
        done, fresh = self.done + others, self.fresh + others
        text = f"{done} of {self.total}" + (f", {self.images / elapsed:,.0f} images/s" if self.images else "")
        if fresh:
            left = (self.total - done) * elapsed / fresh
            text += f", {3600 * fresh / elapsed:,.0f} nets/h, {duration(left)} left"
        return f"{text}, {others} of them by others" if others else text

    def __enter__(self) -> SamplingBar:
        if console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if console.is_terminal:
            self.bar.stop()


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Says what is being done, for how long, and how long it will take; yields on_progress(doing), see nws.progress.Doing.

    On a terminal one line with a bar, all the time; else a plain line every half minute.
    """
    pacing = Pacing()
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        PacingColumn(pacing),
        console=console,
    )
    line = bar.add_task("", total=None)
    lines = _Lines(pacing)

    def on_progress(doing: str) -> None:
        pacing.hear(getattr(doing, "share", None))
        if live:
            bar.update(line, description=str(doing), total=1 if pacing.share is not None else None, completed=pacing.share or 0)
        lines.doing = str(doing)

    live = console.is_terminal and not quiet
    shown = bar if live else contextlib.nullcontext() if quiet else lines
    with shown:  # both refresh by a thread of their own: also while one step takes long
        yield on_progress
        bar.remove_task(line)


class _Lines:
    """A plain line every half minute, whether there is news or not."""

    def __init__(self, pacing: Pacing):
        self.pacing, self.doing, self.over = pacing, "begun", threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self.over.wait(PLAIN_SECONDS):
            console.print(f"{self.doing} ({self.pacing})", markup=False)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


class Pacing:
    """How long it has taken, and, once some of it is done, how long the rest will take."""

    def __init__(self) -> None:
        self.started = self.since = time.monotonic()
        self.share: float | None = None
        self.first = 0.0  # share at `since`

    def hear(self, share: float | None) -> None:
        if share is not None and (self.share is None or share < self.share - 0.05):  # other work has begun
            self.since, self.first = time.monotonic(), share
        if share is not None:
            self.share = share

    def __str__(self) -> str:
        now = time.monotonic()
        text = f"{duration(now - self.started)} elapsed"
        if self.share is not None and self.share > self.first + 0.01 and now > self.since + 1:
            left = (now - self.since) / (self.share - self.first) * (1 - self.share)
            text += f", {duration(left)} left"
        return text


class PacingColumn(ProgressColumn):
    """Times as `Pacing` says them, at every refresh."""

    def __init__(self, pacing: Pacing):
        super().__init__()
        self.pacing = pacing

    def render(self, task: Task) -> Text:
        return Text(str(self.pacing))


def counted(on_progress: Callable[[str], None], what: str = "nets") -> Callable[[int, int, str], None]:
    """on_progress(done, of, where) that says how many of them are done."""

    def on_net(done: int, of: int, where: str) -> None:
        on_progress(Doing(f"{done:,} of {of:,} {what}", done / max(of, 1)))

    return on_net


def duration(seconds: float) -> str:
    seconds = round(seconds)
    if seconds < 100:
        return f"{seconds} s"
    if seconds < 600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h {seconds % 3600 // 60} min"
