"""The pod template of a revision: rendered once, kept in its ControllerRevision, and used as it is from then on.

Only the companion is told later, when a rollout begins, since a revision may be rolled out again against another stable
model; it is put into the server's configuration as it stands, whatever release of the operator wrote that.
"""

from __future__ import annotations

import msgspec

from perennial.api.modeldeployment import ModelDeploymentSpec
from perennial.kube.plan import Manifest
from perennial.pods.mounts import empty_mount, scratch_mount
from perennial.pods.template import pod_template
from perennial.serving.names import SERVER, Identity
from perennial.serving.revision import ModelRef
from perennial.settings import Settings
from perennial.wire import places
from perennial.wire.serve import Serve, ServedModel

from .own_template import own_server_template
from .server_container import server_container, store_mounts

GRACE_SECONDS = 30
"""The server's own drain takes at most 26 s: it goes on accepting for 3 s while every node's proxy learns that the pod
ends, answers what is in flight and hands its last counts over."""


def server_template(
    spec: ModelDeploymentSpec, model: ModelRef, revision: str, identity: Identity, settings: Settings
) -> Manifest:
    """The pods that serve this model."""
    if spec.template:
        return own_server_template(spec, spec.template, model, revision, identity, settings)
    pod = spec.pod.to_manifest()
    mounts = [scratch_mount(), empty_mount("perennial-counts", places.COUNTS), *store_mounts(model)]
    serve = Serve(name=identity.name, model=model.served)
    server = server_container(serve, mounts, pod, spec.resources.to_manifest(), settings)
    template = pod_template(labels=identity.revision_labels(revision), containers=[server], mounts=mounts, pod=pod)
    template["spec"]["terminationGracePeriodSeconds"] = GRACE_SECONDS
    return template


def with_companion(template: Manifest, companion: ServedModel | None) -> Manifest:
    """The template whose server also scores with `companion`. It shares what is the same with `template`."""
    if companion is None:
        return template
    spec = template["spec"]
    containers = [_told(made, companion) if made["name"] == SERVER else made for made in spec["containers"]]
    return {**template, "spec": {**spec, "containers": containers}}


def _told(server: Manifest, companion: ServedModel) -> Manifest:
    env = [_compared(entry, companion) if entry["name"] == places.SERVE_ENV else entry for entry in server["env"]]
    return {**server, "env": env}


def _compared(entry: Manifest, companion: ServedModel) -> Manifest:
    serve = msgspec.json.decode(entry["value"]) | {"companion": msgspec.to_builtins(companion)}
    return {**entry, "value": msgspec.json.encode(serve).decode()}
