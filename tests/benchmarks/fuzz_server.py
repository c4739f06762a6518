"""Ten minutes of nonsense for the model server, over its real ports.

python -m tests.benchmarks.fuzz_server [--minutes 10]

Two servers, both with the small models of the unit tests. schemathesis has one to itself, by its OpenAPI document. The
other gets valid requests of every form (tensors, records, bytes, compressed, gRPC) that were damaged at random. It must
never answer with a 5xx or stop answering, must not grow, and must have counted exactly the rows that it predicted.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import gzip
import http.client
import importlib.util
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec

from perennial.runtime.server.rpc.messages import message
from perennial.wire.serve import Serve, ServedModel
from tests.environments import schemathesis

MODELS = Path(__file__).parents[1] / "unit" / "runtime" / "server" / "models.py"
GROWTH_MIB = 32
"""What a server may grow by after its first minute: allocators settle, leaks do not."""
RPC = "/inference.GRPCInferenceService/ModelInfer"


@dataclass
class Request:
    """What is sent over HTTP."""

    body: bytes
    encoding: str = ""
    json_length: int | None = None


def valid(draw: random.Random) -> Request:
    """A request that is right, in one of the forms that there are."""
    form = draw.choice(["tensors", "matrix", "records", "bytes", "mixed"])
    rows = draw.randint(1, 4)
    a, b = ([draw.uniform(-2, 2) for _ in range(rows)] for _ in range(2))
    parameters = {"receipt": draw.random() < 0.3, "binary_data_output": draw.random() < 0.3}
    request: dict[str, Any] = {"parameters": parameters, "id": "7"}
    tail = b""
    if form == "records":
        request["rows"] = [{"a": x, "b": y} for x, y in zip(a, b, strict=True)]
    elif form == "matrix":
        data = [value for pair in zip(a, b, strict=True) for value in pair]
        request["inputs"] = [{"name": "x", "shape": [rows, 2], "datatype": "FP64", "data": data}]
    else:
        request["inputs"] = [{"name": "a", "shape": [rows], "datatype": "FP64", "data": a}]
        request["inputs"].append({"name": "b", "shape": [rows, 1], "datatype": "FP32", "data": b})
    if form in ("bytes", "mixed"):
        del request["inputs"][1]["data"]
        tail = struct.pack(f"<{rows}f", *b)
        request["inputs"][1]["parameters"] = {"binary_data_size": len(tail)}
    head = msgspec.json.encode(request)
    made = Request(head + tail, json_length=len(head) if tail else None)
    made.encoding = draw.choice(["", "", "gzip", "deflate"])
    compress: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    if made.encoding and draw.random() < 0.5:
        made.body = compress[made.encoding](damaged(draw, made.body))
    elif made.encoding:
        made.body = damaged(draw, compress[made.encoding](made.body))
    else:
        made.body = damaged(draw, made.body)
    if made.json_length is not None and draw.random() < 0.2:
        made.json_length += draw.randint(-9, 9)
    return made


def valid_message(draw: random.Random) -> bytes:
    rows = draw.randint(1, 4)
    values = [draw.uniform(-2, 2) for _ in range(2 * rows)]
    tensor: dict[str, Any] = {"name": "x", "shape": [rows, 2], "datatype": "FP64"}
    fields: dict[str, Any] = {"model_name": "flights", "inputs": [tensor]}
    if draw.random() < 0.5:
        fields["raw_input_contents"] = [struct.pack(f"<{2 * rows}d", *values)]
    else:
        tensor["contents"] = {"fp64_contents": values}
    return damaged(draw, bytes(message("ModelInferRequest")(**fields).SerializeToString()))


def damaged(draw: random.Random, data: bytes) -> bytes:
    """Half of the time as it is, else with bytes changed, taken out, doubled or put in."""
    if draw.random() < 0.5:
        return data
    damaged = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(damaged) + 1)
        change = draw.randrange(5)
        if change == 0 and at < len(damaged):
            damaged[at] = draw.randrange(256)
        elif change == 1:
            del damaged[at : at + draw.randint(1, 8)]
        elif change == 2:
            damaged[at:at] = damaged[at : at + draw.randint(1, 8)]
        elif change == 3:
            damaged[at:at] = draw.choice([b"null", b"1e999", b"-", b"[", b"}", b"\xff\xff\xff\x7f", b"9" * 25, b'""'])
        else:
            del damaged[at:]
    return bytes(damaged)


class Server:
    """A server process of one of the small models."""

    def __init__(self, model: ServedModel, folder: Path) -> None:
        folder.mkdir()
        self._log = folder / "log"
        command = [sys.executable, "-m", "perennial.runtime.server", "--host", "127.0.0.1"]
        command += ["--port", "0", "--control-port", "0", "--grpc-port", "0", "--counts", str(folder)]
        environment = {**os.environ, "PERENNIAL_SERVE": msgspec.json.encode(Serve("flights", model)).decode()}
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        while "ready:" not in self._log.read_text():
            if self.process.poll() is not None:
                sys.exit(self._log.read_text())
            time.sleep(0.05)
        found = [int(port) for port in re.findall(r"port (\d+)", self._log.read_text())]
        self.inference, self.control, self.grpc = found

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else 0.0

    def failures(self) -> str:
        """What it logged from its first failure on."""
        found = re.search(r"^(ERROR|Traceback).*", self._log.read_text(), re.MULTILINE | re.DOTALL)
        return found[0] if found else ""

    def ask(self, path: str, body: bytes | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=10)
        connection.request("GET" if body is None else "POST", path, body)
        return msgspec.json.decode(connection.getresponse().read())

    def counted(self) -> tuple[int, int]:
        """Rows predicted, and rows in the epochs that nobody acknowledged."""
        epochs = self.ask("/perennial/v1/epochs", b"{}")["epochs"]
        rows = sum(counts["rows"] for epoch in epochs for counts in epoch["models"].values())
        return self.ask("/perennial/v1/stats")["rows"], rows


class Damager:
    """Sends damaged requests over both protocols and keeps what became of them."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._seed = seed
        self.statuses: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.rows = 0

    def over_http(self, end: float) -> None:
        draw = random.Random(self._seed)
        connection = http.client.HTTPConnection("127.0.0.1", self._server.inference, timeout=20)
        while time.monotonic() < end:
            request = valid(draw)
            headers = {"Content-Encoding": request.encoding} if request.encoding else {}
            if request.json_length is not None:
                headers["Inference-Header-Content-Length"] = str(request.json_length)
            connection.request("POST", "/v2/models/flights/infer", request.body, headers)
            answer = connection.getresponse()
            body = answer.read()
            self._note(f"HTTP {answer.status}", body.decode(errors="replace"))
            if answer.status == 200:
                length = int(answer.headers.get("Inference-Header-Content-Length", len(body)))
                told = msgspec.json.decode(body[:length])
                self.rows += len(told["rows"]) if "rows" in told else told["outputs"][0]["shape"][0]

    def _note(self, status: str, words: str) -> None:
        self.statuses[status] += 1
        if _is_ours(status):
            self.failures[f"{status}: {words[:500]}"] += 1

    async def over_grpc(self, end: float) -> None:
        draw = random.Random(self._seed + 1)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self._server.grpc}") as channel:
            infer = channel.unary_unary(RPC)
            while time.monotonic() < end:
                try:
                    answer = message("ModelInferResponse").FromString(await infer(valid_message(draw), timeout=20))
                except grpc.RpcError as error:
                    self._note(f"gRPC {error.code().name}", error.debug_error_string())
                    continue
                self.statuses["gRPC OK"] += 1
                self.rows += answer.outputs[0].shape[0]


def run(folder: Path, minutes: float, seed: int) -> list[str]:
    """What was found wrong."""
    spec = importlib.util.spec_from_file_location("models", MODELS)
    assert spec is not None
    assert spec.loader is not None
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    by_schema = Server(models.mixed(folder / "mixed"), folder / "by-schema")
    damaged = Server(models.binary(folder / "binary"), folder / "damaged")
    servers = {"schemathesis": by_schema, "damaged requests": damaged}
    damager = Damager(damaged, seed)
    seconds = minutes * 60
    end = time.monotonic() + seconds
    try:
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            url = f"http://127.0.0.1:{by_schema.inference}/openapi.json"
            options = ["--max-time", str(int(seconds)), "--seed", str(seed), "--continue-on-failure"]
            tested = pool.submit(schemathesis, url, *options, seconds=seconds + 300)
            sent = [pool.submit(damager.over_http, end), pool.submit(asyncio.run, damager.over_grpc(end))]
            time.sleep(min(60.0, seconds / 4))
            settled = {name: server.memory_mib() for name, server in servers.items()}
            for future in sent:
                future.result()
            done = tested.result()
        print(done.stdout[-2000:] if not done.returncode else done.stdout)
        print(", ".join(f"{name}: {count}" for name, count in sorted(damager.statuses.items())))
        return judge(servers, settled, damager, done.returncode)
    finally:
        for server in servers.values():
            server.process.kill()


def judge(servers: dict[str, Server], settled: dict[str, float], damager: Damager, code: int) -> list[str]:
    wrong = [] if code == 0 else [f"schemathesis found something (exit code {code})"]
    for name, server in servers.items():
        if server.process.poll() is not None:
            wrong.append(f"{name}: the server ended")
            continue
        grown = server.memory_mib() - settled[name]
        print(f"{name}: {server.memory_mib():.0f} MiB, {grown:+.1f} since it settled")
        if grown > GROWTH_MIB:
            wrong.append(f"{name}: the server grew by {grown:.0f} MiB")
        if failures := server.failures():
            wrong.append(f"{name}: {failures[:4000]}")
    wrong += [f"{count} answers {told}" for told, count in damager.failures.items()]
    predicted, counted = servers["damaged requests"].counted()
    print(f"rows answered {damager.rows}, predicted {predicted}, counted for drift {counted}")
    if not damager.rows == predicted == counted:
        wrong.append("rows were lost or counted twice")
    return wrong


def _is_ours(status: str) -> bool:
    return status.startswith("HTTP 5") or status.removeprefix("gRPC ") in ("INTERNAL", "UNKNOWN", "UNAVAILABLE")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="to repeat a run")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as name:
        wrong = run(Path(name), options.minutes, options.seed)
    print("\n".join(wrong) or "nothing was found")
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
