"""An ONNX model tried in a process of its own, which may crash, hang or be killed and takes nobody along.

What runs there is a module that is given a folder and prints what it found.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


class TrialError(Exception):
    """The process said nothing of use. The message says how it ended, or that it did not."""


def tried(module: str, folder: Path, *, seconds: float) -> bytes:
    """What `python -m MODULE FOLDER` prints. Raises TrialError."""
    command = [sys.executable, "-m", module, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise TrialError(f"ONNX Runtime did not answer within {seconds:.0f} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise TrialError(f"ONNX Runtime ended with {done.returncode}: {said[-1][:500] if said else 'no word'}")
    return done.stdout
