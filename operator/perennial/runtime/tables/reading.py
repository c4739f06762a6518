"""CSV and Parquet files as DataFrames, with failures that name the file and the row."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from perennial.runtime.failures import InputError, TransientError, hint

from .sources import Fetched

if TYPE_CHECKING:
    import pandas as pd

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_BLOCK = 16 << 20
NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A", "n/a"]
"""What counts as missing in CSV, the same in columns of texts."""
_CSV_GROWTH = 3.0
"""Bytes of memory for one of CSV: short numbers become 8 bytes, and are texts for a while."""
_POINTER = 8
_OTHER_MARKS = ";\t|"


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
    size = _unpacked(file.fetched.path) if file.format == "csv.gz" else file.fetched.size
    return int(size * _CSV_GROWTH * len(columns) / max(1, len(file.columns)))


def read(file: File, columns: Sequence[str], texts: Collection[str] = ()) -> pd.DataFrame:
    """These columns of the file, those among `texts` as they are written: 007 is not 7.

    Raises InputError where one is not there or the file can not be parsed.
    """
    for column in columns:
        if column not in file.columns:
            raise InputError("MissingColumn", f"{file.name}: no column {column!r}{hint(column, file.columns)}")
    frame = _read_parquet(file, columns, texts) if file.format == "parquet" else _read_csv(file, columns, texts)
    expected = file.fetched.mtime_ns
    if expected is not None and file.fetched.path.stat().st_mtime_ns != expected:
        raise TransientError("DataChanged", f"{file.name}: the file changed while it was read")
    return frame


def _unpacked(path: Path) -> int:
    """Bytes of a gzipped file's content, counted: a share of a hundredth and one of a third look alike from outside.

    A file that is broken has as many as can be unpacked; reading it says so.
    """
    size = 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read(_BLOCK):
                size += len(chunk)
    except (OSError, EOFError, zlib.error):
        return size
    return size


def _header(name: str, path: Path, kind: str) -> list[str]:
    try:
        with _text(path, kind) as file:
            columns = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error, OSError, EOFError) as error:
        raise InputError("DataUnreadable", f"{name}: neither Parquet nor CSV in UTF-8: {error}") from error
    for column in columns:
        if columns.count(column) > 1:
            raise InputError("DataUnreadable", f"{name}: the header has {column!r} twice")
    if len(columns) == 1 and (other := next((mark for mark in _OTHER_MARKS if mark in columns[0]), None)):
        raise InputError("DataUnreadable", f"{name}: values are separated by {other!r}, and have to be by commas")
    if not any(columns):
        raise InputError("DataUnreadable", f"{name}: the first line must be a header with the names of the columns")
    return columns


def _text(path: Path, kind: str) -> TextIO:
    if kind == "csv.gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_csv(file: File, columns: Sequence[str], texts: Collection[str]) -> pd.DataFrame:
    """Every value is read as a text first, so that a column's type is that of all its values, not of the first ones."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    bad: list[str] = []

    def refuse(row: Any) -> str:
        bad.append(f"row {row.number - 1} has {row.actual_columns} values, the header has {row.expected_columns}")
        return "error"

    try:
        with pa.input_stream(file.fetched.path, compression="gzip" if file.format == "csv.gz" else None) as stream:
            table = arrow_csv.read_csv(
                stream,
                # Only a single thread knows the number of a bad row.
                read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK),
                parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=list(columns),
                    column_types=dict.fromkeys(columns, pa.string()),
                    strings_can_be_null=True,
                    null_values=NULLS,
                ),
            )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError("DataUnreadable", f"{file.name}: {bad[0] if bad else error}") from error
    typed = {name: table.column(name) if name in texts else _typed(table.column(name)) for name in columns}
    return _to_pandas(pa.table(typed))


def _typed(texts: Any) -> Any:
    """The column as integers, numbers or booleans where all of its texts are such, else as it is."""
    import pyarrow as pa
    from pyarrow import compute

    trimmed = compute.utf8_trim_whitespace(texts)
    for kind in (pa.int64(), pa.float64()):
        try:
            return trimmed.cast(kind)
        except pa.ArrowInvalid:
            continue
    lower = compute.utf8_lower(trimmed)
    if compute.all(compute.is_in(lower, value_set=pa.array(["true", "false", None]))).as_py():
        return lower.cast(pa.bool_())
    return texts


def _read_parquet(file: File, columns: Sequence[str], texts: Collection[str]) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = _plain(pq.read_table(file.fetched.path, columns=list(columns), partitioning=None))
        return _to_pandas(_whole_numbers_as_texts(table, texts))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError("DataUnreadable", f"{file.name}: {error}") from error


def _to_pandas(table: Any) -> pd.DataFrame:
    """Texts as categories: a million rows of ten carriers must not become a million Python strings."""
    frame: pd.DataFrame = table.to_pandas(strings_to_categorical=True, date_as_object=False)
    return frame


def _whole_numbers_as_texts(table: Any, columns: Collection[str]) -> Any:
    """Beside a missing value pandas has whole numbers as floats, which many of a long identifier's would share."""
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if field.name in columns and pa.types.is_integer(field.type):
            # What pandas once noted of the column is true no more.
            texts = table.column(position).cast(pa.string())
            table = table.set_column(position, field.name, texts).replace_schema_metadata(None)
    return table


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
