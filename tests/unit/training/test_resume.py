"""Whatever happens, wherever the operator dies: no trigger is lost or repeated, and runs never overlap."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perennial.training.digest import definition_digest
from perennial.wire.result import Result
from tests.unit.training.test_plan import failed, rejected, without_times
from tests.unit.training.world import World, accepted, encoded

ACTIONS = (
    "edit",
    "annotate",
    "request",
    "late request",
    "accepted",
    "unchanged",
    "rejected",
    "failed",
    "crashed",
    "delete job",
    "lose pod",
    "clear status",
    "pass time",
)


@dataclass
class Story:
    """A world, and how many runs may have been started for what happened in it."""

    world: World = field(default_factory=World)
    triggers: int = 1
    count: int = 0

    def happen(self, action: str) -> None:
        self.count += 1
        name = action.replace(" ", "_")
        getattr(self, f"on_{name}")()

    def on_edit(self) -> None:
        self.world.edit(seed=self.count)
        self.triggers += 1

    def on_annotate(self) -> None:
        self.world.annotate(f"token-{self.count}")
        self.triggers += 1

    def on_request(self) -> None:
        version = self.world.status.get("acceptedVersion")
        if version:
            self.world.monitor("drift", requests=[(f"r{self.count}", version)])
            self.triggers += 1

    def on_late_request(self) -> None:
        if "acceptedVersion" in self.world.status:
            self.world.monitor("drift", requests=[(f"r{self.count}", 0)])

    def on_accepted(self) -> None:
        self.end_with(accepted(self.going, model=f"model-{self.count}"))

    def on_unchanged(self) -> None:
        self.end_with(accepted(self.going, model="the same"))

    def on_rejected(self) -> None:
        self.end_with(rejected(self.going))

    def on_failed(self) -> None:
        self.end_with(failed(self.going))

    def on_crashed(self) -> None:
        for job in self.unfinished():
            self.world.end_pod(job, code=1, message="boom")
            self.world.end_job(job, failed="BackoffLimitExceeded")

    def on_delete_job(self) -> None:
        self.world.settle()
        for job in self.unfinished():
            self.world.remove("Job", job["metadata"]["name"])
        self.world.settle()

    def on_lose_pod(self) -> None:
        for job in self.unfinished():
            self.world.end_job(job)
        self.world.pass_time(seconds=11)

    def on_clear_status(self) -> None:
        self.world.trainingjob["status"] = {"observedGeneration": -1}

    def on_pass_time(self) -> None:
        self.world.pass_time(minutes=5)

    @property
    def going(self) -> int:
        jobs = self.unfinished()
        return number(jobs[0]["metadata"]["name"]) if jobs else 0

    def unfinished(self) -> list[dict[str, Any]]:
        return [j for j in self.world.jobs(unfinished=True) if not j["metadata"]["name"].endswith("-report")]

    def end_with(self, result: Result) -> None:
        for job in self.unfinished():
            self.world.end_pod(job, message=encoded(result))
            self.world.end_job(job)

    def runs(self) -> list[str]:
        return [name for name in self.world.starts if not name.endswith("-report")]

    def come_to_rest(self) -> None:
        """Everything that goes on ends well, again and again, until nothing does."""
        for _ in range(20):
            self.world.settle()
            open_jobs = self.world.jobs(unfinished=True)
            if not open_jobs:
                self.world.pass_time(seconds=11)
                if not self.world.reconcile() and not self.world.leaving:
                    return
            for job in open_jobs:
                version = number(job["metadata"]["name"].removesuffix("-report"))
                self.world.end_pod(job, message=encoded(accepted(version, model=f"rest-{version}")))
                self.world.end_job(job)
        raise AssertionError("it never comes to rest")


def number(name: str) -> int:
    return int(name.rsplit("-v", 1)[1])


steps = st.lists(st.tuples(st.sampled_from(ACTIONS), st.lists(st.integers(0, 4), max_size=3)), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_every_prefix_of_the_writes_can_be_the_last(happened: list[tuple[str, list[int]]]) -> None:
    story = Story()
    world = story.world
    for action, deaths in happened:
        story.happen(action)
        for writes in deaths:
            world.reconcile(writes)
            assert len(story.unfinished()) <= 1, "one run at a time"
        world.reconcile()
        assert len(story.unfinished()) <= 1, "one run at a time"
    story.come_to_rest()

    names = story.runs()
    assert len(names) == len(set(names)), "a version's Job is made once"
    assert len(names) <= story.triggers, "no trigger is taken twice"
    status = world.status
    assert status["definition"] == definition_digest(world.trainingjob["spec"]), "the last definition was run"
    token = world.trainingjob["metadata"]["annotations"].get("perennial.dev/run")
    assert status.get("handled", {}).get("run") == token, "the last request was taken"
    assert "pending" not in status
    assert all(run["state"] not in ("Pending", "Running") for run in status["runs"])
    assert {record["revision"] for record in world.records()} >= {run["version"] for run in status["runs"]}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_a_status_is_rebuilt_the_same_and_starts_nothing(happened: list[tuple[str, list[int]]]) -> None:
    story = Story()
    for action, _ in happened:
        story.happen(action)
        story.world.reconcile()
    story.world.settle()
    story.world.monitors.clear()
    story.world.settle()
    if any(job["metadata"]["name"].endswith("-report") for job in story.world.jobs()):
        story.come_to_rest()
    before, starts = comparable(story.world.status), list(story.world.starts)
    story.world.trainingjob["status"] = {"observedGeneration": -1}
    story.world.settle()
    assert story.world.starts == starts
    assert comparable(story.world.status) == before


@pytest.mark.parametrize("deaths", [[0], [1], [2], [3], [1, 1], [2, 1]])
@pytest.mark.parametrize("asked", ["edit", "annotate", "request"])
def test_an_operator_that_dies_while_it_starts_a_run_starts_it_once(asked: str, deaths: list[int]) -> None:
    story = Story()
    for _ in range(3):
        story.world.settle()
        story.happen("accepted")
        story.world.settle()
        story.happen(asked)
        for writes in deaths:
            story.world.reconcile(writes)
    story.come_to_rest()
    assert len(story.runs()) == story.triggers == 4


@pytest.mark.parametrize("deaths", [[0], [1], [2], [3], [1, 1], [2, 1]])
@pytest.mark.parametrize("end", ["accepted", "rejected", "crashed", "lose pod", "delete job"])
def test_an_operator_that_dies_while_a_run_ends_tells_it_once(end: str, deaths: list[int]) -> None:
    story = Story()
    story.world.settle()
    story.happen(end)
    for writes in deaths:
        story.world.reconcile(writes)
    story.come_to_rest()
    assert len(story.runs()) == 1
    assert len(story.world.status["runs"]) == len(story.world.records()) == 1


def comparable(status: dict[str, Any]) -> dict[str, Any]:
    """Without the times at which conditions changed and a trigger began to wait: those only the status knew."""
    kept = without_times(copy.deepcopy(status))
    kept.get("pending", {}).pop("since", None)
    return kept
