"""What components get to see of whoever starts the cluster."""

from __future__ import annotations

import pytest

from cluster.namespaces import environment


def test_components_see_of_the_callers_settings_how_often_go_collects_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOGC", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    alone = environment()
    assert "HTTPS_PROXY" not in alone
    monkeypatch.setenv("GOGC", "400")
    assert environment() == alone | {"GOGC": "400"}
