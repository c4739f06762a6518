"""What a version's attributions are computed from, where they add up to what scikit-learn says, else why there are
none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.attributions.explainer import Explainer
from perennial.runtime.attributions.fitted import NotAttributableError, form_of
from perennial.runtime.attributions.form import Block
from perennial.runtime.attributions.matrix import Matrix
from perennial.wire.manifest import Quantity
from perennial.wire.schema import Schema

from .onnx_form import matrices

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

TOLERANCE = 1e-6
_ROWS_CHECKED = 32
_ROWS_AT_A_TIME = 10_000


@dataclass(frozen=True, slots=True)
class AttributionForm:
    """The file and what attributions are of, or why there are none."""

    data: bytes | None = None
    quantity: Quantity | None = None
    why_not: str | None = None


def attribution_form(pipeline: Any, schema: Schema, learned: pd.DataFrame, held_out: pd.DataFrame) -> AttributionForm:
    """`learned` are the rows that the pipeline was fitted on; on some of `held_out` the sums are checked."""

    def means(blocks: Sequence[Block]) -> Floats:
        return _means(Matrix(schema, blocks), schema, learned)

    try:
        form, quantity = form_of(pipeline, schema, means)
    except NotAttributableError as error:
        return AttributionForm(why_not=str(error))
    asked = held_out.iloc[:_ROWS_CHECKED]
    rows, explainer = matrices(schema, asked), Explainer(form, schema)
    sums = explainer(rows.numbers, rows.texts).sum(axis=2) + explainer.base
    said = stated(pipeline, quantity, asked)
    difference = float(np.max(np.abs(sums - said) / (1 + np.abs(said))))
    # Also where one of them is no number.
    if not difference <= TOLERANCE:
        return AttributionForm(why_not=f"attributions add up to {difference:.3g} more or less than the {quantity}")
    return AttributionForm(msgspec.msgpack.encode(form), quantity)


def stated(pipeline: Any, quantity: Quantity, rows: pd.DataFrame) -> Floats:
    """[rows, targets]: what attributions are of, as scikit-learn says it."""
    if quantity == "probability":
        probabilities = np.asarray(pipeline.predict_proba(rows), np.float64)
        return probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities
    if quantity == "decision_function":
        return np.asarray(pipeline.decision_function(rows), np.float64).reshape(len(rows), -1)
    predictions = np.asarray(pipeline.predict(rows), np.float64).reshape(len(rows), -1)
    return np.log(predictions) if quantity == "log_prediction" else predictions


def _means(matrix: Matrix, schema: Schema, rows: pd.DataFrame) -> Floats:
    total = np.zeros(len(matrix.features))
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        part = matrices(schema, rows.iloc[start : start + _ROWS_AT_A_TIME])
        total += matrix(part.numbers, part.texts).sum(axis=0)
    return total / len(rows)
