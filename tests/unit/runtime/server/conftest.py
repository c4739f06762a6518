from __future__ import annotations

import asyncio
import http.client
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from perennial.runtime.server.admission import Admission
from perennial.runtime.server.app import InferenceApp
from perennial.runtime.server.control import ControlApp
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.http import Application, Reply, Request, Server
from perennial.runtime.server.inference import Predictor
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.model import load
from perennial.runtime.server.state import State
from perennial.wire.reference import Categorical, Loss, Numeric, Reference
from perennial.wire.schema import Feature, Schema
from perennial.wire.serve import Serve, ServedModel


@pytest.fixture(scope="session")
def models() -> ModuleType:
    """The module beside this one: with `importlib` as import mode tests cannot import one another."""
    spec = importlib.util.spec_from_file_location("server_test_models", Path(__file__).with_name("models.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCHEMA = Schema(
    task="classification",
    target="late",
    features=[
        Feature("wide", "numeric"),
        Feature("carrier", "categorical"),
        Feature("tied", "numeric"),
        Feature("flag", "boolean"),
        Feature("single", "numeric"),
    ],
    score="positive",
    classes=["no", "yes"],
)


@pytest.fixture
def schema() -> Schema:
    return SCHEMA


@pytest.fixture
def reference() -> Reference:
    wide = np.sort(np.random.default_rng(1).normal(size=33)).tolist()
    return Reference(
        model="ab" * 32,
        task="classification",
        rows=100,
        features=[
            Numeric("wide", wide, [3] * 34 + [0]),
            Categorical("carrier", ["UA", "AA"], [60, 30, 5, 0, 5], others=["DL", "WN"]),
            Numeric("tied", [0.0, 1.0, 1.0000000000000002], [0, 50, 50, 0, 0]),
            Categorical("flag", ["true"], [100, 0, 0, 0], others=["false"]),
            Numeric("single", [2.0, 2.0000000000000004], [0, 100, 0, 0]),
        ],
        score=Numeric("score", np.linspace(0, 1, 11).tolist(), [0] + [10] * 10 + [0, 0]),
        loss=Loss([0.0, 1.0], [90, 10], 0.1, 0.15, 0.95),
        classes=["no", "yes"],
    )


@dataclass
class Answer:
    """A reply, decoded."""

    status: int
    body: Any
    headers: bytes
    raw: bytes


@dataclass
class Served:
    """A model behind both applications, without sockets."""

    state: State
    meter: Meter
    predictor: Predictor
    counting: Counting
    inference: InferenceApp
    control: ControlApp
    admission: Admission

    def infer(
        self,
        body: Any,
        path: str = "/v2/models/flights/infer",
        method: str = "POST",
        *,
        encoding: bytes = b"",
        json_length: bytes | None = None,
    ) -> Answer:
        return ask(self.inference, path, body, method, encoding, json_length)

    def get(self, path: str, method: str = "GET") -> Answer:
        return ask(self.inference, path, b"", method)

    def operate(self, path: str, body: Any = None, method: str | None = None) -> Answer:
        return ask(self.control, path, b"" if body is None else body, method or ("GET" if body is None else "POST"))


def ask(
    application: Application, path: str, body: Any, method: str, encoding: bytes = b"", json_length: bytes | None = None
) -> Answer:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    request = Request(method, path, data, encoding, keep_alive=True, json_length=json_length)
    application.arrive(request)
    reply = asyncio.run(answered(application, request))
    application.leave(request, reply.status)
    decoded = msgspec.json.decode(reply.body) if reply.content_type == b"application/json" else reply.body
    return Answer(reply.status, decoded, reply.headers, reply.body)


async def answered(application: Application, request: Request) -> Reply:
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    application.respond(request, reply.set_result)
    return await reply


def serve(model: ServedModel, folder: Path, companion: ServedModel | None = None, *, max_in_flight: int = 8) -> Served:
    np.seterr(all="ignore")  # As the server's own process does.
    loaded = load(model)
    folder.mkdir(parents=True, exist_ok=True)
    counting = Counting(folder, loaded, companion.sha256 if companion else None)
    state, meter = State("flights", loaded.version), Meter()
    meter.counted_in(counting.totals)
    predictor = Predictor("flights", loaded, counting)
    if companion is not None:
        from perennial.runtime.server.companion import Companion

        predictor.companion = Companion(load(companion), loaded)
    state.predictor, state.counting = predictor, counting
    admission = Admission(state, meter, max_in_flight=max_in_flight)
    inference = InferenceApp(state, meter, admission, max_body=2**20)
    control = ControlApp(state, meter, folder, max_body=2**20)
    return Served(state, meter, predictor, counting, inference, control, admission)


@contextmanager
def listen(served: Served) -> Iterator[str]:
    """The control port, for clients on other threads."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    server = Server(served.control)

    async def begin() -> None:
        await server.listen("127.0.0.1", 0)
        ready.set()

    def run() -> None:
        loop.run_until_complete(begin())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(5)
    yield f"http://127.0.0.1:{server.port}"
    asyncio.run_coroutine_threadsafe(server.close(0.1), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@pytest.fixture
def listening() -> Callable[[Served], AbstractContextManager[str]]:
    return listen


@pytest.fixture
def serve_model() -> Callable[..., Served]:
    return serve


@pytest.fixture
def binary(tmp_path: Path, models: ModuleType) -> Served:
    return serve(models.binary(tmp_path / "binary"), tmp_path / "counts")


@pytest.fixture
def mixed(tmp_path: Path, models: ModuleType) -> Served:
    return serve(models.mixed(tmp_path / "mixed"), tmp_path / "counts")


@pytest.fixture
def paired(tmp_path: Path, models: ModuleType) -> Served:
    """A candidate that says yes from 0.5 on, compared with a stable model that says so from 0.7 on."""
    stable = models.binary(tmp_path / "stable", threshold=0.7)
    return serve(models.binary(tmp_path / "candidate", version=2), tmp_path / "counts", stable)


@pytest.fixture
def newer(tmp_path: Path, models: ModuleType) -> Served:
    """Another replica, of a newer version than `binary`."""
    return serve(models.binary(tmp_path / "newer", threshold=0.7, version=2), tmp_path / "newer-counts")


class Process:
    """A server process on ports of its own."""

    def __init__(self, serve: bytes, folder: Path) -> None:
        self.log = folder / "log"
        self._output = self.log.open("wb")
        command = [sys.executable, "-m", "perennial.runtime.server", "--host", "127.0.0.1"]
        command += ["--port", "0", "--control-port", "0", "--grpc-port", "0", "--counts", str(folder / "counts")]
        environment = {**os.environ, "PERENNIAL_SERVE": serve.decode()}
        self.process = subprocess.Popen(command, env=environment, stderr=self._output, stdout=self._output)

    def wait_ready(self) -> None:
        end = time.monotonic() + 120
        while "ready:" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)
        words = self.log.read_text().partition("inference on port ")[2].split()
        self.port, self.control, self.grpc = (int(words[place].rstrip(",")) for place in (0, 4, 8))

    def ask(self, port: int, path: str, body: Any = None, *, seconds: float = 60) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
        data = None if body is None else msgspec.json.encode(body)
        connection.request("GET" if body is None else "POST", path, data)
        answer = connection.getresponse()
        found = msgspec.json.decode(answer.read())
        connection.close()
        return answer.status, found

    def rows(self) -> int:
        """Rows in all epochs, taken without acknowledgement."""
        epochs = self.ask(self.control, "/perennial/v1/epochs", {})[1]["epochs"]
        return sum(counts["rows"] for epoch in epochs for counts in epoch["models"].values())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(model: ServedModel, own_port: int | None = None) -> Process:
        # Of the model: a server that is started again finds the counts of the one before.
        folder = tmp_path / f"{'sidecar' if own_port else 'server'}-{model.sha256[:8]}"
        (folder / "counts").mkdir(parents=True, exist_ok=True)
        process = Process(msgspec.json.encode(Serve("flights", model, own_port=own_port)), folder)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.process.kill()
        process.process.wait()
