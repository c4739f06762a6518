"""What a DriftMonitor's conditions say: whether it can see and judge, and what it has found.

Each says what, since when, how large and how sure; where nothing was found, what would have been seen.
"""

from __future__ import annotations

from perennial.api.conditions import ConditionType, Finding
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.reasons import DriftMonitorReason

from .baseline import FEWEST_WINDOWS, Baseline
from .checkpoint import Checkpoint, Tally
from .harm import game
from .judge import CUT_SHORT
from .observed import Observed
from .one_sided import one_sided
from .suspicion import why_not
from .words import NAMED, at, count, describe, false_alarms, fault_reason, span

SILENT_WINDOWS = 32
"""Windows without a label after which a monitor that shall act on harm says that it cannot see any."""

FEW_LABELS = 100
"""Labels before which the absence of harm is not claimed. Harm itself is told as soon as it is proved."""


def ready(observed: Observed, checkpoint: Checkpoint) -> Finding:
    """Whether it can see and judge."""
    spec, look, baseline = observed.spec, observed.look, checkpoint.baseline
    reason = DriftMonitorReason
    if spec is None or baseline is None:
        return Finding(False, reason.NOTHING_SERVED, "no pod of the stable revision runs yet")
    if look.unreachable and len(look.unreachable) >= look.serving:
        errors = "; ".join(f"{pod}: {error}" for pod, error in sorted(look.unreachable.items())[:3])
        return Finding(False, reason.COUNTS_UNREACHABLE, f"no pod hands over its counts: {errors}. It is tried again")
    if not baseline.complete:
        # What the loop does by itself leaves the monitor as it was: after a promotion Drifting says that it is unknown.
        return Finding(checkpoint.succeeds, learning_reason(checkpoint), _learning(checkpoint, spec))
    if unobservable := _harm_unobservable(checkpoint, spec) or _unsuspectable(checkpoint, spec):
        return Finding(False, reason.HARM_UNOBSERVABLE, unobservable)
    judges = f"judges {_model(checkpoint)}; {_allowed(spec)}{_misnamed(checkpoint, spec)}"
    if observed.rival:
        rival = f"DriftMonitor {observed.rival} acts for this deployment; this one only watches"
        return Finding(True, reason.SECOND_MONITOR, rival)
    if not look.serving:
        return Finding(True, reason.WATCHING, f"{judges}; no pod runs now")
    return Finding(True, reason.WATCHING, judges)


def learning_reason(checkpoint: Checkpoint) -> DriftMonitorReason:
    """Why nothing is judged yet. What a person has to mend is told apart from what time does: alerts are about it."""
    in_vain = checkpoint.cut_short >= CUT_SHORT
    return DriftMonitorReason.LEARNING_IN_VAIN if in_vain else DriftMonitorReason.LEARNING


def found(checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> dict[ConditionType, Finding]:
    """What it has found in what the judged model sees; nothing where there is none."""
    if checkpoint.model is None:
        return {}
    return {
        ConditionType.DRIFTING: _drifting(checkpoint, spec),
        ConditionType.DATA_FAULT: _data_fault(checkpoint),
        ConditionType.HARMFUL: _harmful(checkpoint, spec),
    }


def _misnamed(checkpoint: Checkpoint, spec: DriftMonitorSpec) -> str:
    """What is excluded and not there: a slip of the pen, or gone since another version."""
    if checkpoint.reference is None:
        return ""
    known = {column.name for column in checkpoint.reference.columns}
    unknown = [name for name in spec.features.exclude if name not in known]
    if not unknown:
        return ""
    more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
    return f"; spec.features.exclude has what is no feature of it: {', '.join(unknown[:NAMED])}{more}"


def _allowed(spec: DriftMonitorSpec) -> str:
    if noisy := false_alarms(spec):
        return noisy
    days = spec.false_alarm_every.seconds / 86_400
    return f"one false alarm in {'1 day' if days == 1 else f'{days:.3g} days'} is allowed"


def _learning(checkpoint: Checkpoint, spec: DriftMonitorSpec) -> str:
    baseline = checkpoint.baseline
    rows, windows = (baseline.rows, baseline.windows) if baseline else (0, 0)
    held = checkpoint.triage.of("DataFault")
    message = (
        f"the baseline of {_model(checkpoint)} has {rows} of at least {spec.baseline.rows} rows, "
        f"{windows} of at least {FEWEST_WINDOWS} windows"
    )
    period = spec.baseline.period
    if period:
        message = f"{message}, and takes at least {period}"
    message += _misnamed(checkpoint, spec) + _in_vain(checkpoint)
    if held and not held.clean:
        return f"{message}; windows with a DataFault are not learned from"
    if not baseline or not rows or not windows:
        return message
    # By the last window's clock: a message that changes with every look would be written with every look.
    took = max(spec.baseline.rows / rows, FEWEST_WINDOWS / windows) * (checkpoint.closed - baseline.since)
    whole = baseline.since + max(took, period.seconds if period else 0.0)
    return f"{message}; at this rate it is whole at {at(whole)}"


def _in_vain(checkpoint: Checkpoint) -> str:
    """That versions come faster than baselines are learned, which waiting does not mend."""
    baseline, replaced = checkpoint.baseline, checkpoint.cut_short
    if baseline is None or replaced < CUT_SHORT:
        return ""
    lasted = span((baseline.since - checkpoint.cut_short_since) / replaced)
    return (
        f"; the last {replaced} versions gave way before theirs was whole, after {lasted} on average: if that goes on, "
        "drift is never looked for. Ask for less (spec.baseline.rows, spec.baseline.period), train less often, or "
        "compare with what each version held out, at once (spec.baseline.from: Training)"
    )


def _harm_unobservable(checkpoint: Checkpoint, spec: DriftMonitorSpec) -> str | None:
    """Only for who wants action on harm: without labels there is drift alone to be seen."""
    if not any(action.state == "Harm" for action in spec.actions):
        return None
    tally = checkpoint.tally
    if tally.loss is None:
        return "the version's reference has no loss that labels could be compared with"
    if tally.labels or checkpoint.windows < SILENT_WINDOWS:
        return None
    return (
        f"no label came back in {checkpoint.windows} windows: send labels with their receipts to the feedback "
        "endpoint, or name the table that has them in spec.labels, or harm cannot be seen and is not acted upon"
    )


def _unsuspectable(checkpoint: Checkpoint, spec: DriftMonitorSpec) -> str | None:
    """Only for who wants action on a suspicion."""
    if not any(action.state == "HarmSuspected" for action in spec.actions) or checkpoint.reference is None:
        return None
    return why_not(checkpoint.reference, spec.harm.margin.fraction)


def _model(checkpoint: Checkpoint) -> str:
    return checkpoint.model.title if checkpoint.model else "no model"


def _drifting(checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> Finding:
    reason, triage, baseline = DriftMonitorReason, checkpoint.triage, checkpoint.baseline
    if drift := triage.of("Drift"):
        return Finding(True, reason.DRIFT, describe(drift))
    over_versions = "; what versions held out has moved (AnchorDrift)" if triage.of("AnchorDrift") else ""
    if baseline is None or not baseline.complete:
        return Finding(None, reason.LEARNING, f"there is no baseline to compare with yet{over_versions}")
    if minor := triage.of("MinorDrift"):
        return Finding(False, reason.MINOR_DRIFT, f"{describe(minor)}: below spec.materiality{over_versions}")
    if not checkpoint.history:
        return Finding(False, reason.NO_DRIFT, f"no window has closed yet{_open(checkpoint, spec)}")
    beside = "beside what is broken (DataFault), " if triage.of("DataFault") else ""
    looked = f"{beside}nothing differs from the baseline in {count(checkpoint.windows, 'window')}"
    return Finding(False, reason.NO_DRIFT, f"{looked}; {_visible(checkpoint, baseline, spec)}{over_versions}")


def _open(checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> str:
    if checkpoint.open is None or spec is None:
        return ""
    return f": {checkpoint.open.rows} of at least {spec.window.min_rows} rows since {at(checkpoint.open.opened)}"


def _visible(checkpoint: Checkpoint, baseline: Baseline, spec: DriftMonitorSpec | None) -> str:
    """Whether silence says anything."""
    now, ever = checkpoint.sight
    shows = f"a difference of {now:.2g} of cumulative probability would show"
    if spec is None or now <= spec.materiality:
        return shows
    if ever > spec.materiality:
        return f"{shows}, and no less than {ever:.2g} with a baseline of {count(baseline.rows, 'row')}"
    return f"{shows}, and less with more rows"


def _data_fault(checkpoint: Checkpoint) -> Finding:
    reason, baseline = DriftMonitorReason, checkpoint.baseline
    if fault := checkpoint.triage.of("DataFault"):
        return Finding(True, fault_reason(fault), describe(fault))
    if baseline is None or not baseline.rows:
        return Finding(None, reason.LEARNING, "nothing was seen yet")
    return Finding(False, reason.NO_FAULT, "no values are missing, unknown, forbidden or in another unit")


def _harmful(checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> Finding:
    reason, tally, reference = DriftMonitorReason, checkpoint.tally, checkpoint.reference
    if harm := checkpoint.triage.of("Harm"):
        return Finding(True, reason.HARM, describe(harm))
    if suspicion := checkpoint.triage.of("HarmSuspected"):
        return Finding(None, reason.HARM_SUSPECTED, f"{describe(suspicion)}; {_labels(tally)} came back")
    if reference and (alone := one_sided(tally, reference)) is not None:
        message = f"{_labels(tally)} came back, all of class {alone}: if others do not, they say nothing of harm"
        return Finding(None, reason.TOO_FEW_LABELS, message)
    if tally.loss is None or spec is None:
        lacking = "no loss to compare with" if spec else "no valid spec to judge them by"
        return Finding(None, reason.TOO_FEW_LABELS, f"{_labels(tally)} came back, and there is {lacking}")
    judged = tally.losses.labels
    if judged < FEW_LABELS:
        blind = why_not(reference, spec.harm.margin.fraction) if reference else None
        others = f", {judged} of them for what is judged" if judged < tally.labels else ""
        came = f"{_labels(tally)} came back{others}"
        message = f"{came}; harm is not proved, and that there is none is said from {FEW_LABELS} on"
        return Finding(None, reason.TOO_FEW_LABELS, f"{message}; {blind}" if blind else message)
    rules = game(tally.loss, spec.harm.margin.fraction)
    tolerated = f"{rules.tolerated:.3g} (the reference's is {rules.reference:.3g})"
    told = _labels(tally) if judged == tally.labels else count(judged, "label")
    return Finding(False, reason.NO_HARM, f"{told} speak for no loss above {tolerated}")


def _labels(tally: Tally) -> str:
    """How many, and for how much of what was served."""
    said, labelled = count(tally.labels, "label"), tally.labelled
    return said if labelled is None else f"{said} (for {100 * labelled:.3g}% of the rows)"
