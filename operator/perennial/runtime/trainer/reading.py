"""CSV and Parquet files as DataFrames, with failures that name the file and the row."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from .failures import InputError, TransientError, hint
from .sources import Fetched

if TYPE_CHECKING:
    import pandas as pd

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_CSV_GROWTH = 3.0
"""Bytes of a DataFrame for one of CSV: short numbers become 8 bytes."""
_GZIP_GROWTH = 5.0
_POINTER = 8


@dataclass(frozen=True, slots=True)
class File:
    """A fetched file whose format and columns are known."""

    name: str
    fetched: Fetched
    format: Literal["csv", "csv.gz", "parquet"]
    columns: list[str]


def examine(name: str, fetched: Fetched) -> File:
    """What kind of file it is, by its first bytes, and the columns it has. Raises InputError."""
    with fetched.path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise InputError("DataUnreadable", f"{name}: the file is empty")
    if start == _PARQUET:
        return File(name, fetched, "parquet", [str(column) for column in _parquet_schema(name, fetched.path).names])
    kind: Literal["csv", "csv.gz"] = "csv.gz" if start.startswith(_GZIP) else "csv"
    return File(name, fetched, kind, _header(name, fetched.path, kind))


def memory_needed(file: File, columns: Sequence[str]) -> int:
    """About how many bytes the DataFrame of these columns takes."""
    if file.format == "parquet":
        return _parquet_memory(file, set(columns))
    growth = _CSV_GROWTH * (_GZIP_GROWTH if file.format == "csv.gz" else 1.0)
    return int(file.fetched.size * growth * len(columns) / max(1, len(file.columns)))


def read(file: File, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of the file. Raises InputError where one is not there or the file can not be parsed."""
    for column in columns:
        if column not in file.columns:
            raise InputError("MissingColumn", f"{file.name}: no column {column!r}{hint(column, file.columns)}")
    frame = _read_parquet(file, columns) if file.format == "parquet" else _read_csv(file, columns)
    expected = file.fetched.mtime_ns
    if expected is not None and file.fetched.path.stat().st_mtime_ns != expected:
        raise TransientError("DataChanged", f"{file.name}: the file changed while it was read")
    return frame


def _header(name: str, path: Path, kind: str) -> list[str]:
    try:
        with _text(path, kind) as file:
            columns = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error, OSError, EOFError) as error:
        raise InputError("DataUnreadable", f"{name}: neither Parquet nor CSV in UTF-8: {error}") from error
    for column in columns:
        if columns.count(column) > 1:
            raise InputError("DataUnreadable", f"{name}: the header has {column!r} twice")
    if not any(columns):
        raise InputError("DataUnreadable", f"{name}: the first line must be a header with the names of the columns")
    return columns


def _text(path: Path, kind: str) -> TextIO:
    if kind == "csv.gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_csv(file: File, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(
            file.fetched.path,
            usecols=list(columns),
            compression="gzip" if file.format == "csv.gz" else None,
            encoding="utf-8-sig",
            # Types by the whole column, not by chunks of it: 1 and "1" in one column is worse than slow.
            low_memory=False,
            # pandas takes a surplus of values for an index, and shifts every column.
            index_col=False,
        )[list(columns)]
    except (ValueError, UnicodeDecodeError, OSError, EOFError) as error:
        raise InputError("DataUnreadable", f"{file.name}: {_where(str(error))}") from error


def _where(message: str) -> str:
    """pandas' parser message, in words: C error: Expected 3 fields in line 5, saw 4."""
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if found is None:
        return message.strip()
    expected, line, saw = found.groups()
    return f"line {line} has {saw} values, the header has {expected}"


def _read_parquet(file: File, columns: Sequence[str]) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file.fetched.path, columns=list(columns), partitioning=None)
        return _plain(table).to_pandas(strings_to_categorical=True, date_as_object=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError("DataUnreadable", f"{file.name}: {error}") from error


def _plain(table: Any) -> Any:
    """Decimals as floats: pandas would make Python objects of them."""
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(position, field.name, table.column(position).cast(pa.float64()))
    return table


def _parquet_schema(name: str, path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError("DataUnreadable", f"{name}: the Parquet file is broken: {error}") from error


def _parquet_memory(file: File, columns: set[str]) -> int:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file.fetched.path)
    total = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        for position in range(rows.num_columns):
            column = rows.column(position)
            if column.path_in_schema.partition(".")[0] in columns:
                total += max(column.total_uncompressed_size, _POINTER * rows.num_rows)
    return total
