"""DriftMonitors under the oracles, and the loop that they close: counts, harm, a request, a run, a rollout."""

from __future__ import annotations

from typing import Any

from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS

from .cluster import Cluster
from .installation import Installation
from .oracles import chapters, goes_on, is_at_rest, survives_every_crash, survives_late_views, told
from .rooms import NAMESPACE, NODE, cluster_of, driftmonitor, modeldeployment, rooms, says, status_of, trainingjob

LOOK = 100
"""Seconds, in which each pod is looked at and a window ends."""
FINE, HARMFUL = (90, 10), (50, 50)
"""Labels, right and wrong: the reference has one wrong in ten."""


async def watched(installation: Installation) -> None:
    await begun(installation, cooldown="1h")


async def watched_in_canaries(installation: Installation) -> None:
    steps = [{"weight": 50, "minRequests": 20}]
    rollout = {"strategy": "Canary", "steps": steps, "analysis": {"errorRate": {"max": "5%"}}}
    await begun(installation, cooldown="6m", rollout=rollout)
    await answered(installation, version=1, labels=FINE)


async def begun(installation: Installation, *, cooldown: str, **deployment: Any) -> None:
    server = cluster_of(installation)
    server.put("nodes", NODE)
    server.put("trainingjobs", trainingjob())
    server.put("modeldeployments", modeldeployment(replicas=2, **deployment))
    window = {"minRows": 500, "period": "1m"}
    actions = [{"state": "Harm", "action": "Retrain"}]
    server.put("driftmonitors", driftmonitor(window=window, actions=actions, governor={"cooldown": cooldown}))
    await installation.live(seconds=LOOK)


async def counted(installation: Installation) -> None:
    """Rows in every window; one of the pods does not answer for a while."""
    await answered(installation, version=1, labels=FINE)
    cluster_of(installation).serving(1)[0].silent = True
    await answered(installation, version=1, labels=FINE)
    cluster_of(installation).serving(1)[0].silent = False
    await answered(installation, version=1, labels=FINE)


async def harmed(installation: Installation) -> None:
    """Labels that prove harm: a request, which becomes a run, whose version takes over."""
    await answered(installation, version=1, labels=HARMFUL)


async def handed_over(installation: Installation) -> None:
    """What the pods of the version before still had is theirs; the new one is judged anew."""
    await answered(installation, version=2, labels=FINE)


async def status_lost(installation: Installation) -> None:
    for plural in ("trainingjobs", "modeldeployments", "driftmonitors"):
        installation.server.clear_status(plural, NAMESPACE, "flights")
    await installation.live(seconds=LOOK)


async def cured_in_vain(installation: Installation) -> None:
    """The version that shall help fails and is quarantined; the one that harms stays, and another one is asked for."""
    for port in cluster_of(installation).serving(2):
        port.answer(200, errors=60)
    await installation.live(seconds=LOOK)
    await answered(installation, version=1, labels=HARMFUL)
    await answered(installation, version=1, labels=HARMFUL)


async def answered(installation: Installation, version: int, labels: tuple[int, int]) -> None:
    for port in cluster_of(installation).serving(version):
        port.answer(300, labels=labels)
    await installation.live(seconds=LOOK)


STORY = (watched, counted, harmed, harmed, handed_over, status_lost)
ROLLED_BACK = (watched_in_canaries, harmed, harmed, cured_in_vain)


async def test_the_story_ends_well() -> None:
    end = await told(rooms, STORY[:2], Cluster)
    monitor = status_of(end, DRIFTMONITORS)
    assert (monitor["rows"], monitor["labels"], monitor["coverage"]) == (3600, 600, 1.0)
    assert says(end, DRIFTMONITORS, "Ready") == ("True", "Watching")
    await goes_on(end, STORY[2:4])
    for step in STORY[4:]:
        await goes_on(end, [step])
        monitor, training = status_of(end, DRIFTMONITORS), status_of(end, TRAININGJOBS)
        assert [request["state"] for request in monitor["requests"]] == ["Taken"]
        assert [run["trigger"] for run in training["runs"]] == ["DriftMonitor", "FirstRun"]
        assert status_of(end, MODELDEPLOYMENTS)["stable"]["version"] == 2
        assert (monitor["model"]["version"], monitor["rows"], monitor["labels"]) == (2, 1200, 200)
    await is_at_rest(end)


async def test_harm_after_a_rollback_is_acted_upon() -> None:
    end = await told(rooms, ROLLED_BACK, Cluster)
    assert [entry["version"] for entry in status_of(end, MODELDEPLOYMENTS)["quarantined"]] == [2]
    asked = status_of(end, DRIFTMONITORS)["requests"]
    assert [(r["acceptedVersion"], r["state"]) for r in asked] == [(2, "Taken"), (1, "Taken")]
    training = status_of(end, TRAININGJOBS)
    assert [run["trigger"] for run in training["runs"]] == ["DriftMonitor", "DriftMonitor", "FirstRun"]
    assert status_of(end, MODELDEPLOYMENTS)["candidate"]["version"] == 3


async def test_an_operator_that_led_before_undoes_nothing() -> None:
    """It goes on by what it saw last, while another one has taken epochs that pods have forgotten since."""
    before = await told(rooms, STORY[:2], Cluster)
    now = Installation(before.server, rooms)
    await answered(now, version=1, labels=FINE)
    for port in cluster_of(now).serving(1):
        port.answer(300, labels=FINE)
    before.enqueue_all()
    for _ in range(20):
        await before.step()
    await now.live(seconds=LOOK)
    monitor = status_of(now, DRIFTMONITORS)
    assert (monitor["rows"], monitor["labels"], monitor["coverage"]) == (6000, 1000, 1.0)


async def test_no_crash_changes_the_end() -> None:
    """It dies before a write, when pods have been told already what the last one kept."""
    assert await survives_every_crash(rooms, await chapters(rooms, STORY, Cluster), undone=True) > 15


async def test_no_late_view_changes_the_end() -> None:
    for chapter in await chapters(rooms, STORY, Cluster):
        for seed in range(4):
            await survives_late_views(rooms, chapter, seed, waits=True)
