"""The status of a TrainingJob: a view of its versions and of what the loop is doing. The ControllerRevisions are the
record."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .conditions import Conditions
from .model import Status
from .timestamp import Timestamp

RunState = Literal["Pending", "Running", "Suspended", "Succeeded", "Unchanged", "Rejected", "Failed"]
Trigger = Literal["FirstRun", "DefinitionChanged", "Scheduled", "Requested", "DriftMonitor"]


class SecretName(Status):
    """A Secret of the namespace."""

    name: str
    """Its name."""


class RunModel(Status):
    """The model that a run published."""

    uri: str
    """The version's folder in the store."""
    sha256: str
    """Digest of the model's primary file."""
    size: int | None = None
    """Size in bytes of that file."""
    engine: str | None = None
    """What serves it: onnx or sklearn."""


class GateResult(Status):
    """A gate as it was judged."""

    metric: str
    """The metric."""
    rule: Literal["min", "max", "champion", "slice"]
    """Which bound; champion: by how much the metric may be worse than the champion's; slice: how far it may lie apart
    between two values of a column."""
    bound: float
    """The bound."""
    value: float | None = None
    """The value on the held-out rows, for champion by how much it is worse, for slice the largest difference; none
    where it could not be computed."""
    interval: tuple[float, ...] = ()
    """Where the value lies, noise considered: both ends, with a confidence of 95%. Where the bound is between them, the
    held-out rows are too few to tell the value from it."""
    passed: bool
    """Whether it was kept."""
    note: str | None = None
    """What was compared; or NotComparable, and why nothing was."""


class RunFailure(Status):
    """Why a run failed."""

    reason: str
    """In one CamelCase word of the documented list."""
    message: str
    """For a person, with what to do."""
    pod: str | None = None
    """The pod that failed."""
    node: str | None = None
    """The node it ran on."""
    exit_code: int | None = None
    """Exit code of its container."""


class Cost(Status):
    """What a run used, by its requests and the time its pods ran."""

    cpu_seconds: float
    """CPU seconds."""
    memory_gib_seconds: float
    """GiB of memory times seconds."""


class RunProgress(Status):
    """How far a search is."""

    done: int
    """Fits that have ended."""
    of: int
    """Fits in all."""
    metric: str
    """What is searched for."""
    best: float | None = None
    """The best mean over the folds so far."""


class SearchResult(Status):
    """What a search found."""

    metric: str
    """What was searched for."""
    score: float
    """The mean of the best trial over the folds of the rows learned from; the held-out rows' is in `metrics`."""
    trials: int
    """How many were tried."""
    parameters: str
    """The best ones, as far as they fit; all are in the version's search.json."""


class RunTracking(Status):
    """What the experiment tracker has of a run."""

    run: str | None = None
    """The run's id in MLflow."""
    problem: str | None = None
    """Why it is not there, or not whole; the pod's log has it too."""


class Run(Status):
    """A run and the version that it yields."""

    version: int
    """Number of the version."""
    state: RunState
    """How far it is, or how it ended."""
    trigger: Trigger
    """What started it."""
    triggered_by: str | None = None
    """The token of `perennial.dev/run`, or the DriftMonitor's name."""
    started_at: Timestamp | None = None
    """When its Job was made."""
    finished_at: Timestamp | None = None
    """When it ended."""
    model: RunModel | None = None
    """The model it published."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Metrics of the held-out rows."""
    gates: tuple[GateResult, ...] = ()
    """The gates as they were judged."""
    progress: RunProgress | None = None
    """How far the search is, while it goes on; the pod is asked every ten seconds."""
    search: SearchResult | None = None
    """What the search found."""
    image_digest: str | None = None
    """Digest of the image that trained, as its node reports it; told of the newest run, of all in the records."""
    tracking: RunTracking | None = None
    """What the tracker of `spec.tracking` has of it."""
    trained_through: str | None = None
    """The newest row that was learned from, by `data.time`."""
    failure: RunFailure | None = None
    """Why it failed."""
    message: str | None = None
    """What it waits for, in the scheduler's or the node's own words."""
    pending_since: Timestamp | None = None
    """Since when a run that had a pod before has none."""
    cost: Cost | None = None
    """What it used."""


class AcceptedVersion(Status):
    """The newest accepted version: what a ModelDeployment follows."""

    version: int
    """Its number."""
    uri: str
    """Its folder in the store."""
    sha256: str
    """Digest of the model's primary file."""
    seal: str | None = None
    """Digest of the version's manifest."""
    engine: str | None = None
    """What serves it: onnx or sklearn."""
    secret_ref: SecretName | None = None
    """The Secret that opens the store."""


class HandledTriggers(Status):
    """Requests that were taken, so that none is taken twice."""

    run: str | None = None
    """The last token of `perennial.dev/run`."""
    monitors: dict[str, str] = Field(default_factory=dict)
    """The last request of each DriftMonitor, by its uid."""
    schedule: Timestamp | None = None
    """The last time of `spec.schedule` that a run was started at or after."""


class ScheduleStatus(Status):
    """`spec.schedule` as it is kept."""

    cron: str
    """The times."""
    time_zone: str
    """Where they are."""
    since: Timestamp
    """When it was written: times before start nothing."""
    next: Timestamp | None = None
    """The next time."""


class PendingTrigger(Status):
    """A trigger that waits. Later ones join it."""

    trigger: Trigger
    """What it is."""
    since: Timestamp
    """Since when it waits."""
    by: str | None = None
    """The token of `perennial.dev/run`, or the DriftMonitor's name."""


class TrainingJobStatus(Status):
    """What the operator found and did."""

    observed_generation: int = -1
    """The generation of the spec that this status is about; -1 before the operator has seen the object."""
    conditions: Conditions = ()
    """Ready: there is an accepted version. Reconciling, Stalled: see the reference. Training: a run is going on.
    LastRunAccepted: how the last run ended."""
    latest_version: int | None = None
    """Number of the newest version, whatever became of it."""
    accepted_version: int | None = None
    """Number of the newest accepted version."""
    accepted: AcceptedVersion | None = None
    """The newest accepted version."""
    runs: tuple[Run, ...] = ()
    """The last runs, newest first."""
    handled: HandledTriggers = HandledTriggers()
    """Requests that were taken."""
    schedule: ScheduleStatus | None = None
    """The clock that runs are started by, and when the next one is due."""
    pending: PendingTrigger | None = None
    """A trigger that waits."""
    definition: str | None = None
    """Digest of the definition that the last run was started with, with the name of its algorithm."""
