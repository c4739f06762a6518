"""`python -m perennial.runtime.joiner`: one join, from PERENNIAL_JOIN to the termination message."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec

from perennial.runtime.ending import explained, leave
from perennial.runtime.failures import RunError
from perennial.runtime.limits import limit_threads
from perennial.wire.join import JOIN_ENV, Join, Joined
from perennial.wire.places import DATA_SECRET

from .termination import message


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
        code, failure = explained(error)
        leave(message(Joined(number, failure=failure)))
        return code
    leave(message(joined))
    return 0


def say(line: str) -> None:
    """One line of progress."""
    print(line, flush=True)


def _asked() -> Join:
    try:
        return msgspec.json.decode(os.environ.get(JOIN_ENV, ""), type=Join)
    except msgspec.DecodeError as error:
        raise RunError("InvalidJoin", f"{JOIN_ENV}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
