"""Which model the spec asks for now: of a TrainingJob, the newest accepted version or a pinned one, or by place and
digest.

A version is read from the TrainingJob's record of it, a ControllerRevision, since only that says why it was trained.
Where there is none to serve, the answer says why and whose move it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from perennial.api.modeldeployment import ModelDeploymentSpec, ModelSource
from perennial.api.reasons import ModelDeploymentReason as Reason
from perennial.api.validation import value_at
from perennial.kube.plan import Manifest
from perennial.wire.result import Result

from .revision import ModelRef


@dataclass(frozen=True, slots=True)
class Awaited:
    """There is no model to serve. `stalled`: only a change of the spec, or by its user, helps."""

    reason: Reason
    message: str
    stalled: bool = False


class _Trigger(msgspec.Struct):
    type: str


class _Store(msgspec.Struct):
    uri: str
    secret: str | None = None


class _Version(msgspec.Struct):
    """What a TrainingJob's record of a version says that concerns serving."""

    result: Result
    trigger: _Trigger
    store: _Store


def source_of(model: ModelSource) -> str:
    """The part of the spec that names the model, as text: a candidate asked for by another one is superseded."""
    if model.uri:
        secret = model.secret_ref.name if model.secret_ref else ""
        return f"uri/{model.sha256}/" + _short(model.uri, secret, model.seal or "")
    return f"trainingjob/{model.training_job}" + (f"/v{model.version}" if model.version else "")


def version_name(trainingjob: Manifest, version: int) -> str:
    """The name of the TrainingJob's record of a version."""
    metadata = trainingjob["metadata"]
    return f"{metadata['name']}-{hashlib.sha256(metadata['uid'].encode()).hexdigest()[:6]}-v{version}"


def wanted_version(pinned: int | None, trainingjob: Manifest | None) -> int | None:
    """The version that is pinned or followed; None where there is none yet."""
    version = pinned or value_at(trainingjob or {}, "status", "acceptedVersion")
    return version if isinstance(version, int) else None


def model_of(spec: ModelDeploymentSpec, trainingjob: Manifest | None, record: Manifest | None) -> ModelRef | Awaited:
    """The model. `record` is the TrainingJob's ControllerRevision of the wanted version, where it exists."""
    model = spec.model
    if model.uri and model.sha256:
        secret = model.secret_ref.name if model.secret_ref else None
        return ModelRef(uri=model.uri, sha256=model.sha256, seal=model.seal, secret=secret)
    if trainingjob is None:
        return Awaited(Reason.TRAINING_JOB_NOT_FOUND, f"there is no TrainingJob {model.training_job} in this namespace")
    if wanted_version(model.version, trainingjob) is None:
        return Awaited(Reason.NO_VERSION, f"TrainingJob {model.training_job} has no accepted version yet")
    if record is None:
        return _absent(model, trainingjob)
    try:
        version = msgspec.convert(record.get("data"), _Version)
    except msgspec.ValidationError as error:
        name = record["metadata"]["name"]
        return Awaited(Reason.VERSION_NOT_FOUND, f"ControllerRevision {name} cannot be read: {error}")
    return _served(model, version)


def _short(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:10]


def _absent(model: ModelSource, trainingjob: Manifest) -> Awaited:
    latest = value_at(trainingjob, "status", "latestVersion") or 0
    if model.version is None:
        return Awaited(Reason.NO_VERSION, "the record of the accepted version has not been seen yet")
    if model.version <= latest:
        message = f"version {model.version} of TrainingJob {model.training_job} is gone or still running: pin another"
        return Awaited(Reason.VERSION_NOT_FOUND, message)
    message = f"TrainingJob {model.training_job} has no version {model.version} yet; its latest is {latest}"
    return Awaited(Reason.VERSION_NOT_FOUND, message)


def _served(model: ModelSource, version: _Version) -> ModelRef | Awaited:
    result = version.result
    if result.outcome != "Accepted" or result.model is None:
        message = (
            f"version {result.version} of TrainingJob {model.training_job} was {result.outcome.lower()}: pin another"
        )
        return Awaited(Reason.VERSION_NOT_ACCEPTED, message, stalled=True)
    return ModelRef(
        uri=result.model.uri,
        sha256=result.model.sha256,
        version=result.version,
        seal=result.model.seal,
        secret=version.store.secret,
        cure=version.trigger.type == "DriftMonitor",
    )
