"""How many rows may be predicted together: as many as are answered, bit for bit, as each of them alone.

No engine promises it. A matrix product may be summed in another order for one row than for many, a vector unit may
round another way than what works off its remainder, and what a custom operator does is its own. So it is tried, on the
model itself, for every size of batch that will be used; an answer then never depends on who else was asking.
"""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.server.engine import Answers, Engine
from perennial.runtime.server.rows import Rows, rows_of
from perennial.wire.schema import Example, Feature, Schema

MAX_BATCH_ROWS = 64
"""More saves little: what a prediction costs by itself is by then spread over as many rows."""
TRIAL_SECONDS = 0.5

_Value = float | bool | str | None


def batch_rows(engine: Engine, schema: Schema, limit: int = MAX_BATCH_ROWS, seconds: float = TRIAL_SECONDS) -> int:
    """The most rows that may go together: every number up to it was tried within `seconds`. 1: none were alike."""
    rows = trial_rows(schema, limit)
    deadline = time.perf_counter() + seconds
    alone: list[Answers] = []
    for count in range(1, limit + 1):
        try:
            alone.append(engine(rows.take(slice(count - 1, count))))
            together = engine(rows.take(slice(count)))
        except Exception:
            # Not every mixture of columns is something that a model takes, and what it then raises is its own.
            return max(1, count - 1)
        if not all(_same(together.part(slice(i, i + 1)), one) for i, one in enumerate(alone)):
            return max(1, count - 1)
        if time.perf_counter() > deadline:
            return count
    return limit


def trial_rows(schema: Schema, count: int) -> Rows:
    """Rows like those of the examples, no two the same: each value is between two that a column was seen to have."""
    chance = random.Random(0)
    columns = list(zip(*(example.values for example in known_rows(schema)), strict=True))
    values = [
        [_value(chance, feature, seen) for feature, seen in zip(schema.features, columns, strict=True)]
        for _ in range(count)
    ]
    return rows_of(schema, [Example(row, 0.0) for row in values])


def known_rows(schema: Schema) -> list[Example]:
    """The examples; of a model that was published without, a row of zeros: more models take that than take a row whose
    values are all missing."""
    zeros = [None if feature.kind == "categorical" else 0.0 for feature in schema.features]
    return schema.examples or [Example([*zeros], 0.0)]


def _value(chance: random.Random, feature: Feature, seen: tuple[_Value, ...]) -> _Value:
    one, other = chance.choice(seen), chance.choice(seen)
    if feature.kind != "numeric" or not isinstance(one, float) or not isinstance(other, float):
        return one
    return one + chance.random() * (other - one)


def _same(one: Answers, other: Answers) -> bool:
    return _bits(one.predictions) == _bits(other.predictions) and (
        one.probabilities is None
        or (other.probabilities is not None and _bits(one.probabilities) == _bits(other.probabilities))
    )


def _bits(values: NDArray[Any]) -> object:
    return values.tolist() if values.dtype == object else np.ascontiguousarray(values).tobytes()
