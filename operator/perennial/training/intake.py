"""What has become of a run that no record tells of yet: it goes on, its result must be looked for, or it has ended.

An end is recorded as it is told by the run itself. Where its last words were lost with a pod, a Job or a dead operator,
a report Job reads the sealed manifest in the store; only when that holds nothing has the run failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from perennial.api.reasons import Reason, TrainingJobReason
from perennial.api.timestamp import to_text
from perennial.api.trainingjob_status import RunState
from perennial.kube.plan import Manifest
from perennial.pods.creation import QUIET
from perennial.pods.jobs import ended_at, failed, finished
from perennial.pods.statuses import holding
from perennial.wire.progress import Progress
from perennial.wire.result import Result

from .cost import cost_of
from .failures import why_failed
from .names import Identity
from .observe import Bucket, RunSeen
from .origin import Origin
from .pending import Wait, why_pending
from .progress import PERIOD, tells
from .record import Failure, Record
from .results import (
    exit_code,
    failed_result,
    failure_in,
    image_that_trained,
    last_words,
    reported,
    state_of,
)

CACHE_GRACE = timedelta(seconds=10)
"""How long a finished Job's pods are waited for: pods and Jobs come by watches of their own, in no common order."""
REFUSAL_AFTER = timedelta(seconds=5)
"""A Job that was taken up and has no pod after this long is asked about: its pods are refused, by Pod Security or a
quota. One that the Job controller has not come to yet says nothing of its pods."""
REPORT_PATIENCE = timedelta(hours=1)
NO_MANIFEST = 66
"""Exit code of a report that found no sealed version."""


@dataclass(frozen=True, slots=True)
class Context:
    """What else an intake depends on.

    `refusal` is the API server's answer to a trial of the run's pod: reason and words. `origin` is the run's, None
    where nothing tells it. `outdated` is whether a person asks for another run by now.
    """

    identity: Identity
    accepted_sha256: str | None
    pending_deadline: timedelta
    origin: Origin | None
    outdated: bool
    refusal: tuple[Reason, str] | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Going:
    """A run that has not ended. `recheck` is in seconds."""

    run: RunSeen
    state: RunState
    message: str | None = None
    reason: Reason = TrainingJobReason.RUN_IN_PROGRESS
    needs_report: bool = False
    needs_trial: bool = False
    recheck: float | None = None
    pending_since: datetime | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A run whose record can be written."""

    run: RunSeen
    record: Record


def take_in(run: RunSeen, context: Context) -> Going | Ended:
    """What has become of the run. Called for any bucket but RECORDED and UNREADABLE."""
    look = {
        Bucket.GOING: _going,
        Bucket.ENDED: _ended,
        Bucket.REPORTING: _reporting,
        Bucket.LOST: _lost,
    }[run.bucket]
    return look(run, context)


def _going(run: RunSeen, context: Context) -> Going | Ended:
    """A run that has to wait gives way to a newer one: who mends what it waits for must not have to sit it out."""
    found = _under_way(run, context)
    if isinstance(found, Ended) or found.state == "Running" or found.message is None or not context.outdated:
        return found
    message = f"another run was asked for while this one waited: {found.message}"
    return _fail(run, context, Failure(TrainingJobReason.SUPERSEDED.value, message))


def _under_way(run: RunSeen, context: Context) -> Going | Ended:
    assert run.job is not None
    if holding(run.job, "Suspended"):
        return Going(run, "Suspended", "the Job is suspended: a queue, or a person, lets it go on")
    if not run.pods:
        return _without_pods(run, run.job, context)
    wait = why_pending(run.pods[-1])
    if wait:
        return _pending(run, wait, context)
    recheck = PERIOD if tells(run.job) else None
    return Going(run, "Running", _attempts(run), progress=run.progress, recheck=recheck)


def _without_pods(run: RunSeen, job: Manifest, context: Context) -> Going | Ended:
    """A Job that gets no pod. What the API server said to a trial is in the status by the time that the run is given
    up, so that its record is made in a plan that no refusal follows.
    """
    lost, since = _without_pods_since(run, job, context)
    is_taken_up = "startTime" in job.get("status", {})
    quiet = since + (REFUSAL_AFTER if is_taken_up else QUIET) - context.now
    if quiet > timedelta(0):
        return Going(run, "Pending", recheck=quiet.total_seconds(), pending_since=lost)
    left = since + context.pending_deadline - context.now
    told = run.told.message if run.told else None
    if left <= timedelta(0) and told and not context.refusal:
        failure = Failure(TrainingJobReason.NOT_STARTED.value, _given_up(told, context))
        return _fail(run, context, failure)
    message = "its Job has no pod yet" if is_taken_up else "the Job controller has not taken up its Job yet"
    if context.refusal:
        reason, words = context.refusal
        message = f"{reason.value}: its pod is refused: {words}"
    # What the server says of the pod can change without an event, and does so less and less.
    pause = max(QUIET, context.now - since) if is_taken_up else left
    recheck = max(min(left, pause), timedelta(seconds=1)).total_seconds()
    return Going(
        run,
        "Pending",
        message,
        TrainingJobReason.RUN_PENDING,
        needs_trial=is_taken_up,
        recheck=recheck,
        pending_since=lost,
    )


def _without_pods_since(run: RunSeen, job: Manifest, context: Context) -> tuple[datetime | None, datetime]:
    """Since when there is no pod: the moment at which one was lost, if one was, and the moment that counts.

    A pod that is deleted, preempted or evicted in the third hour is replaced in a moment: that the Job began hours ago
    says nothing of how long it has been without.
    """
    told = run.told
    if told and told.pending_since:
        return told.pending_since, told.pending_since
    started = datetime.fromisoformat(job.get("status", {}).get("startTime") or job["metadata"]["creationTimestamp"])
    never_had_one = told.state in ("Pending", "Suspended") if told else context.now < started + context.pending_deadline
    return (None, started) if never_had_one else (context.now, context.now)


def _pending(run: RunSeen, wait: Wait, context: Context) -> Going | Ended:
    left = wait.since + context.pending_deadline - context.now
    if wait.hopeless or left <= timedelta(0):
        words = wait.message if wait.hopeless else _given_up(wait.message, context)
        return _fail(run, context, Failure(wait.reason.value, words, wait.pod, wait.node))
    quiet = wait.since + QUIET - context.now
    if wait.starting and quiet > timedelta(0):
        return Going(run, "Pending", recheck=min(left, quiet).total_seconds())
    message = f"{wait.reason.value}: {wait.message}"
    return Going(
        run,
        "Pending",
        message,
        TrainingJobReason.RUN_PENDING,
        recheck=left.total_seconds(),
    )


def _given_up(words: str, context: Context) -> str:
    seconds = int(context.pending_deadline.total_seconds())
    return f"{words}; the run was given up after spec.pendingDeadlineSeconds ({seconds} s)"


def _attempts(run: RunSeen) -> str | None:
    """What earlier pods of a run that is tried again failed of."""
    *earlier, newest = run.pods
    failures = _failures(earlier, run.version)
    if not failures or why_failed(newest):
        return None
    return f"attempt {len(failures) + 1}; the one before failed: {failures[-1].reason}: {failures[-1].message}"


def _failures(pods: Iterable[Manifest], version: int) -> list[Failure]:
    """Why these pods failed, each in its own words where it left some."""
    told = ((pod, last_words(pod, version)) for pod in pods)
    failures = (failure_in(words, pod) if words else why_failed(pod) for pod, words in told)
    return [failure for failure in failures if failure]


def _ended(run: RunSeen, context: Context) -> Going | Ended:
    assert run.job is not None
    if found := reported(run.pods, run.version):
        return _tell(run, context, *found)
    since_end = context.now - datetime.fromisoformat(ended_at(run.job) or run.job["metadata"]["creationTimestamp"])
    if timedelta(0) <= since_end < CACHE_GRACE and not _all_ended(run.pods):
        return Going(run, "Running", recheck=(CACHE_GRACE - since_end).total_seconds())
    if failure := _known_failure(run, run.job):
        return _fail(run, context, failure, last_words(run.pods[-1], run.version) if run.pods else None)
    return _look_for_result(run)


def _known_failure(run: RunSeen, job: Manifest) -> Failure | None:
    """Why the Job failed, where that is known without looking into the store."""
    condition = failed(job)
    if condition is None:
        return None
    if condition.get("reason") == "DeadlineExceeded":
        seconds = job["spec"].get("activeDeadlineSeconds")
        message = f"the run took longer than spec.activeDeadlineSeconds ({seconds} s)"
        return Failure(TrainingJobReason.DEADLINE_EXCEEDED.value, message)
    failures = _failures(run.pods, run.version)
    return failures[-1] if failures else None


def _all_ended(pods: tuple[Manifest, ...]) -> bool:
    return bool(pods) and all(pod.get("status", {}).get("phase") in ("Succeeded", "Failed") for pod in pods)


def _look_for_result(run: RunSeen) -> Going:
    message = "its last words were lost: a report Job reads the result from the store"
    return Going(run, "Running", message, needs_report=True)


def _lost(run: RunSeen, context: Context) -> Going | Ended:
    return _look_for_result(run)


def _reporting(run: RunSeen, context: Context) -> Going | Ended:
    assert run.report is not None
    if found := reported(run.report_pods, run.version):
        return _tell(run, context, *found)
    made = datetime.fromisoformat(run.report["metadata"]["creationTimestamp"])
    if not finished(run.report) and context.now < made + REPORT_PATIENCE:
        left = (made + REPORT_PATIENCE - context.now).total_seconds()
        return Going(run, "Running", _report_message(run), recheck=left)
    return _fail(run, context, _report_failure(run))


def _report_message(run: RunSeen) -> str:
    wait = why_pending(run.report_pods[-1]) if run.report_pods else None
    message = _look_for_result(run).message or ""
    return f"{message} ({wait.reason.value}: {wait.message})" if wait and not wait.starting else message


def _report_failure(run: RunSeen) -> Failure:
    """What is known of a run of which nothing is in the store."""
    if any(exit_code(pod) == NO_MANIFEST for pod in run.report_pods):
        if run.job is None:
            message = (
                "the run's Job was deleted before a version was published; annotate perennial.dev/run to run again"
            )
            return Failure(TrainingJobReason.JOB_DELETED.value, message)
        condition = failed(run.job)
        words = f": {condition.get('message', '')}" if condition else ""
        message = f"the run left neither a report nor a sealed version{words}"
        return Failure(TrainingJobReason.RESULT_LOST.value, message)
    failures = _failures(run.report_pods, run.version)
    words = failures[-1].message if failures else _report_message(run)
    message = f"the run left no report and the store could not be read: {words}"
    return Failure(TrainingJobReason.RESULT_LOST.value, message)


def _tell(run: RunSeen, context: Context, result: Result, pod: Manifest) -> Going | Ended:
    return _record(run, context, result, failure_in(result, pod))


def _fail(run: RunSeen, context: Context, failure: Failure, told: Result | None = None) -> Going | Ended:
    return _record(run, context, failed_result(run.version, failure, told), failure)


def _record(run: RunSeen, context: Context, result: Result, failure: Failure | None) -> Going | Ended:
    origin = context.origin
    if origin is None:
        return Going(run, "Running", "its store is not known until the spec is valid again")
    started = run.job["metadata"]["creationTimestamp"] if run.job else _told_start(run)
    finished_at = (run.job and ended_at(run.job)) or to_text(context.now)
    record = Record(
        result=result,
        state=state_of(result, context.accepted_sha256),
        definition=origin.definition,
        trigger=origin.trigger,
        job=context.identity.run_job(run.version),
        store=origin.store,
        started_at=started,
        finished_at=finished_at,
        failure=failure,
        cost=cost_of(run.pods),
        handled=origin.handled,
        image=image_that_trained(run.job, run.pods) if run.job else None,
    )
    return Ended(run, record)


def _told_start(run: RunSeen) -> str | None:
    return to_text(run.told.started_at) if run.told and run.told.started_at else None
