"""The result that a pod left in its termination message, and the record that a run's end becomes."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from perennial.api.reasons import TrainingJobReason as Reason
from perennial.kube.plan import Manifest
from perennial.pods.statuses import container_statuses, tail
from perennial.wire import result as wire
from perennial.wire.result import Result

from .failures import LINES_LIMIT
from .names import PUBLISHER, REPORT, TRAINER
from .record import Failure, State

_MAIN = {TRAINER, PUBLISHER, REPORT}


def reported(pods: Iterable[Manifest], version: int) -> tuple[Result, Manifest] | None:
    """The result that a pod which ended well left, and that pod. What a failed one said is about that attempt alone."""
    for pod in pods:
        if exit_code(pod) == 0 and (found := last_words(pod, version)):
            return found, pod
    return None


def last_words(pod: Manifest, version: int) -> Result | None:
    """The result of this version in the termination message of the pod's main container."""
    for status in pod.get("status", {}).get("containerStatuses", []):
        ended = status.get("state", {}).get("terminated") or {}
        if status["name"] in _MAIN and (found := _decoded(ended.get("message", ""), version)):
            return found
    return None


def state_of(result: Result, accepted_sha256: str | None) -> State:
    """The state that a result means: Unchanged where the run came to the very model that is accepted already."""
    if result.outcome == "Accepted" and result.model:
        return "Unchanged" if result.model.sha256 == accepted_sha256 else "Succeeded"
    return "Rejected" if result.outcome == "Rejected" else "Failed"


def failure_in(result: Result, pod: Manifest) -> Failure | None:
    """The failure that the run itself reported, with where it happened; None where it came to a version."""
    if result.outcome != "Failed":
        return None
    said = result.failure or wire.Failure(Reason.FAILED.value, "the run failed and does not say why")
    node = pod["spec"].get("nodeName")
    return Failure(said.reason, said.message, pod["metadata"]["name"], node, exit_code(pod))


def failed_result(version: int, failure: Failure, told: Result | None = None) -> Result:
    """The result of a run that came to none. `told` are its last words, where it had some: a tracker may know of it."""
    message = tail(failure.message, LINES_LIMIT)
    return Result(
        version=version,
        outcome="Failed",
        failure=wire.Failure(failure.reason, message),
        tracked=told.tracked if told else None,
    )


def exit_code(pod: Manifest) -> int | None:
    """The exit code of the pod's main container, None where it has not ended."""
    for status in pod.get("status", {}).get("containerStatuses", []):
        ended = status.get("state", {}).get("terminated")
        if status["name"] in _MAIN and ended:
            return int(ended["exitCode"])
    return None


def image_that_trained(job: Manifest, pods: Iterable[Manifest]) -> str | None:
    """The image of the container that trained, an own one or ours, as the kubelet of its newest pod reports it: by
    repository and digest, by digest alone where the node has it from no registry. None where no pod tells."""
    template = job["spec"]["template"]["spec"]
    name = (template.get("initContainers") or template["containers"])[0]["name"]
    told = [status for pod in pods for status in container_statuses(pod) if status["name"] == name]
    found = [status["imageID"] for status in told if status.get("imageID")]
    return str(found[-1]) if found else None


def _decoded(message: str, version: int) -> Result | None:
    """The message as a result; None where it is something else: a log's end, or another run's words."""
    try:
        found = msgspec.json.decode(message, type=Result)
    except msgspec.DecodeError:
        return None
    if found.version != version or (found.outcome == "Accepted" and found.model is None):
        return None
    return found
