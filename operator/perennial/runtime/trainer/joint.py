"""Which joint columns a version has: chosen from the rows that the model learned from, binned by the held-out ones.

Numeric and boolean features take part. A product with one category of a feature is the other one's values within it,
and each would have to be counted by itself; shares of categories are watched as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perennial.runtime import binning
from perennial.runtime.joint import Recipe
from perennial.wire.reference import Joint, Numeric
from perennial.wire.schema import Schema

from .blocks import Blocks

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

COMPONENTS = 3
PAIRS = 8
PAIRS_OF_ONE = 2
"""Pairs that a feature is in, or a single group of alike features would have them all."""
BINS = 16
"""As many as the scan has cuts: the server and the monitor keep counts of each."""
TAIL = 0.01
"""Values are held within these quantiles: one outlier decides neither the mean nor a component."""
SAMPLE = 20_000
_DIGITS = 6
"""Of weights and correlations, so that their last bits decide nothing."""


def joint(schema: Schema, learned: pd.DataFrame, held_out: pd.DataFrame, blocks: Blocks) -> Joint | None:
    """The joint columns; None where fewer than two features vary."""
    chosen = _recipe(schema.numbers, _numbers(learned.iloc[:: max(1, len(learned) // SAMPLE)], schema.numbers))
    if chosen is None:
        return None
    values = Recipe(chosen)(_numbers(held_out, chosen.features))
    chosen.columns = [_column(name, row, blocks) for name, row in zip(_names(chosen), values, strict=True)]
    return chosen


def _recipe(names: list[str], numbers: Floats) -> Joint | None:
    ranges = [_range(row) for row in numbers]
    varying = [place for place, each in enumerate(ranges) if each is not None]
    if len(varying) < 2:
        return None
    low, high, mean, scale = (list(each) for each in zip(*(each for each in ranges if each), strict=True))
    recipe = Joint([names[place] for place in varying], low, high, mean, scale, [], [], [])
    values = np.nan_to_num(Recipe(recipe).standardised(numbers[varying]))
    correlation = (values @ values.T / values.shape[1]).round(_DIGITS)
    recipe.components = _components(correlation)
    recipe.pairs = _pairs(correlation)
    return recipe


def _range(values: Floats) -> tuple[float, float, float, float] | None:
    """Low, high, mean and scale; None for a feature that does not vary between its tails, or too much for numbers."""
    present = values[np.isfinite(values)]
    if not len(present):
        return None
    low, high = np.quantile(present, [TAIL, 1 - TAIL])
    with np.errstate(over="ignore", invalid="ignore"):
        held = np.clip(present, low, high)
        mean, scale = float(held.mean()), float(held.std())
    if not np.isfinite(scale) or scale <= 1e-9 * max(abs(low), abs(high)):
        return None
    return float(low), float(high), mean, scale


def _components(correlation: Floats) -> list[list[float]]:
    """The first principal components, at most one less than there are features, the largest weight of each positive."""
    count = min(COMPONENTS, len(correlation) - 1)
    vectors = np.linalg.eigh(correlation)[1][:, ::-1].T[:count]
    largest = np.abs(vectors).argmax(axis=1)[:, None]
    weights: list[list[float]] = (vectors * np.sign(np.take_along_axis(vectors, largest, 1))).round(_DIGITS).tolist()
    return weights


def _pairs(correlation: Floats) -> list[tuple[int, int]]:
    """The most correlated pairs, each feature in few of them."""
    first, second = np.triu_indices(len(correlation), 1)
    left = np.full(len(correlation), PAIRS_OF_ONE)
    pairs: list[tuple[int, int]] = []
    for place in np.argsort(-np.abs(correlation[first, second]), kind="stable"):
        one, other = int(first[place]), int(second[place])
        if left[one] and left[other]:
            left[[one, other]] -= 1
            pairs.append((one, other))
        if len(pairs) == PAIRS:
            break
    return pairs


def _names(recipe: Joint) -> list[str]:
    components = [f"(component {number})" for number in range(1, len(recipe.components) + 1)]
    products = [f"{recipe.features[one]} * {recipe.features[other]}" for one, other in recipe.pairs]
    return [*components, "(reconstruction error)", *products]


def _column(name: str, values: Floats, blocks: Blocks) -> Numeric:
    column = Numeric(name, binning.equal_mass_edges(values, BINS), [])
    cells = binning.numeric_cells(column, values)
    column.counts = binning.count_cells(cells, column.cells).tolist()
    return blocks.note(column, cells)


def _numbers(rows: pd.DataFrame, names: list[str]) -> Floats:
    """Values [features, rows]."""
    return np.array([rows[name].to_numpy(np.float64) for name in names]).reshape(len(names), len(rows))
