"""What a monitor has to say, for the person who reads its status."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import PreviousLoss
from perennial.api.driftmonitor_status import Verdict as VerdictStatus
from perennial.api.reasons import DriftMonitorReason
from perennial.api.timestamp import to_text

from .verdict import State, Verdict

NAMED = 3
"""Features named in a sentence."""


_FAULTS = {
    "Missing": DriftMonitorReason.MISSING_VALUES,
    "Unit": DriftMonitorReason.UNIT_CHANGED,
    "Forbidden": DriftMonitorReason.FORBIDDEN_VALUES,
}


def fault_reason(fault: Verdict) -> DriftMonitorReason:
    """What is broken most."""
    return _FAULTS.get(fault.features[0].kind, DriftMonitorReason.UNSEEN_VALUES)


def count(number: int, what: str) -> str:
    """With an s where there are several."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def span(seconds: float) -> str:
    """A time to wait, in its two largest units."""
    left = max(round(seconds), 0)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        parts += [f"{number}{unit}"] if number or (unit == "s" and not parts) else []
    return "".join(parts[:2])


def false_alarms(spec: DriftMonitorSpec) -> str | None:
    """Why what is found means nothing; None for a policy that can tell."""
    if spec.false_alarm_every.seconds > spec.window.period.seconds:
        return None
    return "every window may be a false alarm: spec.falseAlarmEvery is not longer than spec.window.period"


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def at(seconds: float) -> str:
    return to_text(moment(seconds))


def digits(value: float) -> float:
    """Four of them: what follows is noise."""
    return float(f"{value:.4g}")


def describe(verdict: Verdict) -> str:
    """What was found, in one sentence."""
    if verdict.loss:
        loss = verdict.loss
        suspected = verdict.state == "HarmSuspected"
        found = f"scores let expect a loss of {loss.now:.3g} on" if suspected else f"the loss is {loss.now:.3g} on"
        counted = f"{verdict.n} {'rows' if suspected else 'labels'} since {at(verdict.since)}"
        tolerated = f"the reference's is {loss.reference:.3g}, up to {loss.tolerated:.3g} is tolerated"
        return f"{found} {counted}; {tolerated}"
    differ = [(each.name, each.words, each.effect, each.statistic) for each in verdict.features]
    return _differing(verdict.state, differ, at(verdict.since), verdict.n)


def described(verdict: VerdictStatus) -> str:
    """The same of a status, of what differs."""
    differ = [(each.name, each.message, each.effect, each.statistic) for each in verdict.features]
    return _differing(verdict.state, differ, to_text(verdict.since), verdict.samples)


def beside(previous: PreviousLoss | None) -> str | None:
    """How the version before does on the same labelled rows; None where there are none yet."""
    if previous is None or previous.loss is None or previous.now is None:
        return None
    title = f"version {previous.version}" if previous.version is not None else "the version before"
    losses = f"a loss of {previous.loss:.4g} where this one has {previous.now:.4g}"
    proof = "proved" if previous.wins else "not proved"
    return f"{title} has {losses}, on {previous.samples:,} rows labelled since; {proof} to be better"


def _differing(state: State, differ: Sequence[tuple[str, str, float, float]], since: str, n: int) -> str:
    """Features by name, what happened to them, effect and statistic."""
    over_versions = state == "AnchorDrift"
    least = "at least " if over_versions else ""
    named = "; ".join(
        f"{name}: {words} ({least}{effect:.2f} of cumulative probability, {abs(statistic):.0f} standard errors)"
        for name, words, effect, statistic in differ[:NAMED]
    )
    more = len(differ) - NAMED
    others = f" and {more} more" if more > 0 else ""
    if over_versions:
        return f"{named}{others}, found on {n} held-out rows"
    return f"{named}{others}, since {since}, found on {n} rows"
