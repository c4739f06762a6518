"""The inference port of a sidecar: readiness and predictions pass through our hands, everything else only by."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from perennial.runtime.server import http
from perennial.runtime.server.admission import Admission
from perennial.runtime.server.app import INFER, InferenceApp
from perennial.runtime.server.counts.totals import CODES
from perennial.runtime.server.http import CLIENT_GONE, Request, not_found
from perennial.runtime.server.meter import Meter
from perennial.runtime.server.refusal import Refusal
from perennial.runtime.server.request import InferenceRequest, Question, decode
from perennial.runtime.server.sidecar.neighbour import Neighbour
from perennial.runtime.server.sidecar.relay import Relay, failed, passed
from perennial.runtime.server.state import State

_REPOSITORY = "/v2/repository"
"""Where some servers load and unload models on request: which one is served is decided by the ModelDeployment."""


class SidecarApp(InferenceApp):
    """Routes requests of the inference port."""

    def __init__(
        self, state: State, meter: Meter, admission: Admission, neighbour: Neighbour, *, max_body: int
    ) -> None:
        super().__init__(state, meter, admission, max_body=max_body)
        self._neighbour = neighbour
        self._passing: set[asyncio.Task[None]] = set()

    def leave(self, request: Request, status: int) -> None:
        code = status if status == CLIENT_GONE else request.counted_as or status
        super().leave(request, code if code in CODES else _like(code))

    def respond(self, request: Request, reply: http.Respond) -> None:
        if self._is_ours(request.path):
            super().respond(request, reply)
        elif request.path.startswith(_REPOSITORY) or not request.target.startswith(b"/"):
            # What does not begin with a slash could name another host.
            reply(http.refused(not_found(request.path)))
        else:
            passing = asyncio.get_running_loop().create_task(self._pass_by(request, reply))
            self._passing.add(passing)
            passing.add_done_callback(self._passing.discard)

    def _is_ours(self, path: str) -> bool:
        about_model = path.startswith("/v2/models/") and path.endswith("/ready")
        return path.endswith(INFER) or about_model or path.startswith("/v2/health/")

    async def _pass_by(self, request: Request, reply: http.Respond) -> None:
        try:
            reply(await passed(self._neighbour, request))
        except Exception as error:
            reply(failed(error))

    def _infer(self, request: Request, reply: http.Respond) -> None:
        relay, body = self._admit(request)
        question: Question | None = None
        asked: InferenceRequest | None = None
        # What is wrong with it, if anything, the neighbour says: it may take what the protocol does not know.
        with contextlib.suppress(Refusal):
            asked, question = decode(body, request.json_length)
        if asked is not None and question is not None and question.records is not None:
            self._predict(relay, asked, question, request, reply)
        else:
            cast(Relay, relay).pass_on(request, body, question, reply)


def _like(status: int) -> int:
    """The code that stands in the metrics for those that are not there."""
    return 200 if status < 400 else 400 if status < 500 else 500
