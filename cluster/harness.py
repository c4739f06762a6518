"""The tests' view of a cluster: pytest-kind's for kind and the embedded cluster alike, plain for the user's own."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_kind import KindCluster

from cluster import images, providers
from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.reader import Reader


@dataclass(frozen=True)
class Harness:
    """A cluster with the commands that tests give it."""

    cluster: Cluster

    @property
    def name(self) -> str:
        return self.cluster.name

    @property
    def provider(self) -> str:
        return self.cluster.provider

    @property
    def kubeconfig(self) -> Path:
        return self.cluster.kubeconfig

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        """Runs kubectl and returns what it prints.

        Raises:
            ClusterError: with kubectl's own words when it fails.
        """
        return self._run(self.cluster.kubectl, arguments, stdin, timeout)

    def helm(self, *arguments: str, timeout: float = 300) -> str:
        """Runs helm likewise."""
        return self._run(self.cluster.helm, arguments, None, timeout)

    def get(self, kind: str, name: str = "", *, namespace: str = "", selector: str = "") -> Any:
        """The object, or without a name the list, as `kubectl get -o json` tells it.

        Raises:
            ClusterError: when there is none, or the API server does not answer.
        """
        return self._reader.get(kind, name, namespace, selector)

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.kubeconfig)

    def apply(self, manifest: str | dict[str, Any] | Sequence[dict[str, Any]], namespace: str | None = None) -> str:
        if not isinstance(manifest, str):
            items = [manifest] if isinstance(manifest, dict) else list(manifest)
            manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        where = [f"--namespace={namespace}"] if namespace else []
        return self.kubectl("apply", *where, "-f", "-", stdin=manifest)

    def load_images(self, *targets: str) -> list[str]:
        """Sees to it that pods can use the project's images, or those named; returns their references."""
        return providers.choose(self.provider).images(self.name, targets or images.TARGETS)

    def attempt(
        self, tool: Path, *arguments: str, input: str | None = None, timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl or helm against the cluster, for a test that looks at the failure."""
        return subprocess.run(
            [str(tool), *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )

    def _run(self, tool: Path, arguments: Sequence[str], stdin: str | None, timeout: float) -> str:
        done = self.attempt(tool, *arguments, input=stdin, timeout=timeout)
        if done.returncode != 0:
            raise ClusterError(f"{tool.name} {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


@contextmanager
def serving(name: str, directory: Path, keep: bool = False, config: Path | None = None) -> Iterator[Harness]:
    """A cluster of that name for as long as the context lasts: taken over when it runs already, made when not.

    Args:
        name: the cluster's; `CLUSTER=current` takes the user's whatever the name.
        directory: where a new cluster's kubeconfig goes.
        keep: leave a cluster that was made here running; one that was there before always stays.
        config: a kind configuration for a new cluster.
    """
    provider = providers.choose()
    if provider.name == "current":
        yield Harness(provider.find(name))
        return
    kind = providers.kind_path()
    existed = name in subprocess.check_output([str(kind), "get", "clusters"], text=True).split()
    tools = provider.find(name) if existed else None
    driven = KindCluster(
        name,
        kubeconfig=tools.kubeconfig if tools else directory / f"{name}.kubeconfig",
        kind_path=kind,
        kubectl_path=tools.kubectl if tools else None,
    )
    driven.create(config)
    try:
        yield Harness(provider.find(name))
    finally:
        if not existed and not keep:
            driven.delete()
