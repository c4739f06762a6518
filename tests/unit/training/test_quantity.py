"""Quantities and costs: requests times the seconds that pods ran."""

from __future__ import annotations

from typing import Any

import pytest

from perennial.training.cost import cost_of
from perennial.training.quantity import to_number


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("500m", 0.5),
        ("2", 2),
        (2, 2),
        ("0.1", 0.1),
        ("1Gi", 2**30),
        ("1.5Ki", 1536),
        ("1G", 1e9),
        ("1k", 1e3),
        ("1e3", 1e3),
        ("1E", 1e18),
        ("100u", 1e-4),
        ("", 0),
        ("what", 0),
    ],
)
def test_quantities(quantity: str | int, number: float) -> None:
    assert to_number(quantity) == pytest.approx(number)


def pod(*, requests: dict[str, str], init: dict[str, str] | None = None, seconds: int = 100) -> dict[str, Any]:
    ended = {"startedAt": "2026-03-01T12:00:00Z", "finishedAt": f"2026-03-01T12:{seconds // 60:02}:{seconds % 60:02}Z"}
    spec: dict[str, Any] = {"containers": [{"name": "c", "resources": {"requests": requests}}]}
    if init:
        spec["initContainers"] = [{"name": "i", "resources": {"requests": init}}]
    return {"spec": spec, "status": {"containerStatuses": [{"name": "c", "state": {"terminated": ended}}]}}


def test_every_attempt_costs() -> None:
    cost = cost_of([pod(requests={"cpu": "500m", "memory": "2Gi"}), pod(requests={"cpu": "500m", "memory": "2Gi"})])
    assert cost is not None
    assert (cost.cpu_seconds, cost.memory_gib_seconds) == (100, 400)


def test_an_init_container_that_asks_for_more_counts_alone() -> None:
    cost = cost_of([pod(requests={"cpu": "1"}, init={"cpu": "4"})])
    assert cost is not None
    assert cost.cpu_seconds == 400


def test_nothing_requested_or_nothing_run_is_no_cost() -> None:
    assert cost_of([pod(requests={})]) is None
    assert cost_of([]) is None
    assert cost_of([{"spec": {"containers": [{"name": "c"}]}, "status": {}}]) is None
