"""ModelDeployments under the oracles: first version, canary, rollback, quarantine, pin and scale."""

from __future__ import annotations

import pytest

from perennial.api.resources import MODELDEPLOYMENTS, TRAININGJOBS

from .cluster import Cluster
from .installation import Installation
from .oracles import Story, chapters, goes_on, is_at_rest, survives_every_crash, survives_late_views, told
from .rooms import NAMESPACE, NODE, annotated, cluster_of, modeldeployment, rooms, says, status_of, trainingjob

CANARY = {
    "strategy": "Canary",
    "steps": [{"weight": 50, "minRequests": 20}],
    "analysis": {"errorRate": {"max": "5%"}},
}


async def trained(installation: Installation) -> None:
    server = cluster_of(installation)
    server.broken = {4}
    server.put("nodes", NODE)
    server.put("trainingjobs", trainingjob())
    await installation.live(seconds=20)


async def served(installation: Installation) -> None:
    installation.server.put("modeldeployments", modeldeployment(replicas=2, rollout=CANARY))
    await installation.live(seconds=20)


async def begun(installation: Installation) -> None:
    """Another version, that becomes the candidate."""
    number = status_of(installation, TRAININGJOBS)["latestVersion"] + 1
    installation.server.put("trainingjobs", annotated(TRAININGJOBS, run=f"for version {number}"))
    await installation.live(seconds=40)


async def promoted(installation: Installation) -> None:
    await answered(installation, version=2)


async def quarantined(installation: Installation) -> None:
    await answered(installation, version=3, errors=60)


async def answered(installation: Installation, version: int, errors: int = 0) -> None:
    for port in cluster_of(installation).serving(version):
        port.answer(200, errors=errors)
    await installation.live(seconds=60)


async def released(installation: Installation) -> None:
    installation.server.put("modeldeployments", annotated(MODELDEPLOYMENTS, release="it was the data"))
    await installation.live(seconds=20)


async def pinned(installation: Installation) -> None:
    """To the first version, which takes over without steps; more pods, other pods."""
    asked = modeldeployment(replicas=2, rollout={"strategy": "Rolling", "steps": None, "analysis": None})
    asked["spec"]["model"]["version"] = 1
    installation.server.put("modeldeployments", asked)
    await installation.live(seconds=30)


async def respecified(installation: Installation) -> None:
    installation.server.put("modeldeployments", modeldeployment(replicas=3, pod={"labels": {"team": "a"}}))
    await installation.live(seconds=30)


async def aborted(installation: Installation) -> None:
    """A broken version, by a pin, that a person gives up."""
    await begun(installation)
    asked = modeldeployment()
    asked["spec"]["model"]["version"] = 4
    installation.server.put("modeldeployments", asked)
    await installation.live(seconds=30)
    installation.server.put("modeldeployments", annotated(MODELDEPLOYMENTS, abort="it does not start"))
    await installation.live(seconds=30)


async def status_lost(installation: Installation) -> None:
    installation.server.clear_status("modeldeployments", NAMESPACE, "flights")
    await installation.live(seconds=30)


CANARY_STORY = (trained, served, begun, promoted, begun, quarantined, status_lost, released)
OTHER_STORY = (trained, served, begun, pinned, respecified, begun, aborted, status_lost)
STORIES = pytest.mark.parametrize("story", [CANARY_STORY, OTHER_STORY], ids=["canary", "others"])
TOLD: dict[Story, int] = {CANARY_STORY: 1, OTHER_STORY: 3}
"""How many steps have been told in another story."""


async def test_the_stories_end_well() -> None:
    end = await told(rooms, CANARY_STORY[:-1], Cluster)
    status = status_of(end, MODELDEPLOYMENTS)
    assert status["stable"]["version"] == 2
    assert [quarantined["version"] for quarantined in status["quarantined"]] == [3]
    assert says(end, MODELDEPLOYMENTS, "Ready") == ("True", "Ready")
    await goes_on(end, CANARY_STORY[-1:])
    assert status_of(end, MODELDEPLOYMENTS)["candidate"]["version"] == 3
    await is_at_rest(end)
    end = await told(rooms, OTHER_STORY[:-1], Cluster)
    status = status_of(end, MODELDEPLOYMENTS)
    assert (status["stable"]["version"], status["stable"]["ready"]) == (1, 3)
    assert status["handled"]["abort"] == "it does not start"
    assert says(end, MODELDEPLOYMENTS, "Stalled") == ("True", "Aborted")
    await goes_on(end, OTHER_STORY[-1:])
    await is_at_rest(end)


@STORIES
async def test_no_crash_changes_the_end(story: Story) -> None:
    new = (await chapters(rooms, story, Cluster))[TOLD[story] :]
    assert await survives_every_crash(rooms, new) > 15


@STORIES
async def test_no_late_view_changes_the_end(story: Story) -> None:
    for chapter in (await chapters(rooms, story, Cluster))[TOLD[story] :]:
        for seed in range(3):
            await survives_late_views(rooms, chapter, seed, waits=True)
