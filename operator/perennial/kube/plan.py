"""What a plan is: everything one reconcile wants, as data.

Planners of any kind return a `Plan`; only the engine carries it out. A plan is complete: what it does not name among
the children is left alone, what it names in `deletions` goes, and the status is the whole desired status.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The identity by which work is queued: namespace and name of a primary resource."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Resource:
    """A served resource type: where the API server has it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


class Mode(Enum):
    """How a child is kept.

    APPLY: created with POST, later changed by server-side apply where it differs and only under our owner uid.
    RECORD: likewise, but only over the object that the plan was made on, of the manifest's metadata.resourceVersion, or
    none: what was added to a memory since must not be undone. Another one is a Conflict, and planned anew.
    CREATE: created once and never fought over (Jobs, ControllerRevisions).
    ENSURE: made where it is missing, owned by nobody, kept when its cause goes (the default store).
    TRIAL: asked as a dry run and never made; its refusal is a Problem (a pod that a Job does not get).
    """

    APPLY = "apply"
    RECORD = "record"
    CREATE = "create"
    ENSURE = "ensure"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True)
class Child:
    """One desired object. The manifest is complete: apiVersion, kind, metadata with name, labels and
    ownerReferences."""

    resource: Resource
    manifest: Manifest
    mode: Mode = Mode.APPLY


@dataclass(frozen=True, slots=True)
class Deletion:
    """An object to delete: by uid, so that a re-created one of the same name is never hit."""

    resource: Resource
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event on the primary object, posted only after the status persisted."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A write that the API server refused, given to the next plan so that the status can say so.

    `reason` is NameTaken, Forbidden, QuotaExceeded, Invalid or Contended.
    """

    reason: str
    kind: str
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one reconcile wants. `status` None leaves the status alone; `requeue_after` is in seconds."""

    children: tuple[Child, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    status: Manifest | None = None
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
