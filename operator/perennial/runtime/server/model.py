"""A model as the server holds it: fetched from the store, checked file by file, loaded, and tried on its own
examples.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import msgspec
import numpy as np

from perennial.runtime.scoring import same_label
from perennial.runtime.server.engine import Answers, Engine, OnnxEngine, SklearnEngine
from perennial.runtime.server.exactness import batch_rows, known_rows
from perennial.runtime.server.rows import Rows, rows_of
from perennial.runtime.store import Version, open_version
from perennial.wire.manifest import REFERENCE_FILE, Manifest, ModelFile
from perennial.wire.reference import Reference
from perennial.wire.schema import SCHEMA_FILE, Example, Schema
from perennial.wire.serve import ServedModel

TOLERANCE = 1e-6
INLINE_SECONDS = 0.002
"""A prediction that takes longer than this is computed beside the event loop, which others wait for."""
SLOW_SECONDS = 0.01
"""A row of a model that could not be timed: beside the event loop, and few of them for a comparison at first."""

_TRIALS = 5

logger = logging.getLogger(__name__)


class Unloadable(ValueError):
    """The model's file is not one that this server takes: damaged, or with types in it that are not trusted."""


class WrongAnswer(ValueError):
    """The model does not say to its examples what it said when it was published."""


@dataclass(frozen=True)
class Model:
    """A loaded model. `inline_rows` is how many rows may be predicted on the event loop, `batch_rows` how many of
    several requests at a time.
    """

    served: ServedModel
    digest: str
    version: str
    manifest: Manifest
    schema: Schema
    reference: Reference | None
    engine: Engine
    inline_rows: int
    batch_rows: int
    seconds_a_row: float


def load(served: ServedModel) -> Model:
    """Fetch, check, load and try the version.

    Raises StoreError, SealError for a version that is not what it must be, Unloadable, WrongAnswer.
    """
    version, schema, reference = opened(served)
    manifest = version.manifest
    engine = _engine(manifest.model, version.read(manifest.model.file), schema)
    try:
        check_examples(engine, schema)
    except WrongAnswer:
        raise
    except Exception as error:
        raise WrongAnswer(f"the examples of {SCHEMA_FILE} are not answered: {error}") from error
    row, batch = _timed(engine, schema)
    return Model(
        served=served,
        digest=manifest.model.sha256,
        version=version_of(served, manifest),
        manifest=manifest,
        schema=schema,
        reference=reference,
        engine=engine,
        inline_rows=_inline_rows(row, batch),
        batch_rows=batch_rows(engine, schema),
        seconds_a_row=batch,
    )


def opened(served: ServedModel) -> tuple[Version, Schema, Reference | None]:
    """The version, and what of it is needed beside the model. Raises StoreError, SealError."""
    version = open_version(served.uri, sha256=served.sha256, seal=served.seal)
    schema = msgspec.json.decode(version.read(SCHEMA_FILE), type=Schema)
    if REFERENCE_FILE not in version:
        return version, schema, None
    return version, schema, msgspec.json.decode(version.read(REFERENCE_FILE), type=Reference)


def version_of(served: ServedModel, manifest: Manifest) -> str:
    """The version's name in the Open Inference Protocol."""
    return str(served.version or manifest.version)


def _engine(file: ModelFile, data: bytes, schema: Schema) -> Engine:
    try:
        return OnnxEngine(data, schema) if file.engine == "onnx" else SklearnEngine(data, schema)
    except Exception as error:
        raise Unloadable(f"{file.file} cannot be loaded: {error}") from error


def check_examples(engine: Engine, schema: Schema, tolerance: float = TOLERANCE) -> None:
    """Raises WrongAnswer unless the engine answers every example as the published model did, numbers within
    `tolerance` of 1 + their size."""
    if not schema.examples:
        return
    answers = engine(rows_of(schema, schema.examples))
    for position, example in enumerate(schema.examples):
        if not _agrees(schema, example, answers, position, tolerance):
            raise WrongAnswer(
                f"example {position} of {SCHEMA_FILE} is answered {answers.predictions[position]!r}, "
                f"the published model said {example.prediction!r}"
            )


def _agrees(schema: Schema, example: Example, answers: Answers, position: int, tolerance: float) -> bool:
    said = answers.predictions[position]
    if schema.task == "regression":
        return _near([float(example.prediction)], [float(said)], tolerance)
    label = said.item() if isinstance(said, np.generic) else said
    if isinstance(example.prediction, float) or not same_label(label, example.prediction):
        return False
    if not example.probabilities or answers.probabilities is None:
        return True
    return _near(example.probabilities, answers.probabilities[position].tolist(), tolerance)


def _near(expected: list[float], found: list[float], tolerance: float) -> bool:
    sizes = np.abs(np.asarray(expected)) + 1
    return bool(np.all(np.abs(np.asarray(expected) - np.asarray(found)) <= tolerance * sizes))


def _timed(engine: Engine, schema: Schema) -> tuple[float, float]:
    """Seconds that one row takes by itself, and that each of many takes."""
    row = rows_of(schema, known_rows(schema)[:1])
    many = row.take(np.zeros(64, np.intp))
    try:
        return _best(engine, row), _best(engine, many) / many.count
    except Exception as error:
        # No example shows a row that this model takes: it serves all the same, and counts as slow.
        logger.warning("the model is not timed, since it does not take a row of zeros: %s", error)
        return SLOW_SECONDS, SLOW_SECONDS


def _best(engine: Engine, rows: Rows) -> float:
    seconds = []
    for _ in range(_TRIALS):
        started = time.perf_counter()
        engine(rows)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _inline_rows(row: float, each: float) -> int:
    return 0 if row > INLINE_SECONDS else max(1, int(INLINE_SECONDS / each))
