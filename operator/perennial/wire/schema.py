"""What a version's model takes and gives: `schema.json`, all that a server needs beside the model.

The wire form of rows is two matrices in the order of `features`: `numbers` (float64: numeric and boolean features, NaN
is missing) and `texts` (strings: categorical features, the empty string is missing). `runtime/model_format.md` has the
whole.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA_FILE = "schema.json"

NUMBERS = "numbers"
"""The model's float64 input [rows, len(schema.numbers)]; absent where there is no such feature."""
TEXTS = "texts"
"""The model's string input [rows, len(schema.texts)]; absent where there is no such feature."""
LABEL = "label"
"""Output of a classifier [rows]: string, int64 or bool, as the classes are."""
PROBABILITIES = "probabilities"
"""Output of a classifier that has them: float64 [rows, classes], in the order of `classes`."""
DECISIONS = "decision_function"
"""Output of a classifier that scikit-learn serves and that has it, when asked for: float64 [rows] or [rows, scores]."""
PREDICTION = "prediction"
"""Output of a regressor: float64 [rows]."""

Kind = Literal["numeric", "boolean", "categorical"]
Class = bool | int | str

Score = Literal["positive", "confidence", "label", "value"]
"""What the score column of the reference counts, per row: the probability of the second of two classes; the predicted
class's probability (more than two classes); the predicted label (a classifier without probabilities); the prediction
of a regressor."""


class Feature(msgspec.Struct):
    """A column that the model predicts from, by the name it has in the training data."""

    name: str
    kind: Kind


class Example(msgspec.Struct, omit_defaults=True):
    """A held-out row in the order of `features` and what the published model answered; None is missing.

    `prediction` is the label of a classifier or the value of a regressor. A server that answers otherwise is not ready.
    """

    values: list[float | bool | str | None]
    prediction: float | Class
    probabilities: list[float] = []


class Schema(msgspec.Struct, omit_defaults=True):
    """The model's contract. `classes` are empty for regression."""

    task: Literal["classification", "regression"]
    target: str
    features: list[Feature]
    score: Score
    classes: list[Class] = []
    examples: list[Example] = []

    @property
    def numbers(self) -> list[str]:
        """Names of the columns of the `numbers` input."""
        return [feature.name for feature in self.features if feature.kind != "categorical"]

    @property
    def texts(self) -> list[str]:
        """Names of the columns of the `texts` input."""
        return [feature.name for feature in self.features if feature.kind == "categorical"]
