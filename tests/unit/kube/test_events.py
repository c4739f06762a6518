"""Events are posted beside the work, counted where they repeat, and never in the way."""

from __future__ import annotations

import asyncio

import pytest

from perennial.kube.errors import from_status
from perennial.kube.events import SERIES_SECONDS, Recorder
from perennial.kube.plan import Event, Manifest
from tests.oracles.apiserver import ApiServer

from .objects import configmap

pytestmark = pytest.mark.looptime
STARTED = Event("Normal", "RunStarted", "run v1")


async def told(server: ApiServer, *events: tuple[Manifest, Event]) -> list[Manifest]:
    recorder = Recorder(server, "perennial", "pod-1")
    task = asyncio.create_task(recorder.run())
    for about, event in events:
        recorder.tell(about, event)
        await recorder.flush(2.0)
    task.cancel()
    return server.of("events")


async def test_an_event_says_what_kubectl_describe_shows() -> None:
    (event,) = await told(ApiServer(), (configmap("a"), STARTED))
    assert event["regarding"]["uid"] == "uid-a"
    assert (event["type"], event["reason"], event["note"]) == ("Normal", "RunStarted", "run v1")
    assert (event["reportingController"], event["reportingInstance"]) == ("perennial", "pod-1")
    assert event["eventTime"]


async def test_an_event_is_in_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await told(ApiServer(), (configmap("a"), STARTED))
    assert caplog.messages == ["ConfigMap ns/a: RunStarted: run v1"]


async def test_the_same_again_is_counted() -> None:
    (event,) = await told(ApiServer(), *[(configmap("a"), STARTED)] * 3)
    assert event["series"]["count"] == 3


async def test_what_differs_is_another_event() -> None:
    other = Event("Normal", "RunStarted", "run v2")
    assert (
        len(await told(ApiServer(), (configmap("a"), STARTED), (configmap("a"), other), (configmap("b"), STARTED))) == 3
    )


async def test_an_event_that_was_deleted_is_told_anew() -> None:
    server = ApiServer()
    recorder = Recorder(server, "perennial", "pod-1")
    task = asyncio.create_task(recorder.run())
    recorder.tell(configmap("a"), STARTED)
    await recorder.flush(2.0)
    server.remove("events", "ns", server.of("events")[0]["metadata"]["name"])
    recorder.tell(configmap("a"), STARTED)
    await recorder.flush(2.0)
    assert len(server.of("events")) == 1
    assert SERIES_SECONDS > 0
    task.cancel()


async def test_a_server_that_takes_no_events_stops_nothing() -> None:
    server = ApiServer()
    server.refuse = lambda _: from_status({"code": 403, "reason": "Forbidden", "message": "no"})
    assert await told(server, (configmap("a"), STARTED), (configmap("b"), STARTED)) == []


async def test_a_long_message_is_cut_to_what_the_server_takes() -> None:
    (event,) = await told(ApiServer(), (configmap("a"), Event("Warning", "Failed", "x" * 5000)))
    assert len(event["note"]) == 1024


async def test_at_the_end_there_is_no_pace() -> None:
    server = ApiServer()
    recorder = Recorder(server, "perennial", "pod-1")
    task = asyncio.create_task(recorder.run())
    for number in range(200):
        recorder.tell(configmap(f"n{number}"), STARTED)
    assert await recorder.flush(0.1) == 0
    assert len(server.of("events")) == 200
    task.cancel()


async def test_what_could_not_be_posted_at_the_end_is_counted() -> None:
    recorder = Recorder(_Stuck(), "perennial", "pod-1")
    for number in range(20):
        recorder.tell(configmap(f"n{number}"), STARTED)
    assert await recorder.flush(2.0) == 20


class _Stuck(ApiServer):
    async def create(self, *_: object, **__: object) -> Manifest:
        await asyncio.sleep(3600)
        raise AssertionError
