"""What monitors found, as alerts for Alertmanager: told again and again while it lasts, and once more when it is over.

An alert is named by its monitor and its verdict's id, and Alertmanager keeps alerts by their names: one told twice, by
this operator or by the next one, is the same alert. An operator that is gone stops telling, and what it last told ends
by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Counter

from perennial.api.conditions import ConditionType, find
from perennial.api.driftmonitor_status import DriftMonitorStatus, GovernorStatus, Verdict
from perennial.api.timestamp import to_text
from perennial.kube.plan import Key

from .alertmanager import AlertmanagerUnreachable
from .words import count, described

TOLD_EVERY = 60.0
"""Seconds between two tellings of what lasts, unless something changes."""

LASTS = timedelta(minutes=5)
"""An alert that is not told again for so long is over."""

TRIED_AGAIN = 5.0
"""Seconds until an Alertmanager that did not take the alerts is told again."""

GATHERED = 0.5
"""Seconds in which changes are gathered, to be told together."""

SEVERITIES = {
    "Harm": "critical",
    "DataFault": "critical",
    "HarmSuspected": "warning",
    "Drift": "warning",
    "TrainServeSkew": "warning",
    "AnchorDrift": "warning",
}
"""Of the states that are worth an alert."""

STOPPED = "GovernorStopped"

_CONDITIONS = {
    "Harm": ConditionType.HARMFUL,
    "DataFault": ConditionType.DATA_FAULT,
    "Drift": ConditionType.DRIFTING,
}
_TOLD = Counter("perennial_alerts", "Alerts that Alertmanager took, repetitions too.")
_REFUSED = Counter("perennial_alerts_failures", "Times that Alertmanager did not take the alerts.")

logger = logging.getLogger(__name__)

Alert = dict[str, Any]
Name = tuple[str, str, str]
"""Namespace, monitor, and the id of a verdict or what else there is one of."""

Post = Callable[[list[Alert]], Awaitable[None]]
"""Hands alerts over. Raises AlertmanagerUnreachable."""


class Alerts:
    """The alerts of all monitors. What is over is remembered until Alertmanager knows it."""

    def __init__(self, post: Post, clock: Callable[[], datetime]) -> None:
        self._post = post
        self._clock = clock
        self._firing: dict[Name, Alert] = {}
        self._over: dict[Name, Alert] = {}
        self._known: set[Name] = set()
        self._changed = asyncio.Event()

    def show(self, key: Key, deployment: str, status: DriftMonitorStatus) -> None:
        """What a monitor's status says now."""
        now = dict(_alerts(key, deployment, status))
        before = self._of(key)
        if now == before:
            return
        for name in before.keys() - now.keys():
            self._end(name)
        for name in now:
            self._over.pop(name, None)
        self._firing.update(now)
        self._changed.set()

    def forget(self, key: Key) -> None:
        """The monitor is gone: it claims nothing any more."""
        for name in self._of(key):
            self._end(name)
            self._changed.set()

    async def run(self) -> None:
        """Tell, until cancelled."""
        while True:
            if not await self._tell():
                await asyncio.sleep(TRIED_AGAIN)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(TOLD_EVERY):
                    await self._changed.wait()
            await asyncio.sleep(GATHERED)

    async def _tell(self) -> bool:
        self._changed.clear()
        now = self._clock()
        lasting, over = dict(self._firing), dict(self._over)
        until = to_text(now + LASTS)
        alerts = [alert | {"endsAt": until} for alert in lasting.values()]
        alerts += over.values()
        if not alerts:
            return True
        try:
            await self._post(alerts)
        except AlertmanagerUnreachable as error:
            _REFUSED.inc()
            logger.warning("%d alerts wait for Alertmanager: %s", len(alerts), error)
            return False
        _TOLD.inc(len(alerts))
        self._known |= lasting.keys()
        for name in over:
            self._known.discard(name)
            self._over.pop(name, None)
        return True

    def _of(self, key: Key) -> dict[Name, Alert]:
        return {name: alert for name, alert in self._firing.items() if name[:2] == (key.namespace, key.name)}

    def _end(self, name: Name) -> None:
        alert = self._firing.pop(name)
        # What Alertmanager never heard of need not be called off.
        if name in self._known:
            self._over[name] = alert | {"endsAt": to_text(self._clock())}


def _alerts(key: Key, deployment: str, status: DriftMonitorStatus) -> Iterator[tuple[Name, Alert]]:
    for verdict in status.verdicts:
        if severity := SEVERITIES.get(verdict.state):
            yield (key.namespace, key.name, verdict.id), _alert(key, deployment, status, verdict, severity)
    governor = status.governor
    if governor and governor.stopped_since:
        yield (key.namespace, key.name, STOPPED), _stopped(key, deployment, governor, governor.stopped_since)


def _labels(key: Key, deployment: str, alert: str, severity: str) -> dict[str, str]:
    return {
        "alertname": f"Perennial{alert}",
        "namespace": key.namespace,
        "driftmonitor": key.name,
        "modeldeployment": deployment,
        "severity": severity,
    }


def _alert(key: Key, deployment: str, status: DriftMonitorStatus, verdict: Verdict, severity: str) -> Alert:
    told = {"action": verdict.action, "next": verdict.next}
    return {
        "labels": {**_labels(key, deployment, verdict.state, severity), "verdict": verdict.id},
        "annotations": {
            "summary": f"{verdict.state} of ModelDeployment {key.namespace}/{deployment}",
            "description": _description(status, verdict),
            **{name: text for name, text in told.items() if text},
        },
        "startsAt": to_text(verdict.since),
    }


def _stopped(key: Key, deployment: str, governor: GovernorStatus, since: datetime) -> Alert:
    counts = {"retrain": governor.retrains, "rollback": governor.rollbacks}
    done = " and ".join(count(number, what) for what, number in counts.items() if number)
    return {
        "labels": _labels(key, deployment, STOPPED, "critical"),
        "annotations": {
            "summary": f"Nothing more is done about ModelDeployment {key.namespace}/{deployment}: a person has to look",
            "description": f"{done} in a row, and none was followed by a long calm",
            "next": f"look at data and definition, then: kubectl perennial release dm/{key.name} -n {key.namespace}",
        },
        "startsAt": to_text(since),
    }


def _description(status: DriftMonitorStatus, verdict: Verdict) -> str:
    condition = find(status.conditions, _CONDITIONS[verdict.state]) if verdict.state in _CONDITIONS else None
    if condition and condition.status == "True":
        return condition.message
    if loss := verdict.loss:
        return f"a loss of {loss.now:.3g} on {verdict.samples} rows; the reference's is {loss.reference:.3g}"
    return described(verdict)
