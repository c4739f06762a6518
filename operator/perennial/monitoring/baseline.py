"""What is normal: the run's held-out rows, or the first rows served, learned window by window.

How much windows differ from one another when nothing has changed is learned beside it, and on for as long as nothing is
found: without it, the rows of one hour being alike looks like drift. It takes only sums over pairs of neighbouring
stretches, which are seen when the history merges them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import msgspec
import numpy as np

from perennial.wire.differences import between
from perennial.wire.layout import Ints, Layout, reference_cells
from perennial.wire.reference import Differences, Reference

from .dispersion import Dispersion
from .history import LONGEST, Bucket, History, Pair, adjoining, pushed
from .scan import Normal

FEWEST_WINDOWS = 10
"""Of a baseline from serving: fewer say too little of how windows differ."""

SURPRISING = 6.0
"""Times its mean that a squared difference exceeds once in seventy."""


class Baseline(msgspec.Struct, frozen=True):
    """A baseline, whole or in the making.

    `trained` are the differences of the run's held-out rows, `served` those of windows served, by how often their
    stretches doubled. `recent` are the windows of a baseline in the making. `worth` is how many independent rows those
    of the last window that was judged and of the longest stretch tell as much as, `of` how many they were.
    """

    source: Literal["Serving", "Training"]
    since: float
    rows: int = 0
    windows: int = 0
    cells: list[int] = []
    complete: bool = False
    trained: list[Differences] = []
    served: list[Differences] = []
    recent: History = ()
    of: list[int] = []
    worth: list[int] = []


def from_training(reference: Reference, since: float) -> Baseline:
    """The run's held-out rows, and how they differ in the order of time."""
    return Baseline(
        source="Training",
        since=since,
        rows=reference.rows,
        cells=reference_cells(reference.columns).tolist(),
        complete=True,
        trained=reference.differences,
    )


def from_serving(layout: Layout, since: float) -> Baseline:
    """A baseline that has yet to see its first row."""
    return Baseline(source="Serving", since=since, cells=[0] * layout.cells)


def learn(baseline: Baseline, layout: Layout, window: Bucket, *, of: int) -> Baseline:
    """The baseline with one more window; whole once it has `of` rows from at least ten windows."""
    recent, pairs = pushed(baseline.recent, window)
    learned = msgspec.structs.replace(
        compare(baseline, layout, pairs),
        rows=baseline.rows + window.rows,
        windows=baseline.windows + 1,
        cells=(np.asarray(baseline.cells) + np.asarray(window.cells)).tolist(),
        recent=recent,
    )
    if learned.rows < of or learned.windows < FEWEST_WINDOWS:
        return learned
    compared = compare(learned, layout, adjoining(recent))
    return msgspec.structs.replace(compared, complete=True, recent=())


def compare(
    baseline: Baseline, layout: Layout, pairs: Sequence[Pair], dispersion: Dispersion | None = None
) -> Baseline:
    """The baseline after pairs of neighbouring stretches, each pair of one length, were compared.

    By what `dispersion` lets expect, no pair counts for much more: a change too small to be found yet must not pass
    for wavering.
    """
    served = list(baseline.served)
    for length, alike in groupby(sorted(pairs, key=_length), key=_length):
        if length > len(served):
            continue
        earlier, later = zip(*alike, strict=True)
        expected = dispersion.between(sum(each.rows for each in later) / len(later)) if dispersion else None
        most = None if expected is None else SURPRISING * expected
        found = between(layout, _cells(earlier), _cells(later), most)
        served[length : length + 1] = [served[length].plus(found) if length < len(served) else found]
    return msgspec.structs.replace(baseline, served=served)


def weighed(baseline: Baseline, layout: Layout, dispersion: Dispersion, rows: int) -> Baseline:
    """The baseline with what a window of so many rows is worth, by the median of its columns."""
    lengths = np.array([1, LONGEST]) * rows
    typical = np.median(dispersion.at(lengths.astype(np.float64))[:, ~layout.fault], axis=1)
    worth: list[int] = (lengths / typical).round().astype(int).tolist()
    return msgspec.structs.replace(baseline, of=lengths.tolist(), worth=worth)


def _length(pair: Pair) -> int:
    """How often the shortest stretch was doubled."""
    return pair[0].windows.bit_length() - 1


def _cells(buckets: Sequence[Bucket]) -> Ints:
    return np.array([bucket.cells for bucket in buckets], dtype=np.int64)


def normal(baseline: Baseline, layout: Layout) -> Normal:
    """What the scan compares with."""
    cells = np.asarray(baseline.cells, dtype=np.int64)
    return Normal(cells, Dispersion(layout, baseline.served, baseline.trained))
