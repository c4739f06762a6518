"""A few held-out rows with the published model's answers: what a server checks itself against before it says ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.wire.schema import Example, Feature, Schema

from .judging import has_probabilities

if TYPE_CHECKING:
    import pandas as pd

COUNT = 5


def examples(model: Any, schema: Schema, held_out: pd.DataFrame) -> list[Example]:
    """A few of the held-out rows, with the answers of a scikit-learn model."""
    rows = chosen_rows(held_out)
    probable = schema.task == "classification" and has_probabilities(model)
    return example_of(schema, rows, np.asarray(model.predict(rows)), model.predict_proba(rows) if probable else None)


def chosen_rows(held_out: pd.DataFrame) -> pd.DataFrame:
    """Rows spread evenly over the held-out ones."""
    places = np.unique(np.linspace(0, len(held_out) - 1, COUNT).astype(int))
    return held_out.iloc[places].reset_index(drop=True)


def example_of(
    schema: Schema, rows: pd.DataFrame, predictions: NDArray[Any], probabilities: NDArray[np.float64] | None
) -> list[Example]:
    """Rows and their answers as they stand in a schema."""
    chances = [[]] * len(rows) if probabilities is None else np.asarray(probabilities).tolist()
    columns = [rows[feature.name].tolist() for feature in schema.features]
    return [
        Example([_value(*pair) for pair in zip(schema.features, row, strict=True)], prediction, chance)
        for row, prediction, chance in zip(
            zip(*columns, strict=True), predictions.ravel().tolist(), chances, strict=True
        )
    ]


def _value(feature: Feature, value: Any) -> float | bool | str | None:
    if feature.kind == "categorical":
        return str(value) or None
    if np.isnan(value):
        return None
    return bool(value) if feature.kind == "boolean" else float(value)
