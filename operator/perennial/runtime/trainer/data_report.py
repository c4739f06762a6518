"""The report on rows that break `data.expect`: whole in the store and in the log, its beginning in the message."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from perennial.runtime.failures import InputError
from perennial.runtime.store import StoreError, leave
from perennial.wire.run import Data, Run

from . import times
from .expectations import Breach, breaches
from .split import newest
from .table import Raw
from .version import uri_of

REPORT_FILE = "data-report.json"
MESSAGE_LIMIT = 1200
"""Characters: what a record of a run keeps whole, with room for what is not ASCII in a termination message."""


def refuse_unexpected(run: Run, data: Data, raw: Raw, say: Callable[[str], None]) -> None:
    """Raises InputError where rows within the window break a rule; the report is then in the store and in the log."""
    if not data.expect:
        return
    within = _within(raw, data)
    found = [
        breach for name, expected in data.expect.items() for breach in breaches(raw.column(name), expected, within)
    ]
    if not found:
        say(f"expect: {len(within)} rows keep every rule")
        return
    for breach in found:
        say(f"expect: {breach}")
    place = _left(run, raw, found, say)
    raise InputError("DataRejected", _message(found, place))


def _within(raw: Raw, data: Data) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    if data.time is None or data.window_seconds is None:
        return np.arange(raw.rows)
    seconds, _ = times.seconds_of(raw.column(data.time))
    return np.flatnonzero(newest(seconds, data.window_seconds))


def _left(run: Run, raw: Raw, found: list[Breach], say: Callable[[str], None]) -> str | None:
    """Where the report lies; None where the store does not take it: the run fails for its data all the same."""
    report: Mapping[str, object] = {
        "reason": "DataRejected",
        "definition": run.definition,
        "files": [{"name": origin.name, "sha256": origin.sha256, "rows": origin.rows} for origin in raw.origins],
        "breaches": found,
    }
    uri = uri_of(run)
    try:
        leave(uri, REPORT_FILE, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    except StoreError as error:
        say(f"expect: the report cannot be stored: {error}")
        return None
    return f"{uri}/{REPORT_FILE}"


def _message(found: list[Breach], place: str | None) -> str:
    """The breaches as far as they fit, and where all of them are."""
    lines = [f"data.expect: {len(found)} rules are broken" if len(found) > 1 else "data.expect: 1 rule is broken"]
    where = f"the whole report: {place}" if place else "the pod's log has the whole report"
    room = MESSAGE_LIMIT - len(where)
    for position, breach in enumerate(found):
        line = str(breach)
        if sum(map(len, lines)) + 2 * len(lines) + len(line) > room:
            lines.append(f"and {len(found) - position} more")
            break
        lines.append(line)
    return "; ".join([*lines, where])
