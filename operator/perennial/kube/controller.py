"""What the engine asks of a kind: observe, plan, and which objects' events concern which key.

The engine knows no kind; each room hands it one `Controller` and the engine does the rest: queue, caches, writes,
retries, metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from .plan import Key, Manifest, Plan, Problem, Resource

ObservedT = TypeVar("ObservedT")


Duty = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Watch:
    """Objects of `resource` whose events enqueue the keys that `keys` names."""

    resource: Resource
    keys: Callable[[Manifest], Iterable[Key]]


class Controller(Protocol[ObservedT]):
    """One room. `observe` may read caches and measurements and never writes; `plan` is pure.

    `duties` are what is done for all objects together, besides, while this process leads; each runs until it is
    cancelled.
    """

    primary: Resource
    watches: Sequence[Watch]
    duties: Sequence[Duty]

    async def observe(self, key: Key) -> ObservedT | None:
        """Everything the decision needs, as one immutable record; None when the primary object is gone."""

    def plan(self, observed: ObservedT, problems: tuple[Problem, ...], now: datetime) -> Plan:
        """The whole desired state. Called again with `problems` when a write of the first plan was refused."""
