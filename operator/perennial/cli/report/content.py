"""What a page says, from a monitor's checkpoint and status: the verdict in words, every feature's effect, the loss."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from perennial.api.conditions import ConditionType, find
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import AnchorStatus, DriftMonitorStatus
from perennial.api.timestamp import to_text
from perennial.cli.drawings.timeline import Bar, Heat, Point, Timeline
from perennial.cli.measure import Measured, alarming, explained_by, measure
from perennial.monitoring import baseline as baselines
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint
from perennial.monitoring.course import Span
from perennial.monitoring.effects import effect
from perennial.monitoring.faults import Finding
from perennial.monitoring.harm import game
from perennial.monitoring.history import STRETCHES, History, crowds, hours
from perennial.monitoring.scan import Scan, looks_in
from perennial.monitoring.verdict import Verdict
from perennial.monitoring.words import at, beside, count, describe
from perennial.wire.counts import summed
from perennial.wire.layout import SCORE, Counts, Layout, bin_counts, binned, layout_of
from perennial.wire.reference import Column, Numeric

HEAT = 24
"""Features whose course is drawn."""

POINTS = 40
"""About how many points the loss over time has."""

HEADLINES = {
    "Harm": "The model has become worse than is tolerated",
    "DataFault": "The data are broken",
    "Drift": "What is served has changed",
    "HarmSuspected": "The model may have become worse",
    "TrainServeSkew": "What is served differs from what was trained on",
    "AnchorDrift": "Version by version, what is learned has moved",
    "MinorDrift": "A change too small to matter",
}
"""By state, the gravest first."""

UNSURE = "Unsure"
"""The state of a page whose monitor cannot judge, or not all."""


@dataclass(frozen=True)
class Found:
    """A verdict as it is told. `until` is None while it stands."""

    state: str
    since: float
    words: str
    done: str | None = None
    next: str | None = None
    found: float | None = None
    until: float | None = None


@dataclass(frozen=True)
class Feature:
    """A column before and now: `rows` since `since`. `state` is the verdict that it is part of, empty for none;
    `excess` its evidence as a share of what alarms, None where it is not watched; `psi` the population stability
    index."""

    column: Column
    state: str
    effect: float
    excess: float | None
    psi: float
    words: str
    since: float
    rows: int
    before: Counts
    now: Counts

    @property
    def name(self) -> str:
        return self.column.name


@dataclass(frozen=True)
class Content:
    """A page. `headline` and `state` are of the gravest verdict; `facts` are tables of names and values by title."""

    title: str
    about: str
    headline: str
    state: str
    explained: str
    found: Sequence[Found]
    features: Sequence[Feature]
    materiality: float
    timeline: Timeline | None
    facts: Mapping[str, Sequence[tuple[str, str]]]


def content(title: str, spec: DriftMonitorSpec, status: DriftMonitorStatus, checkpoint: Checkpoint) -> Content:
    """What the checkpoint and the status have to say."""
    verdicts = sorted(checkpoint.triage.verdicts, key=_order)
    scan = scan_of(checkpoint, spec)
    gravest = verdicts[0] if verdicts else None
    return Content(
        title=title,
        about=_about(checkpoint),
        headline=HEADLINES[gravest.state] if gravest else _calm(checkpoint, status)[0],
        state=gravest.state if gravest else _calm(checkpoint, status)[1],
        explained=_explained(gravest, status),
        found=[_found(verdict, status) for verdict in verdicts],
        features=features(checkpoint, scan, verdicts) if scan else (),
        materiality=spec.materiality,
        timeline=_timeline(checkpoint, spec, scan, verdicts),
        facts=facts(spec, status, checkpoint, scan),
    )


def _order(verdict: Verdict) -> tuple[bool, int]:
    """Broken data first: what else stands beside them may be their doing."""
    return verdict.state != "DataFault", list(HEADLINES).index(verdict.state)


def scan_of(checkpoint: Checkpoint, spec: DriftMonitorSpec) -> Scan | None:
    """What windows are judged by; None while there is no whole baseline."""
    reference, baseline = checkpoint.reference, checkpoint.baseline
    if reference is None or baseline is None or not baseline.complete:
        return None
    layout = layout_of(reference)
    return judge.scanner(layout, baselines.normal(baseline, layout), spec)


def features(checkpoint: Checkpoint, scan: Scan, verdicts: Sequence[Verdict]) -> list[Feature]:
    """Every column, those of verdicts first, then by what has surely changed."""
    if not checkpoint.history:
        return []
    measured = measure(scan, checkpoint.history)
    named: dict[str, tuple[str, Finding]] = {}
    for verdict in verdicts:
        for finding in verdict.features:
            if verdict.state not in ("TrainServeSkew", "AnchorDrift"):
                named.setdefault(finding.name, (verdict.state, finding))
    columns = scan.layout.columns
    alarms = {columns[place].name for place in np.flatnonzero(measured.excess > 1.0).tolist()}
    changed = (alarms | named.keys()) - scan.layout.joint.keys()
    made = [
        _feature(checkpoint.history, scan, measured, place, named.get(column.name), changed)
        for place, column in enumerate(columns)
    ]
    return sorted(made, key=lambda each: (not each.state, -each.effect, each.excess is None, -(each.excess or 0)))


def _feature(
    history: History,
    scan: Scan,
    measured: Measured,
    place: int,
    named: tuple[str, Finding] | None,
    changed: Collection[str],
) -> Feature:
    layout = scan.layout
    column = layout.columns[place]
    since = named[1].since if named else 0.0
    kept = tuple(bucket for bucket in history if bucket.opened >= since) or history
    now = np.sum([bucket.cells for bucket in kept], axis=0)
    watched = bool(np.isfinite(scan.bounds[measured.cut[place]]))
    peak = measured.peak(scan, place)
    before = scan.expected(hours(kept)[-1])
    told = effect(layout, peak, now, before, scan.dispersion(peak, now, float(crowds(kept)[-1])))
    if named:
        state, size, words = named[0], named[1].effect, named[1].words
    elif measured.excess[place] > 1:
        causes = explained_by(layout, place, changed)
        words = f"moves with {', '.join(causes)}" if causes else told.words
        state, size = "", float(measured.effect[place])
    else:
        state, size, words = "", 0.0, "no evidence of a change" if watched else "not watched"
    if size and told.wasserstein and column.name not in (SCORE, *layout.joint):
        words = f"{words}; values moved by {told.wasserstein:.3g} on average"
    cells = (before[layout.slice(place)], now[layout.slice(place)])
    if isinstance(column, Numeric):
        cells = (bin_counts(column, cells[0]), bin_counts(column, cells[1]))
        column = binned(column)
    return Feature(
        column=column,
        state=state,
        effect=size,
        excess=float(measured.excess[place]) if watched else None,
        psi=told.psi,
        words=words,
        since=kept[-1].opened,
        rows=sum(bucket.rows for bucket in kept),
        before=cells[0],
        now=cells[1],
    )


def _about(checkpoint: Checkpoint) -> str:
    model = checkpoint.model
    if model is None:
        return "no model is judged yet"
    return f"{model.title}, as of {at(checkpoint.closed)}" if checkpoint.closed else model.title


def _calm(checkpoint: Checkpoint, status: DriftMonitorStatus) -> tuple[str, str]:
    """What is said where nothing was found, and whether that can be relied upon."""
    if checkpoint.baseline is None or not checkpoint.baseline.complete:
        return "What is normal is still being learned", UNSURE
    if not checkpoint.history:
        return "No window has been judged yet", UNSURE
    ready = find(status.conditions, ConditionType.READY)
    if ready and ready.status != "True":
        return "Nothing has changed, as far as can be seen", UNSURE
    return "Nothing has changed", ""


def _explained(gravest: Verdict | None, status: DriftMonitorStatus) -> str:
    if gravest:
        return sentence(describe(gravest))
    ready = find(status.conditions, ConditionType.READY)
    return f"{ready.message[:1].upper()}{ready.message[1:]}." if ready else ""


def _found(verdict: Verdict, status: DriftMonitorStatus) -> Found:
    told = next((each for each in status.verdicts if each.id == verdict.id), None)
    before = beside(told.previous) if told else None
    return Found(
        state=verdict.state,
        since=verdict.since,
        words=" ".join(map(sentence, filter(None, (describe(verdict), before)))),
        done=told.action if told else None,
        next=told.next if told else None,
        found=verdict.found,
    )


def sentence(words: str) -> str:
    """With a full stop, and with a capital unless it begins with the name of a feature."""
    capital = words[:1].upper() if words.startswith("the ") else words[:1]
    return f"{capital}{words[1:]}{'' if words.endswith('.') else '.'}"


def _timeline(
    checkpoint: Checkpoint, spec: DriftMonitorSpec, scan: Scan | None, verdicts: Sequence[Verdict]
) -> Timeline | None:
    tally, points = checkpoint.tally, _points(checkpoint)
    shown = [(bucket.opened, bucket.closed) for bucket in checkpoint.history]
    shown += [(point.start, point.end) for point in points]
    if not shown:
        return None
    start, end = min(opened for opened, _ in shown), max(closed for _, closed in shown)
    asked = [each for each in checkpoint.governor.requests if start <= each.created <= end]
    rules = game(tally.loss, spec.harm.margin.fraction) if tally.loss else None
    return Timeline(
        start,
        end,
        bars=[Bar(each.state, each.since, end, f"{each.state}: {describe(each)}") for each in verdicts],
        retrains=[each.created for each in asked if each.action == "Retrain"],
        rollbacks=[each.created for each in asked if each.action == "Rollback"],
        points=points,
        reference=rules.reference if rules else None,
        tolerated=rules.tolerated if rules else None,
        heat=_heat(checkpoint.history, scan, spec.materiality) if scan and checkpoint.history else None,
        merged=True,
    )


def _points(checkpoint: Checkpoint) -> list[Point]:
    """The loss by when predictions were made, each point on a like number of labels: single ones jump."""
    spans = checkpoint.tally.losses.spans
    values = checkpoint.tally.loss.values if checkpoint.tally.loss else []
    left = sum(sum(span.cells) for span in spans)
    enough = left / POINTS
    points: list[Point] = []
    opened, cells = 0.0, list[int]()
    for span, following in pairwise([*spans, Span(checkpoint.newest)]):
        if not span.cells:
            continue
        opened, cells = opened if cells else span.opened, summed(cells, span.cells)
        left -= sum(span.cells)
        # A few at the end are no point of their own.
        if sum(cells) >= enough and (left >= enough or not left):
            points.append(_point(opened, max(following.opened, opened), cells, values))
            cells = []
    return points


def _point(opened: float, closed: float, cells: list[int], values: list[float]) -> Point:
    labels = sum(cells)
    return Point(opened, closed, labels, sum(n * v for n, v in zip(cells, values, strict=False)) / max(labels, 1))


def _heat(history: History, scan: Scan, materiality: float) -> Heat | None:
    """Each bucket by itself: what alarms only together with others does not show here."""
    each = [measure(scan, (bucket,)) for bucket in reversed(history)]
    effects = np.array([np.where(one.excess > 1, one.effect, 0.0) / materiality for one in each]).T
    columns = alarming(scan.layout, effects.max(axis=1))[:HEAT]
    if not columns:
        return None
    names = [scan.layout.columns[place].name for place in columns]
    return Heat(names, [(bucket.opened, bucket.closed) for bucket in reversed(history)], effects[columns])


def facts(
    spec: DriftMonitorSpec, status: DriftMonitorStatus, checkpoint: Checkpoint, scan: Scan | None
) -> dict[str, list[tuple[str, str]]]:
    """Windows, thresholds and what the loop is allowed, as tables."""
    tally, window = checkpoint.tally, checkpoint.open
    seen = [
        ("Model", _about(checkpoint)),
        ("Rows counted", f"{tally.rows:,}"),
        ("Labels that came back", f"{tally.labels:,}"),
        *([("Coverage", f"{status.coverage:.1%} of what was served")] if status.coverage is not None else []),
        ("Windows judged", f"{checkpoint.windows:,}"),
        *([("Last window closed", at(checkpoint.closed))] if checkpoint.closed else []),
        *([("Rows in the open window", f"{window.rows:,}")] if window else []),
        *_baseline(spec, checkpoint),
        *_anchors(status),
    ]
    windows = looks_in(spec.false_alarm_every.seconds, spec.window.period.seconds)
    bounds = [
        ("A window has at least", f"{spec.window.min_rows:,} rows and {spec.window.period}"),
        ("False alarms allowed", f"one in {spec.false_alarm_every}: one in {windows:,.0f} windows"),
        *(_bounds(scan) if scan else []),
        ("Material from", f"{spec.materiality:g} of cumulative probability"),
        *_harm(spec, status, checkpoint),
        *(("Taken for granted", words) for words in (status.baseline.assumes if status.baseline else ())),
    ]
    return {"What was seen": seen, "What it is held against": bounds, "What may be done": _allowed(spec, status)}


def _baseline(spec: DriftMonitorSpec, checkpoint: Checkpoint) -> list[tuple[str, str]]:
    baseline = checkpoint.baseline
    if baseline is None:
        return []
    of = "" if baseline.complete else f" of {spec.baseline.rows:,}"
    source = "of the reference" if baseline.source == "Training" else f"served from {at(baseline.since)} on"
    return [("Baseline", f"{baseline.rows:,}{of} rows {source}")]


def _anchors(status: DriftMonitorStatus) -> list[tuple[str, str]]:
    """What slow drift is measured from."""
    return [
        (
            "Anchor",
            f"{count(each.features, 'feature')} as held out by {_version(each)}, "
            f"watched from {to_text(each.since)} on, {count(each.promotions, 'promotion')} ago",
        )
        for each in status.anchors
    ]


def _version(anchor: AnchorStatus) -> str:
    return "the model of then" if anchor.version is None else f"version {anchor.version}"


def _bounds(scan: Scan) -> list[tuple[str, str]]:
    finite = sorted({round(float(bound), 2) for bound in scan.bounds if np.isfinite(bound)})
    watched = int(np.isfinite(scan.bounds).sum())
    return [
        ("A change alarms beyond", f"{' or '.join(f'{bound:g}' for bound in finite)} standard errors"),
        ("Looked at in each window", f"{watched:,} cuts of {_columns(scan.layout)} over up to {STRETCHES} stretches"),
    ]


def _columns(layout: Layout) -> str:
    return f"{len(layout.columns):,} columns"


def _harm(spec: DriftMonitorSpec, status: DriftMonitorStatus, checkpoint: Checkpoint) -> list[tuple[str, str]]:
    tally = checkpoint.tally
    if tally.loss is None:
        return [("Harm", "not to be seen: the reference has no loss")]
    rules = game(tally.loss, spec.harm.margin.fraction)
    told = [("Reference loss", f"{rules.reference:.4g}"), ("Tolerated loss", f"{rules.tolerated:.4g}")]
    if tally.harm:
        limit = float(np.log(judge.looks(spec, judge.HARM_SHARE)))
        told.append(("Evidence of harm", f"{max(tally.harm.evidence, 0.0):.1f}, alarms from {limit:.1f} on"))
    if status.expected_loss:
        told.append(("Loss that scores let expect", f"{status.expected_loss.now:.4g} in the last window"))
    return told


def _allowed(spec: DriftMonitorSpec, status: DriftMonitorStatus) -> list[tuple[str, str]]:
    actions = [f"{action.action} on {action.state}" for action in spec.actions]
    told = [
        ("Actions", ", ".join(actions) or "none: it only tells"),
        ("Cooldown", str(spec.governor.cooldown)),
        ("Stop after", f"{spec.governor.stop_after} retrains or rollbacks in a row that did not help"),
        ("Approval", "by a person, each time" if spec.governor.approval == "Required" else "not asked for"),
    ]
    if spec.dry_run:
        told.append(("Dry run", "actions are named and not taken"))
    told += [
        ("Waits for approval", f"{waiting.action} {waiting.id}, since {to_text(waiting.created_at)}")
        for waiting in status.proposals
    ]
    if status.governor and status.governor.stopped_since:
        since = to_text(status.governor.stopped_since)
        told.append(("Stopped", f"since {since}: nothing more is done until a person releases it"))
    if status.governor and status.governor.cooldown_until:
        told.append(("Nothing before", to_text(status.governor.cooldown_until)))
    if status.governor and status.governor.retrains:
        told.append(("Retrains that did not help", str(status.governor.retrains)))
    if status.governor and status.governor.rollbacks:
        told.append(("Rollbacks that did not help", str(status.governor.rollbacks)))
    told += [
        (f"{request.action} {request.id}", f"{request.state}, made at {to_text(request.created_at)}")
        for request in status.requests
    ]
    return told
