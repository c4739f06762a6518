"""The ONNX form of a fitted pipeline where there is one that agrees, else why scikit-learn serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perennial.runtime.frame import frame
from perennial.runtime.onnx.agreement import Answers, DisagreementError, agree
from perennial.runtime.onnx.convert import convert
from perennial.runtime.onnx.graph import NotConvertibleError
from perennial.runtime.onnx.hard_rows import Rows, hard_rows
from perennial.wire.manifest import Agreement
from perennial.wire.schema import Schema

from .judging import has_probabilities

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class OnnxForm:
    """The model file and how well it agreed, or why there is none."""

    data: bytes | None = None
    agreement: Agreement | None = None
    why_not: str | None = None


def onnx_form(pipeline: Any, schema: Schema, held_out: pd.DataFrame) -> OnnxForm:
    """Convert, and compare on held-out rows and on rows made to be hard."""
    try:
        converted = convert(pipeline, schema)
    except NotConvertibleError as error:
        return OnnxForm(why_not=str(error))
    thresholds = {schema.numbers.index(name): values for name, values in converted.thresholds.items()}
    return agreed(converted.data, pipeline, schema, hard_rows(matrices(schema, held_out), thresholds))


def agreed(data: bytes, model: Any, schema: Schema, rows: Rows) -> OnnxForm:
    """The ONNX file where it answers these rows as the scikit-learn model does.

    A row that scikit-learn refuses (a missing value without an imputer) ONNX would answer, with nonsense.
    """
    try:
        expected = _answers(model, schema, rows)
    except ValueError as error:
        said = str(error).partition("\n")[0]
        return OnnxForm(why_not=f"scikit-learn refuses rows that ONNX would answer with nonsense: {said}")
    try:
        return OnnxForm(data, agree(data, rows, expected))
    except DisagreementError as error:
        return OnnxForm(why_not=str(error))


def matrices(schema: Schema, rows: pd.DataFrame) -> Rows:
    """The two matrices of these rows."""
    numbers = rows[schema.numbers].to_numpy(np.float64).reshape(len(rows), -1)
    return Rows(numbers, rows[schema.texts].to_numpy(object).reshape(len(rows), -1))


def _answers(pipeline: Any, schema: Schema, rows: Rows) -> Answers:
    asked = frame(schema, rows.numbers, rows.texts)
    predictions = np.asarray(pipeline.predict(asked))
    if schema.task == "regression":
        return Answers(None, predictions.astype(np.float64).ravel())
    labels = [str(label) for label in predictions.tolist()]
    return Answers(labels, pipeline.predict_proba(asked) if has_probabilities(pipeline) else None)
