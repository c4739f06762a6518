"""The loop on one screen: what is shown of each part, and which parts belong together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.cli.named import named
from perennial.cli.paint import Paint
from perennial.cli.problem import CannotDo
from perennial.cli.status import ago, loops, screen

from .conftest import Namespace

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PLAIN = Paint()


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    at = "2026-03-01T11:00:00Z"
    told = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**told, "observedGeneration": 1, "lastTransitionTime": at}


@pytest.fixture
def loop(cluster: Namespace) -> Namespace:
    """Version 4 is a canary beside version 3, whose monitor has proved harm; version 5 was rejected."""
    gate = {"metric": "roc_auc", "rule": "min", "bound": 0.75, "value": 0.71, "interval": [0.7, 0.72], "passed": False}
    runs = [
        {
            "version": 5,
            "state": "Rejected",
            "trigger": "DriftMonitor",
            "triggeredBy": "flights",
            "finishedAt": "2026-03-01T11:30:00Z",
            "metrics": {"roc_auc": 0.71},
            "gates": [gate],
        },
        {"version": 4, "state": "Succeeded", "trigger": "Requested", "finishedAt": "2026-03-01T09:00:00Z"},
    ]
    ready = condition("Ready", "True", "Ready", "version 4 is accepted")
    cluster.put(TRAININGJOBS, status={"runs": runs, "acceptedVersion": 4, "conditions": [ready]})
    stable = {"revision": "r3", "version": 3, "sha256": "3" * 64, "replicas": 2, "ready": 2}
    candidate = {"revision": "r4", "version": 4, "sha256": "4" * 64, "replicas": 1, "ready": 1}
    analysis = [{"name": "loss", "value": 0.2, "bound": 0.1, "samples": 300, "verdict": "Fail"}]
    rollout = {"step": 0, "steps": 2, "since": "2026-03-01T11:50:00Z", "state": "Analysing", "analysis": analysis}
    cluster.put(
        MODELDEPLOYMENTS,
        spec={"model": {"trainingJob": "flights"}},
        status={
            "stable": {**stable, "weight": {"asked": 90, "measured": 89.5}},
            "candidate": {**candidate, "weight": {"asked": 10, "measured": 10.5}},
            "rollout": rollout,
            "previous": {"version": 2, "sha256": "2" * 64, "compared": True},
            "conditions": [condition("Ready", "True", "Serving", "two pods serve")],
        },
    )
    verdict = {
        "id": "v1",
        "state": "Harm",
        "since": "2026-03-01T10:00:00Z",
        "samples": 900,
        "previous": {"version": 2, "samples": 400, "loss": 0.1, "now": 0.3, "wins": True},
        "action": "asked TrainingJob flights for a retrain",
        "next": "TrainingJob takes the request",
    }
    asked = {
        "id": "b1",
        "action": "Rollback",
        "model": "3" * 64,
        "reason": "Harm: worse",
        "createdAt": "2026-03-01T11:59:00Z",
        "expiresAt": "2026-03-01T12:59:00Z",
        "state": "Pending",
    }
    cluster.put(
        DRIFTMONITORS,
        spec={"deployment": "flights"},
        status={
            "verdicts": [verdict],
            "requests": [asked, asked | {"id": "b0"}, asked | {"id": "r1", "action": "Retrain", "state": "Taken"}],
            "proposals": [{key: asked[key] for key in ("id", "action", "reason", "createdAt")}],
            "rows": 12000,
            "windows": {"count": 24, "rowsOpen": 3},
            "conditions": [
                condition("Ready", "True", "Watching", "judges version 3"),
                condition("Harmful", "True", "Harm", "the loss is 0.3 on 900 labels"),
                condition("LabelsJoined", "True", "Joined", "900 labels of 3 files were joined"),
            ],
        },
    )
    return cluster


def test_one_screen_has_the_whole_loop(loop: Namespace) -> None:
    shown = screen(loop, named("md/flights"), NOW, PLAIN)
    for said in (
        "v5    Rejected   30m ago   DriftMonitor (flights)   roc_auc 0.71",
        "gate failed: roc_auc is 0.71 (0.7 to 0.72), at least 0.75 is asked for",
        "v4    Succeeded  3h ago    Requested, accepted",
        "stable     v3    2 of 2 pods ready, 89.5% of requests (90% asked for)",
        "candidate  v4    1 of 1 pods ready, 10.5% of requests (10% asked for)",
        "rollout    step 1 of 2 for 10m, Analysing",
        "loss +20%, at most +10% on 300: Fail",
        "Watching: judges version 3",
        "Harm for 2h, found on 900",
        "the loss is 0.3 on 900 labels",
        "done: asked TrainingJob flights for a retrain",
        "next: TrainingJob takes the request",
        "12,000 rows, 24 windows",
        "table      900 labels of 3 files were joined",
        "before     v2    scored beside it",
        "version 2 has a loss of 0.1 where this one has 0.3, on 400 rows labelled since; proved to be better",
        "proposal   Rollback b1 waits for approval for 1m: Harm: worse",
        "request    Rollback b1 Pending, 1m ago: Harm: worse\n  request    Retrain r1 Taken",
    ):
        assert said in shown
    assert "\x1b" not in shown
    assert "\x1b[31mHarm\x1b[0m" in screen(loop, None, NOW, Paint(colours=True))


def test_what_no_condition_tells_is_told_of_each_feature(cluster: Namespace) -> None:
    features = [
        {"name": "carrier", "effect": 0.2, "statistic": 9.1, "kind": "Category", "message": "1.0% -> 21.0% 'UA'"},
        {"name": "distance", "effect": 0.12, "statistic": -7, "kind": "Distribution", "message": "lower"},
    ]
    verdict = {"id": "v1", "state": "TrainServeSkew", "since": "2026-03-01T10:00:00Z", "samples": 900}
    cluster.put(DRIFTMONITORS, status={"verdicts": [{**verdict, "features": features}]})
    shown = screen(cluster, None, NOW, PLAIN)
    assert "carrier: 1.0% -> 21.0% 'UA' (0.20 of cumulative probability, 9 standard errors); distance: lower" in shown


def test_what_belongs_to_nothing_is_shown_by_itself(loop: Namespace) -> None:
    loop.put(TRAININGJOBS, "alone")
    loop.put(DRIFTMONITORS, "lost", spec={"deployment": "gone"})
    assert [len(each.parts) for each in loops(loop)] == [3, 1, 1]
    shown = screen(loop, named("tj/alone"), NOW, PLAIN)
    assert shown == "TrainingJob alone  the operator has not looked at it yet"


def test_an_empty_namespace_says_so(cluster: Namespace) -> None:
    with pytest.raises(CannotDo, match="namespace team-a has no TrainingJob"):
        screen(cluster, None, NOW, PLAIN)
    with pytest.raises(CannotDo, match="tj/gone"):
        screen(cluster, named("tj/gone"), NOW, PLAIN)


def test_nothing_that_a_status_can_hold_breaks_it(cluster: Namespace) -> None:
    cluster.put(MODELDEPLOYMENTS, status={"stable": "nonsense"})
    assert "has not looked at it yet" in screen(cluster, None, NOW, PLAIN)


@pytest.mark.parametrize(("seconds", "said"), [(0, "0s"), (59, "59s"), (60, "1m"), (7260, "2h1m"), (180_000, "2d2h")])
def test_times_are_told_in_what_matters(seconds: int, said: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == said
