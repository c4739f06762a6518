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
from perennial.wire.season import unpack

from .history import Hours
from .season import Known, Season

_LITTLE = 1e-100
_ALL = -1
"""All of the baseline, among the hours."""


@dataclass(frozen=True)
class Expected:
    """Of blocks of rows: `cells` [blocks, cells] as a baseline would have counted them, `inside` and `n` [blocks, cuts]
    at the cuts, where a row has the `variance` [blocks, cuts], and of how many rows a week that baseline is [blocks].
    `traffic` [blocks] is how many rows an hour the baseline had in those hours, relative to all."""

    cells: Floats
    inside: Floats
    n: Floats
    variance: Floats
    weekly: Floats
    traffic: Floats


class Expectation:
    """A season to ask of. Hours that it does not know are taken to be as all of the baseline, whose counts are `total`
    [cells]."""

    def __init__(self, layout: Layout, season: Season, total: Ints) -> None:
        self._layout = layout
        self._season = season
        self._all = Known(max(known.weeks for known in season.values()), max(int(layout.rows(total)), 1), b"")
        self._unpacked: dict[int, Ints] = {_ALL: total}
        self._varying: dict[int, tuple[Floats, Floats]] = {}
        self._an_hour = sum(known.rows / known.weeks for known in season.values()) / len(season)

    def expected(self, hours: Sequence[Hours]) -> Expected:
        """Of blocks whose rows came in these hours."""
        strata = self._strata(hours)
        weights = strata.weights(hours)
        rows = 1 / (weights**2 @ (1 / strata.rows))
        cells = (weights @ strata.shares) * rows[:, None]
        inside, n = self._layout.cut_counts(cells)
        # Of counts that belong together: at each cut they are then worth so many rows as its own error says.
        variance = self._layout.variance(inside, n)
        fewer = self._fewer(strata, weights, variance / np.maximum(n, _LITTLE))
        traffic = 1 / (weights @ (1 / strata.traffic))
        return Expected(cells, inside * fewer, n * fewer, variance, rows / (weights @ strata.weeks), traffic)

    def normally(self, earlier: Sequence[Hours], later: Sequence[Hours]) -> Normally:
        """How pairs of blocks of these hours differ. What both have in common has no error in their difference."""
        strata = self._strata([*earlier, *later])
        one, other = strata.weights(earlier), strata.weights(later)
        return Normally(one @ strata.shares, other @ strata.shares, (one - other) ** 2 @ (1 / strata.rows))

    def knows(self, hours: Hours) -> bool:
        """Whether rows came in hours alone that were seen."""
        return hours.keys() <= self._season.keys()

    def _strata(self, hours: Sequence[Hours]) -> _Strata:
        """The hours that these blocks are of: most are of few, and all of a season take long to unpack."""
        needed = sorted({hour for each in hours for hour in each if hour in self._season})
        known = [*(self._season[hour] for hour in needed), self._all]
        cells = np.array([self._cells(hour) for hour in (*needed, _ALL)])
        rows = np.array([max(each.rows, 1) for each in known], dtype=np.float64)
        weeks = np.array([each.weeks for each in known], dtype=np.float64)
        traffic = np.append(rows[:-1] / weeks[:-1] / self._an_hour, 1.0)
        return _Strata({hour: place for place, hour in enumerate((*needed, _ALL))}, cells, rows, weeks, traffic)

    def _cells(self, hour: int) -> Ints:
        if hour not in self._unpacked:
            self._unpacked[hour] = unpack(self._season[hour].packed)
        return self._unpacked[hour]

    def _fewer(self, strata: _Strata, weights: Floats, alike: Floats) -> Floats:
        """Which part of the rows the error is worth, where that is `alike` if all hours vary alike: those of fewest
        rows may vary most."""
        known, varying = self._each(strata)
        error = weights**2 @ varying / np.maximum(weights @ known, _LITTLE) ** 2
        fewer: Floats = np.minimum(np.divide(alike, error, out=np.ones_like(error), where=error > 0), 1.0)
        return fewer

    def _each(self, strata: _Strata) -> tuple[Floats, Floats]:
        """Of each stratum and cut: the share of rows that it is asked of, and the variance of the share of all rows on
        its first side, of so many rows as the stratum has."""
        new = {hour: place for hour, place in strata.places.items() if hour not in self._varying}
        if new:
            rows = strata.rows[[*new.values()], None]
            inside, n = self._layout.cut_counts(strata.cells[[*new.values()]])
            known = n / rows
            varying = known * self._layout.variance(inside, n) / rows
            self._varying |= dict(zip(new, zip(known, varying, strict=True), strict=True))
        each = [self._varying[hour] for hour in strata.places]
        return np.array([known for known, _ in each]), np.array([varying for _, varying in each])


@dataclass(frozen=True)
class _Strata:
    """Hours of the week by their places, and last all of the baseline, for hours that are not known: their counts
    [strata, cells], rows and weeks [strata], and how busy they are relative to all [strata]."""

    places: dict[int, int]
    cells: Ints
    rows: Floats
    weeks: Floats
    traffic: Floats

    @cached_property
    def shares(self) -> Floats:
        return self.cells / self.rows[:, None]

    def weights(self, hours: Sequence[Hours]) -> Floats:
        """Which share of each block's rows is of which stratum: shape (blocks, strata)."""
        weights = np.zeros((len(hours), len(self.rows)))
        for block, each in zip(weights, hours, strict=True):
            for hour, rows in each.items():
                block[self.places.get(hour, -1)] += rows
        weights[weights.sum(axis=1) == 0, -1] = 1.0
        shares: Floats = weights / weights.sum(axis=1, keepdims=True)
        return shares
