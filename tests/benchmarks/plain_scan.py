"""The plain scan, from which this project's grew: what each step that was added since has to be better than.

The last 1, 2, 4, ... 32 windows are merged and compared with the reference at every cut of every column, by the signed
root of the likelihood ratio of two binomials. It alarms beyond the normal quantile for all windows that may pass per
false alarm, all cuts and all lengths (Bonferroni). Counts of a column are divided by its overdispersion first, which
chunks of the reference in the order of time show; told that rows are independent, it divides by nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import chi2, norm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LENGTHS = (1, 2, 4, 8, 16, 32)
"""Windows that are merged."""
LOW = 0.1
"""Of the dispersion's distribution: phi is what brings it so low as it was seen in one of ten such references."""


class PlainScan:
    """Of a reference in chunks: `inside` of `n` rows of each, of shape (chunks, cuts), lie on the first side of a cut,
    and `column` [cuts] is whose cut it is."""

    def __init__(self, inside: Floats, n: Floats, column: Ints) -> None:
        self._inside, self._n = inside.sum(axis=0), n.sum(axis=0)
        self.phi = _phi(inside, n, column)

    def statistics(self, inside: Floats, n: Floats) -> Floats:
        """How far stretches differ at each cut, of shape (stretches, cuts) as their counts are, told that rows are
        independent."""
        reference = _entropy(self._inside, self._n)
        apart = _entropy(inside, n) + reference - _entropy(inside + self._inside, n + self._n)
        root: Floats = np.sqrt(np.maximum(2 * apart, 0.0))
        return root

    def bounds(self, looks: float) -> tuple[Floats, Floats]:
        """Beyond which statistics [cuts] alarm, if one false alarm is allowed in so many windows: by what it knows of
        overdispersion, and told that there is none.

        The statistic is a root of something linear in counts: to divide all of these by phi is to divide it by phi's.
        """
        bound = norm.isf(0.5 / (looks * len(self._n) * len(LENGTHS)))
        return bound * np.sqrt(self.phi), np.full(len(self._n), bound)


def _phi(inside: Floats, n: Floats, column: Ints) -> Floats:
    """At each cut its column's overdispersion: the median over cuts of Pearson's dispersion of the chunks, as high as
    one that looks so low might be, and at least 1."""
    free = len(n) - 1
    share = inside.sum(axis=0) / np.maximum(n.sum(axis=0), 1.0)
    chance = n * share * (1 - share)
    squares = np.divide((inside - n * share) ** 2, chance, out=np.zeros_like(n), where=chance > 0)
    dispersion = squares.sum(axis=0) / free
    phi = np.ones(len(share))
    for each in np.unique(column):
        cuts = column == each
        telling = cuts & (share > 0) & (share < 1)
        if telling.any():
            phi[cuts] = max(1.0, float(np.median(dispersion[telling])) * free / chi2.ppf(LOW, free))
    return phi


def _entropy(inside: Floats, n: Floats) -> Floats:
    """The greatest log-likelihood of so many rows on the first side of n."""
    outside = n - inside
    greatest: Floats = xlogy(inside, inside) + xlogy(outside, outside) - xlogy(n, n)
    return greatest
