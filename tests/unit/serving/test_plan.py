"""Whole rollouts in a simulated cluster, scenario by scenario."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from perennial.kube.plan import Problem
from perennial.serving.revision import ModelRef, Quarantine, Record, Revision, revision_for
from perennial.settings import Settings
from perennial.wire.stats import Pairs
from tests.unit.serving.world import World, sha

CANARY: dict[str, Any] = {
    "strategy": "Canary",
    "steps": [{"weight": 10, "minRequests": 100}, {"weight": 50, "minRequests": 100, "hold": "2m"}],
    "analysis": {"errorRate": {"max": "1%"}, "disagreement": {"max": "10%"}},
}


def serving(**spec: Any) -> World:
    """A world that serves version 1."""
    world = World(spec)
    world.accept(1)
    world.run()
    assert world.stable() == 1
    return world


def canary(replicas: int = 10, **rollout: Any) -> World:
    return serving(replicas=replicas, rollout={**CANARY, **rollout})


def good_traffic(world: World, requests: int = 500) -> None:
    world.serve(world.candidate(), requests, compared=200)


# ---- the first revision ----


def test_without_a_version_it_waits_and_says_so() -> None:
    world = World()
    world.run()
    assert world.says("Ready") == ("False", "NoVersion")
    assert world.says("Reconciling") == ("True", "NoVersion")
    assert world.condition("Stalled") is None
    assert world.objects == {}


def test_without_a_trainingjob_it_waits_and_says_so() -> None:
    world = World()
    world.trainingjob = None
    world.run()
    assert world.says("Ready") == ("False", "TrainingJobNotFound")


def test_the_first_version_is_served_by_all_its_children() -> None:
    world = serving(replicas=3)
    kinds = sorted(kind for kind, _ in world.objects)
    assert kinds == ["ControllerRevision", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"]
    assert world.replicas() == {1: 3}
    assert world.says("Ready") == ("True", "Ready")
    assert world.condition("Reconciling") is None
    assert world.says("RollingOut") == ("False", "Stable")
    assert world.status["replicas"] == world.status["readyReplicas"] == 3
    assert world.status["url"] == "http://flights.team.svc:8080"
    assert world.status["selector"] == "app.kubernetes.io/name=server,perennial.dev/modeldeployment=flights"
    assert [entry["outcome"] for entry in world.status["history"]] == ["Promoted"]


def test_every_way_of_asking_has_its_port() -> None:
    """By name, so that pods which were rendered without one are not sent what they do not listen to."""
    world = serving()
    of = {kind: manifest["spec"] for (kind, _), manifest in world.objects.items() if "spec" in manifest}
    [container] = of["Deployment"]["template"]["spec"]["containers"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert named == {"http": 8080, "grpc": 9000, "control": 8081}
    assert {port["targetPort"]: port["port"] for port in of["Service"]["ports"]} == named
    open_to_all, restricted = of["NetworkPolicy"]["ingress"]
    assert ([port["port"] for port in open_to_all["ports"]], "from" in open_to_all) == ([8080, 9000], False)
    assert ([port["port"] for port in restricted["ports"]], "from" in restricted) == ([8081], True)


def test_only_the_loops_own_pods_and_whom_the_user_names_reach_the_control_port() -> None:
    """One that ends gives its predictions to another one, and Jobs bring the labels of a table."""
    named = {"namespaceSelector": {"matchLabels": {"team": "billing"}}}
    world = serving(feedback={"from": [named]})
    operator, servers, joiners, others = world.objects["NetworkPolicy", "flights"]["spec"]["ingress"][1]["from"]
    assert operator["namespaceSelector"]["matchLabels"].keys() == {"kubernetes.io/metadata.name"}
    assert [peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for peer in (servers, joiners)] == [
        "server",
        "labels",
    ]
    assert servers["podSelector"]["matchLabels"]["perennial.dev/modeldeployment"] == "flights"
    assert others == named


def test_nothing_changed_writes_nothing() -> None:
    world = serving(replicas=2)
    before = world.writes
    for _ in range(3):
        world.pass_time(60)
        world.reconcile()
    assert world.writes == before


def test_the_status_of_a_first_revision_is_written_once_until_its_pods_come() -> None:
    world = World({"replicas": 3})
    world.accept(1)
    world.reconcile()
    before = world.writes
    world.reconcile()
    assert world.writes == before
    assert world.status["rollout"]["message"] == "0 of 3 pods are ready"


def test_while_starting_it_reconciles_and_names_the_pods_own_trouble() -> None:
    world = World()
    world.accept(1)
    world.reconcile()
    world.run_deployments()
    world.reconcile()
    assert world.says("Ready") == ("False", "Starting")
    assert world.says("Reconciling") is not None


def test_a_pinned_version_that_was_rejected_is_stalled() -> None:
    world = World({"model": {"trainingJob": "flights", "version": 1}})
    world.accept(1, outcome="Rejected")
    world.run()
    assert world.says("Stalled") == ("True", "VersionNotAccepted")


def test_a_model_by_uri_and_digest_needs_no_trainingjob() -> None:
    model = {"uri": "s3://models/x/v7", "sha256": sha("seven"), "secretRef": {"name": "models"}}
    world = World({"model": model})
    world.run()
    assert world.status["stable"]["sha256"] == sha("seven")
    (deployment,) = world.deployments().values()
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert {"secret": {"secretName": "models", "defaultMode": 0o440}, "name": "perennial-secret-store"} in volumes


def by_place(secret: str, uri: str = "s3://models/x/v7") -> dict[str, Any]:
    return {"model": {"uri": uri, "sha256": sha("seven"), "seal": sha("sealed"), "secretRef": {"name": secret}}}


@pytest.mark.parametrize("first_serves", [False, True])
def test_a_model_by_place_that_moves_is_fetched_from_there(first_serves: bool) -> None:
    world = World(by_place("old"))
    world.reconcile()
    (first,) = world.deployments()
    if first_serves:
        world.run()
    else:
        world.broken.add(first)
    world.respec(**by_place("new"))
    world.run()
    ((second, deployment),) = world.deployments().items()
    assert second != first
    template = deployment["spec"]["template"]["spec"]
    assert [volume["secret"]["secretName"] for volume in template["volumes"] if "secret" in volume] == ["new"]
    (serve,) = [entry["value"] for entry in template["containers"][0]["env"] if entry["name"] == "PERENNIAL_SERVE"]
    assert json.loads(serve)["model"]["seal"] == sha("sealed")
    assert world.says("Ready") == ("True", "Ready")


def test_a_quarantine_is_the_models_wherever_it_is() -> None:
    digest = "v1:abc"
    model = ModelRef(uri="s3://a/v1", sha256=sha("seven"))
    known = Revision("1234567890", digest, model, {})
    assert revision_for(model, digest, {known.name: known}) == known.name
    moved = msgspec.structs.replace(model, uri="s3://b/v1")
    assert revision_for(moved, digest, {known.name: known}) != known.name
    barred = replace(known, record=Record(quarantine=Quarantine("errors", datetime(2026, 1, 1, tzinfo=UTC))))
    assert revision_for(moved, digest, {known.name: barred}) == known.name


def test_the_model_is_mounted_read_only_and_named_with_its_seal() -> None:
    world = serving()
    (deployment,) = world.deployments().values()
    server = deployment["spec"]["template"]["spec"]["containers"][0]
    mounts = {mount["mountPath"]: mount for mount in server["volumeMounts"]}
    assert mounts["/perennial/pvc/perennial-models"]["readOnly"] is True
    environment = {entry["name"]: entry["value"] for entry in server["env"]}
    serve = json.loads(environment["PERENNIAL_SERVE"])
    assert serve["name"] == "flights"
    assert serve["model"]["seal"] == sha("seal 1")
    assert "companion" not in serve


def test_zero_replicas_is_what_was_asked() -> None:
    world = World({"replicas": 0})
    world.accept(1)
    world.run()
    assert world.says("Ready") == ("True", "ScaledToZero")
    world.accept(2)
    world.run()
    assert world.stable() == 2


# ---- rolling ----


def test_rolling_replaces_pod_by_pod_and_stays_ready() -> None:
    world = serving(replicas=4)
    world.accept(2)
    world.reconcile()
    assert world.says("Ready") == ("True", "Ready")
    assert world.says("RollingOut") == ("True", "RollingOut")
    assert world.condition("Reconciling") is None
    world.run()
    assert world.stable() == 2
    assert world.replicas() == {2: 4}
    assert world.status.get("candidate") is None
    assert [(e["version"], e["outcome"]) for e in world.status["history"]] == [(2, "Promoted"), (1, "Promoted")]


def test_the_candidate_is_given_the_stable_model_as_its_companion() -> None:
    world = serving()
    world.accept(2)
    world.reconcile()
    templates = [d["spec"]["template"] for d in world.deployments().values()]
    serves = [json.loads(t["spec"]["containers"][0]["env"][0]["value"]) for t in templates]
    companions = {serve["model"]["version"]: serve.get("companion", {}).get("version") for serve in serves}
    assert companions == {1: None, 2: 1}


def test_a_candidate_that_never_gets_ready_is_taken_away_and_tried_again_later() -> None:
    world = serving(replicas=2, rollout={"progressDeadlineSeconds": 120})
    world.accept(2)
    world.reconcile()
    world.broken.add(world.candidate())
    for _ in range(45):
        world.run(rounds=1)
    assert world.replicas() == {1: 2}
    assert world.stable() == 1
    assert world.says("RollingOut") == ("False", "ProgressDeadlineExceeded")
    assert world.status.get("quarantined") is None
    assert world.status["history"][0]["outcome"] == "Failed"
    assert world.says("Ready") == ("True", "Ready")
    world.broken.clear()
    world.pass_time(240)
    world.run()
    assert world.stable() == 2


def test_progress_puts_the_deadline_off() -> None:
    world = serving(replicas=4, rollout={"progressDeadlineSeconds": 60})
    world.accept(2)
    for _ in range(8):
        world.reconcile()
        world.run_deployments()
        world.pass_time(40)
        world.make_ready()
        world.pass_time(3)
    world.run()
    assert world.stable() == 2
    assert [entry["outcome"] for entry in world.status["history"]] == ["Promoted", "Promoted"]


def test_a_change_of_the_pods_rolls_out_and_reconciles() -> None:
    world = serving(replicas=2)
    world.respec(resources={"requests": {"cpu": "200m"}})
    world.reconcile()
    assert world.says("Reconciling") == ("True", "Progressing")
    assert world.says("Ready") == ("Unknown", "Progressing")
    world.run()
    assert world.condition("Reconciling") is None
    assert world.says("Ready") == ("True", "Ready")
    (deployment,) = world.deployments().values()
    assert deployment["spec"]["template"]["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "200m"}}


def test_a_change_of_the_number_replaces_nothing() -> None:
    world = serving(replicas=2)
    names = {pod.name for pod in world.pods}
    world.respec(replicas=4)
    world.reconcile()
    assert world.says("Reconciling") == ("True", "Progressing")
    world.run()
    assert names < {pod.name for pod in world.pods}
    assert world.condition("Reconciling") is None
    world.respec(replicas=1)
    world.run()
    assert len(world.pods) == 1
    assert len(world.status["history"]) == 1


# ---- canary ----


def test_a_canary_goes_step_by_step_and_is_promoted() -> None:
    world = canary()
    world.accept(2)
    world.run()
    assert world.replicas() == {1: 9, 2: 1}
    assert world.status["rollout"]["state"] == "Analysing"
    assert world.status["candidate"]["weight"]["asked"] == 10
    good_traffic(world)
    world.run()
    assert world.replicas() == {1: 5, 2: 5}
    assert world.status["rollout"]["step"] == 1
    good_traffic(world, requests=99)
    world.run()
    assert world.status["rollout"]["state"] == "Analysing"
    good_traffic(world, requests=1)
    world.run()
    assert world.status["rollout"]["state"] == "Holding"
    world.pass_time(120)
    world.run()
    assert world.stable() == 2
    assert world.replicas() == {2: 10}


def test_stable_is_scaled_up_for_an_exact_weight() -> None:
    world = canary(replicas=2, steps=[{"weight": 25}])
    world.respec(autoscaling={"minReplicas": 2, "maxReplicas": 4, "metrics": [{"type": "Concurrency", "target": 8}]})
    world.accept(2)
    world.run()
    assert world.replicas() == {1: 3, 2: 1}


def test_a_weight_that_replicas_cannot_give_holds_until_they_can() -> None:
    world = canary(replicas=4)
    world.accept(2)
    world.run()
    assert world.replicas() == {1: 4, 2: 0}
    assert world.status["rollout"]["state"] == "WeightUnreachable"
    assert "10 pods" in world.status["rollout"]["message"]
    assert world.says("RollingOut") == ("True", "WeightUnreachable")
    world.pass_time(3600)
    world.run()
    assert world.status["rollout"]["state"] == "WeightUnreachable"
    world.respec(replicas=10)
    world.run()
    assert world.replicas() == {1: 9, 2: 1}


def test_an_inexact_weight_is_taken_where_it_is_allowed() -> None:
    world = canary(replicas=4, allowInexact=True)
    world.accept(2)
    world.run()
    assert world.replicas() == {1: 3, 2: 1}


def test_errors_roll_back_and_quarantine_for_ever() -> None:
    world = canary()
    world.accept(2)
    world.run()
    bad = world.candidate()
    world.serve(bad, 200, errors=50)
    world.run()
    assert world.stable() == 1
    assert world.replicas() == {1: 10}
    assert world.status["quarantined"][0]["revision"] == bad
    assert world.status["quarantined"][0]["reason"].endswith("requests failed, certainly more than 1%")
    assert world.says("RollingOut") == ("False", "Quarantined")
    assert world.says("Ready") == ("True", "Ready")
    assert world.condition("Stalled") is None
    assert [event.reason for event in world.events][-1] == "RolledBack"
    for _ in range(3):
        world.pass_time(86400)
        world.run()
    assert world.replicas() == {1: 10}


def test_a_quarantine_survives_a_lost_status() -> None:
    world = canary()
    world.accept(2)
    world.run()
    world.serve(world.candidate(), 200, errors=50)
    world.run()
    known = world.status["quarantined"]
    world.lose_status()
    pods = {pod.name for pod in world.pods}
    world.run()
    assert world.status["quarantined"] == known
    assert {pod.name for pod in world.pods} == pods


def test_release_lifts_a_quarantine_once() -> None:
    world = canary()
    world.accept(2)
    world.run()
    world.serve(world.candidate(), 200, errors=50)
    world.run()
    world.annotate("release", "now")
    world.run()
    assert world.status["candidate"]["version"] == 2
    assert world.status["handled"]["release"] == "now"
    world.serve(world.candidate(), 200, errors=50)
    world.run()
    assert world.status["quarantined"][0]["version"] == 2
    world.run()
    assert world.replicas() == {1: 10}


def test_a_pinned_quarantined_version_is_stalled_while_stable_serves() -> None:
    world = canary()
    world.accept(2)
    world.run()
    world.serve(world.candidate(), 200, errors=50)
    world.run()
    world.respec(model={"trainingJob": "flights", "version": 2})
    world.run()
    assert world.says("Stalled") == ("True", "Quarantined")
    assert world.says("Ready") == ("False", "Quarantined")
    assert "version 1 is served" in world.message("Ready")
    assert world.replicas() == {1: 10}


def test_disagreement_rolls_back_unless_the_version_is_a_cure() -> None:
    differing = {"compared": 300, "disagreed": 150}
    world = canary()
    world.accept(2)
    world.run()
    world.serve(world.candidate(), 300, **differing)
    world.run()
    assert world.status["quarantined"][0]["version"] == 2
    world.accept(3, trigger="DriftMonitor")
    world.run()
    world.serve(world.candidate(), 300, **differing)
    world.reconcile()
    verdicts = {one["name"]: one["verdict"] for one in world.status["rollout"]["analysis"]}
    assert verdicts == {"errorRate": "Pass", "disagreement": "Reported"}
    world.run()
    assert world.status["rollout"]["step"] == 1


def test_a_worse_loss_rolls_back() -> None:
    world = canary(analysis={"loss": {"margin": "2%"}})
    world.accept(2)
    world.run()
    world.serve(world.candidate(), 600, labelled=400, loss=100, companion_loss=40, loss_difference_squares=80)
    world.run()
    assert "loss" in world.status["quarantined"][0]["reason"]


def test_a_worse_loss_rolls_back_though_its_labels_came_to_other_pods() -> None:
    """What they said before the rollout began was about another one."""
    world = canary(analysis={"loss": {"margin": "2%"}})
    stable = world.pods[0].revision
    world.accept(2)
    world.run()
    candidate = world.status["candidate"]["sha256"]
    began = int(world.now.timestamp())
    worse = Pairs(400, 100, 40, 80)
    world.challenge(stable, candidate, {began - 120: worse})
    world.run()
    assert not world.status.get("quarantined")
    world.challenge(stable, candidate, {began - 120: worse, began: worse})
    world.run()
    assert "the loss on 400 labelled rows is 150% above" in world.status["quarantined"][0]["reason"]


def test_what_condemned_a_version_does_not_count_when_it_is_released() -> None:
    world = canary(analysis={"loss": {"margin": "2%"}})
    stable = world.pods[0].revision
    world.accept(2)
    world.run()
    candidate = world.status["candidate"]["sha256"]
    world.challenge(stable, candidate, {int(world.now.timestamp()): Pairs(400, 100, 40, 80)})
    world.run()
    assert world.status["quarantined"]
    world.pass_time(60)
    world.annotate("release", "labels-were-wrong")
    world.run()
    assert world.status["candidate"]["version"] == 2
    assert not world.status.get("quarantined")


def test_a_new_version_waits_for_the_one_that_rolls_out() -> None:
    world = canary()
    world.accept(2)
    world.run()
    world.accept(3)
    world.run()
    assert world.replicas() == {1: 9, 2: 1}
    for _ in range(2):
        good_traffic(world)
        world.run()
        world.pass_time(130)
    world.run()
    assert world.stable() == 2
    assert world.status["candidate"]["version"] == 3


def test_a_new_version_supersedes_where_that_is_wanted() -> None:
    world = canary(onNewVersion="Supersede")
    world.accept(2)
    world.run()
    world.accept(3)
    world.run()
    assert world.replicas() == {1: 9, 3: 1}
    assert ("Superseded", 2) in [(entry["outcome"], entry["version"]) for entry in world.status["history"]]


def test_a_change_of_spec_supersedes_and_starts_from_stable() -> None:
    world = canary()
    world.accept(2)
    world.run()
    good_traffic(world)
    world.run()
    assert world.replicas() == {1: 5, 2: 5}
    world.respec(resources={"requests": {"cpu": "1"}})
    world.run()
    assert sorted(world.replicas().values()) == [1, 9]
    assert world.status["stable"]["version"] == 1
    assert world.status["rollout"]["step"] == 0


def test_a_spec_that_asks_for_stable_again_ends_the_rollout() -> None:
    world = canary()
    world.accept(2)
    world.run()
    world.respec(model={"trainingJob": "flights", "version": 1})
    world.run()
    assert world.replicas() == {1: 10}
    assert world.says("Ready") == ("True", "Ready")


def test_going_back_to_an_older_version_makes_the_same_pods_again() -> None:
    world = serving()
    (first,) = (d["spec"]["template"] for d in world.deployments().values())
    world.accept(2)
    world.run()
    world.settings = Settings(runtime_image="perennial/runtime:next")
    world.respec(model={"trainingJob": "flights", "version": 1})
    world.run()
    (again,) = (d["spec"]["template"] for d in world.deployments().values())
    assert again["spec"]["containers"][0]["image"] == first["spec"]["containers"][0]["image"]
    serve = json.loads(again["spec"]["containers"][0]["env"][0]["value"])
    assert serve["companion"]["version"] == 2


@pytest.mark.parametrize(
    ("verdict", "expected"), [("Hold", {1: 9, 2: 1}), ("Promote", {1: 5, 2: 5}), ("Rollback", {1: 10})]
)
def test_too_few_requests_are_what_the_user_says(verdict: str, expected: dict[int, int]) -> None:
    world = canary(inconclusive={"after": "30m", "verdict": verdict})
    world.accept(2)
    world.run()
    world.pass_time(29 * 60)
    world.run()
    assert world.replicas() == {1: 9, 2: 1}
    world.pass_time(60)
    world.run(rounds=8)
    assert world.replicas() == expected
    assert world.status.get("quarantined") is None
    if verdict == "Hold":
        assert world.status["rollout"]["state"] == "Inconclusive"
    if verdict == "Rollback":
        world.pass_time(86400)
        world.run()
        assert world.says("RollingOut") == ("False", "Inconclusive")
        assert world.replicas() == {1: 10}
        world.accept(3)
        world.run()
        assert world.replicas() == {1: 9, 3: 1}


# ---- verbs ----


def test_promote_takes_over_whole() -> None:
    world = canary()
    world.accept(2)
    world.run()
    world.annotate("promote", "t1")
    world.run()
    assert world.stable() == 2
    assert world.status["handled"]["promote"] == "t1"
    world.accept(3)
    world.run()
    assert world.replicas() == {2: 9, 3: 1}  # the token counts once


def test_abort_goes_back_and_is_no_quarantine() -> None:
    world = canary()
    world.accept(2)
    world.run()
    world.annotate("abort", "t1")
    world.run()
    assert world.replicas() == {1: 10}
    assert world.status.get("quarantined") is None
    assert world.says("RollingOut") == ("False", "Aborted")
    world.annotate("promote", "t2")
    world.run()
    assert world.stable() == 2


def test_a_crash_after_an_abort_does_not_abort_the_next() -> None:
    world = canary()
    world.accept(2)
    world.run()
    world.accept(3)
    world.annotate("abort", "t1")
    world.reconcile(stop_after=1)
    assert "abort" not in world.status.get("handled", {})
    world.run()
    assert world.status["candidate"]["version"] == 3


def test_tokens_of_a_lost_status_are_not_taken_again() -> None:
    world = canary()
    world.accept(2)
    world.run()
    world.annotate("abort", "t1")
    world.run()
    world.annotate("promote", "t2")
    world.run()
    world.accept(3)
    world.run()
    world.lose_status()
    world.run()
    assert world.status["candidate"]["version"] == 3
    assert world.replicas() == {2: 9, 3: 1}


def test_suspend_starts_nothing_and_keeps_serving() -> None:
    world = serving(replicas=2)
    world.respec(suspend=True)
    world.accept(2)
    world.run()
    assert world.replicas() == {1: 2}
    assert world.says("RollingOut") == ("False", "Suspended")
    assert world.says("Ready") == ("True", "Ready")
    world.respec(suspend=False)
    world.run()
    assert world.stable() == 2


def test_suspend_in_the_middle_stays_there() -> None:
    world = canary()
    world.accept(2)
    world.run()
    world.respec(suspend=True)
    good_traffic(world)
    world.run()
    assert world.replicas() == {1: 9, 2: 1}
    assert world.status["rollout"]["state"] == "Suspended"


# ---- what must survive ----


def test_a_lost_status_in_the_middle_of_a_canary_goes_on_where_it_was() -> None:
    world = canary()
    world.accept(2)
    world.run()
    good_traffic(world)
    world.run()
    step, since = world.status["rollout"]["step"], world.status["rollout"]["since"]
    pods = {pod.name for pod in world.pods}
    world.lose_status()
    world.run()
    assert (world.status["rollout"]["step"], world.status["rollout"]["since"]) == (step, since)
    assert {pod.name for pod in world.pods} == pods
    assert world.replicas() == {1: 5, 2: 5}


def test_a_deleted_record_of_stable_is_made_again_from_its_deployment() -> None:
    world = serving(replicas=2)
    pods = {pod.name for pod in world.pods}
    (name,) = (name for kind, name in world.objects if kind == "ControllerRevision")
    known = world.objects.pop(("ControllerRevision", name))
    world.settings = Settings(runtime_image="perennial/runtime:next")
    world.run()
    assert world.objects[("ControllerRevision", name)]["data"] == known["data"]
    assert {pod.name for pod in world.pods} == pods
    assert world.stable() == 1


def test_an_upgrade_replaces_nothing() -> None:
    """Another release: another image, another default, other builders; then only a new version gets them."""
    world = serving(replicas=3)
    pods, before = {pod.name for pod in world.pods}, world.writes
    world.settings = replace(
        world.settings, runtime_image="perennial/runtime:next", image_pull_policy="Always", estimators=("mine.Model",)
    )
    world.run()
    assert {pod.name for pod in world.pods} == pods
    assert world.writes == before
    world.accept(2)
    world.run()
    (deployment,) = world.deployments().values()
    server = deployment["spec"]["template"]["spec"]["containers"][0]
    assert server["image"] == "perennial/runtime:next"
    assert {"name": "PERENNIAL_ESTIMATORS", "value": "mine.Model"} in server["env"]


def test_defaults_written_into_the_object_roll_nothing() -> None:
    world = serving()
    pods = {pod.name for pod in world.pods}
    world.respec(resources={"requests": {"cpu": "100m", "memory": "256Mi"}}, pod={"env": [], "tolerations": []})
    world.run()
    assert {pod.name for pod in world.pods} == pods


def test_a_digest_of_an_unknown_algorithm_is_adopted() -> None:
    world = serving()
    pods = {pod.name for pod in world.pods}
    (record,) = (m for (kind, _), m in world.objects.items() if kind == "ControllerRevision")
    record["data"]["digest"] = "v9:abc"
    (deployment,) = world.deployments().values()
    said = json.loads(deployment["metadata"]["annotations"]["perennial.dev/model"])
    deployment["metadata"]["annotations"]["perennial.dev/model"] = json.dumps(
        said | {"digest": "v9:abc"}, separators=(",", ":")
    )
    revision = record["metadata"]["labels"]["perennial.dev/revision"]
    world.run()
    assert world.status["stable"]["revision"] == revision
    assert world.replicas() == {1: 1}
    assert {pod.name for pod in world.pods} == pods
    world.respec(resources={"requests": {"cpu": "1"}})
    world.run()
    assert world.status["stable"]["revision"] != revision


def test_an_invalid_spec_changes_nothing_that_runs() -> None:
    world = serving(replicas=2)
    objects = set(world.objects)
    world.respec(replicas="many")
    world.run()
    assert world.says("Stalled") == ("True", "InvalidSpec")
    assert "spec.replicas" in world.message("Stalled")
    assert set(world.objects) == objects
    world.respec(replicas=2)
    world.run()
    assert world.says("Ready") == ("True", "Ready")


def test_a_lost_trainingjob_leaves_what_is_served() -> None:
    world = serving(replicas=2)
    world.trainingjob = None
    world.run()
    assert world.replicas() == {1: 2}
    assert world.says("Ready") == ("True", "Ready")
    assert world.says("RollingOut") == ("False", "TrainingJobNotFound")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"trainingJob": "flights", "version": 99}, "VersionNotFound"),
        ({"trainingJob": "fligths"}, "TrainingJobNotFound"),
    ],
)
def test_a_model_that_is_not_there_is_no_model_that_is_served(model: dict[str, Any], reason: str) -> None:
    world = serving(replicas=2)
    trainingjob = world.trainingjob
    world.trainingjob = trainingjob if model["trainingJob"] == "flights" else None
    world.respec(model=model)
    world.run()
    assert world.replicas() == {1: 2}
    assert world.says("Reconciling") == ("True", reason)
    assert world.says("Ready") == ("Unknown", reason)
    world.trainingjob = trainingjob
    world.respec(model={"trainingJob": "flights"})
    world.run()
    assert world.says("Ready") == ("True", "Ready")
    assert world.condition("Reconciling") is None


def test_a_lost_trainingjob_leaves_also_what_is_scaled() -> None:
    world = serving(replicas=2)
    world.trainingjob = None
    world.respec(replicas=3)
    world.run()
    assert world.says("Ready") == ("True", "Ready")


def test_a_name_that_is_taken_is_said() -> None:
    world = serving()
    taken = Problem("NameTaken", "Service", "flights", "exists and belongs to somebody else")
    world.reconcile(problems=(taken,))
    assert world.says("Stalled") == ("True", "NameTaken")


def test_old_records_are_pruned_and_quarantined_ones_kept() -> None:
    world = canary(replicas=10)
    world.accept(2)
    world.run()
    world.serve(world.candidate(), 200, errors=100)
    world.run()
    for version in range(3, 20):
        world.accept(version)
        world.annotate("promote", str(version))
        world.run()
        world.annotate("promote", f"{version} again")
        world.run()
        assert world.stable() == version
    records = [m for (kind, _), m in world.objects.items() if kind == "ControllerRevision"]
    versions = {json.loads(record["data"]["model"])["version"] for record in records}
    assert versions == {2, *range(9, 20)}


# ---- autoscaling ----


SCALED: dict[str, Any] = {
    "minReplicas": 1,
    "maxReplicas": 10,
    "metrics": [{"type": "Concurrency", "target": 8}],
}


def load(world: World, each: float) -> None:
    from perennial.serving.autoscaler import Load

    world.load = Load(tuple(each for pod in world.pods if pod.ready_since))


def test_autoscaling_follows_the_load_and_waits_before_going_down() -> None:
    world = serving(autoscaling=SCALED)
    load(world, 24.0)
    world.reconcile()
    assert world.status["autoscaling"]["desired"] == 3
    assert world.events[-1].reason == "Scaled"
    load(world, 0.1)
    world.pass_time(10)
    world.run(rounds=5, seconds=10)
    load(world, 0.1)
    for _ in range(20):
        world.run(rounds=1, seconds=10)
        load(world, 0.1)
    assert world.status["autoscaling"]["desired"] == 3
    for _ in range(15):
        world.run(rounds=1, seconds=10)
        load(world, 0.1)
    assert world.status["autoscaling"]["desired"] == 1
    assert len(world.pods) == 1


def test_weights_are_kept_while_the_autoscaler_grows_a_canary() -> None:
    world = serving(autoscaling=SCALED | {"maxReplicas": 40}, rollout=CANARY)
    world.accept(2)
    world.run()
    assert world.replicas() == {1: 9, 2: 1}
    load(world, 16.0)
    for _ in range(6):
        world.run(rounds=1, seconds=15)
        candidates = world.replicas()[2]
        ready = sum(1 for pod in world.pods if pod.ready_since)
        assert not ready or candidates / (candidates + world.replicas()[1] or 1) <= 0.1
    assert world.status["autoscaling"]["desired"] == 20
    assert world.replicas() == {1: 18, 2: 2}


def test_a_lost_status_does_not_scale_in() -> None:
    world = serving(autoscaling=SCALED)
    load(world, 60.0)
    world.run(rounds=4, seconds=16)
    replicas = world.replicas()
    assert replicas[1] > 4
    world.lose_status()
    world.log = ()
    load(world, 0.0)
    world.run(rounds=4)
    assert world.replicas() == replicas
