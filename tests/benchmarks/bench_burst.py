"""A thousand of everything at once: how soon the children are there, what a restart costs, how much memory it takes.

python -m tests.benchmarks.bench_burst [--count 1000] [--unchanged 5000]

Needs KUBECONFIG. The operator runs as a process of its own against that cluster, limited to a namespace. Pods ask for a
node that there is not: they stay pending, and only the operator and the control plane have work. On a busy machine the
processor time, which is printed too, says more than the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import yaml

from cluster.paths import REPOSITORY
from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.kube.cache import Cache, Change
from perennial.kube.client import MERGE_PATCH, Client
from perennial.kube.connection import Connection
from perennial.kube.errors import AlreadyExists
from perennial.kube.informer import Informer
from perennial.kube.plan import Manifest, Resource
from perennial.kube.resources import DEPLOYMENTS, JOBS, PODDISRUPTIONBUDGETS, SERVICES

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SERVICEACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
CREATORS = 64
NOWHERE = {"nodeSelector": {"perennial.dev/bench": "no-such-node"}}
WRITES = re.compile(r'rest_client_requests_total\{code="[^"]*",host="[^"]*",method="(POST|PUT|PATCH|DELETE)"\} (\S+)')


@dataclass
class Seen:
    """When the first version of each object was seen that passes `test`, by name."""

    test: Callable[[Manifest], bool]
    at: dict[str, float] = field(default_factory=dict)

    def __call__(self, change: Change) -> None:
        if change.new is not None and self.test(change.new):
            self.at.setdefault(change.new["metadata"]["name"], time.perf_counter())


@dataclass
class Bench:
    """The namespace, and watches of it that note times."""

    client: Client
    namespace: str
    watches: list[asyncio.Task[None]] = field(default_factory=list)

    async def note(self, resource: Resource, test: Callable[[Manifest], bool] = lambda _: True) -> Seen:
        cache, seen = Cache(resource), Seen(test)
        cache.listen(seen)
        informer = Informer(self.client, cache, namespace=self.namespace)
        self.watches.append(asyncio.create_task(informer.run()))
        await informer.synced.wait()
        return seen

    async def create(self, manifests: Iterable[Manifest], resource: Resource) -> dict[str, float]:
        """All of them as fast as the API server takes them; when each was sent."""
        waiting, sent = iter(manifests), {}

        async def creator() -> None:
            for manifest in waiting:
                sent[manifest["metadata"]["name"]] = time.perf_counter()
                await self.client.create(resource, manifest)

        await asyncio.gather(*(creator() for _ in range(CREATORS)))
        return sent


class Operator:
    """The operator as a process."""

    def __init__(self, namespace: str, kubeconfig: str) -> None:
        self.ports = [_free_port(), _free_port()]
        environment = os.environ | {
            "KUBECONFIG": kubeconfig,
            "PERENNIAL_NAMESPACE": namespace,
            "PERENNIAL_WATCH_NAMESPACES": namespace,
            "PERENNIAL_HEALTH_PORT": str(self.ports[0]),
            "PERENNIAL_METRICS_PORT": str(self.ports[1]),
            "PERENNIAL_LOG_LEVEL": "WARNING",
            "PERENNIAL_STORE_URI": "s3://bench/{namespace}",
        }
        self.process = subprocess.Popen([sys.executable, "-m", "perennial.main"], env=environment)

    async def ready(self) -> None:
        await until(lambda: self._answers('leader_election_master_status{name="perennial"} 1.0'), 60)

    async def idle(self) -> None:
        """Nothing waits and nothing is worked on, five times in a row."""
        quiet = 0
        while quiet < 5:
            text = await self.metrics()
            busy = re.findall(r"(?:workqueue_depth|controller_runtime_active_workers)\{[^}]*\} (\S+)", text)
            quiet = 0 if any(float(value) for value in busy) else quiet + 1
            await asyncio.sleep(0.2)

    async def metrics(self) -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.ports[1]}/metrics") as answer,
        ):
            return await answer.text()

    async def writes(self) -> int:
        """Requests that were to change something, those of the lease not counted."""
        text = await self.metrics()
        return sum(int(float(count)) for _, count in WRITES.findall(text))

    def memory(self) -> int:
        """Resident MiB."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.findall(r"VmRSS:\s+(\d+)", status.read())[0]) // 1024

    def cpu(self) -> float:
        """Processor seconds since it started."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def stop(self) -> None:
        self.process.terminate()
        await asyncio.to_thread(self.process.wait, 60)

    async def _answers(self, line: str) -> bool:
        try:
            return line in await self.metrics()
        except aiohttp.ClientError:
            return False


async def until(test: Callable[[], bool | Awaitable[bool]], seconds: float) -> None:
    deadline = time.perf_counter() + seconds
    while True:
        outcome = test()
        if outcome if isinstance(outcome, bool) else await outcome:
            return
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        await asyncio.sleep(0.01)


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


def _owner(name: str) -> str:
    return re.sub(r"-[0-9a-f]{6}-v\d+$|-[0-9a-f]{10}$", "", name)


def _has_child(seen: Seen, owner: str) -> bool:
    return any(_owner(name) == owner for name in seen.at)


def _is_seen(seen: Seen, name: str) -> bool:
    return name in seen.at


def _percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def show(what: str, measured: str, target: str = "") -> None:
    print(f"{what:<62} {measured:<38} {target}", flush=True)


@asynccontextmanager
async def namespace_of(client: Client) -> AsyncIterator[str]:
    name = f"bench-{secrets.token_hex(3)}"
    made = await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    with suppress(AlreadyExists):
        # Where the controller manager is stopped, to measure as in a bare API server, nobody else makes it.
        await client.create(SERVICEACCOUNTS, _manifest(SERVICEACCOUNTS, name, "default", {}))
    try:
        yield name
    finally:
        await client.delete(NAMESPACES, "", name, made["metadata"]["uid"])


async def alone(bench: Bench, times: int = 20) -> None:
    jobs = await bench.note(JOBS)
    waits = []
    for number in range(times):
        name = f"alone{number}"
        sent = await bench.create([trainingjob(bench.namespace, name)], TRAININGJOBS)
        await until(partial(_has_child, jobs, name), 30)
        waits.append(next(at for job, at in jobs.at.items() if _owner(job) == name) - sent[name])
    show(
        "one TrainingJob alone -> its Job",
        f"p50 {statistics.median(waits) * 1000:.0f} ms, max {max(waits) * 1000:.0f} ms",
        "p50 20 ms (Trainer 2.3 + JobSet: 110 ms)",
    )


async def burst(
    bench: Bench,
    operator: Operator,
    prefix: str,
    count: int,
    resource: Resource,
    manifest: Callable[[str, str], Manifest],
    children: tuple[Resource, ...],
    target: str,
) -> None:
    noted = [await bench.note(child) for child in children]
    told = await bench.note(resource, _is_told)
    names = [f"{prefix}{number}" for number in range(count)]
    wanted = set(names)
    cpu, started = operator.cpu(), time.perf_counter()
    sent = await bench.create([manifest(bench.namespace, name) for name in names], resource)
    created = time.perf_counter() - started
    await until(lambda: all(wanted <= {_owner(name) for name in seen.at} for seen in noted), 300)
    existed = max((at for seen in noted for at in seen.at.values()), default=started) - started
    await until(lambda: wanted <= told.at.keys(), 300)
    statuses = max(told.at.values()) - started
    delays = [at - sent[_owner(name)] for seen in noted for name, at in seen.at.items() if _owner(name) in sent]
    kinds = ", ".join(child.kind + "s" for child in children) or "status"
    spread = f", p50 {_percentile(delays, 0.5):.2f}, p99 {_percentile(delays, 0.99):.2f}" if delays else ""
    show(
        f"{count} {resource.kind}s -> {kinds}",
        f"{existed or statuses:.1f} s{spread}; every status {statuses:.1f} s (created in {created:.1f}); "
        f"{operator.cpu() - cpu:.1f} CPU s",
        target,
    )


async def reaction(bench: Bench, prefix: str, times: int = 200) -> None:
    """A Job is suspended: how soon its TrainingJob's status says so."""
    jobs = [page async for page in bench.client.pages(JOBS, bench.namespace)]
    chosen = [job for page in jobs for job in page.items if _owner(job["metadata"]["name"]).startswith(prefix)][:times]
    seen = await bench.note(
        TRAININGJOBS, lambda m: any(run["state"] == "Suspended" for run in (m.get("status") or {}).get("runs", []))
    )
    waits = []
    for job in chosen:
        name = job["metadata"]["name"]
        sent = time.perf_counter()
        await bench.client.patch(JOBS, bench.namespace, name, {"spec": {"suspend": True}}, MERGE_PATCH)
        await until(partial(_is_seen, seen, _owner(name)), 30)
        waits.append(seen.at[_owner(name)] - sent)
    show(
        "a change of a Job -> its TrainingJob's status",
        f"p50 {_percentile(waits, 0.5) * 1000:.0f} ms, p99 {_percentile(waits, 0.99) * 1000:.0f} ms",
        "p99 100 ms",
    )


async def restart(bench: Bench, kubeconfig: str) -> None:
    operator = Operator(bench.namespace, kubeconfig)
    try:
        await operator.ready()
        await operator.idle()
        cpu = operator.cpu()
        lease = 3  # acquired once, and renewed while it was looked at
        counted = 0
        for resource in (TRAININGJOBS, MODELDEPLOYMENTS, DRIFTMONITORS):
            counted += len((await bench.client.versions(resource, bench.namespace))[0])
        written = max(0, await operator.writes() - lease)
        show(f"a restart over {counted} unchanged objects", f"{written} writes, {cpu:.1f} CPU s", "0 writes, 3 CPU s")
        show("  memory then", f"{operator.memory()} MiB")
    finally:
        await operator.stop()


async def main(count: int, unchanged: int, kubeconfig: str) -> None:
    connection = await Connection.open(kubeconfig)
    client = Client(connection)
    for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        try:
            await client.create(CRDS, crd)
        except AlreadyExists:
            continue
    async with namespace_of(client) as namespace:
        bench = Bench(client, namespace)
        operator = Operator(namespace, kubeconfig)
        try:
            await operator.ready()
            show("operator memory, empty", f"{operator.memory()} MiB", "110 MiB")
            await alone(bench)
            await burst(bench, operator, "warm", 300, TRAININGJOBS, trainingjob, (JOBS,), "(Trainer + JobSet: 4.6 s)")
            await burst(bench, operator, "tj", count, TRAININGJOBS, trainingjob, (JOBS,), "4 s (Trainer: 22.4 s)")
            await reaction(bench, "tj")
            children = (DEPLOYMENTS, SERVICES, PODDISRUPTIONBUDGETS)
            await burst(
                bench, operator, "md", count, MODELDEPLOYMENTS, modeldeployment, children, "8 s (KServe: 29.1 s)"
            )
            await burst(bench, operator, "md", count, DRIFTMONITORS, driftmonitor, (), "")
            await operator.idle()
            show(f"operator memory, {count} of each kind and their children", f"{operator.memory()} MiB", "220 MiB")
            more = unchanged - 3 * count - 320
            if more > 0:
                await burst(bench, operator, "more", more, TRAININGJOBS, trainingjob, (JOBS,), "")
            await operator.idle()
        finally:
            await operator.stop()
        await restart(bench, kubeconfig)
        for watch in bench.watches:
            watch.cancel()
    await client.close()


CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--unchanged", type=int, default=5000)
    chosen = parser.parse_args()
    if not os.environ.get("KUBECONFIG"):
        sys.exit("bench_burst needs a cluster: set KUBECONFIG (`make up` makes one and says where)")
    asyncio.run(main(chosen.count, chosen.unchanged, os.environ["KUBECONFIG"]))
