"""The neighbour: the user's server in the same pod, asked over HTTP on the loopback address.

It is an engine like the others, for rows that came as records or over gRPC and for the examples of the version; what
clients send it as tensors is passed on as it is.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass

import aiohttp
import msgspec
from yarl import URL

from perennial.runtime.server.app import INFER
from perennial.runtime.server.engine import Answers
from perennial.runtime.server.http import encode, overloaded
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.rows import Rows
from perennial.runtime.server.sidecar.edits import Message
from perennial.runtime.server.sidecar.form import Form, ModelMetadata, Unreadable
from perennial.wire.schema import Schema

logger = logging.getLogger(__name__)

SECONDS = 30.0
"""How long an answer is waited for, where the client does not say how long it waits."""
KEPT_SECONDS = 2.0
"""How long an unused connection is kept: less than the 5 s after which uvicorn, for one, ends it."""
ASK_AGAIN_SECONDS = 0.5
_SAY_AGAIN_SECONDS = 30.0
NOTHING = Message([], b"")


@dataclass(frozen=True, slots=True)
class Told:
    """An answer of the neighbour's as it came."""

    status: int
    message: Message


class Neighbour:
    """Asks the neighbour on a port of this pod for the model of this name. To be made on the event loop."""

    name = "own"
    decide = None

    def __init__(self, model: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._base = f"http://127.0.0.1:{port}"
        self._model = f"/v2/models/{model}"
        self._where = f"your server on port {port}"
        self._form: Form | None = None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS),
            # What is said is passed on as it is: nothing is added, unpacked or given up here.
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    @property
    def form(self) -> Form:
        assert self._form is not None, "the neighbour is asked before it was introduced"
        return self._form

    async def close(self) -> None:
        await self._session.close()

    async def wait_ready(self) -> None:
        """Until it says that it serves the model."""
        said = -math.inf
        while (problem := await self._unready()) is not None:
            if time.monotonic() - said > _SAY_AGAIN_SECONDS:
                logger.info("waiting for %s to be ready: %s", self._where, problem)
                said = time.monotonic()
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _unready(self) -> str | None:
        try:
            told = await self.forward("GET", f"{self._model}/ready", deadline=time.monotonic() + 5)
        except Refusal as refusal:
            return refusal.message
        return None if told.status == 200 else f"{self._model}/ready answers {told.status}"

    async def introduce(self, schema: Schema) -> None:
        """Learn in which form it takes rows, as far as its metadata say."""
        metadata = ModelMetadata()
        told = await self.forward("GET", self._model)
        try:
            if told.status == 200:
                metadata = msgspec.json.decode(told.message.body, type=ModelMetadata)
        except msgspec.DecodeError as error:
            logger.warning("the metadata of %s are not understood: %s", self._where, error)
        self._form = Form(schema, metadata)

    def __call__(self, rows: Rows) -> Answers:
        """Ask from a thread beside the event loop. Raises Refusal."""
        return asyncio.run_coroutine_threadsafe(self.ask(rows), self._loop).result()

    async def ask(self, rows: Rows, deadline: float = math.inf) -> Answers:
        """What it says to rows. Raises Refusal: 422 where it does not take them, 502, 503, 504."""
        question = Message([(b"content-type", b"application/json")], encode(self.form.request(rows)))
        told = await self.forward("POST", f"{self._model}{INFER}", question, deadline)
        if told.status != 200:
            raise _refusal(told, self._where)
        try:
            return self.form.answers(told.message, rows.count)
        except Unreadable as error:
            raise Refusal(502, f"the answer of {self._where} cannot be read: {error}") from error

    async def forward(self, method: str, target: str, message: Message = NOTHING, deadline: float = math.inf) -> Told:
        """Send a request and take its answer whole. `deadline` is monotonic seconds, infinite: in SECONDS.

        Raises Refusal: 502 where there is no answer, 504 where it is late.
        """
        seconds = SECONDS if deadline == math.inf else deadline - time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                if method == "GET" or target.partition("?")[0].endswith(INFER):
                    return await self._patiently(method, target, message)
                return await self._send(method, target, message)
        except TimeoutError as error:
            late = f"within {SECONDS:.0f} s" if deadline == math.inf else "before the deadline"
            raise Refusal(504, f"{self._where} did not answer {late}") from error
        except aiohttp.ClientConnectorError as error:
            raise Refusal(502, f"{self._where} takes no connection: {error.strerror or error}") from error
        except aiohttp.ClientError as error:
            raise Refusal(502, f"{self._where} gave no answer: {error or type(error).__name__}") from error

    async def _patiently(self, method: str, target: str, message: Message) -> Told:
        """Ask what changes nothing, and once more where a kept connection was ended meanwhile."""
        try:
            return await self._send(method, target, message)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise
            return await self._send(method, target, message)

    async def _send(self, method: str, target: str, message: Message) -> Told:
        given = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.headers]
        url = URL(self._base + target, encoded=True)
        body = message.body
        async with self._session.request(method, url, headers=given, data=body, allow_redirects=False) as answer:
            return Told(answer.status, Message(list(answer.raw_headers), await answer.read()))


def _refusal(told: Told, where: str) -> Refusal:
    words = told.message.body[:1000].decode("utf-8", "replace")
    if told.status in (400, 422):
        return Refusal(422, f"{where} does not take these rows: {words}")
    if told.status == 503:
        return overloaded(f"{where} takes no more: {words}")
    return Refusal(502, f"{where} answers {told.status}: {words}")
