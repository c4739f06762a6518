"""The operator's process: settings, the three controllers, the engine under them and kopf around it."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import uvloop
from prometheus_client import REGISTRY

from . import logs
from .kube.cache import Caches
from .kube.client import Client
from .kube.condition_metrics import ConditionMetrics
from .kube.connection import Connection, NoCluster
from .kube.controller import Controller
from .kube.engine import Engine
from .kube.events import Recorder
from .kube.health import Probes
from .kube.lease import Lease
from .kube.podclient import PodClient
from .kube.shell import Shell
from .monitoring.controller import MonitoringController
from .serving.controller import ServingController
from .settings import Settings, SettingsError
from .training.controller import TrainingController

NAME = "perennial"
_COLLECTOR = (100_000, 50, 100)
"""When the garbage collector runs. The caches are hundreds of thousands of dicts that live long: by its defaults it
walks all of them again and again, for a fifth of the processor time of a start over 5,000 objects."""

Controllers = Mapping[str, Controller[Any]]

logger = logging.getLogger(__name__)


def rooms(caches: Caches, settings: Settings, pods: PodClient) -> Controllers:
    """The three controllers, by the names that their metrics carry."""
    controllers: Controllers = {
        "trainingjob": TrainingController(caches, settings, pods),
        "modeldeployment": ServingController(caches, settings, pods),
        "driftmonitor": MonitoringController(caches, settings, pods),
    }
    REGISTRY.register(ConditionMetrics(caches.of(each.primary) for each in controllers.values()))
    return controllers


async def operate(settings: Settings, build: Callable[[Caches, Settings, PodClient], Controllers] = rooms) -> None:
    """Run until SIGTERM. Raises NoCluster, and whatever made it end by itself."""
    connection = await Connection.open()
    client = Client(connection)
    caches = Caches()
    try:
        async with PodClient() as pods:
            controllers = build(caches, settings, pods)
            engine = Engine(
                client,
                caches,
                controllers,
                Recorder(client, NAME, settings.identity),
                lease=_lease(client, settings) if settings.leader_election else None,
                namespaces=settings.watch_namespaces,
                workers=settings.workers,
                resync_seconds=settings.resync_seconds,
            )
            kinds = [controller.primary for controller in controllers.values()]
            probes = Probes(engine, settings.health_port, settings.metrics_port)
            await Shell(engine, connection, kinds, probes, settings.watch_namespaces).run()
    finally:
        await client.close()


def _lease(client: Client, settings: Settings) -> Lease:
    # Two processes of one pod, before and after a crash, must not take each other for themselves.
    identity = f"{settings.identity}_{uuid.uuid4().hex[:8]}"
    return Lease(client, settings.operator_namespace, NAME, identity, deployment=settings.operator_deployment)


def run() -> None:
    """The console script."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        sys.exit(f"perennial-operator: {error}")
    logs.configure(settings.log_format, settings.log_level)
    gc.set_threshold(*_COLLECTOR)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(operate(settings))
    except NoCluster as error:
        sys.exit(f"perennial-operator: {error}")
    except Exception:
        logger.exception("The operator ends")
        sys.exit(1)


if __name__ == "__main__":
    run()
