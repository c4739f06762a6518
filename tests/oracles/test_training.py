"""TrainingJobs under the oracles: from a definition through Jobs, reports and records to an accepted version."""

from __future__ import annotations

import pytest

from perennial.api.resources import TRAININGJOBS

from .cluster import Cluster
from .installation import Installation
from .oracles import Story, chapters, goes_on, is_at_rest, survives_every_crash, survives_late_views, told
from .rooms import NAMESPACE, NODE, annotated, cluster_of, rooms, status_of, trainingjob


async def first_run(installation: Installation) -> None:
    server = cluster_of(installation)
    server.attempts = {2: ["rejected"], 3: ["crashed", "accepted"], 4: ["bad data"]}
    server.put("nodes", NODE)
    server.put("trainingjobs", trainingjob())
    await installation.live(minutes=1)


async def rejected(installation: Installation) -> None:
    installation.server.put("trainingjobs", trainingjob(seed=1))
    await installation.live(minutes=1)


async def crashed_once(installation: Installation) -> None:
    installation.server.put("trainingjobs", annotated(TRAININGJOBS, run="please"))
    await installation.live(minutes=1)


async def failed(installation: Installation) -> None:
    installation.server.put("trainingjobs", annotated(TRAININGJOBS, run="once more"))
    await installation.live(minutes=1)


async def message_lost(installation: Installation) -> None:
    server = cluster_of(installation)
    server.attempts = {1: ["silent"], 2: ["lost", "accepted"], 3: ["same"]}
    server.put("nodes", NODE)
    server.put("trainingjobs", trainingjob(versionHistoryLimit=2))
    await installation.live(minutes=1)


async def pod_lost(installation: Installation) -> None:
    installation.server.put("trainingjobs", annotated(TRAININGJOBS, run="again"))
    await installation.live(minutes=1)


async def status_lost(installation: Installation) -> None:
    """And asked for again, which nobody has noted then."""
    server = installation.server
    server.clear_status("trainingjobs", NAMESPACE, "flights")
    server.put("trainingjobs", annotated(TRAININGJOBS, run="and again"))
    await installation.live(minutes=1)


async def pruned(installation: Installation) -> None:
    """A day later the history is cut, while one request follows another."""
    await installation.live(days=1, minutes=1)
    for token in ("fourth", "fifth"):
        installation.server.put("trainingjobs", annotated(TRAININGJOBS, run=token))
        await installation.live(minutes=1)


RUNS = (first_run, rejected, crashed_once, failed)
LOSSES = (message_lost, pod_lost, status_lost, pruned)
STORIES = pytest.mark.parametrize("story", [RUNS, LOSSES], ids=["runs", "losses"])


def ran(end: Installation) -> list[tuple[int, str]]:
    return [(run["version"], run["state"]) for run in status_of(end, TRAININGJOBS)["runs"]]


async def test_the_stories_end_well() -> None:
    end = await told(rooms, RUNS, Cluster)
    assert ran(end) == [(4, "Failed"), (3, "Succeeded"), (2, "Rejected"), (1, "Succeeded")]
    status = status_of(end, TRAININGJOBS)
    assert (status["acceptedVersion"], status["handled"]["run"]) == (3, "once more")
    await is_at_rest(end)
    end = await told(rooms, LOSSES[:3], Cluster)
    assert ran(end) == [(3, "Unchanged"), (2, "Succeeded")]
    await goes_on(end, LOSSES[3:])
    assert ran(end) == [(5, "Succeeded"), (4, "Succeeded")]
    await is_at_rest(end)


@STORIES
async def test_no_crash_changes_the_end(story: Story) -> None:
    assert await survives_every_crash(rooms, await chapters(rooms, story, Cluster)) > 15


@STORIES
async def test_no_late_view_changes_the_end(story: Story) -> None:
    for chapter in await chapters(rooms, story, Cluster):
        for seed in range(12):
            await survives_late_views(rooms, chapter, seed, waits=True)
