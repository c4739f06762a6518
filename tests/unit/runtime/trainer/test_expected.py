"""Losses by score: what they are, and whether they hold on newer rows."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.runtime import binning
from perennial.runtime.trainer.expected import LEAST, POOL, expected
from perennial.wire.reference import Expected, Numeric


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


def held_out(rng: np.random.Generator, n: int, turned: bool = False) -> tuple[Numeric, np.ndarray, np.ndarray]:
    """A positive score whose answers are wrong as often as it says; `turned` makes the newer half's always so."""
    scores = rng.beta(0.5, 0.5, size=n)
    wrong = (rng.random(n) < np.minimum(scores, 1 - scores)).astype(np.intp)
    if turned:
        wrong[n // 2 :] = rng.random(n - n // 2) < 0.5
    column = Numeric("score", binning.equal_mass_edges(scores), [])
    return column, binning.numeric_cells(column, scores), wrong


def made(rng: np.random.Generator, n: int, turned: bool = False) -> tuple[Expected, np.ndarray]:
    column, cells, wrong = held_out(rng, n, turned)
    found = expected(column, cells, wrong)
    assert found is not None
    assert len(found.values) == column.cells
    return found, np.bincount(cells, minlength=column.cells)


def test_values_are_the_losses_by_score(rng: np.random.Generator) -> None:
    column, cells, wrong = held_out(rng, 200_000)
    found = expected(column, cells, wrong)
    assert found is not None
    middles = (np.array(column.edges[:-1]) + np.array(column.edges[1:])) / 2
    np.testing.assert_allclose(found.values[1:-2], np.minimum(middles, 1 - middles), atol=0.02)
    assert (found.values[0], found.values[-2]) == (found.values[1], found.values[-3])
    assert found.values[-1] == pytest.approx(wrong.mean())


@pytest.mark.parametrize("n", [LEAST, 300, 1000, 20_000])
def test_held_out_rows_let_expect_exactly_their_own_loss(rng: np.random.Generator, n: int) -> None:
    column, cells, wrong = held_out(rng, n)
    found = expected(column, cells, wrong)
    assert found is not None
    assert np.bincount(cells, minlength=column.cells) @ found.values / n == pytest.approx(wrong.mean())


def test_few_rows_are_pooled(rng: np.random.Generator) -> None:
    found, counts = made(rng, 300)
    pools = [counts[np.array(found.values) == value].sum() for value in set(found.values[:-1])]
    assert min(pools) >= POOL
    assert 3 <= len(pools) <= 6


def test_one_score_for_all_is_one_loss() -> None:
    column = Numeric("score", [0.7, np.nextafter(0.7, 1.0)], [])
    found = expected(column, np.full(300, 1), np.arange(300) % 10 // 9)
    assert found is not None
    assert found.values == pytest.approx([0.1] * 4)


@pytest.mark.parametrize("n", [LEAST, 1000, 20_000])
def test_what_holds_is_within_doubt_and_what_turns_is_not(rng: np.random.Generator, n: int) -> None:
    same = [made(rng, n)[0] for _ in range(100)]
    within = sum(abs(each.estimated - each.measured) <= each.doubt for each in same)
    assert within >= 88
    turned, _ = made(rng, n, turned=True)
    assert abs(turned.estimated - turned.measured) > turned.doubt


def test_too_few_rows_let_expect_nothing(rng: np.random.Generator) -> None:
    assert expected(*held_out(rng, LEAST - 1)) is None
