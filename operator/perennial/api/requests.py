"""What DriftMonitors ask of the other two kinds: each request is taken once, in time, by whom it is for.

A controller writes its own resource's status only. So a request stands in its monitor's status, and whoever takes it
notes it in its own, by the monitor's uid: neither a death nor a late view loses, repeats or delays one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .driftmonitor_status import ActionRequest, DriftMonitorStatus
from .validation import parse_status


@dataclass(frozen=True, slots=True)
class MonitorSeen:
    """A DriftMonitor that may ask for something."""

    name: str
    uid: str
    status: DriftMonitorStatus


def seen(manifests: Iterable[Mapping[str, Any]]) -> tuple[MonitorSeen, ...]:
    """The monitors, by name."""
    found = (
        MonitorSeen(
            manifest["metadata"]["name"], manifest["metadata"]["uid"], parse_status(DriftMonitorStatus, manifest)
        )
        for manifest in manifests
    )
    return tuple(sorted(found, key=lambda monitor: monitor.name))


def newest(
    monitors: Iterable[MonitorSeen], is_ours: Callable[[ActionRequest], bool]
) -> tuple[tuple[MonitorSeen, ActionRequest], ...]:
    """Each monitor's newest request of those that are for us: an older one is contained in it."""
    return tuple(
        (monitor, max(ours, key=lambda request: request.created_at))
        for monitor in monitors
        if (ours := [request for request in monitor.status.requests if is_ours(request)])
    )


def waiting(
    asked: Iterable[tuple[MonitorSeen, ActionRequest]], handled: Collection[tuple[str, str]], now: datetime
) -> tuple[tuple[MonitorSeen, ActionRequest], ...]:
    """Those that were not taken and have not expired. `handled` are uids of monitors, each with a request's id."""
    return tuple(
        (monitor, request)
        for monitor, request in asked
        if (monitor.uid, request.id) not in handled and now < request.expires_at
    )
