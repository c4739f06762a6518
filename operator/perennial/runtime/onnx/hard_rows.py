"""Rows made to find a wrong conversion: missing values, texts never seen, values on a tree's thresholds and beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Texts = NDArray[np.object_]

UNSEEN = "\u2047 never seen"
_SAMPLE = 1000
_EACH = 40
"""Rows for each column and kind of trouble; so many thresholds of a column are tried."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The two matrices of a batch; each may have no columns."""

    numbers: Numbers
    texts: Texts

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, index: NDArray[np.intp]) -> Rows:
        return Rows(self.numbers[index].copy(), self.texts[index].copy())


def hard_rows(held_out: Rows, thresholds: dict[int, Numbers], seed: int = 0) -> Rows:
    """A sample of `held_out` and rows derived from it. `thresholds` are by column of the numbers."""
    random = np.random.default_rng(seed)

    def sample(count: int) -> Rows:
        return held_out.take(random.integers(0, len(held_out), count))

    made = [sample(min(_SAMPLE, len(held_out))), *_with_missing(sample, random, held_out)]
    for column in range(held_out.texts.shape[1]):
        unseen = sample(_EACH)
        unseen.texts[:, column] = UNSEEN
        made.append(unseen)
    for column, values in sorted(thresholds.items()):
        chosen = random.choice(values, min(_EACH, len(values)), replace=False)
        beside = _around(chosen)
        rows = sample(len(beside))
        rows.numbers[:, column] = beside
        made.append(rows)
    return Rows(np.concatenate([rows.numbers for rows in made]), np.concatenate([rows.texts for rows in made]))


def _with_missing(sample: Callable[[int], Rows], random: np.random.Generator, held_out: Rows) -> list[Rows]:
    """One column missing at a time, many at once, and all."""
    made = []
    for column in range(held_out.numbers.shape[1]):
        rows = sample(_EACH)
        rows.numbers[:, column] = np.nan
        made.append(rows)
    for column in range(held_out.texts.shape[1]):
        rows = sample(_EACH)
        rows.texts[:, column] = ""
        made.append(rows)
    many = sample(10 * _EACH)
    many.numbers[random.random(many.numbers.shape) < 0.3] = np.nan
    many.texts[random.random(many.texts.shape) < 0.3] = ""
    nothing = sample(1)
    nothing.numbers[:], nothing.texts[:] = np.nan, ""
    return [*made, many, nothing]


def _around(values: Numbers) -> Numbers:
    """The values and their neighbours in double and in single precision: trees look at either."""
    single = values.astype(np.float32)
    below, above = np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf))
    return np.concatenate(
        [values, np.nextafter(values, -np.inf), np.nextafter(values, np.inf), below, above, single]
    ).astype(np.float64)
