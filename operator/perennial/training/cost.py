"""What a run reserved: each pod's requests times the seconds that it ran."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from perennial.kube.plan import Manifest
from perennial.pods.statuses import container_statuses

from .quantity import to_number
from .record import Cost

_GIB = 2**30


def cost_of(pods: Iterable[Manifest]) -> Cost | None:
    """The cost of these pods; None where none of them ran or nothing was requested."""
    spans = [(pod, _seconds(pod)) for pod in pods]
    cpu = sum(seconds * _requested(pod, "cpu") for pod, seconds in spans)
    memory = sum(seconds * _requested(pod, "memory") / _GIB for pod, seconds in spans)
    return Cost(round(cpu, 3), round(memory, 3)) if cpu or memory else None


def _requested(pod: Manifest, resource: str) -> float:
    """What the scheduler sets aside: the sum over containers, or the largest init container where that is more."""

    def request(container: Manifest) -> float:
        return to_number(container.get("resources", {}).get("requests", {}).get(resource, 0))

    spec = pod["spec"]
    return max(
        sum(request(container) for container in spec["containers"]),
        max((request(container) for container in spec.get("initContainers", [])), default=0.0),
    )


def _seconds(pod: Manifest) -> float:
    """From the first container's start to the last one's end."""
    ended = [state for status in container_statuses(pod) if (state := status.get("state", {}).get("terminated"))]
    starts = [moment for state in ended if (moment := state.get("startedAt"))]
    ends = [moment for state in ended if (moment := state.get("finishedAt"))]
    if not starts or not ends:
        return 0.0
    return max(0.0, (datetime.fromisoformat(max(ends)) - datetime.fromisoformat(min(starts))).total_seconds())
