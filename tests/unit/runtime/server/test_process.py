"""The real process: killed and drained under load, its counts compared with what its clients saw."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Process

import grpc
import msgspec
import pytest

from perennial.runtime.server.rpc.messages import message

pytestmark = pytest.mark.process

BODY = msgspec.json.encode({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [0.75, 1]}]})


class Load:
    """Clients that send one request after the other on kept-alive connections and count what they are answered."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.answered = 0
        self.lost: list[str] = []
        self._port = port
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._gone = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """So many more requests are answered."""
        before = self.answered
        wait_for(lambda: self.answered > before + more)

    def endpoint_gone(self) -> None:
        """What kube-proxy does once it knows that the pod is ending: no new connection goes there, old ones stay."""
        self._gone.set()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.is_set():
            if self._gone.is_set() and connection.sock is None:
                return
            try:
                connection.request("POST", "/v2/models/flights/infer", BODY)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.lost.append(repr(error))
                return
            with self._lock:
                self.answered += answer.status == 200
            time.sleep(0.001)


Start = Callable[..., Process]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.01)


def test_a_drain_loses_no_request_and_hands_over_its_counts(start: Start, tmp_path: Path, models: ModuleType) -> None:
    server = start(models.binary(tmp_path / "model"))
    server.wait_ready()
    first = server.ask(server.control, "/perennial/v1/epochs", {})[1]
    load = Load(server.port)
    load.wait_for(100)
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: server.ask(server.port, "/v2/models/flights/ready")[0] == 503)
    assert server.ask(server.port, "/v2/health/live")[0] == 200
    load.wait_for(50)
    load.endpoint_gone()
    rows, acknowledged = 0, 0
    while server.process.poll() is None:
        take = {"incarnation": first["incarnation"], "acknowledge": acknowledged}
        try:
            answer = server.ask(server.control, "/perennial/v1/epochs", take)[1]
        except OSError:
            break
        for epoch in answer["epochs"]:
            if epoch["number"] > acknowledged:
                rows += sum(counts["rows"] for counts in epoch["models"].values())
                acknowledged = epoch["number"]
        time.sleep(0.1)
    load.stop()
    assert server.process.wait(60) == 0
    assert load.lost == []
    assert rows == load.answered
    assert "nobody has taken" not in server.log.read_text()


def test_killed_under_load_it_counts_what_it_answered(start: Start, tmp_path: Path, models: ModuleType) -> None:
    model, answered, cut = models.binary(tmp_path / "model"), 0, 0
    for death in range(2):
        server = start(model)
        server.wait_ready()
        load = Load(server.port)
        load.wait_for(50)
        time.sleep(0.1 * death)
        server.process.kill()
        server.process.wait()
        load.stop()
        answered += load.answered
        cut += len(load.lost)
    server = start(model)
    server.wait_ready()
    assert answered > 100
    assert answered <= server.rows() <= answered + cut
    stats = server.ask(server.control, "/perennial/v1/stats")[1]
    assert answered <= stats["requests"] <= answered + cut


def test_scikit_learn_is_not_loaded_for_an_onnx_model(start: Start, tmp_path: Path, models: ModuleType) -> None:
    server = start(models.binary(tmp_path / "model"))
    server.wait_ready()
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert not any(name in maps for name in ("/sklearn/", "/scipy/", "/pandas/"))


def test_a_changed_file_is_not_served(start: Start, tmp_path: Path, models: ModuleType) -> None:
    model = models.binary(tmp_path / "model")
    with (tmp_path / "model" / "schema.json").open("ab") as file:
        file.write(b" ")
    server = start(model)
    assert server.process.wait(120) == 1
    assert "schema.json has sha256" in server.log.read_text()


def test_a_model_that_answers_otherwise_is_not_served(start: Start, tmp_path: Path, models: ModuleType) -> None:
    server = start(models.binary(tmp_path / "model", wrong_example=True))
    assert server.process.wait(120) == 1
    assert "example 0 of schema.json is answered 'yes', the published model said 'no'" in server.log.read_text()


def test_a_configuration_that_says_nothing_is_said() -> None:
    command = [sys.executable, "-m", "perennial.runtime.server"]
    environment = {**os.environ, "PERENNIAL_SERVE": "{}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 64
    assert "PERENNIAL_SERVE does not say what to serve" in done.stderr


INFER = "/inference.GRPCInferenceService/ModelInfer"
QUESTION = message("ModelInferRequest")(
    model_name="flights",
    inputs=[{"name": "x", "shape": [1, 2], "datatype": "FP64", "contents": {"fp64_contents": [0.75, 1]}}],
).SerializeToString()


def _is_loaded(process: Process, library: str) -> bool:
    return library in Path(f"/proc/{process.process.pid}/maps").read_text()


def test_grpc_is_loaded_for_its_first_client_only(start: Start, models: ModuleType, tmp_path: Path) -> None:
    server = start(models.binary(tmp_path / "model"))
    server.wait_ready()
    assert server.ask(server.port, "/v2/models/flights/infer", msgspec.json.decode(BODY))[0] == 200
    assert not _is_loaded(server, "cygrpc")
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        infer = channel.unary_unary(INFER)
        answer = message("ModelInferResponse").FromString(infer(QUESTION, timeout=60))
        assert answer.raw_output_contents[0] == b"\x03\0\0\0yes"
        large = message("ModelInferRequest")(raw_input_contents=[bytes(17 * 2**20)]).SerializeToString()
        for data, code in ((b"\xff", "INVALID_ARGUMENT"), (large, "RESOURCE_EXHAUSTED"), (b"", "NOT_FOUND")):
            with pytest.raises(grpc.RpcError) as refusal:
                infer(data, timeout=60)
            assert refusal.value.code().name == code
    assert _is_loaded(server, "cygrpc")
    assert server.rows() == 2


class RpcLoad(Load):
    """The same over gRPC. Whoever finds nobody listening any more has lost nothing: the endpoint is gone."""

    def _run(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{self._port}", options) as channel:
            infer = channel.unary_unary(INFER)
            while not self._stop.is_set():
                try:
                    infer(QUESTION, timeout=60)
                except grpc.RpcError as error:
                    if self._gone.is_set() and "Connection refused" in str(error.details()):
                        return
                    with self._lock:
                        self.lost.append(f"{error.code()}: {error.details()}")
                    return
                with self._lock:
                    self.answered += 1
                time.sleep(0.001)


def test_a_drain_loses_no_grpc_request(start: Start, models: ModuleType, tmp_path: Path) -> None:
    server = start(models.binary(tmp_path / "model"))
    server.wait_ready()
    load = RpcLoad(server.grpc)
    load.wait_for(100)
    before = server.rows()
    server.process.send_signal(signal.SIGTERM)
    time.sleep(2.0)
    load.endpoint_gone()
    assert server.process.wait(60) == 0
    load.stop()
    assert load.lost == []
    assert load.answered > before > 0
