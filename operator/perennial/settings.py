"""What an installation decides: read once from the environment that the chart sets, immutable from then on."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from perennial.wire.estimators import ESTIMATORS_ENV

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_PREFIX = "PERENNIAL_"


class SettingsError(ValueError):
    """An environment variable that cannot be read. The text names it and says what it should be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The installation. `store_uri` None means a PersistentVolumeClaim in each namespace; `store_secret` is the name of
    a Secret in each namespace.

    `actions` False keeps every DriftMonitor from acting; `retrains_a_day` is what all of them together may ask for,
    None without limit. `alertmanager_url` is where alerts go, None for nowhere. `operator_pod_labels` are what a
    NetworkPolicy knows the operator's pods by, `operator_deployment` is whose pods they are; `estimators` are import
    paths that TrainingJobs may name beside scikit-learn's.
    """

    operator_namespace: str = "perennial-system"
    operator_pod_labels: Mapping[str, str] = field(default_factory=lambda: {"app.kubernetes.io/name": "perennial"})
    operator_deployment: str | None = None
    identity: str = "perennial"
    runtime_image: str = "perennial/runtime:dev"
    image_pull_policy: str = "IfNotPresent"
    estimators: tuple[str, ...] = ()
    store_uri: str | None = None
    store_secret: str | None = None
    store_size: str = "10Gi"
    store_access_mode: str = "ReadWriteOnce"
    storage_class: str | None = None
    watch_namespaces: tuple[str, ...] = ()
    actions: bool = True
    retrains_a_day: int | None = None
    alertmanager_url: str | None = None
    leader_election: bool = True
    workers: int = 16
    resync_seconds: float = 300.0
    health_port: int = 8081
    metrics_port: int = 8080
    log_format: str = "text"
    log_level: str = "INFO"

    @property
    def runtime_environment(self) -> dict[str, str]:
        """What pods that fit or load models are told of the installation."""
        return {ESTIMATORS_ENV: ",".join(self.estimators)} if self.estimators else {}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises SettingsError."""
        read = _Reader(environment)
        default = cls()
        return cls(
            operator_namespace=read.text("NAMESPACE", None) or _own_namespace() or default.operator_namespace,
            operator_pod_labels=read.labels("POD_LABELS", default.operator_pod_labels),
            operator_deployment=read.text("DEPLOYMENT", None),
            identity=read.text("POD_NAME", None) or socket.gethostname(),
            runtime_image=read.text("RUNTIME_IMAGE", default.runtime_image) or default.runtime_image,
            image_pull_policy=read.one_of(
                "IMAGE_PULL_POLICY", default.image_pull_policy, ("Always", "IfNotPresent", "Never")
            ),
            estimators=read.names("ESTIMATORS"),
            store_uri=read.text("STORE_URI", None),
            store_secret=read.text("STORE_SECRET", None),
            store_size=read.text("STORE_SIZE", default.store_size) or default.store_size,
            store_access_mode=read.one_of(
                "STORE_ACCESS_MODE",
                default.store_access_mode,
                ("ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"),
            ),
            storage_class=read.text("STORAGE_CLASS", None),
            watch_namespaces=read.names("WATCH_NAMESPACES"),
            actions=read.boolean("ACTIONS", default.actions),
            retrains_a_day=int(read.number("RETRAINS_A_DAY", 0, least=0)) or None,
            alertmanager_url=read.url("ALERTMANAGER_URL"),
            leader_election=read.boolean("LEADER_ELECTION", default.leader_election),
            workers=int(read.number("WORKERS", default.workers, least=1)),
            resync_seconds=read.number("RESYNC_SECONDS", default.resync_seconds, least=1),
            health_port=int(read.number("HEALTH_PORT", default.health_port, least=0)),
            metrics_port=int(read.number("METRICS_PORT", default.metrics_port, least=0)),
            log_format=read.one_of("LOG_FORMAT", default.log_format, ("text", "json")),
            log_level=read.one_of("LOG_LEVEL", default.log_level, ("DEBUG", "INFO", "WARNING", "ERROR")),
        )


class _Reader:
    """Reads PERENNIAL_* variables; an empty one counts as not set, since that is what charts render for no value."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str | None) -> str | None:
        return self._environment.get(_PREFIX + name, "").strip() or default

    def url(self, name: str) -> str | None:
        value = self.text(name, None)
        if value is not None and not re.fullmatch(r"https?://[^\s/@]+(/[^\s]*)?", value):
            raise SettingsError(f"{_PREFIX}{name}: {value!r} is not an address such as http://alertmanager:9093")
        return value

    def one_of(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default) or default
        if value not in allowed:
            raise SettingsError(f"{_PREFIX}{name}: {value!r} is not one of {', '.join(allowed)}")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        listed = (self.text(name, "") or "").split(",")
        return tuple(entry for part in listed if (entry := part.strip()))

    def number(self, name: str, default: float, least: float) -> float:
        value = self.text(name, None)
        try:
            number = default if value is None else float(value)
        except ValueError:
            raise SettingsError(f"{_PREFIX}{name}: {value!r} is not a number") from None
        if not number >= least:
            raise SettingsError(f"{_PREFIX}{name}: {value} is less than {least:g}")
        return number

    def boolean(self, name: str, default: bool) -> bool:
        value = self.one_of(name, str(default).lower(), ("true", "false"))
        return value == "true"

    def labels(self, name: str, default: Mapping[str, str]) -> Mapping[str, str]:
        value = self.text(name, None)
        if value is None:
            return default
        try:
            labels = json.loads(value)
        except ValueError:
            labels = None
        if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
            raise SettingsError(f"{_PREFIX}{name}: {value!r} is not a JSON object of strings")
        return labels


def _own_namespace() -> str | None:
    try:
        return _NAMESPACE_FILE.read_text().strip() or None
    except OSError:
        return None
