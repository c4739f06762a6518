"""Conditions as Kubernetes knows them, and the three that say how healthy a resource is (kstatus).

`Ready` means *doing its job*. `Reconciling` is there only while a new generation is being carried out, `Stalled`
only when the user's own spec cannot be. Tools (Flux, `kubectl wait`, Argo CD) read the three together, so `health`
refuses the combinations that mislead them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from annotated_types import MaxLen

from .model import Keyed, Status
from .reasons import Reason
from .timestamp import Timestamp

MESSAGE_LIMIT = 2048


class ConditionType(StrEnum):
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    TRAINING = "Training"
    LAST_RUN_ACCEPTED = "LastRunAccepted"
    ROLLING_OUT = "RollingOut"
    DRIFTING = "Drifting"
    DATA_FAULT = "DataFault"
    HARMFUL = "Harmful"
    LABELS_JOINED = "LabelsJoined"


class Condition(Status):
    """One aspect of the resource's state, as of `observedGeneration`."""

    type: str
    """What the condition is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: int
    """The generation of the spec that this was said about."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    reason: str
    """Why, in one CamelCase word of the documented list."""
    message: str
    """Why, for a person, and what to do next."""


Conditions = Annotated[tuple[Condition, ...], MaxLen(16), Keyed("type")]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said under a condition: `holds` None is Unknown."""

    holds: bool | None
    reason: Reason
    message: str


def health(
    ready: Finding, *, reconciling: Finding | None = None, stalled: Finding | None = None
) -> dict[ConditionType, Finding]:
    """The findings of the three health conditions; an absent one is not in the status at all.

    Raises ValueError for what no reader could make sense of: reconciling and stalled at once, stalled but ready, or
    either of them not true.
    """
    if reconciling and stalled:
        raise ValueError("a resource cannot be both Reconciling and Stalled")
    if stalled and ready.holds:
        raise ValueError("a resource that is Ready is not Stalled")
    if any(finding and finding.holds is not True for finding in (reconciling, stalled)):
        raise ValueError("Reconciling and Stalled are either true or absent")
    found = {ConditionType.READY: ready, ConditionType.RECONCILING: reconciling, ConditionType.STALLED: stalled}
    return {kind: finding for kind, finding in found.items() if finding}


def settle(
    previous: Iterable[Condition], findings: dict[ConditionType, Finding], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions for these findings, in their order; a status that did not change keeps its transition time."""
    before = {condition.type: condition for condition in previous}
    return tuple(_condition(before.get(kind), kind, finding, generation, now) for kind, finding in findings.items())


def find(conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Sequence[Condition], kind: ConditionType) -> bool:
    condition = find(conditions, kind)
    return condition is not None and condition.status == "True"


def _condition(
    previous: Condition | None, kind: ConditionType, finding: Finding, generation: int, now: datetime
) -> Condition:
    status: Literal["True", "False", "Unknown"] = "Unknown"
    if finding.holds is not None:
        status = "True" if finding.holds else "False"
    unchanged = previous is not None and previous.status == status
    return Condition(
        type=kind.value,
        status=status,
        observed_generation=generation,
        last_transition_time=previous.last_transition_time if previous and unchanged else now,
        reason=finding.reason.value,
        message=_shortened(finding.message),
    )


def _shortened(message: str) -> str:
    """A webhook's or a scheduler's words can be long; the status stays small."""
    return message if len(message) <= MESSAGE_LIMIT else f"{message[: MESSAGE_LIMIT - 1]}…"
