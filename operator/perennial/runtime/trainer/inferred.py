"""What the rows of a version were like, in the form of `data.expect`: types, ranges, values, shares of missing ones.

It is what was, with no room to spare: a start for rules of one's own, and what later rows are compared with to tell
changed data from broken data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.scoring import label_text
from perennial.wire.schema import Feature

from .rows import Rows

VALUES_LIMIT = 1000
"""As many as a rule takes; a column of more has no closed list."""
_TYPES = {"numeric": "Number", "boolean": "Boolean", "categorical": "Text"}


def inferred(rows: Rows, features: Sequence[Feature], target: str) -> dict[str, object]:
    """Rules that these rows just keep, by column; the rows all have a target."""
    columns = {feature.name: _of_feature(feature, rows.frame[feature.name].to_numpy()) for feature in features}
    columns[target] = _of_classes(rows.target) if rows.task == "classification" else _of_numbers(rows.target)
    return {"rows": len(rows), "columns": columns}


def _of_feature(feature: Feature, values: NDArray[Any]) -> dict[str, object]:
    missing = values == "" if feature.kind == "categorical" else np.isnan(values.astype(np.float64))
    present = values[~missing]
    rule: dict[str, object] = {"type": _TYPES[feature.kind], "nulls": _percent(float(missing.mean()))}
    if not len(present):
        return rule
    if feature.kind == "numeric":
        return {**rule, "min": float(present.min()), "max": float(present.max())}
    if feature.kind == "categorical" and len(distinct := sorted(set(present.tolist()))) <= VALUES_LIMIT:
        return {**rule, "values": distinct}
    return rule


def _of_numbers(target: NDArray[Any]) -> dict[str, object]:
    return {"type": "Number", "min": float(target.min()), "max": float(target.max())}


def _of_classes(target: NDArray[Any]) -> dict[str, object]:
    return {"values": [label_text(label) for label in np.unique(target).tolist()]}


def _percent(share: float) -> str:
    """Rounded up, so that the rows keep it."""
    return f"{math.ceil(share * 10_000 - 1e-9) / 100:g}%"
