"""The least that a burst can take on this machine: the same writes once more, by a client that does nothing else.

It watches nothing, decides nothing and posts no events. What an operator takes beyond it is the operator's; what it
takes itself is the API server's and HTTP's, and no operator that makes these writes is faster.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from perennial.kube.client import Client
from perennial.kube.ownership import owner_uids
from perennial.kube.plan import Manifest, Resource

_KEPT = ("name", "labels", "annotations", "ownerReferences")
_ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
"""What the API server chose for a Service and would refuse to give twice."""
_JOB_LABELS = ("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name")


@dataclass(frozen=True)
class Written:
    """An object as it was written, its children, and the status that it came to have."""

    manifest: Manifest
    children: tuple[tuple[Resource, Manifest], ...]


async def written(
    client: Client, namespace: str, names: Iterable[str], resource: Resource, children: Sequence[Resource]
) -> list[Written]:
    """What a burst has left."""
    wanted, owned = set(names), defaultdict(list)
    for child in children:
        async for page in client.pages(child, namespace):
            for manifest in page.items:
                for uid in owner_uids(manifest):
                    owned[uid].append((child, manifest))
    found = []
    async for page in client.pages(resource, namespace):
        found += [
            Written(each, tuple(owned[each["metadata"]["uid"]]))
            for each in page.items
            if each["metadata"]["name"] in wanted
        ]
    return found


async def write_again(
    client: Client, namespace: str, all_of: Iterable[Written], resource: Resource, at_once: int
) -> None:
    """In another namespace: each object, its children, its status."""
    waiting: Iterator[Written] = iter(all_of)

    async def writer() -> None:
        for each in waiting:
            owner = await client.create(resource, _fresh(each.manifest, namespace))
            for child, manifest in each.children:
                again = _fresh(manifest, namespace)
                for reference in again["metadata"].get("ownerReferences", ()):
                    reference["uid"] = owner["metadata"]["uid"]
                await client.create(child, again)
            await client.replace(resource, owner | {"status": each.manifest.get("status")}, "status")

    await asyncio.gather(*(writer() for _ in range(at_once)))


def _fresh(manifest: Manifest, namespace: str) -> Manifest:
    """As it was asked for, but for what the API server fills in by default."""
    metadata = {key: manifest["metadata"][key] for key in _KEPT if key in manifest["metadata"]}
    metadata["ownerReferences"] = [dict(reference) for reference in metadata.get("ownerReferences", ())]
    fresh = {key: value for key, value in manifest.items() if key not in ("metadata", "status")}
    fresh["metadata"] = metadata | {"namespace": namespace}
    if manifest["kind"] == "Service":
        fresh["spec"] = {key: value for key, value in manifest["spec"].items() if key not in _ALLOCATED}
    if manifest["kind"] == "Job":
        fresh["spec"] = {key: value for key, value in manifest["spec"].items() if key != "selector"}
        fresh["spec"]["template"] = _without_job_labels(manifest["spec"]["template"])
    return fresh


def _without_job_labels(template: Manifest) -> Manifest:
    metadata = template["metadata"]
    labels = {key: value for key, value in metadata["labels"].items() if key not in _JOB_LABELS}
    return template | {"metadata": metadata | {"labels": labels}}
