"""The control port: what the operator, Prometheus and those who send labels ask a pod. A NetworkPolicy says who may."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from perennial.runtime.server import http, measurements
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.counts.journal import Basis, Journal, remember
from perennial.runtime.server.http import (
    BINARY,
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
from perennial.runtime.server.joining import Joining
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.refusal import Refusal, malformed
from perennial.runtime.server.state import State
from perennial.wire.counts import EPOCHS_PATH, REFERENCE_PATH, Take
from perennial.wire.journal import (
    JOURNAL_PATH,
    KEYS_PATH,
    LABELS_PATH,
    RECEIPTS_PATH,
    RECORDS_PATH,
    WAITING_PATH,
    Keep,
    Kept,
    Keys,
    Matches,
    Outcomes,
    Page,
    Receipts,
    Received,
    Records,
    Visit,
    Waiting,
)
from perennial.wire.stats import STATS_PATH

logger = logging.getLogger(__name__)

METRICS_PATH = "/metrics"

KEYS = 2**18
"""Of predictions, in one answer: 3 MiB."""

_decode_take = msgspec.json.Decoder(Take).decode
_decode_keep = msgspec.json.Decoder(Keep).decode
_decode_page = msgspec.msgpack.Decoder(Page).decode
_decode_matches = msgspec.msgpack.Decoder(Matches).decode
_decode_visit = msgspec.msgpack.Decoder(Visit).decode
_decode_receipts = msgspec.msgpack.Decoder(Receipts).decode
_decode_records = msgspec.msgpack.Decoder(Records).decode
_decode_basis = msgspec.msgpack.Decoder(Basis).decode
pack = msgspec.msgpack.encode

Respond = Callable[[bytes], Reply]


class ControlApp:
    """Routes requests of the control port. `counts` is the folder of what the pod remembers."""

    def __init__(self, state: State, meter: Meter, counts: Path, *, max_body: int) -> None:
        self.max_body = max_body
        self._state = state
        self._meter = meter
        self._counts = counts
        self._routes: dict[str, tuple[str, Respond]] = {
            METRICS_PATH: ("GET", self._metrics),
            STATS_PATH: ("GET", self._stats),
            REFERENCE_PATH: ("GET", self._reference),
            EPOCHS_PATH: ("POST", self._epochs),
            JOURNAL_PATH: ("POST", self._keep),
            KEYS_PATH: ("POST", self._keys),
            LABELS_PATH: ("POST", self._labels),
            RECORDS_PATH: ("POST", self._records),
            WAITING_PATH: ("POST", self._waiting),
            RECEIPTS_PATH: ("POST", self._receipts),
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
        take = _decoded(_decode_take, body or b"{}")
        epochs = counting.book.take(take)
        epochs.key = counting.journal.key if counting.journal is not None else None
        return Reply(encode(epochs))

    def _keep(self, body: bytes) -> Reply:
        """Also before the model is loaded: what is served first is to be remembered too."""
        key = _decoded(_decode_keep, body).key
        if self._state.predictor is None:
            remember(self._counts, key)
        else:
            self._state.predictor.keep(key)
        return Reply(encode(Kept(key)))

    def _keys(self, body: bytes) -> Reply:
        _, counting = self._loaded()
        journal = self._open(counting)
        keys = Keys(self._state.name, None)
        if journal is not None:
            page = _decoded(_decode_page, body)
            first, end, rows = journal.rows(page.after, KEYS)
            keys = Keys(self._state.name, journal.key, first, end, journal.written, rows)
        return Reply(pack(keys), content_type=BINARY)

    def _labels(self, body: bytes) -> Reply:
        given = _decoded(_decode_matches, body)
        return self._joined(given.name, lambda joining: joining(given.matches))

    def _receipts(self, body: bytes) -> Reply:
        given = _decoded(_decode_receipts, body)
        return self._joined(given.name, lambda joining: joining.receive(given.labels))

    def _joined(self, name: str, take: Callable[[Joining], Outcomes]) -> Reply:
        predictor, counting = self._loaded()
        journal = self._open(counting)
        self._check_name(name)
        if journal is None:
            raise Refusal(409, "no predictions are remembered here")
        return Reply(pack(take(Joining(counting.book, journal, predictor.model.digest))), content_type=BINARY)

    def _waiting(self, body: bytes) -> Reply:
        predictor, counting = self._loaded()
        given = _decoded(_decode_visit, body)
        self._check_name(given.name)
        self._open(counting)
        predictor.feedback.settle(given.counted, given.forgotten)
        counting.waiting.visited(given.again)
        labels = [Received(item.id, item.label) for item in counting.waiting.all]
        return Reply(pack(Waiting(labels)), content_type=BINARY)

    def _records(self, body: bytes) -> Reply:
        """Another pod's, which ends. The key comes with them: an operator that is down has told it to nobody."""
        predictor, counting = self._loaded()
        given = _decoded(_decode_records, body)
        self._check_name(given.name)
        self._open(counting)
        if counting.journal is None:
            predictor.keep(given.key)
        journal = counting.journal
        if journal is None or journal.key != given.key:
            raise Refusal(409, f"predictions are not remembered by {given.key!r} here")
        try:
            models = [_decode_basis(model) for model in given.models]
            taken = journal.take(models, given.records)
        except ValueError as error:
            raise malformed(error) from error
        return Reply(encode({"taken": taken}))

    def _open(self, counting: Counting) -> Journal | None:
        """Raises Refusal 503 where the pod gives its predictions away: another one will have them."""
        if self._state.draining or (counting.journal is not None and counting.journal.closed):
            raise overloaded("the pod is ending")
        return counting.journal

    def _check_name(self, name: str) -> None:
        """An address may be another pod's by now."""
        if name != self._state.name:
            raise Refusal(404, f"there is no model {name!r} here; this server has {self._state.name!r}")

    def _feedback(self, body: bytes) -> Reply:
        predictor, counting = self._loaded()
        if counting.book.finished or (counting.journal is not None and counting.journal.closed):
            raise overloaded("the pod is ending, and its last counts are on their way")
        return Reply(encode(predictor.feedback(body)))


DecodedT = TypeVar("DecodedT")


def _decoded(decode: Callable[[bytes], DecodedT], body: bytes) -> DecodedT:
    """Raises Refusal 400."""
    try:
        return decode(body)
    except (ValueError, RecursionError) as error:
        raise malformed(error) from error


def _unknown(path: str, name: str) -> Refusal:
    parts = path.split("/")
    if len(parts) == 5 and path.startswith("/v2/models/") and parts[4] == "feedback":
        return Refusal(404, f"there is no model {parts[3]!r} here; this server has {name!r}")
    return not_found(path)
