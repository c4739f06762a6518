"""The server pods as a join asks them: which predictions they remember, and what became of the labels sent."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from perennial.wire.join import Server
from perennial.wire.journal import (
    KEYS_PATH,
    LABELS_PATH,
    RECEIPTS_PATH,
    WAITING_PATH,
    Keys,
    Match,
    Matches,
    Outcomes,
    Page,
    Receipts,
    Received,
    Visit,
    Waiting,
)

ATTEMPTS = 4
PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0

AnswerT = TypeVar("AnswerT")


class Unreachable(Exception):
    """A pod that does not answer, or is ending; the message names it."""


class Pod:
    """One pod of the deployment. Both questions may be asked again: whoever answers knows what it was sent before."""

    def __init__(self, server: Server, deployment: str, port: int, pause: float = PAUSE_SECONDS) -> None:
        self.name = server.name
        host = f"[{server.ip}]" if ":" in server.ip else server.ip
        self._address = f"http://{host}:{port}"
        self._deployment = deployment
        self._pause = pause

    def keys(self, after: int) -> Keys | None:
        """Some of its predictions, from number `after` on; None where it knows of none: an earlier release, or another
        deployment's pod under the address by now. Raises Unreachable."""
        answer = self._ask(KEYS_PATH, Page(after), Keys)
        return answer if answer is not None and answer.name == self._deployment else None

    def label(self, matches: list[Match]) -> Outcomes | None:
        """What became of these labels; None as above. Raises Unreachable."""
        return self._ask(LABELS_PATH, Matches(self._deployment, matches), Outcomes)

    def waiting(self, again: float, counted: Sequence[int] = (), forgotten: Sequence[int] = ()) -> list[Received]:
        """The labels that wait there; none where it knows of none. See `Visit`. Raises Unreachable."""
        visit = Visit(self._deployment, again, list(counted), list(forgotten))
        answer = self._ask(WAITING_PATH, visit, Waiting)
        return [] if answer is None else answer.labels

    def receive(self, labels: list[Received]) -> Outcomes | None:
        """What became of labels that came with receipts; None where it remembers no predictions. Raises Unreachable."""
        return self._ask(RECEIPTS_PATH, Receipts(self._deployment, labels), Outcomes)

    def _ask(self, path: str, question: object, answer: type[AnswerT]) -> AnswerT | None:
        body = msgspec.msgpack.encode(question)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                request = urllib.request.Request(self._address + path, body, {"Content-Type": "application/msgpack"})
                with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                    return msgspec.msgpack.decode(response.read(), type=answer)
            except urllib.error.HTTPError as error:
                if error.code in (404, 409):
                    return None
                said = f"HTTP {error.code}"
            except (OSError, msgspec.MsgspecError) as error:
                said = str(error)
            if attempt < ATTEMPTS:
                time.sleep(self._pause)
        raise Unreachable(f"pod {self.name} does not answer: {said}")
