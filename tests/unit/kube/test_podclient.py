"""Asking pods: typed answers, and one exception for everything that goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from perennial.kube import podclient
from perennial.kube.podclient import PodClient, PodUnreachable


class Answer(msgspec.Struct):
    rows: int


async def good(request: web.Request) -> web.Response:
    return web.json_response({"rows": 3, "more": "is ignored"})


async def echo(request: web.Request) -> web.Response:
    return web.json_response({"rows": (await request.json())["rows"] + 1})


async def wrong(request: web.Request) -> web.Response:
    return web.json_response({"rows": "many"})


async def busy(request: web.Request) -> web.Response:
    return web.Response(status=503, text="overloaded")


async def away(request: web.Request) -> web.Response:
    raise web.HTTPFound("http://169.254.169.254/latest/meta-data")


async def huge(request: web.Request) -> web.Response:
    return web.Response(body=b" " * 5000)


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(5)
    return web.Response()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    application = web.Application()
    application.add_routes([web.get(f"/{f.__name__}", f) for f in (good, wrong, busy, away, huge, slow)])
    application.add_routes([web.post("/echo", echo)])
    async with TestServer(application) as server:
        assert server.port is not None
        yield server.port


@pytest.fixture
async def pods() -> AsyncIterator[PodClient]:
    async with PodClient(timeout=60) as client:
        yield client


async def test_answers_are_typed(pods: PodClient, port: int) -> None:
    assert await pods.get_json("127.0.0.1", port, "/good", Answer) == Answer(3)
    assert await pods.post_json("127.0.0.1", port, "/echo", Answer(4), Answer) == Answer(5)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/wrong", r"cannot be read.*rows"),
        ("/busy", "answered 503: overloaded"),
        ("/away", "answered 302"),
        ("/huge", "more than 1000 bytes"),
        ("/nowhere", "answered 404"),
    ],
)
async def test_what_goes_wrong_is_said(
    pods: PodClient, port: int, path: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podclient, "MAX_ANSWER_BYTES", 1000)
    with pytest.raises(PodUnreachable, match=words):
        await pods.get_json("127.0.0.1", port, path, Answer)


async def test_one_that_is_slow_is_not_waited_for(port: int) -> None:
    async with PodClient(timeout=0.3) as impatient:
        with pytest.raises(PodUnreachable, match=r"no answer within 0\.3 s"):
            await impatient.get_json("127.0.0.1", port, "/slow", Answer)


async def test_an_answer_of_no_success_is_told_apart_from_none(pods: PodClient, port: int) -> None:
    with pytest.raises(PodUnreachable) as answered:
        await pods.get_json("127.0.0.1", port, "/nowhere", Answer)
    with pytest.raises(PodUnreachable) as silent:
        await pods.get_json("127.0.0.1", 1, "/good", Answer)
    assert (answered.value.status, silent.value.status) == (404, None)


async def test_a_pod_that_is_gone_is_unreachable(pods: PodClient) -> None:
    with pytest.raises(PodUnreachable):
        await pods.get_json("127.0.0.1", 1, "/good", Answer)


async def test_no_more_than_so_many_are_asked_at_once() -> None:
    at_once = most = 0
    full = asyncio.Event()

    async def counted(request: web.Request) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == 3:
            full.set()
        await full.wait()
        await asyncio.sleep(0.01)
        at_once -= 1
        return web.json_response({"rows": 1})

    application = web.Application()
    application.add_routes([web.get("/", counted)])
    async with TestServer(application) as server, PodClient(concurrency=3, timeout=60) as pods:
        assert server.port is not None
        port = server.port
        await asyncio.gather(*(pods.get_json("127.0.0.1", port, "/", Answer) for _ in range(20)))
    assert most == 3
