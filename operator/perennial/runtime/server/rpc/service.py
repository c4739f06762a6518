"""What each method answers, from the bytes of its request to those of its answer: no sockets, no gRPC."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np
from google.protobuf.message import DecodeError

from perennial.runtime.server import metadata
from perennial.runtime.server.admission import Admission
from perennial.runtime.server.answer import Answer
from perennial.runtime.server.http import CLIENT_GONE
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.raw import packed
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.rpc import reflection
from perennial.runtime.server.rpc.contents import question_of
from perennial.runtime.server.rpc.messages import REFLECTIONS, STATUSES, health, message
from perennial.runtime.server.state import State

INFERENCE_SERVICE = "inference.GRPCInferenceService"
HEALTH_SERVICE = "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = map(STATUSES.index, ("SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"))
WATCH_SECONDS = 0.2
"""How often those who watch the health are looked after."""
RECEIPTS = "receipts"
"""Parameters of gRPC are no lists: receipts are an output more, when they are asked for."""

_InferRequest, _InferResponse = message("ModelInferRequest"), message("ModelInferResponse")

Method = Callable[[bytes], Awaitable[bytes]]
Stream = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]


class Service:
    """Answers the methods of all services. Only requests for predictions are metered: probes are not load."""

    def __init__(self, state: State, meter: Meter, admission: Admission) -> None:
        self._state = state
        self._meter = meter
        self._admission = admission
        self.methods: dict[str, dict[str, Method]] = {
            INFERENCE_SERVICE: {
                "ServerLive": _plain("ServerLive", self._server_live),
                "ServerReady": _plain("ServerReady", self._server_ready),
                "ServerMetadata": _plain("ServerMetadata", self._server_metadata),
                "ModelReady": _plain("ModelReady", self._model_ready),
                "ModelMetadata": _plain("ModelMetadata", self._model_metadata),
                "ModelInfer": self._model_infer,
            },
            HEALTH_SERVICE: {"Check": self._check},
        }
        self.streams: dict[str, dict[str, Stream]] = {
            HEALTH_SERVICE: {"Watch": self._watch},
            **{f"{package}.ServerReflection": {"ServerReflectionInfo": _reflect(package)} for package in REFLECTIONS},
        }

    def _server_live(self, request: Any) -> dict[str, Any]:
        return {"live": True}

    def _server_ready(self, request: Any) -> dict[str, Any]:
        return {"ready": self._state.ready}

    def _server_metadata(self, request: Any) -> dict[str, Any]:
        return msgspec.structs.asdict(metadata.DESCRIPTION)

    def _model_ready(self, request: Any) -> dict[str, Any]:
        self._admission.check(request.name, request.version or None)
        return {"ready": self._state.ready}

    def _model_metadata(self, request: Any) -> dict[str, Any]:
        self._admission.check(request.name, request.version or None)
        described: dict[str, Any] = msgspec.to_builtins(
            metadata.describe(self._state.name, self._admission.predictor().model)
        )
        properties = described.pop("properties")
        return described | {"properties": {name: value for name, value in properties.items() if isinstance(value, str)}}

    async def _check(self, data: bytes) -> bytes:
        asked = _parsed(health("HealthCheckRequest"), data).service
        if asked not in self._known:
            raise Refusal(404, f"there is no service {asked!r} here; known are {', '.join(map(repr, self._known))}")
        return _health(self._status)

    async def _watch(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The status, and each that it becomes. Ends when the pod does, which waits for connections to end."""
        asked = _parsed(health("HealthCheckRequest"), await anext(aiter(requests), b"")).service
        said = None
        while True:
            status = self._status if asked in self._known else SERVICE_UNKNOWN
            if status != said:
                yield _health(status)
            if self._state.draining:
                return
            said = status
            await asyncio.sleep(WATCH_SECONDS)

    @property
    def _known(self) -> tuple[str, ...]:
        return ("", INFERENCE_SERVICE, self._state.name)

    @property
    def _status(self) -> int:
        return SERVING if self._state.ready else NOT_SERVING

    async def _model_infer(self, data: bytes) -> bytes:
        arrived = self._meter.arrive()
        status, caller = CLIENT_GONE, _Caller(asyncio.get_running_loop().create_future())
        try:
            answer = await self._infer(data, caller)
            status = 200
            return answer
        except Refusal as refusal:
            status = refusal.status
            raise
        except Exception:
            status = 500
            raise
        finally:
            self._meter.leave(arrived, status, explained=caller.explained)

    async def _infer(self, data: bytes, caller: _Caller) -> bytes:
        predictor = self._admission.predictor()
        request = _parsed(_InferRequest, data)
        self._admission.check(request.model_name, request.model_version or None)
        predictor.infer(question_of(request), partial(_settle, caller.answered), caller)
        return _written(await caller.answered)


@dataclass
class _Caller:
    """Who waits for an answer. gRPC cancels the method when the client goes and when its deadline passes."""

    answered: asyncio.Future[Answer]
    deadline: float = math.inf
    explained: bool = False

    @property
    def gone(self) -> bool:
        return self.answered.cancelled()


def _settle(answered: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if answered.cancelled():
        return
    if isinstance(answer, Exception):
        answered.set_exception(answer)
    else:
        answered.set_result(answer)


def _plain(name: str, answer: Callable[[Any], dict[str, Any]]) -> Method:
    request, response = message(f"{name}Request"), message(f"{name}Response")

    async def method(data: bytes) -> bytes:
        return bytes(response(**answer(_parsed(request, data))).SerializeToString())

    return method


def _reflect(package: str) -> Stream:
    kind = message("ServerReflectionRequest", package)

    async def method(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in requests:
            yield bytes(reflection.told(_parsed(kind, data), package).SerializeToString())

    return method


def _health(status: int) -> bytes:
    return bytes(health("HealthCheckResponse")(status=status).SerializeToString())


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Refusal(400, f"this is no {kind.DESCRIPTOR.name}: {error}") from error


def _written(answer: Answer) -> bytes:
    """Values are always raw: that is what clients read."""
    response = _InferResponse(model_name=answer.model, model_version=answer.version, id=answer.id or "")
    for output in answer.outputs:
        response.outputs.add(name=output.name, datatype=output.datatype, shape=output.values.shape)
        response.raw_output_contents.append(packed(output.values, output.datatype))
    if answer.receipts is not None:
        response.outputs.add(name=RECEIPTS, datatype="BYTES", shape=[len(answer.receipts)])
        response.raw_output_contents.append(packed(np.array(answer.receipts, object), "BYTES"))
    return bytes(response.SerializeToString())
