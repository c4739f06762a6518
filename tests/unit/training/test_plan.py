"""What a TrainingJob does about what happens to it, told as scenes: triggers, holds, results, failures, losses."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import msgspec
import pytest

from perennial.kube.plan import Problem
from perennial.training.observe import versions_in_use
from perennial.wire.result import Failure, Gate, Result, Tracked
from perennial.wire.run import Accepted, Run
from tests.unit.training.world import SPEC, World, accepted, digest, encoded, owned, text


def trained(**settings: Any) -> World:
    """A world whose first version is accepted."""
    world = World(**settings)
    world.settle()
    world.finish(1)
    world.settle()
    assert world.said("Ready") == ("True", "Ready")
    return world


def rejected(version: int) -> Result:
    return Result(
        version, "Rejected", accepted(version).model, {"roc_auc": 0.6}, [Gate("roc_auc", "min", 0.7, 0.6, False)]
    )


def failed(version: int, reason: str = "BadData", message: str = "column late is missing in rows.csv") -> Result:
    return Result(version, "Failed", failure=Failure(reason, message))


class TestTriggers:
    def test_the_first_run_starts_by_itself_once(self) -> None:
        world = World()
        world.settle()
        assert len(world.starts) == 1
        assert world.said("Ready") == ("False", "FirstRun")
        assert world.said("Reconciling") == ("True", "FirstRun")
        assert world.said("Training") == ("True", "RunInProgress")
        assert world.status["runs"][0]["trigger"] == "FirstRun"

    def test_an_accepted_version_is_told_whole(self) -> None:
        status = trained().status
        assert (status["latestVersion"], status["acceptedVersion"]) == (1, 1)
        assert status["accepted"] == {
            "version": 1,
            "uri": "pvc://perennial-models/team-a/flights/v1",
            "sha256": digest(1),
            "seal": digest("seal"),
            "engine": "sklearn",
        }

    def test_an_identical_apply_starts_nothing_and_writes_nothing(self) -> None:
        world = trained()
        assert world.reconcile() == 0
        world.edit(**copy.deepcopy(SPEC))
        world.settle()
        assert len(world.starts) == 1

    def test_a_changed_definition_starts_a_run(self) -> None:
        world = trained()
        world.edit(seed=7)
        world.settle()
        assert len(world.starts) == 2
        assert world.status["runs"][0]["trigger"] == "DefinitionChanged"
        assert world.said("Reconciling") == ("True", "Progressing")
        assert world.said("Ready") == ("Unknown", "Progressing")
        world.finish(2)
        world.settle()
        assert world.condition("Reconciling") is None
        assert world.status["acceptedVersion"] == 2

    def test_a_token_starts_one_run_and_its_removal_none(self) -> None:
        world = trained()
        world.annotate("one")
        world.settle()
        assert len(world.starts) == 2
        assert world.status["handled"] == {"run": "one"}
        assert world.said("Ready") == ("True", "Ready"), "a retrain leaves Ready as it is"
        world.finish(2)
        del world.trainingjob["metadata"]["annotations"]["perennial.dev/run"]
        world.settle()
        world.annotate("one")
        world.settle()
        assert len(world.starts) == 2

    def test_triggers_that_come_during_a_run_become_one_run(self) -> None:
        world = trained()
        world.annotate("one")
        world.settle()
        world.edit(seed=7)
        world.annotate("two")
        world.settle()
        world.annotate("three")
        world.settle()
        assert len(world.starts) == 2
        assert world.status["pending"]["trigger"] == "DefinitionChanged"
        world.finish(2)
        world.settle()
        assert len(world.starts) == 3
        assert world.status["handled"]["run"] == "three"
        assert "pending" not in world.status
        world.finish(3)
        world.settle()
        assert len(world.starts) == 3

    def test_a_pending_trigger_keeps_its_time(self) -> None:
        world = World()
        world.settle()
        world.run_pod(world.job(1))
        world.annotate("one")
        world.settle()
        since = world.status["pending"]["since"]
        world.pass_time(minutes=3)
        world.settle()
        assert world.status["pending"]["since"] == since

    @pytest.mark.parametrize("count", [0, 1, 2, 5])
    def test_the_status_keeps_half_a_kilobyte_a_run(self, count: int) -> None:
        gates = [
            Gate("roc_auc", "min", 0.7, 0.712345678, place < count - 1, (0.654321, 0.789123)) for place in range(count)
        ]
        metrics = {f"accuracy_{place}": 1 / 3 for place in range(8)}
        world = World()
        world.settle()
        made = accepted(1).model
        result = Result(1, "Rejected", made, metrics, gates)
        world.finish(1, result)
        world.settle()
        run = world.status["runs"][0]
        assert len(json.dumps(run, separators=(",", ":"))) < 1024
        assert len(run.get("gates", ())) == count
        world.annotate("another")
        world.settle()
        world.finish(2)
        world.settle()
        run = world.status["runs"][1]
        assert len(json.dumps(run, separators=(",", ":"))) < 512
        if count == 0:
            assert run["metrics"]
        else:
            assert run["gates"][0] == {
                "metric": "roc_auc",
                "rule": "min",
                "bound": 0.7,
                "value": 0.712346,
                "interval": [0.6543, 0.7891],
                "passed": False,
            }


@pytest.mark.parametrize(
    "reported", ["registry.example.com/team-a/fit@sha256:" + "a" * 64, "sha256:" + "a" * 64], ids=["pulled", "imported"]
)
def test_the_image_that_an_own_container_ran_is_recorded_by_its_digest(reported: str) -> None:
    world = World({"template": {"spec": {"containers": [{"name": "fit", "image": "registry.example.com/fit:1"}]}}})
    world.settle()
    job = world.job(1)
    world.finish(1)
    (pod,) = (manifest for (kind, _), manifest in world.objects.items() if kind == "Pod")
    pod["status"]["containerStatuses"][0]["imageID"] = "docker.io/perennial/runtime@sha256:" + "b" * 64
    pod["status"]["initContainerStatuses"] = [
        # What a mesh puts into every pod trains nothing.
        {"name": "mesh-init", "imageID": "docker.io/mesh@sha256:" + "c" * 64},
        {"name": job["spec"]["template"]["spec"]["initContainers"][0]["name"], "imageID": reported},
    ]
    world.settle()
    assert world.records()[0]["data"]["image"] == reported
    assert world.status["runs"][0]["imageDigest"] == "sha256:" + "a" * 64


def test_a_tracker_that_was_not_told_is_an_event_and_changes_nothing_else() -> None:
    world = World()
    world.settle()
    world.finish(1, msgspec.structs.replace(accepted(1), tracked=Tracked(problem="http://mlflow:5000 does not answer")))
    world.settle()
    assert world.said("Ready") == ("True", "Ready")
    assert world.status["runs"][0]["tracking"] == {"problem": "http://mlflow:5000 does not answer"}
    assert "Warning NotTracked" in world.events


def test_a_tracker_that_knows_of_a_failed_run_is_in_its_status() -> None:
    world = World()
    world.settle()
    told = msgspec.structs.replace(failed(1), tracked=Tracked("0" * 32))
    world.end_pod(world.job(1), code=64, message=encoded(told))
    world.end_job(world.job(1), failed="PodFailurePolicy")
    world.settle()
    assert world.status["runs"][0]["tracking"] == {"run": "0" * 32}
    assert world.status["runs"][0]["failure"]["reason"] == "BadData"


@pytest.mark.parametrize("tracked", [Tracked("0" * 32), Tracked(problem="MLflow does not answer. " * 12)])
def test_what_the_tracker_has_takes_no_more_than_its_room(tracked: Tracked) -> None:
    gates = [Gate("roc_auc", "min", 0.7, 0.712345678, True, (0.654321, 0.789123))] * 6
    world = World()
    world.settle()
    world.finish(1, msgspec.structs.replace(accepted(1), gates=gates, tracked=tracked))
    world.settle()
    world.annotate("another")
    world.settle()
    world.finish(2, msgspec.structs.replace(accepted(2), gates=gates, tracked=tracked))
    world.settle()
    newest, older = world.status["runs"]
    assert len(json.dumps(newest, separators=(",", ":"))) < 1024
    assert len(json.dumps(older, separators=(",", ":"))) < 512
    assert newest["gates"]
    assert newest["tracking"].keys() == msgspec.to_builtins(tracked).keys()
    assert ("tracking" in older) is (tracked.problem is None), "the record has it"


class TestMonitors:
    def test_a_request_that_knows_the_accepted_version_starts_a_run_once(self) -> None:
        world = trained()
        world.monitor("drift", requests=[("r1", 1)])
        world.settle()
        assert world.status["runs"][0]["trigger"] == "DriftMonitor"
        assert world.status["runs"][0]["triggeredBy"] == "drift"
        assert world.status["handled"]["monitors"] == {"uid-drift": "r1"}
        world.finish(2)
        world.settle()
        assert len(world.starts) == 2

    def test_a_request_from_before_the_accepted_version_is_late(self) -> None:
        world = trained()
        world.monitor("drift", requests=[("r1", 0)])
        world.settle()
        assert len(world.starts) == 1
        assert world.status["handled"]["monitors"] == {"uid-drift": "r1"}
        assert world.events.count("Normal LateRequest") == 1

    def test_a_request_is_not_late_when_the_accepted_version_was_rolled_back(self) -> None:
        """It is the version before that harms: what the request is about is not what was accepted last."""
        world = trained()
        world.annotate("one")
        world.settle()
        world.finish(2)
        world.settle()
        world.monitor("drift", requests=[("r1", 2)])
        world.settle()
        assert world.status["runs"][0]["trigger"] == "DriftMonitor"

    def test_a_request_becomes_late_when_the_run_before_it_cures(self) -> None:
        world = trained()
        world.annotate("one")
        world.settle()
        world.monitor("drift", requests=[("r1", 1)])
        world.settle()
        assert world.status["pending"]["trigger"] == "DriftMonitor"
        world.finish(2)
        world.settle()
        assert len(world.starts) == 2
        assert world.status["handled"]["monitors"] == {"uid-drift": "r1"}

    def test_an_expired_request_is_not_taken(self) -> None:
        world = trained()
        world.monitor("drift", requests=[("r1", 1)])
        world.pass_time(hours=7)
        world.settle()
        assert len(world.starts) == 1

    def test_only_the_newest_request_of_a_monitor_counts(self) -> None:
        world = trained()
        world.monitor("drift", requests=[("r1", 1), ("r2", 1)])
        world.settle()
        world.finish(2, accepted(2, model="1"))
        world.settle()
        assert len(world.starts) == 2
        assert world.status["handled"]["monitors"] == {"uid-drift": "r2"}

    def test_a_monitor_that_is_gone_is_forgotten(self) -> None:
        world = trained()
        world.monitor("drift", requests=[("r1", 0)])
        world.settle()
        world.monitors.clear()
        world.settle()
        assert "handled" not in world.status

    def test_a_data_fault_holds_the_first_run_too(self) -> None:
        world = World()
        world.monitor("drift", fault=True)
        world.settle()
        assert not world.starts
        world.monitors.clear()
        world.settle()
        assert world.status["runs"][0]["trigger"] == "FirstRun"

    def test_a_request_that_a_data_fault_held_becomes_a_run_when_that_is_over(self) -> None:
        world = trained()
        world.monitor("drift", requests=[("r1", 1)], fault=True)
        world.settle()
        assert len(world.starts) == 1
        assert world.status["pending"]["trigger"] == "DriftMonitor"
        world.monitors.clear()
        world.monitor("drift", requests=[("r1", 1)])
        world.settle()
        assert world.status["runs"][0]["trigger"] == "DriftMonitor"

    def test_a_data_fault_holds_automatic_runs_and_not_a_person(self) -> None:
        world = trained()
        world.monitor("drift", fault=True)
        world.edit(seed=7)
        world.settle()
        assert len(world.starts) == 1
        held = world.condition("Training")
        assert held is not None
        assert (held["status"], held["reason"]) == ("False", "RunWaiting")
        assert "DataFault: carrier is missing in 40% of the rows." in held["message"]
        world.annotate("now")
        world.settle()
        assert len(world.starts) == 2
        assert world.status["runs"][0]["trigger"] == "Requested"
        world.finish(2)
        world.settle()
        assert len(world.starts) == 2

    def test_a_fault_that_clears_releases_what_waited(self) -> None:
        world = trained()
        world.monitor("drift", fault=True)
        world.edit(seed=7)
        world.settle()
        world.monitor("drift")
        world.settle()
        assert len(world.starts) == 2


class TestHolds:
    def test_suspend_starts_nothing_and_forgets_nothing(self) -> None:
        world = World({**SPEC, "suspend": True})
        world.settle()
        assert world.starts == []
        assert world.said("Ready") == ("False", "Suspended")
        assert world.condition("Reconciling") is None
        assert world.condition("Stalled") is None
        world.edit(suspend=False)
        world.settle()
        assert len(world.starts) == 1

    def test_runs_a_day_are_limited_but_not_a_persons(self) -> None:
        world = World({**SPEC, "maxRunsPerDay": 2})
        world.settle()
        world.finish(1)
        for seed in (1, 2, 3):
            world.pass_time(minutes=1)
            world.edit(seed=seed)
            world.settle()
            for job in world.jobs(unfinished=True):
                world.finish(int(job["metadata"]["name"].rsplit("v", 1)[1]))
            world.settle()
        assert len(world.starts) == 2
        assert "maxRunsPerDay" in world.message("Training")
        assert world.last.requeue_after is not None
        world.annotate("now")
        world.settle()
        assert len(world.starts) == 3
        world.finish(3)
        world.settle()
        world.edit(seed=9)
        world.settle()
        assert len(world.starts) == 3
        world.pass_time(seconds=(world.last.requeue_after or 0) + 1)
        world.settle()
        assert len(world.starts) == 4

    def test_an_estimator_that_the_installation_does_not_allow_is_an_invalid_spec(self) -> None:
        world = World({**SPEC, "sklearn": {"estimator": "lightgbm.LGBMClassifier"}})
        world.settle()
        assert world.starts == []
        assert world.said("Stalled") == ("True", "InvalidSpec")
        assert "the chart's value `estimators`" in world.message("Stalled")
        world.settings = dataclasses.replace(world.settings, estimators=("lightgbm.LGBMClassifier",))
        world.settle()
        assert len(world.starts) == 1

    def test_a_transformer_that_is_not_allowed_is_an_invalid_spec(self) -> None:
        steps = [{"transformer": "sklearn.decomposition.PCA"}, {"transformer": "sklearn.PCA"}]
        world = World({**SPEC, "sklearn": {**SPEC["sklearn"], "steps": steps}})
        world.settle()
        assert world.starts == []
        assert world.said("Stalled") == ("True", "InvalidSpec")
        assert world.message("Stalled").startswith("spec.sklearn.steps[1].transformer: sklearn.PCA is not on the list")

    def test_the_default_store_needs_a_single_node_or_a_shared_volume(self) -> None:
        world = World()
        world.nodes.append({"metadata": {"name": "n2"}, "spec": {}})
        world.settle()
        assert world.starts == []
        assert world.said("Stalled") == ("True", "StoreNotConfigured")
        assert "store.uri" in world.message("Stalled")
        world.nodes[1]["spec"]["unschedulable"] = True
        world.settle()
        assert len(world.starts) == 1

    @pytest.mark.parametrize(
        ("node", "counts"),
        [
            ({}, True),
            ({"unschedulable": True}, False),
            ({"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}, False),
            ({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}, True),
            ({"taints": [{"key": "team", "effect": "PreferNoSchedule"}]}, True),
        ],
    )
    def test_only_nodes_for_everyone_count(self, node: dict[str, Any], counts: bool) -> None:
        world = World()
        world.nodes.append({"metadata": {"name": "n2"}, "spec": node})
        world.settle()
        assert (world.starts == []) is counts

    @pytest.mark.parametrize(
        ("spec", "settings"),
        [
            ({"output": {"uri": "s3://models/{namespace}"}}, {}),
            ({}, {"store_uri": "s3://all/{namespace}"}),
            ({}, {"store_access_mode": "ReadWriteMany"}),
        ],
    )
    def test_any_of_these_is_a_store_for_two_nodes(self, spec: dict[str, Any], settings: dict[str, Any]) -> None:
        world = World({**SPEC, **spec}, **settings)
        world.nodes.append({"metadata": {"name": "n2"}, "spec": {}})
        world.settle()
        assert len(world.starts) == 1

    def test_an_invalid_spec_is_told_with_its_field_and_retried(self) -> None:
        world = World({**SPEC, "template": {"spec": {"containers": [{"image": "x"}]}}})
        world.settle()
        assert world.starts == []
        assert world.said("Stalled") == ("True", "InvalidSpec")
        assert "spec" in world.message("Stalled")
        del world.trainingjob["spec"]["template"]
        world.edit()
        world.settle()
        assert len(world.starts) == 1
        assert world.condition("Stalled") is None

    def test_a_run_that_is_going_on_is_taken_in_under_an_invalid_spec(self) -> None:
        world = World()
        world.settle()
        world.edit(template={"spec": {"containers": [{"image": "x"}]}})
        world.finish(1)
        world.settle()
        assert world.status["acceptedVersion"] == 1
        assert world.said("Ready") == ("False", "InvalidSpec")

    @pytest.mark.parametrize(
        ("refusal", "reason", "stalled"),
        [
            ("NameTaken", "NameTaken", True),
            ("Invalid", "InvalidSpec", True),
            ("QuotaExceeded", "QuotaExceeded", False),
            ("Forbidden", "Forbidden", False),
        ],
    )
    def test_a_refused_job_is_told_in_the_servers_words_and_tried_again(
        self, refusal: str, reason: str, stalled: bool
    ) -> None:
        world = World()
        name = world.observe().identity.run_job(1)
        world.refusals["Job", name] = Problem(refusal, "Job", name, "the server's words")
        world.reconcile()
        assert world.said("Training") == ("False", reason)
        assert "the server's words" in world.message("Training")
        assert (world.condition("Stalled") is not None) is stalled
        assert "latestVersion" not in world.status
        assert world.last.requeue_after is not None
        del world.refusals["Job", name]
        world.settle()
        assert world.starts == [name]


class TestResults:
    def test_the_same_model_again_is_unchanged_and_stays_accepted(self) -> None:
        world = trained()
        world.annotate("again")
        world.settle()
        world.finish(2, accepted(2, model="1"))
        world.settle()
        assert world.state(2) == "Unchanged"
        assert world.status["acceptedVersion"] == 1
        assert world.said("LastRunAccepted") == ("True", "Unchanged")

    def test_a_rejected_retrain_leaves_everything_green(self) -> None:
        world = trained()
        world.annotate("again")
        world.settle()
        world.finish(2, rejected(2))
        world.settle()
        assert world.status["acceptedVersion"] == 1
        assert world.said("Ready") == ("True", "Ready")
        assert world.said("LastRunAccepted") == ("False", "Rejected")
        assert "roc_auc is 0.6, at least 0.7 is asked for" in world.message("LastRunAccepted")

    @pytest.mark.parametrize(("result", "reason"), [(rejected, "FirstRunRejected"), (failed, "FirstRunFailed")])
    def test_a_first_run_that_comes_to_nothing_is_stalled(self, result: Any, reason: str) -> None:
        world = World()
        world.settle()
        world.finish(1, result(1))
        world.settle()
        assert world.said("Stalled") == ("True", reason)
        assert world.said("Ready") == ("False", reason)
        assert "annotate perennial.dev/run" in (world.condition("Stalled") or {})["message"]
        assert len(world.starts) == 1
        world.edit(seed=2)
        world.settle()
        assert world.condition("Stalled") is None
        assert len(world.starts) == 2

    def test_wrong_data_is_told_in_the_trainers_words(self) -> None:
        world = World()
        world.settle()
        job = world.job(1)
        world.end_pod(job, code=64, message=encoded(failed(1)))
        world.end_job(job, failed="PodFailurePolicy")
        world.settle()
        failure = world.status["runs"][0]["failure"]
        assert (failure["reason"], failure["exitCode"], failure["node"]) == ("BadData", 64, "n1")
        assert failure["message"] == "column late is missing in rows.csv"
        assert world.said("LastRunAccepted") == ("False", "BadData")

    @pytest.mark.parametrize(
        ("said", "reason"), [("MissingColumn", "MissingColumn"), ("NoModel", "NoModel"), ("Odd", "BadData")]
    )
    def test_what_the_trainer_says_is_the_reason(self, said: str, reason: str) -> None:
        world = World()
        world.settle()
        job = world.job(1)
        world.end_pod(job, code=64, message=encoded(failed(1, said)))
        world.end_job(job, failed="PodFailurePolicy")
        world.settle()
        assert world.said("LastRunAccepted") == ("False", reason)
        assert world.status["runs"][0]["failure"]["reason"] == said

    def test_a_crash_is_told_with_its_last_lines_and_tried_again_before(self) -> None:
        world = World()
        world.settle()
        job = world.job(1)
        world.end_pod(job, code=1, message="Traceback: boom")
        world.settle()
        assert world.state(1) == "Running"
        assert "message" not in world.status["runs"][0], "whether it is tried again is the Job's to say"
        world.pass_time(seconds=20)
        second = world.run_pod(job)
        world.settle()
        assert "attempt 2" in world.status["runs"][0]["message"]
        assert "boom" in world.status["runs"][0]["message"]
        world.objects.pop(("Pod", second["metadata"]["name"]))
        world.end_pod(job, code=1, message="Traceback: boom again")
        world.end_job(job, failed="BackoffLimitExceeded")
        world.settle()
        assert world.status["runs"][0]["failure"]["reason"] == "Crashed"
        assert "boom again" in world.status["runs"][0]["failure"]["message"]
        assert world.records()[0]["data"]["failure"]["exitCode"] == 1

    def test_the_last_attempt_is_what_a_run_failed_of(self) -> None:
        world = World()
        world.settle()
        job = world.job(1)
        world.end_pod(job, code=75, message=encoded(failed(1, "DataUnreachable", "no answer")))
        world.pass_time(seconds=20)
        world.end_pod(job, code=137, reason="OOMKilled")
        world.end_job(job, failed="BackoffLimitExceeded")
        world.settle()
        assert world.said("LastRunAccepted") == ("False", "OutOfMemory")

    def test_out_of_memory(self) -> None:
        world = World()
        world.settle()
        job = world.job(1)
        world.end_pod(job, code=137, reason="OOMKilled")
        world.end_job(job, failed="BackoffLimitExceeded")
        world.settle()
        assert world.said("LastRunAccepted") == ("False", "OutOfMemory")

    def test_a_deadline(self) -> None:
        world = World({**SPEC, "activeDeadlineSeconds": 60})
        world.settle()
        world.end_job(world.job(1), failed="DeadlineExceeded")
        world.pass_time(seconds=30)
        world.settle()
        assert world.said("LastRunAccepted") == ("False", "DeadlineExceeded")
        assert "60 s" in world.status["runs"][0]["failure"]["message"]

    @pytest.mark.parametrize(
        "message",
        ["", "not JSON", "{}", encoded(accepted(7)), encoded(Result(1, "Accepted")), '{"version":1,"outcome":"Odd"}'],
    )
    def test_words_that_are_no_result_of_this_run_are_not_believed(self, message: str) -> None:
        world = World()
        world.settle()
        job = world.job(1)
        world.end_pod(job, message=message)
        world.end_job(job)
        world.settle()
        assert world.job(1, "-report")
        assert world.records() == []


MONDAYS = {"cron": "0 3 * * 1", "timeZone": "Europe/Berlin"}
DAILY = {"cron": "30 6 * * *"}


class TestSchedule:
    def test_a_run_starts_each_time_and_the_status_says_when(self) -> None:
        world = trained(spec={**SPEC, "schedule": DAILY})
        assert world.status["schedule"]["next"] == "2026-03-02T06:30:00Z"
        for version, day in ((2, 2), (3, 3)):
            assert world.last.requeue_after is not None
            world.pass_time(seconds=world.last.requeue_after)
            world.settle()
            assert text(world.now) == f"2026-03-{day:02d}T06:30:00Z"
            assert world.status["runs"][0]["trigger"] == "Scheduled"
            world.finish(version)
            world.settle()
        assert len(world.starts) == 3

    def test_it_is_kept_where_people_are(self) -> None:
        """The clocks of Berlin go forward on the 29th."""
        world = trained(spec={**SPEC, "schedule": MONDAYS})
        assert world.status["schedule"]["next"] == "2026-03-02T02:00:00Z"
        world.pass_time(days=28)
        world.settle()
        assert world.status["schedule"]["next"] == "2026-03-30T01:00:00Z"

    def test_times_that_nobody_was_there_for_are_one_run(self) -> None:
        world = trained(spec={**SPEC, "schedule": DAILY})
        world.pass_time(days=9)
        world.settle()
        world.finish(2)
        world.settle()
        assert len(world.starts) == 2

    def test_a_time_before_it_was_written_starts_nothing(self) -> None:
        world = trained()
        world.pass_time(days=9)
        world.edit(schedule=DAILY)
        world.settle()
        world.pass_time(minutes=1)
        world.edit(schedule=MONDAYS)
        world.settle()
        assert len(world.starts) == 1
        assert world.said("Ready") == ("True", "Ready")

    def test_a_run_of_another_trigger_covers_what_was_due(self) -> None:
        world = trained(spec={**SPEC, "schedule": DAILY})
        world.pass_time(days=1)
        world.edit(seed=7)
        world.settle()
        assert world.status["runs"][0]["trigger"] == "DefinitionChanged"
        world.finish(2)
        world.settle()
        assert len(world.starts) == 2

    def test_a_time_that_was_taken_is_not_taken_again_by_who_finds_no_status(self) -> None:
        world = trained(spec={**SPEC, "schedule": DAILY})
        world.pass_time(days=1)
        world.settle()
        world.finish(2)
        world.trainingjob["status"] = {}
        world.settle()
        assert len(world.starts) == 2

    @pytest.mark.parametrize("held", [{"fault": True}, {"suspend": True}])
    def test_it_waits_for_what_holds_runs(self, held: dict[str, bool]) -> None:
        world = trained(spec={**SPEC, "schedule": DAILY})
        if "fault" in held:
            world.monitor("watch", fault=True)
        else:
            world.edit(suspend=True)
        world.pass_time(days=3)
        world.settle()
        assert len(world.starts) == 1
        assert world.status["pending"]["trigger"] == "Scheduled"
        world.edit(suspend=False)
        world.monitor("watch", fault=False)
        world.settle()
        assert len(world.starts) == 2

    @pytest.mark.parametrize(
        ("schedule", "says"),
        [
            ({"cron": "0 25 * * *"}, "Bad hour; it takes minute, hour"),
            ({"cron": "0 3 * * 1", "timeZone": "Berlin"}, "there is no time zone 'Berlin'"),
            ({"cron": "0 3 * * 1", "timeZone": "../UTC"}, "there is no time zone '../UTC'"),
        ],
    )
    def test_what_is_no_time_is_told(self, schedule: dict[str, str], says: str) -> None:
        world = World({**SPEC, "schedule": schedule})
        world.settle()
        assert world.said("Stalled") == ("True", "InvalidSpec")
        assert "spec.schedule." in world.message("Stalled")
        assert says in world.message("Stalled")


class TestWaits:
    def unschedulable(self, world: World) -> None:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu.",
        }
        world.pod(world.job(1), {"phase": "Pending", "conditions": [condition]})

    def test_an_unschedulable_pod_is_told_and_given_up_after_its_deadline(self) -> None:
        world = World({**SPEC, "pendingDeadlineSeconds": 60})
        world.settle()
        self.unschedulable(world)
        world.settle()
        assert world.state(1) == "Pending"
        assert "Insufficient cpu" in world.message("Training")
        assert world.last.requeue_after == 60
        world.pass_time(seconds=61)
        world.settle()
        assert world.said("Stalled") == ("True", "FirstRunFailed")
        assert world.status["runs"][0]["failure"]["reason"] == "Unschedulable"
        assert "pendingDeadlineSeconds (60 s)" in world.records()[0]["data"]["failure"]["message"]
        assert world.jobs() == []

    @pytest.mark.parametrize("mended", ["definition", "request"])
    def test_a_run_that_waits_gives_way_to_a_newer_one(self, mended: str) -> None:
        world = World()
        world.settle()
        self.unschedulable(world)
        world.settle()
        if mended == "definition":
            world.edit(seed=7)
        else:
            world.annotate("again")
        world.settle()
        failure = world.records()[0]["data"]["failure"]
        assert failure["reason"] == "Superseded"
        assert "Insufficient cpu" in failure["message"]
        assert [job["metadata"]["name"] for job in world.jobs()] == [world.job(2)["metadata"]["name"]]
        assert world.said("Reconciling") == ("True", "FirstRun")

    def test_a_run_that_is_on_its_way_or_trains_does_not_give_way(self) -> None:
        world = World()
        world.settle()
        world.edit(seed=7)
        world.settle()
        world.run_pod(world.job(1))
        world.edit(seed=8)
        world.settle()
        assert world.state(1) == "Running"
        assert world.records() == []

    def test_a_suspended_job_waits_for_its_queue_without_a_deadline(self) -> None:
        world = World()
        world.settle()
        world.job(1)["status"] = {"conditions": [{"type": "Suspended", "status": "True"}]}
        world.pass_time(days=2)
        world.settle()
        assert world.state(1) == "Suspended"

    def test_a_pod_that_the_server_refuses_is_tried_and_told(self) -> None:
        world = World({**SPEC, "pendingDeadlineSeconds": 60})
        world.settle()
        assert world.tried == []
        world.job(1)["status"] = {"startTime": world.job(1)["metadata"]["creationTimestamp"]}
        world.pass_time(seconds=6)
        name = world.job(1)["metadata"]["name"]
        words = 'pods "flights" is forbidden: violates PodSecurity "restricted:latest"'
        world.refusals["Pod", name] = Problem("Forbidden", "Pod", name, words)
        world.settle()
        assert words in world.message("Training")
        world.pass_time(seconds=60)
        world.settle()
        assert world.said("LastRunAccepted") == ("False", "NotStarted")
        assert words in world.records()[0]["data"]["failure"]["message"]

    def test_no_pod_of_a_job_that_its_controller_has_not_come_to_is_tried(self) -> None:
        world = World({**SPEC, "pendingDeadlineSeconds": 60})
        world.settle()
        world.pass_time(seconds=6)
        assert world.reconcile() == 0, "there is nothing to say yet"
        world.pass_time(seconds=10)
        world.settle()
        assert "has not taken up its Job" in world.message("Training")
        assert world.tried == []
        world.pass_time(seconds=60)
        world.settle()
        assert world.said("LastRunAccepted") == ("False", "NotStarted")

    def test_a_pod_that_is_lost_in_the_third_hour_may_be_replaced(self) -> None:
        world = World({**SPEC, "pendingDeadlineSeconds": 60})
        world.settle()
        lost = world.run_pod(world.job(1))
        world.settle()
        world.pass_time(hours=3)
        world.objects.pop(("Pod", lost["metadata"]["name"]))
        for _ in range(5):
            world.pass_time(seconds=10)
            world.settle()
        assert world.state(1) == "Pending"
        world.run_pod(world.job(1))
        world.settle()
        assert world.state(1) == "Running"
        assert "pendingSince" not in world.status["runs"][0]

    def test_a_run_whose_lost_pod_is_not_replaced_is_given_up(self) -> None:
        world = World({**SPEC, "pendingDeadlineSeconds": 60})
        world.settle()
        lost = world.run_pod(world.job(1))
        world.settle()
        world.pass_time(hours=3)
        world.objects.pop(("Pod", lost["metadata"]["name"]))
        for _ in range(8):
            world.pass_time(seconds=10)
            world.settle()
        assert world.state(1) == "Failed"

    def test_a_pod_that_just_starts_is_not_talked_about(self) -> None:
        world = World()
        world.settle()
        waiting = {"name": "trainer", "state": {"waiting": {"reason": "ContainerCreating"}}}
        world.pod(world.job(1), {"phase": "Pending", "containerStatuses": [waiting]}, nodeName="n1")
        assert world.reconcile() == 0
        world.pass_time(seconds=16)
        world.settle()
        assert "ConfigMap rows" in world.message("Training")


class TestLosses:
    def test_a_lost_pod_is_waited_for_and_then_reported_from_the_store(self) -> None:
        world = World()
        world.settle()
        world.end_job(world.job(1))
        world.reconcile()
        assert len(world.jobs()) == 1, "the pod's watch may only be behind the Job's"
        world.pass_time(seconds=11)
        world.settle()
        report = world.job(1, "-report")
        assert report["spec"]["template"]["spec"]["containers"][0]["command"][-1] == "report"
        world.end_pod(report, message=encoded(accepted(1)))
        world.end_job(report)
        world.settle()
        assert world.status["acceptedVersion"] == 1
        assert len(world.jobs()) == 1, "a report Job that has told goes"

    def test_a_deleted_job_with_a_sealed_version_loses_nothing(self) -> None:
        world = World()
        world.settle()
        world.remove("Job", world.job(1)["metadata"]["name"])
        world.settle()
        report = world.job(1, "-report")
        world.end_pod(report, message=encoded(accepted(1)))
        world.end_job(report)
        world.settle()
        assert world.status["acceptedVersion"] == 1
        assert len([name for name in world.starts if not name.endswith("-report")]) == 1

    def test_a_deleted_job_without_a_version_is_told_and_not_repeated(self) -> None:
        world = World()
        world.settle()
        world.remove("Job", world.job(1)["metadata"]["name"])
        world.settle()
        report = world.job(1, "-report")
        world.end_pod(report, code=66, message=encoded(failed(1, "NoVersion", "there is no version")))
        world.end_job(report, failed="PodFailurePolicy")
        world.settle()
        assert world.said("LastRunAccepted") == ("False", "JobDeleted")
        assert world.jobs() == []
        assert len([name for name in world.starts if not name.endswith("-report")]) == 1

    def test_a_store_that_cannot_be_read_is_told_as_such(self) -> None:
        world = World()
        world.settle()
        world.end_job(world.job(1))
        world.pass_time(seconds=11)
        world.settle()
        report = world.job(1, "-report")
        world.end_pod(report, code=75, message=encoded(failed(1, "StoreUnreachable", "cannot reach s3")))
        world.settle()
        assert world.records() == [], "the report is tried again"
        world.end_job(report, failed="BackoffLimitExceeded")
        world.settle()
        assert world.said("LastRunAccepted") == ("False", "ResultLost")
        assert "cannot reach s3" in world.records()[0]["data"]["failure"]["message"]

    def test_a_cleared_status_is_rebuilt_and_starts_nothing(self) -> None:
        world = trained()
        world.monitor("drift", requests=[("r1", 1)])
        world.settle()
        world.finish(2)
        world.annotate("token")
        world.settle()
        world.finish(3, rejected(3))
        world.settle()
        before, starts = without_times(world.status), len(world.starts)
        world.trainingjob["status"] = {"observedGeneration": -1}
        world.settle()
        assert without_times(world.status) == before
        assert len(world.starts) == starts

    def test_a_status_cleared_in_mid_run_is_rebuilt_from_the_job(self) -> None:
        world = trained()
        world.annotate("token")
        world.settle()
        before = without_times(world.status)
        world.trainingjob["status"] = {"observedGeneration": -1}
        world.settle()
        assert without_times(world.status) == before
        assert len(world.starts) == 2

    def test_a_restore_under_a_new_uid_adopts_the_versions(self) -> None:
        world = trained()
        world.annotate("token")
        world.settle()
        world.finish(2)
        world.settle()
        before = without_times(world.status)
        for job in world.jobs():
            world.remove("Job", job["metadata"]["name"])
        for record in world.records():
            del record["metadata"]["ownerReferences"]
        world.trainingjob["metadata"]["uid"] = "uid-restored"
        world.trainingjob["status"] = {"observedGeneration": -1}
        world.settle()
        assert without_times(world.status) == before
        assert len(world.starts) == 2
        assert [owned(record, "uid-restored") for record in world.records()] == [True, True]

    def test_an_unknown_digest_algorithm_is_adopted(self) -> None:
        world = trained()
        record = world.records()[0]
        record["data"]["definition"] = "v0:old"
        world.trainingjob["status"]["definition"] = "v0:old"
        world.settle()
        assert len(world.starts) == 1
        assert world.status["definition"].startswith("v2:")
        world.edit(seed=7)
        world.settle()
        assert len(world.starts) == 2

    def test_a_record_of_a_later_release_is_left_alone(self) -> None:
        world = trained()
        world.records()[0]["data"] = {"shape": "unknown"}
        for job in world.jobs():
            world.remove("Job", job["metadata"]["name"])
        world.trainingjob["status"] = {"observedGeneration": -1}
        world.settle()
        assert [name for name in world.starts if name.endswith("-report")] == []

    def test_a_deleted_record_of_the_accepted_version_is_read_back(self) -> None:
        world = trained()
        for job in world.jobs():
            world.remove("Job", job["metadata"]["name"])
        world.objects.pop(("ControllerRevision", world.records()[0]["metadata"]["name"]))
        world.settle()
        assert world.status["acceptedVersion"] == 1
        report = world.job(1, "-report")
        world.end_pod(report, message=encoded(accepted(1)))
        world.end_job(report)
        world.settle()
        assert world.status["acceptedVersion"] == 1
        assert len(world.records()) == 1


class TestChampion:
    """A new version has to stand up to the newest accepted one that nobody has quarantined."""

    @staticmethod
    def asking(world: World) -> World:
        world.edit(acceptance={"champion": {"metric": "roc_auc", "margin": 0.01}})
        return world

    @staticmethod
    def told(world: World, version: int) -> Accepted | None:
        (container,) = world.job(version)["spec"]["template"]["spec"]["containers"]
        (text,) = [entry["value"] for entry in container["env"] if entry["name"] == "PERENNIAL_RUN"]
        champion = msgspec.json.decode(text, type=Run).champion
        assert champion is not None
        return champion.against

    def test_there_is_none_before_a_version_is_accepted(self) -> None:
        world = self.asking(World())
        world.settle()
        assert self.told(world, 1) is None
        world.finish(1, rejected(1))
        world.settle()
        world.annotate("again")
        world.settle()
        assert self.told(world, 2) is None

    def test_it_is_the_newest_that_was_accepted(self) -> None:
        world = self.asking(trained())
        world.settle()
        uri = "pvc://perennial-models/team-a/flights/v1"
        assert self.told(world, 2) == Accepted(1, uri, digest(1), digest("seal"))
        world.finish(2)
        world.settle()
        world.annotate("third")
        world.settle()
        world.finish(3, rejected(3))
        world.settle()
        world.annotate("fourth")
        world.settle()
        champion = self.told(world, 4)
        assert champion is not None
        assert champion.version == 2

    def test_one_that_was_quarantined_is_no_measure(self) -> None:
        world = trained()
        world.annotate("second")
        world.settle()
        world.finish(2)
        world.settle()
        entry = {"revision": "r", "sha256": digest(2), "reason": "errors", "since": "2026-03-01T12:00:00Z"}
        world.deployments = [
            {
                "metadata": {"namespace": "team-a", "name": "flights"},
                "spec": {"model": {"trainingJob": "flights"}},
                "status": {"quarantined": [entry, "nonsense"]},
            }
        ]
        self.asking(world)
        world.settle()
        champion = self.told(world, 3)
        assert champion is not None
        assert champion.version == 1

    def test_a_version_that_is_worse_says_so_in_its_condition(self) -> None:
        world = self.asking(trained())
        world.settle()
        note = "version 1 on the 100 rows that both held out"
        gate = Gate("roc_auc", "champion", 0.01, 0.0412, False, (0.0123, 0.0701), note)
        world.finish(2, Result(2, "Rejected", accepted(2).model, {"roc_auc": 0.6}, [gate]))
        world.settle()
        assert world.said("LastRunAccepted") == ("False", "Rejected")
        assert world.message("LastRunAccepted").endswith(
            "roc_auc is 0.0412 worse (0.0123 to 0.0701) than that of version 1 on the 100 rows that both held out, "
            "0.01 is allowed"
        )
        assert world.status["runs"][0]["gates"] == [
            {
                "metric": "roc_auc",
                "rule": "champion",
                "bound": 0.01,
                "value": 0.0412,
                "interval": [0.0123, 0.0701],
                "passed": False,
                "note": note,
            }
        ]


class TestUpgrade:
    def test_another_release_changes_no_run_and_starts_none(self) -> None:
        world = trained()
        world.annotate("token")
        world.settle()
        jobs = copy.deepcopy(world.jobs())
        world.settings = dataclasses.replace(world.settings, runtime_image="perennial-runtime:2", store_size="5Gi")
        assert world.reconcile() == 0
        assert world.jobs() == jobs
        world.finish(2)
        world.settle()
        assert len(world.starts) == 2


class TestHistory:
    def test_old_versions_go_but_none_that_is_needed(self) -> None:
        world = World({**SPEC, "versionHistoryLimit": 2})
        world.settle()
        world.finish(1)
        for version in range(2, 8):
            world.pass_time(days=2)
            world.annotate(f"token-{version}")
            world.settle()
            world.finish(version, rejected(version) if version > 3 else None)
            world.deployments = [
                {
                    "spec": {"model": {"trainingJob": "flights", "version": 4}},
                    "status": {"history": [history(2)], "trainingJob": "flights"},
                }
            ]
            world.settle()
        kept = sorted(record["revision"] for record in world.records())
        assert kept == [2, 3, 4, 6, 7], "accepted 3, pinned 4, a rollback target 2, and the newest two"
        assert [run["version"] for run in world.status["runs"]] == [7, 6]
        assert world.events.count("Warning Rejected") == 4, "no version is told twice"
        assert len(world.jobs()) == 2

    def test_a_record_goes_only_after_its_job_is_gone(self) -> None:
        world = World({**SPEC, "versionHistoryLimit": 1})
        world.settle()
        world.finish(1)
        world.settle()
        world.pass_time(days=2)
        world.annotate("token")
        world.settle()
        world.finish(2)
        gone: list[str] = []
        for _ in range(5):
            world.reconcile()
            gone += [deletion.resource.kind for deletion in world.last.deletions]
        assert gone == ["Job", "ControllerRevision"]

    def test_a_days_records_stay_so_that_runs_can_be_counted(self) -> None:
        world = World({**SPEC, "versionHistoryLimit": 1})
        world.settle()
        world.finish(1)
        for version in (2, 3):
            world.annotate(f"token-{version}")
            world.settle()
            world.finish(version)
            world.settle()
        assert len(world.records()) == 3


def test_the_version_before_the_stable_one_is_in_use() -> None:
    """However many were rolled out since: it is what a DriftMonitor goes back to."""
    before = {"version": 1, "sha256": digest(1), "compared": True}
    deployment = {"metadata": {"name": "flights"}, "spec": {"model": {"trainingJob": "flights"}}}
    assert versions_in_use("flights", deployment | {"status": {"previous": before}}) == {1}
    assert versions_in_use("others", deployment | {"status": {"previous": before}}) == frozenset()


def history(version: int) -> dict[str, Any]:
    return {
        "revision": "r",
        "version": version,
        "sha256": digest(version),
        "outcome": "Promoted",
        "at": text(World().now),
    }


def without_times(status: dict[str, Any]) -> dict[str, Any]:
    kept = copy.deepcopy(status)
    for condition in kept["conditions"]:
        del condition["lastTransitionTime"]
    return kept


def test_records_read_back_as_they_were_written() -> None:
    from perennial.training import record

    world = trained()
    found = record.from_manifest(world.records()[0])
    assert found is not None
    assert msgspec.to_builtins(found) == world.records()[0]["data"]
