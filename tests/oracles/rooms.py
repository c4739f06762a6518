"""The three rooms as main.py puts them together, on a cluster in memory; and what people apply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.kube.controller import Controller
from perennial.kube.plan import Manifest, Resource
from perennial.monitoring.controller import MonitoringController
from perennial.serving.controller import ServingController
from perennial.settings import Settings
from perennial.training.controller import TrainingController

from .cluster import Cluster
from .installation import Installation

NAMESPACE = "team"
NODE: Manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "namespace": ""}, "spec": {}}


def rooms(installation: Installation) -> Mapping[str, Controller[Any]]:
    """All three controllers."""
    server, caches, settings = cluster_of(installation), installation.caches, Settings()

    def monotonic() -> float:
        return server.now.timestamp()

    pods: Any = server.ports  # it gets and posts, which is all that is asked of it
    monitoring = MonitoringController(caches, settings, pods, CollectorRegistry())
    monitoring._watcher._clock = monotonic
    return {
        "trainingjob": TrainingController(caches, settings, pods, monotonic),
        "modeldeployment": ServingController(caches, settings, pods, lambda: server.now, monotonic),
        "driftmonitor": monitoring,
    }


def cluster_of(installation: Installation) -> Cluster:
    assert isinstance(installation.server, Cluster)
    return installation.server


def trainingjob(**spec: Any) -> Manifest:
    """A TrainingJob `flights`, or its spec changed."""
    data = {"uri": "configmap://rows/rows.csv", "target": "late"}
    sklearn = {"estimator": "sklearn.linear_model.LogisticRegression"}
    return _applied(TRAININGJOBS, {"sklearn": sklearn, "data": data, "versionHistoryLimit": 10, **spec})


def modeldeployment(**spec: Any) -> Manifest:
    return _applied(MODELDEPLOYMENTS, {"model": {"trainingJob": "flights"}, **spec})


def driftmonitor(**spec: Any) -> Manifest:
    return _applied(DRIFTMONITORS, {"deployment": "flights", "baseline": {"from": "Training"}, **spec})


def annotated(resource: Resource, **verbs: str) -> Manifest:
    """The tokens of a person's verbs, to be put on the object."""
    annotations = {f"perennial.dev/{verb}": token for verb, token in verbs.items()}
    return {"metadata": {"namespace": NAMESPACE, "name": "flights", "annotations": annotations}}


def status_of(installation: Installation, resource: Resource) -> dict[str, Any]:
    status: dict[str, Any] = installation.server.objects[resource.plural, NAMESPACE, "flights"]["status"]
    return status


def says(installation: Installation, resource: Resource, kind: str) -> tuple[str, str] | None:
    """Status and reason of a condition."""
    conditions = status_of(installation, resource).get("conditions", [])
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), None)


def message(installation: Installation, resource: Resource, kind: str) -> str:
    conditions = status_of(installation, resource)["conditions"]
    return next(str(c["message"]) for c in conditions if c["type"] == kind)


def _applied(resource: Resource, spec: Manifest) -> Manifest:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"namespace": NAMESPACE, "name": "flights"},
        "spec": spec,
    }
