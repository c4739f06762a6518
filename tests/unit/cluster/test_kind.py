"""kind's command line and configuration: what is honoured, and that the rest is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cluster import kind, kubeconfig, layout
from cluster.errors import ClusterError


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("", ["control-plane"]),
        ("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4", ["control-plane"]),
        ("nodes: [{role: worker}, {role: control-plane}, {role: worker}]", ["control-plane", "worker", "worker"]),
    ],
)
def test_nodes_come_with_the_control_plane_first(text: str, roles: list[str]) -> None:
    assert kind.parse_config(text)["roles"] == roles


def test_feature_gates_are_passed_on() -> None:
    assert kind.parse_config("featureGates: {A: true, B: false}")["gates"] == ["A=true", "B=false"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("networking: {ipFamily: dual}", "networking"),
        ("nodes: [{role: control-plane, extraPortMappings: []}]", r"nodes\[0\].extraPortMappings"),
        ("nodes: [{role: worker}]", "control-plane"),
        ("nodes: [{role: control-plane}, {role: control-plane}]", "control-plane"),
        ("nodes: [{role: control-plane}, {role: gateway}]", "role"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(ClusterError, match=named):
        kind.parse_config(text)


def test_more_nodes_than_addresses_are_refused() -> None:
    roles = ["control-plane", *["worker"] * layout.NODES]
    with pytest.raises(ClusterError, match=str(layout.NODES)):
        kind.parse_config(yaml.safe_dump({"nodes": [{"role": role} for role in roles]}))


def test_kubeconfig_entries_come_and_go_and_leave_the_others(tmp_path: Path) -> None:
    target = tmp_path / "config"
    for name in ("one", "two"):
        entry = {"name": name}
        addition = {"clusters": [entry], "users": [entry], "contexts": [entry], "current-context": name}
        kubeconfig.merge(target, addition)
        kubeconfig.merge(target, addition)
    config = yaml.safe_load(target.read_text())
    assert [entry["name"] for entry in config["clusters"]] == ["one", "two"]
    assert config["current-context"] == "two"
    assert target.stat().st_mode & 0o077 == 0
    kubeconfig.cut(target, "two")
    config = yaml.safe_load(target.read_text())
    assert [entry["name"] for entry in config["users"]] == ["one"]
    assert config["current-context"] == ""
    kubeconfig.cut(tmp_path / "absent", "two")
    assert not (tmp_path / "absent").exists()
