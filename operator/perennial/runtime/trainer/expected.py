"""The loss that scores let expect: what stands in for labels that do not come back, or come late.

Of a classifier's rows with a score of 0.8 so many were wrong among the held-out ones, and will be again as long as
scores mean what they meant: the loss of any rows is then known from how their scores are distributed (confidence-based
performance estimation). Losses by score are measured, not taken from the probabilities, which so need not be
calibrated; whether they hold is tried on the newer half of the held-out rows, estimated by the older half.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from perennial.wire.reference import Expected, Numeric

from .overdispersion import phi

POOL = 50
"""Rows that a score's loss is measured on, at least: fewer cells are pooled with their neighbours."""
LEAST = 4 * POOL
"""Held-out rows, or there is nothing to try the older half's losses on."""

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def expected(score: Numeric, cells: Ints, wrong: Ints) -> Expected | None:
    """By the cells of the score of held-out rows in the order of time, and whether each was answered wrongly (0 or
    1)."""
    rows = len(cells)
    if rows < LEAST:
        return None
    half = rows // 2
    older = _by_cell(cells[:half], wrong[:half], score.cells)[cells[half:]]
    measured = wrong[half:]
    # The older half's losses are as uncertain as the newer half's mean.
    variance = float((older * (1.0 - older)).mean()) * phi(wrong, 2, ordered=False)
    return Expected(
        values=_by_cell(cells, wrong, score.cells).tolist(),
        estimated=float(older.mean()),
        measured=float(measured.mean()),
        doubt=2.0 * math.sqrt(variance * (1.0 / half + 1.0 / (rows - half))),
    )


def _by_cell(cells: Ints, wrong: Ints, length: int) -> Floats:
    """The mean loss of each cell and its pool; of missing scores, the mean of all."""
    n = np.bincount(cells, minlength=length)[:-1]
    lost = np.bincount(cells, weights=wrong, minlength=length)[:-1]
    pools = _pools(n.tolist())
    rates = np.bincount(pools, weights=lost) / np.bincount(pools, weights=n)
    return np.append(rates[pools], wrong.mean())


def _pools(rows: list[int]) -> Ints:
    """Which pool each cell is in: runs of cells with enough rows."""
    pools, gathered = [0], rows[0]
    for more in rows[1:]:
        full = gathered >= POOL
        pools.append(pools[-1] + full)
        gathered = more if full else gathered + more
    found = np.array(pools)
    return np.minimum(found, max(pools[-1] - 1, 0)) if gathered < POOL else found
