"""The control port: what the operator, Prometheus and those who send labels ask a pod. A NetworkPolicy says who may."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from perennial.runtime.server import http, measurements
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.feedback import Feedback
from perennial.runtime.server.http import (
    TEXT,
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
from perennial.runtime.server.refusal import Refusal, malformed
from perennial.runtime.server.state import State
from perennial.wire.counts import EPOCHS_PATH, REFERENCE_PATH, Take
from perennial.wire.stats import STATS_PATH

logger = logging.getLogger(__name__)

METRICS_PATH = "/metrics"

_decode_take = msgspec.json.Decoder(Take).decode

Respond = Callable[[bytes], Reply]


class ControlApp:
    """Routes requests of the control port."""

    def __init__(self, state: State, meter: Meter, *, max_body: int) -> None:
        self.max_body = max_body
        self._state = state
        self._meter = meter
        self._routes: dict[str, tuple[str, Respond]] = {
            METRICS_PATH: ("GET", self._metrics),
            STATS_PATH: ("GET", self._stats),
            REFERENCE_PATH: ("GET", self._reference),
            EPOCHS_PATH: ("POST", self._epochs),
            f"/v2/models/{state.name}/feedback": ("POST", self._feedback),
        }

    def arrive(self, request: Request) -> None:
        """Nothing here counts as load."""

    def leave(self, request: Request, status: int) -> None:
        """Nothing here counts as load."""

    def respond(self, request: Request, reply: http.Respond) -> None:
        reply(self._reply(request))

    def _reply(self, request: Request) -> Reply:
        try:
            return self._respond(request)
        except Refusal as refusal:
            return refused(refusal)
        except Exception:
            logger.exception("a control request failed")
            return refused(Refusal(500, "the server failed to answer; its log says why"))

    def _respond(self, request: Request) -> Reply:
        if request.path not in self._routes:
            raise _unknown(request.path, self._state.name)
        allowed, respond = self._routes[request.path]
        if request.method != allowed:
            raise method_not_allowed(request.method, allowed)
        if request.encoding not in (b"", b"identity"):
            raise Refusal(415, "encoded bodies are not taken; send plain JSON")
        return respond(request.body)

    def _loaded(self) -> tuple[Predictor, Counting]:
        predictor, counting = self._state.predictor, self._state.counting
        if predictor is None or counting is None:
            raise overloaded("the model is not loaded yet")
        return predictor, counting

    def _metrics(self, body: bytes) -> Reply:
        self._meter.accrue()
        return Reply(measurements.exposition(self._state, self._meter), content_type=TEXT)

    def _stats(self, body: bytes) -> Reply:
        predictor, counting = self._loaded()
        self._meter.accrue()
        return Reply(encode(measurements.stats(predictor, counting, self._meter)))

    def _reference(self, body: bytes) -> Reply:
        predictor, _ = self._loaded()
        if predictor.model.reference is None:
            raise Refusal(404, "the model was published without a reference")
        return Reply(encode(predictor.model.reference))

    def _epochs(self, body: bytes) -> Reply:
        _, counting = self._loaded()
        try:
            take = _decode_take(body or b"{}")
        except (ValueError, RecursionError) as error:
            raise malformed(error) from error
        return Reply(encode(counting.book.take(take, draining=self._state.draining)))

    def _feedback(self, body: bytes) -> Reply:
        predictor, counting = self._loaded()
        model = predictor.model
        return Reply(encode(Feedback(counting.book, model.digest, model.schema)(body)))


def _unknown(path: str, name: str) -> Refusal:
    parts = path.split("/")
    if len(parts) == 5 and path.startswith("/v2/models/") and parts[4] == "feedback":
        return Refusal(404, f"there is no model {parts[3]!r} here; this server has {name!r}")
    return not_found(path)
