"""Distances between two distributions as dashboards know them, from counts alone.

All but Wasserstein's are of the cells themselves; Wasserstein's is in the feature's own unit and exact up to where
values lie within a bin.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perennial.wire.layout import Counts, Floats

HALF = 0.5
"""A row added to each cell by half, so that an empty one makes no logarithm infinite (Jeffreys)."""


def population_stability(now: Counts, before: Counts) -> float:
    """Population stability index: (p - q) ln(p / q) over the cells. 0.1 is customarily some change, 0.25 a large
    one."""
    if len(now) < 2:
        return 0.0
    p, q = ((cells + HALF) / (cells.sum() + HALF * len(cells)) for cells in (now, before))
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon(p: Floats, q: Floats) -> float:
    """Jensen-Shannon divergence of shares, in bits: from 0 (the same) to 1 (nothing in common)."""
    middle = (p + q) / 2
    return (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2


def wasserstein(edges: Sequence[float], p: Floats, q: Floats) -> float:
    """How far a value has moved on average: the area between two cumulative distributions.

    `p` and `q` are shares of the cells of a numeric column: below range, its bins, above range. Within a bin values
    are taken to be spread evenly; those out of range lie on its end, so that the distance is then a lower bound.
    """
    apart = np.cumsum(p - q)[:-1]
    if len(apart) < 2:
        return 0.0
    left, right = apart[:-1], apart[1:]
    crossing = left * right < 0
    both = np.abs(left) + np.abs(right)
    crossed = np.divide(left**2 + right**2, both, out=np.zeros(len(both)), where=crossing)
    return float((np.diff(np.asarray(edges)) * np.where(crossing, crossed, both) / 2).sum())


def _relative_entropy(p: Floats, q: Floats) -> float:
    some = p > 0
    return float((p[some] * np.log2(p[some] / q[some])).sum())
