"""Names, labels and ports of what a ModelDeployment owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from perennial.api.labels import MANAGED_BY, MODELDEPLOYMENT, REVISION, ROLE
from perennial.kube.ownership import owner_reference
from perennial.kube.plan import Manifest, Resource
from perennial.wire import places

SERVER = "server"
FETCH = "fetch"

Verb: TypeAlias = Literal["release", "abort", "promote"]

VERBS: dict[Verb, str] = {
    "release": "perennial.dev/release",
    "abort": "perennial.dev/abort",
    "promote": "perennial.dev/promote",
}
"""What a person asks for by an annotation, in the order in which it is taken."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which ModelDeployment. `owner` is the object, for the owner reference of its children."""

    namespace: str
    name: str
    uid: str
    owner: Manifest

    def of_revision(self, revision: str) -> str:
        """The name of a revision's ControllerRevision and of its Deployment."""
        return f"{self.name}-{revision}"

    @property
    def labels(self) -> dict[str, str]:
        return MANAGED_BY | {ROLE: SERVER, MODELDEPLOYMENT: self.name}

    @property
    def selector(self) -> dict[str, str]:
        """Of all pods that serve, whatever their revision."""
        return {ROLE: SERVER, MODELDEPLOYMENT: self.name}

    @property
    def selector_text(self) -> str:
        return ",".join(f"{key}={value}" for key, value in self.selector.items())

    @property
    def url(self) -> str:
        return f"http://{self.name}.{self.namespace}.svc:{places.INFERENCE_PORT}"

    def revision_labels(self, revision: str) -> dict[str, str]:
        return self.labels | {REVISION: revision}

    def child(
        self,
        resource: Resource,
        name: str,
        *,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        **content: object,
    ) -> Manifest:
        """A child of this resource with everything but its content filled in."""
        metadata: Manifest = {
            "name": name,
            "namespace": self.namespace,
            "labels": labels or self.labels,
            "ownerReferences": [owner_reference(self.owner)],
        }
        if annotations:
            metadata["annotations"] = annotations
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **content}
