"""Going back under the oracles: harm, proof that the version before is better, and what becomes of a candidate."""

from __future__ import annotations

from typing import Any

import pytest

from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS

from .cluster import Cluster
from .installation import Installation
from .oracles import Story, chapters, goes_on, is_at_rest, survives_every_crash, survives_late_views, told
from .rooms import (
    NAMESPACE,
    NODE,
    annotated,
    cluster_of,
    driftmonitor,
    message,
    modeldeployment,
    rooms,
    says,
    status_of,
    trainingjob,
)

LOOK = 100
"""Seconds, in which each pod is looked at and a window ends."""
HARMFUL = (50, 50)
"""Labels, right and wrong: the reference has one wrong in ten."""
ROLLBACK = [{"state": "Harm", "action": "Rollback"}]
BOTH = [{"state": "Harm", "action": "Retrain"}, *ROLLBACK]
CANARY = {
    "strategy": "Canary",
    "steps": [{"weight": 50, "minRequests": 20}],
    "analysis": {"errorRate": {"max": "5%"}},
}


async def watched(installation: Installation) -> None:
    """Version 2 is stable, version 1 was before."""
    await begun(installation, ROLLBACK)


async def watched_in_canaries(installation: Installation) -> None:
    await begun(installation, BOTH, rollout=CANARY)


async def begun(installation: Installation, actions: list[dict[str, str]], **deployment: Any) -> None:
    server = cluster_of(installation)
    server.put("nodes", NODE)
    server.put("trainingjobs", trainingjob())
    server.put("modeldeployments", modeldeployment(replicas=2, **deployment))
    server.put("driftmonitors", driftmonitor(window={"minRows": 500, "period": "1m"}, actions=actions))
    await installation.live(seconds=LOOK)
    server.put("trainingjobs", annotated(TRAININGJOBS, run="a better one"))
    await installation.live(seconds=LOOK)
    for port in server.serving(2):
        port.answer(200)
    await installation.live(seconds=LOOK)
    assert status_of(installation, MODELDEPLOYMENTS)["stable"]["version"] == 2


async def harmed(installation: Installation) -> None:
    """The version before is better already; but by these labels harm is found, and they prove nothing of it."""
    await answered(installation, version=2, labels=HARMFUL)


async def seen_whole(installation: Installation) -> None:
    """A window that shows the data to be whole: only then is a retrain asked for."""
    await answered(installation, version=2)


async def proven(installation: Installation) -> None:
    await answered(installation, version=2, labels=HARMFUL, companion_wrong=5)


async def no_better(installation: Installation) -> None:
    await answered(installation, version=2, labels=HARMFUL, companion_wrong=50)


async def answered(installation: Installation, version: int, **said: Any) -> None:
    for port in cluster_of(installation).serving(version):
        port.answer(300, **said)
    await installation.live(seconds=LOOK)


async def well_again(installation: Installation) -> None:
    """Version 1 is judged anew, by its own reference."""
    await answered(installation, version=1, labels=(90, 10))


async def cured(installation: Installation) -> None:
    for port in cluster_of(installation).serving(3):
        port.answer(200)
    await installation.live(seconds=LOOK)


async def status_lost(installation: Installation) -> None:
    for plural in ("trainingjobs", "modeldeployments", "driftmonitors"):
        installation.server.clear_status(plural, NAMESPACE, "flights")
    await installation.live(seconds=LOOK)


async def released(installation: Installation) -> None:
    installation.server.put("modeldeployments", annotated(MODELDEPLOYMENTS, release="it was the season"))
    await installation.live(seconds=LOOK)


ALONE = (watched, harmed, proven, status_lost, well_again, released)
WITH_A_CURE = (watched_in_canaries, harmed, seen_whole, proven, cured)


async def test_it_goes_back_and_stays_there_until_it_is_released() -> None:
    end = await told(rooms, ALONE[:2], Cluster)
    for step in ALONE[2:5]:
        await goes_on(end, [step])
        deployment, monitor = status_of(end, MODELDEPLOYMENTS), status_of(end, DRIFTMONITORS)
        assert deployment["stable"]["version"] == 1
        assert "candidate" not in deployment
        assert [entry["version"] for entry in deployment["quarantined"]] == [2]
        assert says(end, MODELDEPLOYMENTS, "Ready") == ("True", "Ready")
        assert says(end, MODELDEPLOYMENTS, "RollingOut") == ("False", "Quarantined")
        assert "since its loss is 0.05 where it is 0.5 now" in message(end, MODELDEPLOYMENTS, "RollingOut")
        assert [(each["action"], each["state"]) for each in monitor["requests"]] == [("Rollback", "Taken")]
        assert (monitor["model"]["version"], monitor.get("verdicts", [])) == (1, [])
        assert end.told.events.count("flights RolledBack") == 1
    await goes_on(end, ALONE[5:])
    assert status_of(end, MODELDEPLOYMENTS)["stable"]["version"] == 2
    assert "quarantined" not in status_of(end, MODELDEPLOYMENTS)
    await is_at_rest(end)


async def test_it_does_not_go_back_to_one_that_is_no_better() -> None:
    end = await told(rooms, (watched, harmed, no_better, no_better), Cluster)
    assert status_of(end, MODELDEPLOYMENTS)["stable"]["version"] == 2
    monitor = status_of(end, DRIFTMONITORS)
    assert "requests" not in monitor
    assert monitor["verdicts"][0]["previous"] == {
        "version": 1, "samples": 400, "loss": 0.5, "now": 0.5, "wins": False,
    }  # fmt: skip


async def test_a_cure_in_the_middle_of_its_rollout_begins_again_over_the_version_before() -> None:
    end = await told(rooms, WITH_A_CURE[:3], Cluster)
    assert status_of(end, MODELDEPLOYMENTS)["candidate"]["version"] == 3
    await goes_on(end, WITH_A_CURE[3:4])
    deployment = status_of(end, MODELDEPLOYMENTS)
    assert (deployment["stable"]["version"], deployment["candidate"]["version"]) == (1, 3)
    await goes_on(end, WITH_A_CURE[4:])
    deployment = status_of(end, MODELDEPLOYMENTS)
    assert (deployment["stable"]["version"], deployment["previous"]["version"]) == (3, 1)
    assert [entry["version"] for entry in deployment["quarantined"]] == [2]
    asked = [(each["action"], each["state"]) for each in status_of(end, DRIFTMONITORS)["requests"]]
    assert asked == [("Rollback", "Taken"), ("Retrain", "Taken")]
    assert [run["trigger"] for run in status_of(end, TRAININGJOBS)["runs"]] == ["DriftMonitor", "Requested", "FirstRun"]
    await is_at_rest(end)


@pytest.mark.parametrize(("story", "undone"), [(ALONE, False), (ALONE, True), (WITH_A_CURE, False)])
async def test_no_crash_changes_the_end(story: Story, undone: bool) -> None:
    """It dies after a write; or before one, when pods have been told already what the last one kept."""
    new = (await chapters(rooms, story, Cluster))[2 : 4 if seen_whole in story else 3]
    assert await survives_every_crash(rooms, new, undone=undone) > 15


@pytest.mark.parametrize("story", [ALONE, WITH_A_CURE], ids=["alone", "with a cure"])
async def test_no_late_view_changes_the_end(story: Story) -> None:
    for chapter in (await chapters(rooms, story, Cluster))[2:]:
        for seed in range(4):
            await survives_late_views(rooms, chapter, seed, waits=True)
