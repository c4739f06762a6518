"""The competitor of the benchmark is what its description says: by SciPy's likelihood ratio of 2 x 2 tables, and by
chunks whose overdispersion is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, norm

from tests.benchmarks.plain_scan import LENGTHS, PlainScan

COLUMN = np.repeat([0, 1], 5)
SHARES = np.tile([0.03, 0.2, 0.5, 0.7, 0.95], 2)
CHUNKS, ROWS = 40, 250


def plain_scan(phi: float = 1.0) -> PlainScan:
    """The first column's chunks waver so much more than chance; the second's not at all."""
    rng = np.random.default_rng(4)
    waver = rng.normal(size=(CHUNKS, 1)) * np.sqrt(phi * SHARES[:5] * (1 - SHARES[:5]) / ROWS)
    inside = np.concatenate([ROWS * (SHARES[:5] + waver), np.tile(ROWS * SHARES[5:], (CHUNKS, 1))], axis=1)
    return PlainScan(inside, np.full(inside.shape, float(ROWS)), COLUMN)


def test_a_statistic_is_the_root_of_the_likelihood_ratio() -> None:
    scan = plain_scan()
    inside = np.array([[0.0, 300.0, 520.0, 650.0, 1000.0] * 2])
    (found,) = scan.statistics(inside, np.full(inside.shape, 1000.0))
    for cut in range(5, 10):
        few, many = inside[0, cut], CHUNKS * ROWS * SHARES[cut]
        table = [[few, 1000 - few], [many, CHUNKS * ROWS - many]]
        likely = chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
        assert found[cut] == pytest.approx(np.sqrt(likely))


def test_a_column_is_judged_by_its_own_overdispersion() -> None:
    phi = plain_scan(phi=4.0).phi
    assert np.all(phi[:5] == phi[0])
    assert 4.0 <= phi[0] <= 8.0
    assert np.all(phi[5:] == 1.0)


def test_bounds_pay_for_all_looks_cuts_and_lengths() -> None:
    by_phi, told_iid = plain_scan(phi=4.0).bounds(looks=10_000)
    alarms = 10_000 * len(COLUMN) * len(LENGTHS) * 2 * norm.sf(told_iid)
    assert alarms == pytest.approx(1.0)
    assert np.allclose(by_phi[5:], told_iid[5:])
    assert np.all(by_phi[:5] >= 2 * told_iid[:5])
