"""LightGBM in a container of one's own, by the example and its image: trained, gated, served by ONNX Runtime with the
answers that LightGBM gives, counted, and judged by a DriftMonitor."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from cluster.harness import Harness
from tests.cluster.monitoring_scene import TINY, Scene, Traffic, training_rows
from tests.cluster.operator_process import ROOT, OperatorProcess

pytestmark = pytest.mark.xdist_group("own_container")

EXAMPLE = ROOT / "examples" / "own-container-lightgbm" / "perennial.yaml"


@pytest.fixture
def scene(cluster: Harness, namespace: str, operator: OperatorProcess) -> Scene:
    return Scene(cluster, namespace)


def example(image: str) -> list[dict[str, Any]]:
    """The example as it is, with an image and rows that there are here, small pods and quick windows."""
    trainingjob, modeldeployment, driftmonitor = yaml.safe_load_all(EXAMPLE.read_text())
    trainingjob["spec"]["template"]["spec"]["containers"][0] |= {"image": image, "imagePullPolicy": "IfNotPresent"}
    trainingjob["spec"] |= {"resources": TINY, "data": {"uri": "configmap://rows/rows.csv", "target": "late"}}
    modeldeployment["spec"]["resources"] = TINY
    driftmonitor["spec"] |= {
        "falseAlarmEvery": "1d",
        "window": {"minRows": 200, "period": "2s"},
        "baseline": {"from": "Training"},
    }
    return [trainingjob, modeldeployment, driftmonitor]


def held_out(scene: Scene) -> list[dict[str, Any]]:
    """What the container says of its first held-out rows, in its log."""
    selector = "job-name,perennial.dev/trainingjob=flights"
    rows: list[dict[str, Any]] = json.loads(
        scene.kubectl("logs", f"--selector={selector}", "--container=train", "--tail=1")
    )
    return rows


def answers(scene: Scene, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the served model says of the rows, asked through the API server. It passes over columns that it lacks."""
    selector = "perennial.dev/modeldeployment=flights"
    (pod,) = scene.cluster.get("pods", namespace=scene.namespace, selector=selector)["items"]
    path = f"/api/v1/namespaces/{scene.namespace}/pods/{pod['metadata']['name']}:8080/proxy/v2/models/flights/infer"
    told = scene.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps({"rows": rows}))
    found: list[dict[str, Any]] = json.loads(told)["rows"]
    return found


def test_lightgbm_trains_is_served_and_watched(scene: Scene, cluster: Harness) -> None:
    (image,) = cluster.load_images("lightgbm")
    scene.apply(training_rows(), *example(image))
    scene.wait_for(lambda: len(scene.pods()) == 1, "the model is served")
    (run,) = scene.get("trainingjob")["status"]["runs"]
    assert (run["state"], run["model"]["engine"]) == ("Succeeded", "onnx")
    assert [gate["passed"] for gate in run["gates"]] == [True]
    assert run["imageDigest"].startswith("sha256:")

    rows = held_out(scene)
    served = answers(scene, rows)
    assert [answer["prediction"] for answer in served] == [row["prediction"] for row in rows]
    # The exported trees are summed in single precision.
    differences = [abs(answer["probabilities"]["1"] - row["score"]) for answer, row in zip(served, rows, strict=True)]
    assert len(differences) == 20
    assert max(differences) < 1e-6

    with Traffic(scene.pods) as traffic:
        scene.wait_for_condition("Ready", "True")
        scene.wait_for_windows(5)
        assert scene.status.get("verdicts", []) == []
        traffic.become(shift=1.5)
        scene.wait_for_condition("Drifting", "True")
    assert "a" in [feature["name"] for feature in scene.verdict("Drift")["features"]]
