"""The chart's alert rules, by Prometheus' own tool: they fire when they should, and watch metrics that there are."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, Metric

from cluster.paths import REPOSITORY
from perennial.kube import metrics as engine_metrics
from perennial.kube.condition_metrics import ConditionMetrics
from perennial.monitoring import alerts
from perennial.monitoring.metrics import Metrics
from tests.debian import unpacked

REGISTERED = (engine_metrics, alerts)
"""Importing them puts their metrics into the registry."""
DOCS = REPOSITORY / "docs"
RULES = REPOSITORY / "charts" / "perennial" / "alerts.yaml"
VERDICT = 'perennial_drift_verdict{{namespace="a", driftmonitor="m", state="{}", instance="{}"}}'
CONDITION = 'perennial_condition{{kind="{}", namespace="a", name="{}", type="{}", reason="{}"}}'
ERRORS = "controller_runtime_reconcile_errors_total"


def _families() -> list[Metric]:
    return [*REGISTRY.collect(), *Metrics().collect(), *ConditionMetrics([]).collect()]


def test_every_metric_is_one_of_ours() -> None:
    ours = {family.name for family in _families()}
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            (name,) = re.findall(r"\b((?:perennial|controller)_\w+)", rule["expr"])
            assert name.removesuffix("_total") in ours, rule["alert"]


def test_the_documentation_has_every_metric() -> None:
    told = re.findall(r"`((?:perennial|controller|workqueue|rest|leader)_\w*\*?)", (DOCS / "alerting.md").read_text())
    for family in _families():
        if not family.name.startswith(("python_", "process_")):
            known = (name.removesuffix("_total") for name in told)
            assert any(fnmatch(family.name, name) for name in known), family.name


@pytest.mark.process
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    def series(name: str, values: str) -> dict[str, str]:
        return {"series": name, "values": values}

    def alert(name: str, minute: int, *expected: dict[str, str]) -> dict[str, Any]:
        return {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": [{"exp_labels": each} for each in expected]}

    monitor, resource = {"namespace": "a", "driftmonitor": "m"}, {"namespace": "a", "name": "m"}
    # An operator that took over shows the same verdict from another place: that is one alert, not two.
    shown = [series(VERDICT.format("Harm", pod), values) for pod, values in (("old", "0 0 1 1"), ("new", "_ _ _ 1"))]
    shown += [
        series(VERDICT.format("DataFault", "old"), "0 0 0 0"),
        series('perennial_drift_coverage{namespace="a", driftmonitor="m"}', "0.8x60"),
        series('perennial_drift_labels_joined{namespace="a", driftmonitor="m"}', "1 0x90"),
        series('perennial_drift_labels_joined{namespace="a", driftmonitor="n"}', "0x30 1 0x59"),
        series(CONDITION.format("DriftMonitor", "m", "Ready", "CountsUnreachable"), "0x90"),
        series(CONDITION.format("DriftMonitor", "n", "Ready", "Learning"), "0x90"),
        series(CONDITION.format("DriftMonitor", "o", "Ready", "Watching"), "1x90"),
        series(CONDITION.format("DriftMonitor", "p", "Ready", "LearningInVain"), "0x90"),
        series('perennial_drift_stopped{namespace="a", driftmonitor="m"}', "0 0 1 1 0"),
        series('perennial_drift_stopped{namespace="a", driftmonitor="n"}', "0x90"),
        series(CONDITION.format("ModelDeployment", "m", "Ready", "PodsNotReady"), "0x90"),
        series(CONDITION.format("ModelDeployment", "n", "Ready", "NoVersion"), "0x90"),
        series(CONDITION.format("TrainingJob", "m", "LastRunAccepted", "DataRejected"), "0x90"),
        series(CONDITION.format("TrainingJob", "n", "LastRunAccepted", "Accepted"), "1x90"),
        series(f'{ERRORS}{{controller="trainingjob"}}', "0+30x60"),
        series("perennial_alerts_failures_total", "0+1x60"),
    ]
    tests = [
        alert("PerennialHarm", 1),
        alert("PerennialHarm", 3, monitor | {"severity": "critical"}),
        alert("PerennialDataFault", 3),
        alert("PerennialGovernorStopped", 1),
        alert("PerennialGovernorStopped", 3, monitor | {"severity": "critical"}),
        alert("PerennialGovernorStopped", 4),
        alert("PerennialLabelsNotJoined", 59),
        alert("PerennialLabelsNotJoined", 62, monitor | {"severity": "warning"}),
        alert("PerennialDriftNotWatched", 29),
        alert(
            "PerennialDriftNotWatched",
            31,
            resource | {"reason": "CountsUnreachable", "severity": "warning"},
            resource | {"name": "p", "reason": "LearningInVain", "severity": "warning"},
        ),
        alert("PerennialModelNotServed", 11, resource | {"reason": "PodsNotReady", "severity": "critical"}),
        alert("PerennialRunNotAccepted", 6, resource | {"reason": "DataRejected", "severity": "warning"}),
        alert("PerennialCountsLost", 20),
        alert("PerennialCountsLost", 40, monitor | {"severity": "warning"}),
        alert("PerennialReconcileErrors", 40, {"controller": "trainingjob", "severity": "warning"}),
        alert("PerennialAlertsNotDelivered", 40, {"severity": "warning"}),
    ]
    for test in tests:
        for expected in test["exp_alerts"]:
            expected["exp_annotations"] = _annotations(test["alertname"], expected["exp_labels"])
    scenario = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": shown, "alert_rule_test": tests}],
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(scenario))
    promtool = str(unpacked("prometheus") / "usr/bin/promtool")
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _annotations(alert: str, labels: dict[str, str]) -> dict[str, str]:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    (annotations,) = [rule["annotations"] for rule in rules if rule["alert"] == alert]
    filled = {}
    for name, text in annotations.items():
        text = text.replace("{{ $value | humanizePercentage }}", "80%")
        filled[name] = re.sub(r"{{ \$labels\.(\w+) }}", lambda match: labels[match[1]], text)
    return filled
