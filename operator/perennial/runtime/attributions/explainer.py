"""From a form and rows to attributions: one number for each feature as the client sends it."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.wire.schema import Schema

from .form import Form, Linear
from .matrix import Matrix
from .trees import Forest

Floats = NDArray[np.float64]

decode = msgspec.msgpack.Decoder(Form).decode


class Explainer:
    """Explains rows. `base` [targets] and a row's attributions add up to what the manifest says is attributed."""

    def __init__(self, form: Form, schema: Schema) -> None:
        self._matrix = Matrix(schema, form.blocks)
        self._features = form.features
        columns = len(self._matrix.features)
        self._model = _Line(form.linear) if form.trees is None else Forest(form.trees, form.targets, columns)
        self.base: Floats = self._model.base

    def __call__(self, numbers: Floats, texts: NDArray[np.object_] | None) -> Floats:
        """[rows, targets, features]; columns that come from one feature are added up."""
        by_column = self._model(self._matrix(numbers, texts))
        found = np.zeros((*by_column.shape[:2], self._features))
        for column, feature in enumerate(self._matrix.features.tolist()):
            found[:, :, feature] += by_column[:, :, column]
        return found


class _Line:
    """A linear model: its weight times how far a column is from its mean, which is the column's Shapley value where
    what is not known is put at its mean."""

    def __init__(self, linear: Linear | None) -> None:
        assert linear is not None
        self._weights, self._means = np.array(linear.weights), np.array(linear.means)
        self.base: Floats = np.array(linear.intercepts) + self._weights @ self._means

    def __call__(self, matrix: Floats) -> Floats:
        return np.asarray((matrix - self._means)[:, None, :] * self._weights)
