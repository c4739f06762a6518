"""Objects as the caches keep them: without what no decision reads, which is about a third of their size."""

from __future__ import annotations

from .client import FIELD_MANAGER
from .plan import Manifest

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_CREATED_BY_US = [{"manager": FIELD_MANAGER, "operation": "Update"}]
"""Shared by all objects that were POSTed and never applied: of managedFields no more than this is of interest."""
_CONTAINER = ("name", "image", "resources")


def slim(manifest: Manifest) -> Manifest:
    """A copy without managed fields, kubectl's copy of the manifest, a node's list of images, and what a pod's
    containers run: that stands in the template that the pod was made from."""
    metadata = dict(manifest["metadata"])
    if was_created_by_us(metadata.pop("managedFields", None) or ()):
        metadata["managedFields"] = _CREATED_BY_US
    if _LAST_APPLIED in (metadata.get("annotations") or ()):
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != _LAST_APPLIED}
    copy = {**manifest, "metadata": metadata}
    if manifest.get("kind") == "Node" and "status" in manifest:
        copy["status"] = {k: v for k, v in manifest["status"].items() if k != "images"}
    if manifest.get("kind") == "Pod" and "spec" in manifest:
        copy["spec"] = _slim_pod(manifest["spec"])
    return copy


def _slim_pod(spec: Manifest) -> Manifest:
    kept = {key: value for key, value in spec.items() if key not in ("affinity", "tolerations")}
    for kind in ("containers", "initContainers"):
        if kind in kept:
            kept[kind] = [{k: c[k] for k in _CONTAINER if k in c} for c in kept[kind]]
    return kept


def was_created_by_us(managed_fields: object) -> bool:
    """Whether fields are ours by a POST: what was not applied cannot be taken back by applying without it."""
    return isinstance(managed_fields, list) and any(
        entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Update" and not entry.get("subresource")
        for entry in managed_fields
    )
