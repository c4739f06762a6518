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
from perennial.runtime.attributions.fitted import beneath, form_of
from perennial.runtime.attributions.form import Block
from perennial.runtime.attributions.known import NotAttributableError
from perennial.runtime.attributions.matrix import Matrix
from perennial.wire.manifest import Quantity
from perennial.wire.schema import Schema

from .boosters import booster_in, library_of
from .onnx_form import matrices

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

TOLERANCE, TOLERANCE_SINGLE = 1e-6, 1e-5
"""XGBoost adds its trees up in single precision, attributions are in double."""
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
    if not difference <= (TOLERANCE_SINGLE if _adds_in_single(pipeline) else TOLERANCE):
        return AttributionForm(why_not=f"attributions add up to {difference:.3g} more or less than the {quantity}")
    return AttributionForm(msgspec.msgpack.encode(form), quantity)


def stated(pipeline: Any, quantity: Quantity, rows: pd.DataFrame) -> Floats:
    """[rows, targets]: what attributions are of, as the libraries say it."""
    columns = pipeline[:-1].transform(rows) if len(pipeline) > 1 else rows
    return _said(beneath(pipeline[-1]), quantity, columns).reshape(len(rows), -1)


def _said(estimator: Any, quantity: Quantity, columns: Any) -> Floats:
    of = quantity.removeprefix("uncalibrated_")
    if of == "probability":
        probabilities = np.asarray(estimator.predict_proba(columns), np.float64)
        return probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities
    if of == "decision_function":
        scores = getattr(estimator, "margins", None) or estimator.decision_function
        return np.asarray(scores(columns), np.float64)
    predictions = np.asarray(estimator.predict(columns), np.float64)
    return np.log(predictions) if of == "log_prediction" else predictions


def _adds_in_single(pipeline: Any) -> bool:
    booster = booster_in(pipeline[-1])
    return booster is not None and library_of(type(booster)) == "xgboost"


def _means(matrix: Matrix, schema: Schema, rows: pd.DataFrame) -> Floats:
    total = np.zeros(len(matrix.features))
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        part = matrices(schema, rows.iloc[start : start + _ROWS_AT_A_TIME])
        total += matrix(part.numbers, part.texts).sum(axis=0)
    return total / len(rows)
