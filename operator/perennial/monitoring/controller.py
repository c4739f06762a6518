"""The DriftMonitor's controller: which events concern which monitor, and the way from caches and pods to a plan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from prometheus_client import REGISTRY, CollectorRegistry

from perennial.api.labels import DRIFTMONITOR
from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.api.validation import text_at
from perennial.kube.cache import Caches
from perennial.kube.controller import Duty, Watch
from perennial.kube.plan import Key, Manifest, Plan, Problem
from perennial.kube.resources import CONFIGMAPS, JOBS, PODS
from perennial.settings import Settings

from . import plan as planning
from .alertmanager import Alertmanager
from .alerts import Alerts
from .budget import Budget
from .look import Pods, Watcher
from .metrics import Metrics
from .observe import BY_DEPLOYMENT, observe, serves_deployment, watches_deployment
from .observed import Observed

BY_TRAINING_JOB = "monitoring/trainingJob"
"""The index of DriftMonitors by the TrainingJob of their deployment, as namespace/name."""


def _asks_training_job(manifest: Manifest) -> list[str]:
    name = text_at(manifest, "status", "trainingJob")
    return [f"{manifest['metadata']['namespace']}/{name}"] if name else []


class MonitoringController:
    """DriftMonitors. `pods` asks server pods; `settings` is what the installation allows; `registry` is where their
    metrics are shown."""

    primary = DRIFTMONITORS

    def __init__(self, caches: Caches, settings: Settings, pods: Pods, registry: CollectorRegistry = REGISTRY) -> None:
        self._caches = caches
        caches.of(DRIFTMONITORS).add_index(BY_DEPLOYMENT, watches_deployment)
        caches.of(DRIFTMONITORS).add_index(BY_TRAINING_JOB, _asks_training_job)
        caches.of(PODS).add_index(BY_DEPLOYMENT, serves_deployment)
        for resource in (MODELDEPLOYMENTS, TRAININGJOBS, CONFIGMAPS, JOBS):
            caches.of(resource)
        self._settings = settings
        self._watcher = Watcher(pods, time.monotonic)
        self._budget = Budget(caches, actions=settings.actions, retrains_a_day=settings.retrains_a_day)
        self._alerts = _alerts(settings.alertmanager_url)
        self.duties: Sequence[Duty] = (self._alerts.run,) if self._alerts else ()
        self.metrics = Metrics()
        registry.register(self.metrics)
        self.watches: Sequence[Watch] = (
            Watch(MODELDEPLOYMENTS, self._of_deployment),
            Watch(TRAININGJOBS, self._of_training_job),
            Watch(PODS, self._of_pod),
            Watch(CONFIGMAPS, _of_child),
            Watch(JOBS, _of_child),
            # A monitor that goes or is suspended leaves its place to the next one.
            Watch(DRIFTMONITORS, self._of_monitor),
        )

    async def observe(self, key: Key) -> Observed | None:
        observed = await observe(key, self._caches, self._watcher, self._settings)
        if observed is None:
            self._watcher.forget(key)
            self.metrics.forget(key)
            if self._alerts:
                self._alerts.forget(key)
            return None
        self.metrics.show(key, observed.status)
        if self._alerts and observed.spec:
            self._alerts.show(key, observed.spec.deployment, observed.status)
        return observed

    def plan(self, observed: Observed, problems: tuple[Problem, ...], now: datetime) -> Plan:
        # Without an await between asking and reserving, no two monitors are given the last retrain of a day.
        plan = planning.plan(replace(observed, brake=self._budget.brake(now.timestamp())), problems, now)
        self._budget.reserve(observed.manifest, plan.status)
        return plan

    def _of_deployment(self, manifest: Manifest) -> list[Key]:
        metadata = manifest["metadata"]
        return self._monitors(BY_DEPLOYMENT, [f"{metadata['namespace']}/{metadata['name']}"])

    def _of_training_job(self, manifest: Manifest) -> list[Key]:
        metadata = manifest["metadata"]
        return self._monitors(BY_TRAINING_JOB, [f"{metadata['namespace']}/{metadata['name']}"])

    def _of_pod(self, manifest: Manifest) -> list[Key]:
        return self._monitors(BY_DEPLOYMENT, serves_deployment(manifest)) + _of_child(manifest)

    def _of_monitor(self, manifest: Manifest) -> list[Key]:
        return self._monitors(BY_DEPLOYMENT, watches_deployment(manifest))

    def _monitors(self, index: str, places: list[str]) -> list[Key]:
        found = [monitor for place in places for monitor in self._caches[DRIFTMONITORS].by(index, place)]
        return [Key(monitor["metadata"]["namespace"], monitor["metadata"]["name"]) for monitor in found]


def _alerts(url: str | None) -> Alerts | None:
    return Alerts(Alertmanager(url).post, lambda: datetime.now(UTC)) if url else None


def _of_child(manifest: Manifest) -> list[Key]:
    """By the label: a checkpoint, a Job or one of its pods."""
    metadata = manifest["metadata"]
    name = (metadata.get("labels") or {}).get(DRIFTMONITOR)
    return [Key(metadata["namespace"], name)] if name else []
