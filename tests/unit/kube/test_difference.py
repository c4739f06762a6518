"""What counts as a difference between a live object and what was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from perennial.kube.difference import difference, digest


def deployment(**container: Any) -> dict[str, Any]:
    return {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"name": "server", **container}]}}}}


SAME = {
    "the same": ({"a": 1}, {"a": 1}),
    "a default of the server's": ({"spec": {"replicas": 1, "paused": False}}, {"spec": {"replicas": 1}}),
    "an empty map that the server drops": ({"spec": {}}, {"spec": {"selector": {}}}),
    "nothing that the server keeps as empty": ({"spec": {"volumes": []}}, {"spec": {"volumes": None}}),
    "another way to write a quantity": (
        deployment(resources={"requests": {"cpu": "1", "memory": "1Gi"}}),
        deployment(resources={"requests": {"cpu": "1000m", "memory": "1024Mi"}}),
    ),
    "a sidecar that a webhook put in": (
        {"spec": {"containers": [{"name": "proxy"}, {"name": "server", "image": "a"}]}},
        {"spec": {"containers": [{"name": "server", "image": "a"}]}},
    ),
    "a variable that somebody added": (
        deployment(env=[{"name": "A", "value": "1"}, {"name": "EXTRA", "value": "2"}]),
        deployment(env=[{"name": "A", "value": "1"}]),
    ),
    "a label of somebody else's": (
        {"metadata": {"labels": {"a": "1", "b": "2"}}},
        {"metadata": {"labels": {"a": "1"}}},
    ),
}

OTHER = {
    "a label that somebody added to a selector": (
        {"kind": "Service", "spec": {"selector": {"a": "1", "b": "2"}}},
        {"kind": "Service", "spec": {"selector": {"a": "1"}}},
        "spec.selector",
    ),
    "a label that somebody added to the pods that a policy is for": (
        {"kind": "NetworkPolicy", "spec": {"podSelector": {"matchLabels": {"a": "1", "b": "2"}}}},
        {"kind": "NetworkPolicy", "spec": {"podSelector": {"matchLabels": {"a": "1"}}}},
        "spec.podSelector",
    ),
    "a value": ({"spec": {"replicas": 2}}, {"spec": {"replicas": 3}}, "spec.replicas"),
    "a missing field": ({"spec": {}}, {"spec": {"replicas": 3}}, "spec.replicas"),
    "a missing part": ({}, {"spec": {"replicas": 3}}, "spec"),
    "an argument": (
        deployment(args=["a", "b"]),
        deployment(args=["a"]),
        "spec.template.spec.containers[0]",
    ),
    "the value of a variable that looks like a quantity": (
        deployment(env=[{"name": "A", "value": "1"}]),
        deployment(env=[{"name": "A", "value": "1000m"}]),
        "spec.template.spec.containers[0]",
    ),
    "a toleration that somebody added": (
        {"spec": {"tolerations": [{"key": "a"}, {"key": "b"}]}},
        {"spec": {"tolerations": [{"key": "a"}]}},
        "spec.tolerations",
    ),
    "a port that somebody opened": (
        {"kind": "NetworkPolicy", "spec": {"ingress": [{"ports": [{"port": 1}, {"port": 2}]}]}},
        {"kind": "NetworkPolicy", "spec": {"ingress": [{"ports": [{"port": 1}]}]}},
        "spec.ingress[0].ports",
    ),
    "a peer that somebody let in": (
        {"kind": "NetworkPolicy", "spec": {"ingress": [{"from": [{"podSelector": {}}, {"podSelector": {}}]}]}},
        {"kind": "NetworkPolicy", "spec": {"ingress": [{"from": [{"podSelector": {}}]}]}},
        "spec.ingress[0].from",
    ),
    "the order of containers": (
        {"spec": {"containers": [{"name": "b"}, {"name": "a"}]}},
        {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}},
        "spec.containers[1]",
    ),
    "a scalar instead of a map": ({"spec": 3}, {"spec": {"a": 1}}, "spec"),
    "a map instead of a list": ({"spec": {"a": {}}}, {"spec": {"a": [1]}}, "spec.a"),
}


@pytest.mark.parametrize(("live", "asked"), SAME.values(), ids=SAME)
def test_no_difference_is(live: dict[str, Any], asked: dict[str, Any]) -> None:
    assert difference(live, asked) is None


@pytest.mark.parametrize(("live", "asked", "path"), OTHER.values(), ids=OTHER)
def test_a_difference_is(live: dict[str, Any], asked: dict[str, Any], path: str) -> None:
    found = difference({"kind": asked.get("kind"), **live}, asked)
    assert found is not None
    assert found.startswith(path)


def test_the_digest_is_of_the_content() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a": 1}) != digest({"a": 1, "b": 2})
