"""Columns that come by and by to where broken ones are at once.

A date, or a number that is counted on, leaves the known range for good; a new release of an app, or a new season's
articles, take over a text. In the end they lie as far out, or are as unknown, as a column in another unit or with its
names spelt otherwise. But what broke did so from one moment to the next: at most one window holds both. So a column
that was mostly outside before the newest window, and was called drift and not broken, is drift however far it has come.
It is retraining that helps against it, which broken data would hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from perennial.wire.layout import Counts, Ints, Layout, bin_counts
from perennial.wire.reference import Column, Numeric

from .history import History
from .triage import Triage

OUTSIDE = 0.5
"""The share of a number's values beyond the known range, more than the baseline has, that no window has which holds two
units and is not called broken."""

UNKNOWN = 0.25
"""The same of a text's values of no known category, in both of two windows: one may hold both spellings."""


def on_their_way(before: Triage, history: History, layout: Layout, baseline: Counts) -> frozenset[str]:
    """The columns of a history with the newest window, by what was found `before` it. `baseline` are its counts
    [cells]."""
    if before.of("Drift") is None:
        return frozenset()
    fault = before.of("DataFault")
    broken = {feature.name for feature in fault.features} if fault else set()
    return frozenset(_names(history[1:3], layout, baseline)) - broken


def _names(lately: History, layout: Layout, baseline: Counts) -> Iterator[str]:
    for place, column in enumerate(layout.columns):
        cells = layout.slice(place)
        usual = _strange(column, baseline[cells])
        more = [_strange(column, np.asarray(bucket.cells)[cells]) - usual for bucket in lately]
        if _has_moved(column, more):
            yield column.name


def _has_moved(column: Column, more: Sequence[float]) -> bool:
    """By how much more was strange in the windows before the newest, the latest first."""
    if isinstance(column, Numeric):
        return bool(more) and more[0] > OUTSIDE
    return len(more) > 1 and min(more) > UNKNOWN


def _strange(column: Column, cells: Ints | Counts) -> float:
    """The share of values that are outside of what training knew."""
    bins = bin_counts(column, cells) if isinstance(column, Numeric) else cells
    outside = bins[0] + bins[-2] if isinstance(column, Numeric) else bins[-2]
    return float(outside) / max(float(bins[:-1].sum()), 1.0)
