"""Whether a number has changed its unit: broken data that looks like drift.

Values in another unit have the same distribution, stretched: P(x' < e) = P(x < (e - offset) / factor) at every edge.
That is asked of well-known factors and of all large ones, and only where the edges between which values now lie show
their shape. Where they show none, because all lie far outside of what was known or close about zero, the place alone
tells. Natural change moves, widens or mixes a distribution; it hardly ever stretches all of it from zero by 3.281.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from perennial.wire.layout import Counts, Floats, Ints
from perennial.wire.reference import Numeric

SMALLEST = 0.2
"""The difference in cumulative probability below which no unit has changed: 1.6 times is more in all but the widest
columns."""

MOST = 0.5
"""The share of values far outside, or close about zero, from which a column is of another magnitude."""

FAR = 3.0
"""What is far outside: so many times the known range's width."""

FEWEST_BINS = 8
"""Columns of fewer have no shape to speak of."""

FEWEST_EDGES = 3
"""Edges at which the stretched distribution must be neither 0 nor 1, or it has no shape to be seen."""

LARGE = 8.0
"""A factor from which on, or below its inverse, a stretched distribution is no natural change, whatever its unit."""

CLEAR = 2.0
"""A factor from which on, or below its inverse, a distribution is rarely stretched by nature."""

FAR_APART, NEARLY = 1.2, 1.05
"""A known factor must be told from ones so many times greater and smaller: of clear ones, and those with an offset,
from distant ones; of others from near ones."""

DEVIATIONS = 3.5
"""Standard errors by which an edge may miss what a factor lets expect: all of some forty hold at once 98 times in a
hundred."""

CLOSELY = 2.5
"""Those by which an edge may miss where signs have changed: a shift comes close far more often than a factor does."""

TELLING = 0.02


@dataclass(frozen=True)
class Conversion:
    """x' = factor x + offset. `words` say where from and where to."""

    factor: float
    offset: float = 0.0
    words: str = ""


def _both_ways(factor: float, one: str, other: str) -> tuple[Conversion, Conversion]:
    return Conversion(factor, words=f"{one} to {other}"), Conversion(1 / factor, words=f"{other} to {one}")


KNOWN: tuple[Conversion, ...] = (
    *_both_ways(3.28084, "metres", "feet"),
    *_both_ways(1.609344, "miles", "kilometres"),
    *_both_ways(2.54, "inches", "centimetres"),
    *_both_ways(2.204623, "kilograms", "pounds"),
    *_both_ways(3.6, "m/s", "km/h"),
    *_both_ways(2.236936, "m/s", "miles an hour"),
    Conversion(1.8, 32.0, "Celsius to Fahrenheit"),
    Conversion(1 / 1.8, -32 / 1.8, "Fahrenheit to Celsius"),
)
"""Those that a factor alone, being large, does not tell."""

ONE_SIGN = 0.9
"""The share of values from which they are nearly all of one sign."""

BESIDE = 1 / 7
"""The share of the range of nine values in ten (half a standard deviation, of normal ones) by which a place must miss
the opposite of zero to be told from it. Where rows are too few for that, the opposite is not told from a shift."""

_STEPS: Floats = np.geomspace(LARGE, 1e7, 160)
_LARGE: tuple[Conversion, ...] = tuple(Conversion(float(factor)) for factor in (*_STEPS, *(1 / _STEPS)))
_ROUND = {
    24.0: "days and hours",
    60.0: "minutes and seconds",
    3600.0: "hours and seconds",
    57.29578: "degrees and radians",
}


def changed_unit(
    column: Numeric, now: Ints, before: Counts, dispersion: float = 1.0, *, on_its_way: bool = False
) -> str | None:
    """What the column looks as if, in words; None where its unit seems to be the same. Counts are of all its cells.

    How far one has come that is `on_its_way` tells nothing (`on_their_way.py`).
    """
    if len(column.bounds) <= FEWEST_BINS or not now[:-1].sum() or not before[:-1].sum():
        return None
    seen = _Seen.of(column, now, before, dispersion)
    if not ((seen.before > 0) & (seen.before < 1)).any():
        return None
    if np.abs(seen.now - seen.before).max() < SMALLEST:
        return None
    told = _known(seen) or _flipped(seen) or _stretched(seen)
    return told or (None if on_its_way else _elsewhere(column, now, before))


@dataclass(frozen=True)
class _Seen:
    """Shares below each edge, now and before, and of how many rows: those that the counts are worth."""

    edges: Floats
    now: Floats
    before: Floats
    rows: float
    rows_before: float

    @classmethod
    def of(cls, column: Numeric, now: Ints, before: Counts, dispersion: float) -> _Seen:
        below = [np.cumsum(cells[:-1])[:-1] / cells[:-1].sum() for cells in (now, before)]
        rows, rows_before = (float(cells[:-1].sum()) / dispersion for cells in (now, before))
        return cls(np.asarray(column.edges), below[0], below[1], rows, rows_before)

    @property
    def breadth(self) -> float:
        """Of nine values in ten, before."""
        low, high = np.interp([0.05, 0.95], self.before, self.edges)
        return float(high - low)

    @property
    def negative(self) -> tuple[float, float]:
        """The share of negative values among those that are not zero, before and now."""
        shares = []
        for below in (self.before, self.now):
            less, up_to = np.interp([0.0, np.nextafter(0.0, 1.0)], self.edges, below, left=0.0, right=1.0)
            shares.append(float(less / max(less + 1 - up_to, 1e-9)))
        return shares[0], shares[1]

    def fits(self, conversions: tuple[Conversion, ...]) -> NDArray[np.bool_]:
        """Which of them explain what is seen, at every edge and with a shape at some."""
        factor = np.array([each.factor for each in conversions])[:, None]
        offset = np.array([each.offset for each in conversions])[:, None]
        source = (self.edges[self.compared] - offset) / factor
        # Values spread evenly within a bin, or all on its lower edge as those of whole numbers.
        spread, slack = self._interpolated(source)
        below = np.append(self.before, 1.0)
        on_edges = below[np.searchsorted(self.edges, source)]
        # What was above the source is below an edge where signs change; zero is of either sign, and has its own cell.
        above = 1 - below[np.searchsorted(self.edges, source, side="right")]
        on_edges = np.where(factor < 0, above, on_edges)
        spread = np.where(factor < 0, np.where(source == 0, above, 1 - spread), spread)
        found: NDArray[np.bool_] = self._near(spread, slack) | self._near(on_edges, 0.0)
        return found

    def _interpolated(self, source: Floats) -> tuple[Floats, Floats]:
        """P(x < source) before, and by how much the form within a bin may make it differ."""
        # Below the first edge there was nothing, or nobody knows where.
        expected = np.interp(source, self.edges, self.before, left=0.0, right=1.0)
        place = np.clip(np.searchsorted(self.edges, source) - 1, 0, len(self.edges) - 2)
        width = self.edges[place + 1] - self.edges[place]
        along = np.clip((source - self.edges[place]) / width, 0.0, 1.0)
        mass = (self.before[1:] - self.before[:-1])[place]
        # In the outermost bins that hold anything values gather on the inner side, and the rest is wide.
        first, last = np.flatnonzero(self.before > 0)[0] - 1, np.flatnonzero(self.before < 1)[-1]
        form = np.where(place <= first, along, np.where(place >= last, 1 - along, along * (1 - along)))
        return expected, mass * form

    @property
    def compared(self) -> NDArray[np.bool_]:
        """The next double above zero divides by no factor; it is there to be divided to."""
        kept: NDArray[np.bool_] = (self.edges <= 0) | (self.edges >= np.finfo(np.float64).tiny)
        return kept

    def _near(self, expected: Floats, slack: Floats | float) -> NDArray[np.bool_]:
        close = np.abs(self.now[self.compared] - expected) <= DEVIATIONS * self._error(expected) + slack
        shape = (expected > TELLING) & (expected < 1 - TELLING)
        near: NDArray[np.bool_] = close.all(axis=-1) & (shape.sum(axis=-1) >= FEWEST_EDGES)
        return near

    def _error(self, expected: Floats) -> Floats:
        least = 1 / self.rows + 1 / self.rows_before
        error: Floats = np.sqrt((expected * (1 - expected) + least) * least)
        return error

    @property
    def is_mirrored(self) -> bool:
        """Whether all is opposite of where it was, wherever in its bin that may have been."""
        # What is below an edge was at least so much.
        with np.errstate(over="ignore"):
            least = np.nextafter(-self.edges, np.inf)
        below = np.concatenate([[0.0], self.before, [1.0]])
        fewest = 1 - below[np.searchsorted(self.edges, least) + 1]
        most = 1 - below[np.searchsorted(self.edges, least, side="right")]
        nearest = np.clip(self.now, fewest, most)
        shape = (fewest > TELLING) & (most < 1 - TELLING)
        close = np.abs(self.now - nearest) <= CLOSELY * self._error(nearest)
        return bool(close.all() and shape.sum() >= FEWEST_EDGES)


def _known(seen: _Seen) -> str | None:
    for conversion in compress(KNOWN, seen.fits(KNOWN)):
        factor = conversion.factor
        apart = FAR_APART if conversion.offset or max(factor, 1 / factor) >= CLEAR else NEARLY
        others = (Conversion(factor * apart, conversion.offset), Conversion(factor / apart, conversion.offset))
        if not seen.fits(others).any():
            return f"looks as if converted from {conversion.words}"
    return None


def _flipped(seen: _Seen) -> str | None:
    """Mirrored at zero, neither stretched nor moved besides, where nearly all values were of one sign: what is about
    zero anyway is mirrored by any small move."""
    was, is_ = seen.negative
    if not (was <= 1 - ONE_SIGN and is_ >= ONE_SIGN) and not (is_ <= 1 - ONE_SIGN and was >= ONE_SIGN):
        return None
    beside = BESIDE * seen.breadth
    others = (Conversion(-CLEAR), Conversion(-1 / CLEAR), Conversion(-1.0, beside), Conversion(-1.0, -beside))
    if not seen.is_mirrored or seen.fits(others).any():
        return None
    return "looks as if its sign had changed"


def _stretched(seen: _Seen) -> str | None:
    """By some large factor, of those that fit."""
    fitting = [each.factor for each in compress(_LARGE, seen.fits(_LARGE))]
    if not fitting or (min(fitting) > 1) != (max(fitting) > 1):
        return None
    if max(fitting) < 1:
        return f"looks as if divided by {_named(1 / max(fitting), 1 / min(fitting))}"
    return f"looks as if multiplied by {_named(min(fitting), max(fitting))}"


def _named(low: float, high: float) -> str:
    """The roundest number of a range of factors, which are steps apart."""
    if high >= _STEPS[-1]:
        return f"{low:,.2g} or more"
    step = _STEPS[1] / _STEPS[0]
    low, high = low / step, high * step
    tens = [ten for ten in (10.0**power for power in range(1, 7)) if low <= ten <= high]
    units = [factor for factor in _ROUND if low <= factor <= high]
    if tens:
        return f"{tens[0]:,.0f}"
    if units:
        return f"{units[0]:,.4g} ({_ROUND[units[0]]})"
    return f"about {(low * high) ** 0.5:,.2g}"


def _elsewhere(column: Numeric, now: Ints, before: Counts) -> str | None:
    """Where there is no shape: most values far outside, or close about zero and not on it."""
    edges = np.asarray(column.edges)
    low, high = edges[column.bounds[0]], edges[column.bounds[-1]]
    far = np.flatnonzero((edges <= low - FAR * (high - low)) | (edges >= high + FAR * (high - low)))
    below, above = far[edges[far] < low], far[edges[far] > high]
    if not len(below) or not len(above):
        return None
    places = [*range(below[-1] + 1), *range(above[0] + 1, len(edges) + 1)]
    if (more := _more(now, before, places)) >= MOST:
        return f"{more:.1%} more lie further from the known range than {FAR:g} times its width"
    probes = edges[column.probes]
    small = float(probes[(probes > np.finfo(np.float64).tiny) & np.isin(-probes, probes)].min(initial=np.inf))
    if small == np.inf:
        return None
    # Zero itself has a cell of its own.
    first, zero, last = np.searchsorted(edges, (-small, 0.0, small))
    places = [place for place in range(first + 1, last + 1) if place != zero + 1]
    if (more := _more(now, before, places)) >= MOST:
        return f"{more:.1%} more lie closer to zero than {small:.3g}, where hardly any did"
    return None


def _more(now: Ints, before: Counts, places: list[int]) -> float:
    shares = [cells[:-1] / max(float(cells[:-1].sum()), 1.0) for cells in (now, before)]
    return float((shares[0] - shares[1])[places].sum())
