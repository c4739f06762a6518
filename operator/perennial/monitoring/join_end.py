"""How a join's Job ended: what its pod told last, or why there is nothing told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from perennial.kube.plan import Manifest
from perennial.pods.creation import awaited
from perennial.pods.jobs import failed, succeeded
from perennial.pods.statuses import holding, tail
from perennial.wire.join import Joined

from .join_job import CONTAINER

LINES_LIMIT = 700
"""Characters of a container's last lines that the status shows: the end, where the error stands."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A join that failed, and of what."""

    words: str


def ended(job: Manifest, pods: Sequence[Manifest]) -> Joined | Failed | None:
    """The result or the failure; None while the Job goes on, or its pod's last words are not here."""
    if succeeded(job):
        return next((told for pod in pods if (told := _told(pod)) and told.failure is None), None)
    failure = failed(job)
    return Failed(_why(failure, pods)) if failure else None


def waits_for(pods: Iterable[Manifest]) -> str | None:
    """What a pod that does not start waits for, in the scheduler's or the node's words; None where one runs."""
    for pod in pods:
        if pod.get("status", {}).get("phase") != "Pending":
            return None
        scheduled = holding(pod, "PodScheduled", "False")
        waiting = next((state for state in _states(pod, "waiting") if state.get("reason") != "ContainerCreating"), None)
        if scheduled:
            return str(scheduled.get("message") or scheduled.get("reason", ""))
        if waiting:
            return ": ".join(word for word in (waiting.get("reason"), waiting.get("message")) if word)
        return awaited(pod)
    return None


def _why(failure: Manifest, pods: Sequence[Manifest]) -> str:
    for pod in reversed(pods):
        told = _told(pod)
        if told and told.failure:
            return f"{told.failure.reason}: {told.failure.message}"
        for ended in _states(pod, "terminated"):
            return _crashed(ended)
    words = f"{failure.get('reason', 'Failed')}: {failure.get('message', 'the Job failed')}"
    waiting = waits_for(pods)
    return f"{words}; {waiting}" if waiting else words


def _crashed(ended: Manifest) -> str:
    if ended.get("reason") == "OOMKilled":
        return "OOMKilled: the Job used more memory than it may: raise spec.labels.resources.limits.memory"
    last = tail(ended.get("message", ""), LINES_LIMIT)
    said = f"; its last lines: {last}" if last else ""
    return f"the container exited with code {ended.get('exitCode')}{said}"


def _told(pod: Manifest) -> Joined | None:
    for ended in _states(pod, "terminated"):
        try:
            return msgspec.json.decode(ended.get("message", ""), type=Joined)
        except msgspec.MsgspecError:
            return None
    return None


def _states(pod: Manifest, kind: str) -> Iterable[Manifest]:
    for status in pod.get("status", {}).get("containerStatuses") or ():
        state = status.get("state", {}).get(kind)
        if status["name"] == CONTAINER and state:
            yield state
