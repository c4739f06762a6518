"""Which runs tell how far they are: those that search, by a port that only their pods have."""

from __future__ import annotations

from perennial.kube.plan import Manifest

PORT_NAME = "progress"
PERIOD = 10.0
"""Seconds between two questions to a pod."""


def tells(job: Manifest) -> bool:
    """Whether this Job's pods answer: its template says so, of which the cache keeps no more in the pods."""
    containers = job["spec"]["template"]["spec"]["containers"]
    return any(port.get("name") == PORT_NAME for container in containers for port in container.get("ports", []))


def is_up(pod: Manifest) -> bool:
    """Whether the pod can be asked."""
    status = pod.get("status", {})
    return status.get("phase") == "Running" and "podIP" in status and "deletionTimestamp" not in pod["metadata"]
