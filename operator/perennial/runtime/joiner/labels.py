"""The labels of one file: by key, in the order in which they count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.failures import InputError
from perennial.runtime.keys import DIGEST, digest_of
from perennial.runtime.tables.reading import File, read
from perennial.wire.join import Join

if TYPE_CHECKING:
    import pandas as pd

Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Labels:
    """n labels: `keys` are digests as numbers, `rows` the places in the file, `known` the Unix seconds at which they
    became known, infinite where nobody says."""

    keys: Keys
    values: list[Any]
    rows: NDArray[np.intp]
    known: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)


def as_numbers(digests: bytes) -> Keys:
    """Digests, one after another, as numbers: only to be compared."""
    return np.frombuffer(digests, "<u8")


def labels_in(file: File, asked: Join) -> Labels:
    """The rows of the file that have a key and a label. Raises InputError."""
    columns = [asked.key, asked.column, *([asked.time] if asked.time else [])]
    frame = read(file, columns, texts={asked.key})
    digests = [digest_of(key) for key in frame[asked.key].tolist()]
    values = frame[asked.column].tolist()
    known = _seconds(frame[asked.time], file.name) if asked.time else np.full(len(values), np.inf)
    rows = np.array([row for row, key in enumerate(digests) if key and not _is_missing(values[row])], np.intp)
    _check(values, rows, file.name, asked.column)
    # Where the same key comes again, the label that was known first is the truth of what was predicted before it.
    rows = rows[np.argsort(known[rows], kind="stable")]
    keys = as_numbers(b"".join(digests[row] for row in rows))
    assert len(keys) == len(rows), f"a digest has {DIGEST} bytes"
    return Labels(keys, [values[row] for row in rows], rows, known[rows])


def _check(values: list[Any], rows: NDArray[np.intp], name: str, column: str) -> None:
    odd = next((row for row in rows.tolist() if not isinstance(values[row], (bool, int, float, str))), None)
    if odd is not None:
        what = f"{name}, row {odd + 1}: column {column!r} (spec.labels.column) has {values[odd]!r}"
        raise InputError("LabelUnreadable", f"{what}, which is neither number, text nor true or false")


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _seconds(column: pd.Series, name: str) -> NDArray[np.float64]:
    """Unix seconds of dates, ISO 8601 texts (UTC where they say no zone) or numbers."""
    import pandas as pd
    from pandas.api import types

    if types.is_numeric_dtype(column.dtype):
        seconds: NDArray[np.float64] = column.to_numpy(np.float64, na_value=np.nan)
    else:
        dates = pd.to_datetime(pd.Series(column.astype(object)), errors="coerce", format="ISO8601", utc=True)
        seconds = dates.dt.as_unit("ns").astype("int64").to_numpy(np.float64) / 1e9
        seconds[dates.isna().to_numpy()] = np.nan
    missing = np.flatnonzero(np.isnan(seconds))
    if len(missing):
        where = f"{name}, row {int(missing[0]) + 1}: column {column.name!r} (spec.labels.time)"
        raise InputError("TimeUnreadable", f"{where} has no readable time; so have {len(missing)} of {len(seconds)}")
    return seconds
