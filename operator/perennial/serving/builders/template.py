"""The pod template of a revision: rendered once, kept in its ControllerRevision, and used as it is from then on.

Only the companion is told later, when a rollout begins, since a revision may be rolled out again against another stable
model; it is put into the server's configuration as it stands, whatever release of the operator wrote that.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from perennial.api.modeldeployment import ModelDeploymentSpec
from perennial.kube.plan import Manifest
from perennial.pods.mounts import empty_mount, scratch_mount, secret_mount, uri_mount
from perennial.pods.template import container, pod_template
from perennial.serving.names import SERVER, Identity
from perennial.serving.revision import ModelRef
from perennial.settings import Settings
from perennial.wire import places
from perennial.wire.serve import Serve, ServedModel

COMMAND = ("python", "-m", "perennial.runtime.server")
GRACE_SECONDS = 30
"""The server's own drain takes at most 22 s: it goes on accepting for 3 s while every node's proxy learns that the pod
ends, answers what is in flight and hands its last counts over."""


def server_template(
    spec: ModelDeploymentSpec, model: ModelRef, revision: str, identity: Identity, settings: Settings
) -> Manifest:
    """The pods that serve this model."""
    pod = spec.pod.to_manifest()
    mounts = [
        scratch_mount(),
        empty_mount("perennial-counts", places.COUNTS),
        uri_mount(model.uri),
        secret_mount(model.secret, places.STORE_SECRET) if model.secret else None,
    ]
    serve = Serve(name=identity.name, model=model.served)
    server = container(
        name=SERVER,
        image=settings.runtime_image,
        command=COMMAND,
        env=settings.runtime_environment | {places.SERVE_ENV: msgspec.json.encode(serve).decode()},
        mounts=mounts,
        pod=pod,
        resources=spec.resources.to_manifest(),
        pull_policy=settings.image_pull_policy,
    )
    server["ports"] = [
        {"name": "http", "containerPort": places.INFERENCE_PORT, "protocol": "TCP"},
        {"name": "grpc", "containerPort": places.GRPC_PORT, "protocol": "TCP"},
        {"name": "control", "containerPort": places.CONTROL_PORT, "protocol": "TCP"},
    ]
    server["readinessProbe"] = _probe(f"/v2/models/{identity.name}/ready", period=2, timeout=2)
    server["livenessProbe"] = _probe("/v2/health/live", period=10, timeout=5)
    template = pod_template(labels=identity.revision_labels(revision), containers=[server], mounts=mounts, pod=pod)
    template["spec"]["terminationGracePeriodSeconds"] = GRACE_SECONDS
    template["spec"]["enableServiceLinks"] = False
    return template


def with_companion(template: Manifest, companion: ServedModel | None) -> Manifest:
    """The template whose server also scores with `companion`."""
    if companion is None:
        return template
    told = copy.deepcopy(template)
    entry = _serve_entry(told)
    if entry is not None:
        serve: dict[str, Any] = msgspec.json.decode(entry["value"])
        serve["companion"] = msgspec.to_builtins(companion)
        entry["value"] = msgspec.json.encode(serve).decode()
    return told


def _serve_entry(template: Manifest) -> dict[str, Any] | None:
    entries = (
        entry
        for made in template["spec"]["containers"]
        if made["name"] == SERVER
        for entry in made["env"]
        if entry["name"] == places.SERVE_ENV
    )
    return next(entries, None)


def _probe(path: str, *, period: int, timeout: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": 3,
    }
