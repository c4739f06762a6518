"""Objects for tests of the engine."""

from __future__ import annotations

from perennial.kube.plan import Manifest
from perennial.kube.resources import CONFIGMAPS


def configmap(
    name: str, version: int = 1, *, uid: str | None = None, namespace: str = "ns", owner: str | None = None, **data: str
) -> Manifest:
    manifest: Manifest = {
        "apiVersion": CONFIGMAPS.api_version,
        "kind": CONFIGMAPS.kind,
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
        },
        "data": data,
    }
    if owner:
        reference = {"apiVersion": "v1", "kind": "Owner", "name": "o", "uid": owner, "controller": True}
        manifest["metadata"]["ownerReferences"] = [reference]
    return manifest
