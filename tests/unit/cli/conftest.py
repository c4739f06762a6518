"""A namespace in memory that stands in for the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from perennial.cli.named import Named
from perennial.cli.problem import CannotDo
from perennial.kube.plan import Manifest, Resource


@dataclass
class Namespace:
    """Objects of the three kinds and ConfigMaps. `taken` is what the operator does whenever somebody looks."""

    namespace: str = "team-a"
    objects: dict[tuple[Resource, str], Manifest] = field(default_factory=dict)
    configmaps: dict[str, Manifest] = field(default_factory=dict)
    taken: Callable[[Manifest], None] = lambda manifest: None

    def put(self, resource: Resource, name: str = "flights", **parts: Any) -> Manifest:
        metadata = {"name": name, "namespace": self.namespace, "uid": f"uid-{name}", "generation": 1}
        manifest = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **parts}
        self.objects[resource, name] = manifest
        return manifest

    def get(self, what: Named) -> Manifest:
        if (what.resource, what.name) not in self.objects:
            raise CannotDo(f"{what} in namespace {self.namespace}: not found")
        manifest = self.objects[what.resource, what.name]
        self.taken(manifest)
        return manifest

    def all(self, resource: Resource) -> list[Manifest]:
        # The API server's lists have items without a kind.
        listed = [manifest for (kind, _), manifest in self.objects.items() if kind == resource]
        return [{key: value for key, value in manifest.items() if key != "kind"} for manifest in listed]

    def configmap(self, name: str) -> Manifest | None:
        return self.configmaps.get(name)

    def annotate(self, what: Named, annotations: Mapping[str, str]) -> Manifest:
        manifest = self.get(what)
        manifest["metadata"]["annotations"] = {**manifest["metadata"].get("annotations", {}), **annotations}
        return manifest


@pytest.fixture
def cluster() -> Namespace:
    return Namespace()
