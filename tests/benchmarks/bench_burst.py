"""A thousand of everything at once: how soon the children are there, what a restart costs, how much memory it takes.

python -m tests.benchmarks.bench_burst [--shape bare|full] [--count 1000] [--unchanged 5000]

It makes clusters of its own: one that is a control plane alone (etcd and the API server), as the peers' figures were
measured, and one with everything, whose Job controller, Deployment controller and scheduler want the same processors.
With KUBECONFIG set it takes that cluster as it is. The operator runs as a process, limited to a namespace. Pods ask for
a node that there is not: they stay pending. On a busy machine the processor seconds, which are printed too, say more
than the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from cluster import embedded, supervisor
from cluster.harness import serving
from cluster.paths import REPOSITORY
from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.kube.cache import Cache, Change
from perennial.kube.client import MERGE_PATCH, Client
from perennial.kube.connection import Connection
from perennial.kube.errors import AlreadyExists
from perennial.kube.informer import Informer
from perennial.kube.plan import Manifest, Resource
from perennial.kube.resources import (
    CONTROLLERREVISIONS,
    DEPLOYMENTS,
    JOBS,
    NETWORKPOLICIES,
    PODDISRUPTIONBUDGETS,
    SERVICES,
)
from perennial.pods.creation import QUIET

from .apiserver import Work, work
from .floor import write_again, written
from .operator_process import OperatorProcess

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SERVICEACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
BEYOND_THE_API = ("kube-scheduler", "kube-controller-manager")
CREATORS = 64
NOWHERE = {"nodeSelector": {"perennial.dev/bench": "no-such-node"}}
LEASE_WRITES = 3
"""A lease is acquired once, and renewed while it is looked at."""
SUSPENDED = {"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "by the benchmark"}


class Seen:
    """When each object's first version was seen that passes `test`, by the name of the object that it comes of."""

    def __init__(self, test: Callable[[Manifest], bool]) -> None:
        self._test = test
        self.at: dict[str, float] = {}

    def __call__(self, change: Change) -> None:
        if change.new is not None and self._test(change.new):
            self.at.setdefault(_owner(change.new["metadata"]["name"]), time.perf_counter())

    async def all(self, names: Iterable[str], seconds: float = 300) -> None:
        deadline, missing = time.perf_counter() + seconds, set(names)
        while missing := missing - self.at.keys():
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{len(missing)} are missing after {seconds} s, {min(missing)} among them")
            await asyncio.sleep(0.005)


@dataclass
class Bench:
    """A namespace of one cluster, and the operator that works there."""

    connection: Connection
    client: Client
    namespace: str
    operator: OperatorProcess
    is_bare: bool

    @asynccontextmanager
    async def watching(
        self, resource: Resource, test: Callable[[Manifest], bool] = lambda _: True
    ) -> AsyncIterator[Seen]:
        cache, seen = Cache(resource), Seen(test)
        cache.listen(seen)
        informer = Informer(self.client, cache, namespace=self.namespace)
        watch = asyncio.create_task(informer.run())
        await informer.synced.wait()
        try:
            yield seen
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    async def create(self, manifests: Iterable[Manifest], resource: Resource) -> dict[str, float]:
        """All of them as fast as the API server takes them; when each was sent."""
        waiting, sent = iter(manifests), {}

        async def creator() -> None:
            for manifest in waiting:
                sent[manifest["metadata"]["name"]] = time.perf_counter()
                await self.client.create(resource, manifest)

        await asyncio.gather(*(creator() for _ in range(CREATORS)))
        return sent


@dataclass(frozen=True)
class Moment:
    """What everybody has used until now."""

    server: Work
    operator: float
    own: float

    @classmethod
    async def of(cls, bench: Bench) -> Moment:
        return cls(await work(bench.connection), bench.operator.cpu(), time.process_time())

    def show_since(self, earlier: Moment, count: int) -> None:
        """The costs of `count` objects."""
        server = self.server - earlier.server
        operator, own = self.operator - earlier.operator, self.own - earlier.own
        show("  CPU seconds", f"operator {operator:.1f}, API server {server.cpu:.1f}, this benchmark {own:.1f}")
        print(f"  writes an object: {server.each(count)}", flush=True)


def trainingjob(namespace: str, name: str) -> Manifest:
    return _manifest(
        TRAININGJOBS,
        namespace,
        name,
        {
            "sklearn": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier"},
            "data": {"uri": "s3://lake/flights/*.parquet", "target": "late", "time": "scheduled"},
            "acceptance": {"metrics": [{"name": "roc_auc", "min": 0.7}]},
            "pod": NOWHERE,
        },
    )


def modeldeployment(namespace: str, name: str) -> Manifest:
    model = {"uri": f"s3://bench/{namespace}/{name}/v1", "sha256": "ab" * 32}
    return _manifest(MODELDEPLOYMENTS, namespace, name, {"model": model, "pod": NOWHERE})


def driftmonitor(namespace: str, name: str) -> Manifest:
    return _manifest(DRIFTMONITORS, namespace, name, {"deployment": name})


def _manifest(resource: Resource, namespace: str, name: str, spec: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    }


def _is_told(manifest: Manifest) -> bool:
    return bool((manifest.get("status") or {}).get("observedGeneration") == manifest["metadata"]["generation"])


def _is_suspended(job: Manifest) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Suspended" and condition["status"] == "True" for condition in conditions)


def _shows_suspended(manifest: Manifest) -> bool:
    return any(run["state"] == "Suspended" for run in (manifest.get("status") or {}).get("runs", ()))


def _owner(name: str) -> str:
    return re.sub(r"-[0-9a-f]{6}-v\d+$|-[0-9a-f]{10}$", "", name)


def _percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(what: str, measured: str, target: str = "") -> None:
    print(f"{what:<56} {measured:<58} {target}", flush=True)


async def alone(bench: Bench, times: int = 20) -> None:
    waits = []
    async with bench.watching(JOBS) as jobs:
        for number in range(times):
            name = f"alone{number}"
            sent = await bench.create([trainingjob(bench.namespace, name)], TRAININGJOBS)
            await jobs.all([name], 30)
            waits.append(jobs.at[name] - sent[name])
    show(
        "one TrainingJob alone -> its Job",
        f"p50 {statistics.median(waits) * 1000:.0f} ms, max {max(waits) * 1000:.0f} ms",
        "p50 20 ms (Trainer + JobSet: 110 ms)",
    )


async def burst(
    bench: Bench,
    names: list[str],
    resource: Resource,
    manifest: Callable[[str, str], Manifest],
    children: tuple[Resource, ...] = (),
    target: str = "",
) -> None:
    """All at once, until every child of each exists and every status is written."""
    async with AsyncExitStack() as watches:
        noted = [await watches.enter_async_context(bench.watching(child)) for child in children]
        told = await watches.enter_async_context(bench.watching(resource, _is_told))
        before, began = await Moment.of(bench), time.perf_counter()
        sent = await bench.create([manifest(bench.namespace, name) for name in names], resource)
        created = time.perf_counter() - began
        for seen in (*noted, told):
            await seen.all(names)
        after = await Moment.of(bench)
    statuses = max(told.at[name] for name in names) - began
    delays = [seen.at[name] - sent[name] for seen in noted for name in names]
    exist = max((seen.at[name] for seen in noted for name in names), default=began) - began
    spread = (
        f"{exist:.1f} s, p50 {_percentile(delays, 0.5):.2f}, p99 {_percentile(delays, 0.99):.2f}; " if noted else ""
    )
    kinds = ", ".join(f"{child.kind}s" for child in children) or "status"
    show(
        f"{len(names)} {resource.kind}s -> {kinds}",
        f"{spread}every status {statuses:.1f} s (created in {created:.1f})",
        target,
    )
    after.show_since(before, len(names))


async def floor(bench: Bench, names: list[str], resource: Resource, children: tuple[Resource, ...] = ()) -> None:
    """The writes of a burst that is over, by a bare client, while the operator rests."""
    await bench.operator.rests()
    left = await written(bench.client, bench.namespace, names, resource, children)
    namespace = await make_namespace(bench.client)
    before, began = await Moment.of(bench), time.perf_counter()
    await write_again(bench.client, namespace, left, resource, CREATORS)
    took, after = time.perf_counter() - began, await Moment.of(bench)
    show("  the same writes by a client that does nothing else", f"{took:.1f} s")
    after.show_since(before, len(left))


async def reaction(bench: Bench, names: list[str], when: str) -> None:
    """A Job is suspended: from when its watchers hear of that until those of its TrainingJob read it there."""
    jobs = {_owner(job["metadata"]["name"]): job async for job in _listed(bench, JOBS)}
    async with bench.watching(JOBS, _is_suspended) as caused, bench.watching(TRAININGJOBS, _shows_suspended) as seen:
        for name in names:
            await _suspend(bench, jobs[name])
            await seen.all([name], 30)
    waits = [max(0.0, seen.at[name] - caused.at[name]) for name in names]
    show(
        f"a Job's event -> its TrainingJob's status, {when}",
        f"p50 {_percentile(waits, 0.5) * 1000:.0f} ms, p99 {_percentile(waits, 0.99) * 1000:.0f} ms",
        "p99 100 ms",
    )


async def _suspend(bench: Bench, job: Manifest) -> None:
    """By the Job controller; where there is none, in its stead."""
    name = job["metadata"]["name"]
    if bench.is_bare:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {"conditions": [SUSPENDED | {"lastTransitionTime": now}]}
        await bench.client.patch(JOBS, bench.namespace, name, {"status": status}, MERGE_PATCH, "status")
    else:
        await bench.client.patch(JOBS, bench.namespace, name, {"spec": {"suspend": True}}, MERGE_PATCH)


async def _listed(bench: Bench, resource: Resource) -> AsyncIterator[Manifest]:
    async for page in bench.client.pages(resource, bench.namespace):
        for item in page.items:
            yield item


async def restart(bench: Bench, kubeconfig: Path) -> None:
    operator = OperatorProcess(bench.namespace, kubeconfig)
    try:
        await operator.leads()
        await operator.rests()
        cpu, count = operator.cpu(), 0
        for resource in (TRAININGJOBS, MODELDEPLOYMENTS, DRIFTMONITORS):
            count += len((await bench.client.versions(resource, bench.namespace))[0])
        written = max(0, await operator.writes() - LEASE_WRITES)
        show(f"a restart over {count} unchanged objects", f"{written} writes, {cpu:.1f} CPU s", "0 writes, 3 CPU s")
        show("  memory then", f"{operator.memory()} MiB")
    finally:
        await operator.stop()


async def run(count: int, unchanged: int, kubeconfig: Path, *, is_bare: bool) -> None:
    """All measurements on one cluster."""
    connection = await Connection.open(str(kubeconfig))
    client = Client(connection)
    try:
        await install_crds(client)
        namespace = await make_namespace(client)
        bench = Bench(connection, client, namespace, OperatorProcess(namespace, kubeconfig), is_bare)
        try:
            await bench.operator.leads()
            await measure(bench, count, unchanged)
        finally:
            await bench.operator.stop()
        await restart(bench, kubeconfig)
    finally:
        await client.close()


async def measure(bench: Bench, count: int, unchanged: int) -> None:
    """With one operator, up to when it is at rest."""
    warm, jobs, deployments, more = (
        [f"{prefix}{number}" for number in range(number_of)]
        for prefix, number_of in (("warm", 300), ("tj", count), ("md", count), ("more", unchanged - 3 * count - 320))
    )
    show("operator memory, empty", f"{bench.operator.memory()} MiB", "110 MiB")
    await alone(bench)
    await burst(bench, warm, TRAININGJOBS, trainingjob, (JOBS,), "(Trainer + JobSet: 4.6 s)")
    began = time.monotonic()
    await burst(bench, jobs, TRAININGJOBS, trainingjob, (JOBS,), "4 s (Trainer + JobSet: 22.4 s)")
    if bench.is_bare:
        # That no Job controller has come is told once, after this time, in the status of each.
        await asyncio.sleep(max(0.0, began + QUIET.total_seconds() - time.monotonic()))
        await reaction(bench, jobs[:200], "busy")
    await floor(bench, jobs, TRAININGJOBS, (JOBS,))
    await reaction(bench, jobs[200:400], "at rest")
    children = (DEPLOYMENTS, SERVICES, PODDISRUPTIONBUDGETS)
    await burst(bench, deployments, MODELDEPLOYMENTS, modeldeployment, children, "8 s (KServe: 29.1 s)")
    await floor(bench, deployments, MODELDEPLOYMENTS, (CONTROLLERREVISIONS, NETWORKPOLICIES, *children))
    await burst(bench, deployments, DRIFTMONITORS, driftmonitor)
    await bench.operator.rests()
    show(f"operator memory, {count} of each kind and their children", f"{bench.operator.memory()} MiB", "220 MiB")
    if more:
        await burst(bench, more, TRAININGJOBS, trainingjob, (JOBS,))
    if bench.is_bare:
        # Likewise: only then are these objects unchanged.
        await asyncio.sleep(QUIET.total_seconds())
    await bench.operator.rests()


async def install_crds(client: Client) -> None:
    for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
        with suppress(AlreadyExists):
            await client.create(CRDS, yaml.safe_load(path.read_text()))


async def make_namespace(client: Client) -> str:
    """A new one, left to whoever owns the cluster: a controller manager that clears it away would be measured too."""
    name = f"bench-{secrets.token_hex(3)}"
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    with suppress(AlreadyExists):
        # Without a controller manager nobody else makes it, and no pod is admitted.
        await client.create(SERVICEACCOUNTS, _manifest(SERVICEACCOUNTS, name, "default", {}))
    return name


@contextmanager
def cluster(shape: str) -> Iterator[Path]:
    """The kubeconfig of a cluster of its own. A bare one has neither controllers nor a scheduler."""
    with tempfile.TemporaryDirectory() as folder, serving(f"perennial-bench-{shape}", Path(folder)) as harness:
        if shape == "bare":
            made = embedded.find(harness.name)
            if made is None:
                raise SystemExit(f"a cluster of {harness.provider} cannot be bare: choose --shape full")
            for component in BEYOND_THE_API:
                supervisor.ask(made.control_socket(), "stop", component)
        yield harness.kubeconfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--unchanged", type=int, default=5000, help="objects that a restart is measured over")
    parser.add_argument(
        "--shape", choices=("bare", "full"), help="only this kind of cluster; with KUBECONFIG, its kind"
    )
    chosen = parser.parse_args()
    if given := os.environ.get("KUBECONFIG"):
        asyncio.run(run(chosen.count, chosen.unchanged, Path(given), is_bare=chosen.shape == "bare"))
        return
    for shape in (chosen.shape,) if chosen.shape else ("bare", "full"):
        print(f"\n--- {'a control plane alone' if shape == 'bare' else 'a whole cluster'} ---", flush=True)
        with cluster(shape) as kubeconfig:
            asyncio.run(run(chosen.count, chosen.unchanged, kubeconfig, is_bare=shape == "bare"))


if __name__ == "__main__":
    main()
