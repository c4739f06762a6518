"""The held-out rows that an own container left beside its model: features, `label`, `prediction`, perhaps `score`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.failures import InputError
from perennial.runtime.tables.reading import examine, read
from perennial.runtime.tables.sources import Fetched
from perennial.wire.schema import Feature

from .columns import Column, common_kind, feature_of, values_of
from .target import AnyArray, Task, target_of

if TYPE_CHECKING:
    import pandas as pd

FILES = ("predictions.parquet", "predictions.csv")
LABEL, PREDICTION, SCORE = "label", "prediction", "score"
LEAST_ROWS = 10


@dataclass(frozen=True, slots=True)
class ForeignRows:
    """Rows [n] in the order of the file, which should be that of time. `score` is the second class's probability."""

    frame: pd.DataFrame
    features: list[Feature]
    truth: AnyArray
    stated: AnyArray
    score: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.truth)

    def has(self, features: Sequence[Feature]) -> bool:
        """Whether all these features are among the columns, and of their kinds."""
        return all(feature in self.features for feature in features)


def foreign_rows(folder: Path, target: str | None, task: Task) -> ForeignRows | None:
    """The container's predictions file, None where it left none. `target` may name the label's column too.

    Raises InputError where the file can not be used.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    data = path.read_bytes()
    file = examine(path.name, Fetched(path, hashlib.sha256(data).hexdigest(), len(data)))
    table = read(file, file.columns)
    label = next((name for name in (LABEL, target) if name and name in file.columns), None)
    if label is None or PREDICTION not in file.columns:
        raise InputError(
            "MissingColumn",
            f"{path.name}: needs the columns {LABEL!r} (what is true) and {PREDICTION!r} (what the model said); "
            f"it has {', '.join(file.columns[:20])}",
        )
    if len(table) < LEAST_ROWS:
        raise InputError("TooFewRows", f"{path.name}: {len(table)} rows; at least {LEAST_ROWS} are needed to judge by")

    def column(name: str) -> Column:
        return Column(name, [table[name]], [(path.name, len(table))])

    features, values = _features([column(name) for name in file.columns if name not in (label, PREDICTION, SCORE)])
    return ForeignRows(
        _frame(values, len(table)),
        features,
        _complete(column(label), task),
        _complete(column(PREDICTION), task),
        _scores(column(SCORE)) if SCORE in file.columns else None,
    )


def _features(columns: list[Column]) -> tuple[list[Feature], dict[str, NDArray[Any]]]:
    features, values = [], {}
    for column in columns:
        kind = common_kind(column)
        # A date can be no feature: it is there to tell the order.
        if kind != "date":
            feature = feature_of(column, kind)
            features.append(feature)
            values[column.name] = values_of(column, feature)
    return features, values


def _frame(values: dict[str, NDArray[Any]], rows: int) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(values, index=pd.RangeIndex(rows))


def _complete(column: Column, task: Task) -> AnyArray:
    values, present = target_of(column, task)
    if not present.all():
        row = int(np.flatnonzero(~present)[0])
        raise InputError("ValuesMissing", f"{column.where(row)}: column {column.name!r} is empty")
    return values


def _scores(column: Column) -> NDArray[np.float64]:
    values = _complete(column, "regression").astype(np.float64)
    outside = np.flatnonzero((values < 0.0) | (values > 1.0))
    if len(outside):
        raise InputError("InvalidScore", f"{column.where(int(outside[0]))}: {SCORE} is a probability, from 0 to 1")
    return values
