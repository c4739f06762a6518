"""Why a run's pod does not start, in the scheduler's or the node's own words, and since when.

A wait is not a failure: a node may come, an image may be pushed, a Secret applied. It becomes one after
`pendingDeadlineSeconds`, with the same words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from perennial.api.reasons import Reason, TrainingJobReason
from perennial.kube.plan import Manifest
from perennial.pods.creation import awaited
from perennial.pods.statuses import condition_of, container_statuses

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"}
_HOPELESS = {"InvalidImageName"}
_STARTING = {"ContainerCreating", "PodInitializing"}


@dataclass(frozen=True, slots=True)
class Wait:
    """What a pod waits for. `hopeless`: no waiting will cure it. `starting`: every pod does this for some seconds."""

    reason: Reason
    message: str
    since: datetime
    pod: str | None = None
    node: str | None = None
    hopeless: bool = False
    starting: bool = False


def why_pending(pod: Manifest) -> Wait | None:
    """What this pod waits for; None where it runs, has ended or is about to."""
    if pod.get("status", {}).get("phase") != "Pending" or _runs(pod):
        return None
    for look in _LOOKS:
        if found := look(pod):
            return found
    return None


def _not_scheduled(pod: Manifest) -> Wait | None:
    if pod["spec"].get("nodeName"):
        return None
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled is None:
        return _wait(pod, TrainingJobReason.UNSCHEDULABLE, "the scheduler has not looked at the pod yet", starting=True)
    return _wait(pod, TrainingJobReason.UNSCHEDULABLE, scheduled.get("message", ""))


def _container_waits(pod: Manifest) -> Wait | None:
    for status in container_statuses(pod):
        waiting = status.get("state", {}).get("waiting")
        reason = (waiting or {}).get("reason")
        if not reason or reason in _STARTING:
            continue
        words = ": ".join(word for word in (reason, waiting.get("message")) if word)
        known = TrainingJobReason.IMAGE_UNAVAILABLE if reason in _IMAGE else TrainingJobReason.NOT_STARTED
        image = f" (image {status['image']})" if reason in _IMAGE and status.get("image") else ""
        return _wait(pod, known, f"container {status['name']}{image}: {words}", hopeless=reason in _HOPELESS)
    return None


def _being_created(pod: Manifest) -> Wait | None:
    return _wait(pod, TrainingJobReason.NOT_STARTED, awaited(pod), starting=True)


_LOOKS: tuple[Callable[[Manifest], Wait | None], ...] = (_not_scheduled, _container_waits, _being_created)


def _runs(pod: Manifest) -> bool:
    """A pod is Pending to Kubernetes until its init containers are done, and one of them is where users train.

    Between two containers, and between a container's failure and the pod's, it runs as far as people are concerned.
    """
    states = [status.get("state", {}) for status in container_statuses(pod)]
    waits = {state.get("waiting", {}).get("reason") for state in states} - {None, *_STARTING}
    return not waits and any("running" in state or "terminated" in state for state in states)


def _wait(pod: Manifest, reason: Reason, message: str, *, hopeless: bool = False, starting: bool = False) -> Wait:
    ended = [status.get("state", {}).get("terminated", {}).get("finishedAt") for status in container_statuses(pod)]
    # After hours of training in an init container, the publisher's own wait begins when that ended.
    since = max([pod["metadata"]["creationTimestamp"], *(moment for moment in ended if moment)])
    node = pod["spec"].get("nodeName")
    moment = datetime.fromisoformat(since)
    return Wait(reason, message, moment, pod["metadata"]["name"], node, hopeless, starting)
