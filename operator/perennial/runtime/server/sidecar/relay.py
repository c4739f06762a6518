"""Passes questions on to the neighbour and counts what comes back, as the built-in server counts its own answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any

from perennial.runtime.server import http
from perennial.runtime.server.answer import Answer
from perennial.runtime.server.counting import Counting
from perennial.runtime.server.engine import Answers
from perennial.runtime.server.http import Reply, Request
from perennial.runtime.server.inference import Answered, Asked, Client, Predictor
from perennial.runtime.server.model import Model
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.request import Question
from perennial.runtime.server.rows import Rows
from perennial.runtime.server.sidecar.edits import Message, asking_also, with_receipts, without
from perennial.runtime.server.sidecar.form import Unreadable
from perennial.runtime.server.sidecar.neighbour import Neighbour, Told

logger = logging.getLogger(__name__)

_OF_CONNECTION = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_OF_REQUEST = _OF_CONNECTION | {b"host", b"content-length", b"expect"}
_OF_ANSWER = _OF_CONNECTION | {b"content-type", b"content-length", b"date"}
_OF_BODY = frozenset((b"content-encoding", b"accept-encoding"))
"""Of a question, whose body was inflated already and whose answer has to be read."""


class Relay(Predictor):
    """A Predictor whose model is asked of the neighbour, as many requests at a time as there are."""

    is_front = True

    def __init__(self, name: str, model: Model, counting: Counting, neighbour: Neighbour) -> None:
        super().__init__(name, model, counting)
        self._neighbour = neighbour
        self._working: set[asyncio.Task[None]] = set()
        self._warned: set[str] = set()

    def infer(self, question: Question, answered: Answered, waiter: Client) -> None:
        """Have rows answered that came as records or over gRPC. See `Predictor.infer`."""
        self._start(self._ask(self._taken(question, answered, waiter)))

    async def _ask(self, asked: Asked) -> None:
        begun = self.scheduler.clock()
        try:
            answers = await self._neighbour.ask(asked.rows, asked.waiter.deadline)
            self.predicted(asked.rows.count, self.scheduler.clock() - begun)
            counted = self.count(asked.rows, answers)
        except Exception as error:
            self.fail(asked, error)
            return
        self.answer(asked, answers, counted)

    def pass_on(self, request: Request, body: bytes, question: Question | None, reply: http.Respond) -> None:
        """Have the neighbour answer a request as it is. `question` is None where it cannot be read here."""
        if question is not None:
            # Whether there are any is the neighbour's to say.
            question.attributions = False
        self._start(self._pass_on(request, body, question, reply))

    async def _pass_on(self, request: Request, body: bytes, question: Question | None, reply: http.Respond) -> None:
        begun = self.scheduler.clock()
        try:
            message = Message(_kept(request.headers, _OF_REQUEST | _OF_BODY), body)
            more = self._neighbour.form.lacks(question.outputs) if question is not None else []
            asked = asking_also(message, more) if more else message
            told = await self._neighbour.forward("POST", _target(request), asked, request.deadline)
            if told.status != 200:
                request.counted_as = self._code(told.status, question)
                reply(reply_of(told))
                return
            rows = self._read(question)
            answers = self._answers(told.message, rows)
            if question is None or answers is None or isinstance(rows, Refusal):
                # Of a request that cannot be read nobody knows how many rows it has.
                self._counting.totals.unread(1 if isinstance(rows, Refusal) else rows.count)
                reply(reply_of(told))
                return
            self.predicted(rows.count, self.scheduler.clock() - begun)
            counted = self.count(rows, answers)
        except Exception as error:
            reply(failed(error))
            return
        self.answer(Asked(question, rows, [], partial(_say, reply, told, more), request), answers, counted)

    def _read(self, question: Question | None) -> Rows | Refusal:
        if question is None:
            return Refusal(400, "it is no inference request")
        try:
            return self._intake(question)[0]
        except Refusal as refusal:
            return refusal

    def _answers(self, message: Message, rows: Rows | Refusal) -> Answers | None:
        if isinstance(rows, Refusal):
            self._warn("a request cannot be counted", rows.message)
            return None
        try:
            return self._neighbour.form.answers(message, rows.count)
        except Unreadable as error:
            self._warn("an answer cannot be counted", str(error))
            return None

    def _warn(self, what: str, why: str) -> None:
        if what not in self._warned:
            logger.warning("%s: %s; said once, perennial_unread_answers_total counts them", what, why)
            self._warned.add(what)

    def _code(self, status: int, question: Question | None) -> int:
        """What an answer counts as. A request that is right by the version's schema, or was for the version before, and
        is refused all the same is the server's failure, which a rollout has to see."""
        if status not in (400, 422):
            return status
        known = [self._intake] if self.predecessor is None else [self._intake, self.predecessor]
        return 422 if question is not None and any(intake.fits(question) for intake in known) else 400

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)


async def passed(neighbour: Neighbour, request: Request) -> Reply:
    """The neighbour's answer to a request that is none for a prediction. Raises Refusal."""
    headers = _kept(request.headers, _OF_REQUEST)
    return reply_of(await neighbour.forward(request.method, _target(request), Message(headers, request.body)))


def reply_of(told: Told) -> Reply:
    """An answer as it came. Raises Refusal 502 for what is none of HTTP's."""
    if told.status not in set(HTTPStatus):
        raise Refusal(502, f"your server answers with the unknown status {told.status}")
    message = told.message
    headers = b"".join(b"%b: %b\r\n" % header for header in _kept(message.headers, _OF_ANSWER))
    return Reply(message.body, told.status, message.header(b"content-type") or http.BINARY, headers)


def failed(error: Exception) -> Reply:
    if isinstance(error, Refusal):
        return http.refused(error)
    logger.error("a request could not be passed on", exc_info=error)
    return http.refused(Refusal(500, "the sidecar failed to pass the request on; its log says why"))


def _say(reply: http.Respond, told: Told, more: Collection[str], answer: Answer | Exception) -> None:
    """Answer with what the neighbour told, but for what we asked besides, and with the receipts that were asked for."""
    try:
        if isinstance(answer, Exception):
            raise answer
        message = without(told.message, more) if more else told.message
        if answer.receipts is not None:
            message = with_receipts(message, answer.receipts)
        reply(reply_of(Told(told.status, message)))
    except Exception as error:
        reply(failed(error))


def _target(request: Request) -> str:
    return request.target.decode("latin-1")


def _kept(headers: Iterable[tuple[bytes, bytes]], others: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in others]
