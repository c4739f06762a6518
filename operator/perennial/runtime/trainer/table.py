"""All rows of a run in memory: features in their final form, the target as it came, times, and their origins."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perennial.runtime import limits
from perennial.runtime.failures import InputError, hint
from perennial.runtime.tables.reading import File, examine, memory_needed, read
from perennial.runtime.tables.sources import Source, find
from perennial.wire.run import Data
from perennial.wire.schema import Feature

from . import times
from .columns import Column, Kind, common_kind, feature_of, groups_of, values_of, why_left_out

if TYPE_CHECKING:
    import pandas as pd

BASE_MEMORY = 320 << 20
"""Bytes that the trainer takes whatever the rows: interpreter and scikit-learn, and ONNX Runtime in its own process."""
GROWTH = 5.5
"""Peak memory of a run by that of its rows, which stand as read, as split, as encoded and as the estimator holds them:
measured with 200,000 rows of 24 columns."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A file that rows came from."""

    name: str
    sha256: str
    size: int
    rows: int


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in the order of the files. `frame` has float64 and `object` columns; `seconds` orders rows in time, `groups`
    numbers what belongs together."""

    frame: pd.DataFrame
    features: list[Feature]
    target: Column
    origins: list[Origin]
    seconds: NDArray[np.float64] | None = None
    are_dates: bool = False
    groups: NDArray[np.intp] | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.frame)

    @property
    def digest(self) -> str:
        """sha256 over the files' digests, in order."""
        return hashlib.sha256("".join(origin.sha256 for origin in self.origins).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Raw:
    """The files' rows as they were read, in the order of the files."""

    pieces: list[pd.DataFrame]
    origins: list[Origin]

    @property
    def rows(self) -> int:
        return sum(origin.rows for origin in self.origins)

    def column(self, name: str) -> Column:
        places = [(origin.name, origin.rows) for origin in self.origins]
        return Column(name, [piece[name] for piece in self.pieces], places)


def read_files(
    data: Data, secret: Path, say: Callable[[str], None], memory: int | None = None, beside: Sequence[str] = ()
) -> Raw:
    """Every row that `data` names, also with the columns `beside`, which are judged by and not learned from.

    `memory` is the limit in bytes, by default the container's.

    Raises InputError or TransientError.
    """
    limit = memory if memory is not None else limits.memory()
    sources = find(data.uri, secret)
    _refuse_too_large(sum(source.size or 0 for source in sources) // 4, limit)
    with tempfile.TemporaryDirectory(prefix="perennial-data-") as folder:
        return _read_all(sources, data, beside, Path(folder), limit, say)


def _read_all(
    sources: list[Source],
    data: Data,
    beside: Sequence[str],
    scratch: Path,
    limit: int | None,
    say: Callable[[str], None],
) -> Raw:
    pieces, origins, needed = [], [], 0
    columns: list[str] = []
    for number, source in enumerate(sources, 1):
        file = examine(source.name, source.fetch(scratch / "file"))
        columns = columns or _wanted(data, beside, file)
        needed += memory_needed(file, columns)
        _refuse_too_large(needed, limit)
        piece = read(file, columns)
        say(f"data: {source.name}: {len(piece)} rows ({number} of {len(sources)} files)")
        pieces.append(piece)
        origins.append(Origin(source.name, file.fetched.sha256, file.fetched.size, len(piece)))
    return Raw(pieces, origins)


def _wanted(data: Data, beside: Sequence[str], file: File) -> list[str]:
    """The columns to read: the first file has them all."""
    named = {
        "data.target": [data.target],
        "data.time": [data.time] if data.time else [],
        "data.features": data.features,
        "data.test.group": [data.test.group] if data.test.group else [],
        "data.expect.columns": list(data.expect),
        "acceptance.slices": beside,
    }
    for path, columns in named.items():
        for column in columns:
            if column not in file.columns:
                raise InputError(
                    "MissingColumn", f"{path}: {file.name} has no column {column!r}{hint(column, file.columns)}"
                )
    features = _features(data, file.columns)
    return list(dict.fromkeys([*features, *(name for columns in named.values() for name in columns)]))


def _features(data: Data, columns: Iterable[str]) -> list[str]:
    others = {data.target, data.time, data.test.group}
    return data.features or [column for column in columns if column not in others]


def _refuse_too_large(needed: int, limit: int | None) -> None:
    if limit is None or BASE_MEMORY + GROWTH * needed <= limit:
        return
    raise InputError(
        "DataTooLarge",
        f"the rows take about {_mebibytes(needed)} in memory, and training on them about "
        f"{_mebibytes(int(BASE_MEMORY + GROWTH * needed))}, but the container has {_mebibytes(limit)}: "
        "set resources.limits.memory higher, name fewer data.features, or give less data",
    )


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"


def assembled(raw: Raw, data: Data) -> Table:
    """The rows in the form of each column's kind. Raises InputError."""
    import pandas as pd

    column = raw.column
    features: list[Feature] = []
    values: dict[str, NDArray[np.float64] | NDArray[np.object_]] = {}
    left_out: dict[str, str] = {}
    for name in _features(data, raw.pieces[0].columns):
        kind = common_kind(column(name))
        if not data.features and (why := _unfit(name, kind)):
            left_out[name] = why
            continue
        feature = feature_of(column(name), kind)
        array = values_of(column(name), feature)
        why = why_left_out(array) if feature.kind == "categorical" and not data.features else None
        if why is not None:
            left_out[name] = f"{why}; name it in data.features to use it"
            continue
        features.append(feature)
        values[name] = array
    if not features:
        raise InputError("NoFeatures", "data.features: there is no column left to predict from" + _why(left_out))
    seconds, are_dates = times.seconds_of(column(data.time)) if data.time else (None, False)
    return Table(
        pd.DataFrame(values),
        features,
        column(data.target),
        raw.origins,
        seconds,
        are_dates,
        groups_of(column(data.test.group)) if data.test.group else None,
        left_out,
    )


def _unfit(name: str, kind: Kind) -> str | None:
    """Why a column is not used unless `data.features` names it."""
    if not name:
        return "without a name in the header (an index, perhaps?)"
    if kind == "date":
        return "a date: derive numbers from it (hour, weekday, age) to use it"
    return "without a value in any row" if kind == "nothing" else None


def _why(left_out: dict[str, str]) -> str:
    return "".join(f"; {name or 'one column'} is {why}" for name, why in left_out.items())
