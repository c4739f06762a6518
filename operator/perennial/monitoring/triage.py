"""From findings to verdicts: which state, since when, and when it is over.

A verdict is latched. It goes when the windows since it was last seen, taken alone and together, have looked normal for
long enough: the merged windows of the scan still hold the change after it has ended, so only stretches within the
clean run are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from .course import Course, rise, since
from .faults import Finding, FindingState, unexplained
from .harm import Game, Harm
from .verdict import Loss, State, Verdict, identify

CLEAN: dict[State, int] = {"DataFault": 8, "Drift": 32, "MinorDrift": 32, "HarmSuspected": 32, "Harm": 32}
"""Clean windows (for harm: steps of labels) after which a verdict is over. A fault holds training, so it goes
sooner."""

SHOWN = 20
"""Features named in a verdict, the largest effects first."""

Findings = Callable[[int | None], list[Finding]]
"""What the scan finds in stretches of at most so many windows; in all for None."""

HarmState = Literal["HarmSuspected", "Harm"]

_FOUND: tuple[FindingState, ...] = ("DataFault", "Drift", "MinorDrift")


class Triage(msgspec.Struct, frozen=True):
    """The verdicts, and per state from when on a stretch must begin to count: what was over is not found again."""

    verdicts: tuple[Verdict, ...] = ()
    quiet: dict[str, float] = {}

    def of(self, state: State) -> Verdict | None:
        return next((verdict for verdict in self.verdicts if verdict.state == state), None)

    @property
    def of_versions(self) -> Triage:
        """What another baseline does not end: it was not found by one."""
        return Triage(tuple(verdict for verdict in self.verdicts if verdict.state == "AnchorDrift"))

    def replace(self, state: State, verdict: Verdict | None) -> Triage:
        others = tuple(other for other in self.verdicts if other.state != state)
        return Triage((*others, verdict) if verdict else others, self.quiet)


def triage(before: Triage, findings: Findings, *, model: str, opened: float, closed: float) -> Triage:
    """The verdicts after one more window, which was open from `opened` to `closed`."""
    found = [finding for finding in findings(None) if finding.since >= before.quiet.get(finding.state, 0.0)]
    after = before
    for state in _FOUND:
        known = after.of(state)
        # Broken data come first: what they bring about is no drift.
        fault = None if state == "DataFault" else after.of("DataFault")
        if known:
            recent = _sound(findings(known.clean + 1), fault)
            after = _again(after, known, _sound(found, fault), recent, opened)
        elif fresh := _new_to(after, state, _sound(found, fault)):
            strongest = max(fresh, key=lambda finding: abs(finding.statistic))
            verdict = Verdict(identify(model, state, closed), state, strongest.since, closed, strongest.n)
            after = after.replace(state, _with(verdict, fresh))
    return _without_repetition(_without_fault(after))


def triage_harm(
    before: Triage, harm: Harm, game: Game, course: Course, *, state: HarmState = "Harm", model: str, closed: float
) -> Triage:
    """The verdicts after one more step of the bet, on labels or on what scores let expect, whose course that is."""
    known = before.of(state)
    if not harm.alarm and known is None:
        return before
    if known and harm.clean >= CLEAN[state]:
        return before.replace(state, None)
    if not harm.alarm:
        return before
    found = since(course, game, known.since) if known else rise(course, game)
    loss = Loss(game.reference, harm.tolerated, found.loss)
    verdict = known or Verdict(identify(model, state, closed), state, found.since, closed, found.labels)
    return before.replace(state, msgspec.structs.replace(verdict, loss=loss, n=found.labels))


def skew(findings: Iterable[Finding], *, model: str, closed: float, since: float, n: int) -> Verdict | None:
    """The one-time comparison of a baseline from serving with training: material differences only."""
    material = [finding for finding in findings if finding.state != "MinorDrift"]
    if not material:
        return None
    verdict = Verdict(identify(model, "TrainServeSkew", closed), "TrainServeSkew", since, closed, n)
    return _with(verdict, material)


def anchored(before: Triage, findings: Sequence[Finding], *, model: str, found: float) -> Triage:
    """The verdicts after one more version was compared with the anchor: what lasts from version to version is one
    verdict."""
    if not findings:
        return before.replace("AnchorDrift", None)
    since = min(finding.since for finding in findings)
    known = before.of("AnchorDrift") or Verdict(identify(model, "AnchorDrift", found), "AnchorDrift", since, found, 0)
    return before.replace("AnchorDrift", _with(msgspec.structs.replace(known, since=since, features=()), findings))


def _again(after: Triage, known: Verdict, found: Sequence[Finding], recent: Sequence[Finding], opened: float) -> Triage:
    state = known.state
    if any(_keeps(known, finding) for finding in recent):
        seen = [finding for finding in found if finding.state == state]
        updated = msgspec.structs.replace(known, clean=0, clean_since=0.0, features=_lasting(known, found))
        return after.replace(state, _with(updated, seen))
    clean_since = known.clean_since if known.clean else opened
    if known.clean + 1 < CLEAN[state]:
        return after.replace(state, msgspec.structs.replace(known, clean=known.clean + 1, clean_since=clean_since))
    over = after.replace(state, None)
    # Longer stretches still hold the broken rows, which then look like drift.
    quiet = _FOUND if state == "DataFault" else (state,)
    return Triage(over.verdicts, {**over.quiet, **dict.fromkeys(quiet, clean_since)})


def _lasting(known: Verdict, found: Sequence[Finding]) -> tuple[Finding, ...]:
    """The features of a verdict that goes on, without those that have long been well though others are not."""
    seen = {(finding.name, finding.kind) for finding in found if _keeps(known, finding)}
    features = [
        msgspec.structs.replace(each, clean=0 if (each.name, each.kind) in seen else each.clean + 1)
        for each in known.features
    ]
    # What keeps the verdict may be of a kind that it has not had: it is never about nothing.
    return tuple(each for each in features if each.clean < CLEAN[known.state]) or known.features


def _sound(findings: Sequence[Finding], fault: Verdict | None) -> list[Finding]:
    """Without what broken data bring about: their own columns, joint ones that they are part of, and the score."""
    if fault is None:
        return list(findings)
    broken = {feature.name for feature in fault.features}
    return [finding for finding in unexplained((*findings, *fault.features)) if finding.name not in broken]


def _keeps(known: Verdict, finding: Finding) -> bool:
    """Drift that has become small is still the same change; a fault that has become small is mended."""
    if finding.state == known.state:
        return True
    named = any(feature.name == finding.name and feature.kind == finding.kind for feature in known.features)
    return known.state == "Drift" and finding.state == "MinorDrift" and named


def _new_to(after: Triage, state: FindingState, found: Sequence[Finding]) -> list[Finding]:
    drifting = after.of("Drift")
    larger = {feature.name for feature in drifting.features} if drifting and state == "MinorDrift" else set()
    return [finding for finding in found if finding.state == state and finding.name not in larger]


def _with(verdict: Verdict, findings: Sequence[Finding]) -> Verdict:
    """The verdict with these features, which replace what it knew of them, and explain joint changes that it had."""
    features = {(feature.name, feature.kind): feature for feature in (*verdict.features, *findings)}
    largest = sorted(unexplained(features.values()), key=lambda feature: -feature.effect)[:SHOWN]
    n = max((finding.n for finding in findings), default=verdict.n)
    return msgspec.structs.replace(verdict, features=tuple(largest), n=n)


def _without_fault(after: Triage) -> Triage:
    """What looked like drift while a fault began was the fault."""
    fault = after.of("DataFault")
    for state in _FOUND[1:]:
        if fault and (verdict := after.of(state)):
            left = tuple(_sound(verdict.features, fault))
            after = after.replace(state, msgspec.structs.replace(verdict, features=left) if left else None)
    return after


def _without_repetition(after: Triage) -> Triage:
    """A feature that drifts materially is no minor drift beside it."""
    drifting, minor = after.of("Drift"), after.of("MinorDrift")
    if not drifting or not minor:
        return after
    larger = {feature.name for feature in drifting.features}
    left = tuple(feature for feature in minor.features if feature.name not in larger)
    return after.replace("MinorDrift", msgspec.structs.replace(minor, features=left) if left else None)
