"""The columns that an estimator sees, from the two matrices of a batch, and which feature each comes from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perennial.wire.schema import Schema

from .form import Block, Codes, Indicators, Number

Floats = NDArray[np.float64]


class Matrix:
    """Makes the columns of one version's rows. `features` [columns] is the place in the schema of each one's."""

    def __init__(self, schema: Schema, blocks: Sequence[Block]) -> None:
        self._blocks = blocks
        places = {name: place for names in (schema.numbers, schema.texts) for place, name in enumerate(names)}
        self._places = [places[feature.name] for feature in schema.features]
        self._widths = [block.width if isinstance(block, Indicators) else 1 for block in blocks]
        self.features = np.repeat([block.feature for block in blocks], self._widths).astype(np.intp)

    def __call__(self, numbers: Floats, texts: NDArray[np.object_] | None) -> Floats:
        """[rows, columns] of `numbers` [rows, ...] and `texts` [rows, ...], which `model_format.md` describes."""
        columns = np.zeros((len(numbers), len(self.features)))
        start = 0
        for block, width in zip(self._blocks, self._widths, strict=True):
            place = self._places[block.feature]
            if isinstance(block, Number):
                columns[:, start] = _number(block, numbers[:, place])
            elif texts is not None:
                _write_text(block, texts[:, place].tolist(), columns[:, start : start + width])
            start += width
        return columns


def _number(block: Number, values: Floats) -> Floats:
    if block.fill is not None:
        values = np.where(np.isnan(values), block.fill, values)
    return (values - block.shift) / block.scale


def _write_text(block: Codes | Indicators, texts: list[str], columns: Floats) -> None:
    if isinstance(block, Codes):
        columns[:, 0] = [block.codes.get(text, block.unseen) for text in texts]
        return
    for row, text in enumerate(texts):
        place = block.places.get(text, block.unseen)
        if place < block.width:
            columns[row, place] = 1.0
