"""A ModelDeployment that follows its TrainingJob on a real cluster, while its operator dies again and again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.harness import Harness
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.serving_scene import Scene, assert_nothing_lost, modeldeployment
from tests.cluster.training_scene import own, trainingjob

pytestmark = pytest.mark.xdist_group("serving_following")

FIT = """
import os
import numpy as np, pandas as pd, skops.io
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

draw = np.random.default_rng(1)
a, b, carrier = draw.normal(size=600), draw.normal(size=600), draw.choice(["AA", "DL", "UA"], 600)
rows = pd.DataFrame({{"a": a, "b": b, "carrier": carrier}})
late = (rows.a + 0.5 * rows.b + (rows.carrier == "UA") + draw.normal(0, 0.7, 600) > 0.3).astype(int)
encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
columns = make_column_transformer((encoder, ["carrier"]), remainder="passthrough")
model = make_pipeline(columns, {classifier})
model.fit(rows, late)
output = os.environ["PERENNIAL_OUTPUT"]
rows.assign(label=late, prediction=model.predict(rows)).to_csv(os.path.join(output, "predictions.csv"), index=False)
skops.io.dump(model, os.path.join(output, "model.skops"))
"""
FAILS_ON_OUTLIERS = 'RadiusNeighborsClassifier(radius=0.3, algorithm="brute")'
FOLLOWS = {"trainingJob": "flights"}
PAUSE = 0.05
"""Seconds between the requests of each of the load's workers. scikit-learn answers here, and a request takes it some
milliseconds: more of them would starve whatever runs beside."""


@pytest.fixture(scope="module")
def operator(
    cluster: Harness, images: list[str], crds: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Scene, OperatorProcess]]:
    namespace = f"test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    process = OperatorProcess(cluster, namespace, images[1], tmp_path_factory.mktemp("operator") / "operator.log")
    process.start()
    yield Scene(cluster, namespace, images[1]), process
    process.stop()
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def define(scene: Scene, classifier: str) -> None:
    scene.apply(trainingjob("flights", **own(scene.runtime, FIT.format(classifier=classifier))))


def train(scene: Scene, version: int, classifier: str = "LogisticRegression()") -> None:
    """Change the definition, so that the TrainingJob yields this version."""
    define(scene, classifier)

    def accepted() -> bool:
        status: dict[str, Any] = scene.get("trainingjob", "flights")["status"]
        return bool(status.get("acceptedVersion") == version)

    scene.wait_for(accepted, f"version {version} is accepted")


def test_versions_follow_one_another_through_an_operators_deaths(operator: tuple[Scene, OperatorProcess]) -> None:
    scene, process = operator
    steps = [{"weight": 50, "minRequests": 100, "hold": "15s"}]
    canary = {"strategy": "Canary", "steps": steps, "onNewVersion": "Finish"}
    scene.apply(modeldeployment("flights", model=FOLLOWS, replicas=2, rollout=canary))
    scene.wait_for(lambda: scene.condition("flights", "Ready") == ("False", "TrainingJobNotFound"), "it waits")
    train(scene, 1)
    scene.wait_stable("flights", 1, replicas=2)

    with scene.load("flights", pause=PAUSE) as counted:
        train(scene, 2, "LogisticRegression(C=0.5)")
        scene.wait_for(lambda: scene.status("flights").get("candidate", {}).get("version") == 2, "it rolls out")
        define(scene, "LogisticRegression(C=0.2)")
        for seconds in (2.5, 5.0, 7.5):
            process.kill()
            process.start()
            time.sleep(seconds)
        scene.wait_stable("flights", 3, replicas=2)
    assert_nothing_lost(counted, at_least=1000)
    history = [(entry["version"], entry["outcome"]) for entry in scene.status("flights")["history"]]
    assert history == [(3, "Promoted"), (2, "Promoted"), (1, "Promoted")]
    assert {"1", "2", "3"} == counted["versions"].keys()


def test_a_version_that_fails_requests_is_rolled_back_by_itself(operator: tuple[Scene, OperatorProcess]) -> None:
    """It has no answer for a row without a neighbour: one in ten."""
    scene, _ = operator
    analysis = {"errorRate": {"max": "2%"}}
    canary = {"strategy": "Canary", "steps": [{"weight": 50, "minRequests": 100}], "analysis": analysis}
    scene.apply(modeldeployment("flights", model=FOLLOWS, replicas=2, rollout=canary))
    served = scene.status("flights")["stable"]["version"]
    with scene.load("flights", pause=PAUSE) as counted:
        train(scene, served + 1, FAILS_ON_OUTLIERS)
        status = scene.wait_for(
            lambda: s if (s := scene.status("flights")).get("quarantined") else None, "the candidate is quarantined"
        )
        assert "requests failed" in status["quarantined"][0]["reason"]
        scene.wait_for(
            lambda: len(scene.pods("flights")) == 2 and "candidate" not in scene.status("flights"), "it is gone"
        )
    assert counted["lost"] == {}
    assert counted["statuses"].keys() == {"200", "422"}
    assert scene.condition("flights", "Ready") == ("True", "Ready"), "what the loop brought is not the user's fault"
    assert scene.condition("flights", "RollingOut") == ("False", "Quarantined")
    assert scene.status("flights")["stable"]["version"] == served
