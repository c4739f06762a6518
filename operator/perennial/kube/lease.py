"""Leadership by a `coordination.k8s.io` Lease: of several replicas one acts, and the others stand by.

A leader that cannot renew stops well before its lease runs out, so that two never act at once. Times are told by the
loop's own clock from when a change of the Lease was *seen*: clocks of different machines need not agree.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import UTC, datetime

from .client import Client
from .errors import AlreadyExists, ApiError, Conflict, Forbidden, NotFound
from .metrics import LEADER
from .plan import Manifest
from .resources import DEPLOYMENTS, LEASES

LEASE_SECONDS = 12
"""A leader that was killed is followed within this time and one retry: 14 s."""
RENEW_SECONDS = 8
RETRY_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Lease:
    """One Lease, and this process as one of those that want it. `identity` differs between any two processes.

    With the Deployment of these processes, if it is named, the Lease goes too: nobody else would delete it.
    """

    def __init__(
        self, client: Client, namespace: str, name: str, identity: str, *, deployment: str | None = None
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._deployment = deployment
        self._held: Manifest | None = None
        self._seen: tuple[str, float] = ("", 0.0)
        LEADER.labels(name).set(0)

    @property
    def is_held(self) -> bool:
        return self._held is not None

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while True:
            try:
                wait = await self._try()
            except ApiError as error:
                logger.warning("The lease %s cannot be had: %s", self._name, error)
                wait = RETRY_SECONDS
            if wait is None:
                LEADER.labels(self._name).set(1)
                logger.info("Leading as %s", self._identity)
                return
            # Never less than what is left: ever shorter waits would hammer the server as the lease runs out.
            await asyncio.sleep(wait * random.uniform(1.0, 1.1))

    async def hold(self) -> None:
        """Renew until the lease is lost: somebody else has it, or the API server was out of reach for too long."""
        loop = asyncio.get_running_loop()
        renewed_at = loop.time()
        while self._held is not None:
            await asyncio.sleep(RETRY_SECONDS)
            left = renewed_at + RENEW_SECONDS - loop.time()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    asked_at = loop.time()
                    await self._renew()
                    renewed_at = asked_at
            except (Conflict, NotFound) as error:
                logger.error("The lease %s is another's: %s", self._name, error)
                self._held = None
            except (ApiError, TimeoutError) as error:
                logger.warning("The lease %s was not renewed: %s", self._name, str(error) or "no answer in time")
                if loop.time() >= renewed_at + RENEW_SECONDS:
                    self._held = None
        LEADER.labels(self._name).set(0)

    async def release(self) -> None:
        """Give the lease up, so that nobody has to wait until it runs out."""
        if self._held is None:
            return
        held, self._held = self._held, None
        LEADER.labels(self._name).set(0)
        spec = held["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            await self._replace(held, spec)
        except ApiError as error:
            logger.warning("The lease %s was not released: %s", self._name, error)

    async def _try(self) -> float | None:
        """None when the lease is ours, else the seconds after which to try again."""
        try:
            current = await self._client.get(LEASES, self._namespace, self._name)
        except NotFound:
            return await self._create()
        spec = current.get("spec") or {}
        holder = spec.get("holderIdentity")
        if holder and holder != self._identity and (left := self._seconds_left(current)) > 0:
            return min(left, RETRY_SECONDS)
        changes = int(spec.get("leaseTransitions") or 0) + 1
        taken = {"metadata": current["metadata"] | await self._owner(), "spec": self._spec(changes, _now())}
        try:
            self._held = await self._client.replace(LEASES, current | taken)
        except Conflict:
            return RETRY_SECONDS
        return None

    async def _create(self) -> float | None:
        manifest = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self._namespace, "name": self._name} | await self._owner(),
            "spec": self._spec(0, _now()),
        }
        try:
            self._held = await self._client.create(LEASES, manifest)
        except AlreadyExists:
            return RETRY_SECONDS
        return None

    async def _owner(self) -> Manifest:
        """Who takes the Lease along. Raises NotFound where it is gone already: a Lease that was made now would stay."""
        if self._deployment is None:
            return {}
        try:
            owner = await self._client.get(DEPLOYMENTS, self._namespace, self._deployment)
        except Forbidden as error:
            logger.warning("The lease %s will outlive the Deployment: %s", self._name, error)
            return {}
        named = {"name": self._deployment, "uid": owner["metadata"]["uid"]}
        return {"ownerReferences": [{"apiVersion": DEPLOYMENTS.api_version, "kind": DEPLOYMENTS.kind, **named}]}

    def _seconds_left(self, current: Manifest) -> float:
        now = asyncio.get_running_loop().time()
        version = current["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, now)
        duration = (current.get("spec") or {}).get("leaseDurationSeconds") or LEASE_SECONDS
        return float(self._seen[1] + duration - now)

    async def _renew(self) -> None:
        assert self._held is not None
        spec = self._held["spec"]
        wanted = self._spec(int(spec.get("leaseTransitions") or 0), spec["acquireTime"])
        self._held = await self._replace(self._held, wanted)

    async def _replace(self, held: Manifest, spec: Manifest) -> Manifest:
        """The Lease as written. Raises ApiError, Conflict where it is another's."""
        try:
            return await self._client.replace(LEASES, held | {"spec": spec}, idempotent=False)
        except Conflict:
            # A renewal may have been taken without our hearing of it: its answer was lost, or the end came first.
            current = await self._client.get(LEASES, self._namespace, self._name)
            if (current.get("spec") or {}).get("holderIdentity") != self._identity:
                raise
            return await self._client.replace(LEASES, current | {"spec": spec}, idempotent=False)

    def _spec(self, changes: int, acquired: str) -> Manifest:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": acquired,
            "renewTime": _now(),
            "leaseTransitions": changes,
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
