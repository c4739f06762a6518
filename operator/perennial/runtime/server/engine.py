"""What computes answers: ONNX Runtime where the model converted and agreed, else scikit-learn.

scikit-learn is imported only when it serves: it takes more memory by itself than a whole server of an ONNX model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.scoring import label_text, numeric_scores
from perennial.runtime.server.rows import Rows
from perennial.wire.reference import Categorical, Reference
from perennial.wire.schema import NUMBERS, TEXTS, Class, Schema


@dataclass(slots=True)
class Answers:
    """What a model says to n rows: `predictions` [n] are labels or values, `probabilities` [n, classes] where there
    are some.
    """

    predictions: NDArray[Any]  # float64, int64, bool or object (str)
    probabilities: NDArray[np.float64] | None = None


class Engine(Protocol):
    """Computes answers. Not safe for two threads at a time unless it says so."""

    name: str

    def __call__(self, rows: Rows) -> Answers: ...


class OnnxEngine:
    """ONNX Runtime on one thread: a pod has about one core, and a request's rows are few. Safe for several threads."""

    name = "onnx"

    def __init__(self, model: bytes, schema: Schema) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._run = session.run
        self._numbers = bool(schema.numbers)
        self._classifies = schema.task == "classification"

    def __call__(self, rows: Rows) -> Answers:
        feeds: dict[str, object] = {}
        if self._numbers:
            feeds[NUMBERS] = rows.numbers
        if rows.texts is not None:
            feeds[TEXTS] = rows.texts
        outputs = self._run(None, feeds)
        if self._classifies and len(outputs) > 1:
            return Answers(outputs[0], outputs[1])
        return Answers(outputs[0])


class SklearnEngine:
    """scikit-learn itself, for what ONNX does not compute exactly."""

    name = "sklearn"

    def __init__(self, model: bytes, schema: Schema) -> None:
        from perennial.runtime import frame, skops

        self._frame = frame.frame
        self._model = skops.load(model)
        self._schema = schema
        self._has_probabilities = schema.task == "classification" and schema.score != "label"

    def __call__(self, rows: Rows) -> Answers:
        frame = self._frame(self._schema, rows.numbers, rows.texts)
        predictions = np.asarray(self._model.predict(frame))
        if not self._has_probabilities:
            return Answers(predictions)
        return Answers(predictions, np.asarray(self._model.predict_proba(frame), np.float64))


class Scorer:
    """The score column of a model's reference: a number a row, the cell where the score is a label."""

    def __init__(self, schema: Schema, reference: Reference) -> None:
        self._score = schema.score
        self._cells: dict[str, int] = {}
        self._unseen = 0
        if isinstance(reference.score, Categorical):
            from perennial.runtime.binning import category_cells, unseen_cell

            self._cells, self._unseen = category_cells(reference.score), unseen_cell(reference.score)

    def __call__(self, answers: Answers) -> NDArray[np.float64]:
        if self._score == "label":
            texts = (label_text(label) for label in answers.predictions.tolist())
            return np.array([self._cells.get(text, self._unseen) for text in texts], np.float64)
        return numeric_scores(
            self._score, answers.predictions if answers.probabilities is None else answers.probabilities
        )


def datatype_of(schema: Schema) -> str:
    """The protocol's datatype of the model's predictions."""
    if schema.task == "regression":
        return "FP64"
    first: Class = schema.classes[0]
    return "BOOL" if isinstance(first, bool) else "INT64" if isinstance(first, int) else "BYTES"
