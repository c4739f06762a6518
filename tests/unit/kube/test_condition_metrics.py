"""Conditions as metrics: those that there are, and nothing of what is unknown or nonsense."""

from __future__ import annotations

from typing import Any

from perennial.kube.cache import Cache
from perennial.kube.condition_metrics import ConditionMetrics
from perennial.kube.resources import DEPLOYMENTS


def condition(kind: str, status: str, reason: str = "R") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": "m"}


def shown(*statuses: Any) -> dict[tuple[str, ...], float]:
    cache = Cache(DEPLOYMENTS)
    for number, status in enumerate(statuses):
        metadata = {"namespace": "team", "name": f"n{number}", "uid": f"u{number}", "resourceVersion": "1"}
        cache.store({"metadata": metadata, "status": status})
    (family,) = ConditionMetrics([cache]).collect()
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_what_is_known_is_shown() -> None:
    status = {"conditions": [condition("Ready", "False", "Failed"), condition("A", "True"), condition("B", "Unknown")]}
    assert shown(status) == {
        ("Deployment", "team", "n0", "Ready", "Failed"): 0.0,
        ("Deployment", "team", "n0", "A", "R"): 1.0,
    }


def test_nonsense_is_passed_over() -> None:
    assert shown(None, {}, "text", {"conditions": None}, {"conditions": ["x", {}, {"status": 1}]}) == {}
