"""TYPE/NAME as kubectl takes it: `dm/flights`, `driftmonitor/flights`, `driftmonitors.perennial.dev/flights`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from perennial.api.resources import DRIFTMONITORS, GROUP, MODELDEPLOYMENTS, SHORT_NAMES, TRAININGJOBS
from perennial.kube.plan import Resource

from .problem import CannotDo

KINDS = (TRAININGJOBS, MODELDEPLOYMENTS, DRIFTMONITORS)


@dataclass(frozen=True, slots=True)
class Named:
    """A resource of ours by kind and name."""

    resource: Resource
    name: str

    def __str__(self) -> str:
        return f"{SHORT_NAMES[self.resource]}/{self.name}"


def named(text: str, kinds: Collection[Resource] = KINDS) -> Named:
    """What TYPE/NAME names. Raises CannotDo where it is no resource of one of these kinds."""
    kind, slash, name = text.partition("/")
    if not slash or not name:
        raise CannotDo(f"{text!r} is no resource: give its type and name, such as {_example(kinds)}")
    found = _BY_WORD.get(kind.lower().removesuffix(f".{GROUP}"))
    if found is None or found not in kinds:
        raise CannotDo(f"{text!r}: this is for {' and '.join(each.kind for each in kinds)}, such as {_example(kinds)}")
    return Named(found, name)


def _example(kinds: Collection[Resource]) -> str:
    return f"{SHORT_NAMES[next(iter(kinds))]}/flights"


_BY_WORD = {
    word: resource for resource in KINDS for word in (SHORT_NAMES[resource], resource.plural, resource.kind.lower())
}
