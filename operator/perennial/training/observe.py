"""Everything that a TrainingJob's plan is decided on, as one immutable record, with its runs sorted into buckets.

A run is in exactly one bucket, whatever was lost of it: its Job and pods, its report Job, its record and what the
status last said are put together by the version's number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from perennial.api.labels import TRAININGJOB
from perennial.api.modeldeployment_status import ModelDeploymentStatus
from perennial.api.requests import MonitorSeen, seen
from perennial.api.trainingjob import TrainingJobSpec
from perennial.api.trainingjob_status import Run, TrainingJobStatus
from perennial.api.validation import InvalidSpecError, parse_spec, parse_status, text_at, value_at
from perennial.kube.plan import Manifest
from perennial.pods.jobs import finished
from perennial.settings import Settings
from perennial.wire.progress import Progress

from . import origin, record
from .names import Identity
from .origin import Origin
from .record import Record

_UNFINISHED = ("Pending", "Running", "Suspended")


class Bucket(Enum):
    """Where a run stands. A record ends it; a report Job looks for the result of one that left none."""

    GOING = "its Job has not finished"
    ENDED = "its Job has finished and no record tells of it"
    REPORTING = "a report Job looks for its result"
    LOST = "the status knows it, and neither Job nor record is left"
    RECORDED = "its record tells all"
    UNREADABLE = "its record is of another release and is left as it is"


@dataclass(frozen=True, slots=True)
class RunSeen:
    """All that is left of one run. Pods are oldest first. A record without a revision is an orphan's, to be adopted."""

    version: int
    job: Manifest | None = None
    pods: tuple[Manifest, ...] = ()
    progress: Progress | None = None
    report: Manifest | None = None
    report_pods: tuple[Manifest, ...] = ()
    record: Record | None = None
    revision: Manifest | None = None
    told: Run | None = None
    origin: Origin | None = None
    """What the run's Job says of its beginning, or its report Job, which was told it."""

    @property
    def bucket(self) -> Bucket:
        if self.record:
            return Bucket.RECORDED
        if self.revision:
            return Bucket.UNREADABLE
        if self.report:
            return Bucket.REPORTING
        if self.job:
            return Bucket.ENDED if finished(self.job) else Bucket.GOING
        return Bucket.LOST


@dataclass(frozen=True, slots=True)
class Observed:
    """The TrainingJob and what concerns it. `spec` is None where `invalid` says what is wrong with it.

    `in_use` are the versions that ModelDeployments serve or may go back to, `quarantined` the digests of models that
    one of them has rolled back.
    """

    identity: Identity
    manifest: Manifest
    spec: TrainingJobSpec | None
    invalid: str | None
    status: TrainingJobStatus
    runs: tuple[RunSeen, ...]
    orphans: tuple[Manifest, ...]
    monitors: tuple[MonitorSeen, ...]
    in_use: frozenset[int]
    quarantined: frozenset[str]
    schedulable_nodes: int
    settings: Settings

    @property
    def generation(self) -> int:
        return int(self.manifest["metadata"].get("generation", 0))


def observe(
    manifest: Manifest,
    *,
    settings: Settings,
    jobs: Iterable[Manifest] = (),
    pods: Iterable[Manifest] = (),
    progress: Mapping[str, Progress] | None = None,
    revisions: Iterable[Manifest] = (),
    orphans: Iterable[Manifest] = (),
    monitors: Iterable[Manifest] = (),
    deployments: Iterable[Manifest] = (),
    schedulable_nodes: int = 0,
) -> Observed:
    """The record of a TrainingJob. Jobs and revisions are those that carry its uid as owner, pods those of such Jobs;
    `progress` is what pods said of themselves, by their uid.

    `orphans` are revisions that carry its label and no owner at all: what a backup leaves of them.
    """
    metadata = manifest["metadata"]
    following = tuple(deployments)
    identity = Identity(metadata["namespace"], metadata["name"], metadata["uid"])
    status = parse_status(TrainingJobStatus, manifest)
    spec, invalid = _spec(manifest)
    left = tuple(orphan for orphan in orphans if orphan["metadata"]["labels"].get(TRAININGJOB) == identity.name)
    return Observed(
        identity=identity,
        manifest=manifest,
        spec=spec,
        invalid=invalid,
        status=status,
        runs=_runs(identity, status, tuple(jobs), tuple(pods), progress or {}, tuple(revisions), left),
        orphans=left,
        monitors=_monitors(identity, monitors),
        in_use=frozenset(number for deployment in following for number in versions_in_use(identity.name, deployment)),
        quarantined=frozenset(digest for deployment in following for digest in quarantined_models(deployment)),
        schedulable_nodes=schedulable_nodes,
        settings=settings,
    )


def is_for_everyone(node: Manifest) -> bool:
    """Whether any pod may run here: not on a cordoned node, nor on a tainted one such as a control plane.

    Taints of Kubernetes' own conditions (not ready, out of disk) come and go; the node is there all the same.
    """
    spec = node.get("spec", {})
    taints = (taint for taint in spec.get("taints", []) if not taint["key"].startswith("node.kubernetes.io/"))
    return not spec.get("unschedulable") and all(taint["effect"] == "PreferNoSchedule" for taint in taints)


def versions_in_use(trainingjob: str, deployment: Manifest) -> frozenset[int]:
    """The versions that a ModelDeployment pins, serves, rolls out or may go back to."""
    followed = text_at(deployment, "spec", "model", "trainingJob")
    pinned = value_at(deployment, "spec", "model", "version")
    status = parse_status(ModelDeploymentStatus, deployment)
    if trainingjob not in (followed, status.training_job):
        return frozenset()
    places = (status.stable, status.candidate, status.previous, *status.history)
    served = [place.version for place in places if place]
    return frozenset(number for number in (pinned, *served) if isinstance(number, int))


def quarantined_models(deployment: Manifest) -> frozenset[str]:
    """The digests of models that the ModelDeployment never rolls out again."""
    entries = value_at(deployment, "status", "quarantined")
    found = (entry.get("sha256") for entry in entries if isinstance(entry, dict)) if isinstance(entries, list) else ()
    return frozenset(digest for digest in found if isinstance(digest, str))


def _spec(manifest: Manifest) -> tuple[TrainingJobSpec | None, str | None]:
    try:
        return parse_spec(TrainingJobSpec, manifest), None
    except InvalidSpecError as error:
        return None, str(error)


def _monitors(identity: Identity, manifests: Iterable[Manifest]) -> tuple[MonitorSeen, ...]:
    """Those that judge a model of this TrainingJob."""
    return tuple(monitor for monitor in seen(manifests) if monitor.status.training_job == identity.name)


def _runs(
    identity: Identity,
    status: TrainingJobStatus,
    jobs: tuple[Manifest, ...],
    pods: tuple[Manifest, ...],
    progress: Mapping[str, Progress],
    revisions: tuple[Manifest, ...],
    orphans: tuple[Manifest, ...],
) -> tuple[RunSeen, ...]:
    run_jobs = _by_number(jobs, identity.version_of)
    report_jobs = _by_number(jobs, identity.reported_version_of)
    kept = _by_number(revisions, identity.version_of)
    adopted = _orphaned_records(orphans)
    told = {run.version: run for run in status.runs}
    # An ended run whose record is gone was pruned. One that had not ended, or that is the accepted one, was lost.
    missed = {n for n, run in told.items() if run.state in _UNFINISHED or n == status.accepted_version}
    return tuple(
        RunSeen(
            version=number,
            job=run_jobs.get(number),
            pods=(of_run := _pods_of(run_jobs.get(number), pods)),
            progress=progress.get(of_run[-1]["metadata"]["uid"]) if of_run else None,
            report=report_jobs.get(number),
            report_pods=_pods_of(report_jobs.get(number), pods),
            record=record.from_manifest(kept[number]) if number in kept else adopted.get(number),
            revision=kept.get(number),
            told=told.get(number),
            origin=_origin(run_jobs.get(number), report_jobs.get(number)),
        )
        for number in sorted({*run_jobs, *report_jobs, *kept, *adopted, *missed})
    )


def _origin(*jobs: Manifest | None) -> Origin | None:
    found = (origin.from_job(job) for job in jobs if job)
    return next((told for told in found if told), None)


def _orphaned_records(orphans: Iterable[Manifest]) -> dict[int, Record]:
    """By version, the youngest where two predecessors left one each."""
    by_age = sorted(orphans, key=lambda orphan: str(orphan["metadata"]["creationTimestamp"]))
    return {found.version: found for orphan in by_age if (found := record.from_manifest(orphan))}


def _by_number(manifests: Iterable[Manifest], number_of: Callable[[str], int | None]) -> dict[int, Manifest]:
    found = ((number_of(manifest["metadata"]["name"]), manifest) for manifest in manifests)
    return {number: manifest for number, manifest in found if number is not None}


def _pods_of(job: Manifest | None, pods: Iterable[Manifest]) -> tuple[Manifest, ...]:
    if job is None:
        return ()
    uid = job["metadata"]["uid"]
    owned = [pod for pod in pods if any(ref["uid"] == uid for ref in pod["metadata"].get("ownerReferences", []))]
    return tuple(sorted(owned, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])))
