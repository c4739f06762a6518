"""Why a pod of a run failed, read from the pod: its node's and the kernel's own words, the container's last lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perennial.api.reasons import TrainingJobReason as Reason
from perennial.kube.plan import Manifest
from perennial.pods.jobs import BAD_INPUT
from perennial.pods.statuses import container_statuses, holding, tail

from .record import Failure

LINES_LIMIT = 1500
"""Characters of a container's last lines that a record keeps: the end, where the error stands."""

_PREEMPTED = "PreemptionByScheduler"
_OUT_OF_MEMORY = "OOMKilled"
_ERROR = "Error"
_KILLED = 137
"""Exit code of what SIGKILL ended. The first process of a container gets that from outside only: from the kernel, above
its memory limit, or from its node, when the pod is deleted."""


def why_failed(pod: Manifest) -> Failure | None:
    """The failure of this pod; None where it has not failed."""
    for look in _LOOKS:
        if found := look(pod):
            return found
    return None


def _evicted(pod: Manifest) -> Failure | None:
    status = pod.get("status", {})
    if status.get("reason") != "Evicted":
        return None
    return _failure(pod, Reason.EVICTED, f"the node evicted the pod: {status.get('message', '').strip()}")


def _disrupted(pod: Manifest) -> Failure | None:
    if pod.get("status", {}).get("phase") != "Failed":
        return None
    condition = holding(pod, "DisruptionTarget")
    if condition is None:
        return None
    reason = Reason.PREEMPTED if condition.get("reason") == _PREEMPTED else Reason.EVICTED
    return _failure(pod, reason, f"{condition.get('reason')}: {condition.get('message', '').strip()}")


def _container_failed(pod: Manifest) -> Failure | None:
    for status in container_statuses(pod):
        ended = status.get("state", {}).get("terminated")
        if not ended or ended["exitCode"] == 0:
            continue
        if ended.get("reason") == _OUT_OF_MEMORY:
            return _failure(pod, Reason.OUT_OF_MEMORY, _out_of_memory(pod, status["name"]), ended["exitCode"])
        if _was_killed(pod, ended) and (limit := _memory_limit(pod, status["name"])):
            return _failure(pod, Reason.OUT_OF_MEMORY, _killed(status["name"], ended, limit), _KILLED)
        reason = Reason.BAD_DATA if ended["exitCode"] == BAD_INPUT else Reason.CRASHED
        return _failure(pod, reason, _crashed(status["name"], ended), ended["exitCode"])
    return None


def _pod_failed(pod: Manifest) -> Failure | None:
    """A pod that failed with no container to blame: rejected by its node, or lost with it."""
    status = pod.get("status", {})
    if status.get("phase") != "Failed":
        return None
    words = ": ".join(word for word in (status.get("reason"), status.get("message")) if word)
    return _failure(pod, Reason.CRASHED, f"the pod failed: {words or 'its node says no more'}")


_LOOKS: tuple[Callable[[Manifest], Failure | None], ...] = (_evicted, _disrupted, _container_failed, _pod_failed)


def _was_killed(pod: Manifest, ended: dict[str, Any]) -> bool:
    """By nobody that says so. A node that hears of the end before it hears of the memory says no more than Error; one
    that was started anew has the same code for containers that it cannot find (ContainerStatusUnknown)."""
    return ended["exitCode"] == _KILLED and ended.get("reason") == _ERROR and "deletionTimestamp" not in pod["metadata"]


def _memory_limit(pod: Manifest, container: str) -> str | None:
    spec = pod["spec"]
    for candidate in [*spec.get("initContainers", []), *spec["containers"]]:
        limit = candidate.get("resources", {}).get("limits", {}).get("memory")
        if candidate["name"] == container and limit:
            return str(limit)
    return None


def _out_of_memory(pod: Manifest, container: str) -> str:
    if limit := _memory_limit(pod, container):
        said = f"used more memory than its limit of {limit} (OOMKilled): raise spec.resources.limits.memory"
        return f"container {container} {said}, or train on fewer rows"
    return f"container {container} was killed since the node ran out of memory (OOMKilled): set spec.resources"


def _killed(container: str, ended: dict[str, Any], limit: str) -> str:
    said = f"most likely above its memory limit of {limit}: raise spec.resources.limits.memory, or train on fewer rows"
    return f"{_crashed(container, ended)}; its node does not say why, {said}"


def _crashed(container: str, ended: dict[str, Any]) -> str:
    code = ended["exitCode"]
    killed = f" (killed by signal {code - 128})" if code > 128 else ""
    last = tail(ended.get("message", ""), LINES_LIMIT)
    said = f"; its last lines: {last}" if last else ""
    return f"container {container} exited with code {code}{killed}{said}"


def _failure(pod: Manifest, reason: Reason, message: str, exit_code: int | None = None) -> Failure:
    node = pod["spec"].get("nodeName")
    return Failure(reason.value, message, pod=pod["metadata"]["name"], node=node, exit_code=exit_code)
