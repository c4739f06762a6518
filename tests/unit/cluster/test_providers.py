"""Which provider serves, and what a person is told when none can."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import binaries, embedded, images, providers
from cluster.errors import ClusterError


def machine(monkeypatch: pytest.MonkeyPatch, docker: bool, problem: str | None) -> None:
    monkeypatch.delenv("CLUSTER", raising=False)
    monkeypatch.setattr(images, "docker_works", lambda: docker)
    monkeypatch.setattr(embedded, "problem", lambda: problem)


@pytest.mark.parametrize(("docker", "chosen"), [(True, "kind"), (False, "embedded")])
def test_kind_where_docker_works_and_embedded_elsewhere(
    monkeypatch: pytest.MonkeyPatch, docker: bool, chosen: str
) -> None:
    machine(monkeypatch, docker, None)
    assert providers.choose().name == chosen


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, docker=True, problem=None)
    monkeypatch.setenv("CLUSTER", "embedded")
    assert providers.choose().name == "embedded"
    monkeypatch.setenv("CLUSTER", "current")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="KUBECONFIG"):
        providers.choose()
    (tmp_path / "none").touch()
    assert providers.choose().name == "current"


def test_one_message_says_what_every_provider_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, docker=False, problem="root")
    with pytest.raises(ClusterError) as refusal:
        providers.choose()
    for part in ("kind needs Docker", "embedded needs root", "CLUSTER=current"):
        assert part in str(refusal.value)


def test_a_misspelt_choice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "minikube")
    with pytest.raises(ClusterError, match="minikube is none of current, kind, embedded"):
        providers.choose()


def test_a_binary_is_known_by_what_it_is_built_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pause").mkdir()
    source = tmp_path / "pause" / "main.go"
    source.write_text("package main")
    monkeypatch.setattr(binaries, "SOURCES", tmp_path)
    monkeypatch.setattr(binaries, "_go_version", lambda: "go1.25")
    first = binaries.digest("pause")
    assert binaries.digest("pause") == first
    source.write_text("package main // changed")
    changed = binaries.digest("pause")
    monkeypatch.setattr(binaries, "_go_version", lambda: "go1.26")
    assert len({first, changed, binaries.digest("pause")}) == 3
