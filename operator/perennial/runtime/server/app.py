"""The inference port: Open Inference Protocol v2 over HTTP, as a bare ASGI application."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import msgspec

from perennial.runtime.server import metadata
from perennial.runtime.server.connection import ARRIVED, CLIENT_GONE
from perennial.runtime.server.http import (
    Disconnected,
    Receive,
    Scope,
    Send,
    answer,
    encode,
    method_not_allowed,
    not_found,
    overloaded,
    read_body,
    refuse,
)
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.state import State

logger = logging.getLogger(__name__)

EXTENSIONS = ["perennial_receipt"]


class Health(msgspec.Struct, omit_defaults=True):
    name: str | None = None
    live: bool | None = None
    ready: bool | None = None


class Server(msgspec.Struct):
    name: str
    version: str
    extensions: list[str]


SERVER = Server("perennial", version("perennial"), EXTENSIONS)


class InferenceApp:
    """Routes requests of the inference port."""

    def __init__(self, state: State, meter: Meter, *, max_body: int, max_in_flight: int) -> None:
        self._state = state
        self._meter = meter
        self._max_body = max_body
        self._max_in_flight = max_in_flight
        self._model_path = f"/v2/models/{state.name}"
        self._infer_path = f"{self._model_path}/infer"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == self._infer_path or path.endswith("/infer"):
            await self._infer(scope, receive, send)
            return
        try:
            status, body = self._get(scope["method"], path)
        except Refusal as refusal:
            await refuse(send, refusal)
            return
        await answer(send, encode(body), status)

    async def _infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        code, arrived = 500, None
        try:
            body = await self._read(scope, receive)
            arrived = scope.get(ARRIVED) or self._meter.arrive()
            answered = await self._answer(body)
            code = 200
            await answer(send, answered)
        except Refusal as refusal:
            code = refusal.status
            await refuse(send, refusal)
        except Disconnected:
            code = CLIENT_GONE
        except Exception:
            # Nothing that a client sends should come here: what does is ours to mend.
            code = 500
            logger.exception("an inference request failed")
            await refuse(send, Refusal(500, "the server failed to answer; its log says why"))
        finally:
            arrived = arrived or scope.get(ARRIVED) or self._meter.arrive()
            self._meter.leave(arrived, code)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        path = scope["path"]
        if path != self._infer_path:
            self._check_model(path.removesuffix("/infer"))
        if scope["method"] != "POST":
            raise method_not_allowed(scope["method"], "POST")
        if self._meter.in_flight > self._max_in_flight:
            raise overloaded(f"more than {self._max_in_flight} requests are in flight")
        return await read_body(scope, receive, self._max_body)

    async def _answer(self, body: bytes) -> bytes:
        predictor = self._state.predictor
        if predictor is None:
            raise overloaded("the model is not loaded yet")
        return await predictor.infer(body)

    def _get(self, method: str, path: str) -> tuple[int, Any]:
        respond = self._fixed(path) or self._of_model(path)
        if method != "GET":
            raise method_not_allowed(method, "GET")
        return respond()

    def _fixed(self, path: str) -> Callable[[], tuple[int, Any]] | None:
        ready = self._state.ready
        if path == "/v2":
            return lambda: (200, SERVER)
        if path == "/v2/health/live":
            return lambda: (200, Health(live=True))
        if path == "/v2/health/ready":
            return lambda: (200 if ready else 503, Health(ready=ready))
        return None

    def _of_model(self, path: str) -> Callable[[], tuple[int, Any]]:
        base = path.removesuffix("/ready")
        self._check_model(base)
        state, ready = self._state, self._state.ready
        if base != path:
            return lambda: (200 if ready else 503, Health(name=state.name, ready=ready))
        if state.predictor is None:
            raise overloaded("the model is not loaded yet")
        model = state.predictor.model
        return lambda: (200, metadata.describe(state.name, model))

    def _check_model(self, path: str) -> None:
        """Raises Refusal 404 unless `path` is the served model's, with its version or none."""
        if path == self._model_path:
            return
        parts = path.split("/")
        if path[:11] != "/v2/models/" or len(parts) not in (4, 6) or (len(parts) == 6 and parts[4] != "versions"):
            raise not_found(path)
        if parts[3] != self._state.name:
            raise Refusal(404, f"there is no model {parts[3]!r} here; this server has {self._state.name!r}")
        if parts[5] != self._state.version:
            raise Refusal(
                404, f"model {parts[3]!r} has no version {parts[5]!r} here; this server has {self._state.version!r}"
            )
