"""Python environments with what must not be beside our own libraries, made once a machine and kept in the cache."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from cluster.locks import locked
from cluster.paths import REPOSITORY, cache_home


@functools.cache
def commands(requirement: str, *beside: str) -> Path:
    """The `bin` of an environment for this Python with `requirement` (`name==1.2`) installed from the package index,
    and `beside` it what it needs in other versions than the newest."""
    wanted = " ".join([requirement, *beside, sys.version])
    name = re.split(r"\W", requirement)[0]
    folder = cache_home() / "environments" / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    python = str(folder / "bin" / "python")
    venv = ["venv", "--quiet", "--python", sys.executable, str(folder)]
    _made(folder, venv, ["pip", "install", "--quiet", "--python", python, requirement, *beside])
    return folder / "bin"


@functools.cache
def libraries(extra: str) -> Path:
    """A folder for the module search path with what the extra of the project names, without what that needs in turn:
    it is there."""
    named = requirements(extra)
    wanted = f"{named} {sys.version}"
    folder = cache_home() / "environments" / f"{extra}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    target = ["pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target", str(folder)]
    _made(folder, [*target, *named])
    return folder


def requirements(extra: str) -> list[str]:
    """What an extra of the project names."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    found: list[str] = project["optional-dependencies"][extra]
    return found


def _made(folder: Path, *commands: list[str]) -> None:
    """Runs uv's commands that fill the folder, unless an earlier process has."""
    with locked(folder.with_suffix(".lock")):
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            for command in commands:
                subprocess.run([str(Path(sys.executable).with_name("uv")), *command], check=True)
            (folder / "whole").touch()


SCHEMATHESIS = "schemathesis==4.32.0"


def schemathesis(url: str, *options: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Tests a server against the OpenAPI document at `url`, for at most so long; its exit code is 0 where all held."""
    command = [str(commands(SCHEMATHESIS) / "schemathesis"), "run", url, "--phases", "examples,coverage,fuzzing"]
    # That shape and data of a tensor fit one another is nothing that a JSON schema can say.
    command += ["--exclude-checks", "positive_data_acceptance", "--no-color", *options]
    # It leaves a folder of its own where it runs.
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=folder)
