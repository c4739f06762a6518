"""One reconcile: observe, plan, apply. The same for every kind, and the only place that writes.

The order of the writes is the contract: children, deletions, then the status, then events. Whatever the process dies
after, the next reconcile finds the rest undone and does it. So may a reconcile leave the rest to the next one: while
others wait, a status waits too, and tells then what became of the children meanwhile, in one write instead of two.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from .cache import Cache, Caches
from .children import Children
from .client import Client
from .controller import Controller
from .errors import NotFound
from .plan import Event, Key, Manifest, Plan
from .slim import slim

logger = logging.getLogger(__name__)


class Reconciler:
    """Brings one controller's objects to where its plans want them."""

    def __init__(
        self,
        controller: Controller[Any],
        client: Client,
        caches: Caches,
        children: Children,
        tell: Callable[[Manifest, Event], None],
        may_wait: Callable[[Key], bool] = lambda _: False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._controller = controller
        self._client = client
        self._cache: Cache = caches.of(controller.primary)
        self._children = children
        self._tell = tell
        self._may_wait = may_wait
        self._clock = clock
        self._owed: dict[Key, tuple[Event, ...]] = {}
        self._pruned: dict[Key, tuple[Manifest, Manifest | None]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until it wants to be done again. Raises ApiError and whatever the controller raises."""
        # Read before the controller observes: a status that was planned on newer facts is refused and planned again.
        owner = self._cache.get(key.namespace, key.name)
        observed = await self._controller.observe(key)
        if observed is None or owner is None:
            self._owed.pop(key, None)
            self._pruned.pop(key, None)
            return None
        now = self._clock()
        plan = self._controller.plan(observed, (), now)
        problems = await self._children.carry_out(plan.children, owner)
        if problems:
            plan = self._controller.plan(observed, problems, now)
        await self._children.delete(plan.deletions)
        # Not twice in a row: who has events all the time has a status all the same.
        if key not in self._owed and self._may_wait(key):
            self._owed[key] = plan.events
            return None
        if await self._write_status(key, owner, plan):
            # What is news to a plan is so once: the next one sees children that are there already.
            for event in dict.fromkeys((*self._owed.get(key, ()), *plan.events)):
                self._tell(owner, event)
        self._owed.pop(key, None)
        return plan.requeue_after

    async def _write_status(self, key: Key, owner: Manifest, plan: Plan) -> bool:
        """Whether the status was other than planned, and is now as planned."""
        if plan.status is None or plan.status == owner.get("status"):
            return False
        if self._pruned.get(key) == (plan.status, owner.get("status")):
            return False
        wanted = {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "metadata": {name: owner["metadata"][name] for name in ("namespace", "name", "uid", "resourceVersion")},
            "spec": owner.get("spec"),
            "status": plan.status,
        }
        try:
            answer = slim(await self._client.replace(self._controller.primary, wanted, "status"))
        except NotFound:
            self._cache.discard_uid(key.namespace, key.name, owner["metadata"]["uid"])
            return False
        self._remember_pruned(key, plan.status, answer.get("status"))
        self._cache.store(answer, own=True)
        return True

    def _remember_pruned(self, key: Key, wanted: Manifest, kept: Manifest | None) -> None:
        """A status that the schema changes would be written for ever: it is written once, and said."""
        if wanted == kept:
            self._pruned.pop(key, None)
            return
        self._pruned[key] = (wanted, kept)
        logger.error(
            "The CRD of %s drops or changes parts of a status: is it of this release?", self._controller.primary.plural
        )
