"""What the API server is told of each kind besides its fields: columns, short names, subresources, and what it is
for."""

from __future__ import annotations

from dataclasses import dataclass

from perennial.kube.plan import Resource

from .driftmonitor import DriftMonitorSpec
from .driftmonitor_status import DriftMonitorStatus
from .model import Model, Status
from .modeldeployment import ModelDeploymentSpec
from .modeldeployment_status import ModelDeploymentStatus
from .reasons import (
    CommonReason,
    DriftMonitorReason,
    JoinFailureReason,
    ModelDeploymentReason,
    Reason,
    RunFailureReason,
    TrainingJobReason,
)
from .resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from .trainingjob import TrainingJobSpec
from .trainingjob_status import TrainingJobStatus


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; priority 1 shows with `-o wide`."""

    name: str
    path: str
    description: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the three kinds. `reasons` are those of its conditions and Events."""

    resource: Resource
    spec: type[Model]
    status: type[Status]
    description: str
    columns: tuple[Column, ...]
    reasons: tuple[type[Reason], ...]
    scalable: bool = False


def _condition(name: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{name}")].{field}'


_READY = Column("Ready", _condition("Ready"), "Whether the resource does its job.")
_REASON = Column("Reason", _condition("Ready", "reason"), "Why it is ready or not.")
_MESSAGE = Column("Message", _condition("Ready", "message"), "Why, for a person.", priority=1)
_AGE = Column("Age", ".metadata.creationTimestamp", "Time since the resource was made.", type="date")

KINDS = (
    Kind(
        resource=TRAININGJOBS,
        spec=TrainingJobSpec,
        status=TrainingJobStatus,
        description=(
            "A TrainingJob makes numbered versions of a model and says which of them are good enough. It runs when its "
            "definition changes, when a DriftMonitor asks, and when a person does."
        ),
        columns=(
            _READY,
            _REASON,
            Column("Accepted", ".status.acceptedVersion", "The newest accepted version.", type="integer"),
            Column("Latest", ".status.latestVersion", "The newest version.", type="integer"),
            Column("Last Run", ".status.runs[0].state", "How far the last run is, or how it ended."),
            Column("Trigger", ".status.runs[0].trigger", "What started the last run."),
            Column("Trained Through", ".status.runs[0].trainedThrough", "The newest row learned from.", priority=1),
            _MESSAGE,
            _AGE,
        ),
        reasons=(CommonReason, TrainingJobReason, RunFailureReason),
    ),
    Kind(
        resource=MODELDEPLOYMENTS,
        spec=ModelDeploymentSpec,
        status=ModelDeploymentStatus,
        description=(
            "A ModelDeployment serves a model over the Open Inference Protocol, follows the newest accepted version of "
            "its TrainingJob, and lets a new version take over step by step or not at all."
        ),
        columns=(
            _READY,
            _REASON,
            Column("Version", ".status.stable.version", "The version that serves.", type="integer"),
            Column("Candidate", ".status.candidate.version", "The version that is taking over.", type="integer"),
            Column(
                "Weight",
                ".status.candidate.weight.measured",
                "The candidate's share of requests, in percent.",
                type="number",
            ),
            Column("Pods", ".status.replicas", "How many pods there are.", type="integer"),
            Column("Pods Ready", ".status.readyReplicas", "How many of them are ready.", type="integer"),
            Column("URL", ".status.url", "Where the model is served.", priority=1),
            _MESSAGE,
            _AGE,
        ),
        reasons=(CommonReason, ModelDeploymentReason),
        scalable=True,
    ),
    Kind(
        resource=DRIFTMONITORS,
        spec=DriftMonitorSpec,
        status=DriftMonitorStatus,
        description=(
            "A DriftMonitor compares what a ModelDeployment sees and predicts with what is normal, tells harmless "
            "change from harm, and may ask the TrainingJob for a new version, or the ModelDeployment to go back to "
            "the one before."
        ),
        columns=(
            _READY,
            _REASON,
            Column("Drifting", _condition("Drifting"), "Whether what is served differs materially."),
            Column("Harmful", _condition("Harmful"), "Whether labels show that the model has become worse."),
            Column("Data Fault", _condition("DataFault"), "Whether the data itself is broken."),
            Column("Version", ".status.model.version", "The version that is watched.", type="integer"),
            Column("Rows", ".status.rows", "Rows counted for this version.", type="integer"),
            Column("Labels", ".status.labels", "Labels counted for this version.", type="integer", priority=1),
            Column("Last Window", ".status.windows.last", "When the last window closed.", type="date"),
            _MESSAGE,
            _AGE,
        ),
        reasons=(CommonReason, DriftMonitorReason, JoinFailureReason),
    ),
)
