"""What the kubelet asks for, and Prometheus: /healthz and /readyz on one port, /metrics on the other.

A probe is answered by the event loop itself, so that a loop which is stuck does not answer. Unhealthy is only what a
restart can help: an API server that is down is no such thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest


class Vitals(Protocol):
    """`ailments` are sentences about what only a restart helps, `is_ready` tells that the caches are complete."""

    def ailments(self) -> Iterable[str]: ...

    @property
    def is_ready(self) -> bool: ...


class Probes:
    """Both ports, while in `async with`. A port of 0 is one of the system's choice; see `ports`."""

    def __init__(self, vitals: Vitals, health_port: int, metrics_port: int) -> None:
        self._vitals = vitals
        self._asked = {"health": health_port, "metrics": metrics_port}
        self._stack = AsyncExitStack()
        self.ports: dict[str, int] = {}

    async def __aenter__(self) -> Probes:
        health = web.Application()
        health.add_routes([web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)])
        metrics = web.Application()
        metrics.add_routes([web.get("/metrics", _metrics)])
        await self._serve("health", health)
        await self._serve("metrics", metrics)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _serve(self, name: str, application: web.Application) -> None:
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        # None: all addresses, of IPv6 too where there is any.
        await web.TCPSite(runner, None, self._asked[name]).start()
        # Port 0 gives each address family a port of its own: an address of IPv4 is (host, port), of IPv6 longer.
        self.ports[name] = min(runner.addresses, key=len)[1]

    async def _healthz(self, _: web.Request) -> web.Response:
        ailments = list(self._vitals.ailments())
        return web.Response(text="\n".join(ailments) or "ok", status=500 if ailments else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        if not self._vitals.is_ready:
            return web.Response(text="the caches are being filled", status=503)
        return web.Response(text="ok")


async def _metrics(request: web.Request) -> web.Response:
    """All of them, or those that `name[]` names: with a thousand monitors all are dear to ask for by the second."""
    names = request.query.getall("name[]", [])
    chosen = REGISTRY.restricted_registry(names) if names else REGISTRY
    return web.Response(body=generate_latest(chosen), headers={"Content-Type": CONTENT_TYPE_LATEST})
