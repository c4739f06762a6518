"""Failures and waits are told from pods in the node's, the kernel's and the scheduler's own words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perennial.training.failures import why_failed
from perennial.training.pending import why_pending
from tests.unit.training.world import START, text


def pod(status: dict[str, Any], *, node: str | None = "n1", **spec: Any) -> dict[str, Any]:
    placed = {"nodeName": node} if node else {}
    containers = [{"name": "trainer", "resources": {"limits": {"memory": "64Mi"}}}]
    return {
        "metadata": {"name": "p", "creationTimestamp": text(START)},
        "spec": {"containers": containers, **placed, **spec},
        "status": status,
    }


def ended(code: int, *, message: str = "", reason: str = "Error", name: str = "trainer") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "message": message, "reason": reason, "finishedAt": text(START)}}
    return {"phase": "Failed", "containerStatuses": [{"name": name, "state": state}]}


def waiting(reason: str, message: str = "words") -> dict[str, Any]:
    status = {"name": "trainer", "image": "nowhere/x:1", "state": {"waiting": {"reason": reason, "message": message}}}
    return {"phase": "Pending", "containerStatuses": [status]}


def disrupted(reason: str) -> dict[str, Any]:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "make room"}
    return {"phase": "Failed", "conditions": [condition]}


@pytest.mark.parametrize(
    ("status", "reason", "words", "code"),
    [
        (ended(137, reason="OOMKilled"), "OutOfMemory", "limit of 64Mi (OOMKilled)", 137),
        (ended(137), "OutOfMemory", "most likely above its memory limit of 64Mi", 137),
        (
            ended(137, reason="ContainerStatusUnknown", message="The container could not be located"),
            "Crashed",
            "could not be located",
            137,
        ),
        (ended(1, message="ValueError: no rows"), "Crashed", "code 1; its last lines: ValueError: no rows", 1),
        (ended(139), "Crashed", "code 139 (killed by signal 11)", 139),
        (ended(64, message="column x is missing"), "BadData", "column x is missing", 64),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            "Evicted",
            "low on resource: memory",
            None,
        ),
        (disrupted("PreemptionByScheduler"), "Preempted", "PreemptionByScheduler: make room", None),
        (disrupted("DeletionByTaintManager"), "Evicted", "DeletionByTaintManager", None),
        ({"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no gpu"}, "Crashed", "no gpu", None),
    ],
)
def test_failures(status: dict[str, Any], reason: str, words: str, code: int | None) -> None:
    failure = why_failed(pod(status))
    assert failure is not None
    assert (failure.reason, failure.exit_code, failure.pod, failure.node) == (reason, code, "p", "n1")
    assert words in failure.message


def test_what_was_killed_with_its_pod_did_not_run_out_of_memory() -> None:
    deleted = pod(ended(137))
    deleted["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    failure = why_failed(deleted)
    assert failure is not None
    assert failure.reason == "Crashed"


def test_an_init_container_that_failed_is_the_one_that_is_told() -> None:
    state = {"terminated": {"exitCode": 3, "message": "mine", "reason": "Error"}}
    failure = why_failed(pod({"phase": "Failed", "initContainerStatuses": [{"name": "train", "state": state}]}))
    assert failure is not None
    assert "container train exited with code 3" in failure.message


def test_a_long_log_keeps_its_end() -> None:
    failure = why_failed(pod(ended(1, message="x" * 5000 + "the error")))
    assert failure is not None
    assert failure.message.endswith("the error")
    assert len(failure.message) < 1700


@pytest.mark.parametrize("phase", ["Running", "Succeeded"])
def test_a_pod_that_did_not_fail_has_no_failure(phase: str) -> None:
    assert why_failed(pod({"phase": phase})) is None


@pytest.mark.parametrize(
    ("status", "node", "reason", "words"),
    [
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes are available: 1 Insufficient cpu.",
                    }
                ],
            },
            None,
            "Unschedulable",
            "0/1 nodes are available: 1 Insufficient cpu.",
        ),
        (
            waiting("ErrImagePull", "not found"),
            "n1",
            "ImageUnavailable",
            "(image nowhere/x:1): ErrImagePull: not found",
        ),
        (waiting("ImagePullBackOff"), "n1", "ImageUnavailable", "ImagePullBackOff"),
        (waiting("CreateContainerConfigError", 'secret "s" not found'), "n1", "NotStarted", 'secret "s" not found'),
        (waiting("ContainerCreating"), "n1", "NotStarted", "kubectl describe pod p"),
        ({"phase": "Pending"}, None, "Unschedulable", "has not looked at the pod yet"),
    ],
)
def test_waits(status: dict[str, Any], node: str | None, reason: str, words: str) -> None:
    wait = why_pending(pod(status, node=node))
    assert wait is not None
    assert (wait.reason.value, wait.since) == (reason, START)
    assert words in wait.message


def test_a_pod_that_waits_for_volumes_names_what_it_needs() -> None:
    volumes = [
        {"name": "a", "secret": {"secretName": "lake"}},
        {"name": "b", "configMap": {"name": "rows"}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "disk"}},
    ]
    wait = why_pending(pod(waiting("ContainerCreating"), volumes=volumes))
    assert wait is not None
    assert "it needs Secret lake, ConfigMap rows, PersistentVolumeClaim disk, its images" in wait.message


@pytest.mark.parametrize(("reason", "hopeless"), [("InvalidImageName", True), ("ErrImagePull", False)])
def test_only_an_image_name_that_is_none_is_hopeless(reason: str, hopeless: bool) -> None:
    wait = why_pending(pod(waiting(reason)))
    assert wait is not None
    assert wait.hopeless is hopeless


@pytest.mark.parametrize("state", [{"running": {}}, {"terminated": {"exitCode": 0}}, {"terminated": {"exitCode": 1}}])
def test_a_pod_whose_init_container_runs_or_ran_does_not_wait(state: dict[str, Any]) -> None:
    status = {
        "phase": "Pending",
        "initContainerStatuses": [{"name": "train", "state": state}],
        "containerStatuses": [{"name": "publisher", "state": {"waiting": {"reason": "PodInitializing"}}}],
    }
    assert why_pending(pod(status)) is None


def test_the_publishers_wait_begins_when_the_training_ended() -> None:
    later = START + timedelta(hours=6)
    status = {
        "phase": "Pending",
        "initContainerStatuses": [
            {"name": "train", "state": {"terminated": {"exitCode": 0, "finishedAt": text(later)}}}
        ],
        "containerStatuses": [{"name": "publisher", "state": {"waiting": {"reason": "ErrImagePull"}}}],
    }
    wait = why_pending(pod(status))
    assert wait is not None
    assert wait.since == later
