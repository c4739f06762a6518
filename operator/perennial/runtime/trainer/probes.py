"""Further edges of a numeric column, which tell how far values lie out: a column in another unit is not just out of
range.

They stand beyond the range by shares and multiples of its span; close about zero, where training had hardly a value;
on the other side of zero, opposite to some bins; and where `data.expect` draws the line. What they are read for is in
`monitoring/units.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.runtime import binning
from perennial.wire.reference import Numeric
from perennial.wire.run import Expectation

SPANS = (0.25, 0.5, 1.0, 2.0, 3.0)
"""How far beyond the range, in its spans."""

FEWEST_BINS = 8
"""A column of fewer has too little shape to be recognised by: a month or a class may well take new values far away."""

OPPOSITE = (0.2, 0.5, 0.8)
"""Which bins have their opposites beyond the range, by their place among all of them."""

DUST = 0.01
"""The share of values other than zero that may lie closer to it than the probes there."""

SMALL = 16.0
"""How many times the median size these probes lie below it, at least."""


def probed(column: Numeric, values: NDArray[np.float64], expected: Expectation | None) -> Numeric:
    """The column with probes, counted anew from the values that it was made of."""
    least, greatest = (expected.min, expected.max) if expected else (None, None)
    bounds = np.asarray(column.edges)
    # At most the greatest is allowed: what lies beyond begins with the next double.
    limits = [
        edge for edge in (least, None if greatest is None else np.nextafter(greatest, np.inf)) if edge is not None
    ]
    wanted = np.array([*_beyond(bounds), *_opposite(bounds), *_about_zero(values), *limits])
    probes = np.setdiff1d(wanted[np.isfinite(wanted)], bounds)
    edges = np.union1d(bounds, probes)
    made = Numeric(
        column.name,
        edges.tolist(),
        [],
        np.searchsorted(edges, probes).tolist(),
        least=least,
        greatest=greatest,
    )
    made.counts = binning.count_cells(binning.numeric_cells(made, values), made.cells).tolist()
    return made


def _beyond(bounds: NDArray[np.float64]) -> list[float]:
    if len(bounds) <= FEWEST_BINS:
        return []
    low, high = bounds[0], bounds[-1]
    with np.errstate(over="ignore"):
        span = high - low
        return [edge for times in SPANS for edge in (low - times * span, high + times * span)]


def _opposite(bounds: NDArray[np.float64]) -> list[float]:
    """Where values that have changed their sign lie, if the range does not show it: below each of these lie as many as
    were at the bin's lower edge and above."""
    if len(bounds) <= FEWEST_BINS:
        return []
    places = {round(share * (len(bounds) - 1)) for share in OPPOSITE}
    edges = np.nextafter(-bounds[sorted(places)], np.inf)
    return [float(edge) for edge in edges if not bounds[0] <= edge <= bounds[-1]]


def _about_zero(values: NDArray[np.float64]) -> list[float]:
    """Zero itself stays apart: a count that falls to it is no change of unit."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if len(np.unique(sizes)) < FEWEST_BINS:
        return []
    small = min(float(np.quantile(sizes, DUST)), float(np.median(sizes)) / SMALL)
    return [-small, 0.0, float(np.nextafter(0.0, 1.0)), small]
