"""Cumulative totals of one worker, in its slot: answers by code, latency, rows, batches, busy time,
comparisons.

Each is one word that its worker alone increments, so that any process can read it at any time and the sum over the
slots is the pod's.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from perennial.runtime.server.counts.mapped import Mapped
from perennial.wire.stats import LATENCY_BOUNDS

CODES = (200, 400, 404, 405, 408, 413, 415, 499, 500, 503, 422, 431, 504, 502)

BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64)
"""Upper ends in rows of the batches' cells; one more counts larger requests, which go alone."""

_BUSY, _LATENCY_SUM, _COMPANION_SECONDS, _WAITED, _PREDICT_SECONDS, _ATTRIBUTION_SECONDS = 0, 1, 2, 3, 4, 5
_ROWS, _COMPARED, _DISAGREED, _SKIPPED, _BATCH_ROWS, _UNREAD, _ATTRIBUTED, _UNREAD_ROWS = 8, 9, 10, 11, 12, 13, 14, 15
_CODES = 16
_LATENCY = 32
_CELLS = len(LATENCY_BOUNDS) + 1
_BATCHES = _LATENCY + 16
_BATCH_CELLS = len(BATCH_BOUNDS) + 1
_EXPLAINED = _BATCHES + 16
_EXPLAINED_SUM = 6


class Totals:
    """What one worker adds to. Seconds are floats, everything else is a count."""

    def __init__(self, words: memoryview) -> None:
        self._counts = words.cast("q")
        self._seconds = words.cast("d")

    def answered(self, code: int, seconds: float, *, explained: bool = False) -> None:
        """An answer of one of `CODES` after `seconds` of being in flight. One that is `explained` has a histogram of
        its own: it waits until nothing else does, and a rollout would take that for the model's slowness."""
        self._counts[_CODES + _POSITION[code]] += 1
        cells, total = (_EXPLAINED, _EXPLAINED_SUM) if explained else (_LATENCY, _LATENCY_SUM)
        self._counts[cells + bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self._seconds[total] += seconds

    def busy(self, seconds: float) -> None:
        self._seconds[_BUSY] += seconds

    def predicted(self, rows: int) -> None:
        self._counts[_ROWS] += rows

    def unread(self, rows: int) -> None:
        """An answer whose rows could not be counted, since what was asked or what was said could not be read."""
        self._counts[_UNREAD] += 1
        self._counts[_UNREAD_ROWS] += rows

    def waited(self, seconds: float) -> None:
        """How long requests waited for their turn, all of them together."""
        self._seconds[_WAITED] += seconds

    def batch(self, rows: int, seconds: float) -> None:
        """A prediction of so many rows took so long."""
        self._counts[_BATCHES + bisect_left(BATCH_BOUNDS, rows)] += 1
        self._counts[_BATCH_ROWS] += rows
        self._seconds[_PREDICT_SECONDS] += seconds

    def attributed(self, rows: int, seconds: float) -> None:
        """Rows that were explained, and the processor's time that it took."""
        self._counts[_ATTRIBUTED] += rows
        self._seconds[_ATTRIBUTION_SECONDS] += seconds

    def compared(self, rows: int, disagreed: int, seconds: float) -> None:
        """Rows that the companion scored too, in how many of them it disagreed, and what that took."""
        self._counts[_COMPARED] += rows
        self._counts[_DISAGREED] += disagreed
        self._seconds[_COMPANION_SECONDS] += seconds

    def not_compared(self, rows: int) -> None:
        """Rows that the companion did not score, to stay within its budget."""
        self._counts[_SKIPPED] += rows


_POSITION = {code: position for position, code in enumerate(CODES)}


@dataclass
class PodTotals:
    """The sum over a pod's workers."""

    codes: dict[int, int] = field(default_factory=lambda: dict.fromkeys(CODES, 0))
    latency: list[int] = field(default_factory=lambda: [0] * _CELLS)
    latency_seconds: float = 0.0
    explained: list[int] = field(default_factory=lambda: [0] * _CELLS)
    explained_seconds: float = 0.0
    busy_seconds: float = 0.0
    waited: float = 0.0
    predict_seconds: float = 0.0
    batches: list[int] = field(default_factory=lambda: [0] * _BATCH_CELLS)
    batch_rows: int = 0
    rows: int = 0
    unread: int = 0
    attributed: int = 0
    attribution_seconds: float = 0.0
    compared: int = 0
    disagreed: int = 0
    not_compared: int = 0
    companion_seconds: float = 0.0

    @property
    def requests(self) -> int:
        return sum(self.codes.values())

    @property
    def refused(self) -> int:
        return self.codes[503] + self.codes[504]

    @property
    def errors(self) -> int:
        """Failures of ours and of the model; a request that is wrong or comes at the wrong time is neither."""
        return self.codes[422] + self.codes[500] + self.codes[502]


def unread_rows(mapped: Mapped) -> int:
    """Rows that all workers have answered and could not count."""
    return sum(mapped.slot(index).totals.cast("q")[_UNREAD_ROWS] for index in range(mapped.layout.slots))


def read(mapped: Mapped) -> PodTotals:
    """Totals of all workers, dead ones included."""
    total = PodTotals()
    for index in range(mapped.layout.slots):
        words = mapped.slot(index).totals
        counts, seconds = words.cast("q"), words.cast("d")
        for position, code in enumerate(CODES):
            total.codes[code] += counts[_CODES + position]
        for cell in range(_CELLS):
            total.latency[cell] += counts[_LATENCY + cell]
            total.explained[cell] += counts[_EXPLAINED + cell]
        for cell in range(_BATCH_CELLS):
            total.batches[cell] += counts[_BATCHES + cell]
        total.batch_rows += counts[_BATCH_ROWS]
        total.waited += seconds[_WAITED]
        total.predict_seconds += seconds[_PREDICT_SECONDS]
        total.latency_seconds += seconds[_LATENCY_SUM]
        total.explained_seconds += seconds[_EXPLAINED_SUM]
        total.busy_seconds += seconds[_BUSY]
        total.companion_seconds += seconds[_COMPANION_SECONDS]
        total.rows += counts[_ROWS]
        total.unread += counts[_UNREAD]
        total.attributed += counts[_ATTRIBUTED]
        total.attribution_seconds += seconds[_ATTRIBUTION_SECONDS]
        total.compared += counts[_COMPARED]
        total.disagreed += counts[_DISAGREED]
        total.not_compared += counts[_SKIPPED]
    return total
