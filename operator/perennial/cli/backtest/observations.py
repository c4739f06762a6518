"""From a table to what a server would have counted: rows in the model's form, what it said, and what came true."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.cli.problem import CannotDo
from perennial.runtime import scoring
from perennial.runtime.binning import FALSE, TRUE, loss_cells, numeric_cells
from perennial.runtime.server.engine import Answers, Scorer
from perennial.runtime.server.rows import Rows
from perennial.wire.reference import Numeric
from perennial.wire.schema import Feature, Schema

from .standard import Standard
from .table import Meaning, Table, told

if TYPE_CHECKING:
    from perennial.runtime.trainer.columns import Column

_BATCH = 10_000
_NUMBERS = ("numeric", "boolean", "nothing")
_AS_BOOLEANS = {"0": FALSE, "1": TRUE}

Floats = NDArray[np.float64]
Texts = NDArray[np.object_]


@dataclass(frozen=True)
class Labels:
    """Of the rows [labelled]: their positions, their losses and the cells of these, the cells of their scores, and
    whether what the score is the chance of came true. `previous` are the losses of the version before, NaN where it is
    not known what it said."""

    rows: NDArray[np.intp]
    loss: NDArray[np.intp]
    score: NDArray[np.intp]
    positive: NDArray[np.bool_]
    losses: Floats
    previous: Floats


@dataclass(frozen=True)
class Observations:
    """`scores` is None where nothing tells what the model said. `notes` are for the person who reads the result."""

    seconds: Floats
    rows: Rows
    scores: Floats | None
    labels: Labels | None
    notes: tuple[str, ...] = ()


@dataclass
class _Said:
    """What the model said [rows]: the scores as they are counted, and the labels as texts or the values."""

    scores: Floats | None = None
    labels: Texts | None = None
    values: Floats | None = None
    notes: list[str] = field(default_factory=list)


def observe(
    table: Table,
    standard: Standard,
    meaning: Meaning,
    excluded: Collection[str],
    previous: Standard | None = None,
) -> Observations:
    """What the table's rows are to the model, and to the version before where it can be asked. A feature that is not
    watched may be missing. Raises CannotDo."""
    with told():
        rows = _rows(table, standard.schema, excluded)
        said = _answered(rows, standard) if standard.engine else _stated(table, standard, meaning)
        labels = _labels(table, standard, meaning, said, _previously(table, standard, meaning, previous))
    idle = [option for option, name in (("--prediction", meaning.prediction), ("--score", meaning.score)) if name]
    if standard.engine and idle:
        said.notes.append(f"{' and '.join(idle)}: not read, since the model of {standard.words} was asked itself")
    if said.scores is None:
        said.notes.append("what the model said is not in the data: its score is not watched (--score, --prediction)")
    return Observations(table.seconds, rows, said.scores, labels, tuple(said.notes))


def _rows(table: Table, schema: Schema, excluded: Collection[str]) -> Rows:
    count = len(table)
    numbers, texts = np.full((count, len(schema.numbers)), np.nan), np.full((count, len(schema.texts)), "", object)
    places = {name: place for names in (schema.numbers, schema.texts) for place, name in enumerate(names)}
    for feature in schema.features:
        if feature.name not in table and feature.name in excluded:
            continue
        into = texts if feature.kind == "categorical" else numbers
        into[:, places[feature.name]] = _values(table.column(feature.name), feature)
    return Rows(count, numbers, texts if schema.texts else None)


def _values(column: Column, feature: Feature) -> Floats | Texts:
    from perennial.runtime.trainer.columns import common_kind, values_of

    kind = common_kind(column)
    if feature.kind == "categorical":
        return _texts(column)
    if kind in _NUMBERS:
        return np.asarray(values_of(column, feature), np.float64)
    raise CannotDo(
        f"{column.places[0][0]}: column {column.name!r} is {feature.kind} to the model, and here it is {kind}, "
        f"such as {_example(column)}"
    )


def _example(column: Column) -> str:
    return repr(str(next(iter(column.pieces[0].dropna()), ""))[:60])


def _texts(column: Column) -> Texts:
    from perennial.runtime.trainer.columns import common_kind, slice_values_of, values_of

    kind = common_kind(column)
    if kind == "numeric":
        numbers = np.asarray(values_of(column, Feature(column.name, "numeric")), np.float64)
        distinct, places = np.unique(numbers, return_inverse=True)
        named = ["" if np.isnan(number) else f"{number:.15g}" for number in distinct.tolist()]
        return np.array([*named, ""], object)[places]
    if kind == "nothing":
        return np.full(sum(rows for _, rows in column.places), "", object)
    return np.asarray(slice_values_of(column), object)


def _answered(rows: Rows, standard: Standard) -> _Said:
    """What the version's model says to the rows."""
    assert standard.engine is not None
    try:
        parts = [standard.engine(rows.take(slice(first, first + _BATCH))) for first in range(0, rows.count, _BATCH)]
    except ValueError as problem:
        raise CannotDo(f"the model of {standard.words} does not take these rows: {problem}") from None
    predictions = np.concatenate([part.predictions for part in parts])
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    answers = Answers(predictions, np.concatenate(probabilities) if probabilities else None)
    scores = Scorer(standard.schema, standard.reference)(answers)
    if standard.schema.task == "regression":
        return _Said(scores, values=np.asarray(predictions, np.float64))
    return _Said(scores, labels=_label_texts(predictions))


def _stated(table: Table, standard: Standard, meaning: Meaning) -> _Said:
    """What the data say that the model said."""
    schema = standard.schema
    if schema.task == "regression":
        values = predicted_values(table, meaning)
        return _Said(values, values=values)
    labels = _classes(table, meaning.prediction, schema) if meaning.prediction else None
    if schema.score == "label":
        return _Said(None if labels is None else Scorer(schema, standard.reference)(Answers(labels)), labels)
    scores = chances(table, meaning.score) if meaning.score else None
    if labels is None and scores is not None and schema.score == "positive" and schema.classes:
        low, high = (scoring.label_text(label) for label in schema.classes)
        labels = np.where(scores >= 0.5, high, low).astype(object)
    return _Said(scores, labels)


def _previously(table: Table, standard: Standard, meaning: Meaning, previous: Standard | None) -> _Said:
    """What the version before says to the rows, or what the data say that it said."""
    if previous is not None:
        return _answered(_rows(table, previous.schema, ()), previous)
    if meaning.previous is None:
        return _Said()
    if standard.schema.task == "regression":
        return _Said(values=number_column(table, "--previous-prediction", meaning.previous))
    return _Said(labels=_classes(table, meaning.previous, standard.schema))


def _labels(table: Table, standard: Standard, meaning: Meaning, said: _Said, previously: _Said) -> Labels | None:
    name = meaning.label or (standard.schema.target if standard.schema.target in table else None)
    loss = standard.reference.loss
    if name is None:
        return None
    if loss is None:
        said.notes.append("the reference has no loss that labels could be compared with: harm cannot be seen")
        return None
    if said.labels is None and said.values is None:
        said.notes.append("labels are of no use without what the model said (--prediction): harm cannot be seen")
        return None
    if standard.schema.task == "regression":
        assert said.values is not None
        truth = number_column(table, "--label", name)
        known = np.flatnonzero(~np.isnan(truth) & ~np.isnan(said.values))
        losses = scoring.regression_loss(loss.scale, truth[known], said.values[known])
        positive = losses > loss.mean
        before = previously.values
        previous = None if before is None else scoring.regression_loss(loss.scale, truth[known], before[known])
    else:
        assert said.labels is not None
        texts = _classes(table, name, standard.schema)
        known = np.flatnonzero((texts != "") & (said.labels != ""))
        wrong = texts[known] != said.labels[known]
        losses = wrong.astype(np.float64)
        one = scoring.label_text(standard.schema.classes[1]) if standard.schema.score == "positive" else None
        positive = wrong if one is None else texts[known] == one
        stated = previously.labels
        previous = (
            None
            if stated is None
            else np.where(stated[known] == "", np.nan, (texts[known] != stated[known]).astype(np.float64))
        )
    cells = np.minimum(loss_cells(loss.values, losses), len(loss.values) - 1)
    return Labels(
        rows=known,
        loss=cells,
        score=_score_cells(standard, said.scores, known),
        positive=np.asarray(positive, np.bool_),
        losses=losses,
        previous=np.full(len(known), np.nan) if previous is None else previous,
    )


def _score_cells(standard: Standard, scores: Floats | None, known: NDArray[np.intp]) -> NDArray[np.intp]:
    column = standard.reference.score
    if scores is None:
        return np.full(len(known), column.cells - 1, np.intp)
    return numeric_cells(column, scores[known]) if isinstance(column, Numeric) else scores[known].astype(np.intp)


def number_column(table: Table, option: str, name: str) -> Floats:
    """A column of numbers, NaN is missing. Raises CannotDo, with the option that names it, where it holds something
    else."""
    from perennial.runtime.trainer.columns import common_kind, values_of

    column = table.column(name)
    if common_kind(column) not in _NUMBERS:
        raise CannotDo(f"{option}: column {name!r} must be numbers, and has {_example(column)}")
    return np.asarray(values_of(column, Feature(name, "numeric")), np.float64)


def predicted_values(table: Table, meaning: Meaning) -> Floats | None:
    """What a regressor said: its score is its value, so either option names it. Raises CannotDo."""
    option, name = ("--prediction", meaning.prediction) if meaning.prediction else ("--score", meaning.score)
    return number_column(table, option, name) if name else None


def chances(table: Table, name: str) -> Floats:
    """The column of --score as a classifier's probabilities, NaN is missing. Raises CannotDo."""
    scores = number_column(table, "--score", name)
    if len(strange := np.flatnonzero((scores < 0) | (scores > 1))):
        row = int(strange[0])
        raise CannotDo(
            f"--score: column {name!r} has {scores[row]:.6g} in {table.where(row)}: give a probability, 0 to 1 "
            "(--prediction is for what a model says in classes or values)"
        )
    return scores


def text_column(table: Table, name: str) -> Texts:
    """A column as texts: whole numbers without a point, booleans as true and false, the empty text is missing."""
    return _texts(table.column(name))


def _classes(table: Table, name: str, schema: Schema) -> Texts:
    """The column as texts of the model's classes; 0 and 1 stand for false and true, and the other way round."""
    texts = text_column(table, name)
    known = {scoring.label_text(label) for label in schema.classes}
    found = set(texts.tolist()) - {""}
    if not known or found <= known:
        return texts
    for other in (_AS_BOOLEANS, {text: number for number, text in _AS_BOOLEANS.items()}):
        if {other.get(text) for text in found} <= known:
            return np.array([other.get(text, "") for text in texts.tolist()], object)
    strange = sorted(found - known)[0]
    raise CannotDo(
        f"{table.name}: column {name!r} has {strange!r}, which is none of the model's classes "
        f"({', '.join(sorted(known)[:10])})"
    )


def _label_texts(predictions: NDArray[Any]) -> Texts:
    return np.array([scoring.label_text(label) for label in predictions.tolist()], object)
