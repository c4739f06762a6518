"""What the embedded cluster takes from Debian: the container runtime and the kernel's tools."""

import os
import shutil
from collections.abc import Mapping

from cluster.errors import ClusterError
from cluster.locks import locked
from cluster.paths import cache_home
from cluster.progress import step
from cluster.shell import SYSTEM_PATH, run

#: A file or command that only the package brings, by package.
NODE: Mapping[str, str] = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "socat": "socat",
    "iproute2": "ip",
    "util-linux": "nsenter",
    "openssl": "openssl",
}
BUILD: Mapping[str, str] = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "skopeo": "skopeo"}


def missing(wanted: Mapping[str, str]) -> list[str]:
    return [package for package, proof in wanted.items() if not _present(proof)]


def ensure(wanted: Mapping[str, str]) -> None:
    """Installs what is missing of `wanted`.

    Raises:
        ClusterError: when the machine cannot install it; says what to install by hand.
    """
    if not missing(wanted):
        return
    with locked(cache_home() / "packages.lock"):
        _install(missing(wanted))


def _install(absent: list[str]) -> None:
    if not absent:
        return
    if shutil.which("apt-get", path=SYSTEM_PATH) is None or os.geteuid() != 0:
        raise ClusterError(f"install these first (as root, here by apt-get): {' '.join(absent)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing {', '.join(absent)}"):
        run("apt-get", "update", "-qq", env=quiet)
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *absent, env=quiet)


def _present(proof: str) -> bool:
    return os.path.exists(proof) if proof.startswith("/") else shutil.which(proof, path=SYSTEM_PATH) is not None
