"""A container of the user's own, as far as they say it: all else about its pod is the operator's or `spec.pod`'s."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import MaxLen, MinLen

from .model import Keyed, Model
from .pods import EnvVar, VolumeMount, VolumeName

Argument = Annotated[str, MaxLen(8192)]


class OwnContainer(Model):
    """What trains or serves instead of what is built in."""

    name: VolumeName
    """Name of the container."""
    image: Annotated[str, MinLen(1), MaxLen(1024)]
    """The image; by digest, what runs can be repeated exactly."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled. Kubernetes' default depends on the tag."""
    command: Annotated[tuple[Argument, ...], MaxLen(64)] = ()
    """The entry point; by default the image's."""
    args: Annotated[tuple[Argument, ...], MaxLen(256)] = ()
    """Its arguments; by default the image's."""
    working_dir: Annotated[str, MaxLen(512)] | None = None
    """The working directory; by default the image's."""
    env: Annotated[tuple[EnvVar, ...], MaxLen(128), Keyed("name")] = ()
    """Environment variables of this container."""
    volume_mounts: Annotated[tuple[VolumeMount, ...], MaxLen(32), Keyed("mount_path")] = ()
    """Where this container sees volumes of `spec.pod.volumes`."""
    security_context: dict[str, Any] | None = None
    """The container's security context, as in Kubernetes, over the operator's own; checked by a dry run of the pod."""
