"""What would be seen: the difference that is said to show alarms about every other time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perennial.monitoring.layout import Layout, reference_cells
from perennial.monitoring.scan import Normal, Scan
from perennial.monitoring.sight import sight
from perennial.wire.reference import Numeric

LOOKS = 10_000.0


def scan_of(reference_rows: int, dispersion: float = 1.0) -> Scan:
    half = reference_rows // 2
    layout = Layout([Numeric("x", [0.0, 1.0, 2.0], [0, half, half, 0, 0])])
    normal = Normal(reference_cells(layout.columns), np.full(len(layout.cuts), dispersion))
    return Scan(layout, normal, drift_looks=LOOKS, fault_looks=LOOKS)


@pytest.mark.parametrize(("rows", "reference_rows"), [(400, 4000), (2000, 2000), (20_000, 5000)])
def test_it_alarms_every_other_time(rng: np.random.Generator, rows: int, reference_rows: int) -> None:
    scan = scan_of(reference_rows)
    shift = sight(scan, rows)
    alarms = 0
    for _ in range(400):
        below = rng.binomial(rows, 0.5 - shift)
        # The baseline is a draw, too: its error is part of what hides a change.
        before = rng.binomial(reference_rows, 0.5)
        cells = np.array([0, before, reference_rows - before, 0, 0])
        drawn = Scan(scan.layout, Normal(cells, scan.normal.dispersion), drift_looks=LOOKS, fault_looks=LOOKS)
        statistics = drawn.statistics(np.array([[0, below, rows - below, 0, 0]]))
        alarms += drawn.excess(statistics) > 1
    assert 0.35 < alarms / 400 < 0.75


def test_more_rows_see_less_and_dispersion_hides() -> None:
    scan = scan_of(5000)
    assert sight(scan, 200) > sight(scan, 2000) > sight(scan, math.inf) > 0
    assert sight(scan_of(5000, dispersion=4.0), 2000) == pytest.approx(2 * sight(scan, 2000))
    assert sight(scan, 1) == 1.0
