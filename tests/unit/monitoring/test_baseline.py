"""A baseline learned from serving: whole when it may be, and with the right overdispersion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from perennial.monitoring import baseline as baselines
from perennial.monitoring.baseline import Baseline, chi2_low
from perennial.monitoring.layout import CutKind, Layout

from . import worlds


@pytest.mark.parametrize("freedom", [9, 15, 40, 400])
def test_chi2_low_is_its_quantile(freedom: int) -> None:
    assert chi2_low(freedom) == pytest.approx(float(chi2.ppf(0.1, freedom)), rel=1e-3)


@pytest.mark.parametrize(("rows", "of", "windows"), [(500, 10_000, 20), (5000, 10_000, 10), (500, 100, 10)])
def test_it_takes_the_rows_asked_for_and_ten_windows(
    rng: np.random.Generator, rows: int, of: int, windows: int
) -> None:
    assert _learn(rng, rows, of=of).windows == windows


def test_dispersion_is_the_median_over_cuts_of_pearsons(rng: np.random.Generator) -> None:
    """Against the definition, from all the windows, which the baseline itself does not keep."""
    column = worlds.numeric("x", rng)
    layout = Layout([column])
    windows = [worlds.draw(column, rng, 300 + 50 * i, shift=float(rng.normal() * 0.2)) for i in range(20)]
    learned = baselines.from_serving(layout, 0.0)
    for window in windows:
        learned = baselines.learn(learned, layout, window, sum(window), of=sum(map(sum, windows)))
    inside, n = layout.cut_counts(np.array(windows))
    share = inside.sum(axis=0) / n.sum(axis=0)
    split = (layout.kind == CutKind.VALUE) & (share > 0) & (share < 1)
    pearson = ((inside - n * share) ** 2)[:, split] / (n * share * (1 - share))[:, split]
    expected = np.median(pearson.sum(axis=0)) / chi2.ppf(0.1, 19)
    assert learned.dispersion[5] == pytest.approx(expected, rel=1e-3)


def test_windows_alike_but_for_chance_have_little_dispersion(rng: np.random.Generator) -> None:
    assert max(_learn(rng, 500, of=20_000).dispersion) < 2.5


def test_hours_that_differ_have_more(rng: np.random.Generator) -> None:
    assert min(_learn(rng, 500, of=20_000, wobble=0.3).dispersion) > 5


def test_missing_values_that_come_in_bursts_have_their_own(rng: np.random.Generator) -> None:
    column = worlds.numeric("x", rng)
    layout = Layout([column])
    learned = baselines.from_serving(layout, 0.0)
    for number in range(20):
        window = worlds.draw(column, rng, 500, missing=0.4 if number % 5 == 0 else 0.0)
        learned = baselines.learn(learned, layout, window, 500, of=10_000)
    assert learned.dispersion[-1] > 10 > max(learned.dispersion[:-1])


def test_training_brings_the_runs_own(rng: np.random.Generator) -> None:
    column = worlds.numeric("x", rng)
    column.phi = 1.7
    reference = worlds.reference([column, worlds.numeric("(score)", rng)])
    trained = baselines.from_training(reference, Layout(reference.columns), 12.0)
    assert trained.complete
    assert trained.rows == reference.rows
    assert set(trained.dispersion) == {1.7, 1.0}


def _learn(rng: np.random.Generator, rows: int, *, of: int, wobble: float = 0.0) -> Baseline:
    column = worlds.numeric("x", rng)
    layout = Layout([column])
    learned = baselines.from_serving(layout, 0.0)
    while not learned.complete:
        shift = float(rng.normal() * wobble)
        learned = baselines.learn(learned, layout, worlds.draw(column, rng, rows, shift=shift), rows, of=of)
    return learned
