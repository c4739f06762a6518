"""Pods of runs that search are asked how far they are: seldom, and hardly ever again where they do not answer."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from perennial.kube.podclient import PodUnreachable
from perennial.training.asking import SILENCE, Asking
from perennial.training.progress import PERIOD
from perennial.wire.progress import PROGRESS_PATH, Progress
from tests.unit.training.test_controller import KEY, filled
from tests.unit.training.world import SPEC, World

SEARCH = {"sklearn": {**SPEC["sklearn"], "search": {"metric": "r2", "space": {"alpha": [1, 2]}}}}


class Answering:
    """Pods that say this, or nothing."""

    def __init__(self, *answers: Progress | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int, str]] = []
        self.now = 0.0

    async def get_json(self, ip: str, port: int, path: str, answer: type[Any]) -> Any:
        self.asked.append((ip, port, path))
        if (said := self.answers.pop(0)) is None:
            raise PodUnreachable("no answer")
        return said


def pod(**changed: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "metadata": {"uid": "p1"},
        "spec": {"containers": [{"name": "trainer", "ports": [{"name": "progress", "containerPort": 8081}]}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7"},
    }
    return {**manifest, **changed}


async def test_a_pod_is_asked_every_few_seconds_and_remembered_between() -> None:
    pods = Answering(Progress("f1", 6, 1), Progress("f1", 6, 4, 0.8), None, Progress("f1", 6, 6))
    asking = Asking(pods, lambda: pods.now)
    told = []
    for pods.now in (0.0, PERIOD - 1, PERIOD, 2 * PERIOD, 4 * PERIOD):
        told.append((await asking.ask([pod()]))["p1"].done)
    assert told == [1, 1, 4, 4, 6]
    assert pods.asked == [("10.0.0.7", 8081, PROGRESS_PATH)] * 4


async def test_who_does_not_answer_yet_is_asked_less_and_less_often() -> None:
    pods = Answering(*[None] * 8, Progress("f1", 6, 1))
    asking = Asking(pods, lambda: pods.now)
    asked_at = []
    while pods.answers:
        count = len(pods.asked)
        told = await asking.ask([pod()])
        asked_at += [pods.now] * (len(pods.asked) - count)
        pods.now += PERIOD
    pauses = [later - earlier for earlier, later in pairwise(asked_at)]
    assert pauses == [10, 20, 40, 80, 160, SILENCE, SILENCE, SILENCE]
    assert told == {"p1": Progress("f1", 6, 1)}


async def test_only_running_pods_of_runs_that_search_are_asked() -> None:
    pods = Answering()
    others = [
        pod(spec={"containers": [{"name": "trainer"}]}),
        pod(status={"phase": "Pending"}),
        pod(status={"phase": "Running"}),
        pod(metadata={"uid": "p1", "deletionTimestamp": "2026-03-01T00:00:00Z"}),
    ]
    assert await Asking(pods, lambda: 0.0).ask(others) == {}
    assert pods.asked == []


async def test_the_status_says_how_far_a_search_is_until_it_has_ended() -> None:
    world = World(SPEC | SEARCH)
    world.settle()
    world.run_pod(world.job(1))["status"]["podIP"] = "10.0.0.7"
    pods = Answering(Progress("r2", 6, 4, 0.123456789))
    controller, _ = filled(world, pods)
    observed = await controller.observe(KEY)
    assert observed is not None
    plan = controller.plan(observed, (), world.now)
    assert plan.status is not None
    assert plan.status["runs"][0]["progress"] == {"done": 4, "of": 6, "metric": "r2", "best": 0.123457}
    assert plan.requeue_after is not None
    assert plan.requeue_after <= PERIOD


async def test_a_run_that_does_not_search_has_no_port_and_is_not_asked() -> None:
    world = World()
    world.settle()
    world.run_pod(world.job(1))["status"]["podIP"] = "10.0.0.7"
    assert "ports" not in world.job(1)["spec"]["template"]["spec"]["containers"][0]
    controller, _ = filled(world, Answering())
    observed = await controller.observe(KEY)
    assert observed is not None
    plan = controller.plan(observed, (), world.now)
    assert plan.status is not None
    assert "progress" not in plan.status["runs"][0]
