"""Servers with next to nothing on them, to see what a request costs whatever serves it.

`python bare.py PORT` is the model server's own HTTP with an application that says always the same. `uvicorn bare:app`,
with MODEL in the environment, is the least that can serve a model there: no checks, no counts, no metrics.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

ANSWER = (
    b'{"model_name":"forest","model_version":"1","outputs":[{"name":"label","shape":[1],"datatype":"INT64","data":[0]},'
    b'{"name":"probabilities","shape":[1,2],"datatype":"FP64","data":[0.98,0.02]}]}'
)


class Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Asked(msgspec.Struct):
    inputs: list[Tensor]


def asgi(model: str) -> Any:
    import numpy as np

    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    decode, encode = msgspec.json.Decoder(Asked).decode, msgspec.json.Encoder().encode
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}

    def answer(body: bytes) -> bytes:
        asked = decode(body).inputs[0]
        found = session.run(None, {"numbers": np.array(asked.data).reshape(asked.shape)})
        outputs = [{"name": name, "data": values.ravel().tolist()} for name, values in zip(names, found, strict=True)]
        return encode({"outputs": outputs})

    async def app(
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            return
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        await send(start)
        await send({"type": "http.response.body", "body": answer(body) if body else b"{}"})

    return app


class Null:
    """An application that answers everything alike."""

    max_body = 1 << 20

    def __init__(self, reply: Any) -> None:
        self._reply = reply

    def arrive(self, request: Any) -> None: ...

    def leave(self, request: Any, status: int) -> None: ...

    def respond(self, request: Any, reply: Callable[[Any], None]) -> None:
        reply(self._reply)


def serve_null(port: int) -> None:
    import uvloop

    from perennial.runtime.server.http import Reply, Server

    async def serve() -> None:
        server = Server(Null(Reply(ANSWER)))
        await server.listen("127.0.0.1", port)
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if "MODEL" in os.environ:
    app = asgi(os.environ["MODEL"])
if __name__ == "__main__":
    serve_null(int(sys.argv[1]))
