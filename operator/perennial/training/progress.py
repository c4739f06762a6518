"""Which runs tell how far they are: those that search, by a port that only their pods have."""

from __future__ import annotations

from perennial.kube.plan import Manifest

PORT_NAME = "progress"
PERIOD = 10.0
"""Seconds between two questions to a pod."""


def answers(pod: Manifest) -> bool:
    """Whether this pod is of a run that searches, and runs."""
    status = pod.get("status", {})
    if status.get("phase") != "Running" or not status.get("podIP") or pod["metadata"].get("deletionTimestamp"):
        return False
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports", []))
    return any(port.get("name") == PORT_NAME for port in ports)
