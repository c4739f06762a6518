"""How the rows differ from those of the version accepted before: what is new in them, and what looks broken.

It is said and decides nothing. Data that changes is what retraining is for; data that broke is what rules of
`data.expect` are for, and this says where one is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from perennial.runtime.store import StoreError, open_version
from perennial.wire.manifest import EXPECTATIONS_FILE, SealError
from perennial.wire.run import Accepted, Run

Rule = Mapping[str, Any]

NOTES_LIMIT = 10
_BROKEN_NULLS = 20.0
"""Percentage points more of missing values: no drift, but something that is no longer filled in."""
_FAR = 10.0
"""Widths of the range before beyond it: another unit, or a sentinel such as -999."""
_SHOWN = 5


def changes(run: Run, now: Mapping[str, Any], say: Callable[[str], None]) -> list[str]:
    """One note a column that differs, those that look broken first; `now` has the form of `expectations.json`."""
    if run.before is None or (before := _of(run.before, say)) is None:
        return []
    broken, changed = [], []
    for name, rule in now["columns"].items():
        if name not in before:
            changed.append(f"{name}: new since version {run.before.version}")
            continue
        was = before[name]
        broken += [f"{name} looks broken: {what}" for what in _broken(was, rule)]
        changed += [f"{name} changed: {what}" for what in _changed(was, rule)]
    changed += [f"{name}: in version {run.before.version} and no more" for name in before if name not in now["columns"]]
    notes = [f"since version {run.before.version} {note}" for note in [*broken, *changed]][:NOTES_LIMIT]
    for note in notes:
        say(f"data: {note}")
    return notes


def _of(before: Accepted, say: Callable[[str], None]) -> dict[str, Rule] | None:
    """Its rules by column; None where they cannot be had, which is no reason to fail."""
    try:
        version = open_version(before.uri, sha256=before.sha256, seal=before.seal)
        if EXPECTATIONS_FILE not in version:
            return None
        columns: dict[str, Rule] = msgspec.json.decode(version.read(EXPECTATIONS_FILE))["columns"]
    except (StoreError, SealError, msgspec.DecodeError, KeyError) as error:
        say(f"data: not compared with that of version {before.version}: {error}")
        return None
    return columns


def _broken(was: Rule, now: Rule) -> list[str]:
    if was.get("type") != now.get("type"):
        return [f"its values are {now.get('type', 'of no type')} and were {was.get('type', 'of no type')}"]
    found = []
    if _percent(now) - _percent(was) >= _BROKEN_NULLS:
        found.append(f"{now['nulls']} are missing, {was['nulls']} were")
    if "values" in was and "values" in now and not set(was["values"]) & set(now["values"]):
        found.append(f"none of its values was there before: {_few(now['values'])}")
    if "min" in was and "min" in now:
        room = _FAR * (was["max"] - was["min"])
        if room > 0 and (now["min"] < was["min"] - room or now["max"] > was["max"] + room):
            found.append(f"it reaches from {now['min']:g} to {now['max']:g}, {was['min']:g} to {was['max']:g} before")
    return found


def _changed(was: Rule, now: Rule) -> list[str]:
    if "values" not in was or "values" not in now:
        return []
    found = []
    for one, other, what in ((now["values"], was["values"], "new"), (was["values"], now["values"], "gone")):
        if difference := sorted(set(one) - set(other)):
            found.append(f"{len(difference)} of {len(one)} values are {what}: {_few(difference)}")
    return found


def _percent(rule: Rule) -> float:
    return float(str(rule.get("nulls", "0%")).removesuffix("%"))


def _few(values: list[str]) -> str:
    return ", ".join(values[:_SHOWN]) + (f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else "")
