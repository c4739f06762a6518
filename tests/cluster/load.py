"""A load that counts: every request is answered, refused or lost, and it says which.

It runs in a pod of the cluster with the runtime's image, against the Service, so that connections are spread as the
cluster spreads them. Some workers keep their connection until an answer ends it, others open one for each request, and
with `--rpc` some ask over gRPC. With `--labels` the truth of each row is sent to the control port with the receipt of
its prediction, with `--chance` what a coin says. On SIGTERM, or after `--seconds`, it ends its requests under way and
prints what it counted as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
from collections import Counter
from typing import Any

TIMEOUT_SECONDS = 10.0
CARRIERS = ("UA", "DL", "AA")


class Connection:
    """One HTTP/1.1 connection. Raises OSError, EOFError or TimeoutError for an answer that does not come."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        length, closes = 0, False
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, value = line.decode().partition(":")
            if name.lower() == "content-length":
                length = int(value)
            elif name.lower() == "connection" and value.strip().lower() == "close":
                closes = True
        answer = await reader.readexactly(length)
        if closes:
            self.close()
        return status, answer

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None


class Load:
    """What was sent and what became of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._draw = random.Random(options.seed)
        self._infer = f"/v2/models/{options.model}/infer"
        self._feedback = f"/v2/models/{options.model}/feedback"
        self.ending = asyncio.Event()
        self.sent = 0
        self.statuses: Counter[int] = Counter()
        self.versions: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.labelled = 0
        self._same = self._body() if options.same else None

    async def work(self, keep_alive: bool) -> None:
        connection = Connection(self._options.host, self._options.port)
        control = Connection(self._options.host, self._options.control_port)
        while not self.ending.is_set():
            await self._request(connection, control)
            if not keep_alive:
                connection.close()
            await asyncio.sleep(self._options.pause)
        connection.close()
        control.close()

    async def _request(self, connection: Connection, control: Connection) -> None:
        body, labels = self._same or self._body()
        self.sent += 1
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, answer = await connection.post(self._infer, body)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.lost[f"{type(error).__name__}: {error}"[:120]] += 1
            connection.close()
            return
        self.statuses[status] += 1
        if status != 200:
            return
        told = json.loads(answer)
        self.versions[str(told.get("model_version"))] += 1
        if self._options.labels:
            await self._label(control, told["parameters"]["receipts"], labels)

    async def work_over_grpc(self) -> None:
        """Imported here: it takes more than all the rest of the load."""
        import grpc.aio

        target = f"{self._options.host}:{self._options.grpc_port}"
        async with grpc.aio.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            while not self.ending.is_set():
                self.sent += 1
                try:
                    answer = await infer(self._message(), timeout=TIMEOUT_SECONDS)
                except grpc.RpcError as error:
                    self.lost[f"{error.code().name}: {error.details()}"[:240]] += 1
                else:
                    self.statuses[200] += 1
                    self.versions[_rpc_message("ModelInferResponse").FromString(answer).model_version] += 1
                await asyncio.sleep(self._options.pause)

    def _message(self) -> bytes:
        contents = {"FP64": "fp64_contents", "BYTES": "bytes_contents"}
        inputs = []
        for tensor in self._rows()[0]:
            kind, data = tensor["datatype"], tensor["data"]
            values = [text.encode() for text in data] if kind == "BYTES" else data
            inputs.append(
                {
                    "name": tensor["name"],
                    "datatype": kind,
                    "shape": tensor["shape"],
                    "contents": {contents[kind]: values},
                }
            )
        request = _rpc_message("ModelInferRequest")(model_name=self._options.model, inputs=inputs)
        return bytes(request.SerializeToString())

    def _body(self) -> tuple[bytes, list[int]]:
        inputs, labels = self._rows()
        return json.dumps({"parameters": {"receipt": self._options.labels}, "inputs": inputs}).encode(), labels

    async def _label(self, control: Connection, receipts: list[str], labels: list[int]) -> None:
        said = [{"receipt": receipt, "label": label} for receipt, label in zip(receipts, labels, strict=True)]
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                _, answer = await control.post(self._feedback, json.dumps({"labels": said}).encode())
            self.labelled += json.loads(answer).get("accepted", 0)
        except (OSError, EOFError, TimeoutError, ValueError):
            control.close()

    def _rows(self) -> tuple[list[dict[str, Any]], list[int]]:
        draw, count = self._draw, self._options.rows
        a = [draw.gauss(0, 1) for _ in range(count)]
        b = [draw.gauss(0, 1) for _ in range(count)]
        carrier = [draw.choice(CARRIERS) for _ in range(count)]
        late = [
            int(x + 0.5 * y + (z == "UA") + draw.gauss(0, 0.7) > 0.3) for x, y, z in zip(a, b, carrier, strict=True)
        ]
        inputs: list[dict[str, Any]] = [
            {"name": "a", "datatype": "FP64", "shape": [count], "data": a},
            {"name": "b", "datatype": "FP64", "shape": [count], "data": b},
            {"name": "carrier", "datatype": "BYTES", "shape": [count], "data": carrier},
        ]
        return inputs, [draw.randrange(2) for _ in range(count)] if self._options.chance else late

    def counted(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "statuses": self.statuses,
            "versions": self.versions,
            "lost": self.lost,
            "labelled": self.labelled,
        }


def _rpc_message(name: str) -> Any:
    from perennial.runtime.server.rpc.messages import message

    return message(name)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    load = Load(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, load.ending.set)
    workers = [load.work(True) for _ in range(options.kept)] + [load.work(False) for _ in range(options.fresh)]
    workers += [load.work_over_grpc() for _ in range(options.rpc)]
    tasks = [asyncio.create_task(worker) for worker in workers]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(load.ending.wait(), options.seconds)
    load.ending.set()
    await asyncio.gather(*tasks)
    return load.counted()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--control-port", type=int, default=8081)
    parser.add_argument("--model", required=True)
    parser.add_argument("--kept", type=int, default=4, help="workers that keep their connection")
    parser.add_argument("--fresh", type=int, default=2, help="workers with a connection for each request")
    parser.add_argument("--grpc-port", type=int, default=9000)
    parser.add_argument("--rpc", type=int, default=0, help="workers that ask over gRPC")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between the requests of a worker")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--same", action="store_true", help="one request again and again: the work is the server's")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("--chance", action="store_true", help="labels that no model can predict")
    parser.add_argument("--seed", type=int, default=1)
    print(json.dumps(asyncio.run(run(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
