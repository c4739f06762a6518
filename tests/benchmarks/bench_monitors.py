"""What it costs to watch a thousand deployments: 5 pods each, 20 features, windows of five minutes.

python -m tests.benchmarks.bench_monitors [--count 1000] [--minutes 5]

On a control plane alone (etcd and the API server), with everything else real: the operator as a process, its HTTP to
the pods, its checkpoints and statuses. In the kubelets' stead the benchmark makes the pods of each Deployment and says
that they are ready; one process answers for all their control ports, each on a loopback address of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS
from perennial.kube.client import MERGE_PATCH, Client
from perennial.kube.connection import Connection
from perennial.kube.plan import Manifest
from perennial.kube.resources import DEPLOYMENTS, PODS

from .apiserver import work
from .bench_burst import Bench, cluster, driftmonitor, install_crds, make_namespace, modeldeployment, show
from .control_ports import FEATURES, MODEL
from .operator_process import OperatorProcess

PODS_EACH = 5
ROWS_A_SECOND = 2.0
"""Of each pod: 3,000 rows of a deployment in five minutes."""


@contextmanager
def control_ports() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.control_ports", str(ROWS_A_SECOND)])
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def pod_of(deployment: Manifest, number: int, address: str) -> Manifest:
    """As the Deployment's controllers would make it, and a kubelet would run it."""
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    since = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name']}-{number}",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}],
        },
    }


def address_of(number: int) -> str:
    """A loopback address of its own for each pod; 127.0.0.0/16 is left to others."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


async def run_pods(bench: Bench) -> int:
    """The pods of all Deployments. Their number."""
    deployments = [item async for page in bench.client.pages(DEPLOYMENTS, bench.namespace) for item in page.items]
    made = [
        pod_of(deployment, number, address_of(place * PODS_EACH + number))
        for place, deployment in enumerate(deployments)
        for number in range(PODS_EACH)
    ]
    await bench.create(made, PODS)
    waiting = iter(made)

    async def kubelet() -> None:
        for pod in waiting:
            name = pod["metadata"]["name"]
            await bench.client.patch(PODS, bench.namespace, name, {"status": pod["status"]}, MERGE_PATCH, "status")

    await asyncio.gather(*(kubelet() for _ in range(32)))
    return len(made)


def _judges(manifest: Manifest) -> bool:
    return bool((manifest.get("status") or {}).get("windows", {}).get("count"))


def _serves(manifest: Manifest) -> bool:
    return bool((manifest.get("status") or {}).get("stable"))


async def measure(bench: Bench, count: int, minutes: float) -> None:
    names = [f"m{number}" for number in range(count)]
    async with bench.watching(DEPLOYMENTS) as seen:
        await bench.create((replicated(bench.namespace, name) for name in names), MODELDEPLOYMENTS)
        await seen.all(names)
    async with bench.watching(MODELDEPLOYMENTS, _serves) as served:
        pods = await run_pods(bench)
        await served.all(names)
    await bench.operator.rests()
    await idle(bench, 30)
    async with bench.watching(DRIFTMONITORS, _judges) as judging:
        await bench.create((watching(bench.namespace, name) for name in names), DRIFTMONITORS)
        await judging.all(names, 900)
    print(f"{count} monitors of {pods} pods judge their windows; looking at them for {minutes:g} minutes", flush=True)
    before, cpu, began = await work(bench.connection), bench.operator.cpu(), time.perf_counter()
    await asyncio.sleep(minutes * 60)
    took = time.perf_counter() - began
    share = (bench.operator.cpu() - cpu) / took
    server = await work(bench.connection) - before
    show(f"{count} monitors, {PODS_EACH} pods each, {FEATURES} features", f"{share:.3f} of a core", "0.25")
    show("  the API server meanwhile", f"{server.cpu / took:.3f} of a core; writes a monitor: {server.each(count)}")
    show("  memory of the operator", f"{bench.operator.memory()} MiB")


async def idle(bench: Bench, seconds: float) -> None:
    cpu = bench.operator.cpu()
    await asyncio.sleep(seconds)
    show("the deployments alone, unwatched", f"{(bench.operator.cpu() - cpu) / seconds:.3f} of a core")


def replicated(namespace: str, name: str) -> Manifest:
    made = modeldeployment(namespace, name)
    made["spec"] |= {"replicas": PODS_EACH}
    made["spec"]["model"]["sha256"] = MODEL
    return made


def watching(namespace: str, name: str) -> Manifest:
    made = driftmonitor(namespace, name)
    made["spec"] |= {"baseline": {"from": "Training"}, "window": {"minRows": 500, "period": "5m"}}
    return made


async def run(count: int, minutes: float, kubeconfig: Path) -> None:
    connection = await Connection.open(str(kubeconfig))
    client = Client(connection)
    try:
        await install_crds(client)
        namespace = await make_namespace(client)
        operator = OperatorProcess(namespace, kubeconfig)
        try:
            await operator.leads()
            await measure(Bench(connection, client, namespace, operator, is_bare=True), count, minutes)
        finally:
            await operator.stop()
    finally:
        await client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=5.0)
    chosen = parser.parse_args()
    with cluster("bare") as kubeconfig, control_ports():
        asyncio.run(run(chosen.count, chosen.minutes, kubeconfig))


if __name__ == "__main__":
    main()
