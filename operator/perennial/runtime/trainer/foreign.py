"""A model that somebody else's container left: opened by the same rules as our own, and asked in the same form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.runtime import skops
from perennial.runtime.failures import InputError
from perennial.runtime.onnx.hard_rows import Rows
from perennial.runtime.onnx.probe import Port, Probe, ProbeError, probe
from perennial.wire.manifest import ONNX_FILE, SKOPS_FILE
from perennial.wire.schema import LABEL, NUMBERS, PREDICTION, PROBABILITIES, TEXTS, Class, Feature

from .judging import classes_of, has_probabilities
from .target import Task

if TYPE_CHECKING:
    import pandas as pd

_DOUBLE = "tensor(double)"
_INPUTS = {NUMBERS: _DOUBLE, TEXTS: "tensor(string)"}
_LABELS = ("tensor(string)", "tensor(int64)", "tensor(bool)")


@dataclass(frozen=True, slots=True)
class Said:
    """A model's answers [rows]; probabilities [rows, classes] where it has them."""

    predictions: NDArray[Any]
    probabilities: NDArray[np.float64] | None = None


class SkopsModel:
    """A scikit-learn model."""

    def __init__(self, data: bytes) -> None:
        from sklearn.base import is_classifier, is_regressor

        try:
            self.model = skops.load(data)
        except skops.UntrustedModelError as error:
            raise InputError("ModelUnreadable", f"{SKOPS_FILE}: {error}") from error
        if not is_classifier(self.model) and not is_regressor(self.model):
            raise InputError("ModelUnreadable", f"{SKOPS_FILE}: neither a classifier nor a regressor")
        self.task: Task = "classification" if is_classifier(self.model) else "regression"
        self.classes: list[Class] | None = classes_of(self.model) if self.task == "classification" else []
        self.has_probabilities = self.task == "classification" and has_probabilities(self.model)
        self.names: list[str] | None = _names(self.model)

    def answer(self, rows: pd.DataFrame, _: Rows) -> Said:
        predictions = np.asarray(self.model.predict(rows)).ravel()
        return Said(predictions, np.asarray(self.model.predict_proba(rows)) if self.has_probabilities else None)


class OnnxModel:
    """An ONNX model of the form in `runtime/model_format.md`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        found = _probed(data)
        self.columns = (_columns(found, NUMBERS), _columns(found, TEXTS))
        for name, port in found.inputs.items():
            if _INPUTS.get(name) != port.type:
                raise InputError(
                    "ModelUnreadable",
                    f"{ONNX_FILE}: input {name!r} is {port.type}; inputs are numbers (double [rows, n]) and texts "
                    "(string [rows, m])",
                )
        self.task: Task = _task(found)
        self.classes: list[Class] | None = None if self.task == "classification" else []
        self.has_probabilities = PROBABILITIES in found.outputs

    def answer(self, _: pd.DataFrame, rows: Rows) -> Said:
        answers = _probed(self._data, rows).answers
        if self.task == "regression":
            return Said(np.asarray(answers[PREDICTION], np.float64).ravel())
        labels = np.array(answers[LABEL])
        predictions = labels.astype(object) if labels.dtype.kind == "U" else labels
        return Said(predictions, np.asarray(answers[PROBABILITIES], np.float64) if self.has_probabilities else None)


Foreign = SkopsModel | OnnxModel


def open_model(folder: Path) -> Foreign:
    """The model in the folder, the ONNX one where there are both. Raises InputError."""
    if (folder / SKOPS_FILE).is_file():
        return SkopsModel((folder / SKOPS_FILE).read_bytes())
    if (folder / ONNX_FILE).is_file():
        return OnnxModel((folder / ONNX_FILE).read_bytes())
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) if folder.is_dir() else ""
    raise InputError(
        "NoModel",
        f"the container left neither {ONNX_FILE} nor {SKOPS_FILE} in $PERENNIAL_OUTPUT; there is {found or 'nothing'}",
    )


def features_by_count(columns: tuple[int, int]) -> list[Feature]:
    """Names for the inputs of a model that nothing else is known of."""
    numbers, texts = columns
    return [
        *(Feature(f"number{place}", "numeric") for place in range(numbers)),
        *(Feature(f"text{place}", "categorical") for place in range(texts)),
    ]


def _names(model: Any) -> list[str] | None:
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _probed(data: bytes, rows: Rows | None = None) -> Probe:
    try:
        return probe(data, rows)
    except ProbeError as error:
        raise InputError("ModelUnreadable", f"{ONNX_FILE}: {error}") from error


def _columns(found: Probe, name: str) -> int:
    port = found.inputs.get(name)
    if port is None:
        return 0
    if port.columns is None:
        raise InputError("ModelUnreadable", f"{ONNX_FILE}: input {name!r} must say how many columns it has: [rows, n]")
    return port.columns


def _task(found: Probe) -> Task:
    outputs = found.outputs
    label, probabilities, value = (outputs.get(name) for name in (LABEL, PROBABILITIES, PREDICTION))
    if label is not None and _is(label, 1, *_LABELS) and (probabilities is None or _is(probabilities, 2, _DOUBLE)):
        return "classification"
    if value is not None and _is(value, 1, _DOUBLE):
        return "regression"
    given = ", ".join(f"{name} ({port.type} of {port.dimensions} dimensions)" for name, port in outputs.items())
    raise InputError(
        "ModelUnreadable",
        f"{ONNX_FILE}: the outputs are {given}; a classifier gives label (string, int64 or bool, [rows]) and "
        "probabilities (double, [rows, classes]), a regressor prediction (double, [rows])",
    )


def _is(port: Port, dimensions: int, *types: str) -> bool:
    return port.dimensions == dimensions and port.type in types
