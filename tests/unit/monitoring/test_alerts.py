"""What Alertmanager is told, and when; and, with a real one, what a person then hears of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.timestamp import to_text
from perennial.kube.plan import Key
from perennial.monitoring.alertmanager import Alertmanager, AlertmanagerUnreachable
from perennial.monitoring.alerts import LASTS, TOLD_EVERY, TRIED_AGAIN, Alerts
from tests.alertmanager import OnCall

KEY = Key("team-a", "watch")
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def status(*states: str, governor: dict[str, Any] | None = None) -> DriftMonitorStatus:
    harmful = {
        "type": "Harmful",
        "status": "True",
        "reason": "Harm",
        "message": "the loss is 0.3",
        "observedGeneration": 1,
        "lastTransitionTime": START,
    }
    verdicts = [
        {
            "id": f"id-{state}",
            "state": state,
            "since": START,
            "samples": 700,
            "features": [{"name": "x", "effect": 0.25, "statistic": 12, "kind": "Distribution", "message": "higher"}],
            "action": "asked",
            "next": "takes the request",
        }
        for state in states
    ]
    return DriftMonitorStatus.model_validate(
        {"verdicts": verdicts, "conditions": [harmful] if "Harm" in states else [], "governor": governor}
    )


class Receiver:
    """An Alertmanager in memory, and what it was told, by moment."""

    def __init__(self) -> None:
        self.told: list[tuple[float, list[dict[str, Any]]]] = []
        self.is_up = True

    async def post(self, told: list[dict[str, Any]]) -> None:
        self.told.append((asyncio.get_running_loop().time(), told))
        if not self.is_up:
            raise AlertmanagerUnreachable("it is not up")

    @property
    def last(self) -> dict[str, str]:
        """When each alert of the last telling ends, by its name."""
        return {alert["labels"]["alertname"]: alert["endsAt"] for alert in self.told[-1][1]}


@contextlib.asynccontextmanager
async def telling(receiver: Receiver) -> Any:
    loop = asyncio.get_running_loop()
    told = Alerts(receiver.post, lambda: START + timedelta(seconds=loop.time()))
    running = asyncio.create_task(told.run())
    await asyncio.sleep(0)
    yield told
    running.cancel()


pytestmark = pytest.mark.asyncio
looptime = pytest.mark.looptime


@looptime
async def test_what_lasts_is_told_again_and_ends_by_itself() -> None:
    receiver = Receiver()
    async with telling(receiver) as told:
        told.show(KEY, "flights", status("Harm", "MinorDrift"))
        await asyncio.sleep(2.5 * TOLD_EVERY)
    assert len(receiver.told) == 3
    for at, (alert,) in receiver.told:
        assert alert["endsAt"] == to_text(START + timedelta(seconds=at) + LASTS)
        assert alert["labels"] == {
            "alertname": "PerennialHarm",
            "namespace": "team-a",
            "driftmonitor": "watch",
            "modeldeployment": "flights",
            "verdict": "id-Harm",
            "severity": "critical",
        }
        assert alert["annotations"]["description"] == "the loss is 0.3"


@looptime
async def test_what_is_over_is_told_once() -> None:
    receiver = Receiver()
    async with telling(receiver) as told:
        told.show(KEY, "flights", status("Harm", "Drift"))
        await asyncio.sleep(10)
        told.show(KEY, "flights", status("Drift"))
        await asyncio.sleep(10)
        assert receiver.last["PerennialHarm"] == to_text(START + timedelta(seconds=10))
        assert receiver.last["PerennialDrift"] > receiver.last["PerennialHarm"]
        told.forget(KEY)
        await asyncio.sleep(2 * TOLD_EVERY)
        assert len(receiver.told) == 3
        assert set(receiver.last) == {"PerennialDrift"}


@looptime
async def test_an_alertmanager_that_is_away_is_tried_until_it_has_everything() -> None:
    receiver = Receiver()
    async with telling(receiver) as told:
        told.show(KEY, "flights", status("Harm"))
        await asyncio.sleep(5)
        receiver.is_up = False
        told.show(KEY, "flights", status("Drift"))
        await asyncio.sleep(10 * TRIED_AGAIN)
        receiver.is_up = True
        await asyncio.sleep(TRIED_AGAIN)
        assert set(receiver.last) == {"PerennialHarm", "PerennialDrift"}
        before = len(receiver.told)
        await asyncio.sleep(TOLD_EVERY + 1)
        assert [set(receiver.last), len(receiver.told) - before] == [{"PerennialDrift"}, 1]


@looptime
async def test_what_was_never_told_is_not_called_off() -> None:
    receiver = Receiver()
    receiver.is_up = False
    async with telling(receiver) as told:
        told.show(KEY, "flights", status("Drift"))
        await asyncio.sleep(1)
        told.show(KEY, "flights", status())
        receiver.is_up = True
        before = len(receiver.told)
        await asyncio.sleep(TOLD_EVERY)
    assert len(receiver.told) == before


@looptime
@pytest.mark.parametrize(
    ("state", "described"),
    [
        ("Harm", "the loss is 0.3"),
        (
            "TrainServeSkew",
            "x: higher (0.25 of cumulative probability, 12 standard errors), since 2026-03-01T12:00:00Z, found on 700 "
            "rows",
        ),
        (
            "AnchorDrift",
            "x: higher (at least 0.25 of cumulative probability, 12 standard errors), found on 700 held-out rows",
        ),
        ("MinorDrift", None),
    ],
)
async def test_an_alert_says_what_was_found(state: str, described: str | None) -> None:
    receiver = Receiver()
    async with telling(receiver) as told:
        told.show(KEY, "flights", status(state))
        await asyncio.sleep(1)
    texts = [alert["annotations"]["description"] for _, alerts in receiver.told for alert in alerts]
    assert texts == [described] * bool(described)


@looptime
async def test_a_person_is_called_while_the_governor_has_stopped() -> None:
    receiver = Receiver()
    done = {"retrains": 3, "rollbacks": 1}
    async with telling(receiver) as told:
        told.show(KEY, "flights", status("Harm", governor=done))
        await asyncio.sleep(10)
        assert set(receiver.last) == {"PerennialHarm"}
        told.show(KEY, "flights", status("Harm", governor=done | {"stoppedSince": to_text(START)}))
        await asyncio.sleep(10)
        assert set(receiver.last) == {"PerennialHarm", "PerennialGovernorStopped"}
        alert = receiver.told[-1][1][-1]
        told.show(KEY, "flights", status("Harm"))
        await asyncio.sleep(10)
        assert receiver.last["PerennialGovernorStopped"] == to_text(START + timedelta(seconds=20))
    assert alert["labels"] == {
        "alertname": "PerennialGovernorStopped",
        "namespace": "team-a",
        "driftmonitor": "watch",
        "modeldeployment": "flights",
        "severity": "critical",
    }
    assert alert["startsAt"] == to_text(START)
    said = "3 retrains and 1 rollback in a row, and none was followed by a long calm"
    assert alert["annotations"]["description"] == said


@looptime
async def test_nothing_new_is_not_told() -> None:
    receiver = Receiver()
    async with telling(receiver) as told:
        for _ in range(30):
            told.show(KEY, "flights", status("Drift"))
            await asyncio.sleep(1)
    assert len(receiver.told) == 1


@pytest.fixture
def on_call(tmp_path: Path) -> Iterator[OnCall]:
    there = OnCall(tmp_path)
    yield there
    there.close()


@pytest.mark.process
async def test_a_person_hears_of_each_verdict_once_and_of_its_end(on_call: OnCall) -> None:
    """Whatever happens meanwhile to Alertmanager and to the operator."""

    async def until(told: Alerts, alert: str, state: str) -> None:
        await asyncio.to_thread(on_call.wait_for, lambda: on_call.told(state, alert), f"{alert} is {state}")

    async def operator() -> tuple[Alerts, asyncio.Task[None]]:
        there = Alerts(Alertmanager(on_call.url).post, lambda: datetime.now(UTC))
        return there, asyncio.create_task(there.run())

    on_call.start()
    first, running = await operator()
    first.show(KEY, "flights", status("Harm"))
    await until(first, "PerennialHarm", "firing")
    on_call.stop()
    first.show(KEY, "flights", status("Harm", "Drift"))
    on_call.start()
    await until(first, "PerennialDrift", "firing")
    running.cancel()
    second, running = await operator()
    second.show(KEY, "flights", status("Harm", "Drift"))
    await asyncio.sleep(1.5)  # Alertmanager's group interval: it would say it now.
    second.show(KEY, "flights", status("Drift"))
    await until(second, "PerennialHarm", "resolved")
    running.cancel()
    assert [on_call.told("firing", alert) for alert in ("PerennialHarm", "PerennialDrift")] == [1, 1]
    assert on_call.told("resolved", "PerennialHarm") == 1


@pytest.mark.process
async def test_a_refusal_is_said_in_alertmanagers_words(on_call: OnCall) -> None:
    on_call.start()
    with pytest.raises(AlertmanagerUnreachable, match=r"/api/v2/alerts: answered 4\d\d: "):
        await Alertmanager(on_call.url).post([{"labels": {}}])
    on_call.stop()
    with pytest.raises(AlertmanagerUnreachable, match="Cannot connect"):
        await Alertmanager(on_call.url).post([])
