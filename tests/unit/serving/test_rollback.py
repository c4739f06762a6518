"""Going back to the version before, as a DriftMonitor asks: once, in time, and never over what a person wants."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.serving.world import World, sha

STEPS: dict[str, Any] = {
    "strategy": "Canary",
    "steps": [{"weight": 50, "minRequests": 100}],
    "analysis": {"errorRate": {"max": "1%"}, "disagreement": {"max": "10%"}},
}


def promoted(**spec: Any) -> World:
    """Version 2 is stable, version 1 was before."""
    world = World({"replicas": 2, **spec})
    for version in (1, 2):
        world.accept(version)
        world.run()
        if world.status.get("candidate"):
            world.serve(world.candidate(), 500, compared=200)
            world.run()
        assert world.stable() == version
    return world


def quarantined(world: World) -> list[int]:
    return [entry["version"] for entry in world.status.get("quarantined", [])]


def outcomes(world: World) -> dict[int, str]:
    """How the last rollout of each version ended."""
    return {entry["version"]: entry["outcome"] for entry in world.status["history"]}


def test_the_version_before_takes_over_and_the_one_that_harms_stays_out() -> None:
    world = promoted(rollout=STEPS)
    assert world.status["previous"] == {"version": 1, "sha256": sha("model 1"), "compared": True}
    world.ask_to_go_back("r1")
    world.reconcile()
    assert world.status["handled"]["monitors"] == {"dm-uid": "r1"}
    assert quarantined(world) == [2]
    world.run()
    assert (world.stable(), world.replicas()) == (1, {1: 2})
    assert outcomes(world) == {1: "Promoted", 2: "RolledBack"}
    assert [event.reason for event in world.events].count("RolledBack") == 1
    assert world.says("Ready") == ("True", "Ready")
    assert world.says("RollingOut") == ("False", "Quarantined")
    assert "version 2 is quarantined: Harm: the loss is 0.4" in world.message("RollingOut")
    assert world.condition("Stalled") is None
    world.pass_time(3600)
    world.run()
    assert world.stable() == 1
    # It is before the stable one now, and nothing to go back to.
    world.ask_to_go_back("r2")
    world.run()
    assert (world.stable(), quarantined(world)) == (1, [2])
    assert world.status["handled"]["monitors"] == {"dm-uid": "r2"}


def test_what_is_gone_back_to_is_whole_at_once_and_may_disagree() -> None:
    world = promoted(rollout=STEPS)
    world.ask_to_go_back("r1")
    world.reconcile()
    world.reconcile()
    assert (world.status["rollout"]["step"], world.status["rollout"]["steps"]) == (1, 1)
    assert world.status["candidate"]["version"] == 1
    world.run_deployments()
    world.serve(world.candidate(), 100, compared=100, disagreed=90)
    world.run()
    assert world.stable() == 1


def test_a_release_rolls_the_version_out_again() -> None:
    world = promoted()
    world.ask_to_go_back("r1")
    world.run()
    world.annotate("release", "it was the season")
    world.run()
    assert (world.stable(), quarantined(world)) == (2, [])
    assert world.status["previous"]["version"] == 1


def test_the_next_version_is_rolled_out_over_the_one_gone_back_to() -> None:
    world = promoted(rollout=STEPS)
    world.ask_to_go_back("r1")
    world.run()
    world.accept(3, trigger="DriftMonitor")
    world.run()
    assert (world.stable(), world.status["candidate"]["version"]) == (1, 3)
    world.serve(world.candidate(), 500, compared=200)
    world.run()
    assert (world.stable(), quarantined(world)) == (3, [2])
    assert world.status["previous"]["version"] == 1


@pytest.mark.parametrize("policy", ["Finish", "Supersede"])
def test_a_candidate_gives_way_and_starts_again_over_the_version_before(policy: str) -> None:
    world = promoted(rollout={**STEPS, "onNewVersion": policy})
    world.accept(3, trigger="DriftMonitor")
    world.run()
    assert world.status["candidate"]["version"] == 3
    world.ask_to_go_back("r1")
    world.reconcile()
    assert world.stable() == 2
    assert quarantined(world) == []
    ended = next(event.message for event in reversed(world.events) if event.reason == "Aborted")
    assert ended.startswith("version 3: version 2 is rolled back to version 1 first; it is rolled out over that one")
    world.run()
    assert (world.stable(), world.status["candidate"]["version"]) == (1, 3)
    assert quarantined(world) == [2]
    world.serve(world.candidate(), 500, compared=200)
    world.run()
    assert world.stable() == 3


def test_a_candidate_that_has_passed_its_last_step_is_let_go_on() -> None:
    world = promoted(rollout=STEPS)
    world.accept(3)
    world.run()
    world.serve(world.candidate(), 500, compared=200)
    world.reconcile()
    assert world.status["rollout"]["step"] == world.status["rollout"]["steps"]
    world.ask_to_go_back("r1")
    world.run()
    assert (world.stable(), quarantined(world)) == (3, [])
    assert world.status["handled"]["monitors"] == {"dm-uid": "r1"}
    assert "not the stable one any more" in world.events[-1].message


@pytest.mark.parametrize(
    ("changes", "spec", "why"),
    [
        ({"model": sha("model 1")}, {}, "is not the stable one any more"),
        ({"previous": {"sha256": sha("model 9")}}, {}, "is not the one before the stable one"),
        ({}, {"model": {"trainingJob": "flights", "version": 2}}, "spec.model says which version is served"),
    ],
)
def test_a_request_that_does_not_fit_is_taken_and_not_carried_out(
    changes: dict[str, Any], spec: dict[str, Any], why: str
) -> None:
    world = promoted()
    world.ask_to_go_back("r1", **changes)
    world.respec(**spec)
    world.run()
    assert (world.stable(), quarantined(world)) == (2, [])
    assert world.status["handled"]["monitors"] == {"dm-uid": "r1"}
    (late,) = (event.message for event in world.events if event.reason == "LateRequest")
    assert late.startswith("DriftMonitor flights asks to go back: ")
    assert why in late


def test_of_two_that_ask_the_first_is_heard_and_the_other_is_late() -> None:
    world = promoted()
    world.ask_to_go_back("r1", reason="Harm: found by the first")
    (first,) = world.monitors
    world.ask_to_go_back("r2", reason="Harm: found by the second")
    (second,) = world.monitors
    world.monitors = [{**second, "metadata": {**second["metadata"], "name": "second", "uid": "other-uid"}}, first]
    world.run()
    assert (world.stable(), quarantined(world)) == (1, [2])
    assert world.status["quarantined"][0]["reason"] == "Harm: found by the first"
    assert world.status["handled"]["monitors"] == {"dm-uid": "r1", "other-uid": "r2"}
    (late,) = (event.message for event in world.events if event.reason == "LateRequest")
    assert late.startswith("DriftMonitor second asks to go back: ")


def test_an_expired_request_and_one_for_another_deployment_are_nobodys() -> None:
    world = promoted()
    world.ask_to_go_back("r1", deployment="trains")
    world.run()
    world.ask_to_go_back("r2")
    world.pass_time(3601)
    world.run()
    assert (world.stable(), quarantined(world)) == (2, [])
    assert "handled" not in world.status


def test_a_suspended_deployment_goes_back_when_it_goes_on() -> None:
    world = promoted()
    world.ask_to_go_back("r1")
    world.respec(suspend=True)
    world.run()
    assert (world.stable(), quarantined(world)) == (2, [])
    world.respec(suspend=False)
    world.run()
    assert (world.stable(), quarantined(world)) == (1, [2])


def test_without_a_version_before_there_is_nothing_to_go_back_to() -> None:
    world = World()
    world.accept(1)
    world.run()
    assert "previous" not in world.status
    world.ask_to_go_back("r1")
    world.run()
    assert (world.stable(), quarantined(world)) == (1, [])


def test_a_version_that_is_quarantined_is_not_gone_back_to() -> None:
    world = promoted()
    world.ask_to_go_back("r1")
    world.run()
    world.ask_to_go_back("r2")
    world.run()
    assert "is quarantined itself" in world.events[-1].message
    assert world.stable() == 1


def test_another_server_brings_the_harmful_model_not_back() -> None:
    """Its quarantine is the model's: what it was found by has nothing to do with the pods."""
    world = promoted()
    world.ask_to_go_back("r1")
    world.run()
    world.respec(resources={"requests": {"cpu": "200m", "memory": "300Mi"}})
    world.run()
    assert (world.stable(), world.replicas()) == (1, {1: 2})
    assert world.status["stable"]["revision"] != world.status["history"][-1]["revision"]
    world.respec(model={"trainingJob": "flights", "version": 2})
    world.run()
    assert world.stable() == 1
    assert world.says("Stalled") == ("True", "Quarantined")


def test_a_pin_ends_a_rollback_under_way() -> None:
    world = promoted()
    world.ask_to_go_back("r1")
    world.reconcile()
    world.reconcile()
    world.respec(model={"trainingJob": "flights", "version": 2})
    world.run()
    assert (world.stable(), world.status.get("candidate")) == (2, None)


def test_a_change_of_the_server_starts_the_rollback_anew() -> None:
    world = promoted()
    world.ask_to_go_back("r1")
    world.reconcile()
    world.reconcile()
    first = world.candidate()
    world.respec(resources={"requests": {"cpu": "200m", "memory": "300Mi"}})
    world.run()
    assert world.stable() == 1
    assert world.status["stable"]["revision"] != first


def test_an_abort_keeps_the_version_that_harms_until_a_person_says_more() -> None:
    world = promoted()
    world.ask_to_go_back("r1")
    world.reconcile()
    world.reconcile()
    world.annotate("abort", "not now")
    world.run()
    assert (world.stable(), quarantined(world)) == (2, [2])
    assert world.says("RollingOut") == ("False", "Aborted")
    world.annotate("promote", "now")
    world.run()
    assert world.stable() == 1


def test_pods_that_do_not_come_are_tried_again_and_a_newer_version_goes_before() -> None:
    world = promoted(rollout={"progressDeadlineSeconds": 60})
    world.ask_to_go_back("r1")
    world.reconcile()
    world.reconcile()
    world.broken.add(world.candidate())
    said = []
    for _ in range(60):
        world.run(rounds=1)
        said.append(world.says("RollingOut"))
    assert said.index(("False", "ProgressDeadlineExceeded")) < len(said) - said[::-1].index(("True", "RollingOut")) - 1
    assert world.stable() == 2
    world.accept(3)
    world.run()
    assert (world.stable(), quarantined(world)) == (3, [2])


def test_what_is_gone_back_to_outlives_the_limit_of_the_history() -> None:
    world = promoted()
    for version in range(3, 16):
        world.accept(version)
        world.reconcile()
        world.reconcile()
        world.annotate("abort", str(version))
        world.run()
    assert (world.stable(), world.status["previous"]["version"]) == (2, 1)


@pytest.mark.parametrize("writes", range(1, 12))
def test_no_death_carries_it_out_twice_or_forgets_it(writes: int) -> None:
    """The operator dies in the reconcile that quarantines or in those after it, and again when it has released what a
    person released at once."""
    world = promoted()
    world.ask_to_go_back("r1")
    left = writes
    while left >= 0:
        before = world.writes
        world.reconcile(stop_after=left)
        world.settle_pods()
        world.pass_time(3)
        left -= max(world.writes - before, 1)
    world.annotate("release", "at once")
    world.reconcile(stop_after=1)
    world.run()
    assert (world.stable(), quarantined(world)) == (2, [])
    assert "LateRequest" not in [event.reason for event in world.events]
    assert world.status["handled"]["monitors"] == {"dm-uid": "r1"}
