"""Leadership, in virtual time: one acts, never two, and soon after it is gone another does."""

from __future__ import annotations

import asyncio

import pytest

from perennial.kube.client import Client
from perennial.kube.errors import ApiError, from_status
from perennial.kube.lease import LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS, Lease
from perennial.kube.plan import Manifest, Resource
from perennial.kube.resources import LEASES
from tests.oracles.apiserver import ApiServer, Write

pytestmark = pytest.mark.looptime

FAILURE = from_status({"code": 503, "reason": "ServiceUnavailable", "message": "not now"})


def lease(server: Client, identity: str) -> Lease:
    return Lease(server, "system", "perennial", identity)


async def lead(server: Client, identity: str, log: list[tuple[str, str, float]]) -> None:
    """Acquire, hold, note both."""
    one = lease(server, identity)
    loop = asyncio.get_running_loop()
    await one.acquire()
    log.append((identity, "leads", loop.time()))
    await one.hold()
    log.append((identity, "ends", loop.time()))


async def test_the_first_leads_and_the_second_waits() -> None:
    server, log = ApiServer(), list[tuple[str, str, float]]()
    tasks = [asyncio.create_task(lead(server, identity, log)) for identity in "ab"]
    await asyncio.sleep(600)
    assert [entry[:2] for entry in log] == [("a", "leads")]
    for task in tasks:
        task.cancel()


async def test_a_leader_that_was_killed_is_followed_within_15_seconds() -> None:
    server, log = ApiServer(), list[tuple[str, str, float]]()
    leader = asyncio.create_task(lead(server, "a", log))
    await asyncio.sleep(0.1)
    standby = asyncio.create_task(lead(server, "b", log))
    await asyncio.sleep(60)
    leader.cancel()
    killed = asyncio.get_running_loop().time()
    await asyncio.sleep(30)
    standby.cancel()
    assert log[-1][:2] == ("b", "leads")
    assert RETRY_SECONDS < log[-1][2] - killed <= 15


async def test_a_released_lease_is_taken_at_once() -> None:
    server, log = ApiServer(), list[tuple[str, str, float]]()
    first = lease(server, "a")
    await first.acquire()
    standby = asyncio.create_task(lead(server, "b", log))
    await asyncio.sleep(20)
    released = asyncio.get_running_loop().time()
    await first.release()
    await asyncio.sleep(10)
    standby.cancel()
    assert log[0][2] - released <= RETRY_SECONDS + 0.1


@pytest.mark.parametrize(("holder", "left"), [("a", ""), ("b", "b")])
async def test_a_lease_is_released_after_a_renewal_that_the_end_cut_off(holder: str, left: str) -> None:
    """The server took the renewal; its answer was not waited for. What is another's meanwhile is left alone."""
    server = ApiServer()
    first = lease(server, "a")
    await first.acquire()
    own = server.objects["leases", "system", "perennial"]
    server.put("leases", {**own, "spec": {**own["spec"], "holderIdentity": holder, "renewTime": "later"}})
    await first.release()
    assert server.objects["leases", "system", "perennial"]["spec"]["holderIdentity"] == left


async def test_who_cannot_renew_stops_before_another_may_lead() -> None:
    """a is cut off from the API server; b is not."""
    server, log = ApiServer(), list[tuple[str, str, float]]()
    leader = asyncio.create_task(lead(server, "a", log))
    await asyncio.sleep(0.1)
    standby = asyncio.create_task(lead(server, "b", log))
    await asyncio.sleep(60)

    def cut_off(write: Write) -> ApiError | None:
        holder = server.objects["leases", "system", "perennial"]["spec"]["holderIdentity"]
        return FAILURE if holder == "a" and not leader.done() else None

    server.refuse = cut_off
    await asyncio.sleep(40)
    standby.cancel()
    ended = next(at for who, what, at in log if (who, what) == ("a", "ends"))
    followed = next(at for who, what, at in log if (who, what) == ("b", "leads"))
    assert ended < followed
    assert RENEW_SECONDS < LEASE_SECONDS


async def test_a_short_outage_is_no_reason_to_stop() -> None:
    server, log = ApiServer(), list[tuple[str, str, float]]()
    leader = asyncio.create_task(lead(server, "a", log))
    await asyncio.sleep(60)
    server.refuse = lambda _: FAILURE
    await asyncio.sleep(RENEW_SECONDS - 2 * RETRY_SECONDS)
    server.refuse = lambda _: None
    await asyncio.sleep(60)
    assert not leader.done()
    leader.cancel()


async def test_who_finds_another_in_its_place_ends() -> None:
    server, log = ApiServer(), list[tuple[str, str, float]]()
    leader = asyncio.create_task(lead(server, "a", log))
    await asyncio.sleep(10)
    stolen = server.objects["leases", "system", "perennial"]
    server.put("leases", {**stolen, "spec": {**stolen["spec"], "holderIdentity": "c"}})
    await asyncio.sleep(RETRY_SECONDS + 1)
    assert leader.done()


async def test_a_renewal_whose_answer_was_lost_was_a_renewal() -> None:
    server, log = ApiServer(), list[tuple[str, str, float]]()
    leader = asyncio.create_task(lead(server, "a", log))
    await asyncio.sleep(10)
    own = server.objects["leases", "system", "perennial"]
    server.put("leases", {**own, "spec": {**own["spec"], "renewTime": "2026-01-01T00:00:00.000000Z"}})
    await asyncio.sleep(60)
    assert not leader.done()
    leader.cancel()


class Discreet(ApiServer):
    """Tells of Leases only."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        if resource is not LEASES:
            raise from_status({"code": 403, "reason": "Forbidden", "message": "no"})
        return await super().get(resource, namespace, name)


DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "system", "name": "it"}}


def owners(server: ApiServer) -> list[Manifest]:
    found: list[Manifest] = server.objects["leases", "system", "perennial"]["metadata"]["ownerReferences"]
    return found


async def test_it_goes_with_the_deployment_and_does_not_come_back() -> None:
    """Of a release that is uninstalled the processes outlive the Deployment by a while."""
    server = ApiServer()
    uid = server.put("deployments", DEPLOYMENT)["metadata"]["uid"]
    first = Lease(server, "system", "perennial", "a", deployment="it")
    await first.acquire()
    assert owners(server) == [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "it", "uid": uid}]
    server.remove("deployments", "system", "it")
    await first.hold()
    again = asyncio.create_task(first.acquire())
    await asyncio.sleep(60)
    assert not again.done()
    assert ("leases", "system", "perennial") not in server.objects
    server.put("deployments", DEPLOYMENT)
    await again


async def test_one_that_was_left_behind_is_owned_anew() -> None:
    server = ApiServer()
    await lease(server, "before").acquire()
    await asyncio.sleep(2 * LEASE_SECONDS)
    uid = server.put("deployments", DEPLOYMENT)["metadata"]["uid"]
    await Lease(server, "system", "perennial", "a", deployment="it").acquire()
    assert [owner["uid"] for owner in owners(server)] == [uid]


async def test_who_may_not_read_the_deployment_leads_all_the_same() -> None:
    one = Lease(Discreet(), "system", "perennial", "a", deployment="it")
    await one.acquire()
    assert one.is_held
