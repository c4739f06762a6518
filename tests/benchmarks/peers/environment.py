"""The peers' Python environment: from PyPI, outside the repository, named by what is in it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import sklearn

PACKAGES = (
    "mlserver==1.7.1",
    "mlserver-sklearn==1.7.1",
    "fastapi",
    "uvicorn",
    "httptools",
    "uvloop",
    f"scikit-learn=={sklearn.__version__}",
)


def python() -> Path:
    """The environment's interpreter; it is made, about a minute, where it is not there."""
    digest = hashlib.sha256(f"{sys.version} {PACKAGES}".encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "perennial" / "benchmarks" / digest
    interpreter, whole = folder / "bin" / "python", folder / "whole"
    if not whole.exists():
        print(f"installing {', '.join(PACKAGES)} into {folder}", flush=True)
        uv = Path(sys.prefix) / "bin" / "uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", interpreter, *PACKAGES], check=True)
        whole.touch()
    return interpreter
