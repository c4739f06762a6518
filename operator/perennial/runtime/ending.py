"""How a process that a Job runs ends: what it failed of, in the log and by its exit code, and its last words as the
container's termination message."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from perennial.wire.result import Failure

from .failures import INTERNAL_EXIT, TRANSIENT_EXIT, RunError

PATH_ENV = "PERENNIAL_TERMINATION_LOG"
PATH = "/dev/termination-log"
_TRACEBACK_LINES = 30


def explained(error: Exception) -> tuple[int, Failure]:
    """The exit code, which says whether a retry may help, and the failure. The log has its words, and the traceback
    where it is nothing that was foreseen."""
    code, failure = _told(error)
    if not isinstance(error, RunError):
        lines = "".join(traceback.format_exception(error)).splitlines()[-_TRACEBACK_LINES:]
        print("\n".join(lines), file=sys.stderr, flush=True)
    print(f"{failure.reason}: {failure.message}", file=sys.stderr, flush=True)
    return code, failure


def leave(message: bytes, path: Path | None = None) -> bool:
    """Write the last words; False where there is no such place, as outside of Kubernetes."""
    try:
        (path or Path(os.environ.get(PATH_ENV, PATH))).write_bytes(message)
    except OSError:
        return False
    return True


def _told(error: Exception) -> tuple[int, Failure]:
    if isinstance(error, RunError):
        return error.exit_code, Failure(error.reason, error.message)
    if isinstance(error, MemoryError):
        return INTERNAL_EXIT, Failure("OutOfMemory", f"memory ran out: set resources.limits.memory higher ({error})")
    if isinstance(error, OSError):
        return TRANSIENT_EXIT, Failure("InputOutput", f"{type(error).__name__}: {error}")
    return INTERNAL_EXIT, Failure("InternalError", f"{type(error).__name__}: {error}"[:1000])
