"""What is normal: the run's held-out rows, or the first rows served, learned window by window.

A baseline from serving also learns how much windows differ from one another when nothing has changed. That
overdispersion divides all counts in the scan; without it, the rows of one hour being alike looks like drift. It needs
only a running sum of squares a cut, no window is kept.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np

from perennial.wire.reference import Reference

from .layout import CutKind, Floats, Layout, reference_cells
from .scan import Normal

FEWEST_WINDOWS = 10
"""Of a baseline from serving: fewer say too little of how windows differ."""

LOW = -1.2815515655446004
"""The normal distribution's 10% quantile."""


class Baseline(msgspec.Struct, frozen=True):
    """A baseline, whole or in the making. `squares` sums (rows inside)^2 / rows over the windows, for each cut.

    `dispersion` is each cut's, at least 1, empty until the baseline is whole.
    """

    source: Literal["Serving", "Training"]
    since: float
    rows: int = 0
    windows: int = 0
    cells: list[int] = []
    squares: list[float] = []
    dispersion: list[float] = []

    @property
    def complete(self) -> bool:
        return bool(self.dispersion)


def from_training(reference: Reference, layout: Layout, since: float) -> Baseline:
    """The run's held-out rows, with the overdispersion that the run found in them."""
    return Baseline(
        source="Training",
        since=since,
        rows=reference.rows,
        cells=reference_cells(reference.columns).tolist(),
        dispersion=training_dispersion(layout).tolist(),
    )


def from_serving(layout: Layout, since: float) -> Baseline:
    """A baseline that has yet to see its first row."""
    return Baseline(source="Serving", since=since, cells=[0] * layout.cells, squares=[0.0] * len(layout.cuts))


def training_dispersion(layout: Layout) -> Floats:
    """What the run found in its held-out rows, for each cut."""
    return np.array([max(layout.columns[cut.column].phi, 1.0) for cut in layout.cuts])


def learn(baseline: Baseline, layout: Layout, window: list[int], rows: int, *, of: int) -> Baseline:
    """The baseline with one more window; whole once it has `of` rows from at least ten windows."""
    cells = np.asarray(window, dtype=np.int64)
    inside, n = layout.cut_counts(cells)
    learned = msgspec.structs.replace(
        baseline,
        rows=baseline.rows + rows,
        windows=baseline.windows + 1,
        cells=(np.asarray(baseline.cells) + cells).tolist(),
        squares=(np.asarray(baseline.squares) + inside**2 / np.maximum(n, 1.0)).tolist(),
    )
    if learned.rows < of or learned.windows < FEWEST_WINDOWS:
        return learned
    return msgspec.structs.replace(learned, squares=[], dispersion=_dispersion(learned, layout).tolist())


def normal(baseline: Baseline, layout: Layout) -> Normal:
    """What the scan compares with. A baseline in the making is compared with as if rows were independent."""
    dispersion = np.asarray(baseline.dispersion) if baseline.complete else np.ones(len(layout.cuts))
    return Normal(np.asarray(baseline.cells, dtype=np.int64), dispersion)


def _dispersion(baseline: Baseline, layout: Layout) -> Floats:
    """The median over a column's cuts of Pearson's dispersion, at its upper 90% confidence bound; of missing and
    unseen values also their own."""
    inside, n = layout.cut_counts(np.asarray(baseline.cells, dtype=np.int64))
    share = inside / np.maximum(n, 1.0)
    variance = share * (1 - share)
    freedom = baseline.windows - 1
    excess = np.asarray(baseline.squares) - share**2 * n
    own = np.divide(excess, variance * chi2_low(freedom), out=np.zeros(len(n)), where=variance > 0)
    split = (layout.kind == CutKind.VALUE) | (layout.kind == CutKind.CATEGORY)
    dispersion = np.ones(len(n))
    for column in range(len(layout.columns)):
        cuts = layout.column == column
        informative = own[cuts & split & (variance > 0)]
        median = float(np.median(informative)) if informative.size else 1.0
        dispersion[cuts] = np.where(split[cuts], median, np.maximum(median, own[cuts]))
    return np.maximum(dispersion, 1.0)


def chi2_low(freedom: int) -> float:
    """The 10% quantile of chi-squared, by Wilson and Hilferty (1931): within 0.1% from 9 degrees of freedom on, all
    that is used."""
    spread = 2 / (9 * freedom)
    return freedom * float((1 - spread + LOW * math.sqrt(spread)) ** 3)
