"""The control port: what the operator, Prometheus and those who send labels ask a pod. A NetworkPolicy says who may."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from perennial.runtime.server import measurements
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.feedback import Feedback
from perennial.runtime.server.http import (
    JSON,
    TEXT,
    Disconnected,
    Header,
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
from perennial.runtime.server.inference import Predictor
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.refusal import Refusal, malformed
from perennial.runtime.server.state import State
from perennial.wire.counts import EPOCHS_PATH, REFERENCE_PATH, Take
from perennial.wire.stats import STATS_PATH

logger = logging.getLogger(__name__)

METRICS_PATH = "/metrics"

_decode_take = msgspec.json.Decoder(Take).decode

Respond = Callable[[bytes], tuple[bytes, Header]]


class ControlApp:
    """Routes requests of the control port."""

    def __init__(self, state: State, meter: Meter, *, max_body: int) -> None:
        self._state = state
        self._meter = meter
        self._max_body = max_body
        self._routes: dict[str, tuple[str, Respond]] = {
            METRICS_PATH: ("GET", self._metrics),
            STATS_PATH: ("GET", self._stats),
            REFERENCE_PATH: ("GET", self._reference),
            EPOCHS_PATH: ("POST", self._epochs),
            f"/v2/models/{state.name}/feedback": ("POST", self._feedback),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body, content_type = await self._respond(scope, receive)
            await answer(send, body, content_type=content_type)
        except Refusal as refusal:
            await refuse(send, refusal)
        except Disconnected:
            return
        except Exception:
            logger.exception("a control request failed")
            await refuse(send, Refusal(500, "the server failed to answer; its log says why"))

    async def _respond(self, scope: Scope, receive: Receive) -> tuple[bytes, Header]:
        path, method = scope["path"], scope["method"]
        if path not in self._routes:
            raise _unknown(path, self._state.name)
        allowed, respond = self._routes[path]
        if method != allowed:
            raise method_not_allowed(method, allowed)
        return respond(await read_body(scope, receive, self._max_body))

    def _loaded(self) -> tuple[Predictor, Counting]:
        predictor, counting = self._state.predictor, self._state.counting
        if predictor is None or counting is None:
            raise overloaded("the model is not loaded yet")
        return predictor, counting

    def _metrics(self, body: bytes) -> tuple[bytes, Header]:
        self._meter.accrue()
        return measurements.exposition(self._state, self._meter), TEXT

    def _stats(self, body: bytes) -> tuple[bytes, Header]:
        predictor, counting = self._loaded()
        self._meter.accrue()
        return encode(measurements.stats(predictor, counting, self._meter)), JSON

    def _reference(self, body: bytes) -> tuple[bytes, Header]:
        predictor, _ = self._loaded()
        if predictor.model.reference is None:
            raise Refusal(404, "the model was published without a reference")
        return encode(predictor.model.reference), JSON

    def _epochs(self, body: bytes) -> tuple[bytes, Header]:
        _, counting = self._loaded()
        try:
            take = _decode_take(body or b"{}")
        except (ValueError, RecursionError) as error:
            raise malformed(error) from error
        return encode(counting.book.take(take, draining=self._state.draining)), JSON

    def _feedback(self, body: bytes) -> tuple[bytes, Header]:
        predictor, counting = self._loaded()
        model = predictor.model
        return encode(Feedback(counting.book, model.digest, model.schema)(body)), JSON


def _unknown(path: str, name: str) -> Refusal:
    parts = path.split("/")
    if len(parts) == 5 and path.startswith("/v2/models/") and parts[4] == "feedback":
        return Refusal(404, f"there is no model {parts[3]!r} here; this server has {name!r}")
    return not_found(path)
