"""Reads the pods' counters, remembers them, and answers differences.

Counters only grow within a pod, so that a pod which is gone or does not answer keeps counting with what it last said. A
reading is taken anew only when it is older than the interval: a burst of events costs no burst of requests. Nothing
here outlives the operator: after a restart the living pods' own counters are there again, those of pods that are gone
are not, and what needs a difference waits for the second reading.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from perennial.kube.podclient import PodUnreachable
from perennial.wire.places import CONTROL_PORT
from perennial.wire.stats import STATS_PATH, Stats

from .autoscaler import Load
from .pods import ServerPod
from .readings import INTERVAL_SECONDS, SPAN_SECONDS, Readings


class Reader(Protocol):
    """Gets a pod's JSON. Raises PodUnreachable."""

    async def get_json(self, ip: str, port: int, path: str, type: type[Stats]) -> Stats: ...


@dataclass(slots=True)
class _Counter:
    revision: str
    readings: deque[tuple[float, Stats]] = field(default_factory=deque)
    asked_at: float = float("-inf")

    @property
    def final(self) -> _Counter:
        """Without the readings before the last, which only the load of a pod that is there needs."""
        return _Counter(self.revision, deque(list(self.readings)[-1:]), self.asked_at)


class Meter:
    """The counters of one deployment's pods."""

    def __init__(self) -> None:
        self._counters: dict[str, _Counter] = {}

    async def read(self, reader: Reader, pods: Sequence[ServerPod], keep: Iterable[str], now: float) -> Readings:
        """Read what is due from the ready ones of `pods`. Counters of revisions other than `keep` are forgotten when
        their pods are not ready. `now` is in monotonic seconds."""
        ready = [pod for pod in pods if pod.ready_since is not None and not pod.ending and pod.ip]
        for pod in ready:
            self._counters.setdefault(pod.uid, _Counter(pod.revision))
        due = [pod for pod in ready if now - self._counters[pod.uid].asked_at >= INTERVAL_SECONDS]
        await asyncio.gather(*(self._ask(reader, pod, now) for pod in due))
        kept, there, living = set(keep), {pod.uid for pod in pods}, {pod.uid for pod in ready}
        self._counters = {
            uid: counter if uid in there else counter.final
            for uid, counter in self._counters.items()
            if uid in living or counter.revision in kept
        }
        return self._readings(ready, now)

    async def _ask(self, reader: Reader, pod: ServerPod, now: float) -> None:
        counter = self._counters[pod.uid]
        counter.asked_at = now
        try:
            stats = await reader.get_json(pod.ip or "", CONTROL_PORT, STATS_PATH, Stats)
        except PodUnreachable:
            return
        readings = counter.readings
        if readings and (readings[-1][1].incarnation != stats.incarnation or readings[-1][0] <= now - SPAN_SECONDS):
            readings.clear()
        readings.append((now, stats))
        while len(readings) > 2 and readings[1][0] <= now - SPAN_SECONDS:
            readings.popleft()

    def _readings(self, ready: Sequence[ServerPod], now: float) -> Readings:
        stats: dict[str, list[Stats]] = {}
        requests: dict[str, int] = {}
        living = {pod.uid for pod in ready}
        for uid, counter in self._counters.items():
            if counter.readings:
                stats.setdefault(counter.revision, []).append(counter.readings[-1][1])
            if counter.readings and uid in living:
                answered = counter.readings[-1][1].requests - counter.readings[0][1].requests
                requests[counter.revision] = requests.get(counter.revision, 0) + answered
        recent = {pod.uid: self._counters[pod.uid] for pod in ready if self._is_recent(pod.uid, now)}
        concurrency = [mean for counter in recent.values() if (mean := _concurrency(counter)) is not None]
        return Readings(
            stats=stats,
            load=Load(tuple(concurrency), missing=len(ready) - len(concurrency)),
            silent=frozenset(pod.revision for pod in ready if pod.uid not in recent),
            requests=requests,
        )

    def _is_recent(self, uid: str, now: float) -> bool:
        readings = self._counters[uid].readings
        return bool(readings) and now - readings[-1][0] <= SPAN_SECONDS


def _concurrency(counter: _Counter) -> float | None:
    """The mean requests in flight over the span; None before a second reading."""
    first, last = counter.readings[0][1], counter.readings[-1][1]
    elapsed = last.clock - first.clock
    return (last.busy_seconds - first.busy_seconds) / elapsed if elapsed > 0 else None
