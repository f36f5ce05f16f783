"""What is being done, in words, and how much of it is done already."""

from __future__ import annotations

from collections.abc import Callable


class Doing(str):
    """A line for people. share: of the whole call, 0 to 1, that is done; None where nobody knows."""

    share: float | None

    def __new__(cls, text: str, share: float | None = None) -> Doing:
        made = super().__new__(cls, text)
        made.share = share
        return made


def within(on_progress: Callable[[str], None], what: str, start: float, stop: float) -> Callable[[str], None]:
    """For a part of the work: its lines come after `what`, its shares as a share of the whole, from `start` to `stop`."""

    def passed_on(doing: str) -> None:
        share = getattr(doing, "share", None)
        on_progress(Doing(f"{what}: {doing}", start + (stop - start) * (share or 0.0)))

    return passed_on


class Pace:
    """The share of the work that is done when its pieces differ: by what pieces of the same kind took so far.

    guesses   seconds of each piece that lies ahead, by kind, until one of that kind was measured
    """

    def __init__(self, ahead: list[tuple[str, float]]):
        self.ahead: dict[str, int] = {}
        self.guesses = dict(ahead)
        for kind, _ in ahead:
            self.ahead[kind] = self.ahead.get(kind, 0) + 1
        self.measured: dict[str, list[float]] = {}

    def done(self, kind: str, seconds: float) -> None:
        self.ahead[kind] -= 1
        self.measured.setdefault(kind, []).append(seconds)

    @property
    def share(self) -> float:
        spent = sum(map(sum, self.measured.values()))
        left = sum(n * self._usual(kind) for kind, n in self.ahead.items())
        return spent / (spent + left) if spent + left > 0 else 1.0

    def _usual(self, kind: str) -> float:
        found = self.measured.get(kind)
        return sum(found) / len(found) if found else self.guesses[kind]
