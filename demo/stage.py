"""The stage: a cluster, the project's images in it, and the chart installed by Helm.

Says beforehand how long it takes: warm, under a minute; cold, Kubernetes is compiled from source first, which takes
about ten minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster import images, providers
from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.paths import REPOSITORY

from .kubectl import CommandFailed, run

NAME = "perennial-demo"
NAMESPACE = "perennial-system"
WAIT = ("--force-conflicts", "--wait", "--timeout", "3m")


def prepare(tell: Callable[[str], None]) -> Cluster:
    """A cluster with the operator running in it. Raises CommandFailed with what is missing."""
    try:
        tell("bringing a Kubernetes up (the first time it is compiled: about ten minutes on two cores)")
        cluster = providers.choose().up(NAME)
        tell("building the two images and loading them")
        providers.choose().load_images(NAME, images.build())
    except ClusterError as problem:
        raise CommandFailed(str(problem)) from problem
    tell("helm install perennial charts/perennial")
    helm = [str(cluster.helm), "--kubeconfig", str(cluster.kubeconfig), "--namespace", NAMESPACE]
    chart = str(REPOSITORY / "charts" / "perennial")
    chosen = [f"--set=image.{target}={images.reference(target)}" for target in images.TARGETS]
    # The tag stays the same from build to build: the annotation makes an operator of an earlier demo start anew.
    chosen.append(f"--set-string=podAnnotations.installed-at={int(time.time())}")
    run([*helm, "upgrade", "--install", "perennial", chart, "--create-namespace", *chosen, *WAIT])
    return cluster
