"""What computes answers: ONNX Runtime where the model converted and agreed, else scikit-learn.

scikit-learn is imported only when it serves: it takes more memory by itself than a whole server of an ONNX model.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.onnx.session import open_session
from perennial.runtime.scoring import label_text, numeric_scores
from perennial.runtime.server.rows import Rows
from perennial.wire.reference import Categorical, Reference
from perennial.wire.schema import NUMBERS, TEXTS, Class, Schema

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class Answers(msgspec.Struct, eq=False):
    """What a model says to n rows: `predictions` [n] are labels or values, `probabilities` [n, classes] where there
    are some, `decisions` [n] or [n, scores] where they were asked for.
    """

    predictions: NDArray[Any]  # float64, int64, bool or object (str)
    probabilities: NDArray[np.float64] | None = None
    decisions: NDArray[np.float64] | None = None

    def part(self, rows: slice) -> Answers:
        """What was said to some of the rows."""
        return Answers(
            self.predictions[rows],
            None if self.probabilities is None else self.probabilities[rows],
            None if self.decisions is None else self.decisions[rows],
        )


class Engine(Protocol):
    """Computes answers, also on several threads at a time: predicting changes nothing in a fitted model."""

    name: str

    @property
    def decide(self) -> Callable[[Rows], NDArray[np.float64]] | None:
        """The decision function, where there is one."""

    def __call__(self, rows: Rows) -> Answers: ...


class OnnxEngine:
    """ONNX Runtime."""

    name = "onnx"
    decide = None

    def __init__(self, model: bytes, schema: Schema) -> None:
        self._session = open_session(model)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._numbers = bool(schema.numbers)
        self._classifies = schema.task == "classification"
        self._row: BoundRow | None = None

    def __call__(self, rows: Rows) -> Answers:
        outputs = self._row(rows.numbers) if self._row is not None and rows.count == 1 else self._run(rows)
        if self._classifies and len(outputs) > 1:
            return Answers(outputs[0], outputs[1])
        return Answers(outputs[0])

    def _run(self, rows: Rows) -> list[NDArray[Any]]:
        feeds: dict[str, object] = {}
        if self._numbers:
            feeds[NUMBERS] = rows.numbers
        if rows.texts is not None:
            feeds[TEXTS] = rows.texts
        outputs: list[NDArray[Any]] = self._session.run(self._outputs, feeds)
        if rows.count == 1 and rows.texts is None and not any(output.dtype == object for output in outputs):
            self._row = BoundRow(self._session, rows.numbers, outputs)
        return outputs


class BoundRow:
    """A session's input and outputs for one row, in memory that is bound to it once.

    Taking a row and giving an answer in arrays made anew costs as much as a small forest does. Texts cannot be bound.
    `like` and `answers` are a row and what the session said to it: they tell the shapes.
    """

    def __init__(self, session: InferenceSession, like: NDArray[np.float64], answers: list[NDArray[Any]]) -> None:
        self._numbers = np.array(like, order="C")
        self._answers = [answer.copy() for answer in answers]
        self._lock = Lock()
        self._run = session.run_with_iobinding
        self._binding = session.io_binding()
        self._binding.bind_input(NUMBERS, "cpu", 0, np.float64, like.shape, self._numbers.ctypes.data)
        for output, answer in zip(session.get_outputs(), self._answers, strict=True):
            self._binding.bind_output(output.name, "cpu", 0, answer.dtype.type, answer.shape, answer.ctypes.data)

    def __call__(self, numbers: NDArray[np.float64]) -> list[NDArray[Any]]:
        with self._lock:
            self._numbers[:] = numbers
            self._run(self._binding)
            return [answer.copy() for answer in self._answers]


class SklearnEngine:
    """scikit-learn itself, for what ONNX does not compute exactly."""

    name = "sklearn"

    def __init__(self, model: bytes, schema: Schema) -> None:
        from perennial.runtime import frame, skops

        self._frame = frame.frame
        self._model = skops.load(model)
        self._schema = schema
        self._has_probabilities = schema.task == "classification" and schema.score != "label"
        decides = schema.task == "classification" and hasattr(self._model, "decision_function")
        self.decide: Callable[[Rows], NDArray[np.float64]] | None = self._decide if decides else None

    def _decide(self, rows: Rows) -> NDArray[np.float64]:
        frame = self._frame(self._schema, rows.numbers, rows.texts)
        return np.asarray(self._model.decision_function(frame), np.float64)

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
