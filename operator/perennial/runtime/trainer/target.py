"""The column to predict: classes for a classifier, numbers for a regressor. Rows without one are not learned from."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.failures import InputError

from .columns import Column, common_kind

Task = Literal["classification", "regression"]
AnyArray = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_] | NDArray[np.object_]

MAX_CLASSES = 1000


def target_of(column: Column, task: Task) -> tuple[AnyArray, NDArray[np.bool_]]:
    """The target of each row that has one, and which rows have: float64, or for classes str, int64 or bool.

    Raises InputError where the column does not suit the task.
    """
    import pandas as pd

    kind = common_kind(column)
    if kind == "nothing":
        raise InputError("TargetMissing", f"data.target: column {column.name!r} has no value in any row")
    values = pd.concat([pd.Series(piece.astype(object)) for piece in column.pieces], ignore_index=True)
    present = values.notna().to_numpy().copy()
    if kind == "text":
        present &= (values != "").to_numpy()
    known = values.to_numpy(object)[present]
    if task == "regression":
        return _numbers(column, kind, known), present
    return _classes(column, kind, known), present


def _numbers(column: Column, kind: str, known: NDArray[np.object_]) -> NDArray[np.float64]:
    if kind not in ("numeric", "boolean"):
        raise InputError(
            "TargetUnfit",
            f"data.target: column {column.name!r} is {kind}, and a regressor predicts numbers: choose a classifier",
        )
    numbers = known.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise InputError("InfiniteValue", f"data.target: column {column.name!r} has infinite values")
    return numbers


def _classes(column: Column, kind: str, known: NDArray[np.object_]) -> AnyArray:
    if kind == "date":
        raise InputError("TargetUnfit", f"data.target: column {column.name!r} is a date, which is no class")
    if kind == "boolean":
        return known.astype(np.bool_)
    if kind == "text":
        classes = known
    else:
        numbers = known.astype(np.float64)
        if not np.array_equal(numbers, np.floor(numbers)):
            raise InputError(
                "TargetUnfit",
                f"data.target: column {column.name!r} has fractions, and a classifier predicts classes: "
                "choose a regressor",
            )
        classes = known.astype(np.int64)
    distinct = len(set(classes.tolist()))
    if distinct > MAX_CLASSES:
        raise InputError(
            "TargetUnfit",
            f"data.target: column {column.name!r} has {distinct} different values, and a classifier takes at most "
            f"{MAX_CLASSES}: choose a regressor",
        )
    return classes
