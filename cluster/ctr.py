"""containerd's own client: what a node has of images, and what it is given."""

import contextlib
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cluster.errors import ClusterError
from cluster.layers import Layout
from cluster.shell import environment, last_lines


@dataclass(frozen=True)
class Ctr:
    """The client of one containerd.

    Args:
        socket: where containerd listens, as seen from where the client runs.
        inside: the words before a command that runs it there; none for this very place.
    """

    socket: str | Path
    inside: Sequence[str] = ()

    def answers(self) -> bool:
        return subprocess.run(self._command("version"), env=environment(), capture_output=True).returncode == 0

    def blobs(self) -> set[str]:
        """The digests of what it has."""
        return set(self._said("content", "list", "--quiet").split())

    def has(self, layout: Layout) -> bool:
        """Whether the image of that name is this one."""
        return layout.manifest["digest"] in self._said("images", "list", f"name=={layout.name}").split()

    def tag(self, name: str, other: str) -> None:
        """Gives an image a second name; one that is not there is no fault."""
        command = self._command("images", "tag", "--force", name, other)
        subprocess.run(command, env=environment(), capture_output=True, check=False)

    def take(self, layout: Layout, present: Collection[str] = ()) -> str | None:
        """Imports an image without the blobs named in `present`. What went wrong, if anything did."""
        importing = subprocess.Popen(
            self._command("images", "import", "-"),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert importing.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its own words say more
            layout.write(importing.stdin, present)
        _, complaint = importing.communicate()
        return last_lines(complaint) if importing.returncode != 0 else None

    def take_archive(self, stream: IO[bytes]) -> str | None:
        """Imports an image archive, likewise."""
        command = self._command("images", "import", "-")
        done = subprocess.run(command, env=environment(), stdin=stream, capture_output=True, check=False)
        return last_lines(done.stderr) if done.returncode != 0 else None

    def _said(self, *arguments: str) -> str:
        done = subprocess.run(self._command(*arguments), env=environment(), capture_output=True, check=False)
        if done.returncode != 0:
            raise ClusterError(last_lines(done.stderr))
        return done.stdout.decode()

    def _command(self, *arguments: str) -> list[str]:
        return [*self.inside, "ctr", "--namespace=k8s.io", f"--address={self.socket}", *arguments]
