"""The reference of a version: how the held-out rows, and what the gated model said of them, fell into bins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.runtime import binning, scoring
from perennial.wire.layout import layout_of
from perennial.wire.reference import Categorical, Column, Expected, Loss, Numeric, Reference
from perennial.wire.run import Expectation
from perennial.wire.schema import Feature, Schema

from . import joint
from .blocks import Blocks
from .bounds import upper_mean, upper_share
from .expected import expected
from .metrics import Judged
from .overdispersion import phi
from .probes import probed

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
LOSS_BINS = 64
LOSS_SPAN = 4.0
"""A regression's loss is the absolute error in units of so many mean absolute errors, at most 1."""
MAX_OTHERS = 4096
GROUPS = 16
"""Cells of a text's rarer categories: where these hold nearly all rows, one of them that takes a tenth still makes its
group more than twice as common."""
SCORE = "score"


Counted = tuple[Column, NDArray[np.intp]]
"""A column with the cells of its rows, in the order of time."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out rows, the rows that the model learned from, and what it said of the former. `timed`: the former are in
    the order of time, so that neighbours tell how alike they are."""

    rows: pd.DataFrame
    learned: pd.DataFrame
    judged: Judged
    timed: bool = False


def build(
    schema: Schema, held: HeldOut, model: str, expect: Mapping[str, Expectation] = MappingProxyType({})
) -> Reference:
    """The reference of the model with this digest. `expect` is what `data.expect` says of columns."""
    blocks = Blocks(len(held.judged.truth))
    columns = [blocks.note(*_feature(feature, held, expect.get(feature.name))) for feature in schema.features]
    together = joint.joint(schema, held.learned, held.rows, blocks)
    score = blocks.note(*_score(schema, held.judged))
    made = Reference(
        model=model,
        task=schema.task,
        rows=len(held.judged.truth),
        features=columns,
        score=score,
        loss=loss_of(schema, held.judged),
        joint=together,
        expected=_expected(schema, score, held.judged),
        classes=[scoring.label_text(label) for label in schema.classes],
    )
    if held.timed:
        made.differences = blocks.differences(layout_of(made))
    return made


def _feature(feature: Feature, held: HeldOut, expected: Expectation | None) -> Counted:
    values = held.rows[feature.name].to_numpy()
    if feature.kind == "numeric":
        number = probed(_numeric(feature.name, values)[0], values, expected)
        return number, binning.numeric_cells(number, values)
    if feature.kind == "boolean":
        column = Categorical(feature.name, [binning.FALSE, binning.TRUE], [])
        return _counted(column, binning.boolean_cells(column, values))
    # Known is what the model has learned from: how often others come is part of what is normal.
    column, cells = _categorical(feature.name, values, Counter(held.learned[feature.name]))
    column.closed = expected is not None and expected.values is not None
    return column, cells


def _numeric(name: str, values: NDArray[np.float64]) -> tuple[Numeric, NDArray[np.intp]]:
    column = Numeric(name, binning.equal_mass_edges(values), [])
    cells = binning.numeric_cells(column, values)
    column.counts = binning.count_cells(cells, column.cells).tolist()
    return column, cells


def _categorical(name: str, values: Iterable[str], known: Counter[str]) -> tuple[Categorical, NDArray[np.intp]]:
    """The commonest of `known` have a cell each. The held-out rows do not choose: what happens to be common among them
    would be chosen, and be less common ever after."""
    texts = list(values)
    top, others = binning.top_categories(known)
    kept = others[:MAX_OTHERS]
    column = Categorical(name, top, [], kept, groups=min(max(len(kept), 1), GROUPS))
    return _counted(column, binning.text_cells(column, texts))


def _counted(column: Categorical, cells: NDArray[np.intp]) -> tuple[Categorical, NDArray[np.intp]]:
    column.counts = binning.count_cells(cells, column.cells).tolist()
    return column, cells


def _score(schema: Schema, judged: Judged) -> Counted:
    if schema.score == "label":
        texts = [scoring.label_text(label) for label in judged.predictions.tolist()]
        return _categorical(SCORE, texts, Counter(scoring.label_text(label) for label in schema.classes))
    answers: Any = judged.predictions if judged.probabilities is None else judged.probabilities
    return _numeric(SCORE, scoring.numeric_scores(schema.score, answers))


def _expected(schema: Schema, score: Column, judged: Judged) -> Expected | None:
    if judged.probabilities is None or not isinstance(score, Numeric):
        return None
    cells = binning.numeric_cells(score, scoring.numeric_scores(schema.score, judged.probabilities))
    return expected(score, cells, _wrong(judged))


def _wrong(judged: Judged) -> NDArray[np.intp]:
    return np.asarray(judged.truth != judged.predictions, np.intp)


def loss_of(schema: Schema, judged: Judged) -> Loss:
    if schema.task == "classification":
        return _wrong_labels(judged)
    errors = np.abs(judged.truth - judged.predictions)
    scale = LOSS_SPAN * float(errors.mean()) or 1.0
    return _errors(scoring.regression_loss(scale, judged.truth, judged.predictions), scale)


def _wrong_labels(judged: Judged) -> Loss:
    wrong = _wrong(judged)
    rows = len(wrong) / phi(wrong, 2, ordered=False)
    mean = float(wrong.mean())
    return Loss(
        values=[0.0, 1.0],
        counts=binning.count_cells(wrong, 2).tolist(),
        mean=mean,
        upper=upper_share(mean * rows, rows, CONFIDENCE),
        confidence=CONFIDENCE,
    )


def _errors(losses: NDArray[np.float64], scale: float) -> Loss:
    """Mean and bound are of the bins' upper ends: what counts that come back can be compared with."""
    ends: Sequence[float] = [0.0, *(np.arange(1, LOSS_BINS + 1) / LOSS_BINS).tolist()]
    cells = binning.loss_cells(ends, losses)
    rounded = np.asarray(ends)[cells]
    rows = len(cells) / phi(cells, len(ends), ordered=True)
    return Loss(
        values=list(ends),
        counts=binning.count_cells(cells, len(ends)).tolist(),
        mean=float(rounded.mean()),
        upper=upper_mean(rounded, rows, CONFIDENCE),
        confidence=CONFIDENCE,
        scale=scale,
    )
