"""`python -m perennial.runtime.trainer [publish|report]`: one run, from PERENNIAL_RUN to the termination message.

Without a word it trains with scikit-learn; `publish` takes what the user's own container left; `report` tells again
what a published version came to.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from perennial.runtime.ending import explained, leave
from perennial.runtime.failures import NoVersionError, RunError
from perennial.runtime.limits import limit_threads
from perennial.wire.places import RUN_ENV
from perennial.wire.result import Result
from perennial.wire.run import Run

from .termination import message


def main(arguments: list[str]) -> int:
    """The exit code: 0 where there is a version, accepted or not."""
    _end_on_sigterm()
    limit_threads()
    started = datetime.now(UTC)
    run: Run | None = None
    try:
        run = _run()
        result = _tracked(run, _command(arguments)(run), started)
    except Exception as error:  # the one place where a run's every end is told
        return _failed(run, error, started)
    say(f"version {result.version}: {result.outcome}")
    leave(message(result))
    return 0


def say(line: str) -> None:
    """One line of progress."""
    print(line, flush=True)


def _command(arguments: list[str]) -> Callable[[Run], Result]:
    # Imported when asked for: `report` needs neither scikit-learn nor pandas.
    if not arguments:
        from .training import train

        return lambda run: train(run, say)
    if arguments == ["publish"]:
        from .publishing import publish

        return lambda run: publish(run, say)
    if arguments == ["report"]:
        from .version import report

        return report
    raise RunError("InvalidCommand", f"{' '.join(arguments)}: the commands are publish and report, or none to train")


def _tracked(run: Run, result: Result, started: datetime) -> Result:
    if run.mlflow is None:
        return result
    from .tracking import tracked

    return tracked(run, run.mlflow, result, started, say)


def _run() -> Run:
    given = os.environ.get(RUN_ENV)
    if given is None:
        raise RunError("InvalidRun", f"the environment has no {RUN_ENV}")
    try:
        return msgspec.json.decode(given, type=Run)
    except msgspec.DecodeError as error:
        raise RunError("InvalidRun", f"{RUN_ENV}: {error}") from error


def _failed(run: Run | None, error: Exception, started: datetime) -> int:
    """Tell the failure in the log, in the message and to the tracker."""
    code, failure = explained(error)
    result = Result(version=run.version if run else 0, outcome="Failed", failure=failure)
    # Before the tracker is told, which may take a minute in which the pod can be ended.
    leave(message(result))
    if run is not None and not isinstance(error, NoVersionError):
        leave(message(_tracked(run, result, started)))
    return code


def _end_on_sigterm() -> None:
    """The first process of a container ignores SIGTERM unless it asks for it, and would hold its pod up for 30 s.

    A thread waits for it, since a handler would wait for the end of scikit-learn's current loop.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def end() -> None:
        signal.sigwait({signal.SIGTERM})
        os.write(2, b"terminated\n")
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=end, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
