"""What the rows have to be like, by `data.expect`: every rule is looked at, so that one report tells all of it.

The rows are looked at as they were read, before a value that is wrong can be taken for a category of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.wire.run import Expectation

from .columns import Column
from .seen import Mask, Seen, seen

ROWS_REPORTED = 100
VALUES_REPORTED = 10
_TEXT_LIMIT = 80


class Breach(msgspec.Struct, rename="camel"):
    """A rule that is broken, by `rows` of the `looked_at`. `first` are files and rows, from 1 without the header."""

    column: str
    rule: str
    rows: int
    looked_at: int
    values: list[str]
    first: list[str]

    @property
    def share(self) -> float:
        return self.rows / self.looked_at

    def __str__(self) -> str:
        found = f": {', '.join(self.values[:3])}" if self.values else ""
        first = f"; first {self.first[0]}"
        return f"{self.column}: {self.rule}: {self.rows} of {self.looked_at} rows ({self.share:.2%}){found}{first}"


def breaches(column: Column, expected: Expectation, within: NDArray[np.intp]) -> list[Breach]:
    """Every rule for the column that these rows break, in the order of severity."""
    if not len(within):
        return []
    values = seen(column)
    found = []
    for rule, broken in _rules(values, expected):
        rows = within[broken[within]]
        if len(rows):
            found.append(_breach(values, rule, rows, len(within)))
    missing = within[values.missing[within]]
    if expected.nulls is not None and len(missing) / len(within) > expected.nulls:
        found.append(_breach(values, f"nulls at most {expected.nulls * 100:g}%", missing, len(within)))
    return found


def _rules(values: Seen, expected: Expectation) -> Iterator[tuple[str, Mask]]:
    """Each rule but that of missing values, and which rows break it."""
    present = ~values.missing
    ranged = expected.min is not None or expected.max is not None
    kind = expected.type or ("Number" if ranged else None)
    if kind is not None:
        yield f"type {kind}", present & ~values.are(kind)
    if expected.min is not None:
        yield f"min {expected.min:g}", values.numbers < expected.min
    if expected.max is not None:
        yield f"max {expected.max:g}", values.numbers > expected.max
    if expected.values is not None:
        yield f"values {_few(expected.values)}", present & ~values.among(expected.values)
    if expected.unique:
        yield "unique", present & _again(values.codes)


def _again(codes: NDArray[np.intp]) -> Mask:
    """Which rows repeat the value of an earlier one."""
    again = np.ones(len(codes), bool)
    again[np.unique(codes, return_index=True)[1]] = False
    return again


def _breach(values: Seen, rule: str, rows: NDArray[np.intp], looked_at: int) -> Breach:
    counted = Counter(values.codes[rows].tolist())
    counted.pop(-1, None)
    shown = [
        f"{_shown(values.distinct[code])} ({count})" if count > 1 else _shown(values.distinct[code])
        for code, count in counted.most_common(VALUES_REPORTED)
    ]
    first = [values.column.where(int(row)) for row in rows[:ROWS_REPORTED]]
    return Breach(values.column.name, rule, len(rows), looked_at, shown, first)


def _few(values: list[str]) -> str:
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    return ", ".join(values[:5]) + more


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"
