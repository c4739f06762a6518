"""The bootstrap of the held-out rows: what is drawn with replacement, and how often, in each of many resamples.

What is drawn are units: single rows, whole groups, or stretches of time, since rows that go together tell less than as
many that do not. There are at most some thousand of them whatever the rows, so that any metric's resamples are products
of two small matrices: a thousand resamples of a million rows cost a second. Drawn by the seed alone, so repeatable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]

RESAMPLES = 1000
CONFIDENCE = 0.95
MAX_UNITS = 2000
"""More rows or groups than that are bundled at random, which leaves the variance of what is drawn as it is."""
MAX_STRETCHES = 100
_STREAM = 0x6B00


@dataclass(frozen=True, slots=True)
class Resampling:
    """`weights` [1 + RESAMPLES, units]: how often each unit was drawn; the first row is 1 everywhere, the rows as they
    are. `units` [rows]: the unit of each row. `of` says for a person what was drawn.
    """

    weights: Floats
    units: Indices
    of: str

    def take(self, chosen: NDArray[np.bool_]) -> Resampling:
        """The same draws, seen by some of the rows only."""
        return Resampling(self.weights, self.units[chosen], self.of)

    def sums(self, values: Floats) -> Floats:
        """Sum of `values` [rows] in each resample."""
        return self.weights @ np.bincount(self.units, values, self.weights.shape[1])

    def counts(self) -> Floats:
        """Number of rows in each resample."""
        return self.weights @ np.bincount(self.units, minlength=self.weights.shape[1]).astype(np.float64)

    def histograms(self, cells: Indices, count: int, chosen: NDArray[np.bool_] | None = None) -> Floats:
        """How many of the `chosen` rows fall into each of `count` cells in each resample: [1 + RESAMPLES, count]."""
        units = self.weights.shape[1]
        places = self.units * count + cells
        table = np.bincount(places if chosen is None else places[chosen], minlength=units * count)
        return self.weights @ table.reshape(units, count).astype(np.float64)


def of_rows(rows: int, seed: int) -> Resampling:
    """Each row by itself."""
    random = np.random.default_rng((seed, _STREAM))
    return _drawn(_bundled(np.arange(rows), rows, random), "rows", random)


def of_groups(groups: NDArray[np.generic], seed: int) -> Resampling:
    """Rows of one group together. `groups` [rows] are values of any type that can be told apart."""
    random = np.random.default_rng((seed, _STREAM))
    names, codes = np.unique(groups.astype(str), return_inverse=True)
    return _drawn(_bundled(codes, len(names), random), "groups", random)


def of_stretches(rows: int, seed: int) -> Resampling:
    """Rows in the order of time: stretches of equally many, of n rows n^(1/3) or more each.

    That is the order of the best block length (Kuensch 1989); many rows make longer stretches than that, since what
    makes rows alike, a day's weather say, does not become shorter with more rows.
    """
    random = np.random.default_rng((seed, _STREAM))
    stretches = min(MAX_STRETCHES, max(2, round(rows ** (2 / 3))))
    return _drawn(np.arange(rows) * stretches // rows, "stretches of time", random)


def _bundled(codes: Indices, units: int, random: np.random.Generator) -> Indices:
    if units <= MAX_UNITS:
        return codes
    return np.asarray((random.permutation(units) % MAX_UNITS)[codes])


def _drawn(units: Indices, of: str, random: np.random.Generator) -> Resampling:
    count = int(units.max()) + 1
    draws = random.integers(count, size=(RESAMPLES, count)) + np.arange(RESAMPLES)[:, None] * count
    weights = np.bincount(draws.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count)
    return Resampling(np.vstack([np.ones(count), weights]), units, of)
