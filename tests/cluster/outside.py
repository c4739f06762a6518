"""What is outside the cluster and yet within reach of its pods: an S3 server and a plain HTTP server, on this machine.

Both listen on the one address by which pods reach this machine, and serve temporary folders.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cluster import binaries, embedded
from cluster.harness import Harness

ACCESS_KEY = "perennial"
SECRET_KEY = "only-for-tests"
REGION = "us-east-1"


def host_address(cluster: Harness) -> str:
    """The address of this machine as pods know it."""
    if cluster.provider == "embedded":
        found = embedded.find(cluster.name)
        assert found is not None
        return found.layout.host_address
    if cluster.provider == "kind":
        told = json.loads(subprocess.check_output(["docker", "network", "inspect", "kind"]))
        gateways = [str(config.get("Gateway", "")) for config in told[0]["IPAM"]["Config"]]
        return next(gateway for gateway in gateways if "." in gateway)
    # What such a test needs stands on this machine, and only where its address is known can pods be told of it.
    pytest.skip("pods of a cluster of your own may have no way to this machine")


@dataclass(frozen=True)
class ObjectStore:
    """A running S3 server. Each folder of `folder` is a bucket, and the files in it are its objects."""

    folder: Path
    endpoint: str

    def put(self, bucket: str, key: str, data: bytes | str) -> None:
        path = self.folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def keys(self, bucket: str) -> list[str]:
        root = self.folder / bucket
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def secret(self, name: str, **changes: str | None) -> dict[str, Any]:
        """The Secret that opens it; a key with None is left out."""
        keys = {
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "aws_region": REGION,
            "aws_endpoint": self.endpoint,
            "aws_allow_http": "true",
        }
        data = {key: value for key, value in {**keys, **changes}.items() if value is not None}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


@contextmanager
def object_store(address: str, folder: Path) -> Iterator[ObjectStore]:
    """An S3 server for as long as the context lasts. Its own records of objects are beside them, not in them."""
    objects, records = folder / "objects", folder / "records"
    for path in (objects, records):
        path.mkdir(parents=True)
    server, port = binaries.ensure("versitygw"), _free_port(address)
    command = [str(server), f"--port={address}:{port}", f"--region={REGION}", "--quiet"]
    keys = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "posix", f"--sidecar={records}", str(objects)],
            env={**os.environ, **keys},
            stdout=log,
            stderr=log,
        )
    try:
        store = ObjectStore(objects, f"http://{address}:{port}")
        _await(store.endpoint, process, folder / "log")
        yield store
    finally:
        process.terminate()
        process.wait(timeout=10)


@contextmanager
def file_server(address: str, folder: Path) -> Iterator[str]:
    """A plain HTTP server of the folder's files; its URL."""
    with ThreadingHTTPServer((address, 0), partial(_Files, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{address}:{server.server_port}"
        server.shutdown()


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Not into the test's output."""


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the S3 server does not answer: {log.read_text()}")
