"""One look at what the pods handed over: fold it, close the window if it is full, learn or scan it, and bet on its
labels.

This is the whole path from counts to verdicts, pure and in the pods' own time, so that a backtest can walk it over
captured counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import numpy as np

from perennial.api.driftmonitor import Baseline as Wanted
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.wire.counts import Epochs
from perennial.wire.layout import CutKind, Layout, layout_of, reference_cells
from perennial.wire.reference import Reference

from . import anchor as anchors
from . import baseline as baselines
from . import bets
from .anchor import Anchor
from .baseline import Baseline
from .checkpoint import Checkpoint, Judged, Open, Tally
from .clocks import follows_clock
from .counts import fold
from .course import Course, anew, close, cut
from .dispersion import Dispersion
from .faults import Finding, Stretch, finding, unexplained
from .history import Bucket, crowds, hours, lengths, opened_since, pushed, rows, stretches
from .on_their_way import on_their_way
from .scan import Normal, Peak, Scan, looks_in
from .sight import sight
from .triage import CLEAN, Triage, anchored, skew, triage

DRIFT_SHARE, FAULT_SHARE, SUSPICION_SHARE, HARM_SHARE = 1 / 4, 1 / 8, 1 / 8, 1 / 2
"""How the allowed false alarms are divided. The scan's bounds hardly notice; a bet's delay grows with the log of its
share."""

TALLIES = 4
"""Models that are remembered, the judged one included."""

CUT_SHORT = 3
"""Versions in a row without a whole baseline after which a monitor learns in vain, for all that is known."""

_REBASED: tuple[str, ...] = ("open", "history", "windows", "opened", "closed", "calm", "sight", "suspicion", "scores")


def begin(checkpoint: Checkpoint, model: Judged, reference: Reference | None) -> Checkpoint:
    """Judge another model from here on: of what was found about the one before only the drift of versions holds."""
    tally = checkpoint.tallies.get(model.sha256, Tally(losses=Course(begun=checkpoint.begun)))
    tallies = _others(checkpoint, model)
    if tally.loss:
        # One that comes back is judged by what it predicts from here on, as its windows are.
        fresh = bets.acquitted(tally, checkpoint.newest)
    else:
        fresh = msgspec.structs.replace(tally, losses=cut(tally.losses, checkpoint.newest)).from_here
    tallies[model.sha256] = msgspec.structs.replace(fresh, stepped=0.0)
    begun = msgspec.structs.replace(
        _rebased(checkpoint),
        model=model,
        reference=None,
        tallies=tallies,
        anchor=_told(checkpoint),
        **_learned(checkpoint),
    )
    return refer(begun, reference) if reference else begun


def _others(checkpoint: Checkpoint, model: Judged) -> dict[str, Tally]:
    """The tallies to keep beside this model's. That of the one before is the last to go: its pods have yet to end, and
    it may be gone back to."""
    before = checkpoint.model.sha256 if checkpoint.model else ""
    others = [digest for digest in checkpoint.tallies if digest != model.sha256]
    others.sort(key=lambda digest: digest == before)
    return {digest: checkpoint.tallies[digest] for digest in others[-(TALLIES - 1) :]}


def _learned(checkpoint: Checkpoint) -> dict[str, Any]:
    """What is remembered of baselines when a version gives way to another."""
    baseline = checkpoint.baseline
    if baseline is None:
        return {}
    if baseline.complete:
        return {"succeeds": True, "cut_short": 0}
    cut_short = checkpoint.cut_short + 1
    return {
        "succeeds": checkpoint.succeeds and cut_short < CUT_SHORT,
        "cut_short": cut_short,
        "cut_short_since": checkpoint.cut_short_since if checkpoint.cut_short else baseline.since,
    }


def refer(checkpoint: Checkpoint, reference: Reference) -> Checkpoint:
    """The checkpoint with the judged model's reference."""
    tally = msgspec.structs.replace(checkpoint.tally, loss=reference.loss)
    tallies = {**checkpoint.tallies, reference.model: tally}
    return msgspec.structs.replace(checkpoint, reference=reference, tallies=tallies)


def start(checkpoint: Checkpoint, since: float) -> Checkpoint:
    """What was served before (Unix seconds), while there was no monitor or a suspended one, is not judged."""
    tallies = {
        digest: msgspec.structs.replace(tally, waiting=[], losses=anew(tally.losses, since))
        for digest, tally in checkpoint.tallies.items()
    }
    return msgspec.structs.replace(checkpoint, begun=since, tallies=tallies)


def release(checkpoint: Checkpoint, token: str) -> Checkpoint:
    """A person has looked: what is served from here on is normal, however it differs from what this model was trained
    on, and the governor starts anew."""
    governor = msgspec.structs.replace(
        checkpoint.governor, retrains=0, rollbacks=0, cooldown_until=0.0, rollback_after=0.0
    )
    fresh = msgspec.structs.replace(
        _rebased(checkpoint), governor=governor, released=token, anchor=None, triage=Triage()
    )
    if not fresh.model:
        return fresh
    tallies = {**fresh.tallies, fresh.model.sha256: bets.acquitted(fresh.tally, checkpoint.newest)}
    return msgspec.structs.replace(fresh, tallies=tallies, settled=fresh.model.sha256)


def advance(checkpoint: Checkpoint, spec: DriftMonitorSpec, answers: Mapping[str, Epochs], now: float) -> Checkpoint:
    """The checkpoint after what the pods, by uid, handed over at `now` (Unix seconds).

    Without a reference yet, only pods that did not serve the judged model are taken from: those of the version before,
    which end.
    """
    reference = checkpoint.reference
    if reference is None:
        others = {pod: answer for pod, answer in answers.items() if not _serves(answer, checkpoint.model)}
        return fold(checkpoint, others, cells=0, now=now)
    cells = sum(column.cells for column in reference.columns)
    checkpoint = fold(_based(_anchored(checkpoint, reference, spec, now), spec, now), answers, cells=cells, now=now)
    window = checkpoint.open
    if window and _is_full(window, spec):
        checkpoint = _judge(checkpoint, window, reference, spec)
    return bets.on_labels(checkpoint, spec, now, steps=looks(spec, HARM_SHARE))


def helped(checkpoint: Checkpoint, spec: DriftMonitorSpec) -> bool:
    """Whether all has been well for so long that what was done before has helped."""
    harm = checkpoint.tally.harm
    labelled = harm.clean if harm else 0
    by_labels = any(action.state == "Harm" for action in spec.actions)
    return checkpoint.calm >= CLEAN["Drift"] and (labelled >= CLEAN["Harm"] or not by_labels)


def looks(spec: DriftMonitorSpec, share: float) -> float:
    """How many windows may pass, on average, between false alarms of a detector that has this share of them."""
    return looks_in(spec.false_alarm_every.seconds, spec.window.period.seconds) / share


def scanner(layout: Layout, normal: Normal, spec: DriftMonitorSpec) -> Scan:
    """The scan with the bounds that the user's allowance gives."""
    return Scan(
        layout,
        normal,
        drift_looks=looks(spec, DRIFT_SHARE),
        fault_looks=looks(spec, FAULT_SHARE),
        exclude=spec.features.exclude,
    )


def _serves(answer: Epochs, model: Judged | None) -> bool:
    return model is None or answer.model == model.sha256


def _rebased(checkpoint: Checkpoint) -> Checkpoint:
    empty = Checkpoint()
    fresh = {name: getattr(empty, name) for name in _REBASED}
    return msgspec.structs.replace(checkpoint, baseline=None, triage=checkpoint.triage.of_versions, **fresh)


def _told(checkpoint: Checkpoint) -> Anchor | None:
    """The anchor, with what is known to have drifted."""
    drift, anchor, reference = checkpoint.triage.of("Drift"), checkpoint.anchor, checkpoint.reference
    if not (drift and anchor and reference):
        return anchor
    names = {feature.name for feature in drift.features}
    return msgspec.structs.replace(anchor, told=tuple(each for each in reference.features if each.name in names))


def _anchored(checkpoint: Checkpoint, reference: Reference, spec: DriftMonitorSpec, now: float) -> Checkpoint:
    """Once for each version: compared with the anchor, which goes on under it."""
    model, anchor = checkpoint.model, checkpoint.anchor
    if model is None or (anchor and anchor.model == reference.model):
        return checkpoint
    rules = anchors.Rules(spec.materiality, looks(spec, DRIFT_SHARE), spec.features.exclude)
    carried = anchors.carried(anchor, reference, model.version, now, rules)
    known = checkpoint.triage.of("AnchorDrift")
    told = {feature.name for feature in known.features} if known else set()
    moved = anchors.moved(carried, reference, rules, told)
    found = anchored(checkpoint.triage, moved, model=model.sha256, found=now)
    return msgspec.structs.replace(checkpoint, anchor=carried, triage=found)


def _based(checkpoint: Checkpoint, spec: DriftMonitorSpec, now: float) -> Checkpoint:
    """With a baseline of the kind that the user wants."""
    baseline, reference = checkpoint.baseline, checkpoint.reference
    if reference is None or (baseline and _is_wanted(baseline, spec)):
        return checkpoint
    layout = layout_of(reference)
    if spec.baseline.source == "Training":
        fresh = baselines.from_training(reference, now)
    else:
        fresh = baselines.from_serving(layout, now)
    # Another one of the same model is what a person asked for, in the spec or by a release.
    first = baseline is None and checkpoint.settled != reference.model
    return msgspec.structs.replace(_rebased(checkpoint), baseline=fresh, succeeds=checkpoint.succeeds and first)


def _is_wanted(baseline: Baseline, spec: DriftMonitorSpec) -> bool:
    """Whether a baseline is of the kind, and if whole of the size, that the spec has: one that was raised since asks
    for another, one that was lowered is kept."""
    if baseline.source != spec.baseline.source:
        return False
    if baseline.source == "Training" or not baseline.complete:
        return True
    return baselines.suffices(baseline, spec.baseline.rows, _period(spec.baseline))


def _period(wanted: Wanted) -> float:
    return float(wanted.period.seconds) if wanted.period else 0.0


def _is_full(window: Open, spec: DriftMonitorSpec) -> bool:
    return window.rows >= spec.window.min_rows and window.closed - window.opened >= spec.window.period.seconds


def _judge(checkpoint: Checkpoint, window: Open, reference: Reference, spec: DriftMonitorSpec) -> Checkpoint:
    baseline = checkpoint.baseline
    if baseline is None:
        return checkpoint
    layout = layout_of(reference)
    bucket = Bucket(1, window.rows, window.opened, window.closed, window.cells, window.hours)
    closed = _closed(checkpoint, window)
    if baseline.complete:
        return _scan(closed, bucket, baseline, layout, spec)
    return _learn(closed, bucket, window.by_hour, baseline, layout, reference, spec)


def _closed(checkpoint: Checkpoint, window: Open) -> Checkpoint:
    tallies = dict(checkpoint.tallies)
    if checkpoint.model:
        tally = checkpoint.tally
        losses = close(tally.losses, window.opened, window.closed, keep=bets.dated(checkpoint.triage))
        tallies[checkpoint.model.sha256] = msgspec.structs.replace(tally, losses=losses)
    return msgspec.structs.replace(
        checkpoint,
        open=None,
        windows=checkpoint.windows + 1,
        opened=window.opened,
        closed=window.closed,
        tallies=tallies,
    )


def _scan(
    checkpoint: Checkpoint, bucket: Bucket, baseline: Baseline, layout: Layout, spec: DriftMonitorSpec
) -> Checkpoint:
    history, pairs = pushed(checkpoint.history, bucket)
    scan = scanner(layout, baselines.normal(baseline, layout), spec)
    found = _triaged(checkpoint, scan, history, spec)
    if not (found.of("Drift") or found.of("DataFault")):
        settled = max(found.quiet.values(), default=0.0)
        fresh = [pair for pair in pairs if pair[0].opened >= settled]
        baseline = baselines.compare(baseline, layout, fresh, scan.normal)
        if not found.of("MinorDrift"):
            baseline = baselines.look_back(baseline, layout, opened_since(history, settled))
    baseline = baselines.weighed(baseline, layout, scan.normal.dispersion, bucket.rows)
    looked = msgspec.structs.replace(checkpoint, history=history, triage=found, baseline=baseline)
    scanned = _mended(looked, checkpoint.triage)
    score = bucket.cells[layout.slice(len(layout.columns) - 1)]
    dispersion = _of_scores(scan, bucket)
    judged = bets.on_scores(scanned, bucket, score, dispersion, spec, steps=looks(spec, SUSPICION_SHARE))
    acting = ("DataFault", "Drift", "HarmSuspected", "Harm")
    calm = 0 if any(verdict.state in acting for verdict in judged.triage.verdicts) else checkpoint.calm + 1
    seen = (sight(scan, rows(history), hours(history)[-1], crowds(history)[-1:]), sight(scan, math.inf))
    return msgspec.structs.replace(judged, calm=calm, sight=seen)


def _mended(checkpoint: Checkpoint, before: Triage) -> Checkpoint:
    """With a fault go the losses that it brought about: the model is not to blame for them."""
    fault = before.of("DataFault")
    if fault is None or checkpoint.triage.of("DataFault") or checkpoint.model is None:
        return checkpoint
    found = checkpoint.triage
    for state in ("Harm", "HarmSuspected"):
        if (verdict := found.of(state)) and verdict.found >= fault.since:
            found = found.replace(state, None)
    tallies = {**checkpoint.tallies, checkpoint.model.sha256: bets.acquitted(checkpoint.tally, checkpoint.closed)}
    return msgspec.structs.replace(checkpoint, triage=found, tallies=tallies, suspicion=None)


def _of_scores(scan: Scan, bucket: Bucket) -> float:
    """The overdispersion of a window's scores, which are its last column."""
    rows = np.array([float(bucket.rows)])
    dispersion = scan.normal.dispersion.of(rows, rows)[0]
    scores = (scan.layout.column == len(scan.layout.columns) - 1) & (scan.layout.kind != CutKind.MISSING)
    return float(dispersion[scores].max(initial=1.0))


def _learn(
    checkpoint: Checkpoint,
    bucket: Bucket,
    by_hour: Mapping[int, bytes],
    baseline: Baseline,
    layout: Layout,
    reference: Reference,
    spec: DriftMonitorSpec,
) -> Checkpoint:
    """A window in which values went missing, by what was learned so far, is not learned from."""
    if baseline.windows:
        cells = np.asarray(baseline.cells)
        normal = Normal(cells, Dispersion(layout, trained=reference.differences, normal=cells), crowd=baseline.crowd)
        found = _triaged(checkpoint, scanner(layout, normal, spec), (bucket,), spec, only_faults=True)
        checkpoint = msgspec.structs.replace(checkpoint, triage=found)
        fault = found.of("DataFault")
        if fault and not fault.clean:
            return checkpoint
    wanted = spec.baseline
    learned = baselines.learn(baseline, layout, bucket, of=wanted.rows, by_hour=by_hour, period=_period(wanted))
    checkpoint = msgspec.structs.replace(checkpoint, baseline=learned)
    return _compared_with_training(checkpoint, learned, layout, spec) if learned.complete else checkpoint


def _compared_with_training(
    checkpoint: Checkpoint, baseline: Baseline, layout: Layout, spec: DriftMonitorSpec
) -> Checkpoint:
    reference, model = checkpoint.reference, checkpoint.model
    if reference is None or model is None or checkpoint.settled == model.sha256:
        return checkpoint
    dispersion = Dispersion(layout, baseline.served, reference.differences, np.asarray(baseline.cells))
    scan = scanner(layout, Normal(reference_cells(reference.columns), dispersion), spec)
    served = np.asarray(baseline.cells)[None, :]
    crowd = baseline.crowd or float(baseline.rows)
    found = unexplained(
        finding(scan, peak, Stretch(served[0], crowd=crowd), since=baseline.since, materiality=spec.materiality)
        for peak in scan.peaks(scan.statistics(served, crowds=np.array([crowd])))
    )
    verdict = skew(found, model=model.sha256, closed=checkpoint.closed, since=baseline.since, n=baseline.rows)
    return msgspec.structs.replace(checkpoint, triage=checkpoint.triage.replace("TrainServeSkew", verdict))


def _triaged(
    checkpoint: Checkpoint,
    scan: Scan,
    history: tuple[Bucket, ...],
    spec: DriftMonitorSpec,
    *,
    only_faults: bool = False,
) -> Triage:
    summed = stretches(history)
    when = hours(history)
    crowded = crowds(history)
    statistics = scan.statistics(summed, when, crowded)
    windows = lengths(history)
    wandering = on_their_way(checkpoint.triage, history, scan.layout, scan.normal.cells)
    # While a baseline is learned its windows are those before; once it is whole it has none any more.
    learned = checkpoint.baseline.recent if checkpoint.baseline else ()
    earlier = history[1:] or learned
    fault = checkpoint.triage.of("DataFault")
    # What is broken may be as narrow as a clock, and remains it.
    broken = {feature.name for feature in fault.features} if fault else set()

    @cache
    def is_clock(place: int) -> bool:
        name = scan.layout.columns[place].name
        return name not in broken and follows_clock(scan.layout, place, scan.normal.cells, earlier)

    def at(peak: Peak) -> Finding:
        return finding(
            scan,
            peak,
            Stretch(
                summed[peak.stretch], when[peak.stretch], float(crowded[peak.stretch]), wandering, is_clock(peak.column)
            ),
            since=history[peak.stretch].opened,
            materiality=spec.materiality,
        )

    def meant(peak: Peak) -> Finding:
        """Of what broke within a stretch only the newest window shows the form."""
        found = at(peak)
        if not peak.stretch or (found.state != "Drift" and found.kind != "Unit"):
            return found
        newest = at(replace(peak, stretch=0, statistic=float(statistics[0, peak.cut])))
        return msgspec.structs.replace(newest, since=found.since) if newest.state == "DataFault" else found

    def findings(within: int | None) -> list[Finding]:
        few = len(windows) if within is None else sum(length <= within for length in windows)
        found = unexplained(meant(peak) for peak in scan.peaks(statistics[:few]))
        return [each for each in found if each.state == "DataFault"] if only_faults else found

    model = checkpoint.model.sha256 if checkpoint.model else ""
    return triage(checkpoint.triage, findings, model=model, opened=history[0].opened, closed=history[0].closed)
