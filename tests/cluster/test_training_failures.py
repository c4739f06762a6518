"""Every way in which a run can fail, on a real cluster: each is told in the words of who knows, with what to do.

All are applied at once and each is looked at when it has ended, so that the waits overlap.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.harness import Harness
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.training_scene import Scene, configmap, own, rows, trainingjob

pytestmark = pytest.mark.xdist_group("training_failures")

LITTLE = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "48Mi"}}
NO_SECRET = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "nosuch", "key": "k"}}}


def cases(image: str) -> dict[str, dict[str, Any]]:
    """The specs by name, each with what has to be in its failure: reason, words, exit code."""
    rows_csv = {"uri": "configmap://rows/rows.csv", "target": "late"}
    return {
        "missing-column": {"data": {**rows_csv, "target": "nosuch"}},
        "bad-data": {"data": {**rows_csv, "uri": "configmap://garbage/rows.csv"}},
        "rejected-data": {
            "data": {**rows_csv, "expect": {"columns": {"carrier": {"values": ["UA", "DL"]}, "a": {"nulls": "0%"}}}},
            "backoffLimit": 3,
        },
        "bad-estimator": {"sklearn": {"estimator": "sklearn.Ridge"}},
        "out-of-memory": {
            **own(image, "b = []\nwhile True: b.append(bytearray(10_000_000))"),
            "resources": LITTLE,
        },
        "crash": own(image, "raise RuntimeError('the GPU is on fire')"),
        "wrong-input": own(image, "print('row 7 has no label'); raise SystemExit(64)"),
        "unschedulable": {"resources": {"requests": {"cpu": "500"}}, "pendingDeadlineSeconds": 15},
        "no-image": {**own("nowhere.invalid/x:1"), "pendingDeadlineSeconds": 20},
        "no-secret": {"data": {**rows_csv, "secretRef": {"name": "nosuch"}}, "pendingDeadlineSeconds": 20},
        "no-env-secret": {"pod": {"env": [NO_SECRET]}, "pendingDeadlineSeconds": 20},
        "no-claim": {"data": {**rows_csv, "uri": "pvc://nosuch/rows.csv"}, "pendingDeadlineSeconds": 15},
        "privileged": {
            "pod": {"securityContext": {"runAsNonRoot": False, "runAsUser": 0}},
            "pendingDeadlineSeconds": 15,
        },
        "deadline": {**own(image, "import time; time.sleep(600)"), "activeDeadlineSeconds": 10},
    }


EXPECTED: dict[str, tuple[str, str, int | None]] = {
    "missing-column": ("MissingColumn", "has no column 'nosuch'", 64),
    "bad-data": ("MissingColumn", "has no column 'late'", 64),
    "rejected-data": ("DataRejected", "carrier: values UA, DL: ", 64),
    "out-of-memory": ("OutOfMemory", "limit of 48Mi", 137),
    "crash": ("Crashed", "RuntimeError: the GPU is on fire", 1),
    "wrong-input": ("BadData", "row 7 has no label", 64),
    "unschedulable": ("Unschedulable", "Insufficient cpu", None),
    "no-image": ("ImageUnavailable", "nowhere.invalid/x:1", None),
    "no-secret": ("NotStarted", "it needs ConfigMap rows, Secret nosuch", None),
    "no-env-secret": ("NotStarted", 'secret "nosuch" not found', None),
    "no-claim": ("Unschedulable", 'persistentvolumeclaim "nosuch" not found', None),
    "privileged": ("NotStarted", "violates PodSecurity", None),
    "deadline": ("DeadlineExceeded", "spec.activeDeadlineSeconds (10 s)", None),
}


@pytest.fixture(scope="module")
def scene(cluster: Harness, images: list[str], crds: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    namespace = f"test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    scene = Scene(cluster, namespace)
    garbage = base64.b64encode(secrets.token_bytes(3000)).decode()
    scene.apply(configmap("rows", rows_csv=rows()), configmap("garbage", rows_csv=garbage))
    operator = OperatorProcess(cluster, namespace, images[1], tmp_path_factory.mktemp("operator") / "log")
    operator.start()
    scene.apply(*(trainingjob(name, **spec) for name, spec in cases(images[1]).items()))
    yield scene
    operator.stop()
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.parametrize("name", list(EXPECTED))
def test_a_failure_is_told_in_the_words_of_who_knows(scene: Scene, name: str) -> None:
    reason, words, exit_code = EXPECTED[name]
    run = scene.wait_for_state(name, "Failed")
    record = scene.cluster.get(
        "controllerrevisions", namespace=scene.namespace, selector=f"perennial.dev/trainingjob={name}"
    )["items"][0]
    assert run["failure"]["reason"] == reason
    assert words in record["data"]["failure"]["message"]
    assert run["failure"].get("exitCode") == exit_code
    stalled = scene.condition(name, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "FirstRunFailed")
    assert words in stalled["message"]
    assert scene.condition(name, "Ready")["status"] == "False"


def test_an_estimator_that_is_not_allowed_makes_no_run(scene: Scene) -> None:
    told = scene.wait_for(lambda: scene.condition("bad-estimator", "Stalled"), "it is told", 30)
    assert told["reason"] == "InvalidSpec"
    assert "did you mean sklearn.linear_model.Ridge?" in told["message"]
    assert scene.jobs("bad-estimator") == []


def test_data_that_breaks_a_rule_is_not_tried_again_and_its_report_is_stored(scene: Scene) -> None:
    scene.wait_for_state("rejected-data", "Failed")
    (job,) = scene.jobs("rejected-data")
    pods = scene.kubectl("get", "pods", "--selector", f"job-name={job}", "-o", "name").split()
    assert len(pods) == 1
    log = scene.kubectl("logs", *pods)
    assert "expect: carrier: values UA, DL: " in log
    message = scene.cluster.get("controllerrevisions", job, namespace=scene.namespace)["data"]["failure"]["message"]
    assert "first configmap://rows/rows.csv, row " in message
    assert message.endswith("/v1/data-report.json")
    assert "cannot be stored" not in log


@pytest.mark.parametrize("name", ["unschedulable", "no-image", "no-secret", "no-claim", "privileged"])
def test_a_run_that_was_given_up_leaves_no_job(scene: Scene, name: str) -> None:
    scene.wait_for_state(name, "Failed")
    scene.wait_for(lambda: not scene.jobs(name), "its Job is gone", 20)


def test_a_quota_is_told_while_the_run_waits(scene: Scene) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota"},
        "spec": {"hard": {"requests.memory": "0"}},
    }
    scene.wait_for(lambda: all(scene.run(name).get("state") == "Failed" for name in EXPECTED), "the others have ended")
    scene.apply(quota, trainingjob("quota"))
    scene.wait_for(
        lambda: "exceeded quota" in scene.condition("quota", "Training").get("message", ""), "it is told", 40
    )
    scene.kubectl("delete", "resourcequota", "quota")
    scene.wait_for_state("quota", "Succeeded", patience=200)


def test_a_run_that_misses_a_gate_is_rejected_with_its_value(scene: Scene) -> None:
    scene.apply(trainingjob("gated", acceptance={"metrics": [{"name": "roc_auc", "min": 0.999}]}))
    run = scene.wait_for_state("gated", "Rejected")
    (gate,) = run["gates"]
    assert (gate["metric"], gate["bound"], gate["passed"]) == ("roc_auc", 0.999, False)
    assert 0.5 < gate["value"] < 0.999
    assert scene.condition("gated", "Stalled")["reason"] == "FirstRunRejected"
    assert "acceptedVersion" not in scene.status("gated")


def test_what_only_the_server_knows_of_a_pod_is_told_as_invalid(scene: Scene) -> None:
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "What"}]}]
            }
        }
    }
    scene.apply(trainingjob("odd", pod={"affinity": affinity}))
    told = scene.wait_for(lambda: scene.condition("odd", "Stalled"), "it is told", 30)
    assert told["reason"] == "InvalidSpec"
    assert "not a valid selector operator" in told["message"]
    scene.apply(trainingjob("odd"))
    scene.wait_for_state("odd", "Succeeded")
