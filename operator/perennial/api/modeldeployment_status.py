"""The status of a ModelDeployment: what is served, what is taking over, and what was found about it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .conditions import Conditions
from .model import Status
from .timestamp import Timestamp
from .trainingjob_status import SecretName


class Weight(Status):
    """A share of requests, in percent."""

    asked: float | None = None
    """As the step asks for."""
    measured: float | None = None
    """As counted, over the last measurements."""


class RevisionStatus(Status):
    """A revision: a model as a certain server serves it."""

    revision: str
    """Its name: ten digits of a hash of model and server."""
    version: int | None = None
    """Number of the version, where the model is a TrainingJob's."""
    sha256: str
    """Digest of the model's primary file."""
    uri: str | None = None
    """The version's folder in the store."""
    seal: str | None = None
    """Digest of the version's manifest."""
    secret_ref: SecretName | None = None
    """The Secret that opens the store."""
    replicas: int | None = None
    """How many pods it has."""
    ready: int | None = None
    """How many of them are ready."""
    weight: Weight | None = None
    """Its share of requests."""


class PreviousVersion(Status):
    """The version that was stable before the one that is."""

    version: int | None = None
    """Number of the version, where the model is a TrainingJob's."""
    sha256: str
    """Digest of the model's primary file."""
    compared: bool
    """Whether the stable version's pods score it too; without that no DriftMonitor can tell that it is better."""


class AnalysisResult(Status):
    """One measure of the candidate, as judged so far."""

    name: str
    """errorRate, disagreement or loss."""
    value: float | None = None
    """The value measured: the share of requests that failed or of rows that are answered otherwise; of the loss, by how
    much it is greater than the stable version's, relative to it."""
    bound: float | None = None
    """The greatest value allowed."""
    samples: int
    """How many requests, rows or labels it is of."""
    verdict: Literal["Pass", "Fail", "Inconclusive", "Reported"]
    """Reported is measured and does not gate."""


class RolloutStatus(Status):
    """The rollout that is going on."""

    step: int
    """Index of the step, from 0; equal to `steps` while the candidate is promoted."""
    steps: int
    """How many steps there are."""
    since: Timestamp
    """When the step began."""
    state: str
    """What the step waits for, in one CamelCase word of the documented list."""
    analysis: tuple[AnalysisResult, ...] = ()
    """What the candidate is judged by."""
    at: dict[str, float] = Field(default_factory=dict)
    """Totals when the step began; what is judged is what came since."""
    message: str | None = None
    """What it waits for, for a person."""


class Quarantined(Status):
    """A revision that is never rolled out again, until `perennial.dev/release`."""

    revision: str
    """Its name."""
    version: int | None = None
    """Number of the version."""
    sha256: str
    """Digest of the model's primary file."""
    reason: str
    """What its model did."""
    since: Timestamp
    """When it was rolled back."""


class HistoryEntry(Status):
    """A rollout that ended."""

    revision: str
    """The revision."""
    version: int | None = None
    """Number of the version."""
    sha256: str
    """Digest of the model's primary file."""
    outcome: Literal["Promoted", "RolledBack", "Aborted", "Superseded", "Failed"]
    """How it ended."""
    at: Timestamp
    """When."""


class AutoscalingStatus(Status):
    """What the autoscaler measured and wants."""

    desired: int
    """The number of replicas that it wants."""
    measured: float | None = None
    """The value measured per replica; none when too few pods answered."""
    target: float | None = None
    """The value per replica that is aimed at."""
    last_scaled_at: Timestamp | None = None
    """When the number last changed."""
    message: str | None = None
    """Why it wants what it wants."""


class HandledVerbs(Status):
    """The last token of each annotation and the last request of each DriftMonitor that was taken, so that none is taken
    twice."""

    promote: str | None = None
    """Of `perennial.dev/promote`."""
    abort: str | None = None
    """Of `perennial.dev/abort`."""
    release: str | None = None
    """Of `perennial.dev/release`."""
    monitors: dict[str, str] = Field(default_factory=dict)
    """The last request of each DriftMonitor, by its uid."""


class ModelDeploymentStatus(Status):
    """What the operator found and did."""

    observed_generation: int = -1
    """The generation of the spec that this status is about; -1 before the operator has seen the object."""
    conditions: Conditions = ()
    """Ready: the stable revision serves. Reconciling, Stalled: see the reference. RollingOut: a candidate is taking
    over."""
    url: str | None = None
    """Where the model is served within the cluster."""
    training_job: str | None = None
    """The TrainingJob whose versions are followed."""
    stable: RevisionStatus | None = None
    """The revision that serves."""
    candidate: RevisionStatus | None = None
    """The revision that is taking over."""
    rollout: RolloutStatus | None = None
    """The rollout that is going on."""
    previous: PreviousVersion | None = None
    """The version that was stable before: what a DriftMonitor's action Rollback goes back to."""
    quarantined: tuple[Quarantined, ...] = ()
    """Revisions that were rolled back for what their model did."""
    history: tuple[HistoryEntry, ...] = ()
    """The last rollouts, newest first."""
    replicas: int | None = None
    """How many pods there are, of all revisions."""
    ready_replicas: int | None = None
    """How many of them are ready."""
    selector: str | None = None
    """Label selector of the pods, for the scale subresource."""
    autoscaling: AutoscalingStatus | None = None
    """What the autoscaler measured and wants."""
    handled: HandledVerbs = HandledVerbs()
    """Annotations and requests that were taken."""
