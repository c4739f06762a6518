"""The stage: a cluster, the project's images in it, and the chart installed by Helm.

Says beforehand how long it takes: warm, under a minute; cold, Kubernetes is compiled from source first, which takes
about ten minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster import images, providers
from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY

from . import scene
from .kubectl import CommandFailed, Kubectl, run

NAME = "perennial-demo"
NAMESPACE = "perennial-system"
WAIT = ("--force-conflicts", "--wait", "--timeout", "3m")


@dataclass(frozen=True)
class Stage:
    """A cluster with the operator running in it, and the runtime's image."""

    cluster: Cluster
    runtime: str

    def is_at_work(self) -> bool:
        """Whether an operator is ready; taken for granted where the API server does not answer just now."""
        found = _system(self.cluster).get("deployment", "perennial")
        return found is None or bool(found["status"].get("readyReplicas"))


def prepare(tell: Callable[[str], None]) -> Stage:
    """Raises CommandFailed with what is missing, or where a Perennial is installed that is not the demo's."""
    try:
        provider = providers.choose()
        tell("building the two images")
        provider.build(images.TARGETS)
        if provider.name != "current":
            tell("bringing a Kubernetes up (the first time it is compiled: about ten minutes on two cores)")
        cluster = provider.up(NAME)
        system = _system(cluster)
        if not scene.is_left_over(system):
            system.apply(scene.MANIFESTS / "system.yaml")
        tell("loading the two images")
        references = provider.load(NAME, images.TARGETS)
    except ClusterError as problem:
        raise CommandFailed(str(problem)) from problem
    tell("helm install perennial charts/perennial")
    chart = str(REPOSITORY / "charts" / "perennial")
    chosen = [f"--set=image.{target}={name}" for target, name in zip(images.TARGETS, references, strict=True)]
    # The tag may stay the same from build to build: the annotation makes an operator of an earlier demo start anew.
    chosen.append(f"--set-string=podAnnotations.installed-at={int(time.time())}")
    run([*_helm(cluster), "upgrade", "--install", "perennial", chart, *chosen, *WAIT])
    return Stage(cluster, references[images.TARGETS.index("runtime")])


def clear_away() -> str:
    """Takes down what `prepare` made, and says what that was. Raises CommandFailed where it cannot."""
    try:
        provider = providers.choose()
        if provider.name != "current":
            return f"cluster {NAME} is {'gone' if provider.down(NAME) else 'not there'}"
        cluster = provider.find(NAME)
    except ClusterError as problem:
        raise CommandFailed(str(problem)) from problem
    scene.clear(Kubectl(cluster.kubectl, cluster.kubeconfig, scene.NAMESPACE))
    system = _system(cluster)
    if scene.is_left_over(system):
        run([*_helm(cluster), "uninstall", "perennial", "--ignore-not-found", "--wait"])
        scene.clear(system)
    return (
        "the demo's namespaces and its operator are gone; the definitions of the three kinds stay, as charts leave them"
    )


def _system(cluster: Cluster) -> Kubectl:
    """Where the operator is."""
    return Kubectl(cluster.kubectl, cluster.kubeconfig, NAMESPACE)


def _helm(cluster: Cluster) -> list[str]:
    return [str(cluster.helm), "--kubeconfig", str(cluster.kubeconfig), "--namespace", NAMESPACE]
