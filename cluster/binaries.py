"""Kubernetes, CoreDNS, helm and the tests' S3 server, compiled from their published Go modules and kept by digest.

The digest covers our Go files with their go.mod and go.sum, the compiler's version and the flags: the same inputs are
never compiled twice, and a changed version never meets a stale binary.
"""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cluster.errors import ClusterError
from cluster.locks import locked
from cluster.paths import REPOSITORY, cache_home
from cluster.progress import step
from cluster.shell import run

SOURCES = REPOSITORY / "cluster" / "go"
GO = (1, 25)
#: How long a first build takes on two cores, for the person who waits.
COLD = {
    "kubernetes": "5 min",
    "coredns": "1 min",
    "helm": "2 min",
    "pause": "1 s",
    "kind": "1 min",
    "versitygw": "50 s",
}
MODULES = ("kubernetes", "coredns", "helm", "pause")
#: Commands that are taken as they are: their module here has no Go file, it only pins what they are made of.
COMMANDS = {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}
KUBERNETES_COMMANDS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "local-provisioner",
)


@dataclass(frozen=True)
class Binaries:
    """A folder with all of the commands, each under its own name."""

    folder: Path

    def path(self, command: str) -> Path:
        return self.folder / command


def ensure_binaries() -> Binaries:
    """All that the embedded cluster runs, compiled on first use.

    Raises:
        ClusterError: when there is no Go compiler, or a build fails.
    """
    digests = "".join(digest(module) for module in MODULES)
    folder = cache_home() / "cluster" / hashlib.sha256(digests.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODULES:
        _link(folder / name, ensure(name))
    for command in KUBERNETES_COMMANDS:
        _link(folder / command, folder / "kubernetes")
    return Binaries(folder)


def ensure(module: str) -> Path:
    """The binary of one Go module of ours, compiled unless it is in the cache."""
    target = cache_home() / "bin" / f"{module}-{digest(module)}"
    if target.exists():
        return target
    with locked(target.with_suffix(".lock")):
        if target.exists():
            return target
        with step(f"compiling {module} (about {COLD.get(module, '1 min')} on two cores, once)"):
            partial = target.with_suffix(".partial")
            run(*_build(module, partial), cwd=SOURCES / module, env={"CGO_ENABLED": "0", "GOWORK": "off"})
            partial.rename(target)
    return target


def ensure_kubectl() -> Path:
    """kubectl alone, out of the same binary that holds the components."""
    folder = cache_home() / "bin" / f"kubectl-{digest('kubernetes')}"
    folder.mkdir(parents=True, exist_ok=True)
    _link(folder / "kubectl", ensure("kubernetes"))
    return folder / "kubectl"


def digest(module: str) -> str:
    folder = SOURCES / module
    files = sorted(path for path in folder.iterdir() if path.suffix in (".go", ".mod", ".sum"))
    state = hashlib.sha256(_go_version().encode())
    state.update(" ".join(_build(module, Path("binary"))[1:]).encode())
    for path in files:
        state.update(path.name.encode() + b"\0" + path.read_bytes())
    return state.hexdigest()[:16]


def kubernetes_version() -> str:
    return required_version("kubernetes", "k8s.io/kubernetes")


def required_version(module: str, dependency: str) -> str:
    text = (SOURCES / module / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require )?{re.escape(dependency)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise ClusterError(f"{SOURCES / module / 'go.mod'} does not require {dependency}")
    return found[1]


def go_problem() -> str | None:
    """Why nothing can be compiled here, or None."""
    try:
        found = re.search(r"go(\d+)\.(\d+)", _go_version())
    except ClusterError:
        found = None
    if found and (int(found[1]), int(found[2])) >= GO:
        return None
    return f"Go {GO[0]}.{GO[1]} or newer (https://go.dev/dl) with access to a Go module proxy"


def _build(module: str, target: Path) -> list[str]:
    flags = f"-s -w {_stamp()}" if module == "kubernetes" else "-s -w"
    if module == "helm":
        flags += f" -X helm.sh/helm/v4/internal/version.version={required_version('helm', 'helm.sh/helm/v4')}"
    return [
        _go(),
        "build",
        "-trimpath",
        "-buildvcs=false",
        f"-ldflags={flags}",
        "-o",
        str(target),
        COMMANDS.get(module, "."),
    ]


def _stamp() -> str:
    """Linker flags that give the components their version: clients refuse a server without one."""
    version = kubernetes_version()
    major, minor = version.removeprefix("v").split(".")[:2]
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{key}={value}" for package in packages for key, value in values.items())


@cache
def _go_version() -> str:
    return run(_go(), "version")


def _go() -> str:
    return shutil.which("go") or "/usr/local/go/bin/go"


def _link(link: Path, target: Path) -> None:
    """A hard link, so that the folder is whole wherever it is mounted."""
    if link.exists() and link.samefile(target):
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.hardlink_to(target)
    temporary.replace(link)
