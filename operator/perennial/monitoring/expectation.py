"""What rows of certain hours of the week are like with nothing changed: the baseline's hours, mixed as those are.

A block of rows of which w_h came in hour h should have the share sum_h w_h p_h at each cut. The p_h are the baseline's,
of N_h rows each, so that this has a variance of its own, sum_h w_h^2 p_h (1 - p_h) / N_h (that of a stratified sample;
Cochran, Sampling Techniques, 1977, 5.3). Either is told as a baseline of so many rows as have the same error, and the
scan compares with that as with any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perennial.wire.differences import Normally
from perennial.wire.layout import Floats, Ints, Layout
from perennial.wire.season import WEEK

from .history import Hours
from .season import Season

_LITTLE = 1e-100


@dataclass(frozen=True)
class Expected:
    """Of blocks of rows: `cells` [blocks, cells] as a baseline would have counted them, `inside` and `n` [blocks, cuts]
    at the cuts, and of how many rows a week that baseline is [blocks]. `traffic` [blocks] is how many rows an hour the
    baseline had in those hours, relative to all."""

    cells: Floats
    inside: Floats
    n: Floats
    weekly: Floats
    traffic: Floats


class Expectation:
    """A season to ask of. Hours that it does not know are taken to be as all of the baseline, whose counts are `total`
    [cells]."""

    def __init__(self, layout: Layout, season: Season, total: Ints) -> None:
        self._layout = layout
        self._cells = np.concatenate([season.cells(), total[None, :]])
        self._rows = np.maximum(layout.rows(self._cells), 1).astype(np.float64)
        self._weeks = np.array([*season.weeks, max(season.weeks)], dtype=np.float64)
        self._shares = self._cells / self._rows[:, None]
        an_hour = self._rows[:-1] / self._weeks[:-1]
        self._traffic = np.append(an_hour / an_hour.mean(), 1.0)
        self._place = np.full(WEEK, len(season.hours))
        self._place[season.hours] = np.arange(len(season.hours))

    def expected(self, hours: Sequence[Hours]) -> Expected:
        """Of blocks whose rows came in these hours."""
        weights = self._weights(hours)
        rows = 1 / (weights**2 @ (1 / self._rows))
        cells = (weights @ self._shares) * rows[:, None]
        inside, n = self._layout.cut_counts(cells)
        fewer = self._fewer(weights, inside, n)
        traffic = 1 / (weights @ (1 / self._traffic))
        return Expected(cells, inside * fewer, n * fewer, rows / (weights @ self._weeks), traffic)

    def normally(self, earlier: Sequence[Hours], later: Sequence[Hours]) -> Normally:
        """How pairs of blocks of these hours differ. What both have in common has no error in their difference."""
        one, other = self._weights(earlier), self._weights(later)
        return Normally(one @ self._shares, other @ self._shares, (one - other) ** 2 @ (1 / self._rows))

    def knows(self, hours: Hours) -> bool:
        """Whether rows came in hours alone that were seen."""
        return all(self._place[hour] < len(self._rows) - 1 for hour in hours)

    def _weights(self, hours: Sequence[Hours]) -> Floats:
        """Which share of each block's rows is of which hour: shape (blocks, hours and one for all)."""
        weights = np.zeros((len(hours), len(self._rows)))
        for block, each in zip(weights, hours, strict=True):
            np.add.at(block, self._place[list(each)], list(each.values()))
        weights[weights.sum(axis=1) == 0, -1] = 1.0
        shares: Floats = weights / weights.sum(axis=1, keepdims=True)
        return shares

    def _fewer(self, weights: Floats, inside: Floats, n: Floats) -> Floats:
        """Which part of `n` the error is worth: it takes all hours to vary alike, and those of fewest rows may vary
        most."""
        known, varying = self._by_hour
        error = weights**2 @ varying / np.maximum(weights @ known, _LITTLE) ** 2
        alike = self._layout.variance(inside, n) / np.maximum(n, _LITTLE)
        fewer: Floats = np.minimum(np.divide(alike, error, out=np.ones_like(error), where=error > 0), 1.0)
        return fewer

    @cached_property
    def _by_hour(self) -> tuple[Floats, Floats]:
        """Of each hour and cut: the share of rows that it is asked of, and the variance of the share on its first side
        among all rows, of so many rows as the hour has."""
        inside, n = self._layout.cut_counts(self._cells)
        asked = n / self._rows[:, None]
        return asked, asked * self._layout.variance(inside, n) / self._rows[:, None]
