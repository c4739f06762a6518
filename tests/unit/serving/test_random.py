"""A ModelDeployment through random events, with an operator that dies after any write: what must always hold does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from perennial.serving.plan import PATIENCE
from perennial.settings import Settings
from tests.unit.serving.world import World

WEIGHTS = (20, 50)


def record_of(world: World, revision: str) -> dict[str, Any]:
    manifest = world.objects[("ControllerRevision", f"flights-{revision}")]
    record: dict[str, Any] = json.loads(manifest["metadata"]["annotations"]["perennial.dev/record"])
    return record


def counted_on(world: World, revision: str, asked: int) -> int:
    early = world.now - timedelta(seconds=2)
    ready = sum(1 for pod in world.pods if pod.revision == revision and pod.ready_since and pod.ready_since <= early)
    return min(ready, asked)


def check(world: World, revision: str, replicas: int) -> None:
    """Called before a Deployment is written: `replicas` is its new number."""
    asked = {
        deployment["metadata"]["labels"]["perennial.dev/revision"]: deployment["spec"]["replicas"]
        for deployment in world.deployments().values()
    }
    record = record_of(world, revision)
    before = sum(counted_on(world, name, number) for name, number in asked.items())
    after = before - counted_on(world, revision, asked.get(revision, 0)) + counted_on(world, revision, replicas)
    quarantine = record.get("quarantine")
    is_late = (
        quarantine and world.now.isoformat() > quarantine["since"] and world.now - PATIENCE > _time(quarantine["since"])
    )
    if not is_late:
        assert after >= min(before, world.manifest["spec"]["replicas"]), "a ready pod was taken that is wanted"
    raised = replicas > asked.get(revision, 0)
    gives_way = quarantine and "instead" in quarantine and revision == _stable(world, asked)
    assert not (quarantine and raised) or gives_way, "a quarantined revision got replicas"
    progress = record.get("progress")
    if raised and progress and "steps" in world.manifest["spec"]["rollout"]:
        _check_weight(world, asked, revision, replicas, progress["step"])


def _check_weight(world: World, asked: dict[str, int], candidate: str, replicas: int, step: int) -> None:
    stable = _stable(world, [name for name in asked if name != candidate])
    if step >= len(WEIGHTS) or stable is None:
        return
    share = replicas / (replicas + counted_on(world, stable, asked[stable]))
    assert share <= WEIGHTS[step] / 100, "the candidate got more than its weight"


def _stable(world: World, revisions: Iterable[str]) -> str | None:
    """The one of these that was promoted last."""
    promotions = {name: record_of(world, name).get("promotion", 0) for name in revisions}
    stable = max(promotions, key=lambda name: promotions[name], default=None)
    return stable if stable and promotions[stable] else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Rollouts(RuleBasedStateMachine):
    """Random lives of one ModelDeployment."""

    world: World

    @initialize(
        strategy=st.sampled_from(["Rolling", "Canary"]),
        supersede=st.booleans(),
        inexact=st.just(False),
        promoted=st.booleans(),
    )
    def begin(self, strategy: str, supersede: bool, inexact: bool, promoted: bool) -> None:
        rollout: dict[str, Any] = {
            "strategy": strategy,
            "onNewVersion": "Supersede" if supersede else "Finish",
            "allowInexact": inexact,
            "progressDeadlineSeconds": 120,
        }
        if strategy == "Canary":
            rollout["steps"] = [{"weight": weight, "minRequests": 20} for weight in WEIGHTS]
            rollout["analysis"] = {"errorRate": {"max": "5%"}}
        self.world = World({"replicas": 4, "rollout": rollout})
        self.world.check = check
        self.version = 0
        self.tokens = 0
        self.new_version()
        if promoted:
            self.promote_another()

    def promote_another(self) -> None:
        """So that there is a version to go back to."""
        self.world.run()
        self.new_version()
        self.world.run()
        if self.world.status.get("candidate"):
            self.ask("promote")
            self.world.run()

    # ---- the operator and Kubernetes ----

    @rule()
    def reconcile(self) -> None:
        self.world.reconcile()

    @rule(writes=st.integers(0, 8))
    def die_after(self, writes: int) -> None:
        self.world.reconcile(stop_after=writes)

    @rule()
    def run_deployments(self) -> None:
        self.world.run_deployments()

    @rule()
    def make_ready(self) -> None:
        self.world.make_ready()

    @rule(rounds=st.integers(1, 6))
    def run(self, rounds: int) -> None:
        self.world.run(rounds)

    @rule(seconds=st.sampled_from([1, 3, 30, 200]))
    def pass_time(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @rule(which=st.integers(0, 20))
    def a_pod_falls_ill(self, which: int) -> None:
        if self.world.pods:
            self.world.pods[which % len(self.world.pods)].ready_since = None

    @rule(which=st.integers(0, 20))
    def a_pod_is_lost(self, which: int) -> None:
        if self.world.pods:
            del self.world.pods[which % len(self.world.pods)]

    @rule(bad=st.booleans(), requests=st.integers(1, 200))
    def traffic(self, bad: bool, requests: int) -> None:
        for revision in {pod.revision for pod in self.world.pods if pod.ready_since}:
            candidate = self.world.status.get("candidate", {}).get("revision")
            if "stable" in self.world.status:
                self.world.serve(revision, requests, errors=requests // 2 if bad and revision == candidate else 0)

    @rule()
    def lose_status(self) -> None:
        self.world.lose_status()

    # ---- people and the loop ----

    @rule()
    def new_version(self) -> None:
        self.version += 1
        self.world.accept(self.version)

    @rule(replicas=st.integers(0, 10))
    def scale(self, replicas: int) -> None:
        self.world.respec(replicas=replicas)

    @rule(cpu=st.sampled_from(["100m", "200m"]))
    def change_the_pods(self, cpu: str) -> None:
        self.world.respec(resources={"requests": {"cpu": cpu, "memory": "256Mi"}})

    @rule(verb=st.sampled_from(["promote", "abort", "release"]))
    def ask(self, verb: str) -> None:
        self.tokens += 1
        self.world.annotate(verb, str(self.tokens))

    @rule()
    @precondition(lambda self: self.world.status.get("previous"))
    def ask_to_go_back(self) -> None:
        self.tokens += 1
        self.world.ask_to_go_back(f"r{self.tokens}")

    @rule()
    @precondition(lambda self: self.world.status.get("candidate"))
    def break_the_candidate(self) -> None:
        self.world.broken.add(self.world.candidate())

    @rule()
    def upgrade_the_operator(self) -> None:
        self.world.settings = Settings(runtime_image=f"perennial/runtime:{self.version}")

    @invariant()
    def the_status_is_whole(self) -> None:
        status = self.world.status
        if status["observedGeneration"] < 0:
            return
        kinds = {one["type"]: one["status"] for one in status["conditions"]}
        assert "Ready" in kinds
        assert not {"Reconciling", "Stalled"} <= kinds.keys()
        if {"Reconciling", "Stalled"} & kinds.keys():
            assert kinds["Ready"] != "True"

    def teardown(self) -> None:
        """Left in peace, every rollout ends or says what it waits for."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.broken.clear()
        for _ in range(40):
            world.run(rounds=10, seconds=3)
            self.traffic(False, 300)
            world.pass_time(120)
        world.run(rounds=60, seconds=3)
        wanted = world.manifest["spec"]["replicas"]
        if "candidate" in world.status:
            assert world.status["rollout"]["state"] == "WeightUnreachable"
            assert wanted < 4
        assert sum(deployment["spec"]["replicas"] for deployment in world.deployments().values()) == wanted
        assert len(world.pods) == wanted
        before = world.writes
        world.reconcile()
        assert world.writes == before


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
