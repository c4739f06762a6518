"""The pod of a server of the user's own: the version is fetched and checked, their container serves it, ours stands in
front.

Theirs is what Kubernetes calls a sidecar, and ours the main container, since that is the order in which a pod begins
and ends: their server is told to end only when ours has answered everything and is gone.
"""

from __future__ import annotations

from perennial.api.modeldeployment import ModelDeploymentSpec, ServeTemplate
from perennial.kube.plan import Manifest
from perennial.pods.mounts import Mount, empty_mount, scratch_mount
from perennial.pods.template import container, own_container, pod_template
from perennial.serving.names import FETCH, Identity
from perennial.serving.revision import ModelRef
from perennial.settings import Settings
from perennial.wire import places
from perennial.wire.serve import Serve

from .server_container import probe, server_container, store_mounts, told

FETCH_COMMAND = ("python", "-m", "perennial.runtime.fetch")
SIDECAR_RESOURCES: Manifest = {"requests": {"cpu": "100m", "memory": "256Mi"}}
GRACE_SECONDS = 60
"""Our server's drain takes at most 46 s, since it waits for answers of theirs that take 30 s; the rest is theirs."""
_VOLUME = "perennial-model"


def own_server_template(
    spec: ModelDeploymentSpec,
    template: ServeTemplate,
    model: ModelRef,
    revision: str,
    identity: Identity,
    settings: Settings,
) -> Manifest:
    """The pods in which the user's container serves this model."""
    pod = spec.pod.to_manifest()
    serve = Serve(name=identity.name, model=model.served, own_port=template.port)
    fetching = [scratch_mount(), *store_mounts(model), empty_mount(_VOLUME, places.MODEL)]
    counting = [scratch_mount(), empty_mount("perennial-counts", places.COUNTS), *store_mounts(model)]
    made = pod_template(
        labels=identity.revision_labels(revision),
        init_containers=[_fetch(serve, fetching, pod, settings), _own(spec, template, model, identity, pod)],
        containers=[server_container(serve, counting, pod, SIDECAR_RESOURCES, settings)],
        mounts=[*fetching, *counting],
        pod=pod,
    )
    made["spec"]["terminationGracePeriodSeconds"] = GRACE_SECONDS
    return made


def _fetch(serve: Serve, mounts: list[Mount | None], pod: Manifest, settings: Settings) -> Manifest:
    return container(
        name=FETCH,
        image=settings.runtime_image,
        command=FETCH_COMMAND,
        env=told(serve),
        mounts=mounts,
        pod=pod,
        resources=SIDECAR_RESOURCES,
        pull_policy=settings.image_pull_policy,
    )


def _own(
    spec: ModelDeploymentSpec, template: ServeTemplate, model: ModelRef, identity: Identity, pod: Manifest
) -> Manifest:
    own = template.spec.containers[0]
    env = {
        places.MODEL_ENV: places.MODEL,
        places.MODEL_NAME_ENV: identity.name,
        places.MODEL_VERSION_ENV: str(model.version or ""),
        places.PORT_ENV: str(template.port),
    }
    mounts = [scratch_mount(), Mount(_VOLUME, places.MODEL, {"emptyDir": {}})]
    said = {"name": own.name} | own.to_manifest()
    return own_container(said, env=env, mounts=mounts, pod=pod, resources=spec.resources.to_manifest()) | {
        "restartPolicy": "Always",
        "ports": [{"containerPort": template.port, "protocol": "TCP"}],
        "readinessProbe": probe(f"/v2/models/{identity.name}/ready", template.port, period=2, timeout=2),
    }
