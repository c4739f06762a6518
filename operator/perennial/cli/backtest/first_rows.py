"""A reference from the first rows of the data, for who has no version at hand: made as a training run makes it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.cli.problem import CannotDo
from perennial.wire.reference import Reference
from perennial.wire.schema import Feature, Schema, Score

from .observations import chances, number_column, predicted_values, text_column
from .standard import Standard
from .table import Meaning, Table, told

if TYPE_CHECKING:
    from perennial.runtime.trainer.columns import Column

MODEL = "first-rows"
"""What stands for the digest of a model in a reference that is none's."""
LEAST = 100
_MOST_CLASSES = 20
"""Whole numbers with more different values than this are predictions of a regressor."""


def is_of_first_rows(reference: Reference) -> bool:
    """Whether it was made here, and is no version's."""
    return reference.model == MODEL


def from_first_rows(table: Table, rows: int, meaning: Meaning, excluded: Collection[str]) -> tuple[Standard, Table]:
    """What the first rows are taken for, and the table of the rest. Raises CannotDo."""
    if not LEAST <= rows < len(table):
        raise CannotDo(f"--baseline-rows {rows}: give from {LEAST} to fewer than the {len(table)} rows of the data")
    with told():
        first = table.part(slice(0, rows))
        # What kind a column is, is asked of all rows: a category that comes later must not be a number at first.
        features = _features(table, meaning, excluded)
        return _standard(first, features, meaning), table.part(slice(rows, len(table)))


def _features(table: Table, meaning: Meaning, excluded: Collection[str]) -> list[Feature]:
    from perennial.runtime.trainer.columns import common_kind, feature_of, values_of, why_left_out

    others = {table.time, *meaning.named.values(), *excluded}
    found: list[Feature] = []
    for name in (str(column) for column in table.frame.columns if column not in others):
        column = table.column(name)
        kind = common_kind(column)
        if kind == "date":
            continue
        feature = feature_of(column, kind)
        if feature.kind == "categorical" and why_left_out(values_of(column, feature)):
            continue
        found.append(feature)
    if not found:
        raise CannotDo(f"{table.name} has no column that could be watched")
    return found


def _standard(first: Table, features: list[Feature], meaning: Meaning) -> Standard:
    import pandas as pd

    from perennial.runtime.trainer.columns import values_of
    from perennial.runtime.trainer.metrics import Judged
    from perennial.runtime.trainer.reference import HeldOut, build, loss_of

    frame = pd.DataFrame({feature.name: values_of(first.column(feature.name), feature) for feature in features})
    schema, judged, known = _judged(first, features, meaning)
    reference = build(schema, HeldOut(frame, frame, judged, timed=True), MODEL)
    labelled = Judged(
        judged.truth[known],
        judged.predictions[known],
        judged.classes,
        None if judged.probabilities is None else judged.probabilities[known],
    )
    reference = msgspec.structs.replace(
        reference,
        loss=loss_of(schema, labelled) if known.any() else None,
        expected=reference.expected if known.all() else None,
    )
    return Standard(reference, schema, f"the first {len(first):,} rows")


def _judged(first: Table, features: list[Feature], meaning: Meaning) -> tuple[Schema, Any, NDArray[np.bool_]]:
    """What the model is, what it said of the rows, and which of them have a label."""
    from perennial.runtime.trainer.metrics import Judged

    if _is_regression(first, meaning):
        values = predicted_values(first, meaning)
        said = np.zeros(len(first)) if values is None else np.where(np.isnan(values), np.nanmean(values), values)
        truth = np.full(len(first), np.nan)
        if meaning.label and values is not None:
            truth = number_column(first, "--label", meaning.label)
        known = ~np.isnan(truth)
        schema = Schema("regression", meaning.label or "", features, "value")
        return schema, Judged(np.where(known, truth, said), said), known
    scores = chances(first, meaning.score) if meaning.score else None
    labels = text_column(first, meaning.label) if meaning.label else np.full(len(first), "", object)
    stated = text_column(first, meaning.prediction) if meaning.prediction else None
    classes = sorted({*labels.tolist(), *(stated.tolist() if stated is not None else ())} - {""})
    if stated is None:
        assert scores is not None
        classes = classes if len(classes) == 2 else ["0", "1"]
        stated = np.where(scores >= 0.5, classes[1], classes[0]).astype(object)
    schema = Schema("classification", meaning.label or "", features, _score(scores, classes), classes=list(classes))
    known = (labels != "") & (stated != "")
    judged = Judged(np.where(known, labels, stated), stated, classes, _probabilities(scores, classes))
    return schema, judged, known


def _score(scores: NDArray[np.float64] | None, classes: Sequence[str]) -> Score:
    if scores is None:
        return "label"
    return "positive" if len(classes) == 2 else "confidence"


def _probabilities(scores: NDArray[np.float64] | None, classes: Sequence[str]) -> NDArray[np.float64] | None:
    if scores is None:
        return None
    # Of two classes the score is the second one's. Of more it is that of the predicted one, whichever it is: it has to
    # be the greatest here, also where it is smaller than what is left for the others.
    others = 1 - scores if len(classes) == 2 else np.zeros_like(scores)
    return np.column_stack([others, scores])


def _is_regression(first: Table, meaning: Meaning) -> bool:
    """By what was predicted, else by what came true: texts, booleans and few whole numbers are classes."""
    from perennial.runtime.trainer.columns import common_kind

    name = meaning.prediction or (meaning.label if meaning.score else None)
    if name is None:
        return meaning.score is None
    column: Column = first.column(name)
    if common_kind(column) != "numeric":
        return False
    distinct = np.unique(number_column(first, "--prediction" if meaning.prediction else "--label", name))
    distinct = distinct[~np.isnan(distinct)]
    return len(distinct) > _MOST_CLASSES or not np.array_equal(distinct, np.floor(distinct))
