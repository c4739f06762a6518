"""Connections as they must be behind a Kubernetes Service: told to end after a while, and while the pod drains.

kube-proxy balances connections, not requests: a client that keeps one alive would never see a new pod. A connection
is ended by the answer to a request (`Connection: close`), never between two, so that no request meets a closed door.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from perennial.runtime.server.meter import Meter

MAX_AGE_SECONDS = 30.0
MAX_REQUESTS = 20_000
ARRIVED = "perennial.arrived"
METERED = b"/infer"
CLIENT_GONE = 499
"""The code, in metrics only, of a request whose client did not wait for the answer."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with a beginning and an end that we decide, and the time of each inference request's
    arrival.
    """

    meter: ClassVar[Meter]
    draining: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        share = random.uniform(0.5, 1.0)
        self._ends = self.meter.clock() + MAX_AGE_SECONDS * share
        self._left = int(MAX_REQUESTS * share)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._left -= 1
        if self.draining or self._left <= 0 or self.meter.clock() > self._ends:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        if self.url.endswith(METERED) and not self.cycle.response_complete:
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # servers may add keys of their own
            scope[ARRIVED] = self.meter.arrive()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle, _ in self.pipeline:
            arrived = cycle.scope.get(ARRIVED)
            if isinstance(arrived, float):
                self.meter.leave(arrived, CLIENT_GONE)
        self.pipeline.clear()
        super().connection_lost(exc)
