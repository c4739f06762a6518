"""What the demonstration tells of two looks at the resources, by table."""

from __future__ import annotations

from typing import Any

from demo import narrator

RUN: dict[str, Any] = {"version": 1, "state": "Running", "trigger": "FirstRun"}
ACCEPTED = RUN | {
    "state": "Succeeded",
    "metrics": {"mae": 7.25},
    "model": {"uri": "pvc://perennial-models/x", "sha256": "a" * 64, "engine": "onnx"},
    "gates": [{"metric": "mae", "rule": "max", "bound": 20, "value": 7.25, "passed": True}],
    "trainedThrough": "2013-01-28",
}
STABLE = {"revision": "r1", "version": 1, "sha256": "a" * 64}
CANDIDATE = {"revision": "r2", "version": 2, "sha256": "b" * 64, "weight": {"asked": 34.0}}
ROLLOUT: dict[str, Any] = {"step": 0, "steps": 2, "state": "WaitingForRequests", "analysis": []}
ANALYSIS = {"name": "loss", "value": -0.2, "bound": 0.02, "samples": 900, "verdict": "Pass"}


def lines(tell: Any, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return list(tell(before, now))


def test_a_run_is_told_once_at_its_start_and_once_at_its_end() -> None:
    started = lines(narrator.training, {}, {"runs": [RUN]})
    assert started == ["run 1 starts: it is the first"]
    assert lines(narrator.training, {"runs": [RUN]}, {"runs": [RUN]}) == []
    ended = lines(narrator.training, {"runs": [RUN]}, {"runs": [ACCEPTED]})
    assert ended == [
        "version 1 is trained: mae 7.25; served by onnx",
        "  gate mae max 20: 7.25, passed",
        "version 1 is accepted, learned through 2013-01-28",
    ]


def test_a_rejected_version_is_not_called_accepted() -> None:
    rejected = ACCEPTED | {"state": "Rejected", "gates": [ACCEPTED["gates"][0] | {"passed": False, "value": None}]}
    told = lines(narrator.training, {"runs": [RUN]}, {"runs": [rejected]})
    assert told[-2:] == [
        "  gate mae max 20: not measured, NOT passed",
        "version 1 is rejected: it is kept and not deployed",
    ]


def test_a_failure_is_told_in_its_own_words() -> None:
    failed = RUN | {"state": "Failed", "failure": {"reason": "MissingColumn", "message": "no column `late`"}}
    assert lines(narrator.training, {"runs": [RUN]}, {"runs": [failed]}) == [
        "run 1 failed: MissingColumn: no column `late`"
    ]


def test_a_rollout_is_told_by_its_steps_and_its_end() -> None:
    before = {"stable": STABLE}
    began = before | {"candidate": CANDIDATE, "rollout": ROLLOUT}
    assert lines(narrator.serving, before, began) == [
        "version 2 begins to roll out beside version 1",
        "  step 1 of 2: WaitingForRequests; 34 % of requests asked for",
    ]
    judged = began | {"rollout": ROLLOUT | {"analysis": [ANALYSIS]}}
    assert lines(narrator.serving, began, judged) == []
    entry = {"revision": "r2", "version": 2, "sha256": "b" * 64, "outcome": "Promoted", "at": "2026-01-01T00:00:00Z"}
    after = {"stable": CANDIDATE, "history": [entry]}
    assert lines(narrator.serving, judged, after) == [
        "  loss -0.2 (at most 0.02) on 900: Pass",
        "version 2: Promoted",
    ]


def test_a_quarantine_says_why() -> None:
    now = {"stable": STABLE, "quarantined": [{"revision": "r2", "version": 2, "reason": "errorRate"}]}
    assert lines(narrator.serving, {"stable": STABLE}, now) == ["version 2 is quarantined: errorRate"]


def test_a_verdict_is_told_with_its_features_and_sizes() -> None:
    verdict = {
        "id": "v1",
        "state": "Harm",
        "samples": 4000,
        "features": [{"name": "(score)", "kind": "Distribution", "effect": 0.12, "statistic": 9.3}],
        "loss": {"reference": 0.1, "now": 0.2},
        "action": "Retrain",
    }
    assert lines(narrator.monitoring, {}, {"verdicts": [verdict]}) == [
        "VERDICT Harm on 4000 rows, loss 0.1 -> 0.2",
        "  (score): Distribution differs by 12.0% (z = 9.3)",
        "  action: Retrain",
    ]
    assert lines(narrator.monitoring, {"verdicts": [verdict]}, {"verdicts": [verdict]}) == []
