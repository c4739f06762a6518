"""Gates on a real cluster: what the status says of bounds, champion and slices, and that the champion comes from the
store."""

from __future__ import annotations

from cluster.harness import Harness
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.training_scene import Scene, configmap, rows, trainingjob

ACCEPTANCE = {
    "metrics": [{"name": "roc_auc", "min": 0.7}],
    "champion": {"metric": "roc_auc", "margin": 0.01},
    "slices": [{"column": "carrier", "metric": "accuracy", "maxGap": 0.5}],
}
DATA = {"uri": "configmap://rows/rows.csv", "target": "late", "features": ["a", "b"]}


def test_a_version_has_to_stand_up_to_the_champion(cluster: Harness, namespace: str, operator: OperatorProcess) -> None:
    scene = Scene(cluster, namespace)
    scene.apply(configmap("rows", rows_csv=rows(count=1200)), trainingjob("flights", data=DATA, acceptance=ACCEPTANCE))
    first = {gate["rule"]: gate for gate in scene.wait_for_state("flights", "Succeeded")["gates"]}
    assert first["champion"]["note"] == "NotComparable: no version was accepted before"

    blind = DATA | {"features": ["b"]}
    scene.apply(trainingjob("flights", data=blind, acceptance=ACCEPTANCE | {"metrics": [], "slices": []}))
    scene.wait_for(lambda: scene.run("flights", 2), "a second run")
    operator.kill()
    operator.start()
    (gate,) = scene.wait_for_state("flights", "Rejected", version=2)["gates"]
    assert (gate["rule"], gate["passed"]) == ("champion", False)
    assert gate["note"] == "version 1 on the 300 rows that both held out"
    low, high = gate["interval"]
    assert 0.01 < low < gate["value"] < high
    assert "worse" in scene.condition("flights", "LastRunAccepted")["message"]
    assert scene.condition("flights", "Ready")["status"] == "True"
    assert scene.status("flights")["acceptedVersion"] == 1


def test_on_new_data_the_champion_is_asked_about_rows_that_it_has_not_seen(
    cluster: Harness, namespace: str, operator: OperatorProcess
) -> None:
    scene = Scene(cluster, namespace)
    acceptance = {"champion": {"metric": "accuracy", "margin": 0.05}}
    data = DATA | {"time": "at", "test": {"split": "Time"}}
    scene.apply(configmap("rows", rows_csv=dated(800)), trainingjob("flights", data=data, acceptance=acceptance))
    assert scene.wait_for_state("flights", "Succeeded")["trainedThrough"] == "799"

    scene.apply(configmap("rows", rows_csv=dated(1200)))
    scene.kubectl("annotate", "trainingjob", "flights", "perennial.dev/run=new-rows")
    (gate,) = scene.wait_for_state("flights", "Succeeded", version=2)["gates"]
    assert gate["note"] == "version 1 on 300 rows newer than 799"
    assert (gate["passed"], abs(gate["value"]) < 0.05) == (True, True)


def dated(count: int) -> str:
    """Rows with a number that orders them; fewer are the beginning of more."""
    head, *lines = rows(count=count).splitlines()
    return "\n".join([f"{head},at", *(f"{line},{place}" for place, line in enumerate(lines))])
