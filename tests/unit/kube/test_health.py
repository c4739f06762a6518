"""What probes and Prometheus are answered."""

from __future__ import annotations

import aiohttp
import pytest

from perennial.kube.health import Probes
from perennial.kube.metrics import LEADER


class Vitals:
    def __init__(self, ailments: list[str], is_ready: bool) -> None:
        self._ailments = ailments
        self.is_ready = is_ready

    def ailments(self) -> list[str]:
        return self._ailments


@pytest.mark.parametrize(
    ("ailments", "ready", "healthz", "readyz"),
    [
        ([], True, (200, "ok"), (200, "ok")),
        ([], False, (200, "ok"), (503, "the caches are being filled")),
        (["the watch of pods is dead"], True, (500, "the watch of pods is dead"), (200, "ok")),
    ],
)
async def test_probes(ailments: list[str], ready: bool, healthz: tuple[int, str], readyz: tuple[int, str]) -> None:
    LEADER.labels("test").set(0)
    async with Probes(Vitals(ailments, ready), 0, 0) as probes, aiohttp.ClientSession() as session:
        for path, expected in (("healthz", healthz), ("readyz", readyz)):
            async with session.get(f"http://127.0.0.1:{probes.ports['health']}/{path}") as answer:
                assert (answer.status, await answer.text()) == expected
        async with session.get(f"http://127.0.0.1:{probes.ports['metrics']}/metrics") as answer:
            text = await answer.text()
    for name in ("workqueue_depth", "controller_runtime_reconcile", "rest_client_requests", "leader_election_master"):
        assert f"# TYPE {name}" in text


async def test_metrics_can_be_asked_for_by_name() -> None:
    LEADER.labels("test").set(0)
    async with Probes(Vitals([], True), 0, 0) as probes, aiohttp.ClientSession() as session:
        address = f"http://127.0.0.1:{probes.ports['metrics']}/metrics"
        async with session.get(address, params={"name[]": "leader_election_master_status"}) as answer:
            text = await answer.text()
    assert "leader_election_master_status" in text
    assert "process_cpu_seconds_total" not in text
