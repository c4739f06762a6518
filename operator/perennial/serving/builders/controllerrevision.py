"""The ControllerRevision of a revision: its template as rendered, and the record of what became of it."""

from __future__ import annotations

from perennial.kube.plan import Child
from perennial.kube.resources import CONTROLLERREVISIONS
from perennial.serving.names import Identity
from perennial.serving.revision import RECORD, Revision, to_annotation, to_data


def controller_revision(revision: Revision, identity: Identity) -> Child:
    """Data is immutable for the API server; the record is an annotation."""
    manifest = identity.child(
        CONTROLLERREVISIONS,
        identity.of_revision(revision.name),
        labels=identity.revision_labels(revision.name),
        annotations={RECORD: to_annotation(revision.record)},
        revision=revision.number,
        data=to_data(revision),
    )
    return Child(CONTROLLERREVISIONS, manifest)
