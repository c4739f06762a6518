"""The project's images and those of its examples, built by Docker where it works and by buildah where it does not.

buildah has no registry to take a base image from, so it builds upon a minimal Debian made by mmdebstrap, once. Its
storage is ours alone, in the cache; layers that did not change are neither built nor written again.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from cluster import packages
from cluster.errors import ClusterError
from cluster.layers import Layout as ImageLayout
from cluster.locks import locked
from cluster.paths import REPOSITORY, cache_home
from cluster.progress import step
from cluster.shell import run, succeeds

TARGETS = ("operator", "runtime")
"""What the project's Dockerfile has."""
EXAMPLES = {
    "lightgbm": REPOSITORY / "examples" / "own-container-lightgbm",
    "mlserver": REPOSITORY / "examples" / "own-server-mlserver",
}
"""Folders of examples that have a Dockerfile of their own, by their images' names."""
EXTENDED = {"runtime-boosters": ("runtime", "lightgbm xgboost")}
"""Targets of the project's Dockerfile with extras, as docs/estimators.md has them built, by their images' names."""
BASE_RELEASE = "bookworm"
BASE_PACKAGES = "python3,python3-venv,ca-certificates"
RUNTIME_ROOT = Path("/run/perennial-buildah")
_ALONE = ("unshare", "--mount")
"""The storage mounts itself upon itself, and a build what it works in: nothing of that stays on the host."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def reference(target: str) -> str:
    """The image's name as pods may write it; `full_name` is what runtimes call it."""
    return f"perennial/{target}:dev"


def full_name(name: str) -> str:
    """Docker's rule: a first part that is no host means docker.io, and a missing tag means latest."""
    head, _, rest = name.partition("/")
    if not rest:
        name = f"docker.io/library/{name}"
    elif "." not in head and ":" not in head and head != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rsplit("/", 1)[-1] or "@" in name else f"{name}:latest"


def build(targets: Sequence[str] = TARGETS) -> list[str]:
    """Builds the images and returns their references.

    Raises:
        ClusterError: for an image that there is no Dockerfile of, or when the build fails.
    """
    known = (*TARGETS, *EXTENDED, *EXAMPLES)
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise ClusterError(f"no such image: {', '.join(unknown)}; there are {', '.join(known)}")
    build_one = _docker if docker_works() else _buildah
    for target in targets:
        with locked(lock()), step(f"building {reference(target)}"):
            build_one(target)
    return [reference(target) for target in targets]


def lock() -> Path:
    """Held while images are built or read: a build may prune what a load is about to send."""
    return cache_home() / "images" / ".lock"


def docker_works() -> bool:
    return shutil.which("docker") is not None and succeeds("docker", "info")


def layout(name: str) -> ImageLayout:
    """The image of buildah's storage as an OCI layout, of which only what is new was written.

    Raises:
        ClusterError: when the storage has no image of that name.
    """
    packages.ensure(packages.BUILD)
    folder = cache_home() / "images" / "layouts" / hashlib.sha256(full_name(name).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    if not succeeds(*storage(), "inspect", full_name(name)):
        raise ClusterError(f"image {name} is not built: `python -m cluster images --no-load` builds the project's")
    # Uncompressed, a layer keeps its digest, and those that are in the folder are not even read.
    source = f"containers-storage:[overlay@{_root()}+{RUNTIME_ROOT}]{full_name(name)}"
    run(*_ALONE, "skopeo", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers", source, f"oci:{folder}:image")
    return ImageLayout(folder, full_name(name))


def ensure_base() -> str:
    """The name of the base image in buildah's storage, made on first use."""
    recipe = hashlib.sha256(f"{BASE_RELEASE} {BASE_PACKAGES}".encode()).hexdigest()[:12]
    name = f"docker.io/perennial/base:{BASE_RELEASE}-{recipe}"
    if succeeds(*storage(), "inspect", name):
        return name
    packages.ensure(packages.BUILD)
    folder = cache_home() / "images" / "base"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{recipe}.tar"
    with step(f"making the base image: Debian {BASE_RELEASE} with Python (about 30 s, once)"):
        lean = "--dpkgopt=path-exclude=/usr/share/{doc,man,locale,info}/*"
        run("mmdebstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", lean, BASE_RELEASE, archive)
        (folder / "Dockerfile").write_text(f"FROM scratch\nADD {archive.name} /\n")
        run(*storage(), "build", "--isolation=chroot", "--tag", name, folder)
        archive.unlink()
    return name


def _docker(target: str) -> None:
    run("docker", "build", "--tag", reference(target), *_what(target), env={"DOCKER_BUILDKIT": "1"})


def _what(target: str) -> list[str | Path]:
    """What is built, as Docker and buildah take it: a folder, or a target of the project's Dockerfile."""
    if target in EXAMPLES:
        return [EXAMPLES[target]]
    plain, extras = EXTENDED.get(target, (target, ""))
    return [f"--target={plain}", f"--build-arg=EXTRAS={extras}", REPOSITORY]


def _buildah(target: str) -> None:
    packages.ensure(packages.BUILD)
    base = ensure_base()
    network = ["--isolation=chroot", "--network=host"]
    if CERTIFICATES.exists():
        network += [f"--volume={CERTIFICATES.parent}:{CERTIFICATES.parent}:ro", f"--build-arg=PIP_CERT={CERTIFICATES}"]
    if index := os.environ.get("PIP_INDEX_URL"):
        network += [f"--build-arg=PIP_INDEX_URL={index}"]
    named = ["--layers", f"--build-arg=BASE_IMAGE={base}", f"--tag={full_name(reference(target))}"]
    before = _identifier(target)
    run(*storage(), "build", *network, *named, *_what(target))
    if before and before != _identifier(target):
        _prune()


def _identifier(target: str) -> str:
    name = full_name(reference(target))
    return run(*storage(), "images", "--quiet", name).strip() if succeeds(*storage(), "inspect", name) else ""


def _prune() -> None:
    """Forgets earlier builds, and what builds that were killed left: half a gigabyte each."""
    for command in (("rm", "--all"), ("rmi", "--prune")):
        succeeds(*storage(), *command)


def storage() -> list[str]:
    """The start of every command to the images' storage."""
    return [*_ALONE, "buildah", f"--root={_root()}", f"--runroot={RUNTIME_ROOT}", "--storage-driver=overlay"]


def _root() -> Path:
    return cache_home() / "buildah"
