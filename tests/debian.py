"""Programs from Debian's packages that tests talk to, unpacked into the cache: nothing is installed and no service of
theirs is started."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

from cluster.locks import locked
from cluster.paths import cache_home


@functools.cache
def unpacked(package: str) -> Path:
    """The folder that the newest version of `package`, without what it depends on, is unpacked in."""
    folder = cache_home() / "debian" / package
    with locked(folder.with_suffix(".lock")):
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _download(package, folder)
            (archive,) = folder.glob("*.deb")
            subprocess.run(["dpkg-deb", "--extract", str(archive), str(folder)], check=True)
            archive.unlink()
            (folder / "whole").touch()
    return folder


def in_place(package: str) -> list[str]:
    """What to put before a command, so that it, and nobody else, sees the package's files under /usr: some look there
    for their own. For root alone."""
    usr = unpacked(package) / "usr"
    mount = f'mount -t overlay overlay -o "lowerdir={usr}:/usr" /usr && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mount, "sh"]


def _download(package: str, folder: Path) -> None:
    download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
    if subprocess.run(download, cwd=folder, capture_output=True).returncode:
        # The machine has no list of packages yet, or an old one.
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(download, cwd=folder, check=True)
