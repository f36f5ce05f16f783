"""When a training is over (A.2 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

MINIMUM = 20  # records, the initialization included, as in the 2020 program
CONSECUTIVE_DECREASES = 5
FILTERED_DECREASES = 30
STATIONARY = 30
ALPHA = 0.5  # of the filter f_t = alpha v_t + (1 - alpha) f_(t-1)


@dataclass
class EarlyStopping:
    """Fed one validation accuracy per record, the initialization's first; `update` says whether to stop.

    Stops from record 20 on, after (1) 5 consecutive decreases (over-fitting), (2) 30 decreases in all against the filtered
    accuracy (noise about a plateau), or (3) 30 consecutive records without any change (nothing is learned).
    An equal value ends a run of decreases, as the paper says; the 2020 program's counter went on.
    """

    records: int = 0
    last: float = 0.0
    filtered: float = 0.0
    decreases: int = 0
    filtered_decreases: int = 0
    stationary: int = 0

    def update(self, accuracy: float) -> bool:
        if self.records == 0:
            self.filtered = accuracy
        else:
            self.filtered_decreases += accuracy < self.filtered
            self.decreases = self.decreases + 1 if accuracy < self.last else 0
            self.stationary = self.stationary + 1 if abs(accuracy - self.last) < 1e-8 else 0
            self.filtered = ALPHA * accuracy + (1 - ALPHA) * self.filtered
        self.last = accuracy
        self.records += 1
        return self.records >= MINIMUM and (
            self.decreases >= CONSECUTIVE_DECREASES
            or self.filtered_decreases >= FILTERED_DECREASES
            or self.stationary >= STATIONARY
        )
