"""The reference of a version: how its held-out rows fell into bins, stored with the model by the run.

The server counts into the same bins and the DriftMonitor compares the two, so that adding up pods and windows is
integer addition. What needs more than numpy (confidence bounds, quantiles), or the rows themselves, is computed by
the run and stored here.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

MAX_BINS = 32
MAX_CATEGORIES = 64
DIGITS = 3
"""Of sums of squares: more would be noise."""


class Numeric(msgspec.Struct, tag="numeric", omit_defaults=True):
    """A numeric column. Cell i counts `searchsorted(edges, x, side="right") == i`; the last cell counts missing values.

    The first edge is the smallest reference value and the last the next double above the largest, so that the first
    cell is *below range* and the last but one *above range*. Heavily tied columns have fewer edges.

    `probes` are places in `edges` of further ones, beyond the range and about zero, that no scan compares at: they tell
    how far values lie out, which a change of unit shows. `least` and `greatest` are what `data.expect` allows; where
    they lie beyond the range they are probes, too.
    """

    name: str
    edges: list[float]
    counts: list[int]
    probes: list[int] = []
    least: float | None = None
    greatest: float | None = None

    @property
    def cells(self) -> int:
        return len(self.edges) + 2

    @property
    def bounds(self) -> list[int]:
        """Places in `edges` of those between bins: all but the probes."""
        probes = set(self.probes)
        return [place for place in range(len(self.edges)) if place not in probes]


class Categorical(msgspec.Struct, tag="categorical", omit_defaults=True):
    """A categorical or boolean column: the top categories, then `groups` cells of *others* (known but not among them),
    *unseen*, *missing*.

    Others are in the order in which they are common, and the one at place i is of group i % `groups`: of many rare
    ones a single one that becomes common shows in its group, which is as rare as they are few. `closed` says that
    `data.expect` has a list of the column's values: any other is broken data, not news.
    """

    name: str
    categories: list[str]
    counts: list[int]
    others: list[str] = []
    closed: bool = False
    groups: int = 1

    @property
    def cells(self) -> int:
        return len(self.categories) + self.groups + 2


Column = Numeric | Categorical


class Joint(msgspec.Struct):
    """Columns that show how features go together: computed from each row by the recipe here, counted like any other.

    `features` are the numeric and boolean ones that take part. A value is held within `low` and `high`, then
    standardised by `mean` and `scale`; a missing one counts as the mean (0), but makes a product missing.
    `components` [components, features] are weights of the standardised values, `pairs` places in `features`. `columns`
    are the components', then the reconstruction error's, then the products' of the pairs.
    """

    features: list[str]
    low: list[float]
    high: list[float]
    mean: list[float]
    scale: list[float]
    components: list[list[float]]
    pairs: list[tuple[int, int]]
    columns: list[Numeric]


class Loss(msgspec.Struct):
    """The loss of the held-out rows, bounded to [0, 1]: cell i of `counts` counts losses in bin i of `values`.

    `values` are the bins' upper ends (0/1 loss: [0, 1]), so that a mean from counts never understates.
    `upper` is the upper confidence bound of the mean, at `confidence`. `scale` turns a regression error into a loss.
    """

    values: list[float]
    counts: list[int]
    mean: float
    upper: float
    confidence: float
    scale: float = 1.0


class Expected(msgspec.Struct):
    """What scores say of the loss, without labels: `values` has the mean loss of the held-out rows by the score's cell.

    They were tried on the newer half of the held-out rows: `estimated` is its loss by the values that the older half
    gives, `measured` its loss by labels, `doubt` two standard errors of the difference.
    """

    values: list[float]
    estimated: float
    measured: float
    doubt: float


class Differences(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sums over `pairs` of neighbouring blocks of one length: `rows` a block, if blocks were evenly filled, `squares`
    [units] of squared standardised differences, 1 on average where rows are independent. `telling` [units] is in how
    many pairs there were rows enough to tell anything; in all of them, if it is empty."""

    pairs: int
    rows: float
    squares: list[float]
    telling: list[int] = []

    def plus(self, other: Differences) -> Differences:
        squares = np.add(self.squares, other.squares).round(DIGITS)
        telling = np.add(self.told, other.told)
        return Differences(self.pairs + other.pairs, self.rows + other.rows, squares.tolist(), telling.tolist())

    @property
    def told(self) -> list[int]:
        """How many pairs each unit's squares are of."""
        return self.telling or [self.pairs] * len(self.squares)


class Reference(msgspec.Struct, omit_defaults=True):
    """All that drift is judged against. Counts of a window are one flat list: the features' cells in order, then the
    joint columns', then the score's."""

    model: str
    task: Literal["classification", "regression"]
    rows: int
    features: list[Column]
    score: Column
    loss: Loss | None = None
    classes: list[str] = []
    joint: Joint | None = None
    """None where fewer than two features take part, and in references of earlier releases."""
    expected: Expected | None = None
    """None for a model without probabilities, with too few held-out rows, and in references of earlier releases."""
    differences: list[Differences] = []
    """Of the held-out rows: of the shortest blocks, of those twice as long, and so on; none where they are in no order
    of time."""

    @property
    def columns(self) -> list[Column]:
        return [*self.features, *(self.joint.columns if self.joint else []), self.score]
