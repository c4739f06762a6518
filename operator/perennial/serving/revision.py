"""A revision: a model as a certain server serves it, and the record of what became of it.

Both live in a ControllerRevision that the deployment owns, so that a lost status loses neither which revision is stable
nor which is quarantined. Its data never changes: the model, the server's digest and the pod template as it was rendered
once, by whatever release of the operator made it. The record is one annotation, replaced whole: no crash leaves half of
a decision behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import msgspec

from perennial.api.labels import REVISION
from perennial.api.titles import model_title
from perennial.kube.plan import Manifest
from perennial.wire.serve import ServedModel

RECORD = "perennial.dev/record"
MODEL = "perennial.dev/model"

Outcome = Literal["Promoted", "RolledBack", "Aborted", "Superseded", "Failed"]


class ModelRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """The model of a revision. `secret` opens its store; `cure`: it was trained because the one before drifted."""

    uri: str
    sha256: str
    version: int | None = None
    seal: str | None = None
    secret: str | None = None
    cure: bool = False

    @property
    def served(self) -> ServedModel:
        return ServedModel(uri=self.uri, sha256=self.sha256, version=self.version, seal=self.seal)

    @property
    def title(self) -> str:
        return model_title(self.version, self.sha256)


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a candidate is. `number` orders rollouts, `begun` is when this one did, `since` when the step did.

    `reached` is when the step's pods were all ready, `requests` how many its pods had answered then. `blocked`: no
    number of replicas gives the step's weight.
    """

    number: int
    step: int
    since: datetime
    begun: datetime
    reached: datetime | None = None
    requests: int = 0
    blocked: bool = False


class Quarantine(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why the revision is never rolled out again, until it is released. `instead` is the model that a stable one gave
    way to: such a quarantine is of its model under any server."""

    reason: str
    since: datetime
    instead: ModelRef | None = None


class Taken(msgspec.Struct, frozen=True):
    """The request of a DriftMonitor, by uid, that the last quarantine of a stable revision carried out."""

    monitor: str
    request: str


class Setback(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rollout that ended for no fault of the model: not tried again before `until`, or before a person says so."""

    reason: str
    message: str
    attempts: int = 1
    until: datetime | None = None


class Ended(msgspec.Struct, frozen=True):
    """How the last rollout of this revision ended."""

    outcome: Outcome
    at: datetime


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a revision. The highest `promotion` is the stable one, the one with `progress` the candidate."""

    promotion: int = 0
    progress: Progress | None = None
    companion: ModelRef | None = None
    quarantine: Quarantine | None = None
    setback: Setback | None = None
    ended: Ended | None = None
    source: str = ""
    """The part of the spec that it was last asked for by."""
    taken: Taken | None = None
    adopted: str | None = None
    """Digest of the spec, by an algorithm that is known here, that stands for the revision's own, which is not."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A ControllerRevision, read. `name` is the ten digits; `uid` is None where it is still to be made."""

    name: str
    digest: str
    model: ModelRef
    template: Manifest
    record: Record = field(default_factory=Record)
    uid: str | None = None
    number: int = 1


def revision_name(sha256: str, digest: str) -> str:
    """Ten hex digits for this model under this server."""
    return hashlib.sha256(f"{sha256}\n{digest}".encode()).hexdigest()[:10]


def revision_for(model: ModelRef, digest: str, revisions: Mapping[str, Revision]) -> str:
    """The name of the revision that serves this model under this server: a known one, or a new one's.

    Of a model that is named by its place, another place or Secret is another revision, since a template is rendered
    once; but a quarantine is the model's, wherever it is.
    """
    # By what it is and not by its name alone: another release may have named it.
    same = [one for one in revisions.values() if (one.model.sha256, one.digest) == (model.sha256, digest)]
    barred = (one for one in same if one.record.quarantine)
    fetched_alike = (one for one in same if _is_fetched_alike(one.model, model))
    if found := next(barred, None) or next(fetched_alike, None):
        return found.name
    return revision_name(model.sha256, f"{digest}\n{model.uri}\n{model.secret}\n{model.seal}" if same else digest)


def _is_fetched_alike(known: ModelRef, model: ModelRef) -> bool:
    """Versions of a TrainingJob stay where they were published, with the Secret that they were published by."""
    if known.version or model.version:
        return True
    return (known.uri, known.secret, known.seal) == (model.uri, model.secret, model.seal)


class _Data(msgspec.Struct):
    """Keys in alphabetical order; model and template as JSON texts."""

    digest: str
    model: str
    template: str


def to_data(revision: Revision) -> Manifest:
    """The data of the ControllerRevision, in a form that no API machinery writes differently.

    The API server compares the bytes of old and new data, and its own patching sorts keys and escapes <, > and & in
    between: as texts without these characters data survives a change of the annotations.
    """
    data = _Data(revision.digest, _plain_json(revision.model), _plain_json(revision.template))
    manifest: Manifest = msgspec.to_builtins(data)
    return manifest


def _plain_json(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text.translate(_ESCAPES)


_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def to_annotation(record: Record) -> str:
    return msgspec.json.encode(record).decode()


def read(manifest: Manifest) -> Revision | None:
    """The revision in a ControllerRevision of ours; None where somebody else wrote it and it cannot be understood."""
    metadata = manifest["metadata"]
    name = (metadata.get("labels") or {}).get(REVISION)
    try:
        data = msgspec.convert(manifest.get("data"), _Data)
        model = msgspec.json.decode(data.model, type=ModelRef)
        template = msgspec.json.decode(data.template, type=dict[str, object])
        record = msgspec.json.decode((metadata.get("annotations") or {}).get(RECORD, "{}"), type=Record)
    except msgspec.MsgspecError:
        return None
    if not name:
        return None
    number = manifest.get("revision", 1)
    return Revision(name, data.digest, model, template, record, metadata["uid"], number)


class _Said(msgspec.Struct):
    digest: str
    model: ModelRef


def recovered(deployment: Manifest, promotion: int) -> Revision | None:
    """The revision that a Deployment was made of, when its ControllerRevision is gone; its pods stay as they are."""
    metadata = deployment["metadata"]
    name = (metadata.get("labels") or {}).get(REVISION)
    try:
        said = msgspec.json.decode((metadata.get("annotations") or {}).get(MODEL, ""), type=_Said)
    except msgspec.MsgspecError:
        return None
    if not name:
        return None
    template = deployment["spec"]["template"]
    return Revision(name, said.digest, said.model, template, Record(promotion=promotion))
