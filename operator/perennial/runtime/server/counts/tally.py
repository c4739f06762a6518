"""How a block of rows becomes cells: by sorting whole columns and looking the edges up in them.

It is exact, the same cells that `runtime/binning.py` gives, and for a block of a few hundred rows thirty times quicker
than looking each value up in the edges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.binning import boolean_cells, category_cells, unseen_cell
from perennial.runtime.joint import Recipe
from perennial.wire.reference import Categorical, Joint, Numeric, Reference
from perennial.wire.schema import Schema


class Mismatch(ValueError):
    """A reference whose columns are not those of the schema beside it."""


class Tally:
    """Counts rows into the flat cells of a reference.

    A row is float64: the numeric and boolean features as they are, then the codes of the categorical ones, then the
    score. Joint columns are computed from it.
    """

    def __init__(self, reference: Reference, schema: Schema) -> None:
        if [column.name for column in reference.features] != [feature.name for feature in schema.features]:
            raise Mismatch("the reference has other features than the schema")
        self._numeric: list[tuple[int, int, NDArray[np.float64]]] = []
        self._boolean: list[tuple[int, int, Categorical]] = []
        self._coded: list[tuple[int, int, int]] = []
        places = {name: place for place, name in enumerate([*schema.numbers, *schema.texts])}
        kinds = {feature.name: feature.kind for feature in schema.features}
        self.cells = 0
        for column in reference.features:
            self._add(column, places[column.name], boolean=kinds[column.name] == "boolean")
        self._recipe: Recipe | None = None
        if reference.joint is not None:
            self._add_joint(reference.joint, places, first=len(places) + 1)
        self._add(reference.score, len(places), boolean=False)

    def _add_joint(self, joint: Joint, places: dict[str, int], first: int) -> None:
        if not places.keys() >= set(joint.features):
            raise Mismatch("the reference's joint columns have other features than the schema")
        self._recipe = Recipe(joint)
        self._sources = [places[name] for name in joint.features]
        for place, column in enumerate(joint.columns, start=first):
            self._add(column, place, boolean=False)

    def _add(self, column: Numeric | Categorical, place: int, *, boolean: bool) -> None:
        if isinstance(column, Numeric):
            self._numeric.append((place, self.cells, np.asarray(column.edges, np.float64)))
        elif boolean:
            self._boolean.append((place, self.cells, column))
        else:
            self._coded.append((place, self.cells, column.cells))
        self.cells += column.cells

    def __call__(self, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        counts = np.zeros(self.cells, np.int64)
        columns = np.array(rows.T, order="C")
        for place, start, cells in self._coded:
            counts[start : start + cells] = np.bincount(columns[place].astype(np.intp), minlength=cells)
        for place, start, column in self._boolean:
            counts[start : start + column.cells] = np.bincount(
                boolean_cells(column, columns[place]), minlength=column.cells
            )
        if self._recipe is not None:
            columns = np.concatenate([columns, self._recipe(columns[self._sources])])
        columns.sort(axis=1)
        total = columns.shape[1]
        present = total - np.isnan(columns).sum(axis=1)
        for place, start, edges in self._numeric:
            below = columns[place].searchsorted(edges, "left")
            last = start + len(edges)
            counts[start] = below[0]
            counts[start + 1 : last] = below[1:] - below[:-1]
            counts[last] = present[place] - below[-1]
            counts[last + 1] = total - present[place]
        return counts


class Coder:
    """The codes (cells, as float64) of the categorical features' texts."""

    def __init__(self, reference: Reference, schema: Schema) -> None:
        by_name = {column.name: column for column in reference.features if isinstance(column, Categorical)}
        columns = [by_name[name] for name in schema.texts]
        self._cells = [(category_cells(column), unseen_cell(column)) for column in columns]

    def __call__(self, texts: NDArray[np.object_]) -> NDArray[np.float64]:
        codes = np.empty(texts.shape)
        for place, (cells, unseen) in enumerate(self._cells):
            codes[:, place] = [cells.get(text, unseen) for text in texts[:, place]]
        return codes
