"""The publisher of an own container: takes what it left in $PERENNIAL_OUTPUT, gates it and seals it as a version.

The container leaves model.skops, model.onnx or both. With predictions.parquet (or .csv) beside it the version is gated
and has a reference for drift; without, it has none (NoReference), and no gate can pass.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.failures import InputError
from perennial.runtime.frame import frame
from perennial.runtime.onnx.hard_rows import hard_rows
from perennial.wire import places
from perennial.wire.manifest import ONNX_FILE, SKOPS_FILE
from perennial.wire.result import Result, Rows
from perennial.wire.run import Run
from perennial.wire.schema import SCHEMA_FILE, Class, Example, Feature, Schema, Score

from . import lineage, reference, resampling, version
from .answers import packed
from .card import card, served_by
from .evidence import Evidence, digest_of_rows
from .examples import chosen_rows, example_of
from .foreign import Foreign, OnnxModel, Said, SkopsModel, features_by_count, open_model
from .foreign_rows import PREDICTION, SCORE, ForeignRows, foreign_rows
from .metrics import Judged, check_metrics
from .onnx_form import OnnxForm, agreed, matrices
from .verdict import reach

Say = Callable[[str], None]

_TOLERANCE = 1e-4
"""Of a probability, or of a prediction relative to 1 + its size: exported trees and networks compute in single
precision, and a thousand trees are summed in it."""
_CHECKPOINT = re.compile(r"\.v(\d+)\.checkpoint")
_NO_REFERENCE = (
    "NoReference: the container left no predictions.parquet or predictions.csv: no gate can pass, and drift is judged "
    "by what is served alone"
)


def publish(run: Run, say: Say) -> Result:
    """Publish what the container left. Raises RunError."""
    result = _published(run, say)
    _forget_checkpoints(run)
    return result


def _published(run: Run, say: Say) -> Result:
    started = datetime.now(UTC)
    if (before := version.published(run)) is not None:
        say(f"version {run.version} was published by an earlier attempt: nothing is left to do")
        return before
    folder = Path(os.environ.get(places.OUTPUT_ENV, places.OUTPUT))
    model = open_model(folder)
    check_metrics(run, model.task)
    rows = foreign_rows(folder, run.data.target if run.data else None, model.task)
    schema = _schema(folder, run, model, rows)
    say(f"model: {schema.task} from {len(schema.features)} features, {len(rows) if rows else 'no'} held-out rows")
    return version.seal(run, _draft(run, started, folder, model, schema, rows, say))


def _forget_checkpoints(run: Run) -> None:
    """There is a version: no attempt goes on from this run's any more. Nor from those of the runs before, which left
    theirs where they failed: one that has ended never goes on."""
    claim, folder = places.claim_of(run.store), places.checkpoint_of(version.uri_of(run))
    if not claim or not folder:
        return
    for left in Path(places.PVC_ROOT, claim, folder).parent.glob(".v*.checkpoint"):
        if (number := _CHECKPOINT.fullmatch(left.name)) and int(number[1]) <= run.version:
            shutil.rmtree(left, ignore_errors=True)


def _draft(
    run: Run, started: datetime, folder: Path, model: Foreign, schema: Schema, rows: ForeignRows | None, say: Say
) -> version.Draft:
    skops, form = _file(folder / SKOPS_FILE), _onnx_form(folder, model, schema, rows)
    notes = [] if form.why_not is None else [f"scikit-learn serves: {form.why_not}"]
    judged = None if rows is None else _judged(model, schema, rows)
    if judged is None:
        notes.append(_NO_REFERENCE)
    evidence = _evidence(run, schema, rows, judged)
    verdict = reach(run, evidence, say)
    for note in notes:
        say(note)
    digest = version.sha256(skops if skops is not None else form.data or b"")
    return version.Draft(
        schema=schema,
        skops=skops,
        onnx=form.data,
        verdict=verdict,
        lineage=lineage.of_run(run, started),
        card=card(
            run,
            schema,
            facts={"model": "an own container's"},
            verdict=verdict,
            served=served_by(form.agreement, form.why_not),
            notes=notes,
        ),
        reference=None if rows is None or judged is None else _reference(schema, rows, judged, digest),
        answers=None if evidence is None else packed(evidence),
        rows=None if rows is None else Rows(train=0, test=len(rows)),
        why_not_onnx=form.why_not,
        agreement=form.agreement,
        notes=notes,
    )


def _evidence(run: Run, schema: Schema, rows: ForeignRows | None, judged: Judged | None) -> Evidence | None:
    """The container says by data.test what its rows are, and leaves those of a split by time in their order."""
    if rows is None or judged is None:
        return None
    draw = resampling.of_stretches if run.data and run.data.test.split == "Time" else resampling.of_rows
    return Evidence(
        judged,
        schema.task,
        schema.target,
        draw(len(rows), run.seed),
        rows.frame,
        rows.features,
        digest_of_rows(rows.frame, rows.truth),
        slices={name: rows.frame[name].to_numpy() for name in rows.frame.columns},
    )


def _onnx_form(folder: Path, model: Foreign, schema: Schema, rows: ForeignRows | None) -> OnnxForm:
    """The container's ONNX file where it may be served: alone, or beside a skops file that it agrees with."""
    data = _file(folder / ONNX_FILE)
    if data is None:
        return OnnxForm(why_not=f"the container left no {ONNX_FILE}")
    if isinstance(model, OnnxModel):
        return OnnxForm(data)
    if rows is None or not rows.has(schema.features):
        return OnnxForm(why_not=f"there are no held-out rows to compare {ONNX_FILE} with {SKOPS_FILE} on")
    return agreed(data, model.model, schema, hard_rows(matrices(schema, rows.frame), {}))


def _reference(schema: Schema, rows: ForeignRows, judged: Judged, digest: str) -> Any:
    """Of the score alone where the file lacks the model's features."""
    if rows.has(schema.features):
        return reference.build(schema, reference.HeldOut(rows.frame, rows.frame, judged), digest)
    bare = msgspec.structs.replace(schema, features=[])
    return reference.build(bare, reference.HeldOut(rows.frame, rows.frame, judged), digest)


def _schema(folder: Path, run: Run, model: Foreign, rows: ForeignRows | None) -> Schema:
    """What the container says in schema.json, else what can be seen from the model and its rows."""
    given = _given_schema(folder)
    features = given.features if given else _features(model, rows)
    _refuse_unfit(model, features)
    classes = given.classes if given and given.classes else _classes(model, rows)
    schema = Schema(
        task=model.task,
        target=given.target if given else (run.data.target if run.data and run.data.target else "label"),
        features=features,
        score=_score(model, classes, rows, features),
        classes=classes,
    )
    if rows is not None and rows.has(features):
        schema.examples = _examples(model, schema, rows)
    else:
        schema.examples = _plain_example(model, schema)
    return schema


def _given_schema(folder: Path) -> Schema | None:
    data = _file(folder / SCHEMA_FILE)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Schema)
    except msgspec.DecodeError as error:
        raise InputError("SchemaInvalid", f"{SCHEMA_FILE}: {error}") from error


def _features(model: Foreign, rows: ForeignRows | None) -> list[Feature]:
    known = {feature.name: feature for feature in rows.features} if rows is not None else {}
    if isinstance(model, SkopsModel):
        names = model.names or list(known)
        if not names:
            raise InputError("SchemaMissing", f"the model does not name its features: leave a {SCHEMA_FILE}")
        return [known.get(name, Feature(name, "numeric")) for name in names]
    return list(known.values()) or features_by_count(model.columns)


def _refuse_unfit(model: Foreign, features: Sequence[Feature]) -> None:
    if not isinstance(model, OnnxModel):
        return
    texts = sum(feature.kind == "categorical" for feature in features)
    if model.columns != (len(features) - texts, texts):
        raise InputError(
            "SchemaMismatch",
            f"{ONNX_FILE} takes {model.columns[0]} numbers and {model.columns[1]} texts, but the features are "
            f"{len(features) - texts} and {texts}: name them, in order, in a {SCHEMA_FILE}",
        )


def _classes(model: Foreign, rows: ForeignRows | None) -> list[Class]:
    if model.classes is not None:
        return model.classes
    if rows is None:
        raise InputError("SchemaMissing", f"{ONNX_FILE} does not say its classes: list them in a {SCHEMA_FILE}")
    classes: list[Class] = sorted({*rows.truth.tolist(), *rows.stated.tolist()})
    return classes


def _score(model: Foreign, classes: Sequence[Class], rows: ForeignRows | None, features: Sequence[Feature]) -> Score:
    if model.task == "regression":
        return "value"
    binned = rows is None or rows.has(features) or (rows.score is not None and len(classes) == 2)
    if not model.has_probabilities or not binned:
        return "label"
    return "positive" if len(classes) == 2 else "confidence"


def _judged(model: Foreign, schema: Schema, rows: ForeignRows) -> Judged:
    """The model's own answers where the rows have its features, else what the container says that it answered."""
    if rows.has(schema.features):
        said = model.answer(rows.frame[[feature.name for feature in schema.features]], matrices(schema, rows.frame))
        _refuse_disagreement(schema, rows, said)
        return Judged(rows.truth, said.predictions, schema.classes, said.probabilities)
    probabilities = None
    if schema.score == "positive" and rows.score is not None:
        probabilities = np.column_stack([1.0 - rows.score, rows.score])
    return Judged(rows.truth, rows.stated, schema.classes, probabilities)


def _refuse_disagreement(schema: Schema, rows: ForeignRows, said: Said) -> None:
    """A version must not be gated by predictions that are not its own, nor another model be served than was trained."""
    if schema.task == "regression":
        stated = rows.stated.astype(np.float64)
        _refuse_where(_differs(said.predictions, stated), PREDICTION, said.predictions, stated)
        return
    different = np.array([a != b for a, b in zip(said.predictions.tolist(), rows.stated.tolist(), strict=True)])
    _refuse_where(different, PREDICTION, said.predictions, rows.stated)
    if rows.score is not None and said.probabilities is not None and len(schema.classes) == 2:
        probability = said.probabilities[:, 1]
        _refuse_where(_differs(probability, rows.score), SCORE, probability, rows.score)


def _differs(said: NDArray[Any], stated: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.abs(said - stated) > _TOLERANCE * (1.0 + np.abs(stated))


def _refuse_where(different: NDArray[np.bool_], column: str, said: NDArray[Any], stated: NDArray[Any]) -> None:
    if different.any():
        first = int(np.flatnonzero(different)[0])
        raise InputError(
            "PredictionsDisagree",
            f"predictions: in {int(different.sum())} of {len(stated)} rows the model does not say what is in the "
            f"column {column!r}; in row {first + 1} it says {said.tolist()[first]!r}, not {stated.tolist()[first]!r}",
        )


def _examples(model: Foreign, schema: Schema, rows: ForeignRows) -> list[Example]:
    chosen = chosen_rows(rows.frame[[feature.name for feature in schema.features]])
    said = model.answer(chosen, matrices(schema, chosen))
    return example_of(schema, chosen, said.predictions, said.probabilities)


def _plain_example(model: Foreign, schema: Schema) -> list[Example]:
    """A row of zeros and empty texts, where no held-out row shows what rows look like. A server asks for an answer
    before it says ready, so that a model which gives none here would be published and never served."""
    texts = np.full((1, len(schema.texts)), "", object) if schema.texts else None
    row = frame(schema, np.zeros((1, len(schema.numbers))), texts)
    try:
        said = model.answer(row, matrices(schema, row))
    except Exception as error:  # whatever somebody else's model raises
        raise InputError(
            "SchemaMismatch",
            f"the model answers no row of zeros and empty texts, which a server would ask it: {error}. Leave "
            f"predictions.parquet with rows that it answers, or a {SCHEMA_FILE} that names its columns of text",
        ) from error
    return example_of(schema, row, said.predictions, said.probabilities)


def _file(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
