"""A DriftMonitor on live traffic: it tells nothing, drift, broken data and harm apart, acts only on the last, and
counts each row once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cluster.harness import Harness
from tests.alertmanager import OnCall
from tests.cluster.monitoring_scene import (
    MODELDEPLOYMENT,
    NORMAL,
    TRAININGJOB,
    Scene,
    Traffic,
    World,
    driftmonitor,
    training_rows,
)
from tests.cluster.operator_process import OperatorProcess


@pytest.fixture
def on_call(tmp_path: Path) -> Iterator[OnCall]:
    """Alertmanager, and a person behind it."""
    there = OnCall(tmp_path)
    there.start()
    yield there
    there.close()


@pytest.fixture
def operator_settings(on_call: OnCall) -> dict[str, str]:
    return {"PERENNIAL_ALERTMANAGER_URL": on_call.url}


@pytest.fixture
def scene(cluster: Harness, namespace: str, operator: OperatorProcess) -> Scene:
    """A model of two pods is served."""
    scene = Scene(cluster, namespace)
    scene.apply(training_rows(), TRAININGJOB, MODELDEPLOYMENT)
    scene.wait_for(lambda: len(scene.pods()) == 2, "two pods serve")
    return scene


def test_verdicts_on_live_traffic(scene: Scene, on_call: OnCall) -> None:
    limits = {"cooldown": "10s", "approval": "Required", "stopAfter": 1}
    scene.apply(driftmonitor(actions=[{"state": "Harm", "action": "Retrain"}], governor=limits))
    with Traffic(scene.pods, labelled=True) as traffic:
        scene.wait_for_condition("Ready", "True")
        scene.wait_for_windows(12)
        assert scene.status.get("verdicts", []) == []
        assert scene.condition("Harmful")["reason"] in ("NoHarm", "TooFewLabels")

        traffic.become(shift=1.5)
        scene.wait_for_condition("Drifting", "True")
        assert "a" in [feature["name"] for feature in scene.verdict("Drift")["features"]]
        assert "b" not in [feature["name"] for feature in scene.verdict("Drift")["features"]]
        assert "nothing is asked for" in scene.verdict("Drift")["next"]
        # What is over before it was told is never told.
        on_call.wait_for(partial(on_call.told, "firing", "PerennialDrift"), "a person hears of it")

        traffic.become(shift=0.0, empty=1.0)
        scene.release("1")
        fault = scene.wait_for_condition("DataFault", "True")
        assert fault["reason"] == "MissingValues"
        assert "b: 0.0% -> " in fault["message"]
        assert scene.status.get("requests", []) == []
        assert scene.get("trainingjob")["status"]["latestVersion"] == 1

        page = scene.perennial("report", "dm/flights", "--output", "-")
        for said in ("The data are broken", "b: 0.0% -&gt; ", "Before and now", "version 1"):
            assert said in page
        shown = scene.perennial("status", "md/flights")
        for said in ("TrainingJob flights  Ready", "stable     v1", "2 of 2 pods ready", "DataFault for", "is held"):
            assert said in shown

        # The world has turned around: a model of it must be trained on rows of it. That `b` is missing in some of them
        # is seen by comparing versions only.
        scene.apply(training_rows(World(flipped=True, empty=0.2), seed=2))
        traffic.become(empty=0.0, flipped=True)
        assert "release is taken" in scene.perennial("release", "dm/flights", "--wait", "--timeout", "60")
        scene.wait_for_condition("Harmful", "True")
        harm = scene.verdict("Harm")
        assert harm["loss"]["now"] > 2 * harm["loss"]["reference"]
        (proposal,) = scene.wait_for(lambda: scene.status.get("proposals"), "a retrain is proposed")
        assert scene.status.get("requests", []) == []
        assert "approve is taken" in scene.perennial("approve", "dm/flights", "--wait")
        request = scene.wait_for(lambda: scene.status.get("requests"), "a retrain is asked for")[0]
        assert request["id"] == proposal["id"]
        run = scene.wait_for(
            lambda: next((run for run in scene.get("trainingjob")["status"]["runs"] if run["version"] == 2), None),
            "the TrainingJob takes the request",
        )
        assert (run["trigger"], run["triggeredBy"]) == ("DriftMonitor", "flights")
        assert request["model"] == scene.get("trainingjob")["status"]["runs"][-1]["model"]["sha256"]

        scene.wait_for(lambda: scene.status["model"]["version"] == 2, "the new version is judged")
        scene.wait_for_condition("Ready", "True")
        scene.wait_for_windows(8)
        assert scene.condition("Harmful")["status"] != "True"
        assert scene.verdict("Harm") == {}
        moved = scene.verdict("AnchorDrift")
        assert [(feature["name"], feature["kind"]) for feature in moved["features"]] == [("b", "Missing")]
        assert "action" not in moved
        assert [(anchor["version"], anchor["promotions"]) for anchor in scene.status["anchors"]] == [(1, 1)]
        on_call.wait_for(partial(on_call.told, "firing", "PerennialAnchorDrift"), "a person hears of it")

        # The one retrain that was allowed brought no long calm: the world turns back.
        traffic.become(flipped=False)
        scene.wait_for(lambda: "stoppedSince" in scene.status["governor"], "the governor stops")
        assert scene.condition("Harmful")["status"] == "True"
        assert "perennial.dev/release" in scene.verdict("Harm")["next"]
        on_call.wait_for(partial(on_call.told, "firing", "PerennialGovernorStopped"), "a person is called")
        assert scene.status.get("proposals", []) == []
        traffic.become(flipped=True)
        scene.wait_for_windows(1)
        scene.release("3")
        assert "governor" not in scene.status, "it starts anew"
        on_call.wait_for(partial(on_call.told, "resolved", "PerennialGovernorStopped"), "the call is over")
    assert {"Drift", "MissingValues", "Harm", "RetrainProposed", "RetrainRequested", "AnchorDrift"} <= scene.events()
    assert scene.get("trainingjob")["status"]["latestVersion"] == 2
    for alert in ("PerennialDrift", "PerennialDataFault", "PerennialHarm"):
        on_call.wait_for(partial(on_call.told, "resolved", alert), f"{alert} is over")
    verdicts = [labels["verdict"] for status, labels in on_call.heard if status == "firing" and "verdict" in labels]
    assert len(verdicts) == len(set(verdicts)), "a verdict was told twice"
    assert "Version 3 is" in scene.perennial("run", "tj/flights", "--wait")


def test_every_row_is_counted_once_whoever_dies(scene: Scene, operator: OperatorProcess) -> None:
    """The operator is killed under traffic, pods end and come, a server crashes, and a candidate serves beside the
    stable version until it takes over. A pod waits but seconds for an operator that is not there: what one takes with
    it in the end is missing, and said to be.
    """
    scene.apply(driftmonitor())
    # What was served before its first look is not its to judge.
    scene.wait_for_condition("Ready", "True")
    with Traffic(scene.pods) as traffic:
        for replicas in (1, 2, 1, 2):
            scene.wait_for_windows(1)
            operator.kill()
            operator.start()
            scene.wait_for_windows(1)
            patch_deployment(scene, replicas=replicas)
            scene.wait_for(partial(scene.has_settled, replicas), f"{replicas} pods serve")
        assert scene.kill_a_server() or scene.cluster.provider != "embedded", "no server was found to kill"
        scene.wait_for(partial(scene.has_settled, 2), "the server is back")
        scene.wait_for_windows(1)
        scene.kubectl("delete", "pod", scene.names()[0], "--wait=false")
        scene.wait_for(lambda: scene.has_settled(2), "there is another pod")
        scene.wait_for_windows(1)
        patch_deployment(scene, rollout={"strategy": "Canary", "steps": [{"weight": 50, "hold": "1h"}]})
        scene.apply(training_rows(World(flipped=True), seed=2))
        scene.perennial("run", "tj/flights", "--wait")
        scene.wait_for(lambda: traffic.sent["2"], "the candidate serves")
        scene.wait_for(partial(scene.has_settled, 2), "the stable pod that made room for it is gone")
        operator.kill()
        operator.start()
        scene.perennial("promote", "md/flights", "--wait")
        scene.wait_for(lambda: scene.status["model"]["version"] == 2, "the candidate has taken over")
        scene.wait_for(partial(scene.has_settled, 2), "it serves alone")
        scene.wait_for_windows(1)
        traffic.stop()
    assert traffic.sent.keys() == {"1", "2"}
    assert traffic.sent["1"] > 3000
    scene.wait_for(lambda: scene.status["rows"] >= traffic.sent["2"], f"{traffic.sent} rows are counted", 60)
    assert traffic.sent["2"] <= scene.status["rows"] <= traffic.sent["2"] + traffic.unsure
    assert scene.status["coverage"] == 1
    stable = next(run for run in scene.get("trainingjob")["status"]["runs"] if run["version"] == 1)
    before = scene.checkpoint().tallies[stable["model"]["sha256"]]
    assert traffic.sent["1"] <= before.rows <= traffic.sent["1"] + traffic.unsure
    assert before.lost == 0

    with Traffic(scene.pods):
        scene.wait_for_windows(1)
        operator.kill()
        scene.kubectl("delete", "pod", scene.names()[0])
        operator.start()
        scene.wait_for(lambda: scene.status["coverage"] < 1, "what the pod took along is missing")
    scene.wait_for(lambda: "CountsLost" in scene.events(), "it is told")


def patch_deployment(scene: Scene, **spec: object) -> None:
    scene.kubectl("patch", "modeldeployment", "flights", "--type=merge", "--patch", json.dumps({"spec": spec}))


def test_a_baseline_from_serving_and_a_second_monitor(scene: Scene) -> None:
    """What is served is normal from the first row on; that it is not what was trained on is said once."""
    scene.apply(driftmonitor(baseline={"from": "Serving", "rows": 1000}))
    with Traffic(scene.pods, world=World(shift=1.5)) as traffic:
        scene.wait_for(lambda: scene.condition("Ready").get("reason") == "Learning", "it learns")
        second = driftmonitor()
        second["metadata"] = {"name": "second"}
        scene.apply(second)
        scene.wait_for_condition("Ready", "True")
        assert "a" in [feature["name"] for feature in scene.verdict("TrainServeSkew")["features"]]
        scene.wait_for_windows(8)
        assert scene.condition("Drifting")["status"] == "False"
        traffic.become(shift=NORMAL.shift)
        scene.wait_for_condition("Drifting", "True")
    reasons = scene.kubectl("get", "driftmonitor", "second", "-o", "jsonpath={.status.conditions[0].reason}")
    assert reasons == "SecondMonitor"


def test_deleting_it_leaves_nothing(scene: Scene) -> None:
    scene.apply(driftmonitor())
    with Traffic(scene.pods):
        scene.wait_for(lambda: scene.status.get("rows"), "rows are counted")
    assert "flights-drift" in scene.kubectl("get", "configmaps", "-o", "name")
    scene.kubectl("delete", "driftmonitor", "flights")
    scene.wait_for(
        lambda: "flights-drift" not in scene.kubectl("get", "configmaps", "-o", "name"), "its checkpoint is gone", 60
    )
