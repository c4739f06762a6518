"""What the installation allows all of its monitors together: nothing at all by its kill switch, or so many retrains a
day.

It is counted from the monitors' statuses, so that a new operator knows what the one before had asked for; what was
decided a moment ago, and is in no status yet, is reserved in memory.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import TypeAdapter, ValidationError

from perennial.api.driftmonitor_status import ActionRequest
from perennial.api.resources import DRIFTMONITORS
from perennial.api.validation import value_at
from perennial.kube.cache import Caches
from perennial.kube.plan import Manifest

from .objections import Brake
from .requests import DAY

BY_ASKING = "monitoring/asking"
"""The index of DriftMonitors that have asked for something, all in one place."""

_ASKING = "all"
_COUNT = ("Pending", "Taken")
_REQUESTS = TypeAdapter(tuple[ActionRequest, ...])
_RESERVED_SECONDS = 60.0
"""After this a decision is in its monitor's status, or was never carried out."""

_SWITCHED_OFF = Brake("actions are switched off in this installation (governor.actions of the chart)")


_Name = tuple[str, str]
"""Of a request: its monitor's uid and its id."""


class Budget:
    """`retrains_a_day` None is without limit; `actions` False is the kill switch."""

    def __init__(self, caches: Caches, *, actions: bool, retrains_a_day: int | None) -> None:
        self._monitors = caches.of(DRIFTMONITORS)
        self._monitors.add_index(BY_ASKING, _has_asked)
        self._actions = actions
        self._limit = retrains_a_day
        self._reserved: dict[_Name, float] = {}

    def brake(self, now: float) -> Brake | None:
        """What keeps every monitor from asking at `now` (Unix seconds). A rollback trains nothing: only the kill switch
        keeps it back."""
        if not self._actions:
            return _SWITCHED_OFF
        if self._limit is None:
            return None
        spent = self._spent(now)
        if len(spent) < self._limit:
            return None
        until = sorted(spent)[-self._limit] + DAY
        return Brake(
            f"the {self._limit} retrains a day that this installation allows are used up", until, only="Retrain"
        )

    def reserve(self, monitor: Manifest, status: Manifest | None) -> None:
        """What this status of a monitor asks for counts from now on, before it is written."""
        if self._limit is not None:
            self._reserved.update(_asked({"metadata": monitor["metadata"], "status": status}))

    def _spent(self, now: float) -> list[float]:
        """When each retrain of the last day was asked for."""
        self._reserved = {name: at for name, at in self._reserved.items() if now - at < _RESERVED_SECONDS}
        asked = dict(self._reserved)
        for monitor in self._monitors.by(BY_ASKING, _ASKING):
            asked |= _asked(monitor)
        return [at for at in asked.values() if now - at < DAY]


def _asked(monitor: Manifest) -> dict[_Name, float]:
    """When each request was made that may become, or became, a run."""
    requests = _requests(value_at(monitor, "status", "requests") or [])
    uid = monitor["metadata"]["uid"]
    return {
        (uid, request.id): request.created_at.timestamp()
        for request in requests
        if request.action == "Retrain" and request.state in _COUNT
    }


def _requests(entries: object) -> Iterable[ActionRequest]:
    try:
        return _REQUESTS.validate_python(entries)
    except ValidationError:
        return ()


def _has_asked(monitor: Manifest) -> list[str]:
    return [_ASKING] if value_at(monitor, "status", "requests") else []
