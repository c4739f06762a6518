"""Rows made to find a wrong conversion: missing values, texts never seen, values on a tree's thresholds and beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Texts = NDArray[np.object_]

UNSEEN = "\u2047 never seen"
_SAMPLE = 1000
_EACH = 40
"""Rows for each column and kind of trouble; so many thresholds of a column are tried."""
_CELLS = 8_000_000
"""Rows by columns, at most: the rows have each column's trouble and every column, so that they grow with the square."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The two matrices of a batch; each may have no columns."""

    numbers: Numbers
    texts: Texts

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def width(self) -> int:
        return int(self.numbers.shape[1] + self.texts.shape[1])

    def take(self, index: NDArray[np.intp]) -> Rows:
        """A copy of these rows."""
        return Rows(self.numbers[index], self.texts[index])


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What is done to so many rows."""

    rows: int
    make: Callable[[Rows], None]


def hard_rows(held_out: Rows, thresholds: dict[int, Numbers], seed: int = 0) -> Rows:
    """A sample of `held_out` and rows derived from it. `thresholds` are by column of the numbers.

    Each column has its trouble by itself as far as the rows have room, which they have for some hundred columns; of
    more, some columns do. All have it together.
    """
    random = np.random.default_rng(seed)
    room = max(_EACH, _CELLS // max(1, held_out.width))
    each = max(1, min(_EACH, room // (4 * max(1, held_out.width))))

    def sample(count: int) -> Rows:
        return held_out.take(random.integers(0, len(held_out), count))

    alone = [*_missing(held_out, each), *_unseen(held_out, each), *_on_thresholds(thresholds, each, random)]
    together = _together(thresholds, min(10 * _EACH, room // 8), random)
    made = [sample(min(_SAMPLE, len(held_out), room // 4))]
    for trouble in (*together, *_that_fit(alone, room // 2, random)):
        rows = sample(trouble.rows)
        trouble.make(rows)
        made.append(rows)
    return Rows(np.concatenate([rows.numbers for rows in made]), np.concatenate([rows.texts for rows in made]))


def _that_fit(troubles: Sequence[_Trouble], room: int, random: np.random.Generator) -> Sequence[_Trouble]:
    if sum(trouble.rows for trouble in troubles) <= room:
        return troubles
    chosen: list[_Trouble] = []
    for place in random.permutation(len(troubles)).tolist():
        room -= troubles[place].rows
        if room < 0:
            break
        chosen.append(troubles[place])
    return chosen


def _missing(like: Rows, each: int) -> Iterator[_Trouble]:
    for column in range(like.numbers.shape[1]):
        yield _Trouble(each, partial(_set_number, column, np.nan))
    for column in range(like.texts.shape[1]):
        yield _Trouble(each, partial(_set_text, column, ""))


def _unseen(like: Rows, each: int) -> Iterator[_Trouble]:
    for column in range(like.texts.shape[1]):
        yield _Trouble(each, partial(_set_text, column, UNSEEN))


def _on_thresholds(thresholds: dict[int, Numbers], each: int, random: np.random.Generator) -> Iterator[_Trouble]:
    for column, values in sorted(thresholds.items()):
        beside = _around(random.choice(values, min(each, len(values)), replace=False))
        yield _Trouble(len(beside), partial(_set_number, column, beside))


def _together(thresholds: dict[int, Numbers], many: int, random: np.random.Generator) -> Iterator[_Trouble]:
    """Many values missing at once, all of them, and every column on a threshold of its own or beside."""

    def some_missing(rows: Rows) -> None:
        rows.numbers[random.random(rows.numbers.shape) < 0.3] = np.nan
        rows.texts[random.random(rows.texts.shape) < 0.3] = ""

    def nothing(rows: Rows) -> None:
        rows.numbers[:], rows.texts[:] = np.nan, ""

    def all_on_thresholds(rows: Rows) -> None:
        for column, values in sorted(thresholds.items()):
            rows.numbers[:, column] = random.choice(_around(random.choice(values, _EACH)), len(rows))

    yield _Trouble(many, some_missing)
    yield _Trouble(1, nothing)
    yield _Trouble(many, all_on_thresholds)


def _set_number(column: int, values: Numbers | float, rows: Rows) -> None:
    rows.numbers[:, column] = values


def _set_text(column: int, value: str, rows: Rows) -> None:
    rows.texts[:, column] = value


def _around(values: Numbers) -> Numbers:
    """The values and their neighbours in double and in single precision: trees look at either."""
    single = values.astype(np.float32)
    below, above = np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf))
    return np.concatenate(
        [values, np.nextafter(values, -np.inf), np.nextafter(values, np.inf), below, above, single]
    ).astype(np.float64)
