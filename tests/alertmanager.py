"""A real Alertmanager on loopback, and the receiver that it notifies: what a person on call would have been told."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.debian import in_place

CONFIGURATION = """
route:
  receiver: person
  group_by: ["..."]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 24h
receivers:
  - name: person
    webhook_configs:
      - url: http://127.0.0.1:{port}/
"""


class OnCall:
    """Alertmanager with a person behind it. `heard` are its notifications, as (status, labels) of each alert."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[tuple[str, dict[str, str]]] = []
        self._folder = folder
        self._receiver = ThreadingHTTPServer(("127.0.0.1", 0), _receiver(self.heard))
        threading.Thread(target=self._receiver.serve_forever, args=(0.01,), daemon=True).start()
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        configuration = CONFIGURATION.format(port=self._receiver.server_address[1])
        (folder / "alertmanager.yml").write_text(configuration)

    def start(self) -> None:
        command = [
            *in_place("prometheus-alertmanager"),
            "/usr/bin/prometheus-alertmanager",
            f"--config.file={self._folder / 'alertmanager.yml'}",
            f"--storage.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--cluster.listen-address=",
        ]
        log = (self._folder / "alertmanager.log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.wait_for(self._is_up, "Alertmanager is up")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)
            self._process = None

    def close(self) -> None:
        self.stop()
        self._receiver.shutdown()
        self._receiver.server_close()

    def told(self, status: str, name: str) -> int:
        """How often the person was told that this alert has this status."""
        return sum(heard == status and labels["alertname"] == name for heard, labels in self.heard)

    def wait_for(self, true: Callable[[], object], what: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}; heard {self.heard}"
            time.sleep(0.1)

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                return int(answer.status) == 200
        except OSError:
            return False


def _receiver(heard: list[tuple[str, dict[str, str]]]) -> type[BaseHTTPRequestHandler]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.extend((alert["status"], alert["labels"]) for alert in body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Receiver


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
