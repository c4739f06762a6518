"""The chart as a platform team installs it: operator pods under their own ServiceAccount, one of them leading, and the
loop goes round with the rights that the chart gives."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cluster.harness import Harness
from cluster.paths import REPOSITORY
from tests.cluster.monitoring_scene import (
    MODELDEPLOYMENT,
    TRAININGJOB,
    Scene,
    Traffic,
    World,
    driftmonitor,
    training_rows,
)

pytestmark = pytest.mark.xdist_group("installation")

CHART = str(REPOSITORY / "charts" / "perennial")
SYSTEM = "perennial-installed"
USERS = "perennial-users"
RELEASE = ("perennial", CHART, f"--namespace={SYSTEM}", "--wait", "--timeout=120s")
BOOSTERS = {"light": "lightgbm.LGBMClassifier", "extreme": "xgboost.XGBClassifier"}
OF_THE_CHART = "app.kubernetes.io/part-of=perennial"
FLIPPED = World(flipped=True)


def restricted(name: str) -> dict[str, object]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def values(images: list[str]) -> list[str]:
    chosen = {
        "image.operator": images[0],
        "image.runtime": images[1],
        "replicas": "2",
        "watchNamespaces": f"{{{USERS}}}",
        "crds.install": "false",
    }
    return [f"--set={name}={value}" for name, value in chosen.items()]


@pytest.fixture(scope="module")
def scene(cluster: Harness, images: list[str], crds: None) -> Iterator[Scene]:
    cluster.apply([restricted(SYSTEM), restricted(USERS)])
    cluster.helm("install", *RELEASE, *values(images))
    try:
        yield Scene(cluster, USERS)
    finally:
        cluster.kubectl("delete", "namespace", USERS, "--wait=false")
        cluster.helm("uninstall", "perennial", f"--namespace={SYSTEM}", "--wait", "--ignore-not-found")
        cluster.kubectl("delete", "namespace", SYSTEM, "--wait=false")


def log(scene: Scene) -> str:
    selector = "--selector=app.kubernetes.io/component=operator"
    return scene.cluster.kubectl("--namespace", SYSTEM, "logs", selector, "--tail=-1")


def leader(scene: Scene) -> str:
    holder = "jsonpath={.spec.holderIdentity}"
    return scene.cluster.kubectl("--namespace", SYSTEM, "get", "lease", "perennial", "-o", holder)


def test_the_loop_goes_round(scene: Scene) -> None:
    cure = driftmonitor(actions=[{"state": "Harm", "action": "Retrain"}], governor={"cooldown": "10s"})
    scene.apply(training_rows(), TRAININGJOB, MODELDEPLOYMENT, cure)
    scene.wait_for(lambda: len(scene.pods()) == 2, "two pods serve")
    with Traffic(scene.pods, labelled=True) as traffic:
        scene.wait_for_condition("Ready", "True")
        scene.wait_for_windows(3)
        scene.apply(training_rows(FLIPPED, seed=2))
        traffic.become(flipped=True)
        scene.wait_for(lambda: scene.status["model"]["version"] == 2, "the cure is served")
    scene.wait_for(lambda: scene.has_settled(2), "the pods of the version before are gone")
    assert {"Harm", "RetrainRequested"} <= scene.events()
    assert "Forbidden" not in log(scene)
    assert "Traceback" not in log(scene)


def test_the_control_port_is_open_to_the_operators_pods_and_to_those_that_hand_over(scene: Scene) -> None:
    policy = scene.get("networkpolicy")["spec"]["ingress"][1]
    peer, ours, joiners = policy["from"]
    namespaces, pods, served = (
        ",".join(f"{key}={value}" for key, value in labels["matchLabels"].items())
        for labels in (peer["namespaceSelector"], peer["podSelector"], ours["podSelector"])
    )
    assert "namespaceSelector" not in ours | joiners
    assert joiners["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "labels"
    assert len(scene.cluster.get("pods", namespace=USERS, selector=served)["items"]) == len(scene.pods())
    found = scene.cluster.get("namespaces", selector=namespaces)["items"]
    assert [namespace["metadata"]["name"] for namespace in found] == [SYSTEM]
    chosen = scene.cluster.get("pods", namespace=SYSTEM, selector=pods)["items"]
    every = scene.cluster.get("pods", namespace=SYSTEM)["items"]
    assert len(chosen) == len(every) == 2


def test_a_standby_takes_over_from_a_leader_that_is_gone(scene: Scene) -> None:
    gone = leader(scene).split("_")[0]
    scene.cluster.kubectl("--namespace", SYSTEM, "delete", "pod", gone, "--force", "--grace-period=0")
    scene.wait_for(lambda: not leader(scene).startswith(gone), "another leads", 30)
    scene.kubectl("annotate", "driftmonitor", "flights", "perennial.dev/release=after")
    scene.wait_for(lambda: scene.status.get("handled", {}).get("release") == "after", "it works", 30)


def with_boosters(name: str, estimator: str) -> list[dict[str, Any]]:
    """A model of an estimator that the chart does not allow by itself."""
    trained = copy.deepcopy(TRAININGJOB) | {"metadata": {"name": name}}
    trained["spec"]["sklearn"] = {"estimator": estimator, "parameters": {"n_estimators": 20}}
    served = copy.deepcopy(MODELDEPLOYMENT) | {"metadata": {"name": name}}
    served["spec"] |= {"model": {"trainingJob": name}, "replicas": 1}
    return [trained, served]


def is_refused(scene: Scene, name: str) -> bool:
    path = 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}'
    return scene.kubectl("get", "trainingjob", name, "-o", path) == "InvalidSpec"


def row_answered(scene: Scene, name: str) -> dict[str, Any]:
    """What the served model says of a row, and what each feature added to it."""
    pods = scene.cluster.get("pods", namespace=USERS, selector=f"perennial.dev/modeldeployment={name}")["items"]
    path = f"/api/v1/namespaces/{USERS}/pods/{pods[0]['metadata']['name']}:8080/proxy/v2/models/{name}/infer"
    asked = {"rows": [{"a": 1.2, "b": None, "carrier": "UA"}], "parameters": {"attributions": True}}
    told = json.loads(scene.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(asked)))
    answer: dict[str, Any] = told["rows"][0]
    return answer


def test_an_upgrade_with_other_values_replaces_the_operator_alone(scene: Scene, images: list[str]) -> None:
    """Of the values the estimators that users may name, with an image that has them: what was refused before runs."""
    for name, estimator in BOOSTERS.items():
        scene.apply(*with_boosters(name, estimator))
        scene.wait_for(partial(is_refused, scene, name), "it is not allowed yet")
    before = {pod["metadata"]["uid"] for pod in scene.cluster.get("pods", namespace=USERS)["items"]}
    (boosters,) = scene.cluster.load_images("runtime-boosters")
    allowed = f"--set=estimators={{{','.join(BOOSTERS.values())}}}"
    scene.cluster.helm("upgrade", *RELEASE, *values([images[0], boosters]), allowed, "--set=operator.logFormat=json")
    scene.kubectl("annotate", "driftmonitor", "flights", "perennial.dev/release=upgraded", "--overwrite")
    scene.wait_for(lambda: scene.status.get("handled", {}).get("release") == "upgraded", "the next one works", 60)
    assert before <= {pod["metadata"]["uid"] for pod in scene.cluster.get("pods", namespace=USERS)["items"]}
    assert '"message"' in log(scene)
    for name in BOOSTERS:
        scene.kubectl("wait", f"modeldeployment/{name}", "--for=condition=Ready", "--timeout=240s")
        (run,) = scene.cluster.get("trainingjob", name, namespace=USERS)["status"]["runs"]
        assert (run["state"], run["model"]["engine"]) == ("Succeeded", "onnx")
        answer = row_answered(scene, name)
        log_odds = math.log(answer["probabilities"]["1"] / answer["probabilities"]["0"])
        assert answer["base_value"] + sum(answer["attributions"].values()) == pytest.approx(log_odds, abs=1e-5)


def left_of_the_release(scene: Scene) -> set[str]:
    """By kind and name, without what Kubernetes itself puts into every namespace."""
    kubectl = scene.cluster.kubectl
    named = kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    kinds = ",".join(kind for kind in named if not kind.startswith("events"))
    found = kubectl("get", kinds, f"--namespace={SYSTEM}", "--output=name").split()
    found += kubectl("get", "clusterroles,clusterrolebindings", "--output=name", "--selector", OF_THE_CHART).split()
    return set(found) - {"configmap/kube-root-ca.crt", "serviceaccount/default"}


def test_an_uninstall_leaves_what_is_the_users_alone(scene: Scene) -> None:
    before = {pod["metadata"]["uid"] for pod in scene.cluster.get("pods", namespace=USERS)["items"]}
    assert "lease.coordination.k8s.io/perennial" in left_of_the_release(scene)
    scene.cluster.helm("uninstall", "perennial", f"--namespace={SYSTEM}", "--wait")
    scene.wait_for(lambda: not left_of_the_release(scene), "all is gone", 60)
    assert before == {pod["metadata"]["uid"] for pod in scene.cluster.get("pods", namespace=USERS)["items"]}
