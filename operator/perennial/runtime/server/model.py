"""A model as the server holds it: fetched from the store, checked file by file, loaded, and tried on its own
examples.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec
import numpy as np

from perennial.runtime.scoring import same_label
from perennial.runtime.server.engine import Answers, Engine, OnnxEngine, SklearnEngine
from perennial.runtime.server.exactness import batch_rows
from perennial.runtime.server.rows import Rows, rows_of
from perennial.runtime.store import Version, open_version
from perennial.wire.manifest import REFERENCE_FILE, Manifest
from perennial.wire.reference import Reference
from perennial.wire.schema import SCHEMA_FILE, Example, Schema
from perennial.wire.serve import ServedModel

TOLERANCE = 1e-6
INLINE_SECONDS = 0.002
"""A prediction that takes longer than this is computed beside the event loop, which others wait for."""

_TRIALS = 5


class WrongAnswer(ValueError):
    """The model does not say to its examples what it said when it was published."""


@dataclass(frozen=True)
class Model:
    """A loaded model. `inline_rows` is how many rows may be predicted on the event loop, `batch_rows` how many of
    several requests at a time.
    """

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

    Raises StoreError, SealError for a version that is not what it must be, WrongAnswer.
    """
    version, schema, reference = opened(served)
    manifest = version.manifest
    data = version.read(manifest.model.file)
    engine: Engine = OnnxEngine(data, schema) if manifest.model.engine == "onnx" else SklearnEngine(data, schema)
    check_examples(engine, schema)
    row, batch = _timed(engine, schema)
    return Model(
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
    row = rows_of(schema, schema.examples[:1] or [Example([None] * len(schema.features), 0.0)])
    many = row.take(np.zeros(64, np.intp))
    return _best(engine, row), _best(engine, many) / many.count


def _best(engine: Engine, rows: Rows) -> float:
    seconds = []
    for _ in range(_TRIALS):
        started = time.perf_counter()
        engine(rows)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _inline_rows(row: float, each: float) -> int:
    return 0 if row > INLINE_SECONDS else max(1, int(INLINE_SECONDS / each))
