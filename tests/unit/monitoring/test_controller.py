"""The controller over a namespace in memory, with pods that keep their epochs: what is asked, when, and what a dead
operator loses."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np
import pytest
from prometheus_client import generate_latest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.api.timestamp import to_text
from perennial.kube.ownership import owner_reference
from perennial.kube.resources import CONFIGMAPS, PODS
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged, encode
from perennial.monitoring.look import ENDING_SECONDS, LONGEST
from perennial.monitoring.metrics import Metrics
from perennial.monitoring.triage import Triage
from perennial.monitoring.verdict import Loss, Verdict
from perennial.monitoring.words import moment
from perennial.settings import Settings

from . import worlds
from .namespace import KEY, START, Cluster


def test_pods_are_asked_when_it_is_due_and_not_with_every_event() -> None:
    cluster = Cluster()
    pod = cluster.add_pod("a")
    pod.serve(30)
    plan = cluster.reconcile()
    assert plan.requeue_after is not None
    assert 0 < plan.requeue_after <= LONGEST * 1.1
    for _ in range(5):
        cluster.reconcile()
    assert pod.asked == 1
    cluster.now += plan.requeue_after
    cluster.reconcile()
    assert pod.asked == 2
    assert cluster.status["rows"] == 30


def test_an_epoch_is_acknowledged_only_once_the_checkpoint_persisted() -> None:
    cluster = Cluster()
    pod = cluster.add_pod("a")
    pod.serve(30)
    cluster.reconcile(writes=0)
    cluster.now += 100
    cluster.reconcile(writes=0)
    assert len(pod.kept) == 1
    cluster.now += 100
    cluster.reconcile(writes=1)
    assert len(pod.kept) == 1
    cluster.now += 100
    cluster.reconcile()
    assert pod.kept == []
    assert cluster.status["rows"] == 30


@pytest.mark.parametrize("seed", range(5))
def test_an_operator_that_is_killed_at_any_write_loses_and_repeats_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cluster = Cluster()
    for uid in "abc":
        cluster.add_pod(uid)
    for _ in range(40):
        for pod in cluster.pods.values():
            pod.serve(int(rng.integers(0, 50)))
        cluster.unreachable = {uid for uid in cluster.pods if rng.random() < 0.2}
        cluster.now += 70
        cluster.reconcile(writes=int(rng.integers(0, 3)))
        if rng.random() < 0.4:
            cluster.restart()
    cluster.unreachable = set()
    for _ in range(2):
        cluster.now += 70
        cluster.reconcile()
    assert cluster.status["rows"] == sum(pod.served for pod in cluster.pods.values())
    assert cluster.status["coverage"] == 1
    assert all(not pod.kept for pod in cluster.pods.values())


def test_what_is_served_while_it_is_suspended_counts_for_nothing() -> None:
    cluster = Cluster()
    pod, gone = cluster.add_pod("a"), cluster.add_pod("b")
    pod.serve(10)
    gone.serve(10)
    cluster.reconcile()
    spec = cluster.objects[DRIFTMONITORS, "flights"]["spec"]
    cluster.put(DRIFTMONITORS, "flights", spec=spec | {"suspend": True}, metadata={"generation": 2})
    for _ in range(3):
        cluster.now += 70
        pod.serve(500)
        cluster.reconcile()
    cluster.remove_pod("b")
    cluster.put(DRIFTMONITORS, "flights", spec=spec, metadata={"generation": 3})
    # Its status is written later than its checkpoint.
    cluster.reconcile(writes=1)
    cluster.now += 1
    pod.serve(2)
    cluster.reconcile()
    cluster.now += 70
    pod.serve(3)
    cluster.reconcile()
    assert cluster.status["rows"] == 25
    assert cluster.status["coverage"] == 1
    assert pod.kept[:-1] == []


def test_what_was_served_before_the_monitor_was_made_is_not_its_to_judge() -> None:
    """One that is made anew, as by a GitOps tool that deletes and applies, begins anew; one that forgets does not."""
    cluster = Cluster()
    pod = cluster.add_pod("a")
    pod.serve(1000)
    cluster.put(DRIFTMONITORS, "flights", metadata={"creationTimestamp": to_text(moment(START))})
    cluster.reconcile()
    assert (cluster.status["rows"], cluster.status["windows"]["rowsOpen"]) == (0, 0)
    for _ in range(2):
        cluster.now += 70
        pod.serve(20)
        cluster.reconcile()
    assert (cluster.status["rows"], cluster.status["coverage"]) == (40, 1)
    cluster.now += 70
    del cluster.objects[CONFIGMAPS, "flights-drift"]
    cluster.restart()
    pod.serve(5)
    cluster.reconcile()
    # The last epoch was not acknowledged yet.
    assert (cluster.status["rows"], cluster.status["coverage"]) == (25, 1)
    cluster.now += 70
    pod.serve(500)
    made = {"creationTimestamp": to_text(moment(cluster.now)), "uid": "uid-again"}
    cluster.put(DRIFTMONITORS, "flights", metadata=made, status={})
    cluster.reconcile()
    assert cluster.status["rows"] == 0


def test_a_memory_that_somebody_deletes_is_missed() -> None:
    cluster = Cluster()
    cluster.add_pod("a").serve(10)
    assert "CheckpointUnreadable" not in [event.reason for event in cluster.reconcile().events]
    del cluster.objects[CONFIGMAPS, "flights-drift"]
    cluster.restart()
    (missed,) = [event for event in cluster.reconcile().events if event.reason == "CheckpointUnreadable"]
    assert missed.message == "ConfigMap flights-drift is gone"
    assert "CheckpointUnreadable" not in [event.reason for event in cluster.reconcile().events]


def test_a_pod_that_ends_is_asked_at_once_until_it_is_gone() -> None:
    cluster = Cluster()
    cluster.add_pod("a")
    ending = cluster.add_pod("b")
    cluster.reconcile()
    ending.serve(20)
    cluster.now += 2
    cluster.end_pod("b")
    plan = cluster.reconcile()
    assert cluster.status["rows"] == 20
    assert plan.requeue_after is not None
    assert plan.requeue_after <= ENDING_SECONDS
    ending.serve(5)
    ending.ended = True
    for _ in range(2):
        cluster.now += ENDING_SECONDS
        cluster.reconcile()
    assert ending.kept == []
    cluster.remove_pod("b")
    cluster.reconcile()
    assert cluster.status["rows"] == 25
    assert cluster.status["coverage"] == 1
    assert cluster.pods["a"].asked == 1


def test_what_a_pod_serves_while_it_ends_and_hands_to_nobody_is_said_to_be_lost() -> None:
    """It was asked when it began to end, served on, and was gone before the next operator came."""
    cluster = Cluster()
    cluster.add_pod("a")
    ending = cluster.add_pod("b")
    cluster.reconcile()
    cluster.now += 2
    ending.serve(300)
    cluster.end_pod("b")
    cluster.reconcile()
    ending.serve(140)
    cluster.restart()
    cluster.remove_pod("b")
    cluster.now += 10
    plan = cluster.reconcile()
    assert cluster.status["rows"] == 300
    assert cluster.status["coverage"] == pytest.approx(300 / (300 + 10 * 20), abs=1e-4)
    (told,) = [event.message for event in plan.events if event.reason == "CountsLost"]
    assert told == ("about 200 rows of 1 pod that ended could not be counted: nobody took what was left to hand over")


def test_a_pod_that_ends_is_asked_as_long_as_it_may_be_there() -> None:
    """On a crowded node it does not answer for a while; on a dead one never."""
    cluster = Cluster()
    ending = cluster.add_pod("b")
    cluster.reconcile()
    ending.serve(20)
    cluster.end_pod("b")
    cluster.unreachable = {"b"}
    for _ in range(12):
        cluster.reconcile()
        cluster.now += ENDING_SECONDS
    cluster.unreachable = set()
    ending.ended = True
    cluster.reconcile()
    assert cluster.status["rows"] == 20
    for _ in range(40):
        cluster.now += ENDING_SECONDS
        cluster.reconcile()
    assert ending.asked < 25
    cluster.remove_pod("b")
    cluster.reconcile()
    assert cluster.status["coverage"] == 1


def test_a_new_pod_is_asked_at_once_so_that_its_loss_can_be_told() -> None:
    cluster = Cluster()
    cluster.add_pod("a").serve(150)
    cluster.reconcile()
    cluster.now += 2
    fresh = cluster.add_pod("b")
    cluster.reconcile()
    cluster.reconcile()
    assert fresh.asked == 1
    fresh.serve(100)
    cluster.now += 5
    cluster.remove_pod("b")
    cluster.reconcile()
    assert cluster.status["rows"] == 150
    assert cluster.status["coverage"] == pytest.approx(150 / (150 + 5 * 10))


def test_a_pod_that_nobody_asks_anything_has_nothing_to_lose() -> None:
    cluster = Cluster()
    cluster.add_pod("a").serve(150)
    cluster.add_pod("b").serve(150)
    cluster.reconcile()
    for _ in range(10):
        cluster.now += 70
        cluster.reconcile()
    cluster.now += 3
    cluster.remove_pod("b")
    cluster.reconcile()
    assert cluster.status["coverage"] == pytest.approx(300 / (300 + 3 * 10), abs=1e-4)


def test_an_address_that_another_pod_has_by_now_is_not_counted_twice() -> None:
    cluster = Cluster()
    cluster.add_pod("a").serve(10)
    cluster.reconcile()
    cluster.add_pod("c", revision="rev2")
    for uid in "ac":
        cluster.end_pod(uid)
    heir = cluster.add_pod("b", creationTimestamp="2026-03-01T12:30:00Z")
    heir.serve(7)
    shared = {"phase": "Running", "podIP": "b", "conditions": [{"type": "Ready", "status": "True"}]}
    for uid in "ac":
        cluster.put(PODS, f"flights-{uid}", status=shared)
    for _ in range(3):
        cluster.now += 70
        cluster.reconcile()
    assert cluster.status["rows"] == 17
    # And where the cache does not know the heir yet.
    del cluster.objects[PODS, "flights-b"], cluster.objects[PODS, "flights-c"]
    heir.serve(5)
    cluster.restart()
    cluster.reconcile()
    assert cluster.status["rows"] == 17


def test_what_a_candidate_has_served_counts_also_where_its_pod_ends_before_it_takes_over() -> None:
    cluster = Cluster()
    cluster.add_pod("a").serve(10)
    candidates = [cluster.add_pod(uid, revision="rev2") for uid in "cd"]
    reference = msgspec.structs.replace(cluster.reference, model=worlds.OTHER_MODEL)
    for candidate in candidates:
        candidate.model, candidate.reference = worlds.OTHER_MODEL, reference
        candidate.serve(30)
    cluster.reconcile()
    cluster.end_pod("c")
    candidates[0].ended = True
    for _ in range(2):
        cluster.now += ENDING_SECONDS
        cluster.reconcile()
    assert candidates[0].kept == []
    cluster.remove_pod("c")
    cluster.reconcile()
    assert cluster.status["rows"] == 10
    stable = {"revision": "rev2", "version": 4, "sha256": worlds.OTHER_MODEL}
    cluster.put(MODELDEPLOYMENTS, "flights", status={"stable": stable})
    cluster.now += 70
    cluster.reconcile()
    assert (cluster.status["model"]["version"], cluster.status["rows"], cluster.status["coverage"]) == (4, 60, 1)


def test_only_the_stable_revision_is_asked() -> None:
    cluster = Cluster()
    stable, candidate = cluster.add_pod("a"), cluster.add_pod("b", revision="rev2")
    cluster.reconcile()
    assert (stable.asked, candidate.asked) == (1, 0)


def test_pods_that_do_not_answer_are_named_and_asked_again() -> None:
    cluster = Cluster()
    cluster.add_pod("a")
    cluster.reconcile()
    cluster.unreachable = {"a"}
    cluster.now += 70
    cluster.reconcile()
    ready = cluster.status["conditions"][0]
    assert (ready["status"], ready["reason"]) == ("False", "CountsUnreachable")
    assert "flights-a: http://a does not answer" in ready["message"]
    cluster.reconcile()
    assert cluster.status["conditions"][0]["reason"] == "CountsUnreachable"
    cluster.unreachable = set()
    cluster.now += 70
    cluster.reconcile()
    assert cluster.status["conditions"][0]["reason"] == "Watching"


def test_pods_that_never_answered_are_named() -> None:
    cluster = Cluster()
    cluster.add_pod("a")
    cluster.unreachable = {"a"}
    cluster.reconcile()
    ready = cluster.status["conditions"][0]
    assert ready["reason"] == "CountsUnreachable"
    assert "flights-a: http://a does not answer" in ready["message"]


def test_a_version_without_a_reference_is_said() -> None:
    cluster = Cluster()
    cluster.add_pod("a").reference = None
    cluster.reconcile()
    assert cluster.status["conditions"][0]["reason"] == "NoReference"


def test_the_reference_is_fetched_once_and_again_after_a_promotion() -> None:
    cluster = Cluster()
    cluster.add_pod("a").serve(10)
    cluster.reconcile()
    cluster.pods["a"].reference = None
    cluster.now += 70
    cluster.reconcile()
    assert cluster.status["conditions"][0]["reason"] == "Watching"
    stable = {"revision": "rev2", "version": 4, "sha256": worlds.OTHER_MODEL}
    cluster.put(MODELDEPLOYMENTS, "flights", status={"stable": stable})
    fresh = cluster.add_pod("n", revision="rev2")
    fresh.model = worlds.OTHER_MODEL
    fresh.reference = msgspec.structs.replace(cluster.reference, model=worlds.OTHER_MODEL)
    fresh.serve(7)
    cluster.now += 70
    cluster.reconcile()
    assert cluster.status["model"]["version"] == 4
    assert cluster.status["rows"] == 7


def test_what_the_old_version_owes_is_taken_before_the_new_reference_is_here() -> None:
    cluster = Cluster()
    old = cluster.add_pod("a")
    cluster.reconcile()
    stable = {"revision": "rev2", "version": 4, "sha256": worlds.OTHER_MODEL}
    cluster.put(MODELDEPLOYMENTS, "flights", status={"stable": stable})
    cluster.reconcile()
    old.serve(30)
    old.ended = True
    cluster.end_pod("a")
    for _ in range(2):
        cluster.now += ENDING_SECONDS
        cluster.reconcile()
    assert old.kept == []
    assert cluster.status["model"]["version"] == 4
    assert cluster.status["rows"] == 0


def test_pods_that_nobody_looked_for_are_not_missed() -> None:
    cluster = Cluster()
    pod = cluster.add_pod("a")
    pod.serve(30)
    cluster.reconcile()
    cluster.put(MODELDEPLOYMENTS, "flights", status={})
    cluster.now += 70
    cluster.reconcile()
    stable = {"revision": "rev1", "version": 3, "sha256": worlds.MODEL}
    cluster.put(MODELDEPLOYMENTS, "flights", status={"stable": stable})
    cluster.now += 70
    pod.serve(10)
    cluster.reconcile()
    assert (cluster.status["rows"], cluster.status["coverage"]) == (40, 1)


def test_a_second_monitor_only_looks() -> None:
    cluster = Cluster()
    pod = cluster.add_pod("a")
    later = {"creationTimestamp": "2023-11-14T12:00:01Z", "uid": "uid-second"}
    spec = {"deployment": "flights", "baseline": {"from": "Training"}}
    cluster.put(DRIFTMONITORS, "second", metadata=later, spec=spec)
    pod.serve(10)
    cluster.reconcile()
    cluster.reconcile(name="second")
    cluster.now += 70
    pod.serve(5)
    cluster.reconcile(name="second")
    assert cluster.objects[DRIFTMONITORS, "second"]["status"]["conditions"][0]["reason"] == "SecondMonitor"
    cluster.reconcile()
    cluster.now += 70
    cluster.reconcile()
    assert cluster.status["rows"] == 15
    assert cluster.status["conditions"][0]["reason"] == "Watching"


@pytest.mark.parametrize(
    ("settings", "asking"),
    [(Settings(), 3), (Settings(retrains_a_day=2), 2), (Settings(actions=False), 0)],
)
def test_an_installation_limits_what_its_monitors_ask_for(settings: Settings, asking: int) -> None:
    """No status is written before all have decided: the last retrain of a day is given away once."""
    cluster = Cluster(settings)
    names = ["one", "two", "three"]
    for name in names:
        for resource in (MODELDEPLOYMENTS, TRAININGJOBS):
            cluster.put(resource, name, **cluster.parts(resource, "flights"))
        cluster.put(MODELDEPLOYMENTS, name, spec={"model": {"trainingJob": name}})
        harm = {"state": "Harm", "action": "Retrain"}
        cluster.put(DRIFTMONITORS, name, spec={"deployment": name, "actions": [harm]})
        harmful = Verdict("v", "Harm", START, START, 500, loss=Loss(0.1, 0.12, 0.3))
        memory = judge.begin(Checkpoint(), Judged(worlds.MODEL, 3), cluster.reference)
        memory = judge.advance(memory, DriftMonitorSpec(deployment=name), {}, START)
        memory = msgspec.structs.replace(memory, triage=Triage((harmful,)), opened=START)
        owners = [owner_reference(cluster.objects[DRIFTMONITORS, name])]
        cluster.put(CONFIGMAPS, f"{name}-drift", metadata={"ownerReferences": owners}, binaryData=encode(memory))
    plans = [cluster.reconcile(name=name, writes=1) for name in names]
    asked = [plan for plan in plans if plan.status and plan.status.get("requests")]
    assert len(asked) == asking


def test_events_enqueue_the_monitors_that_they_concern() -> None:
    cluster = Cluster()
    cluster.add_pod("a").serve(10)
    cluster.reconcile()
    for resource, name in (
        (MODELDEPLOYMENTS, "flights"),
        (TRAININGJOBS, "flights"),
        (PODS, "flights-a"),
        (CONFIGMAPS, "flights-drift"),
    ):
        manifest = cluster.objects[resource, name]
        keys = [
            key for watch in cluster.controller.watches if watch.resource == resource for key in watch.keys(manifest)
        ]
        assert keys == [KEY], resource.plural


def test_a_monitor_that_is_gone_is_forgotten() -> None:
    cluster = Cluster()
    cluster.add_pod("a").serve(10)
    cluster.reconcile()
    cluster.reconcile()
    shown = generate_latest(cluster.registry).decode()
    assert 'perennial_drift_rows{driftmonitor="flights",namespace="team-a"} 10.0' in shown
    assert 'perennial_drift_verdict{driftmonitor="flights",namespace="team-a",state="Harm"} 0.0' in shown
    cluster.caches[DRIFTMONITORS].discard_uid("team-a", "flights", "uid-flights")
    assert asyncio.run(cluster.controller.observe(KEY)) is None
    assert "team-a" not in generate_latest(cluster.registry).decode()


@pytest.mark.parametrize(
    ("status", "reason", "shown"),
    [
        ("True", "Joined", ["1.0"]),
        ("False", "JoinFailed", ["0.0"]),
        ("False", "JoinPending", ["0.0"]),
        ("Unknown", "JoinPending", []),
        ("False", "SecondMonitor", []),
    ],
)
def test_whether_labels_are_joined_is_a_metric(status: str, reason: str, shown: list[str]) -> None:
    kind = {"type": "LabelsJoined", "status": status, "reason": reason, "message": ""}
    told = {"conditions": [kind | {"observedGeneration": 1, "lastTransitionTime": "2026-03-01T12:00:00Z"}]}
    metrics = Metrics()
    metrics.show(KEY, DriftMonitorStatus.model_validate(told))
    (family,) = [each for each in metrics.collect() if each.name == "perennial_drift_labels_joined"]
    assert [str(sample.value) for sample in family.samples] == shown


def test_what_going_back_would_bring_is_a_metric() -> None:
    harm = {"id": "v1", "state": "Harm", "since": "2026-03-01T12:00:00Z", "samples": 400}
    losses = {
        "loss": {"reference": 0.1, "now": 0.4},
        "previous": {"samples": 300, "loss": 0.2, "now": 0.4, "wins": True},
    }
    metrics = Metrics()
    told = {"verdicts": [harm | losses], "governor": {"retrains": 2, "rollbacks": 1}}
    metrics.show(KEY, DriftMonitorStatus.model_validate(told))
    shown = {family.name: family.samples for family in metrics.collect()}
    assert {sample.labels["of"]: sample.value for sample in shown["perennial_drift_loss"]} == {
        "reference": 0.1,
        "now": 0.4,
        "previous": 0.2,
    }
    assert [shown[f"perennial_drift_{name}"][0].value for name in ("retrains", "rollbacks")] == [2, 1]


@pytest.mark.parametrize(
    ("governor", "shown"),
    [
        (None, 0.0),
        ({"retrains": 3}, 0.0),
        ({"retrains": 3, "stoppedSince": "2026-03-01T12:00:00Z"}, 1.0),
    ],
)
def test_whether_the_governor_has_stopped_is_a_metric(governor: dict[str, object] | None, shown: float) -> None:
    metrics = Metrics()
    metrics.show(KEY, DriftMonitorStatus.model_validate({"governor": governor}))
    (family,) = [each for each in metrics.collect() if each.name == "perennial_drift_stopped"]
    assert [sample.value for sample in family.samples] == [shown]
