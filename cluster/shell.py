"""Running the machine's own tools, with their last words in the error when one fails."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.errors import ClusterError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: bytes | None = None
) -> str:
    """Runs a command to its end and returns what it printed.

    Raises:
        ClusterError: when it cannot be started or does not succeed.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, env=environment(env), cwd=cwd, input=stdin, capture_output=True, check=False)
    except FileNotFoundError as missing:
        raise ClusterError(f"{words[0]} is not on this machine") from missing
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(words)}` failed ({done.returncode}):\n{last_lines(done.stderr or done.stdout)}")
    return done.stdout.decode(errors="replace")


def succeeds(*command: str | Path) -> bool:
    words: Sequence[str] = [str(word) for word in command]
    try:
        return subprocess.run(words, env=environment(), capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment, with the system folders on the PATH whatever the caller's shell has there."""
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}".lstrip(":")
    return {**os.environ, "PATH": path, **(extra or {})}


def last_lines(output: bytes, count: int = 20) -> str:
    return "\n".join(output.decode(errors="replace").strip().splitlines()[-count:])
