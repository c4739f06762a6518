"""What people do to the three rooms: children edited, deleted or taken, nonsense where sense is expected.

Nothing raises, it comes to rest, what is wrong is said where people look, and when it is undone all is well again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.kube.plan import Manifest, Resource

from .cluster import Cluster
from .installation import Installation
from .oracles import is_at_rest
from .rooms import NAMESPACE, cluster_of, message, rooms, says, status_of
from .test_monitoring import answered, watched

KINDS = (TRAININGJOBS, MODELDEPLOYMENTS, DRIFTMONITORS)
OURS = ("trainingjobs", "modeldeployments", "driftmonitors")


@pytest.fixture(scope="module")
def well() -> Cluster:
    """Version 1 is served by two pods and watched, and has been for some minutes."""

    async def story() -> Installation:
        installation = Installation(Cluster(), rooms)
        await watched(installation)
        await answered(installation, version=1, labels=(90, 10))
        return installation

    installation = asyncio.run(story())
    assert is_all_well(installation)
    return cluster_of(installation)


@pytest.fixture
def installation(well: Cluster) -> Installation:
    return Installation(well.fork(), rooms)


def is_all_well(installation: Installation) -> bool:
    found = [says(installation, kind, "Ready") for kind in KINDS]
    return found == [("True", "Ready"), ("True", "Ready"), ("True", "Watching")]


def one(installation: Installation, plural: str, *, of: str = "") -> Manifest:
    return next(m for m in installation.server.of(plural) if of in m["metadata"]["name"])


def edited(plural: str, changes: Manifest, *, of: str = "") -> Callable[[Installation], None]:
    def edit(installation: Installation) -> None:
        metadata = one(installation, plural, of=of)["metadata"]
        named = {"namespace": metadata["namespace"], "name": metadata["name"], **changes.get("metadata", {})}
        installation.server.put(plural, {**changes, "metadata": named})

    return edit


def deleted(plural: str, *, of: str = "") -> Callable[[Installation], None]:
    def delete(installation: Installation) -> None:
        installation.server.remove(plural, NAMESPACE, one(installation, plural, of=of)["metadata"]["name"])

    return delete


MENDED = {
    "a Deployment scaled": edited("deployments", {"spec": {"replicas": 0}}),
    "a Service pointed elsewhere": edited("services", {"spec": {"selector": {"app": "mine"}}}),
    "a Service deleted": deleted("services"),
    "a NetworkPolicy opened": edited("networkpolicies", {"spec": {"ingress": [{}]}}),
    "a PodDisruptionBudget deleted": deleted("poddisruptionbudgets"),
    "a Deployment deleted": deleted("deployments"),
    "a revision deleted": deleted("controllerrevisions", of="flights-3"),
    "a finished Job deleted": deleted("jobs"),
    "a run's origin spoiled": edited("jobs", {"metadata": {"annotations": {"perennial.dev/origin": "{"}}}),
    "a version's record deleted": deleted("controllerrevisions", of="-v1"),
    "a revision's record spoiled": edited(
        "deployments", {"metadata": {"annotations": {"perennial.dev/model": "]", "perennial.dev/applied": ""}}}
    ),
    "a server pod deleted": deleted("pods", of="-001"),
}


@pytest.mark.parametrize("done", MENDED.values(), ids=MENDED.keys())
async def test_what_is_done_to_a_child_is_mended(
    done: Callable[[Installation], None], installation: Installation
) -> None:
    await installation.settle()
    before = installation.state()
    done(installation)
    await installation.live(minutes=5)
    serving, training = status_of(installation, MODELDEPLOYMENTS), status_of(installation, TRAININGJOBS)
    assert (serving["stable"]["version"], serving["readyReplicas"], training["acceptedVersion"]) == (1, 2, 1)
    assert training["latestVersion"] == 1, "nothing was trained anew"
    lost = {place for place in before if not place.startswith(("jobs", "pods"))} - installation.state().keys()
    assert not lost
    assert is_all_well(installation)
    await is_at_rest(installation)


WRONG = {
    "no such estimator": (TRAININGJOBS, {"sklearn": {"estimator": 7}}, "InvalidSpec", "spec.sklearn.estimator"),
    "both ways to train": (TRAININGJOBS, {"template": {"spec": {"containers": []}}}, "InvalidSpec", "template"),
    "a spec of text": (TRAININGJOBS, {"data": "rows.csv"}, "InvalidSpec", "spec.data"),
    "fewer pods than none": (MODELDEPLOYMENTS, {"replicas": -1}, "InvalidSpec", "spec.replicas"),
    "a version of nothing": (MODELDEPLOYMENTS, {"model": {"version": "newest"}}, "InvalidSpec", "spec.model"),
    "a window of no length": (DRIFTMONITORS, {"window": {"period": "soon"}}, "InvalidSpec", "spec.window.period"),
}


@pytest.mark.parametrize(("kind", "spec", "reason", "words"), WRONG.values(), ids=WRONG.keys())
async def test_a_spec_that_cannot_be_is_said_and_undone(
    kind: Resource, spec: Manifest, reason: str, words: str, installation: Installation
) -> None:
    good = installation.server.objects[kind.plural, NAMESPACE, "flights"]["spec"]
    name = {"namespace": NAMESPACE, "name": "flights"}
    installation.server.put(kind.plural, {"metadata": name, "spec": spec})
    await installation.live(minutes=1)
    assert says(installation, kind, "Stalled") == ("True", reason)
    assert words in message(installation, kind, "Stalled")
    assert len(cluster_of(installation).serving(1)) == 2, "what runs runs on"
    await is_at_rest(installation)
    place = (kind.plural, NAMESPACE, "flights")
    installation.server._save(place, {**installation.server.objects[place], "spec": good})
    await installation.live(minutes=1)
    assert says(installation, kind, "Stalled") is None
    assert says(installation, kind, "Ready") is not None
    assert status_of(installation, TRAININGJOBS)["latestVersion"] == 1


async def test_what_somebody_else_made_is_left_alone_and_said(installation: Installation) -> None:
    for plural, resource in (("services", MODELDEPLOYMENTS), ("configmaps", DRIFTMONITORS)):
        theirs = one(installation, plural)
        installation = Installation(Cluster(), rooms)
        metadata = {"namespace": NAMESPACE, "name": theirs["metadata"]["name"]}
        mine = installation.server.put(plural, {"apiVersion": "v1", "kind": theirs["kind"], "metadata": metadata})
        await watched(installation)
        assert installation.server.objects[plural, NAMESPACE, metadata["name"]] == mine
        assert says(installation, resource, "Stalled") == ("True", "NameTaken")
        assert metadata["name"] in message(installation, resource, "Stalled")
        installation.server.remove(plural, NAMESPACE, metadata["name"])
        await installation.live(minutes=2)
        assert says(installation, resource, "Stalled") is None


async def test_the_children_of_one_who_is_made_again_are_not_taken_for_its_own(installation: Installation) -> None:
    for plural in OURS:
        installation.server.remove(plural, NAMESPACE, "flights")
    await installation.settle()
    left = {m["kind"] for m in installation.server.objects.values()} - {"Node", "PersistentVolumeClaim", "Pod"}
    assert not left, "everything goes with its owner"
    await watched(installation)
    assert status_of(installation, TRAININGJOBS)["acceptedVersion"] == 1
    assert status_of(installation, MODELDEPLOYMENTS)["readyReplicas"] == 2
    assert len({j["metadata"]["name"] for j in installation.server.of("jobs")}) == 1


JUNK: tuple[Any, ...] = (None, True, -1, 1e300, "", "nonsense", [], [None], {}, {"": {}}, "2026-01-01T00:00:00Z")

NO_CHECKPOINTS: tuple[Manifest, ...] = ({}, {"checkpoint": ""}, {"checkpoint": "bm9uc2Vuc2U="}, {"other": "e30="})


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
async def test_nonsense_anywhere_raises_nothing_and_comes_to_rest(seed: int, well: Cluster) -> None:
    """In statuses, annotations, specs of ours and what the rooms keep for themselves: of an older schema, a bad
    restore, or a bored person."""
    chance = random.Random(seed)
    installation = Installation(well.fork(), rooms)
    for _ in range(chance.randrange(1, 4)):
        place = chance.choice(sorted(installation.server.objects))
        if place[0] not in (*OURS, "configmaps", "controllerrevisions", "jobs", "deployments"):
            continue
        manifest = installation.server.objects[place]
        part = chance.choice(("status", "spec", "annotations"))
        if place[0] == "configmaps":
            manifest = {**manifest, "binaryData": chance.choice(NO_CHECKPOINTS)}
        elif part == "annotations" or place[0] not in OURS:
            known = manifest["metadata"].get("annotations") or {"perennial.dev/run": ""}
            spoiled = {chance.choice(sorted(known)): str(chance.choice(JUNK))}
            manifest = {**manifest, "metadata": {**manifest["metadata"], "annotations": known | spoiled}}
        else:
            manifest = {**manifest, part: _spoiled(manifest.get(part) or {}, chance)}
        installation.server._save(place, manifest)
    await installation.live(minutes=2)
    await is_at_rest(installation)


def _spoiled(tree: Any, chance: random.Random) -> Any:
    """The tree with one of its leaves or branches replaced."""
    if isinstance(tree, dict) and tree and chance.random() < 0.8:
        key = chance.choice(sorted(tree))
        return {**tree, key: _spoiled(tree[key], chance)}
    if isinstance(tree, list) and tree and chance.random() < 0.8:
        number = chance.randrange(len(tree))
        return [*tree[:number], _spoiled(tree[number], chance), *tree[number + 1 :]]
    return chance.choice(JUNK)
