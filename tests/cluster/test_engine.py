"""The engine against a real API server, with the toy kind: what it writes, what it recovers from, how it ends.

Faults are played by a proxy between the operator's process and the server; the tests look past it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from cluster import embedded, supervisor
from cluster.harness import Harness
from perennial.kube.client import MERGE_PATCH, Client
from perennial.kube.connection import Connection
from perennial.kube.errors import ApiError
from perennial.kube.plan import Manifest
from perennial.kube.resources import CONFIGMAPS, CONTROLLERREVISIONS, EVENTS, LEASES, PERSISTENTVOLUMECLAIMS
from tests.oracles.toy import SHELVES

from .engine_scene import (
    FaultProxy,
    Library,
    Silence,
    ToyOperator,
    answering,
    impatient,
    install_shelves,
    proxied,
    until,
)

MakeOperator = Callable[..., ToyOperator]


@pytest.fixture
async def proxy(cluster: Harness) -> AsyncIterator[FaultProxy]:
    async with proxied(cluster.kubeconfig) as made:
        yield made


@pytest.fixture
async def library(cluster: Harness, namespace: str) -> AsyncIterator[Library]:
    client = Client(await Connection.open(str(cluster.kubeconfig)))
    await install_shelves(client)
    yield Library(client, namespace)
    await client.close()


@pytest.fixture
async def make_operator(proxy: FaultProxy, namespace: str, tmp_path: Path) -> AsyncIterator[MakeOperator]:
    made: list[ToyOperator] = []

    def make(**environment: str) -> ToyOperator:
        operator = ToyOperator(proxy, namespace, tmp_path, **environment)
        made.append(operator)
        operator.start()
        return operator

    yield make
    for operator in made:
        await operator.end(signal.SIGKILL)


async def test_nothing_changed_nothing_is_written(
    library: Library, proxy: FaultProxy, make_operator: MakeOperator
) -> None:
    for number in range(20):
        await library.put(f"s{number}", one="x", two="y")
    operator = make_operator(PERENNIAL_RESYNC_SECONDS="2")
    for number in range(20):
        await library.says(f"s{number}", books=[f"s{number}-one", f"s{number}-two"])
    await _at_rest(proxy)
    written = len(proxy.writes())
    touched = await library.client.get(SHELVES, library.namespace, "s1")
    assert "annotations" not in touched["metadata"]
    assert "finalizers" not in touched["metadata"]
    await library.client.patch(SHELVES, library.namespace, "s1", {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)
    await asyncio.sleep(15)
    assert proxy.writes()[written:] == [], "a label of a user's and two resyncs later"

    await operator.end()
    make_operator()
    await until(lambda: any(asked.query.get("watch") for asked in proxy.asked[-30:]), 30, "the restarted operator")
    await asyncio.sleep(5)
    assert proxy.writes()[written:] == [], "a restart later"


async def test_somebody_elses_object_is_left_alone_and_said(library: Library, make_operator: MakeOperator) -> None:
    theirs = await library.client.create(CONFIGMAPS, _configmap(library.namespace, "a-one"))
    make_operator()
    await library.put("a", one="x", two="y")
    await library.says("a", problems=["NameTaken ConfigMap a-one"], books=["a-two"])
    now = await library.client.get(CONFIGMAPS, library.namespace, "a-one")
    assert now["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
    await library.delete(CONFIGMAPS, "a-one")
    await library.put("a", one="x", two="z")
    await library.says("a", problems=[], books=["a-one", "a-two"])


async def test_who_changes_a_child_back_each_time_is_said_and_not_fought(
    cluster: Harness, library: Library, proxy: FaultProxy, make_operator: MakeOperator
) -> None:
    make_operator()
    await library.put("a", one="x")
    await library.says("a", books=["a-one"])

    async def fight() -> None:
        for round_ in range(10_000):
            patch = json.dumps({"data": {"x": f"theirs {round_}"}})
            name = ("configmap", "a-one", f"--namespace={library.namespace}")
            await asyncio.to_thread(cluster.kubectl, "patch", *name, "--type=merge", "--patch", patch)

    fighting = asyncio.create_task(fight())
    try:
        await library.says("a", problems=["Contended ConfigMap a-one"])
        await asyncio.sleep(3)
    finally:
        fighting.cancel()
    applied = [asked for asked in proxy.writes() if asked.path.endswith("/a-one")]
    assert len(applied) <= 4, "three attempts, and the fields taken over once"


async def test_a_watch_that_breaks_goes_on(library: Library, proxy: FaultProxy, make_operator: MakeOperator) -> None:
    make_operator()
    await library.put("a", one="x")
    await library.says("a", books=["a-one"])
    for number in range(3):
        proxy.cut()
        await library.put(f"b{number}", one="x")
        await library.delete(CONFIGMAPS, "a-one")
        await library.says(f"b{number}", books=[f"b{number}-one"])
        await library.has_books("a-one", *(f"b{n}-one" for n in range(number + 1)))


async def test_a_watch_that_expired_lists_anew_and_notices_what_was_missed(
    cluster: Harness, library: Library, proxy: FaultProxy, make_operator: MakeOperator
) -> None:
    if _is_ours(cluster):  # a server as young as the cluster forgets nothing that was ever there
        await _restart_api_server(cluster, library)
    make_operator()
    await library.put("a", one="x")
    await library.put("gone", one="x")
    await library.says("a", books=["a-one"])
    await library.says("gone", books=["gone-one"])
    await proxy.close()
    await library.delete(CONFIGMAPS, "a-one")
    await library.delete(SHELVES, "gone")
    await library.put("new", one="x")
    proxy.rewind = True
    before = len(proxy.asked)
    await proxy.open()
    await until(lambda: _expired(proxy, before), 60, "the server to say that it forgot")
    proxy.rewind = False
    await library.has_books("a-one", "new-one", within=60)


async def test_a_watch_that_tells_nothing_is_found_out_by_a_list(
    library: Library, proxy: FaultProxy, make_operator: MakeOperator
) -> None:
    operator = make_operator(PERENNIAL_RESYNC_SECONDS="1")
    await library.put("a", one="x")
    await library.says("a", books=["a-one"])
    proxy.muted = True
    await library.delete(CONFIGMAPS, "a-one")
    await library.put("b", one="x")
    await library.has_books("a-one", "b-one", within=60)
    assert operator.said("had been missed by the watch")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (409, "Conflict"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
    ],
)
async def test_errors_of_the_server_are_recovered_from(
    library: Library, proxy: FaultProxy, make_operator: MakeOperator, code: int, reason: str
) -> None:
    """Each write fails twice before it is let through."""
    tried: Counter[tuple[str, str, str]] = Counter()

    async def fail(request: web.Request) -> web.StreamResponse | None:
        if request.method == "GET" or "/leases" in request.path:
            return None
        metadata = json.loads(await request.read() or b"{}").get("metadata", {})
        write = request.method, request.path, metadata.get("name", "")
        tried[write] += 1
        return answering(code, reason)(request) if tried[write] % 3 else None

    proxy.fault = fail
    make_operator()
    for name in "abc":
        await library.put(name, one="x", two="y")
    for name in "abc":
        await library.says(name, books=[f"{name}-one", f"{name}-two"], problems=[], within=60)


async def test_an_answer_that_is_lost_makes_nothing_twice(
    library: Library, proxy: FaultProxy, make_operator: MakeOperator
) -> None:
    """Every second write is carried out, and its answer never arrives."""
    count = 0

    async def lose(request: web.Request) -> web.StreamResponse | None:
        nonlocal count
        if request.method == "GET" or "/leases" in request.path:
            return None
        count += 1
        if count % 2 == 0:
            return None
        proxy.fault = None
        await request.read()
        sent = asyncio.ensure_future(proxy._pass(request))
        proxy.fault = lose
        await asyncio.wait([sent])
        assert request.transport is not None
        request.transport.abort()
        return web.Response(status=500)

    proxy.fault = lose
    make_operator()
    await library.put("a", one="x", two="y", three="z")
    await library.says("a", books=["a-one", "a-three", "a-two"], problems=[], within=60)


@pytest.mark.parametrize("carried_out", [False, True])
async def test_requests_that_are_never_answered_are_given_up(
    library: Library, proxy: FaultProxy, tmp_path: Path, carried_out: bool
) -> None:
    """The first list of each resource, and each write's first attempt: made again where the server did not hear of it,
    and found to be done where it did."""
    silence = Silence(proxy.carry_out if carried_out else None)
    await library.put("a", one="x", two="y")
    proxy.fault = silence
    async with impatient(proxy, library.namespace, tmp_path, patience=2.0):
        await library.says("a", books=["a-one", "a-two"], problems=[], within=60)
    assert await library.books() == {"a-one": {"x": "text"}, "a-two": {"y": "text"}}
    unanswered = {(method, path.rsplit("/", 1)[-1]) for method, path, _ in silence.met}
    assert {("GET", "shelves"), ("GET", "configmaps"), ("POST", "configmaps"), ("PUT", "status")} <= unanswered


async def test_a_refusal_is_told_with_the_servers_words(library: Library, make_operator: MakeOperator) -> None:
    """The name of a ConfigMap is too long for the real server: 422."""
    make_operator()
    await library.put("a", one="x", **{"b" * 260: "y"})
    await library.says("a", problems=[f"Invalid ConfigMap a-{'b' * 260}"], books=["a-one"])


async def test_a_server_that_is_away_for_a_while_is_waited_for(
    library: Library, proxy: FaultProxy, make_operator: MakeOperator
) -> None:
    operator = make_operator(PERENNIAL_LEADER_ELECTION="false")
    await library.put("a", one="x")
    await library.says("a", books=["a-one"])
    await proxy.close()
    await library.put("b", one="x")
    await asyncio.sleep(10)
    await proxy.open()
    await library.says("b", books=["b-one"], within=60)
    assert operator.process is not None
    assert operator.process.poll() is None, "it is still the same process"


async def test_a_restart_of_the_api_server_is_survived(
    cluster: Harness, library: Library, make_operator: MakeOperator
) -> None:
    if not _is_ours(cluster):
        # Any other cluster may serve somebody else, or have no API server process that can be reached.
        pytest.skip("only an embedded cluster of the tests' own has an API server that a test may kill")
    operator = make_operator()
    await library.put("a", one="x")
    await library.says("a", books=["a-one"])
    await _restart_api_server(cluster, library)
    await library.put("b", one="x")
    await library.says("b", books=["b-one"], within=60)
    assert operator.process is not None
    assert operator.process.poll() is None, "it is still the same process"


async def test_a_standby_does_nothing_until_it_leads(library: Library, make_operator: MakeOperator) -> None:
    first = make_operator()
    await library.put("a", one="x")
    await library.says("a", books=["a-one"])
    second = make_operator()
    await until(lambda: second.said("Caches are complete"), 30, "the standby's caches")
    holder = await _holder(library)

    await first.end(signal.SIGKILL)
    killed = asyncio.get_running_loop().time()
    await library.put("b", one="x")
    await library.says("b", books=["b-one"], within=30)
    assert asyncio.get_running_loop().time() - killed <= 15
    assert await _holder(library) != holder

    third = make_operator()
    await until(lambda: third.said("Caches are complete"), 30, "the next standby's caches")
    assert await second.end(signal.SIGTERM) == 0
    stopped = asyncio.get_running_loop().time()
    await library.put("c", one="x")
    await library.says("c", books=["c-one"], within=30)
    assert asyncio.get_running_loop().time() - stopped <= 5, "a lease that was given up is not waited for"


async def test_who_loses_the_lease_ends(library: Library, make_operator: MakeOperator) -> None:
    operator = make_operator()
    await library.put("a", one="x")
    await library.says("a", books=["a-one"])
    stolen = {"spec": {"holderIdentity": "somebody-else"}}
    await library.client.patch(LEASES, library.namespace, "perennial", stolen, MERGE_PATCH)
    process = operator.process
    assert process is not None
    await until(lambda: process.poll() is not None, 20, "the operator to end")
    assert process.returncode == 1


async def test_sigterm_finishes_the_work_in_hand(
    library: Library, proxy: FaultProxy, make_operator: MakeOperator
) -> None:
    """The write of a child takes three seconds; SIGTERM comes meanwhile."""
    operator = make_operator()
    await until(lambda: operator.said("Leading as"), 30, "the operator to lead")
    waiting = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST" and request.path.endswith("/configmaps"):
            waiting.set()
            await asyncio.sleep(3)
        return None

    proxy.fault = slow
    await library.put("a", one="x")
    await asyncio.wait_for(waiting.wait(), 30)
    began = asyncio.get_running_loop().time()
    assert await operator.end(signal.SIGTERM) == 0
    assert asyncio.get_running_loop().time() - began < 15
    assert await library.books() == {"a-one": {"x": "text"}}
    assert "observedGeneration" in await library.status("a"), "the reconcile in hand came to its end"
    assert await _holder(library) == ""


async def test_an_event_is_told_once_the_status_is_there(library: Library, make_operator: MakeOperator) -> None:
    make_operator()
    await library.put("a", one="x")
    await library.says("a", books=["a-one"])
    await until(lambda: _told(library, "a", "Arranged"), 10, "the event")


async def test_it_makes_keeps_changes_and_removes_children(library: Library, make_operator: MakeOperator) -> None:
    make_operator()
    await library.put("a", one="x", two="x,y")
    await library.says("a", books=["a-one", "a-two"], observedGeneration=1)
    assert await library.books() == {"a-one": {"x": "text"}, "a-two": {"x": "text", "y": "text"}}

    await library.put("a", two="y", three="z")
    await library.says("a", books=["a-three", "a-two"], observedGeneration=2)
    assert await library.books() == {"a-two": {"y": "text"}, "a-three": {"z": "text"}}, "a field is taken back too"

    await library.client.patch(CONFIGMAPS, library.namespace, "a-two", {"data": {"y": "theirs"}}, MERGE_PATCH)
    await until(lambda: _has(library, "a-two", {"y": "text"}), 10, "a change to be repaired")

    await library.client.patch(
        CONFIGMAPS, library.namespace, "a-two", {"metadata": {"labels": {"team": "b"}}}, MERGE_PATCH
    )
    await library.delete(CONFIGMAPS, "a-three")
    await library.has_books("a-two", "a-three")
    kept = await library.client.get(CONFIGMAPS, library.namespace, "a-two")
    assert kept["metadata"]["labels"]["team"] == "b", "what is somebody else's stays"
    await library.client.get(CONTROLLERREVISIONS, library.namespace, "a-catalogue")

    await library.delete(SHELVES, "a")
    # The garbage collector looks for new kinds every 30 s: the last of these tests finds that it knows ours.
    await library.has_books(within=90)
    await library.client.get(PERSISTENTVOLUMECLAIMS, library.namespace, "cellar")


async def _told(library: Library, name: str, reason: str) -> bool:
    pages = [page async for page in library.client.pages(EVENTS, library.namespace)]
    return any(
        event["regarding"]["name"] == name and event["reason"] == reason for page in pages for event in page.items
    )


async def _has(library: Library, name: str, data: dict[str, str]) -> bool:
    return (await library.books()).get(name) == data


async def _answers(library: Library) -> bool:
    try:
        await library.client.versions(SHELVES, library.namespace)
    except ApiError:
        return False
    return True


async def _holder(library: Library) -> str:
    lease = await library.client.get(LEASES, library.namespace, "perennial")
    return str(lease["spec"].get("holderIdentity") or "")


async def _at_rest(proxy: FaultProxy) -> None:
    """No write for three seconds."""
    count = -1
    while count != len(proxy.writes()):
        count = len(proxy.writes())
        await asyncio.sleep(3)


def _is_ours(cluster: Harness) -> bool:
    return cluster.provider == "embedded" and "PERENNIAL_CLUSTER" not in os.environ


async def _restart_api_server(cluster: Harness, library: Library) -> None:
    found = embedded.find(cluster.name)
    assert found is not None
    await asyncio.to_thread(supervisor.ask, found.control_socket(), "kill", "kube-apiserver")
    await until(lambda: _answers(library), 60, "the API server to come back")


def _expired(proxy: FaultProxy, since: int) -> bool:
    """A list after a watch: kopf's and the engine's alike."""
    listed = [a for a in proxy.asked[since:] if a.method == "GET" and not a.query.get("watch") and a.status == 200]
    plurals = {asked.path.rsplit("/", 1)[-1] for asked in listed}
    return {"shelves", "configmaps"} <= plurals


def _configmap(namespace: str, name: str) -> Manifest:
    return {
        "apiVersion": CONFIGMAPS.api_version,
        "kind": CONFIGMAPS.kind,
        "metadata": {"namespace": namespace, "name": name},
        "data": {"theirs": "yes"},
    }
