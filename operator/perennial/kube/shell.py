"""kopf around the engine: it logs in, watches the controllers' own kinds, and starts and stops the process.

Only `on.event` handlers are used: they write nothing into objects, neither finalizers nor annotations. Everything that
kopf would do beyond that (peering, posting events, scanning for types) is off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import kopf

from .connection import Connection
from .engine import Engine
from .health import Probes
from .lists import lists_from
from .plan import Resource

logger = logging.getLogger(__name__)


class Shell:
    """One run of the engine. `kinds` are those that kopf watches, in `namespaces` or, without any, in all."""

    def __init__(
        self,
        engine: Engine,
        connection: Connection,
        kinds: Iterable[Resource],
        probes: Probes,
        namespaces: Sequence[str] = (),
    ) -> None:
        self._engine = engine
        self._connection = connection
        self._probes = probes
        self._namespaces = namespaces
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._opened = AsyncExitStack()
        self._registry = kopf.OperatorRegistry()
        self._settings = _settings()
        # A failed start or end is not tried again: the kubelet does that.
        once: dict[str, Any] = {"registry": self._registry, "errors": kopf.ErrorsMode.PERMANENT}
        kopf.on.login(**once)(self._login)
        kopf.on.startup(**once)(self._start)
        kopf.on.cleanup(**once)(self._end)
        for kind in kinds:
            self._watch(kind)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises whatever ended the engine."""
        asyncio.get_running_loop().set_exception_handler(_hush_unclosed_watches)
        with lists_from(self._engine):
            await kopf.operator(
                registry=self._registry,
                settings=self._settings,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                standalone=True,
                stop_flag=self._stop,
            )
        if self._running is not None and not self._running.cancelled() and (error := self._running.exception()):
            raise error

    def _watch(self, kind: Resource) -> None:
        async def feed(event: kopf.RawEvent, **_: Any) -> None:
            self._engine.feed(kind, event["type"], dict(event["object"]))

        kopf.on.event(kind.group, kind.version, kind.plural, registry=self._registry)(feed)

    async def _login(self, **_: Any) -> kopf.ConnectionInfo:
        configuration = self._connection.configuration
        scheme, _space, token = (await self._connection.authorization() or "").partition(" ")
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            ca_data=configuration.ca_cert_data,
            insecure=not configuration.verify_ssl,
            scheme=scheme.capitalize() or None,
            token=token or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            proxy_url=configuration.proxy,
        )

    async def _start(self, **_: Any) -> None:
        # Within kopf's start, so that every task is made by, and ended before, kopf's own.
        await self._opened.enter_async_context(self._probes)
        await self._engine.fill()
        self._running = asyncio.create_task(self._engine.run(), name="engine")
        self._running.add_done_callback(lambda _: self._stop.set())

    async def _end(self, **_: Any) -> None:
        if self._running is not None:
            await self._engine.stop(self._running)
        await self._opened.aclose()


def _hush_unclosed_watches(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """kopf leaves the generator of a watch that was busy when it ended, and the loop complains when it closes it."""
    if "asyncgen" in context:
        logger.debug("%s", context.get("message"))
    else:
        loop.default_exception_handler(context)


class _NoEssence(kopf.DiffBaseStorage):
    """kopf remembers nothing of an object and copies none: without it every event costs two deep copies of its
    object, for change handlers that there are none of."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("kopf is not to write to objects")


class _NoProgress(kopf.ProgressStorage):
    """Likewise for the progress of handlers."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("kopf is not to write to objects")

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = _NoEssence()
    settings.persistence.progress_storage = _NoProgress()
    settings.watching.server_timeout = 300
    # The engine decides when to stop working; what is only kopf's may be cut off.
    settings.queueing.exit_timeout = 0.5
    settings.queueing.idle_timeout = 1.0
    settings.process.ultimate_exiting_timeout = 60
    return settings
