"""Who provides the cluster: the user's KUBECONFIG, kind on Docker, or the embedded one.

`CLUSTER=current|kind|embedded` decides. Without it the user's own cluster is never touched, kind is taken where Docker
works, and the embedded cluster elsewhere. kind and the embedded cluster answer to the same command line.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cluster import binaries, embedded, images, layout, loading, seed
from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY, state_home
from cluster.progress import step
from cluster.shell import run

CHOICES = ("current", "kind", "embedded")
EMBEDDED_KIND = REPOSITORY / "cluster" / "bin" / "kind"


class Provider(Protocol):
    @property
    def name(self) -> str: ...

    def problem(self) -> str | None:
        """What is missing for this provider to serve, or None."""

    def up(self, name: str, workers: int = 0) -> Cluster: ...

    def find(self, name: str) -> Cluster:
        """The running cluster of that name.

        Raises:
            ClusterError: when there is none.
        """

    def down(self, name: str) -> bool: ...

    def build(self, targets: Sequence[str]) -> None:
        """The project's images, for clusters to come."""

    def load(self, name: str, targets: Sequence[str]) -> list[str]:
        """References of the project's images as they were built last, which the cluster's pods can use from here on.

        Raises:
            ClusterError: when they cannot be had.
        """

    def images(self, name: str, targets: Sequence[str]) -> list[str]:
        """The same, of images built now.

        Raises:
            ClusterError: when they can neither be built nor had.
        """


@dataclass(frozen=True)
class Embedded:
    name: str = "embedded"

    def problem(self) -> str | None:
        return embedded.problem()

    def up(self, name: str, workers: int = 0) -> Cluster:
        nodes = layout.node_names(name, ["control-plane", *["worker"] * workers])
        return _described(embedded.up(name, nodes))

    def find(self, name: str) -> Cluster:
        found = embedded.find(name)
        if found is None or found.pid is None:
            raise ClusterError(f"cluster {name} does not run: `python -m cluster up --name {name}`")
        return _described(found)

    def down(self, name: str) -> bool:
        return embedded.down(name)

    def build(self, targets: Sequence[str]) -> None:
        seed.grow(images.build(targets))

    def load(self, name: str, targets: Sequence[str]) -> list[str]:
        cluster = embedded.find(name)
        if cluster is None:
            raise ClusterError(f"cluster {name} does not run: `python -m cluster up --name {name}`")
        references = [images.reference(target) for target in targets]
        for reference in references:
            with step(f"loading {reference}"):
                loading.load_image(cluster, reference)
        return references

    def images(self, name: str, targets: Sequence[str]) -> list[str]:
        images.build(targets)
        return self.load(name, targets)


@dataclass(frozen=True)
class Kind:
    name: str = "kind"

    def problem(self) -> str | None:
        return (
            None
            if images.docker_works()
            else "Docker, running and open to this user (https://docs.docker.com/engine/install)"
        )

    def up(self, name: str, workers: int = 0) -> Cluster:
        if name not in run(kind_path(), "get", "clusters").split():
            nodes = "\n".join(["- role: control-plane", *["- role: worker"] * workers])
            config = f"kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n{nodes}\n"
            target = self._kubeconfig(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            create = ("create", "cluster", f"--name={name}", f"--kubeconfig={target}", "--wait=120s", "--config=-")
            subprocess.run([str(kind_path()), *create], input=config.encode(), check=True)
        return self.find(name)

    def find(self, name: str) -> Cluster:
        target = self._kubeconfig(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        target.write_text(run(kind_path(), "get", "kubeconfig", f"--name={name}"))
        return Cluster(name, self.name, target, *tools())

    def down(self, name: str) -> bool:
        known = name in run(kind_path(), "get", "clusters").split()
        run(kind_path(), "delete", "cluster", f"--name={name}", f"--kubeconfig={self._kubeconfig(name)}")
        return known

    def build(self, targets: Sequence[str]) -> None:
        images.build(targets)

    def load(self, name: str, targets: Sequence[str]) -> list[str]:
        references = [images.reference(target) for target in targets]
        for reference in references:
            with step(f"loading {reference}"):
                run(kind_path(), "load", "docker-image", reference, f"--name={name}")
        return references

    def images(self, name: str, targets: Sequence[str]) -> list[str]:
        images.build(targets)
        return self.load(name, targets)

    @staticmethod
    def _kubeconfig(name: str) -> Path:
        return state_home().parent / "kind" / name / "kubeconfig"


@dataclass(frozen=True)
class Current:
    """The cluster that the user's kubeconfig points at. It is neither made nor ended here."""

    name: str = "current"

    def problem(self) -> str | None:
        return None if self._kubeconfig().is_file() else f"a kubeconfig at {self._kubeconfig()} (set KUBECONFIG)"

    def up(self, name: str, workers: int = 0) -> Cluster:
        return self.find(name)

    def find(self, name: str) -> Cluster:
        problem = self.problem()
        if problem:
            raise ClusterError(f"missing: {problem}")
        return Cluster(name, self.name, self._kubeconfig(), *tools())

    def down(self, name: str) -> bool:
        return False

    def build(self, targets: Sequence[str]) -> None:
        """They are the user's."""

    def load(self, name: str, targets: Sequence[str]) -> list[str]:
        variables = [f"PERENNIAL_{target.upper()}_IMAGE" for target in targets]
        if missing := [variable for variable in variables if not os.environ.get(variable)]:
            raise ClusterError(
                "images cannot be loaded into a cluster by its kubeconfig: build the Dockerfile's targets "
                f"{' and '.join(targets)}, push them to a registry that the cluster pulls from, and name them there "
                f"in {' and '.join(missing)}"
            )
        return [os.environ[variable] for variable in variables]

    def images(self, name: str, targets: Sequence[str]) -> list[str]:
        return self.load(name, targets)

    @staticmethod
    def _kubeconfig() -> Path:
        return Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")


def choose(wanted: str | None = None) -> Provider:
    """The provider named by `wanted` or `CLUSTER`, or else the first that this machine can serve.

    Raises:
        ClusterError: when none can; says what each one lacks.
    """
    wanted = wanted or os.environ.get("CLUSTER", "")
    every: dict[str, Provider] = {"current": Current(), "kind": Kind(), "embedded": Embedded()}
    if wanted and wanted not in every:
        raise ClusterError(f"CLUSTER={wanted} is none of {', '.join(CHOICES)}")
    candidates = [every[wanted]] if wanted else [every["kind"], every["embedded"]]
    problems = {candidate.name: candidate.problem() for candidate in candidates}
    for candidate in candidates:
        if problems[candidate.name] is None:
            return candidate
    lacks = "\n".join(f"  {name} needs {problem}" for name, problem in problems.items())
    own = "" if wanted else "\n  or take a cluster of your own: CLUSTER=current, with KUBECONFIG set"
    raise ClusterError(f"no cluster can be had on this machine:\n{lacks}{own}")


def kind_path() -> Path:
    """The `kind` that serves on this machine: kind itself, or the embedded cluster's command line."""
    if choose().name == "embedded":
        return EMBEDDED_KIND
    found = shutil.which("kind")
    return Path(found) if found else binaries.ensure("kind")


def tools() -> tuple[Path, Path]:
    """kubectl and helm: the machine's own, or else built from their modules."""
    kubectl, helm = shutil.which("kubectl"), shutil.which("helm")
    return Path(kubectl) if kubectl else binaries.ensure_kubectl(), Path(helm) if helm else binaries.ensure("helm")


def _described(cluster: embedded.EmbeddedCluster) -> Cluster:
    return Cluster(
        cluster.layout.name, "embedded", cluster.layout.kubeconfig, cluster.kubectl, cluster.kubectl.parent / "helm"
    )
