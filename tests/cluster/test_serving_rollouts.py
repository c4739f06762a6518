"""Rollouts on a real cluster, under a load that counts: each request is answered, whatever takes over or goes back."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.harness import Harness
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.serving_scene import Scene, assert_nothing_lost, modeldeployment, pinned
from tests.cluster.training_scene import configmap, rows, trainingjob

pytestmark = pytest.mark.xdist_group("serving_rollouts")

CANARY = {
    "strategy": "Canary",
    "steps": [{"weight": 50, "minRequests": 200}],
    "analysis": {"errorRate": {"max": "5%"}, "disagreement": {"max": "20%"}},
}


def flipped() -> str:
    """The same rows with the label turned around: what is learned from them is wrong about most."""
    lines = rows().splitlines()
    return "\n".join([lines[0], *(line[:-1] + str(1 - int(line[-1])) for line in lines[1:])])


@pytest.fixture(scope="module")
def scene(
    cluster: Harness, images: list[str], crds: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Scene, OperatorProcess]]:
    """A TrainingJob with three versions: 1, 2 much the same, and 3 that is wrong."""
    namespace = f"test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    operator = OperatorProcess(cluster, namespace, images[1], tmp_path_factory.mktemp("operator") / "operator.log")
    operator.start()
    made = Scene(cluster, namespace, images[1])
    try:
        for version, text in enumerate((rows(), rows(seed=2), flipped()), start=1):
            made.apply(configmap("rows", rows_csv=text), trainingjob("flights"))
            if version > 1:  # The first run begins by itself, and one that was asked for after that would be another.
                made.kubectl("annotate", "--overwrite", "trainingjob", "flights", f"perennial.dev/run={version}")
            _wait_accepted(made, version)
        yield made, operator
    finally:
        operator.stop()
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def _wait_accepted(scene: Scene, version: int) -> None:
    def accepted() -> bool:
        status = scene.get("trainingjob", "flights")["status"]
        return bool(status.get("acceptedVersion", 0) >= version)

    scene.wait_for(accepted, f"version {version} is accepted")


@pytest.fixture
def flights(scene: tuple[Scene, OperatorProcess]) -> Iterator[Scene]:
    yield scene[0]
    scene[0].kubectl("delete", "modeldeployments", "--all")


def test_the_children_are_what_they_should_be(flights: Scene) -> None:
    peer = {"podSelector": {"matchLabels": {"app": "labels"}}}
    flights.apply(modeldeployment("plain", replicas=2, feedback={"from": [peer]}))
    flights.kubectl("wait", "--for=condition=Ready", "modeldeployment/plain", "--timeout=90s")
    status = flights.wait_stable("plain", 1, replicas=2)
    budget = flights.get("poddisruptionbudget", "plain")
    assert budget["spec"]["maxUnavailable"] == 1
    flights.wait_for(
        lambda: flights.get("poddisruptionbudget", "plain")["status"]["disruptionsAllowed"] == 1, "one may be disrupted"
    )
    inference, control = flights.get("networkpolicy", "plain")["spec"]["ingress"]
    assert "from" not in inference
    assert control["from"][-1] == peer
    assert len(control["from"]) == 4
    endpoints = flights.get("endpointslices", selector="kubernetes.io/service-name=plain")["items"]
    assert sum(len(one["endpoints"] or []) for one in endpoints) == 2
    assert status["url"].startswith("http://plain.")

    flights.kubectl("scale", "modeldeployment/plain", "--replicas=3")
    flights.wait_stable("plain", 1, replicas=3)
    scale = json.loads(flights.cluster.kubectl("get", "--raw", _scale_path(flights.namespace, "plain")))
    assert scale["status"]["replicas"] == 3
    assert scale["status"]["selector"] == "app.kubernetes.io/name=server,perennial.dev/modeldeployment=plain"


def _scale_path(namespace: str, name: str) -> str:
    return f"/apis/perennial.dev/v1alpha1/namespaces/{namespace}/modeldeployments/{name}/scale"


def test_rolling_and_scaling_down_lose_no_request_over_http_and_grpc(flights: Scene) -> None:
    flights.apply(modeldeployment("rolling", replicas=2))
    flights.wait_stable("rolling", 1, replicas=2)
    with flights.load("rolling", rpc=2) as counted:
        time.sleep(3)
        flights.patch("rolling", model=pinned(2))
        flights.wait_stable("rolling", 2, replicas=2)
        flights.patch("rolling", replicas=1)
        flights.wait_stable("rolling", 2)
        time.sleep(10)  # the drained pod ends
    assert_nothing_lost(counted, at_least=1000)
    assert {"1", "2"} == counted["versions"].keys()
    assert [(e["version"], e["outcome"]) for e in flights.status("rolling")["history"]][:2] == [
        (2, "Promoted"),
        (1, "Promoted"),
    ]


def test_a_canary_is_judged_and_promoted(flights: Scene) -> None:
    flights.apply(modeldeployment("canary", replicas=2, rollout=CANARY))
    flights.wait_stable("canary", 1, replicas=2)
    with flights.load("canary") as counted:
        flights.patch("canary", model=pinned(2))
        status = flights.wait_for(
            lambda: s if (s := flights.status("canary")).get("rollout", {}).get("analysis") else None,
            "the candidate is judged",
        )
        assert status["candidate"]["version"] == 2
        assert status["rollout"]["steps"] == 1
        flights.wait_stable("canary", 2, replicas=2)
    assert_nothing_lost(counted, at_least=400)
    promoted = flights.kubectl("get", "events", "--field-selector=reason=Promoted", "-o", "name")
    assert promoted.strip()


def test_a_candidate_that_disagrees_is_rolled_back_and_stays_so(scene: tuple[Scene, OperatorProcess]) -> None:
    made, operator = scene
    made.apply(modeldeployment("wrong", replicas=2, rollout=CANARY))
    made.wait_stable("wrong", 1, replicas=2)
    stable = made.pods("wrong")
    with made.load("wrong") as counted:
        made.patch("wrong", model=pinned(3))
        status = made.wait_for(
            lambda: s if (s := made.status("wrong")).get("quarantined") else None, "the candidate is quarantined"
        )
        assert "answered otherwise" in status["quarantined"][0]["reason"]
        made.wait_for(lambda: len(made.pods("wrong")) == 2 and "candidate" not in made.status("wrong"), "it is gone")
    assert_nothing_lost(counted, at_least=200)
    assert made.condition("wrong", "Stalled") == ("True", "Quarantined")
    assert made.pods("wrong") & stable, "a stable pod that served goes on serving"

    operator.kill()
    made.kubectl("patch", "modeldeployment", "wrong", "--subresource=status", "--type=json", "-p", _NO_STATUS)
    operator.start()
    served = made.pods("wrong")
    made.wait_for(lambda: made.status("wrong").get("quarantined"), "the quarantine is found again")
    time.sleep(5)
    assert made.pods("wrong") == served
    assert made.condition("wrong", "Stalled") == ("True", "Quarantined")

    made.annotate("wrong", "release", "now")
    made.wait_for(lambda: made.status("wrong").get("candidate", {}).get("version") == 3, "it is tried again")
    made.patch("wrong", model=pinned(1))
    made.wait_stable("wrong", 1, replicas=2)
    made.kubectl("delete", "modeldeployment", "wrong")


_NO_STATUS = json.dumps([{"op": "replace", "path": "/status", "value": {"observedGeneration": -1}}])


def test_a_candidate_with_a_worse_loss_is_rolled_back(flights: Scene) -> None:
    flights.apply(modeldeployment("loss", replicas=2, rollout={**CANARY, "analysis": {"loss": {"margin": "5%"}}}))
    flights.wait_stable("loss", 1, replicas=2)
    with flights.load("loss", labels=True, rows=5) as counted:
        flights.patch("loss", model=pinned(3))
        status = flights.wait_for(
            lambda: s if (s := flights.status("loss")).get("quarantined") else None, "the candidate is quarantined"
        )
        assert "loss" in status["quarantined"][0]["reason"]
    assert counted["labelled"] > 100
    assert counted["lost"] == {}


def test_a_version_that_harms_gives_way_to_a_better_one_before_it_and_to_no_other(flights: Scene) -> None:
    """By labels that come by chance both versions are as wrong: harm, and nothing to go back for. By the truth the one
    before is right."""
    flights.apply(modeldeployment("back"))
    flights.wait_stable("back", 1)
    flights.patch("back", model={"trainingJob": "flights", "version": None})
    before = flights.wait_stable("back", 3)["previous"]
    assert (before["version"], before["compared"]) == (1, True)
    flights.apply(_MONITOR)

    def harm() -> dict[str, Any]:
        verdicts = flights.get("driftmonitor", "back").get("status", {}).get("verdicts", [])
        return next((verdict for verdict in verdicts if verdict["state"] == "Harm"), {})

    with flights.load("back", labels=True, chance=True, rows=5):
        flights.wait_for(lambda: harm().get("previous", {}).get("samples", 0) >= 300, "labels compare the two")
        compared = harm()
    assert not compared["previous"]["wins"]
    assert "a rollback to version 1 once that is proved to be better: on" in compared["next"]
    assert flights.status("back")["stable"]["version"] == 3

    with flights.load("back", pod="truth", labels=True, rows=5) as counted:
        status = flights.wait_stable("back", 1)
    assert_nothing_lost(counted, at_least=100)
    assert counted["versions"].keys() == {"1", "3"}
    assert [entry["version"] for entry in status["quarantined"]] == [3]
    assert flights.condition("back", "RollingOut") == ("False", "Quarantined")
    served = flights.pods("back")
    told = flights.get("driftmonitor", "back")["status"]
    (request,) = told["requests"]
    assert (request["action"], request["previous"]["version"], request["state"]) == ("Rollback", 1, "Taken")
    assert flights.status("back")["handled"]["monitors"] == {_uid(flights): request["id"]}
    flights.wait_for(lambda: flights.get("driftmonitor", "back")["status"]["model"]["version"] == 1, "it begins anew")
    assert harm() == {}
    assert (flights.status("back")["stable"]["version"], flights.pods("back")) == (1, served)

    flights.annotate("back", "release", "it was the season")
    flights.wait_stable("back", 3)
    flights.kubectl("delete", "driftmonitor", "back")


_MONITOR = {
    "apiVersion": "perennial.dev/v1alpha1",
    "kind": "DriftMonitor",
    "metadata": {"name": "back"},
    "spec": {
        "deployment": "back",
        "falseAlarmEvery": "1d",
        "window": {"minRows": 200, "period": "2s"},
        "baseline": {"from": "Training"},
        "actions": [{"state": "Harm", "action": "Rollback"}],
    },
}


def _uid(scene: Scene) -> str:
    uid: str = scene.get("driftmonitor", "back")["metadata"]["uid"]
    return uid


def test_a_weight_that_cannot_be_given_holds_and_promote_overrides(flights: Scene) -> None:
    flights.apply(modeldeployment("exact", replicas=1, rollout={"strategy": "Canary", "steps": [{"weight": 10}]}))
    flights.wait_stable("exact", 1)
    flights.patch("exact", model=pinned(2))
    flights.wait_for(lambda: flights.condition("exact", "RollingOut") == ("True", "WeightUnreachable"), "it holds")
    assert len(flights.pods("exact")) == 1
    flights.annotate("exact", "promote", "now")
    flights.wait_stable("exact", 2)


def test_an_operator_of_another_release_replaces_nothing(
    scene: tuple[Scene, OperatorProcess], cluster: Harness, images: list[str], tmp_path: Path
) -> None:
    made, operator = scene
    made.apply(modeldeployment("upgrade", replicas=2))
    made.wait_stable("upgrade", 1, replicas=2)
    pods = made.pods("upgrade")
    operator.stop()
    newer = OperatorProcess(cluster, made.namespace, f"{images[1]}-of-the-next-release", tmp_path / "newer.log")
    newer.start()
    try:
        before = made.get("modeldeployment", "upgrade")["metadata"]["resourceVersion"]
        time.sleep(8)
        assert made.pods("upgrade") == pods
        assert made.get("modeldeployment", "upgrade")["metadata"]["resourceVersion"] == before
        # It is in charge: a change of the number is carried out, with the template as it was.
        made.patch("upgrade", replicas=3)
        made.wait_stable("upgrade", 1, replicas=3)
        assert pods < made.pods("upgrade")
    finally:
        newer.stop()
        operator.start()
    made.kubectl("delete", "modeldeployment", "upgrade")


def test_somebody_elses_service_is_left_alone(flights: Scene) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    }
    flights.apply(theirs, modeldeployment("taken"))
    flights.wait_for(lambda: flights.condition("taken", "Stalled") == ("True", "NameTaken"), "it is said")
    assert flights.get("service", "taken")["spec"]["selector"] == {"app": "theirs"}
    flights.kubectl("delete", "service", "taken")


def test_autoscaling_follows_the_load_and_loses_no_request(flights: Scene) -> None:
    behavior = {
        "scaleDown": {
            "stabilizationWindowSeconds": 10,
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 5}],
        }
    }
    autoscaling = {
        "minReplicas": 1,
        "maxReplicas": 3,
        "metrics": [{"type": "Concurrency", "target": 2}],
        "behavior": behavior,
    }
    flights.apply(modeldeployment("scaled", autoscaling=autoscaling))
    flights.wait_stable("scaled", 1)
    with flights.load("scaled", kept=1, fresh=1) as trickle:
        with flights.load("scaled", pod="burst", kept=24, fresh=4, pause=0, rows=300, same=True) as burst:
            flights.wait_for(lambda: flights.status("scaled")["autoscaling"]["desired"] == 3, "it grows to the maximum")
            flights.wait_for(lambda: flights.status("scaled")["readyReplicas"] == 3, "the pods are ready")
        flights.wait_for(lambda: flights.status("scaled")["autoscaling"]["desired"] == 1, "it shrinks to the minimum")
        flights.wait_for(lambda: len(flights.pods("scaled")) == 1, "the pods are gone")
        time.sleep(10)
    assert_nothing_lost(trickle, at_least=500)
    assert burst["lost"] == {}
    assert flights.kubectl("get", "events", "--field-selector=reason=Scaled", "-o", "name").strip()
