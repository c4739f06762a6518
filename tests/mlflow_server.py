"""A real MLflow server from the package index, in an environment of its own: it tracks in a folder, and asks for a
password."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.environments import commands

MLFLOW = "mlflow[auth]==3.17.2"
USER, PASSWORD = "admin", "only-for-tests-1"
PATIENCE_SECONDS = 90.0


@dataclass(frozen=True)
class MlflowServer:
    """A server, asked as any client of its REST API would ask it."""

    uri: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.ask("experiments/get-by-name", experiment_name="Default")
                return
            except urllib.error.URLError:
                time.sleep(0.2)
        raise AssertionError(f"MLflow does not answer: {self.log.read_text()}")

    def ask(self, what: str, body: dict[str, Any] | None = None, **query: str) -> dict[str, Any]:
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}
        url = f"{self.uri}/api/2.0/mlflow/{what}?{urlencode(query)}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def runs(self, experiment: str) -> list[dict[str, Any]]:
        found = self.ask("experiments/get-by-name", experiment_name=experiment)["experiment"]
        body = {"experiment_ids": [found["experiment_id"]], "max_results": 100}
        return list(self.ask("runs/search", body).get("runs", []))

    def versions(self, name: str) -> list[dict[str, Any]]:
        return list(self.ask("model-versions/search", filter=f"name='{name}'").get("model_versions", []))


def pairs(told: list[dict[str, Any]]) -> dict[str, Any]:
    """MLflow's lists of keys and values as a dictionary."""
    return {each["key"]: each["value"] for each in told}


@contextmanager
def mlflow_server(address: str, folder: Path) -> Iterator[MlflowServer]:
    """A server on a free port of `address`, which has yet to get ready."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "auth.ini"
    config.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = {USER}\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    command = [str(commands(MLFLOW) / "mlflow"), "server", "--app-name=basic-auth", "--workers=1"]
    command += [f"--host={address}", f"--port={port}", f"--allowed-hosts={address}:{port}"]
    command += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts"]
    settings = {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "only-for-tests",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    path = f"{commands(MLFLOW)}:{os.environ['PATH']}"
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **settings, "PATH": path}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield MlflowServer(f"http://{address}:{port}", process, log)
    finally:
        # Its workers are processes of its own.
        os.killpg(process.pid, 15)
        process.wait(timeout=20)
