"""The container of ours that clients ask, whether it predicts by itself or stands in front of one that does."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perennial.kube.plan import Manifest
from perennial.pods.mounts import Mount, secret_mount, uri_mount
from perennial.pods.template import container
from perennial.serving.names import SERVER
from perennial.serving.revision import ModelRef
from perennial.settings import Settings
from perennial.wire import places
from perennial.wire.serve import Serve

COMMAND = ("python", "-m", "perennial.runtime.server")


def server_container(
    serve: Serve, mounts: Sequence[Mount | None], pod: Manifest, resources: Manifest, settings: Settings
) -> Manifest:
    """The container that has the ports of the Service."""
    server = container(
        name=SERVER,
        image=settings.runtime_image,
        command=COMMAND,
        env=settings.runtime_environment | told(serve),
        mounts=mounts,
        pod=pod,
        resources=resources,
        pull_policy=settings.image_pull_policy,
    )
    server["ports"] = [
        {"name": "http", "containerPort": places.INFERENCE_PORT, "protocol": "TCP"},
        {"name": "grpc", "containerPort": places.GRPC_PORT, "protocol": "TCP"},
        {"name": "control", "containerPort": places.CONTROL_PORT, "protocol": "TCP"},
    ]
    server["readinessProbe"] = probe(f"/v2/models/{serve.name}/ready", "http", period=2, timeout=2)
    server["livenessProbe"] = probe("/v2/health/live", "http", period=10, timeout=5)
    return server


def told(serve: Serve) -> dict[str, str]:
    """The environment that says what to serve."""
    return {places.SERVE_ENV: msgspec.json.encode(serve).decode()}


def store_mounts(model: ModelRef) -> tuple[Mount | None, Mount | None]:
    """What a container needs to read the model from its store."""
    return uri_mount(model.uri), secret_mount(model.secret, places.STORE_SECRET) if model.secret else None


def probe(path: str, port: str | int, *, period: int, timeout: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": 3,
    }
