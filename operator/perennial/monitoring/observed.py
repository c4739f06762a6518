"""Everything that a DriftMonitor's plan is decided on, as one immutable record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from perennial.api.conditions import ConditionType, find
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.modeldeployment_status import ModelDeploymentStatus
from perennial.api.reasons import CommonReason
from perennial.api.trainingjob_status import TrainingJobStatus
from perennial.kube.plan import Manifest
from perennial.settings import Settings
from perennial.wire.counts import Epochs
from perennial.wire.join import Server
from perennial.wire.reference import Reference

from .checkpoint import Checkpoint
from .names import APPROVE, RELEASE, Identity
from .objections import Brake


@dataclass(frozen=True, slots=True)
class Deployment:
    """The ModelDeployment that is watched. `training_job` is whose versions it serves, if any, and `pinned` the one
    that it is held to."""

    status: ModelDeploymentStatus
    training_job: str | None = None
    pinned: int | None = None
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What the last look at the pods brought. `answers` are by the pod's uid and empty between looks.

    `present` are the uids of all pods that have not ended, None where nobody has looked for them; `serving` is how many
    are of the stable revision, `unreachable` the errors of those that did not answer, by name, `quiet` how many seconds
    ago pods, by uid, said that they had served nothing more. `next` is in how many seconds pods are looked at again.
    """

    present: frozenset[str] | None = None
    serving: int = 0
    answers: Mapping[str, Epochs] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)
    reference: Reference | None = None
    no_reference: str | None = None
    quiet: Mapping[str, float] = field(default_factory=dict)
    next: float | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """The monitor and what concerns it. `spec` is None where `invalid` says what is wrong with it.

    `servers` are the deployment's pods that may remember predictions, those that end included; `join_job` is the Job of
    the join that is not accounted for yet, with its pods, the oldest first.

    `rival` is the monitor of the same deployment that acts, `brake` what the installation forbids. `stored`
    is the ConfigMap as it is, `checkpoint` what it holds and `unreadable` why it holds nothing.
    """

    identity: Identity
    manifest: Manifest
    spec: DriftMonitorSpec | None
    invalid: str | None
    status: DriftMonitorStatus
    checkpoint: Checkpoint
    stored: Manifest | None = None
    unreadable: str | None = None
    deployment: Deployment | None = None
    training: TrainingJobStatus | None = None
    rival: str | None = None
    brake: Brake | None = None
    look: Look = Look()
    servers: tuple[Server, ...] = ()
    join_job: Manifest | None = None
    join_pods: tuple[Manifest, ...] = ()
    settings: Settings = field(default_factory=Settings)

    @property
    def generation(self) -> int:
        return int(self.manifest["metadata"].get("generation", 0))

    @property
    def created(self) -> float:
        """When the monitor was made, in Unix seconds; 0 for one that no API server has made."""
        made = self.manifest["metadata"].get("creationTimestamp")
        return datetime.fromisoformat(made).timestamp() if made else 0.0

    @property
    def watches(self) -> bool:
        """Whether what was found may be claimed to be so now: what a suspended monitor once found, or one whose
        deployment is gone, must not hold training or alert for ever."""
        return self.spec is None or (not self.spec.suspend and self.deployment is not None)

    @property
    def resumes(self) -> bool:
        """Whether it was suspended until now. The status goes on saying so until it is written anew, which may be later
        than the checkpoint is."""
        ready = find(self.status.conditions, ConditionType.READY)
        said = ready is not None and ready.reason == CommonReason.SUSPENDED.value
        return said and self.checkpoint.suspension != self.status.observed_generation

    @property
    def release(self) -> str | None:
        return self._annotation(RELEASE)

    @property
    def approve(self) -> str | None:
        return self._annotation(APPROVE)

    def _annotation(self, name: str) -> str | None:
        annotations: Mapping[str, str] = self.manifest["metadata"].get("annotations") or {}
        return annotations.get(name)
