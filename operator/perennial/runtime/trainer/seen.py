"""A column's values as rules see them: which are missing, which are of a type, which are numbers and how large.

Texts are looked at once each and not once a row: a million rows of ten carriers cost ten looks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .columns import Column, common_kind, kind_of

if TYPE_CHECKING:
    import pandas as pd

Type = Literal["Number", "Boolean", "Text", "Date"]
Mask = NDArray[np.bool_]

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Seen:
    """All values of a column: `codes` [rows] number the `distinct` ones, -1 is missing."""

    column: Column
    codes: NDArray[np.intp]
    distinct: NDArray[Any]

    @property
    def missing(self) -> Mask:
        return self.codes < 0

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """[rows], NaN where there is no number."""
        return self._each([_number(value) for value in self.distinct.tolist()], np.float64, np.nan)

    def are(self, kind: Type) -> Mask:
        """Which rows hold a value of this type."""
        is_kind = _IS[kind]
        return self._each([is_kind(value) for value in self.distinct.tolist()], np.bool_, False)

    def among(self, values: list[str]) -> Mask:
        """Which rows hold one of these values: texts as they are, numbers and booleans by what they are worth."""
        texts = set(values)
        numbers = {number for value in values if not math.isnan(number := _number(value))}
        booleans = {value.lower() for value in values}
        found = [_is_among(value, texts, numbers, booleans) for value in self.distinct.tolist()]
        return self._each(found, np.bool_, False)

    def _each(self, answers: list[Any], kind: Any, absent: Any) -> NDArray[Any]:
        return np.array([*answers, absent], kind)[self.codes]


def seen(column: Column) -> Seen:
    """Raises InputError where the column holds what no column may: lists, bytes."""
    import pandas as pd

    if any(kind_of(piece) == "other" for piece in column.pieces):
        common_kind(column)
    codes, distinct = pd.factorize(pd.concat([_plain(piece) for piece in column.pieces], ignore_index=True))
    values = np.asarray(distinct.to_numpy(object), object)
    empty = np.flatnonzero([value == "" for value in values.tolist()])
    return Seen(column, np.where(np.isin(codes, empty), -1, codes), values)


def _plain(piece: pd.Series) -> pd.Series:
    import pandas as pd

    if isinstance(piece.dtype, pd.CategoricalDtype):
        return piece.astype(piece.cat.categories.dtype)
    return piece


def _number(value: Any) -> float:
    """NaN where it is none. A boolean is none: its range would mean nothing."""
    if isinstance(value, bool) or not isinstance(value, (str, Real)):
        return math.nan
    try:
        return float(value)
    except ValueError:
        return math.nan


def _is_number(value: Any) -> bool:
    return not math.isnan(_number(value))


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false"))


def _is_date(value: Any) -> bool:
    if isinstance(value, date):
        return True
    if not isinstance(value, str) or not _DATE.match(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


_IS: dict[Type, Callable[[Any], bool]] = {
    "Number": _is_number,
    "Boolean": _is_boolean,
    "Text": lambda value: isinstance(value, str),
    "Date": _is_date,
}


def _is_among(value: Any, texts: set[str], numbers: set[float], booleans: set[str]) -> bool:
    if isinstance(value, str):
        return value in texts
    if isinstance(value, bool):
        return str(value).lower() in booleans
    return _number(value) in numbers
