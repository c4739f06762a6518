"""How a pod begins: it waits for its store, gives up on a model that cannot be, and does without a companion."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from perennial.runtime.keys import digest_of
from perennial.runtime.server import lifecycle
from perennial.runtime.server.lifecycle import CannotServe, Pod, Ports
from perennial.runtime.server.model import Model, load
from perennial.runtime.store import StoreUnreachableError
from perennial.wire.schema import Feature, Schema
from perennial.wire.serve import Serve, ServedModel

PORTS = Ports("127.0.0.1", 0, 0, 0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PROPAGATION_SECONDS", 0.0)
    monkeypatch.setattr(lifecycle, "HAND_OVER_SECONDS", 0.1)
    monkeypatch.setattr(lifecycle, "_RETRY_SECONDS", (0,))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to be")


@asynccontextmanager
async def living(serve: Serve, counts: Path) -> AsyncIterator[Pod]:
    ending = asyncio.Event()
    pod = Pod(serve, counts, PORTS)
    life = asyncio.create_task(pod.live(ending))
    try:
        await until(lambda: pod.ready or life.done())
        yield pod
    finally:
        ending.set()
        await life


def post(port: int, path: str, body: Any) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, msgspec.json.encode(body))
    answer = msgspec.json.decode(connection.getresponse().read())
    connection.close()
    return answer


async def test_the_last_epoch_is_waited_for(
    tmp_path: Path, models: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "HAND_OVER_SECONDS", 60.0)
    ending = asyncio.Event()
    pod = Pod(Serve("flights", models.binary(tmp_path / "model")), tmp_path, PORTS)
    life = asyncio.create_task(pod.live(ending))
    await until(lambda: pod.ready)
    ports, epochs = pod.ports, "/perennial/v1/epochs"
    incarnation = (await asyncio.to_thread(post, ports.control, epochs, {}))["incarnation"]
    body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [0.75, 1]}]}
    await asyncio.to_thread(post, ports.inference, "/v2/models/flights/infer", body)
    ending.set()
    counting = pod._state.counting
    assert counting is not None
    await until(lambda: counting.book.finished)
    assert not life.done()
    answer = await asyncio.to_thread(post, ports.control, epochs, {"incarnation": incarnation})
    assert (answer["last"], [epoch["number"] for epoch in answer["epochs"]]) == (True, [1])
    assert not life.done()
    await asyncio.to_thread(post, ports.control, epochs, {"incarnation": incarnation, "acknowledge": 1})
    async with asyncio.timeout(50):
        await life


async def test_a_pod_with_nothing_to_hand_over_goes_when_it_has_said_so(
    tmp_path: Path, models: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that had gone without a word would be thought to have lost something."""
    monkeypatch.setattr(lifecycle, "HAND_OVER_SECONDS", 60.0)
    ending, epochs = asyncio.Event(), "/perennial/v1/epochs"
    pod = Pod(Serve("flights", models.binary(tmp_path / "model")), tmp_path, PORTS)
    life = asyncio.create_task(pod.live(ending))
    await until(lambda: pod.ready)
    port = pod.ports.control
    assert not (await asyncio.to_thread(post, port, epochs, {}))["last"]
    ending.set()
    counting = pod._state.counting
    assert counting is not None
    await until(lambda: counting.book.finished)
    assert not life.done()
    assert (await asyncio.to_thread(post, port, epochs, {}))["last"]
    async with asyncio.timeout(50):
        await life


async def test_what_a_pod_remembers_begins_before_its_model_is_there_and_goes_to_another_when_it_ends(
    tmp_path: Path, models: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "HAND_OVER_SECONDS", 60.0)
    told = threading.Event()

    def late(served: ServedModel) -> Model:
        assert told.wait(60)
        return load(served)

    monkeypatch.setattr(lifecycle, "load", late)
    serve = Serve("flights", models.binary(tmp_path / "model"))
    for name in "ab":
        (tmp_path / name).mkdir()
    ending = asyncio.Event()
    pod = Pod(serve, tmp_path / "a", PORTS)
    life = asyncio.create_task(pod.live(ending))
    await until(lambda: pod._rpc._listener is not None)
    await asyncio.to_thread(post, pod.ports.control, "/perennial/v1/journal", {"key": "flight"})
    told.set()
    await until(lambda: pod.ready)
    async with living(serve, tmp_path / "b") as heir:
        pod.others = f"http://127.0.0.1:{heir.ports.control}"
        x = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [0.75, 1]}
        key = {"name": "flight", "shape": [1], "datatype": "BYTES", "data": ["UA1"]}
        await asyncio.to_thread(post, pod.ports.inference, "/v2/models/flights/infer", {"inputs": [x, key]})
        ending.set()
        async with asyncio.timeout(60):
            await life
        epochs = await asyncio.to_thread(post, heir.ports.control, "/perennial/v1/epochs", {})
        assert epochs["key"] == "flight"
        counting = heir._state.counting
        assert counting is not None
        assert counting.journal is not None
        assert counting.journal.find(0, digest_of("UA1")) is not None
        # The heir has none.
        monkeypatch.setattr(lifecycle, "HAND_OVER_SECONDS", 0.1)


async def test_a_silent_store_is_asked_again(
    tmp_path: Path, models: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def sometimes(served: ServedModel) -> Model:
        asked.append(served)
        if len(asked) < 4:
            raise StoreUnreachableError("no answer")
        return load(served)

    monkeypatch.setattr(lifecycle, "load", sometimes)
    async with living(Serve("flights", models.binary(tmp_path / "model")), tmp_path) as pod:
        assert pod.ready
    assert len(asked) == 4
    assert not pod.ready


async def test_a_store_that_stays_silent_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(served: ServedModel) -> Model:
        raise StoreUnreachableError("connection refused")

    monkeypatch.setattr(lifecycle, "load", never)
    with pytest.raises(CannotServe, match="the store does not answer: connection refused"):
        await Pod(Serve("flights", ServedModel("s3://m/v1", "ab" * 32)), tmp_path, PORTS).live(asyncio.Event())


async def test_a_version_that_is_not_there_ends_the_process(tmp_path: Path) -> None:
    nowhere = ServedModel(f"file://{tmp_path}/nowhere", "ab" * 32)
    with pytest.raises(CannotServe, match="there is no version here"):
        await Pod(Serve("flights", nowhere), tmp_path, PORTS).live(asyncio.Event())


async def test_another_model_than_asked_for_ends_the_process(tmp_path: Path, models: ModuleType) -> None:
    model = models.binary(tmp_path / "model")
    with pytest.raises(CannotServe, match="must hold"):
        await Pod(Serve("flights", ServedModel(model.uri, "ab" * 32)), tmp_path, PORTS).live(asyncio.Event())


@pytest.mark.parametrize("file", ["model.onnx", "model.skops"])
async def test_a_file_that_is_no_model_ends_the_process(tmp_path: Path, models: ModuleType, file: str) -> None:
    schema = Schema(task="regression", target="y", features=[Feature("x", "numeric")], score="value")
    model = models.publish(tmp_path / "model", b"no model", schema, None, file=file)
    with pytest.raises(CannotServe, match=f"{file} cannot be loaded"):
        await Pod(Serve("flights", model), tmp_path, PORTS).live(asyncio.Event())


async def test_a_counts_folder_that_cannot_be_used_ends_the_process(tmp_path: Path, models: ModuleType) -> None:
    serve = Serve("flights", models.binary(tmp_path / "model"))
    with pytest.raises(CannotServe, match="counts folder"):
        await Pod(serve, tmp_path / "nowhere", PORTS).live(asyncio.Event())


async def test_a_taken_port_ends_the_process(tmp_path: Path, models: ModuleType) -> None:
    async with living(Serve("flights", models.binary(tmp_path / "model")), tmp_path) as pod:
        ports = Ports("127.0.0.1", pod.ports.inference, 0, 0)
        with pytest.raises(CannotServe, match="port"):
            await Pod(Serve("flights", models.binary(tmp_path / "m2")), tmp_path, ports).live(asyncio.Event())


@pytest.mark.parametrize("companion", ["missing", "incomparable"])
async def test_a_companion_that_cannot_be_had_costs_nothing(
    tmp_path: Path, models: ModuleType, companion: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = ServedModel(f"file://{tmp_path}/nowhere", "ab" * 32) if companion == "missing" else None
    serve = Serve("flights", models.binary(tmp_path / "model"), other or models.mixed(tmp_path / "mixed"))
    async with living(serve, tmp_path) as pod:
        await until(lambda: "nothing is compared" in caplog.text)
        assert pod.ready
        assert pod._state.predictor is not None
        assert (pod._state.predictor.predecessor is None) == (companion == "missing")


async def test_the_companion_is_loaded_after_readiness(tmp_path: Path, models: ModuleType) -> None:
    stable = models.binary(tmp_path / "stable", threshold=0.7)
    serve = Serve("flights", models.binary(tmp_path / "model", version=2), stable)
    async with living(serve, tmp_path) as pod:
        await until(lambda: pod.companion is not None)
        assert pod.companion == stable.sha256
