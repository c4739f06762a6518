"""A pod template from its containers and the user's `spec.pod`: the one place where users' settings meet ours."""

from __future__ import annotations

from collections.abc import Sequence

from perennial.kube.plan import Manifest
from perennial.wire.places import SCRATCH

from .mounts import Mount, unique
from .security import pod_security_context, restricted

_TAKEN_AS_IS = ("nodeSelector", "tolerations", "affinity", "imagePullSecrets")


def pod_template(
    *,
    labels: dict[str, str],
    containers: Sequence[Manifest],
    mounts: Sequence[Mount | None],
    pod: Manifest,
    init_containers: Sequence[Manifest] = (),
    annotations: dict[str, str] | None = None,
) -> Manifest:
    """The pod template of these containers under `pod` (the user's `spec.pod`, empty where there is none).

    Our labels win over the user's, since children are found by them. The service account's token is mounted only
    where the user named an account: what runs in a pod needs no Kubernetes by itself.
    """
    settings = {key: pod[key] for key in _TAKEN_AS_IS if pod.get(key)}
    account = pod.get("serviceAccountName")
    spec: Manifest = {
        "automountServiceAccountToken": bool(account),
        # Some variables for each Service of the namespace: with thousands of them no process could be started.
        "enableServiceLinks": False,
        **({"serviceAccountName": account} if account else {}),
        "securityContext": pod_security_context(pod.get("securityContext")),
        **settings,
        **({"initContainers": [restricted(c) for c in init_containers]} if init_containers else {}),
        "containers": [restricted(c) for c in containers],
        "volumes": [*(m.volume for m in unique(mounts)), *pod.get("volumes", [])],
    }
    merged_annotations = (pod.get("annotations") or {}) | (annotations or {})
    metadata: Manifest = {"labels": (pod.get("labels") or {}) | labels}
    if merged_annotations:
        metadata["annotations"] = merged_annotations
    return {"metadata": metadata, "spec": spec}


def container(
    *,
    name: str,
    image: str,
    command: Sequence[str],
    env: dict[str, str],
    mounts: Sequence[Mount | None],
    pod: Manifest,
    resources: Manifest | None = None,
    pull_policy: str | None = None,
) -> Manifest:
    """A container of the project's own image, with the environment and mounts that `pod` gives to every container."""
    given = [entry for entry in pod.get("env", []) if entry.get("name") not in env]
    theirs = pod.get("volumeMounts", [])
    # Who mounts something at /tmp gets it instead of our scratch space.
    ours = [m.volume_mount for m in unique(mounts) if m.path not in {mount["mountPath"] for mount in theirs}]
    made: Manifest = {
        "name": name,
        "image": image,
        "command": list(command),
        "env": [*given, *({"name": key, "value": value} for key, value in env.items())],
        "volumeMounts": [*ours, *theirs],
    }
    if resources:
        made["resources"] = resources
    if pull_policy:
        made["imagePullPolicy"] = pull_policy
    return made


def own_container(
    said: Manifest,
    *,
    env: dict[str, str],
    mounts: Sequence[Mount | None],
    pod: Manifest,
    resources: Manifest,
) -> Manifest:
    """A container of the user's own, `said` as in the spec, with what the operator gives it: `env`, mounts, and what
    `pod` gives to every container. What is said for it alone wins.

    Our variables come first, so that others may refer to them.
    """
    given = container(
        name=said["name"], image=said["image"], command=(), env={}, mounts=mounts, pod=pod, resources=resources
    )
    # An image that expects to run as root has a home that this user cannot write to.
    ours = {"HOME": SCRATCH} | env
    entries = [{"name": name, "value": value} for name, value in ours.items()] + given["env"] + said.get("env", [])
    last_wins = list({entry["name"]: entry for entry in entries}.values())
    theirs = said.get("volumeMounts", [])
    taken = {mount["mountPath"] for mount in theirs}
    mounted = [*(mount for mount in given["volumeMounts"] if mount["mountPath"] not in taken), *theirs]
    made = given | said | {"env": last_wins, "volumeMounts": mounted}
    return {key: value for key, value in made.items() if value != []}
