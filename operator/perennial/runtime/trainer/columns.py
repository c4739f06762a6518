"""What kind each column is, decided once from all rows, and its values in the one form that models are given.

Numbers and booleans become float64 with NaN for missing, texts become `str` with the empty string for missing: the same
form in which rows come to the server (`runtime/model_format.md`), so that there is nothing to convert differently.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.failures import InputError
from perennial.wire.schema import Feature
from perennial.wire.schema import Kind as FeatureKind

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["numeric", "boolean", "text", "date", "nothing", "other"]

_MODEL_KINDS: dict[Kind, FeatureKind] = {"boolean": "boolean", "text": "categorical"}
"""What a model is given instead of these; all else is a number to it."""

_MOSTLY = 0.9
_ISO_DATE = r"\d{4}-\d{2}-\d{2}"
_IDENTIFIER_SHARE = 0.5
_IDENTIFIER_LEAST = 256


@dataclass(frozen=True, slots=True)
class Column:
    """One column over all files: `pieces` in the order of the files, whose names and rows are `places`."""

    name: str
    pieces: list[pd.Series]
    places: list[tuple[str, int]]

    def where(self, row: int) -> str:
        """The file and the row in it (from 1, without the header) of the `row`-th row of all."""
        return row_in(self.places, row)


def row_in(files: Iterable[tuple[str, int]], row: int) -> str:
    """The file and the row in it (from 1) of the `row`-th row (from 0) of all. `files` have so many rows each."""
    for name, rows in files:
        if row < rows:
            return f"{name}, row {row + 1}"
        row -= rows
    raise IndexError(row)


def kind_of(series: pd.Series) -> Kind:
    """What a column of one file holds, by type and, where the type says nothing, by its values."""
    import pandas as pd
    from pandas.api import types

    if isinstance(series.dtype, pd.CategoricalDtype):
        return kind_of(pd.Series(series.cat.categories))
    if types.is_bool_dtype(series.dtype):
        return "boolean"
    if types.is_datetime64_any_dtype(series.dtype):
        return "date"
    if types.is_numeric_dtype(series.dtype):
        return "nothing" if series.isna().all() else "numeric"
    present = series.dropna()
    if not len(present):
        return "nothing"
    inferred = pd.api.types.infer_dtype(present, skipna=True)
    known: dict[str, Kind] = {"string": "text", "boolean": "boolean", "date": "date", "datetime": "date"}
    kind = known.get(inferred, "other")
    return "date" if kind == "text" and _are_dates(present) else kind


def common_kind(column: Column) -> Kind:
    """The kind that all files agree on. Raises InputError that names two files which do not."""
    found: dict[Kind, str] = {}
    for piece, (name, _) in zip(column.pieces, column.places, strict=True):
        kind = kind_of(piece)
        if kind == "other":
            raise InputError("DataUnreadable", f"{name}: column {column.name!r} holds {_example(piece)}: {_OTHER}")
        if kind != "nothing":
            found.setdefault(kind, name)
    if len(found) > 1:
        (one, first), (two, second) = list(found.items())[:2]
        raise InputError("DataUnreadable", f"column {column.name!r} is {one} in {first} and {two} in {second}")
    return next(iter(found), "nothing")


_OTHER = "a column holds numbers, booleans, texts or dates, and one kind only"


def feature_of(column: Column, kind: Kind) -> Feature:
    """The column as a feature of the model. Raises InputError for a date."""
    if kind == "date":
        raise InputError(
            "DateFeature",
            f"data.features: {column.name!r} is a date, which no model takes: "
            "derive numbers from it (hour, weekday, age) or leave it out",
        )
    return Feature(column.name, _MODEL_KINDS.get(kind, "numeric"))


def values_of(column: Column, feature: Feature) -> NDArray[np.float64] | NDArray[np.object_]:
    """All values of the column in the form of its kind.

    Raises InputError for infinite numbers, and for texts that are nearly all numbers: one typing error would else make
    a category of each number.
    """
    if feature.kind == "categorical":
        texts = _texts(column)
        _refuse_nearly_numeric(column, texts)
        return texts
    numbers = np.concatenate([_numbers(piece) for piece in column.pieces])
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        raise InputError(
            "InfiniteValue",
            f"{column.where(int(infinite[0]))}: column {column.name!r} is infinite; leave it empty for missing",
        )
    return numbers


def why_left_out(values: NDArray[np.generic]) -> str | None:
    """Why a text column is not used unless `data.features` names it: it looks like an identifier, new in each row."""
    distinct = len(set(values.tolist()))
    if distinct < _IDENTIFIER_LEAST or distinct < _IDENTIFIER_SHARE * len(values):
        return None
    return f"an identifier: {distinct} different texts in {len(values)} rows"


def groups_of(column: Column) -> NDArray[np.intp]:
    """The number of each row's group. Rows without one are a group of their own: they may belong together."""
    import pandas as pd

    values = pd.concat([pd.Series(piece.astype(object)) for piece in column.pieces], ignore_index=True)
    codes, _ = pd.factorize(values.where(values.notna(), ""), use_na_sentinel=False)
    return np.asarray(codes, np.intp)


def slice_values_of(column: Column) -> NDArray[np.float64] | NDArray[np.object_]:
    """What rows are told apart by: numbers (NaN: missing), or texts (empty: missing), true and false among them.

    Raises InputError for a date, of which each row may have another.
    """
    kind = common_kind(column)
    if kind == "date":
        raise InputError(
            "DateSlice", f"acceptance.slices: {column.name!r} is a date: derive a month or a weekday from it"
        )
    if kind == "numeric":
        return np.concatenate([_numbers(piece) for piece in column.pieces])
    if kind == "boolean":
        flags = np.concatenate([_numbers(piece) for piece in column.pieces])
        return np.array(["" if np.isnan(flag) else "true" if flag else "false" for flag in flags], object)
    return _texts(column)


def _numbers(piece: pd.Series) -> NDArray[np.float64]:
    import pandas as pd

    if isinstance(piece.dtype, pd.CategoricalDtype):
        piece = piece.astype(piece.cat.categories.dtype)
    if piece.dtype == object:
        piece = piece.map(float, na_action="ignore")
    return np.asarray(piece.to_numpy(np.float64, na_value=np.nan))


def _texts(column: Column) -> NDArray[np.object_]:
    """Equal texts are one object: a million rows of ten carriers take a million pointers."""
    import pandas as pd

    pieces = [pd.Series(piece.astype(object)) for piece in column.pieces]
    codes, distinct = pd.factorize(pd.concat(pieces, ignore_index=True).to_numpy(object))
    texts = np.array([*distinct, ""], object)
    return np.asarray(texts[codes])


def no_date(series: pd.Series) -> int | None:
    """The first row whose text is no date where nearly all are; None for any other column."""
    import pandas as pd

    if kind_of(series) != "text":
        return None
    texts = pd.Series(series.astype(object))
    are_dates = texts.astype(str).str.match(_ISO_DATE) & _parsed(texts).notna()
    present = texts.notna()
    strange = np.flatnonzero(present & ~are_dates)
    return int(strange[0]) if len(strange) and are_dates[present].mean() >= _MOSTLY else None


def _refuse_nearly_numeric(column: Column, texts: NDArray[np.object_]) -> None:
    import pandas as pd

    distinct = pd.unique(texts)
    is_number = dict(
        zip(distinct, pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce").notna(), strict=True)
    )
    present = texts != ""
    numeric = np.fromiter((is_number[text] for text in texts), bool, len(texts))
    if numeric[present].all() or numeric[present].mean() < _MOSTLY:
        return
    row = int(np.flatnonzero(present & ~numeric)[0])
    raise InputError(
        "NotANumber",
        f"{column.where(row)}: column {column.name!r} is nearly all numbers, but here is {str(texts[row])[:80]!r}",
    )


def _are_dates(present: pd.Series) -> bool:
    if not present.iloc[:100].astype(str).str.match(_ISO_DATE).all():
        return False
    return bool(_parsed(present.astype(str)).notna().all())


def _parsed(texts: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)


def _example(series: pd.Series) -> str:
    present = series.dropna()
    kinds = sorted({type(value).__name__ for value in present.iloc[:10_000]})
    return " and ".join(kinds)
