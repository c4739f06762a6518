"""The column that orders rows: dates, ISO 8601 texts, or numbers (Unix seconds), as float64 seconds that sort."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.failures import InputError

from .columns import Column, common_kind

if TYPE_CHECKING:
    import pandas as pd


def seconds_of(column: Column) -> tuple[NDArray[np.float64], bool]:
    """Seconds of each row and whether they are dates. Dates without a zone count as UTC.

    Raises InputError where a row has no time: it could be neither ordered nor left out honestly.
    """
    import pandas as pd

    kind = common_kind(column)
    if kind == "numeric":
        seconds = np.concatenate([piece.to_numpy(np.float64, na_value=np.nan) for piece in column.pieces])
        _refuse_missing(column, seconds)
        return seconds, False
    if kind not in ("date", "text"):
        raise InputError("TimeUnreadable", f"data.time: column {column.name!r} is {kind}, not a date, time or number")
    parsed = [_parse(piece) for piece in column.pieces]
    nanoseconds = pd.concat(parsed, ignore_index=True).dt.as_unit("ns")
    seconds = nanoseconds.astype("int64").to_numpy(np.float64) / 1e9
    seconds[nanoseconds.isna().to_numpy()] = np.nan
    _refuse_missing(column, seconds)
    return seconds, True


def shown(seconds: float, are_dates: bool) -> str:
    """A time for a person: ISO 8601 in UTC, or the number itself."""
    if not are_dates:
        return f"{seconds:.15g}"
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _parse(piece: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.to_datetime(pd.Series(piece.astype(object)), errors="coerce", format="ISO8601", utc=True)


def _refuse_missing(column: Column, seconds: NDArray[np.float64]) -> None:
    missing = np.flatnonzero(np.isnan(seconds))
    if len(missing):
        raise InputError(
            "TimeUnreadable",
            f"{column.where(int(missing[0]))}: column {column.name!r} (data.time) has no readable time; "
            f"so have {len(missing)} rows of {len(seconds)}",
        )
