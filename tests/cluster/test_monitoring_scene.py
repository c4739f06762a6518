"""One model under one monitor through everything that may happen to it: nothing, harmless drift, a new category, a
flipped correlation, a column that turns empty, one that comes in another unit, and harm. It tells them apart, says what
it saw, and has the model trained anew for the last alone.
"""

from __future__ import annotations

import json
import random
import re
import socket
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from cluster.harness import Harness
from tests.cluster.monitoring_scene import MODELDEPLOYMENT, TRAININGJOB, Scene, Traffic, driftmonitor, training_rows
from tests.cluster.operator_process import OperatorProcess

STATES = ("Drifting", "DataFault", "Harmful")


@dataclass(frozen=True)
class Weather:
    """Lateness by temperature and carrier; humidity, and two winds that go together, are of no matter to it.

    `humid` moves the humidity, in standard deviations; `turned` has one wind blow against the other; `foreign` is the
    share of a carrier that nobody knows; `empty` of temperatures that are missing; `fahrenheit` is their unit;
    `flipped` turns the label around.
    """

    columns: ClassVar[dict[str, str]] = {
        "temperature": "FP64",
        "humidity": "FP64",
        "wind_aloft": "FP64",
        "wind_below": "FP64",
        "carrier": "BYTES",
    }
    humid: float = 0.0
    turned: bool = False
    foreign: float = 0.0
    empty: float = 0.0
    fahrenheit: bool = False
    flipped: bool = False

    def row(self, draw: random.Random) -> tuple[float | None, float, float, float, str, int]:
        celsius, humidity, aloft = draw.gauss(15, 8), 60 + 12 * draw.gauss(self.humid, 1), draw.gauss(0, 6)
        below = (-0.8 if self.turned else 0.8) * aloft + draw.gauss(0, 3.6)
        carrier = draw.choice(("AA", "DL", "UA"))
        late = (celsius - 15) / 8 + (carrier == "UA") + draw.gauss(0, 0.4) > 0.3
        temperature = 1.8 * celsius + 32 if self.fahrenheit else celsius
        return (
            None if draw.random() < self.empty else temperature,
            humidity,
            aloft,
            below,
            "B6" if draw.random() < self.foreign else carrier,
            int(late != self.flipped),
        )


@pytest.fixture
def metrics_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def operator_settings(metrics_port: int) -> dict[str, str]:
    return {"PERENNIAL_METRICS_PORT": str(metrics_port)}


@pytest.fixture
def act(cluster: Harness, namespace: str, operator: OperatorProcess, metrics_port: int) -> Act:
    scene = Scene(cluster, namespace)
    scene.apply(training_rows(Weather()), TRAININGJOB, MODELDEPLOYMENT)
    scene.apply(driftmonitor(actions=[{"state": "Harm", "action": "Retrain"}], governor={"cooldown": "10s"}))
    scene.wait_for(lambda: len(scene.pods()) == 2, "two pods serve")
    return Act(scene, metrics_port)


@dataclass
class Act:
    """One situation after the other: it begins, it is told, and it is over."""

    scene: Scene
    metrics_port: int
    releases: int = 0

    def states(self) -> dict[str, str]:
        return {kind: self.scene.condition(kind).get("status", "") for kind in STATES}

    def features(self, state: str) -> dict[str, dict[str, Any]]:
        return {feature["name"]: feature for feature in self.scene.verdict(state).get("features", [])}

    def await_feature(self, state: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.scene.wait_for(
            lambda: self.features(state).get(name), f"{state} of {name}", patience=120
        )
        return found

    def runs(self) -> int:
        return len(self.scene.get("trainingjob")["status"]["runs"])

    def metric(self, name: str, **labels: str) -> float:
        """Of the monitor, as Prometheus would scrape it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        wanted = {"driftmonitor": "flights", "namespace": self.scene.namespace, **labels}
        told = ",".join(f'{key}="{value}"' for key, value in sorted(wanted.items()))
        found = re.search(rf"^{name}{{{re.escape(told)}}} (\S+)$", text, re.MULTILINE)
        assert found, f"there is no {name}{{{told}}}"
        return float(found[1])

    def events(self, reason: str) -> str:
        """What the Events of the monitor with this reason say."""
        listed = self.scene.cluster.get("events", namespace=self.scene.namespace)["items"]
        return "\n".join(event["message"] for event in listed if event["reason"] == reason)

    def nothing_was_done(self) -> None:
        assert self.scene.status.get("requests", []) == []
        assert self.runs() == 1

    def ends(self, traffic: Traffic, **usual: Any) -> None:
        """All is as usual again, and a person says so. It was only told of: nothing was done about it."""
        self.nothing_was_done()
        traffic.become(**usual)
        self.scene.wait_for_windows(1)
        self.releases += 1
        self.scene.release(str(self.releases))
        assert self.scene.status.get("verdicts", []) == []


def is_since(verdict: dict[str, Any], began: datetime) -> bool:
    """Within some windows of when it began."""
    return abs((datetime.fromisoformat(verdict["since"]) - began).total_seconds()) < 30


def test_each_situation_is_told_apart_and_only_harm_is_acted_upon(act: Act) -> None:
    scene = act.scene
    with Traffic(scene.pods, world=Weather(), labelled=True) as traffic:
        nothing(act)
        harmless_drift(act, traffic)
        a_new_category(act, traffic)
        a_flipped_correlation(act, traffic)
        a_column_turns_empty(act, traffic)
        another_unit(act, traffic)
        harm(act, traffic)


def nothing(act: Act) -> None:
    scene = act.scene
    scene.wait_for_condition("Ready", "True")
    scene.wait_for_windows(10)
    assert scene.status.get("verdicts", []) == []
    assert act.states() == dict.fromkeys(STATES, "False")
    assert "one false alarm in 1 day is allowed" in scene.condition("Ready")["message"]
    assert scene.status["coverage"] == 1
    assert act.metric("perennial_drift_labels") > 0
    act.nothing_was_done()


def harmless_drift(act: Act, traffic: Traffic) -> None:
    scene, began = act.scene, datetime.now(UTC)
    traffic.become(humid=1.5)
    act.await_feature("Drift", "humidity")
    # The window in which it was found may have begun before it.
    scene.wait_for_windows(4)
    feature = act.await_feature("Drift", "humidity")
    assert feature["kind"] == "Distribution"
    assert feature["effect"] == pytest.approx(0.55, abs=0.2)  # of two normals 1.5 deviations apart
    assert feature["wasserstein"] == pytest.approx(18, abs=8)
    verdict = scene.verdict("Drift")
    assert is_since(verdict, began)
    assert [feature["name"] for feature in verdict["features"]] == ["humidity"]
    assert "nothing is asked for in spec.actions" in verdict["next"]
    assert act.states() == {"Drifting": "True", "DataFault": "False", "Harmful": "False"}
    assert "humidity: higher" in act.events("Drift")
    assert act.metric("perennial_drift_verdict", state="Drift") == 1
    assert act.metric("perennial_drift_feature_effect", feature="humidity", kind="Distribution") > 0.3
    act.ends(traffic, humid=0.0)


def a_new_category(act: Act, traffic: Traffic) -> None:
    scene, began = act.scene, datetime.now(UTC)
    traffic.become(foreign=0.25)
    feature = act.await_feature("Drift", "carrier")
    scene.wait_for_windows(2)
    feature = act.await_feature("Drift", "carrier")
    assert feature["kind"] == "Unseen"
    assert feature["effect"] == pytest.approx(0.25, abs=0.1)
    assert is_since(scene.verdict("Drift"), began)
    assert "of no known category" in scene.condition("Drifting")["message"]
    assert scene.condition("DataFault")["status"] == "False"
    act.ends(traffic, foreign=0.0)


def a_flipped_correlation(act: Act, traffic: Traffic) -> None:
    """Each wind by itself blows as before."""
    scene, began = act.scene, datetime.now(UTC)
    traffic.become(turned=True)
    feature = act.await_feature("Drift", "wind_aloft * wind_below")
    assert feature["kind"] == "Joint"
    assert sorted(feature["together"]) == ["wind_aloft", "wind_below"]
    scene.wait_for_windows(2)
    assert is_since(scene.verdict("Drift"), began)
    assert not act.features("Drift").keys() & Weather.columns.keys()
    assert "wind_aloft and wind_below go together otherwise than before" in scene.condition("Drifting")["message"]
    assert act.states() == {"Drifting": "True", "DataFault": "False", "Harmful": "False"}
    act.ends(traffic, turned=False)


def a_column_turns_empty(act: Act, traffic: Traffic) -> None:
    """The model is harmed by it, and its definition changes: neither may train it on such rows. Then it is mended."""
    scene, began = act.scene, datetime.now(UTC)
    traffic.become(empty=1.0)
    fault = scene.wait_for_condition("DataFault", "True")
    scene.kubectl("wait", "driftmonitor/flights", "--for=condition=DataFault", "--timeout=5s")
    assert fault["reason"] == "MissingValues"
    assert "temperature: 0.0% -> " in fault["message"]
    assert is_since(scene.verdict("DataFault"), began)
    assert "temperature" in act.events("MissingValues")
    define(scene, seed=1)
    scene.wait_for_condition("Harmful", "True")
    assert "held until the DataFault is over" in scene.verdict("Harm")["next"]
    scene.wait_for(
        lambda: scene.get("trainingjob")["status"].get("pending", {}).get("trigger") == "DefinitionChanged",
        "the changed definition waits",
        patience=60,
    )
    assert "DriftMonitor flights says DataFault" in waits(scene)
    act.nothing_was_done()
    assert act.states() == {"Drifting": "False", "DataFault": "True", "Harmful": "True"}
    define(scene, seed=0)
    traffic.become(empty=0.0)
    scene.wait_for_condition("DataFault", "False")
    assert scene.status.get("verdicts", []) == []
    scene.wait_for_windows(2)
    assert act.states() == {"Drifting": "False", "DataFault": "False", "Harmful": "False"}
    assert "broken data (DataFault) were the cause" in act.events("Over")
    act.nothing_was_done()


def another_unit(act: Act, traffic: Traffic) -> None:
    scene = act.scene
    traffic.become(fahrenheit=True)
    fault = scene.wait_for_condition("DataFault", "True")
    assert fault["reason"] == "UnitChanged"
    # The window in which it changed holds both units, and may look like a third.
    scene.wait_for_windows(4)
    named = scene.condition("DataFault")["message"]
    assert "temperature: looks as if converted from Celsius to Fahrenheit" in named
    assert act.features("DataFault").keys() == {"temperature"}
    assert scene.condition("Drifting")["status"] == "False"
    assert act.metric("perennial_drift_verdict", state="DataFault") == 1
    act.ends(traffic, fahrenheit=False)
    assert scene.condition("DataFault")["status"] == "False"


def harm(act: Act, traffic: Traffic) -> None:
    """The world has turned around: a model of it must be trained on rows of it."""
    scene = act.scene
    before = scene.status["baseline"]["since"]
    scene.apply(training_rows(Weather(flipped=True), seed=2))
    traffic.become(flipped=True)
    scene.wait_for_condition("Harmful", "True")
    found = scene.verdict("Harm")
    assert found["loss"]["now"] > 2 * found["loss"]["reference"]
    assert "the loss is" in act.events("Harm")
    request = scene.wait_for(lambda: scene.status.get("requests"), "a retrain is asked for")[0]
    assert scene.condition("DataFault")["status"] == "False"
    scene.wait_for(lambda: act.runs() == 2, "the TrainingJob takes the request")
    training = scene.get("trainingjob")["status"]
    assert training["runs"][0]["triggeredBy"] == "flights"
    assert request["id"] in json.dumps(training["handled"])
    scene.wait_for(lambda: scene.status["model"]["version"] == 2, "the new version is judged")
    scene.wait_for_condition("Ready", "True")
    scene.wait_for_windows(8)
    assert scene.status.get("verdicts", []) == []
    assert datetime.fromisoformat(scene.status["baseline"]["since"]) > datetime.fromisoformat(before)
    assert [request["state"] for request in scene.status["requests"]] == ["Taken"]
    assert act.runs() == 2


def define(scene: Scene, **spec: Any) -> None:
    scene.kubectl("patch", "trainingjob", "flights", "--type=merge", "--patch", json.dumps({"spec": spec}))


def waits(scene: Scene) -> str:
    conditions = scene.get("trainingjob")["status"]["conditions"]
    return "; ".join(condition["message"] for condition in conditions)
