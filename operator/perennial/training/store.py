"""Where a TrainingJob's versions go: its own output, the installation's store, or a claim in the namespace."""

from __future__ import annotations

from perennial.api.labels import MANAGED_BY
from perennial.api.trainingjob import TrainingJobSpec
from perennial.kube.plan import Child, Manifest, Mode
from perennial.kube.resources import PERSISTENTVOLUMECLAIMS
from perennial.settings import Settings
from perennial.wire.places import DEFAULT_CLAIM

from .origin import Store

_DEFAULT = f"pvc://{DEFAULT_CLAIM}"
_SHARED = "ReadWriteMany"


def store_of(spec: TrainingJobSpec, settings: Settings, namespace: str) -> Store:
    """The root of the store, with `{namespace}` filled in."""
    if spec.output:
        secret = spec.output.secret_ref.name if spec.output.secret_ref else None
        return Store(_filled(spec.output.uri, namespace), secret)
    if settings.store_uri:
        return Store(_filled(settings.store_uri, namespace), settings.store_secret)
    return Store(_DEFAULT)


def not_configured(spec: TrainingJobSpec, settings: Settings, schedulable_nodes: int) -> str | None:
    """Why there is no store that every node can reach, and what to set; None where there is one."""
    chosen = spec.output or settings.store_uri
    if chosen or settings.store_access_mode == _SHARED or schedulable_nodes <= 1:
        return None
    return (
        f"the default store is a volume of one node and the cluster has {schedulable_nodes}: set spec.output.uri, or "
        "for all TrainingJobs the chart's store.uri (s3://, gs:// or az://), or store.accessMode: ReadWriteMany where "
        "a storage class has that"
    )


def default_claim(store: Store, settings: Settings, namespace: str) -> Child | None:
    """The claim of the default store. It is nobody's child: versions outlive the TrainingJob that made them."""
    if store.uri != _DEFAULT:
        return None
    spec: Manifest = {
        "accessModes": [settings.store_access_mode],
        "resources": {"requests": {"storage": settings.store_size}},
    }
    if settings.storage_class:
        spec["storageClassName"] = settings.storage_class
    manifest: Manifest = {
        "apiVersion": PERSISTENTVOLUMECLAIMS.api_version,
        "kind": PERSISTENTVOLUMECLAIMS.kind,
        "metadata": {"name": DEFAULT_CLAIM, "namespace": namespace, "labels": dict(MANAGED_BY)},
        "spec": spec,
    }
    return Child(PERSISTENTVOLUMECLAIMS, manifest, Mode.ENSURE)


def _filled(uri: str, namespace: str) -> str:
    return uri.replace("{namespace}", namespace).rstrip("/")
