"""Which counters are remembered: what gave way counts while somebody is judged by it, and is no load any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from perennial.serving.meter import Meter
from perennial.serving.pods import ServerPod
from perennial.wire.stats import Stats

SINCE = datetime(2026, 3, 1, tzinfo=UTC)


class Pods:
    """Every pod has answered as many requests as it was asked for its counters."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}

    async def get_json(self, ip: str, *_: Any, **__: Any) -> Any:
        self.asked[ip] = self.asked.get(ip, 0) + 1
        return Stats(ip, "m", float(self.asked[ip]), requests=self.asked[ip])


async def test_a_pod_that_is_not_ready_for_a_moment_is_measured_again() -> None:
    pods, meter = Pods(), Meter()
    pod = ServerPod("a", "a", "stable", SINCE, ip="a", ready_since=SINCE)
    away = replace(pod, ready_since=None)
    for now, seen in ((0.0, pod), (5.0, pod), (10.0, away), (3600.0, away), (3605.0, pod)):
        readings = await meter.read(pods, [seen], ("stable",), now)
    # Nobody knows what it had to do while it was away.
    assert readings.load.missing == 1
    readings = await meter.read(pods, [pod], ("stable",), 3610.0)
    assert readings.load.missing == 0
    assert readings.requests == {"stable": 1}


async def test_what_gave_way_is_remembered_while_it_is_kept() -> None:
    pods, meter = Pods(), Meter()
    stable = ServerPod("a", "a", "stable", SINCE, ip="a", ready_since=SINCE)
    other = replace(stable, uid="b", ip="b")
    candidate = replace(stable, uid="c", ip="c", revision="candidate")
    keep = ("stable", "candidate")
    for now in (0.0, 5.0):
        readings = await meter.read(pods, [stable, other, candidate], keep, now)
    assert readings.requests == {"stable": 2, "candidate": 1}
    readings = await meter.read(pods, [stable, candidate], keep, 10.0)
    assert sorted(stats.requests for stats in readings.stats["stable"]) == [2, 3]
    assert readings.requests == {"stable": 2, "candidate": 2}
    readings = await meter.read(pods, [stable, candidate], ("candidate",), 15.0)
    assert [stats.requests for stats in readings.stats["stable"]] == [4]
