"""Distances from counts against rows, and against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from perennial.monitoring.distances import jensen_shannon, population_stability, wasserstein
from perennial.runtime import binning
from perennial.wire.reference import Numeric


def test_divergence_is_in_bits(rng: np.random.Generator) -> None:
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1)
    assert jensen_shannon(np.array([0.3, 0.7]), np.array([0.3, 0.7])) == pytest.approx(0)
    p, q = rng.dirichlet(np.ones(9), 2)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2)


def test_population_stability_is_the_customary_one_where_no_cell_is_empty() -> None:
    before, now = np.array([100_000] * 10), np.array([150_000, 50_000] + [100_000] * 8)
    expected = 0.05 * np.log(1.5) + 0.05 * np.log(2)
    assert population_stability(now, before) == pytest.approx(expected, rel=1e-3)
    assert population_stability(before, before) == 0


def test_an_empty_cell_makes_no_infinity_and_few_rows_no_large_index(rng: np.random.Generator) -> None:
    assert np.isfinite(population_stability(np.array([0, 0, 300]), np.array([100, 200, 0])))
    same = [population_stability(rng.multinomial(500, [0.1] * 10), np.array([1000] * 10)) for _ in range(200)]
    assert max(same) < 0.1


@pytest.mark.parametrize(("shift", "within_a_bin"), [(0.0, 0.3), (0.3, 0.5), (2.0, 5.0)])
def test_wasserstein_is_that_of_the_rows_to_a_bins_width(
    rng: np.random.Generator, shift: float, within_a_bin: float
) -> None:
    """The last bin is as wide as two standard deviations: values that move into it may lie anywhere there."""
    before, now = 50 + 10 * rng.normal(size=20_000), 50 + 10 * (rng.normal(size=20_000) + shift)
    column = Numeric("x", binning.equal_mass_edges(before), [])
    p, q = (_shares(column, each) for each in (now, before))
    within = np.clip(now, column.edges[0], column.edges[-1])
    assert wasserstein(column.edges, p, q) == pytest.approx(wasserstein_distance(before, within), abs=within_a_bin)


def test_wasserstein_where_the_curves_cross_within_a_bin() -> None:
    """Below 1 one curve is 0.5 above the other, at 2 it is 0.5 below: two triangles."""
    p, q = np.array([0.5, 0.0, 0.5]), np.array([0.0, 1.0, 0.0])
    assert wasserstein([0.0, 1.0], p, q) == pytest.approx(0.25)
    assert wasserstein([0.0, 1.0], np.array([1.0, 0.0, 0.0]), q) == pytest.approx(0.5)


@pytest.mark.parametrize("edges", [[], [7.0]])
def test_columns_without_a_bin_have_no_distance(edges: list[float]) -> None:
    cells = np.ones(len(edges) + 1) / (len(edges) + 1)
    assert wasserstein(edges, cells, cells) == 0


def test_one_cell_cannot_differ() -> None:
    assert population_stability(np.array([5]), np.array([900])) == 0


def _shares(column: Numeric, values: np.ndarray) -> np.ndarray:
    cells = binning.count_cells(binning.numeric_cells(column, values), column.cells)[:-1]
    return np.asarray(cells / cells.sum())
