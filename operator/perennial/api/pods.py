"""What both kinds that make pods let their users say about these pods.

Types of Kubernetes' own that are large and change with its releases (affinity, volume sources, security contexts)
are kept as they are: the API server itself checks them, when the controller makes a dry run of the pod, and its
words are shown in the status.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from annotated_types import MaxLen
from pydantic import WithJsonSchema

from .labels import MANAGED_BY, ROLE
from .model import Keyed, Matches, Model, OpenModel, Rule, Satisfies
from .names import ObjectName

Quantity = Annotated[
    str | int,
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}),
]
Quantities = Annotated[dict[str, Quantity], MaxLen(16)]


class Resources(Model):
    """Compute resources of a container, as in Kubernetes."""

    requests: Quantities | None = None
    """What is set aside for the container: `{cpu: "1", memory: 1Gi}`."""
    limits: Quantities | None = None
    """What the container may use at most; a container above its memory limit is killed (OOMKilled)."""


class Toleration(Model):
    """Lets the pod onto nodes with a matching taint, as in Kubernetes."""

    key: Annotated[str, MaxLen(253)] | None = None
    """The taint's key; with operator Exists, none matches all."""
    operator: Literal["Equal", "Exists"] | None = None
    """How the value is compared. Kubernetes' default is Equal."""
    value: Annotated[str, MaxLen(253)] | None = None
    """The taint's value, with operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; none matches all."""
    toleration_seconds: int | None = None
    """With NoExecute: how long the pod stays after the taint appears."""


class PullSecret(Model):
    """A Secret with registry credentials."""

    name: ObjectName
    """Name of the Secret, in the same namespace."""


EnvName = Annotated[
    str,
    Matches(
        r"[-._a-zA-Z][-._a-zA-Z0-9]*",
        "must be the name of an environment variable: letters, digits, '_', '-' and '.'",
        128,
    ),
]


class EnvVar(Model):
    """An environment variable of a container."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.name.startsWith('PERENNIAL_')",
            "names that begin with PERENNIAL_ are set by the operator: choose another",
            lambda env: not env.name.startswith("PERENNIAL_"),
        ),
        Rule(
            "!(has(self.value) && has(self.valueFrom))",
            "takes value or valueFrom, not both",
            lambda env: env.value is None or env.value_from is None,
        ),
    )

    name: EnvName
    """Name of the variable."""
    value: Annotated[str, MaxLen(32768)] | None = None
    """Its value."""
    value_from: dict[str, Any] | None = None
    """Where its value comes from: secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef, as in Kubernetes;
    checked by a dry run of the pod."""


VolumeName = Annotated[
    str,
    Matches(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", "must be the name of a volume: lower-case letters, digits and '-'", 63),
]


class Volume(OpenModel):
    """A volume of the pod: a name and one source, as in Kubernetes; the source is checked by a dry run of the pod."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.name.startsWith('perennial-')",
            "names that begin with perennial- are the operator's: choose another",
            lambda volume: not volume.name.startswith("perennial-"),
        ),
    )

    name: VolumeName
    """Name of the volume, for `volumeMounts`."""


class VolumeMount(Model):
    """Where a container sees a volume."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(self.mountPath + '/').startsWith('/perennial/')",
            "/perennial is where the operator mounts data, model and output: choose another path",
            lambda mount: not f"{mount.mount_path}/".startswith("/perennial/"),
        ),
    )

    name: VolumeName
    """Name of the volume, of `pod.volumes`."""
    mount_path: Annotated[str, Matches(r"/[^:]*", "must be an absolute path without ':'", 512)]
    """Absolute path in the container."""
    sub_path: Annotated[str, MaxLen(512)] | None = None
    """A path within the volume instead of its root."""
    read_only: bool | None = None
    """Whether the container may only read."""


_OWN_KEYS = (*MANAGED_BY, ROLE)
_LEAVES_OWN_KEYS = Rule(
    f"!self.exists(k, k.startsWith('perennial.dev/') || k in {list(_OWN_KEYS)})",
    f"keys perennial.dev/…, {' and '.join(_OWN_KEYS)} are the operator's: choose others",
    lambda keys: not any(key.startswith("perennial.dev/") or key in _OWN_KEYS for key in keys),
)
Metadata = Annotated[dict[str, Annotated[str, MaxLen(4096)]], MaxLen(64), Satisfies(_LEAVES_OWN_KEYS)]


class PodOptions(Model):
    """How the pods are made. Everything here is about the pod, nothing about the model."""

    service_account_name: ObjectName | None = None
    """The pod's ServiceAccount; workload identity (IRSA, GKE, Azure) works through it. Its token is mounted only
    when this is set."""
    node_selector: Annotated[dict[str, Annotated[str, MaxLen(63)]], MaxLen(32)] | None = None
    """Labels that a node must carry."""
    tolerations: Annotated[tuple[Toleration, ...], MaxLen(32)] = ()
    """Taints that the pod tolerates."""
    affinity: dict[str, Any] | None = None
    """Node and pod affinity, as in Kubernetes; checked by a dry run of the pod."""
    image_pull_secrets: Annotated[tuple[PullSecret, ...], MaxLen(16), Keyed("name")] = ()
    """Registry credentials."""
    env: Annotated[tuple[EnvVar, ...], MaxLen(64), Keyed("name")] = ()
    """Environment variables of every container of the pod, such as a proxy."""
    volumes: Annotated[tuple[Volume, ...], MaxLen(32), Keyed("name")] = ()
    """Volumes of the pod, such as a bundle of certificates."""
    volume_mounts: Annotated[tuple[VolumeMount, ...], MaxLen(32), Keyed("mount_path")] = ()
    """Where every container of the pod sees these volumes."""
    security_context: dict[str, Any] | None = None
    """The pod's security context, as in Kubernetes, over the operator's own, which satisfies the restricted Pod
    Security Standard; checked by a dry run of the pod."""
    labels: Metadata | None = None
    """More labels of the pod."""
    annotations: Metadata | None = None
    """More annotations of the pod."""
