"""Addresses and names: no two clusters and no two nodes ever share one."""

from __future__ import annotations

import ipaddress
import itertools
from pathlib import Path

import pytest

from cluster import layout
from cluster.layout import CLUSTERS, NODES, Layout


def plan(index: int, nodes: int = 1) -> Layout:
    roles = ["control-plane", *["worker"] * (nodes - 1)]
    return Layout(f"c{index}", index, layout.node_names(f"c{index}", roles), "/bin")


def test_nodes_are_named_as_kind_names_them() -> None:
    names = layout.node_names("c", ["control-plane", "worker", "worker", "worker"])
    assert names == ("c-control-plane", "c-worker", "c-worker2", "c-worker3")


def test_clusters_never_overlap() -> None:
    for one, two in itertools.combinations((plan(index) for index in range(CLUSTERS)), 2):
        assert one.host_interface != two.host_interface
        assert one.cgroup != two.cgroup
        for network in ("node_network", "pod_network"):
            first, second = (ipaddress.IPv4Network(getattr(each, network)) for each in (one, two))
            assert not first.overlaps(second)


def test_every_address_lies_where_the_host_routes_it() -> None:
    allowed = ipaddress.IPv4Network("198.18.0.0/15")
    for index in range(CLUSTERS):
        each = plan(index, NODES)
        nodes = {ipaddress.IPv4Address(each.node_address(number)) for number in range(NODES)}
        assert len(nodes) == NODES
        assert nodes < set(ipaddress.IPv4Network(each.node_network).hosts())
        pods = [ipaddress.IPv4Network(each.pods_of(number)) for number in range(NODES)]
        assert len(set(pods)) == NODES
        assert all(network.subnet_of(ipaddress.IPv4Network(each.pod_network)) for network in pods)
        assert ipaddress.IPv4Network(each.pod_network).subnet_of(allowed)
        assert ipaddress.IPv4Address(each.bridge_address) not in nodes


def test_a_layout_survives_being_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    saved = Layout("c", 3, ("c-control-plane",), "/bin", ("A=true",))
    saved.state.mkdir(parents=True)
    saved.save()
    assert layout.load(saved.state) == saved
