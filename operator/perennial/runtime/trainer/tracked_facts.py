"""What an experiment tracker is told: of a version what its sealed files say, the same however often it is told; of a
run that failed its definition and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec

from perennial.runtime.store import Version
from perennial.wire.manifest import CARD_FILE, LINEAGE_FILE, METRICS_FILE
from perennial.wire.result import Failure, Gate, Model, Result
from perennial.wire.run import Run

from .lineage import shown_uri

_PARAMETER_LIMIT = 500
_TAG_LIMIT = 5000
"""Characters that every backend of MLflow takes."""


FAILURE = "perennial.failure"
"""The tag with the reason of a failure, empty where another attempt came to a version."""


@dataclass(frozen=True, slots=True)
class Registration:
    """The registered model that an accepted version is one of, and the version's place in the store."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Facts:
    """A run as a tracker has it. `key` are tags that no other run has together; times are in milliseconds since
    1970."""

    name: str
    key: dict[str, str]
    tags: dict[str, str]
    parameters: dict[str, str]
    started: int
    ended: int
    status: Literal["FINISHED", "FAILED"] = "FINISHED"
    metrics: dict[str, float] = field(default_factory=dict)
    registration: Registration | None = None


def facts_of(run: Run, model: Model, version: Version) -> Facts:
    """Raises StoreError and SealError as `Version.read` does."""
    lineage = msgspec.json.decode(version.read(LINEAGE_FILE))
    report = msgspec.json.decode(version.read(METRICS_FILE))
    result = version.manifest.result
    return Facts(
        name=_name(run),
        registration=Registration(f"{run.namespace}.{run.name}", model.uri) if result.outcome == "Accepted" else None,
        key=_key(run),
        tags=_tags(run, model, result, lineage)
        | {"mlflow.note.content": _cut(version.read(CARD_FILE).decode(), _TAG_LIMIT)},
        parameters=_cut_parameters(run, lineage),
        metrics={name: float(value) for name, value in _metrics(report, result.gates) if _is_finite(value)},
        started=_milliseconds(datetime.fromisoformat(lineage["startedAt"])),
        ended=_milliseconds(datetime.fromisoformat(lineage["finishedAt"])),
    )


def facts_of_failure(run: Run, failure: Failure, started: datetime, ended: datetime) -> Facts:
    """Of an attempt that came to no version. The estimator's own parameters are not among these: MLflow has each value
    once and for all, and those of another attempt's version may be other ones."""
    told = {"outcome": "Failed", "failure": failure.reason}
    return Facts(
        name=_name(run),
        key=_key(run),
        tags=_tagged(_origin(run) | told)
        | {"mlflow.note.content": _cut(f"{failure.reason}: {failure.message}", _TAG_LIMIT)},
        parameters=_cut_parameters(run, {}),
        started=_milliseconds(started),
        ended=_milliseconds(ended),
        status="FAILED",
    )


def _name(run: Run) -> str:
    return f"{run.name} v{run.version}"


def _key(run: Run) -> dict[str, str]:
    return {"perennial.uid": run.uid, "perennial.version": str(run.version)}


def _origin(run: Run) -> dict[str, str | None]:
    return {
        "trainingJob": f"{run.namespace}/{run.name}",
        "trigger": run.trigger,
        "definition": run.definition,
        "image": run.image,
    }


def _tagged(told: Mapping[str, str | None]) -> dict[str, str]:
    return {f"perennial.{name}": _cut(value, _TAG_LIMIT) for name, value in told.items() if value}


def _cut_parameters(run: Run, lineage: Mapping[str, Any]) -> dict[str, str]:
    return {name: _cut(str(value), _PARAMETER_LIMIT) for name, value in _parameters(run, lineage)}


def _tags(run: Run, model: Model, result: Result, lineage: Mapping[str, Any]) -> dict[str, str]:
    """Where the version comes from, what it is and what became of it."""
    told = _origin(run) | {
        "data.sha256": (lineage.get("data") or {}).get("sha256"),
        "trainedThrough": result.trained_through,
        "model.uri": model.uri,
        "model.sha256": model.sha256,
        "model.seal": model.seal,
        "model.engine": model.engine,
        "outcome": result.outcome,
        "gates": "\n".join(f"{'passed' if gate.passed else 'FAILED'}: {gate.told}" for gate in result.gates),
    }
    return _tagged(told)


def _parameters(run: Run, lineage: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The definition by its paths in the TrainingJob; the estimator's parameters, defaults included, by the names that
    they have in anybody's runs."""
    yield "seed", run.seed
    if run.data:
        yield "data.uri", shown_uri(run.data.uri)
        yield "data.target", run.data.target
        yield "data.test.split", run.data.test.split
        yield "data.test.fraction", run.data.test.fraction
    if run.container:
        yield "template.image", run.container.image
        yield "template.command", " ".join(run.container.command)
        yield "template.args", " ".join(run.container.args)
    if run.sklearn:
        yield "sklearn.estimator", run.sklearn.estimator
        yield "sklearn.parameters", msgspec.json.encode(run.sklearn.parameters).decode()
        yield "sklearn.preprocessing", run.sklearn.preprocessing
        yield "sklearn.calibration", run.sklearn.calibration
    yield from (lineage.get("parameters") or {}).items()


def _metrics(report: Mapping[str, Any], gates: list[Gate]) -> Iterator[tuple[str, Any]]:
    """Each metric with the ends of its interval, its mean over folds, and the gates; None where there is no value."""
    yield from report["metrics"].items()
    for name, (low, high) in report["intervals"].items():
        yield f"{name}.low", low
        yield f"{name}.high", high
    for name, spread in report["crossValidation"].items():
        yield f"{name}.folds.mean", spread["mean"]
        yield f"{name}.folds.std", spread["std"]
    for gate in gates:
        # Of several slices by one metric the last one is seen here; all are among the tags.
        yield f"gate.{gate.rule}.{gate.metric}.value", gate.value
        yield f"gate.{gate.rule}.{gate.metric}.bound", gate.bound
        yield f"gate.{gate.rule}.{gate.metric}.passed", gate.passed


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
