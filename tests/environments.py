"""Python environments with what must not be beside our own libraries, made once a machine and kept in the cache."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster.locks import locked
from cluster.paths import cache_home


@functools.cache
def commands(requirement: str, *beside: str) -> Path:
    """The `bin` of an environment for this Python with `requirement` (`name==1.2`) installed from the package index,
    and `beside` it what it needs in other versions than the newest."""
    wanted = " ".join([requirement, *beside, sys.version])
    name = re.split(r"\W", requirement)[0]
    folder = cache_home() / "environments" / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    with locked(folder.with_suffix(".lock")):
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            uv, python = str(Path(sys.executable).with_name("uv")), str(folder / "bin" / "python")
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
            subprocess.run([uv, "pip", "install", "--quiet", "--python", python, requirement, *beside], check=True)
            (folder / "whole").touch()
    return folder / "bin"


SCHEMATHESIS = "schemathesis==4.32.0"


def schemathesis(url: str, *options: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Tests a server against the OpenAPI document at `url`, for at most so long; its exit code is 0 where all held."""
    command = [str(commands(SCHEMATHESIS) / "schemathesis"), "run", url, "--phases", "examples,coverage,fuzzing"]
    # That shape and data of a tensor fit one another is nothing that a JSON schema can say.
    command += ["--exclude-checks", "positive_data_acceptance", "--no-color", *options]
    # It leaves a folder of its own where it runs.
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=folder)
