"""The trainer's control port: one path, which answers how far the search is. Without a port the run goes on all the
same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec

from perennial.wire import places
from perennial.wire.progress import PROGRESS_PATH, Progress

_READ_SECONDS = 2.0
_END_SECONDS = 0.02
"""How soon it notices that it is to end: the run waits for that."""


@contextmanager
def telling(progress: Progress, say: Callable[[str], None], port: int = places.CONTROL_PORT) -> Iterator[int]:
    """Answers for as long as this is entered; the value is the port, 0 where none could be opened."""

    class Answer(BaseHTTPRequestHandler):
        timeout = _READ_SECONDS

        def do_GET(self) -> None:
            if self.path != PROGRESS_PATH:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            body = msgspec.json.encode(progress)
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """The log is the run's."""

    try:
        server = HTTPServer(("0.0.0.0", port), Answer)
    except OSError as error:
        say(f"progress: port {port} cannot be opened, so that the status has none: {error}")
        yield 0
        return
    thread = threading.Thread(target=server.serve_forever, args=(_END_SECONDS,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
