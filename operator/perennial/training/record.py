"""The record of a finished run: a ControllerRevision, which Kubernetes keeps immutable.

The status is a view of these. What a version is, where it is and why it was made can be read here when a status was
cleared or restored without, and by the ModelDeployment that pins it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from perennial.kube.ownership import owner_reference
from perennial.kube.plan import Child, Manifest, Mode
from perennial.kube.resources import CONTROLLERREVISIONS
from perennial.wire.result import Result

from .names import VERSION, Identity
from .origin import Handled, Store, Trigger

State = Literal["Succeeded", "Unchanged", "Rejected", "Failed"]


class Failure(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Why a run failed: in the documented reasons' words, and where it happened."""

    reason: str
    message: str
    pod: str | None = None
    node: str | None = None
    exit_code: int | None = None


class Cost(msgspec.Struct, frozen=True, rename="camel"):
    """What a run reserved: requests times the seconds that its pods ran."""

    cpu_seconds: float
    memory_gib_seconds: float


class Record(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One finished run. `definition` names its algorithm; times are RFC 3339. `image` is what trained, by digest as its
    node knows it."""

    result: Result
    state: State
    definition: str
    trigger: Trigger
    job: str
    store: Store
    started_at: str | None = None
    finished_at: str | None = None
    failure: Failure | None = None
    cost: Cost | None = None
    handled: Handled = Handled()
    image: str | None = None

    @property
    def version(self) -> int:
        return self.result.version


def to_child(record: Record, identity: Identity, owner: Manifest) -> Child:
    manifest: Manifest = {
        "apiVersion": CONTROLLERREVISIONS.api_version,
        "kind": CONTROLLERREVISIONS.kind,
        "metadata": {
            "name": identity.record(record.version),
            "namespace": identity.namespace,
            "labels": identity.labels(VERSION),
            "ownerReferences": [owner_reference(owner)],
        },
        "revision": record.version,
        "data": msgspec.to_builtins(record),
    }
    return Child(CONTROLLERREVISIONS, manifest, Mode.CREATE)


def from_manifest(manifest: Manifest) -> Record | None:
    """The record in a ControllerRevision; None where it is not one of a run."""
    try:
        return msgspec.convert(manifest.get("data"), type=Record)
    except msgspec.ValidationError:
        return None
