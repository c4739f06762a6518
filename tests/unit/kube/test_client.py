"""The client, against an HTTP server that does as a script says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.configuration import Configuration

from perennial.kube import client as module
from perennial.kube.client import Client
from perennial.kube.connection import Connection
from perennial.kube.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NoAnswer,
    NotFound,
    ServerError,
    TooManyRequests,
    Unauthorized,
)
from perennial.kube.plan import Key
from perennial.kube.resources import CONFIGMAPS

from .objects import configmap

Handler = Callable[[web.Request], Any]


class Script:
    """Answers requests one after another, the last answer for ever, and notes what was asked."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(await request.read())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "broken":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if callable(answer):
            streamed: web.StreamResponse = await answer(request)
            return streamed
        status, body, *headers = answer
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=headers[0] if headers else None)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def client(script: Script, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.001)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", script.answer)
    async with TestServer(application) as server:
        configuration = type.__call__(Configuration)
        configuration.host = f"http://{server.host}:{server.port}"
        made = Client(Connection(configuration), timeout=60)
        yield made
        await made.close()


def status(code: int, reason: str = "Reason", message: str = "words") -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(400), BadRequest),
        (status(401), Unauthorized),
        (status(403), Forbidden),
        (status(404), NotFound),
        (status(409, "Conflict"), Conflict),
        (status(409, "AlreadyExists"), AlreadyExists),
        (status(410), Expired),
        (status(422), Invalid),
        (status(429), TooManyRequests),
        (status(500), ServerError),
        (status(503), ServerError),
        ((502, "<html>bad gateway</html>"), ServerError),
        ((418, ""), ApiError),
        ("broken", NoAnswer),
    ],
)
async def test_every_failure_has_its_class(client: Client, script: Script, answer: Any, error: type[ApiError]) -> None:
    script.answers = [answer]
    with pytest.raises(ApiError) as raised:
        await client.create(CONFIGMAPS, configmap("a"))
    assert type(raised.value) is error


async def test_the_servers_words_are_kept(client: Client, script: Script) -> None:
    script.answers = [status(422, "Invalid", "spec.replicas: Invalid value")]
    with pytest.raises(Invalid, match=r"422 Invalid: spec\.replicas: Invalid value"):
        await client.create(CONFIGMAPS, configmap("a"))


@pytest.mark.parametrize("failure", [status(500), status(503), status(429), "broken"])
async def test_what_does_no_harm_is_tried_again(client: Client, script: Script, failure: Any) -> None:
    script.answers = [failure, failure, (200, configmap("a"))]
    assert await client.get(CONFIGMAPS, "ns", "a") == configmap("a")
    assert len(script.asked) >= 3


@pytest.mark.parametrize("failure", [status(500), "broken"])
async def test_what_may_have_been_done_is_not_done_again(client: Client, script: Script, failure: Any) -> None:
    script.answers = [failure]
    with pytest.raises(ApiError):
        await client.create(CONFIGMAPS, configmap("a"))
    assert len(script.asked) == 1


async def test_what_was_surely_not_done_is_tried_again(client: Client, script: Script) -> None:
    script.answers = [status(429), (201, configmap("a"))]
    assert await client.create(CONFIGMAPS, configmap("a")) == configmap("a")


async def test_no_end_of_failures_is_an_error(client: Client, script: Script) -> None:
    script.answers = [status(503)]
    with pytest.raises(ServerError):
        await client.get(CONFIGMAPS, "ns", "a")
    assert len(script.asked) == module.ATTEMPTS


async def test_a_server_that_wants_long_patience_is_left_to_the_queue(client: Client, script: Script) -> None:
    script.answers = [(*status(429), {"Retry-After": "60"})]
    with pytest.raises(TooManyRequests) as raised:
        await client.get(CONFIGMAPS, "ns", "a")
    assert raised.value.retry_after == 60
    assert len(script.asked) == 1


async def test_a_server_that_does_not_answer_is_not_waited_for(client: Client, script: Script) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await given_up.wait()
        return response

    given_up = asyncio.Event()
    script.answers = [silent]
    impatient = Client(client._connection, timeout=0.3)
    with pytest.raises(NoAnswer):
        await impatient.create(CONFIGMAPS, configmap("a"))
    given_up.set()


async def test_a_list_comes_in_pages_and_says_what_its_items_are(client: Client, script: Script) -> None:
    item = {"metadata": {"name": "a"}}
    script.answers = [
        (200, {"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [item]}),
        (200, {"metadata": {"resourceVersion": "7"}, "items": [item]}),
    ]
    pages = [page async for page in client.pages(CONFIGMAPS, "ns", "a=b")]
    assert [page.items[0]["kind"] for page in pages] == ["ConfigMap", "ConfigMap"]
    assert script.asked[0].path == "/api/v1/namespaces/ns/configmaps"
    assert dict(script.asked[1].query) == {"limit": "500", "labelSelector": "a=b", "continue": "more"}


async def test_versions_are_read_from_metadata_alone(client: Client, script: Script) -> None:
    metadata = {"namespace": "ns", "name": "a", "uid": "u", "resourceVersion": "5", "managedFields": []}
    script.answers = [(200, {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": metadata}]})]
    assert await client.versions(CONFIGMAPS) == ({Key("ns", "a"): 5}, 9)
    assert "PartialObjectMetadataList" in script.asked[0].headers["Accept"]


async def test_an_empty_list_is_null(client: Client, script: Script) -> None:
    script.answers = [(200, {"metadata": {"resourceVersion": "9"}, "items": None})]
    assert await client.versions(CONFIGMAPS) == ({}, 9)
    assert [page.items async for page in client.pages(CONFIGMAPS)] == [[]]


async def test_a_success_that_cannot_be_read_is_none(client: Client, script: Script) -> None:
    script.answers = [(200, "<html>welcome</html>")]
    with pytest.raises(NoAnswer, match="cannot be read"):
        await client.create(CONFIGMAPS, configmap("a"))


async def test_a_deletion_is_of_this_very_object(client: Client, script: Script) -> None:
    script.answers = [(200, {"kind": "Status"})]
    await client.delete(CONFIGMAPS, "ns", "a", "uid-a")
    sent = json.loads(script.bodies[0])
    assert sent["preconditions"] == {"uid": "uid-a"}
    assert sent["propagationPolicy"] == "Background"


def streamed(*chunks: bytes) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    return answer


async def watched(client: Client) -> list[tuple[str, str]]:
    async with client.watch(CONFIGMAPS, "1") as events:
        return [(event.type, event.object["metadata"]["name"]) async for event in events]


async def test_a_watch_is_read_line_by_line_however_it_arrives(client: Client, script: Script) -> None:
    lines = b"".join(
        json.dumps({"type": kind, "object": configmap(name, data="x" * size)}).encode() + b"\n"
        for kind, name, size in [("ADDED", "a", 1), ("MODIFIED", "b", 3_000_000), ("DELETED", "c", 1)]
    )
    script.answers = [streamed(lines[:10], lines[10:500_000], lines[500_000:])]
    assert await watched(client) == [("ADDED", "a"), ("MODIFIED", "b"), ("DELETED", "c")]
    assert script.asked[0].query["allowWatchBookmarks"] == "true"


async def test_a_watch_that_cannot_begin_says_why(client: Client, script: Script) -> None:
    script.answers = [status(410, "Expired", "too old resource version")]
    with pytest.raises(Expired):
        await watched(client)


async def test_a_watch_that_sends_nonsense_is_broken(client: Client, script: Script) -> None:
    script.answers = [streamed(b"<html>\n")]
    with pytest.raises(NoAnswer, match="no event"):
        await watched(client)
