"""The TrainingJob's part of the engine: which events concern which TrainingJob, and what is gathered for its plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from perennial.api.labels import TRAININGJOB
from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.api.validation import text_at
from perennial.kube.cache import Caches
from perennial.kube.controller import Duty, Watch
from perennial.kube.plan import Key, Manifest, Plan, Problem
from perennial.kube.resources import CONTROLLERREVISIONS, JOBS, NODES, PERSISTENTVOLUMECLAIMS, PODS
from perennial.settings import Settings

from .asking import Asking, Pods
from .observe import Observed, is_for_everyone, observe
from .plan import plan
from .progress import tells

_ORPHANS = "orphans of a TrainingJob"
_YES = "yes"
_JUDGES = "monitors of a TrainingJob"
_SCHEDULABLE = "nodes for every pod"
_FOLLOWERS = "deployments of a TrainingJob"


class TrainingController:
    """Observes from caches, and from pods that search how far they are; plans without side effects."""

    primary = TRAININGJOBS
    duties: Sequence[Duty] = ()

    def __init__(
        self, caches: Caches, settings: Settings, pods: Pods, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._asking = Asking(pods, clock)
        self._primary = caches.of(TRAININGJOBS)
        self._jobs = caches.of(JOBS)
        self._pods = caches.of(PODS)
        self._revisions = caches.of(CONTROLLERREVISIONS)
        self._monitors = caches.of(DRIFTMONITORS)
        self._deployments = caches.of(MODELDEPLOYMENTS)
        self._nodes = caches.of(NODES)
        caches.of(PERSISTENTVOLUMECLAIMS)  # so that the default claim is known to be there and not asked for each time
        self._nodes.add_index(_SCHEDULABLE, schedulable)
        self._revisions.add_index(_ORPHANS, orphaned_from)
        self._monitors.add_index(_JUDGES, judged_trainingjob)
        self._deployments.add_index(_FOLLOWERS, followed_trainingjobs)
        self.watches: Sequence[Watch] = (
            Watch(JOBS, labelled_trainingjob),
            Watch(PODS, labelled_trainingjob),
            Watch(CONTROLLERREVISIONS, labelled_trainingjob),
            Watch(DRIFTMONITORS, lambda monitor: _keys(judged_trainingjob(monitor))),
        )

    async def observe(self, key: Key) -> Observed | None:
        manifest = self._primary.get(key.namespace, key.name)
        if manifest is None:
            return None
        jobs = self._jobs.owned_by(manifest["metadata"]["uid"])
        pods = [pod for job in jobs for pod in self._pods.owned_by(job["metadata"]["uid"])]
        return observe(
            manifest,
            settings=self._settings,
            jobs=jobs,
            pods=pods,
            progress=await self._asking.ask(self._telling(jobs)),
            revisions=self._revisions.owned_by(manifest["metadata"]["uid"]),
            orphans=self._revisions.by(_ORPHANS, str(key)),
            monitors=self._monitors.by(_JUDGES, str(key)),
            deployments=self._deployments.by(_FOLLOWERS, str(key)),
            schedulable_nodes=self._nodes.count(_SCHEDULABLE, _YES),
        )

    def _telling(self, jobs: Iterable[Manifest]) -> list[Manifest]:
        return [pod for job in jobs if tells(job) for pod in self._pods.owned_by(job["metadata"]["uid"])]

    def plan(self, observed: Observed, problems: tuple[Problem, ...], now: datetime) -> Plan:
        return plan(observed, problems, now)


def schedulable(node: Manifest) -> Iterator[str]:
    if is_for_everyone(node):
        yield _YES


def labelled_trainingjob(child: Manifest) -> Iterator[Key]:
    """The TrainingJob by a child's label: it is on the pods too, which a Job owns, and on what has lost its owner."""
    metadata = child["metadata"]
    if name := metadata.get("labels", {}).get(TRAININGJOB):
        yield Key(metadata["namespace"], name)


def orphaned_from(revision: Manifest) -> Iterator[str]:
    """The TrainingJob whose version this records, where nobody owns it any more."""
    if not revision["metadata"].get("ownerReferences"):
        yield from (str(key) for key in labelled_trainingjob(revision))


def judged_trainingjob(monitor: Manifest) -> Iterator[str]:
    if name := text_at(monitor, "status", "trainingJob"):
        yield f"{monitor['metadata']['namespace']}/{name}"


def followed_trainingjobs(deployment: Manifest) -> Iterator[str]:
    """Whose version a ModelDeployment asks for, and whose it serves: two, while one replaces the other."""
    asked = text_at(deployment, "spec", "model", "trainingJob")
    served = text_at(deployment, "status", "trainingJob")
    yield from (f"{deployment['metadata']['namespace']}/{name}" for name in {asked, served} if name)


def _keys(places: Iterator[str]) -> Iterator[Key]:
    for place in places:
        namespace, name = place.split("/", 1)
        yield Key(namespace, name)
