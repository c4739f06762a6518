"""`python -m perennial.runtime.joiner`: one join, from PERENNIAL_JOIN to the termination message."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

import msgspec

from perennial.runtime.failures import INTERNAL_EXIT, TRANSIENT_EXIT, RunError
from perennial.runtime.limits import limit_threads
from perennial.runtime.trainer.termination import PATH, PATH_ENV
from perennial.wire.join import JOIN_ENV, Join, Joined
from perennial.wire.places import DATA_SECRET
from perennial.wire.result import TERMINATION_MESSAGE_LIMIT, Failure

_TRACEBACK_LINES = 30


def main() -> int:
    """The exit code: 0 where everything that is new was read."""
    # The first process of a container ignores it unless it asks for it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    limit_threads()
    number = 0
    try:
        asked = _asked()
        number = asked.number
        # Imported now: numerical libraries ask once how many threads there are.
        from .join import join

        joined = join(asked, Path(DATA_SECRET), say)
    except Exception as error:  # the one place where a join's every end is told
        return _failed(number, error)
    _write(joined)
    return 0


def say(line: str) -> None:
    """One line of progress."""
    print(line, flush=True)


def _asked() -> Join:
    try:
        return msgspec.json.decode(os.environ.get(JOIN_ENV, ""), type=Join)
    except msgspec.DecodeError as error:
        raise RunError("InvalidJoin", f"{JOIN_ENV}: {error}") from error


def _failed(number: int, error: Exception) -> int:
    code, failure = _told(error)
    if not isinstance(error, RunError):
        lines = "".join(traceback.format_exception(error)).splitlines()[-_TRACEBACK_LINES:]
        print("\n".join(lines), file=sys.stderr, flush=True)
    print(f"{failure.reason}: {failure.message}", file=sys.stderr, flush=True)
    _write(Joined(number, failure=failure))
    return code


def _told(error: Exception) -> tuple[int, Failure]:
    if isinstance(error, RunError):
        return error.exit_code, Failure(error.reason, error.message)
    if isinstance(error, OSError):
        return TRANSIENT_EXIT, Failure("InputOutput", f"{type(error).__name__}: {error}")
    return INTERNAL_EXIT, Failure("InternalError", f"{type(error).__name__}: {error}"[:1000])


def _write(joined: Joined) -> None:
    from .join import shortened

    try:
        Path(os.environ.get(PATH_ENV, PATH)).write_bytes(shortened(joined, TERMINATION_MESSAGE_LIMIT))
    except OSError as error:
        print(f"the result could not be told: {error}: {joined}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
