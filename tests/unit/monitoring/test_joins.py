"""Joins of labels from a table: when a Job is made, what is remembered of it, and what a dead operator loses."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from perennial.api.resources import DRIFTMONITORS
from perennial.kube.plan import Mode, Plan
from perennial.kube.podclient import PodUnreachable
from perennial.kube.resources import CONFIGMAPS, JOBS, PODS
from perennial.monitoring import joins, look
from perennial.monitoring.checkpoint import Joins, decode
from perennial.monitoring.join_job import told_to
from perennial.monitoring.names import Identity
from perennial.settings import Settings
from perennial.wire.join import Join, Joined
from perennial.wire.result import Failure

from .namespace import START, Cluster

TABLE = {"uri": "s3://truth/*.csv", "key": "flight", "column": "late", "every": "10m"}


class Table:
    """A cluster whose monitor has a table of labels, and what becomes of its Jobs."""

    def __init__(self, **labels: Any) -> None:
        self.cluster = Cluster(Settings(runtime_image="runtime:1"), labels={**TABLE, **labels})
        self.cluster.add_pod("a")
        self.pods = 0

    def reconcile(self, seconds: float = 0.0, writes: int = 9) -> Plan:
        self.cluster.now += seconds
        return self.cluster.reconcile(writes=writes)

    def job(self, number: int) -> dict[str, Any]:
        return self.cluster.objects[JOBS, Identity("team-a", "flights", "uid-flights").join_job(number)]

    def jobs(self) -> list[int]:
        return sorted(int(name.rpartition("-")[2]) for kind, name in self.cluster.objects if kind is JOBS)

    def told(self, number: int) -> Join:
        told = told_to(self.job(number))
        assert told is not None
        return told

    def end(self, number: int, result: Joined | None = None, *, failed: bool = False, message: str = "") -> None:
        """The Job's pod tells this last."""
        job = self.job(number)
        name = job["metadata"]["name"]
        self.pods += 1
        owner = [{"uid": job["metadata"]["uid"], "controller": True}]
        words = msgspec.json.encode(result).decode() if result else message
        state = {"terminated": {"exitCode": int(failed), "message": words}}
        self.cluster.put(
            PODS,
            f"{name}-{self.pods}",
            metadata={"uid": f"pod-{self.pods}", "ownerReferences": owner, "creationTimestamp": _moment(self.pods)},
            status={
                "phase": "Failed" if failed else "Succeeded",
                "containerStatuses": [{"name": "labels", "state": state}],
            },
        )
        self.finish(number, "Failed" if failed else "Complete")

    def start(self, number: int, **status: Any) -> None:
        """The Job was made a while ago, and has a pod with this status."""
        job = self.job(number)
        name = job["metadata"]["name"]
        self.cluster.put(JOBS, name, metadata={"creationTimestamp": _moment(0)})
        owner = [{"uid": job["metadata"]["uid"], "controller": True}]
        spec = job["spec"]["template"]["spec"]
        self.cluster.put(PODS, f"{name}-x", metadata={"ownerReferences": owner}, spec=spec, status=status)

    def finish(self, number: int, how: str) -> None:
        job = self.job(number)
        status: dict[str, Any] = {
            "conditions": [{"type": how, "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}]
        }
        if how == "Complete":
            status["completionTime"] = "2023-11-14T22:13:20Z"  # START
        self.cluster.put(JOBS, job["metadata"]["name"], status=status)

    @property
    def joins(self) -> dict[str, Any]:
        joins: dict[str, Any] = self.cluster.status["joins"]
        return joins

    @property
    def remembered(self) -> Joins:
        return decode(self.cluster.objects[CONFIGMAPS, "flights-drift"]).joins

    @property
    def condition(self) -> dict[str, str]:
        return next(c for c in self.cluster.status["conditions"] if c["type"] == "LabelsJoined")


def _moment(second: int) -> str:
    return f"2023-11-14T22:13:{20 + second}Z"


@pytest.fixture
def table() -> Table:
    return Table()


def test_a_job_is_made_with_what_it_needs() -> None:
    table = Table(
        secretRef={"name": "lake"},
        time="known",
        pod={"serviceAccountName": "reader", "nodeSelector": {"pool": "small"}},
        resources={"limits": {"memory": "1Gi"}},
    )
    table.reconcile()
    [number] = table.jobs()
    spec = table.job(number)["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert (number, pod["serviceAccountName"], pod["nodeSelector"]) == (1, "reader", {"pool": "small"})
    assert container["image"] == "runtime:1"
    assert container["resources"] == {"limits": {"memory": "1Gi"}}
    assert {"name": "perennial-secret-data", "secret": {"secretName": "lake", "defaultMode": 0o440}} in pod["volumes"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert spec["ttlSecondsAfterFinished"] > 0
    assert table.job(number)["metadata"]["ownerReferences"][0]["kind"] == "DriftMonitor"
    told = table.told(number)
    assert (told.deployment, told.uri, told.key, told.time) == ("flights", TABLE["uri"], "flight", "known")
    assert [server.uid for server in told.servers] == ["a"]
    assert (table.condition["status"], table.condition["reason"]) == ("Unknown", "JoinPending")


@pytest.mark.parametrize("note", ["no file matches s3://truth/*.csv", "no pod remembers a prediction yet"])
def test_a_place_or_key_that_finds_nothing_does_not_pass_for_joined(table: Table, note: str) -> None:
    table.reconcile()
    table.end(1, Joined(1, notes=[note]))
    table.reconcile()
    assert (table.condition["status"], table.condition["reason"]) == ("Unknown", "JoinPending")
    assert table.condition["message"].startswith(f"nothing was joined yet: {note}; labels are joined by flight, which")


def test_keys_that_never_match_are_asked_about(table: Table) -> None:
    table.reconcile()
    table.end(1, Joined(1, b"x" * 8, unmatched=30, since=int(START)))
    table.reconcile()
    assert table.condition["message"].endswith("are they the same texts in requests and in the table?")


def test_a_result_is_taken_in_once_and_the_next_job_comes_when_it_is_due(table: Table) -> None:
    table.reconcile()
    table.end(1, Joined(1, b"x" * 8, counted=5, late=1, duplicates=2, unmatched=3, rejected=4, since=int(START)))
    for _ in range(3):
        table.reconcile()
    assert table.jobs() == [1]
    assert {name: table.joins[name] for name in ("joined", "late", "duplicates", "unmatched", "rejected", "files")} == {
        "joined": 6,
        "late": 1,
        "duplicates": 2,
        "unmatched": 3,
        "rejected": 4,
        "files": 1,
    }
    assert table.joins["next"] == "2023-11-14T22:23:20Z"
    assert table.condition["status"] == "True"
    table.reconcile(601)
    assert table.jobs() == [1, 2]
    assert table.told(2).joined == b"x" * 8


@pytest.mark.parametrize("seed", range(8))
def test_an_operator_that_is_killed_at_any_write_joins_each_file_once(seed: int) -> None:
    """Jobs end, lose their pods or are gone; whatever was lost is done again, and tells the same."""
    rng = np.random.default_rng(seed)
    table = Table()
    files = {number: bytes([number]) * 8 for number in range(1, 30)}
    for _ in range(80):
        table.reconcile(float(rng.integers(0, 200)), writes=int(rng.integers(0, 4)))
        for number in [n for n in table.jobs() if "status" not in table.job(n)]:
            new = next(name for name in files.values() if name not in _split(table.told(number).joined))
            fate = rng.random()
            if fate < 0.5:
                table.end(number, Joined(number, new, counted=1))
            elif fate < 0.6:
                table.end(number, failed=True, message="died")
            elif fate < 0.7:
                del table.cluster.objects[JOBS, table.job(number)["metadata"]["name"]]
                table.cluster.restart()
        if rng.random() < 0.3:
            table.cluster.restart()
    remembered = table.remembered
    joined = _split(remembered.files)
    assert len(joined) > 3
    assert len(joined) == len(set(joined)) == remembered.counted


def _split(files: bytes) -> list[bytes]:
    return [files[at : at + 8] for at in range(0, len(files), 8)]


def test_a_failure_is_told_with_its_words_and_tried_again_ever_later(table: Table) -> None:
    table.reconcile()
    table.end(1, Joined(1, failure=Failure("MissingColumn", "1.csv: no column 'late'")), failed=True)
    plan = table.reconcile()
    assert table.condition["reason"] == "JoinFailed"
    assert table.condition["message"].startswith("MissingColumn: 1.csv: no column 'late'. The join is tried again at ")
    assert [event.reason for event in plan.events] == ["JoinFailed"]
    pauses = []
    for number in range(2, 7):
        due = table.remembered.due
        pauses.append(due - table.cluster.now)
        table.reconcile(due - table.cluster.now + 1)
        table.end(number, failed=True, message="Traceback: boom")
        assert table.reconcile().events == ()
    assert [round(pause) for pause in pauses] == [60, 120, 240, 480, 600]
    assert "the container exited with code 1; its last lines: Traceback: boom" in table.condition["message"]
    assert table.cluster.status["conditions"][0]["type"] == "Ready"


def test_a_mended_spec_is_tried_at_once(table: Table) -> None:
    table.reconcile()
    table.end(1, Joined(1, failure=Failure("MissingColumn", "no")), failed=True)
    table.reconcile()
    table.reconcile()
    assert table.jobs() == [1]
    spec = table.cluster.objects[DRIFTMONITORS, "flights"]["spec"]
    table.cluster.put(DRIFTMONITORS, "flights", spec=spec | {"labels": TABLE | {"column": "delayed"}})
    table.reconcile()
    assert table.jobs() == [1, 2]
    assert table.told(2).column == "delayed"


def test_files_are_joined_again_where_a_pod_was_missed_or_came_meanwhile(table: Table) -> None:
    table.reconcile()
    table.end(1, Joined(1, b"x" * 8, counted=5, missed="pod a does not answer"))
    table.reconcile()
    assert (table.joins["joined"], table.joins["files"]) == (0, 0)
    table.reconcile(61)
    table.cluster.add_pod("b")
    table.end(2, Joined(2, b"x" * 8, counted=5))
    table.reconcile()
    assert table.joins["files"] == 0
    table.reconcile(61)
    assert {server.uid for server in table.told(3).servers} == {"a", "b"}
    # Not for ever: pods may always come and go.
    table.end(3, Joined(3, b"x" * 8, counted=5, missed="pod c does not answer"))
    table.reconcile()
    assert (table.joins["joined"], table.joins["files"]) == (5, 1)


def test_what_a_job_whose_words_are_lost_has_read_is_read_again_ever_later(table: Table) -> None:
    """What takes the words may take those of the next Job too."""
    table.reconcile()
    table.finish(1, "Complete")
    table.reconcile()
    assert table.remembered.number == 0, "its pod may be seen yet"
    pauses = []
    for number in (1, 2, 3):
        table.reconcile(20)
        assert (table.remembered.number, table.joins["files"]) == (number, 0)
        assert "its last words are lost with its pod" in table.condition["message"]
        pauses.append(table.remembered.due - table.cluster.now)
        table.reconcile(pauses[-1] + 1)
        table.finish(number + 1, "Complete")
    assert pauses == [60, 120, 240]
    table.end(4, Joined(4, b"x" * 8, counted=5))
    table.reconcile()
    assert (table.joins["joined"], table.joins["files"]) == (5, 1)


def test_more_files_are_joined_at_once(table: Table) -> None:
    table.reconcile()
    table.end(1, Joined(1, b"x" * 1600, counted=200, more=True))
    table.reconcile()
    table.reconcile()
    assert table.jobs() == [1, 2]


def test_no_job_is_made_where_there_is_none_to_be_made(table: Table) -> None:
    table.cluster.remove_pod("a")
    table.reconcile()
    assert table.jobs() == []
    suspended = Table()
    spec = suspended.cluster.objects[DRIFTMONITORS, "flights"]["spec"]
    suspended.cluster.put(DRIFTMONITORS, "flights", spec=spec | {"suspend": True})
    suspended.reconcile()
    assert suspended.jobs() == []
    second = Table()
    second.cluster.put(
        DRIFTMONITORS, "older", spec={"deployment": "flights"}, metadata={"creationTimestamp": "2023-11-01T12:00:00Z"}
    )
    second.reconcile()
    assert second.jobs() == []
    assert second.condition["reason"] == "SecondMonitor"


def test_a_dry_run_joins_labels_all_the_same() -> None:
    table = Table()
    spec = table.cluster.objects[DRIFTMONITORS, "flights"]["spec"]
    table.cluster.put(DRIFTMONITORS, "flights", spec=spec | {"dryRun": True})
    table.reconcile()
    assert table.jobs() == [1]


def test_pods_are_told_the_key_as_soon_as_they_can_hear_it(table: Table) -> None:
    table.cluster.unreachable = {"a"}
    plan = table.reconcile()
    assert plan.requeue_after is not None
    assert plan.requeue_after <= 0.5
    table.cluster.unreachable = set()
    table.reconcile(0.5)
    candidate = table.cluster.add_pod("c", revision="other")
    table.reconcile(0.1)
    assert (table.cluster.pods["a"].key, candidate.key) == ("flight", "flight")
    for _ in range(5):
        table.reconcile(70)
    table.cluster.restart()
    table.reconcile(70)
    table.reconcile(70)
    assert table.cluster.pods["a"].told.count("flight") <= 2


def test_nobody_hurries_for_a_pod_that_will_never_hear(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of an earlier release says so at once; one that is just silent is given half a minute."""

    def unknown(key: str | None) -> None:
        raise PodUnreachable("answered 404", 404)

    monkeypatch.setattr(table.cluster.pods["a"], "keep", unknown)
    assert (table.reconcile().requeue_after or 0) > 1
    table = Table()
    table.cluster.unreachable = {"a"}
    waits = [table.reconcile(0.5).requeue_after or 0 for _ in range(look.DEAF + 1)]
    assert max(waits[: look.DEAF - 1]) <= 0.5
    assert waits[-1] > 1


def test_a_key_that_is_wanted_no_more_is_taken_back(table: Table) -> None:
    table.reconcile()
    spec = table.cluster.objects[DRIFTMONITORS, "flights"]["spec"]
    table.cluster.put(DRIFTMONITORS, "flights", spec={name: spec[name] for name in spec if name != "labels"})
    table.cluster.restart()
    table.reconcile(70)
    table.reconcile(70)
    assert table.cluster.pods["a"].key is None


def test_a_pod_without_a_key_to_remember_is_told_nothing() -> None:
    cluster = Cluster()
    pod = cluster.add_pod("a")
    cluster.reconcile()
    assert pod.told == []


def test_a_job_without_a_pod_is_asked_about_and_the_servers_words_are_shown(table: Table) -> None:
    table.reconcile()
    table.cluster.put(JOBS, table.job(1)["metadata"]["name"], metadata={"creationTimestamp": _moment(0)})
    plan = table.reconcile(60)
    assert [child.mode for child in plan.children] == [Mode.RECORD, Mode.TRIAL]
    assert "waits: it has no pod yet" in table.condition["message"]


def test_a_job_that_is_suspended_is_not_asked_about(table: Table) -> None:
    table.reconcile()
    suspended = {"conditions": [{"type": "Suspended", "status": "True"}]}
    name = table.job(1)["metadata"]["name"]
    table.cluster.put(JOBS, name, metadata={"creationTimestamp": _moment(0)}, status=suspended)
    plan = table.reconcile(60)
    assert [child.mode for child in plan.children] == [Mode.RECORD]
    assert "waits: it is suspended" in table.condition["message"]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]},
            "waits: 0/3 nodes are available",
        ),
        (
            {"containerStatuses": [{"name": "labels", "state": {"waiting": {"reason": "ErrImagePull"}}}]},
            "waits: ErrImagePull",
        ),
        (
            {"containerStatuses": [{"name": "labels", "state": {"waiting": {"reason": "ContainerCreating"}}}]},
            "waits: its containers are not created yet: it needs Secret lake, its images",
        ),
    ],
)
def test_what_a_pod_waits_for_is_told_in_the_words_of_whom_it_waits_for(status: dict[str, Any], said: str) -> None:
    table = Table(secretRef={"name": "lake"})
    table.reconcile()
    table.start(1, phase="Pending", **status)
    table.reconcile(60)
    assert said in table.condition["message"]


def test_of_several_pods_the_last_one_says_why_a_join_failed(table: Table) -> None:
    table.reconcile()
    for reason in ("StoreUnreachable", "MissingColumn"):
        table.end(1, Joined(1, failure=Failure(reason, "no")), failed=True)
    table.reconcile()
    assert table.condition["message"].startswith("MissingColumn: no. ")


def test_only_so_many_files_are_remembered_as_a_table_may_have(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "MAX_FILES", 2)
    table.reconcile()
    table.end(1, Joined(1, b"".join(file * 8 for file in (b"a", b"b", b"c"))))
    table.reconcile()
    assert table.remembered.files == b"b" * 8 + b"c" * 8
