"""Which engine serves each estimator of the list: found out by fitting them all, and written into the docs.

`python -m tests.estimators` writes the table of docs/estimators.md; a test compares it with what happens.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from perennial.runtime.frame import frame
from perennial.runtime.onnx.convert import convert
from perennial.runtime.onnx.graph import NotConvertibleError
from perennial.runtime.onnx.hard_rows import Rows, hard_rows
from perennial.wire.estimators import BUILT_IN
from perennial.wire.schema import LABEL, PREDICTION, PROBABILITIES
from tests.unit.runtime.onnx.test_exact import ask, data, fitted, target

PAGE = Path(__file__).parents[1] / "docs" / "estimators.md"
BEGIN, END = "<!-- written by `python -m tests.estimators` -->\n", "<!-- end -->\n"
EXACT = 1e-12
"""Far below the 1e-6 that a version may differ by, and above what rounding does on any machine."""

_SMALLER: dict[str, dict[str, Any]] = {
    "QuadraticDiscriminantAnalysis": {"reg_param": 0.1},
    "TheilSenRegressor": {"max_subpopulation": 200},
    "RadiusNeighborsClassifier": {"radius": 5.0, "outlier_label": "most_frequent"},
    "RadiusNeighborsRegressor": {"radius": 50.0},
    "MLPClassifier": {"max_iter": 20, "hidden_layer_sizes": [8]},
    "MLPRegressor": {"max_iter": 20, "hidden_layer_sizes": [8]},
    "HistGradientBoostingClassifier": {"max_iter": 10},
    "HistGradientBoostingRegressor": {"max_iter": 10},
    **{
        f"{name}{task}": {"n_estimators": 10}
        for name in ("RandomForest", "ExtraTrees", "GradientBoosting", "AdaBoost")
        for task in ("Classifier", "Regressor")
    },
}
_OF_COUNTS = ("sklearn.naive_bayes.MultinomialNB", "sklearn.naive_bayes.ComplementNB")
"""They refuse what `Auto` makes of numbers: values below zero."""


def served(path: str) -> str:
    """What a row of the table says of the estimator: its engine, and why it is not ONNX Runtime."""
    rows, features = data("texts")
    if path in _OF_COUNTS:
        rows = Rows(np.empty((len(rows), 0)), rows.texts)
        features = [feature for feature in features if feature.kind == "categorical"]
    answers = {_served(path, rows, features, labels) for labels in _labels(path)}
    if len(answers) > 1:
        raise AssertionError(f"{path} is served by {' or '.join(sorted(answers))}: the table needs to tell when")
    return answers.pop()


def _labels(path: str) -> tuple[str, ...]:
    module, _, name = path.rpartition(".")
    return ("two", "three") if is_classifier(getattr(importlib.import_module(module), name)()) else ("positive",)


def _served(path: str, rows: Rows, features: Any, labels: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parameters = _SMALLER.get(path.rpartition(".")[2], {})
        texts = rows if rows.numbers.shape[1] else data("texts")[0]
        model, schema = fitted(path, parameters, rows, features, target(texts, labels))
        try:
            converted = convert(model, schema)
        except NotConvertibleError as error:
            return f"scikit-learn | {error}"
        thresholds = {schema.numbers.index(name): values for name, values in converted.thresholds.items()}
        hard = hard_rows(rows, thresholds)
        different, difference = _compared(model, schema, hard, ask(converted.data, hard))
        if different or difference > EXACT:
            return f"scikit-learn | of {len(hard)} rows {different} have another label, difference {difference:.1g}"
        return "ONNX Runtime |"


def _compared(model: Any, schema: Any, rows: Rows, answers: dict[str, np.ndarray]) -> tuple[int, float]:
    asked = frame(schema, rows.numbers, rows.texts)
    expected = model.predict(asked)
    if schema.task == "regression":
        return 0, float(np.max(np.abs(answers[PREDICTION] - expected) / (1 + np.abs(expected))))
    different = int(np.sum(answers[LABEL] != expected))
    if PROBABILITIES not in answers:
        return different, 0.0
    return different, float(np.max(np.abs(answers[PROBABILITIES] - model.predict_proba(asked))))


def row(path: str) -> str:
    """The estimator's line in the table."""
    return f"| `{path}` | {served(path)} |"


def table() -> str:
    """The table of all estimators, as it stands in the docs."""
    lines = ["| estimator | served by | why not ONNX Runtime |", "| --- | --- | --- |", *map(row, BUILT_IN)]
    return "\n".join(lines) + "\n"


def written() -> list[str]:
    """The lines of the table that stands in the docs, without its head."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].splitlines()[2:]


if __name__ == "__main__":
    from threadpoolctl import threadpool_limits

    before, begin, rest = PAGE.read_text().partition(BEGIN)
    with threadpool_limits(limits=1):
        PAGE.write_text(before + begin + table() + END + rest.partition(END)[2])
