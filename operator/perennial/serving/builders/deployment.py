"""The Deployment of one revision. Only its number of replicas ever changes: the template is the revision's own."""

from __future__ import annotations

import msgspec

from perennial.api.labels import REVISION
from perennial.kube.plan import Child
from perennial.kube.resources import DEPLOYMENTS
from perennial.serving.names import Identity
from perennial.serving.revision import MODEL, Revision

from .template import with_companion

MIN_READY_SECONDS = 2
"""How long a pod must have been ready to be counted on: its endpoint has reached every node's proxy by then."""


def deployment(revision: Revision, replicas: int, identity: Identity) -> Child:
    """The revision's pods, `replicas` of them. The annotation keeps what a lost ControllerRevision would be made of."""
    companion = revision.record.companion
    said = {"digest": revision.digest, "model": msgspec.to_builtins(revision.model)}
    manifest = identity.child(
        DEPLOYMENTS,
        identity.of_revision(revision.name),
        labels=identity.revision_labels(revision.name),
        annotations={MODEL: msgspec.json.encode(said).decode()},
        spec={
            "replicas": replicas,
            "minReadySeconds": MIN_READY_SECONDS,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": identity.selector | {REVISION: revision.name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": with_companion(revision.template, companion.served if companion else None),
        },
    )
    return Child(DEPLOYMENTS, manifest)
