"""Argo CD's health script, run as Argo CD runs it: Lua with the object as the global `obj`."""

from pathlib import Path
from typing import Any

import lupa.lua51
import pytest

SCRIPT = (Path(__file__).parents[3] / "docs" / "argocd" / "health.lua").read_text()


def condition(kind: str, status: str) -> dict[str, str]:
    return {"type": kind, "status": status, "message": f"{kind} is {status}"}


def health(status: dict[str, Any] | None, **spec: Any) -> tuple[str, str]:
    lua = lupa.lua51.LuaRuntime()
    lua.globals().obj = lua.table_from({"metadata": {"generation": 2}, "spec": spec, "status": status}, recursive=True)
    result = lua.execute(SCRIPT)
    return result.status, result.message


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([condition("Ready", "True")], ("Healthy", "Ready is True")),
        ([condition("Ready", "True"), condition("Training", "True")], ("Healthy", "Ready is True")),
        ([condition("Ready", "False"), condition("Stalled", "True")], ("Degraded", "Stalled is True")),
        ([condition("Ready", "False"), condition("Reconciling", "True")], ("Progressing", "Reconciling is True")),
        ([condition("Ready", "Unknown")], ("Progressing", "Ready is Unknown")),
    ],
)
def test_health_by_conditions(conditions: list[dict[str, str]], expected: tuple[str, str]) -> None:
    assert health({"observedGeneration": 2, "conditions": conditions}) == expected


@pytest.mark.parametrize("status", [None, {"observedGeneration": -1}, {"observedGeneration": 1, "conditions": []}])
def test_what_was_not_seen_yet_is_progressing(status: dict[str, Any] | None) -> None:
    assert health(status)[0] == "Progressing"


def test_suspended_is_suspended() -> None:
    assert health(None, suspend=True)[0] == "Suspended"
