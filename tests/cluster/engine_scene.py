"""What the engine's tests on a real cluster share: a proxy that plays faults before the real API server, and the toy
operator as a process behind it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import yaml
from aiohttp import web

from perennial.kube.cache import Caches
from perennial.kube.client import Client
from perennial.kube.connection import Connection
from perennial.kube.engine import Engine
from perennial.kube.errors import AlreadyExists, NotFound
from perennial.kube.events import Recorder
from perennial.kube.plan import Manifest, Resource
from perennial.kube.resources import CONFIGMAPS
from tests.oracles.toy import SHELVES, ShelfController

ROOT = Path(__file__).parents[2]
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
SHELF_CRD: Manifest = {
    "apiVersion": CRDS.api_version,
    "kind": CRDS.kind,
    "metadata": {"name": f"{SHELVES.plural}.{SHELVES.group}"},
    "spec": {
        "group": SHELVES.group,
        "names": {"plural": SHELVES.plural, "singular": "shelf", "kind": SHELVES.kind, "listKind": "ShelfList"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": SHELVES.version,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@dataclass(frozen=True)
class Asked:
    """A request that came by."""

    method: str
    path: str
    query: dict[str, str]
    status: int

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def is_about_leading(self) -> bool:
        return "/leases" in self.path


Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


class FaultProxy:
    """Passes requests on to the API server, after whatever `fault` does to them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._runner: web.AppRunner | None = None
        self._streams: set[web.StreamResponse] = set()
        self.port = 0
        self.asked: list[Asked] = []
        self.fault: Fault | None = None
        self.muted = False
        """Watches stay open and tell nothing."""
        self.rewind = False
        """Watches are asked for from a resourceVersion that is long forgotten."""

    async def open(self) -> None:
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """As when the API server goes down: connections break, and none is taken."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def cut(self) -> None:
        """Break every watch that is open."""
        for stream in tuple(self._streams):
            transport = stream._req.transport if stream._req is not None else None
            if transport is not None:
                transport.abort()

    def writes(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.is_write and not asked.is_about_leading]

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        if self.fault is not None and (answer := await self.fault(request)) is not None:
            self.asked.append(Asked(request.method, request.path, query, answer.status))
            return answer
        if self.rewind and query.get("watch") and "resourceVersion" in query:
            query["resourceVersion"] = "1"
        return await self._forward(request, query)

    async def carry_out(self, request: web.Request) -> None:
        """Pass it on, and keep the answer."""
        async with self._carried_out(request, dict(request.query)) as real:
            await real.read()

    @asynccontextmanager
    async def _carried_out(self, request: web.Request, query: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        url = f"{self._connection.host}{request.path}?{urlencode(query)}"
        headers = {name: request.headers[name] for name in ("Accept", "Content-Type") if name in request.headers}
        limits = aiohttp.ClientTimeout(total=None)
        body = await request.read() or None
        async with await self._connection.request(
            request.method, url, headers=headers, data=body, limits=limits
        ) as real:
            self.asked.append(Asked(request.method, request.path, query, real.status))
            yield real

    async def _forward(self, request: web.Request, query: dict[str, str]) -> web.StreamResponse:
        async with self._carried_out(request, query) as real:
            response = web.StreamResponse(status=real.status)
            for name in ("Content-Type", "Retry-After"):
                if name in real.headers:
                    response.headers[name] = real.headers[name]
            await response.prepare(request)
            watching = bool(query.get("watch"))
            if watching:
                self._streams.add(response)
            try:
                async for chunk in real.content.iter_any():
                    if not (watching and self.muted):
                        await response.write(chunk)
            finally:
                self._streams.discard(response)
            return response


def answering(code: int, reason: str = "Reason", **headers: str) -> Callable[[web.Request], web.Response]:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": "played",
    }
    return lambda _: web.json_response(body, status=code, headers=headers)


class Silence:
    """A fault: of each request but watches the first is never answered. `carry_out` does with it what is to be done."""

    def __init__(self, carry_out: Callable[[web.Request], Awaitable[None]] | None = None) -> None:
        self._carry_out = carry_out
        self.met: Counter[tuple[str, str, str]] = Counter()
        """How often the same was asked for: by method, path, and name where the path has none."""

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        if request.query.get("watch"):
            return None
        metadata = json.loads(await request.read() or b"{}").get("metadata", {})
        asked = request.method, request.path, metadata.get("name", "")
        self.met[asked] += 1
        if self.met[asked] > 1:
            return None
        if self._carry_out:
            await self._carry_out(request)
        return await asyncio.Future()  # until who asked goes


@asynccontextmanager
async def impatient(proxy: FaultProxy, namespace: str, folder: Path, patience: float) -> AsyncIterator[None]:
    """The engine with the toy kind, in this process, which waits so many seconds for an answer. It knows the shelves
    that are there when it begins."""
    kubeconfig = folder / "kubeconfig-impatient"
    kubeconfig.write_text(yaml.safe_dump(_kubeconfig(proxy.port)))
    client = Client(await Connection.open(str(kubeconfig)), timeout=patience)
    caches = Caches()
    controllers = {"shelf": ShelfController(caches)}
    engine = Engine(client, caches, controllers, Recorder(client, "perennial", "impatient"), namespaces=[namespace])
    await engine.fill()
    running = asyncio.create_task(engine.run())
    try:
        yield
    finally:
        await engine.stop(running)
        await client.close()


class ToyOperator:
    """The process, which reaches the API server through the proxy alone."""

    def __init__(self, proxy: FaultProxy, namespace: str, folder: Path, **environment: str) -> None:
        kubeconfig = folder / f"kubeconfig-{time.monotonic_ns()}"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(proxy.port)))
        self.log = folder / f"operator-{time.monotonic_ns()}.log"
        self._environment = os.environ | {
            "KUBECONFIG": str(kubeconfig),
            "PERENNIAL_NAMESPACE": namespace,
            "PERENNIAL_WATCH_NAMESPACES": namespace,
            "PERENNIAL_HEALTH_PORT": "0",
            "PERENNIAL_METRICS_PORT": "0",
            "PERENNIAL_RESYNC_SECONDS": "3600",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "tests.cluster.engine_toy"]
            self.process = subprocess.Popen(command, env=self._environment, cwd=ROOT, stdout=log, stderr=log)

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """The exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(how)
        code = await asyncio.to_thread(self.process.wait, 40)
        self.process = None
        return code

    def said(self, words: str) -> bool:
        return self.log.exists() and words in self.log.read_text()


@dataclass
class Library:
    """A namespace with shelves, seen directly and not through the proxy."""

    client: Client
    namespace: str

    async def put(self, name: str, **books: str) -> Manifest:
        """Make or change a shelf."""
        manifest = {
            "apiVersion": SHELVES.api_version,
            "kind": SHELVES.kind,
            "metadata": {"namespace": self.namespace, "name": name},
            "spec": {"books": books},
        }
        try:
            return await self.client.create(SHELVES, manifest)
        except AlreadyExists:
            current = await self.client.get(SHELVES, self.namespace, name)
            return await self.client.replace(SHELVES, current | {"spec": {"books": books}})

    async def delete(self, resource: Resource, name: str) -> None:
        found = await self.client.get(resource, self.namespace, name)
        await self.client.delete(resource, self.namespace, name, found["metadata"]["uid"])

    async def books(self) -> dict[str, Manifest]:
        """The books' contents by name."""
        pages = [
            page
            async for page in self.client.pages(CONFIGMAPS, self.namespace, "app.kubernetes.io/managed-by=perennial")
        ]
        return {book["metadata"]["name"]: book.get("data") or {} for page in pages for book in page.items}

    async def status(self, name: str) -> dict[str, Any]:
        found = await self.client.get(SHELVES, self.namespace, name)
        return found.get("status") or {}

    async def has_books(self, *names: str, within: float = 30) -> None:
        await until(lambda: self._has(set(names)), within, f"books {', '.join(names)}")

    async def says(self, shelf: str, within: float = 30, **status: Any) -> None:
        await until(lambda: self._says(shelf, status), within, f"{shelf} to say {status}")

    async def _has(self, names: set[str]) -> bool:
        return set(await self.books()) == names

    async def _says(self, shelf: str, status: dict[str, Any]) -> bool:
        said = await self.status(shelf)
        return {name: said.get(name) for name in status} == status


async def until(test: Callable[[], bool | Awaitable[bool]], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while True:
        outcome = test()
        if outcome if isinstance(outcome, bool) else await outcome:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        await asyncio.sleep(0.1)


@asynccontextmanager
async def proxied(kubeconfig: Path) -> AsyncIterator[FaultProxy]:
    connection = await Connection.open(str(kubeconfig))
    proxy = FaultProxy(connection)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
        await connection.close()


async def install_shelves(client: Client) -> None:
    try:
        await client.create(CRDS, SHELF_CRD)
    except AlreadyExists:
        return
    finally:
        await until(lambda: _is_served(client), 30, "the toy kind to be served")


async def _is_served(client: Client) -> bool:
    try:
        await client.versions(SHELVES)
    except NotFound:
        return False
    return True


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "proxy", "user": {"token": "the-proxy-has-its-own"}}],
    }
