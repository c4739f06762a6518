"""The multi-scale scan: does any cut of any column, over any of the last stretches of windows, differ from the
baseline?

Each stretch is compared with the baseline, cut by cut, by the signed root of the two-sample binomial likelihood ratio,
which is close to standard normal even far out in the tail (Barndorff-Nielsen and Cox, Inference and Asymptotics,
1994). Where it is small anyway Pearson's statistic stands for it, which takes no logarithm. The bound is the normal
quantile for all looks, cuts and stretches within the time that the user allows per false alarm (Bonferroni), so that
one knob holds however often one looks; half of the allowance is for the cuts that stand for a column, which are few.
Counts are divided by the overdispersion of so long a stretch first: rows of one hour are more alike than independent
ones. Where the baseline knows the season, each stretch is compared with a baseline of its own: what rows of its hours
of the week should be like.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from perennial.wire.differences import units
from perennial.wire.layout import Counts, CutKind, Floats, Ints, Layout

from .dispersion import Dispersion
from .expectation import Expectation
from .history import STRETCHES, Hours

STANDING_SHARE = 1 / 2
"""Of the allowance for drift, to the few cuts that stand for their column: level and spread of a number, the categories
of a text. The other half is for the many cuts that look at a number closely."""

_TINY = np.finfo(np.float64).tiny
_HARDLY = 1e-9
"""The variance of a share that is nothing but rounding."""
_LITTLE = 1e-200
"""More than nothing, and so little that any number of rows can be divided by it."""


def signed_root(inside: Floats, n: Floats, reference_inside: Floats, reference_n: Floats) -> Floats:
    """Signed root of the likelihood ratio of two binomials; positive where `inside / n` is the greater share.

    All shapes broadcast; counts may be fractions (after division by an overdispersion). Zero where either has no rows.
    """
    outside, reference_outside = n - inside, reference_n - reference_inside
    reference = _entropy(reference_inside) + _entropy(reference_outside) - _entropy(reference_n)
    apart = _entropy(inside) + _entropy(outside) - _entropy(n) + reference
    pooled = _entropy(inside + reference_inside) + _entropy(outside + reference_outside) - _entropy(n + reference_n)
    sign = np.sign(inside * reference_n - reference_inside * n)
    root: Floats = sign * np.sqrt(np.maximum(2.0 * (apart - pooled), 0.0))
    return root


NOTABLE = 4.0
"""A signed root of less is Pearson's statistic instead. None that is greater is missed: a likelihood ratio is at most
twice Pearson's chi-squared, since log x <= x - 1."""


def standardised(inside: Floats, n: Floats, reference_inside: Floats, reference_n: Floats) -> Floats:
    """`signed_root` where that is notable, and else Pearson's statistic, of shares of shape (stretches, cuts) and the
    reference's, of the same shape or of one row."""
    total, pooled = n + reference_n, inside + reference_inside
    chance = total - pooled
    chance *= pooled
    chance *= n * reference_n
    root: Floats = inside * reference_n
    root -= reference_inside * n
    # Where there is no chance of a difference there is none, but for rounding: what that makes is looked at below.
    root *= np.sqrt(total / np.maximum(chance, _LITTLE))
    stretch, cut = np.nonzero(np.abs(root) >= NOTABLE / math.sqrt(2))
    own = stretch if len(reference_n) > 1 else 0
    root[stretch, cut] = signed_root(
        inside[stretch, cut], n[stretch, cut], reference_inside[own, cut], reference_n[own, cut]
    )
    return root


def bound(looks: float, tests: int) -> float:
    """How far out a statistic must lie for less than one false alarm in `looks` looks at `tests` statistics each."""
    return -NormalDist().inv_cdf(0.5 / (max(looks, 1.0) * max(tests, 1)))


@dataclass(frozen=True)
class Normal:
    """What is normal: the baseline's counts, by hour of the week too where it knows a `season`, and how much more than
    chance blocks of rows differ. `crowd` is how many rows there were in a row's own window, if that is known."""

    cells: Ints
    dispersion: Dispersion
    season: Expectation | None = None
    crowd: float | None = None


@dataclass(frozen=True)
class Peak:
    """Where a column's statistic is furthest beyond its bound: in which stretch (index from the shortest) and at which
    cut."""

    column: int
    stretch: int
    cut: int
    statistic: float
    bound: float


@dataclass(frozen=True)
class Against:
    """What stretches are compared with, all of them or each with its own [stretches or 1, cuts]: counts at the cuts as
    independent rows, and how much less a row varies than one that lies on either side wholly."""

    parts: Floats
    inside: Floats
    n: Floats


class Scan:
    """A layout's cuts against one baseline.

    `drift_looks` and `fault_looks` are how many windows may pass, on average, before a false alarm at a cut of values
    or categories, and at one of missing or unseen ones: the two kinds share the monitor's allowance. Columns named in
    `exclude`, and joint ones in which such a feature takes part, never alarm and cost the others nothing. `asked` is of
    how many of the baseline's rows each cut is asked.
    """

    def __init__(
        self,
        layout: Layout,
        normal: Normal,
        *,
        drift_looks: float,
        fault_looks: float,
        exclude: Collection[str] = (),
    ) -> None:
        self.layout = layout
        self.normal = normal
        left_out = set(exclude)
        names = [{column.name, *layout.joint.get(column.name, ())} for column in layout.columns]
        watched = np.array([left_out.isdisjoint(each) for each in names], dtype=bool)[layout.column]
        fault = layout.fault
        standing = np.zeros(len(layout.cuts), dtype=bool)
        standing[units(layout)[0]] = True
        self.fault_bound = bound(fault_looks, int(watched.sum()) * STRETCHES)
        self.bounds = np.full(len(layout.cuts), np.inf)
        self.bounds[watched & fault] = self.fault_bound
        for family, part in ((standing & ~fault, STANDING_SHARE), (~standing & ~fault, 1 - STANDING_SHARE)):
            self.bounds[watched & family] = bound(drift_looks / part, int((watched & family).sum()) * STRETCHES)
        self.drift_bound = float(self.bounds[watched & ~fault].max(initial=0.0))
        self._groups = _groups(layout)
        rows = np.array([float(layout.rows(normal.cells))])
        crowds = None if normal.crowd is None else np.array([normal.crowd])
        inside, self.asked = layout.cut_counts(normal.cells)
        variance = layout.variance(inside, self.asked)
        self._always = self._against(inside, self.asked, variance, normal.dispersion.of(rows, crowds))

    def statistics(self, stretches: Ints, hours: Sequence[Hours] = (), crowds: Floats | None = None) -> Floats:
        """Signed roots of shape (stretches, cuts) for counts of shape (stretches, cells). `hours` [stretches] say when
        their rows came, which a baseline that knows the season asks, `crowds` [stretches] how many came together."""
        inside, n = self.layout.cut_counts(stretches)
        against = self._always
        if self.normal.season:
            expected = self.normal.season.expected(hours)
            wavering = self.normal.dispersion.when_busy(expected.weekly, expected.traffic)
            against = self._against(expected.inside, expected.n, expected.variance, wavering)
        return self.compared(inside, n, self.dispersions(self.layout.rows(stretches), against, crowds), against)

    def compared(self, inside: Floats, n: Floats, dispersions: Floats, against: Against | None = None) -> Floats:
        """Signed roots of stretches by their cut counts and by how much less their rows tell than independent ones, all
        of shape (stretches, cuts)."""
        against = against or self._always
        return standardised(inside / dispersions, n / dispersions, against.inside, against.n)

    def dispersions(self, rows: Ints, against: Against | None = None, crowds: Floats | None = None) -> Floats:
        """How much less than independent ones the rows of stretches of so many tell at each cut: shape (stretches,
        cuts)."""
        against = against or self._always
        dispersions: Floats = self.normal.dispersion.of(rows.astype(np.float64), crowds) * against.parts
        return dispersions

    def asked_of(self, hours: Hours) -> Floats:
        """Of how many rows each cut is asked of what a stretch of these hours is compared with [cuts]."""
        if not self.normal.season:
            return self.asked
        return self.layout.cut_counts(self.expected(hours))[1]

    def expected(self, hours: Hours) -> Counts:
        """What a stretch of these hours is compared with [cells]."""
        return self.normal.season.expected([hours]).cells[0] if self.normal.season else self.normal.cells

    def dispersion(self, peak: Peak, stretch: Ints, crowd: float) -> float:
        """How much less the rows of a peak's stretch [cells] tell than as many independent ones."""
        rows = np.array([float(self.layout.rows(stretch))])
        return float(self.normal.dispersion.of(rows, np.array([crowd]))[0, peak.cut])

    def _against(self, inside: Floats, n: Floats, variance: Floats, wavering: Floats) -> Against:
        """To compare with counts at cuts of shape (..., cuts), of rows of such a variance, that tell so much less than
        independent ones."""
        layout = self.layout
        share = inside / np.maximum(n, 1.0)
        # A row that lies on the first side in part tells more of a share than one that does wholly or not.
        chance = share * (1 - share)
        varies = layout.is_whole & (np.minimum(chance, variance) > _HARDLY)
        parts = np.divide(variance, chance, out=np.ones_like(chance), where=varies)
        parts[parts <= 0] = 1.0
        dispersion = wavering * parts
        # The reference's smallest and greatest row made the outermost edges: counted as one row on the far side, or
        # every new extreme would be a surprise.
        outside = layout.outside
        return Against(parts, (inside + (outside < 0)) / dispersion, (n + (outside != 0)) / dispersion)

    def excess(self, statistics: Floats) -> float:
        """How far the furthest statistic lies out, as a share of its bound: above 1 it alarms."""
        return float((np.abs(statistics) / self.bounds).max(initial=0.0))

    def peaks(self, statistics: Floats) -> list[Peak]:
        """Where columns alarm: at most one peak a column for drift, and one each for missing and unseen values."""
        excess = np.abs(statistics) / self.bounds
        if excess.max(initial=0.0) <= 1.0:
            return []
        best = excess.max(axis=0)
        peaks = (self._peak(statistics, excess, best, cuts) for cuts in self._groups if best[cuts].max() > 1.0)
        return list(peaks)

    def _peak(self, statistics: Floats, excess: Floats, best: Floats, cuts: slice) -> Peak:
        cut = cuts.start + int(best[cuts].argmax())
        stretch = int(excess[:, cut].argmax())
        return Peak(
            int(self.layout.column[cut]), stretch, cut, float(statistics[stretch, cut]), float(self.bounds[cut])
        )


def _entropy(x: Floats) -> Floats:
    """x ln x, and 0 at 0."""
    result: Floats = x * np.log(np.maximum(x, _TINY))
    return result


def _groups(layout: Layout) -> list[slice]:
    """Cuts that answer for one finding lie together: a column's values or categories; its unseen ones; its missing
    ones."""
    if not len(layout.cuts):
        return []
    kind = np.where(layout.fault, layout.kind, CutKind.VALUE)
    begins = np.flatnonzero(np.diff(layout.column) | np.diff(kind)) + 1
    edges = [0, *begins.tolist(), len(layout.cuts)]
    return [slice(first, last) for first, last in pairwise(edges)]


def looks_in(seconds: float, period: float) -> float:
    """How many windows of at least `period` seconds can close in `seconds`."""
    return max(1.0, math.floor(seconds / period))
