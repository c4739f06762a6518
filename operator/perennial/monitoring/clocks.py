"""Columns that follow the clock: an hour or a weekday among the features.

Each window has hardly any of the values that training spread over, and the next has others. To a baseline that has not
seen all of them the next value is a change, and may look as if it came in another unit; but nothing broke. What is
always as narrow is no clock: it shows in that windows differ from one another.
"""

from __future__ import annotations

import numpy as np

from perennial.wire.layout import Counts, Layout, bin_counts
from perennial.wire.reference import Column, Numeric

from .history import History

NARROW = 1 / 4
"""Of how much the held-out rows vary: what values of one window do at most, of a clock."""

APART = 1 / 2
"""Of how much windows and baseline vary together: what is within windows at most, where these differ."""

VARYING = 1 / 100
"""Of how much the held-out rows vary: what windows and baseline vary together at least, or they do not differ."""

FEW = 4
"""The most windows of a bucket that tells what is within one."""

TELLING = 10
"""The fewest values of a bucket that tells it: one alone never varies."""


def follows_clock(layout: Layout, place: int, baseline: Counts, before: History) -> bool:
    """Whether the column at a place follows the clock, by the baseline's counts [cells] and the windows `before` the
    newest. Of a single window nobody knows whether the next will differ: then any narrow one may."""
    if not narrow(layout, place, before):
        return False
    alone = len(before) == 1 and before[0].windows == 1 and np.array_equal(before[0].cells, baseline)
    return alone or _differ(layout.columns[place], layout.slice(place), baseline, before)


def narrow(layout: Layout, place: int, lately: History) -> bool:
    """Whether the column at a place hardly varies within the newest windows, where the held-out rows did."""
    column = layout.columns[place]
    usual = _usual(column)
    if not lately or column.name in layout.joint or usual <= 0:
        return False
    return _within(column, layout.slice(place), lately) <= NARROW * usual


def _differ(column: Column, cells: slice, baseline: Counts, before: History) -> bool:
    each = [_shares(np.asarray(bucket.cells)[cells]) for bucket in before]
    together = _spread(column, (np.mean(each, axis=0) + _shares(baseline[cells])) / 2)
    return together > VARYING * _usual(column) and _within(column, cells, before) <= APART * together


def _usual(column: Column) -> float:
    return _spread(column, _shares(np.asarray(column.counts)))


def _within(column: Column, cells: slice, lately: History) -> float:
    """How much values vary within a window. The widest is left out: a clock that begins anew has both ends in one."""
    telling = [bucket for bucket in lately if sum(bucket.cells[cells][:-1]) >= TELLING]
    if not telling:
        return np.inf
    few = [bucket for bucket in telling if bucket.windows <= FEW]
    spreads = sorted(_spread(column, _shares(np.asarray(bucket.cells)[cells])) for bucket in few or telling)
    return float(np.mean(spreads[:-1] or spreads))


def _spread(column: Column, shares: Counts) -> float:
    """The variance of a number's rank among the held-out rows; of a text, how likely two rows differ (Gini), where
    nobody knows that those of no known category are alike."""
    if not isinstance(column, Numeric):
        return float(shares.sum() ** 2 - (shares[:-1] ** 2).sum())
    held, now = (bin_counts(column, np.append(each, 0))[:-1] for each in (np.asarray(column.counts)[:-1], shares))
    ranks = (np.cumsum(held) - held / 2) / max(float(held.sum()), 1.0)
    return float(now @ ranks**2 - (now @ ranks) ** 2)


def _shares(cells: Counts) -> Counts:
    """Of the values that there are."""
    shares: Counts = cells[:-1] / max(float(cells[:-1].sum()), 1.0)
    return shares
