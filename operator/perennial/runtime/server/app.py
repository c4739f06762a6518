"""The inference port: Open Inference Protocol v2 over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable

from perennial.runtime.server import http, metadata, openapi
from perennial.runtime.server.admission import Admission
from perennial.runtime.server.answer import Answer, writer_of
from perennial.runtime.server.encoding import inflated
from perennial.runtime.server.http import (
    Reply,
    Request,
    encode,
    method_not_allowed,
    not_found,
    overloaded,
    refused,
)
from perennial.runtime.server.inference import Predictor
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.request import InferenceRequest, Question, decode
from perennial.runtime.server.state import State

logger = logging.getLogger(__name__)

INFER = "/infer"
OPENAPI = "/openapi.json"


Respond = Callable[[], Reply]


class InferenceApp:
    """Routes requests of the inference port. Only requests for predictions are metered: probes are not load."""

    def __init__(self, state: State, meter: Meter, admission: Admission, *, max_body: int) -> None:
        self.max_body = max_body
        self._state = state
        self._meter = meter
        self._admission = admission
        self._model_path = f"/v2/models/{state.name}"
        self._infer_path = self._model_path + INFER

    def arrive(self, request: Request) -> None:
        if request.path.endswith(INFER):
            request.arrived = self._meter.arrive()

    def leave(self, request: Request, status: int) -> None:
        if request.arrived:
            self._meter.leave(request.arrived, status, explained=request.explained)

    def respond(self, request: Request, reply: http.Respond) -> None:
        try:
            if request.path.endswith(INFER):
                self._infer(request, reply)
            else:
                reply(self._get(request))
        except Exception as error:
            reply(_failed(error))

    def _infer(self, request: Request, reply: http.Respond) -> None:
        predictor, body = self._admit(request)
        asked, question = decode(body, request.json_length)
        self._predict(predictor, asked, question, request, reply)

    def _admit(self, request: Request) -> tuple[Predictor, bytes]:
        """Who answers, and the body as it was before it was encoded. Raises Refusal."""
        if request.path != self._infer_path:
            self._check_model(request.path.removesuffix(INFER))
        if request.method != "POST":
            raise method_not_allowed(request.method, "POST")
        predictor = self._admission.predictor()
        request.deadline = http.deadline(request)
        body = inflated(request.body, request.encoding, self.max_body) if request.encoding else request.body
        return predictor, body

    def _predict(
        self, predictor: Predictor, asked: InferenceRequest, question: Question, request: Request, reply: http.Respond
    ) -> None:
        write = writer_of(asked, predictor.model.schema)

        def answered(answer: Answer | Exception) -> None:
            try:
                reply(_failed(answer) if isinstance(answer, Exception) else write(answer))
            except Exception as error:
                reply(_failed(error))

        predictor.infer(question, answered, request)

    def _get(self, request: Request) -> Reply:
        respond = self._fixed(request.path) or self._of_model(request.path)
        if request.method != "GET":
            raise method_not_allowed(request.method, "GET")
        return respond()

    def _fixed(self, path: str) -> Respond | None:
        ready = self._state.ready
        if path == "/v2":
            return lambda: Reply(encode(metadata.DESCRIPTION))
        if path == OPENAPI:
            return self._document
        if path == "/v2/health/live":
            return lambda: Reply(encode(metadata.Health(live=True)))
        if path == "/v2/health/ready":
            return lambda: Reply(encode(metadata.Health(ready=ready)), _ready_status(ready))
        return None

    def _of_model(self, path: str) -> Respond:
        base = path.removesuffix("/ready")
        self._check_model(base)
        name, ready = self._state.name, self._state.ready
        if base != path:
            return lambda: Reply(encode(metadata.Health(name=name, ready=ready)), _ready_status(ready))
        return self._describe

    def _document(self) -> Reply:
        if self._state.predictor is None:
            raise overloaded("the model is not loaded yet")
        return Reply(encode(openapi.describe(self._state.name, self._state.predictor.model)))

    def _describe(self) -> Reply:
        if self._state.predictor is None:
            raise overloaded("the model is not loaded yet")
        return Reply(encode(metadata.describe(self._state.name, self._state.predictor.model)))

    def _check_model(self, path: str) -> None:
        """Raises Refusal 404 unless `path` is the served model's, with its version or none."""
        if path == self._model_path:
            return
        parts = path.split("/")
        if parts[:3] != ["", "v2", "models"] or len(parts) not in (4, 6) or parts[4:5] not in ([], ["versions"]):
            raise not_found(path)
        self._admission.check(parts[3], parts[5] if len(parts) == 6 else None)


def _ready_status(ready: bool) -> int:
    return 200 if ready else 503


def _failed(error: Exception) -> Reply:
    """Nothing that a client sends should end here but as a refusal: what does is ours to mend."""
    if isinstance(error, Refusal):
        return refused(error)
    logger.error("an inference request failed", exc_info=error)
    return refused(Refusal(500, "the server failed to answer; its log says why"))
