"""Events find their TrainingJob, and what is observed comes from the caches by uid."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.kube.cache import Caches
from perennial.kube.plan import Key
from perennial.kube.resources import CONTROLLERREVISIONS, JOBS, NODES, PODS
from perennial.training.controller import TrainingController, labelled_trainingjob
from perennial.training.observe import Bucket
from tests.unit.training.world import SETTINGS, World

KEY = Key("team-a", "flights")
NO_PODS: Any = None  # none that answers is among them


def filled(world: World, pods: Any = None) -> tuple[TrainingController, Caches]:
    """A controller whose caches hold what is in this world, and whom its pods answer."""
    caches = Caches()
    controller = TrainingController(caches, SETTINGS, pods)
    places = {"Job": JOBS, "Pod": PODS, "ControllerRevision": CONTROLLERREVISIONS}
    put(caches, TRAININGJOBS, world.trainingjob)
    for (kind, _), manifest in world.objects.items():
        if kind in places:
            put(caches, places[kind], manifest)
    for node in world.nodes:
        put(caches, NODES, node)
    for monitor in world.monitors.values():
        put(caches, DRIFTMONITORS, monitor)
    for deployment in world.deployments:
        put(caches, MODELDEPLOYMENTS, deployment)
    return controller, caches


def put(caches: Caches, resource: Any, manifest: dict[str, Any]) -> None:
    stored = copy.deepcopy(manifest)
    stored["metadata"]["resourceVersion"] = "1"
    caches.of(resource).store(stored)


async def test_it_observes_what_the_world_holds() -> None:
    world = World()
    world.settle()
    world.run_pod(world.job(1))
    world.monitor("drift", fault=True)
    world.deployments = [
        {"metadata": {"name": "m", "namespace": "team-a"}, "spec": {"model": {"trainingJob": "flights", "version": 9}}}
    ]
    controller, _ = filled(world)
    observed = await controller.observe(KEY)
    assert observed is not None
    assert [(run.version, run.bucket, len(run.pods)) for run in observed.runs] == [(1, Bucket.GOING, 1)]
    assert [monitor.name for monitor in observed.monitors] == ["drift"]
    assert observed.in_use == {9}
    assert observed.schedulable_nodes == 1
    plan = controller.plan(observed, (), datetime(2026, 3, 1, tzinfo=UTC))
    assert plan.status is not None
    assert plan.status["runs"][0]["state"] == "Running"


async def test_a_job_of_the_same_name_that_another_uid_owns_is_not_ours() -> None:
    world = World()
    world.settle()
    world.job(1)["metadata"]["ownerReferences"][0]["uid"] = "somebody else"
    controller, _ = filled(world)
    observed = await controller.observe(KEY)
    assert observed is not None
    assert all(run.job is None for run in observed.runs)


async def test_nothing_is_observed_of_what_is_gone() -> None:
    assert await TrainingController(Caches(), SETTINGS, NO_PODS).observe(KEY) is None


def test_pods_and_orphaned_records_find_their_trainingjob_by_label() -> None:
    labelled = {"metadata": {"namespace": "team-a", "labels": {"perennial.dev/trainingjob": "flights"}}}
    assert list(labelled_trainingjob(labelled)) == [KEY]
    assert list(labelled_trainingjob({"metadata": {"namespace": "team-a"}})) == []


def test_a_monitors_event_concerns_the_trainingjob_that_it_judges() -> None:
    controller, _ = filled(World())
    watch = next(watch for watch in controller.watches if watch.resource is DRIFTMONITORS)
    monitor = {"metadata": {"namespace": "team-a", "name": "d"}, "status": {"trainingJob": "flights"}}
    assert list(watch.keys(monitor)) == [KEY]
    assert list(watch.keys({"metadata": {"namespace": "team-a", "name": "d"}})) == []


async def test_a_node_that_is_cordoned_is_no_longer_counted() -> None:
    world = World()
    world.nodes.append({"metadata": {"name": "n2"}, "spec": {}})
    controller, caches = filled(world)
    observed = await controller.observe(KEY)
    assert observed is not None
    assert observed.schedulable_nodes == 2
    cordoned = {"metadata": {"name": "n2", "resourceVersion": "2"}, "spec": {"unschedulable": True}}
    caches.of(NODES).store(cordoned)
    observed = await controller.observe(KEY)
    assert observed is not None
    assert observed.schedulable_nodes == 1
