"""The status as a view of the checkpoint: conditions, verdicts and requests in the API's words."""

from __future__ import annotations

from datetime import datetime

from perennial.api.conditions import ConditionType, Finding, health, settle
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import (
    ActionProposal,
    ActionRequest,
    BaselineStatus,
    DriftMonitorStatus,
    FeatureDrift,
    GovernorStatus,
    HandledVerbs,
    JoinStatus,
    JudgedModel,
    LossChange,
    PreviousLoss,
    WindowCount,
)
from perennial.api.driftmonitor_status import Verdict as VerdictStatus
from perennial.api.reasons import DriftMonitorReason
from perennial.wire.join import DIGEST
from perennial.wire.stats import Pairs

from .baseline import FEWEST_WINDOWS, Baseline
from .before import wins
from .checkpoint import Checkpoint, Joins, Tally
from .counts import coverage
from .faults import Finding as DriftFinding
from .harm import game
from .joins import Joining
from .objections import Decision, Decisions
from .observed import Observed
from .requests import Back, Proposal, Request
from .suspicion import mean_loss, why_not
from .triage import CLEAN
from .verdict import Verdict
from .words import at, count, describe, fault_reason, moment, span

SILENT_WINDOWS = 32
"""Windows without a label after which a monitor that shall act on harm says that it cannot see any."""

_TIMES = {"Cooldown": " at", "Braked": "; one is possible at"}
"""How a decision's time is said; of all others it is until when they hold."""

FEW_LABELS = 100
"""Labels before which the absence of harm is not claimed."""

TOGETHER = 10
"""Features shown of a joint change."""


def status(
    observed: Observed,
    checkpoint: Checkpoint,
    decisions: Decisions,
    now: datetime,
    *,
    labels: Joining | None = None,
    stalled: Finding | None = None,
    blocked: Finding | None = None,
) -> DriftMonitorStatus:
    """The whole status. `decisions` are by verdict id; `stalled` or `blocked` say why the monitor cannot do its
    job."""
    spec = observed.spec
    ready = stalled or blocked or _ready(observed, checkpoint)
    if stalled or blocked:
        ready = Finding(False, ready.reason, ready.message)
    conditions = settle(
        observed.status.conditions,
        # A suspended monitor claims nothing: what it once found must not hold training for ever.
        health(ready, stalled=stalled)
        | ({} if spec and spec.suspend else _found(checkpoint, spec))
        | _joined(observed, checkpoint.joins, labels),
        generation=observed.generation,
        now=now,
    )
    tally, window = checkpoint.tally, checkpoint.open
    covered = coverage(tally)
    judged = checkpoint.model
    period = spec.window.period.seconds if spec else 0
    return DriftMonitorStatus(
        observed_generation=observed.generation,
        conditions=conditions,
        training_job=observed.deployment.training_job if observed.deployment else None,
        model=JudgedModel(version=judged.version, sha256=judged.sha256) if judged else None,
        baseline=_baseline(checkpoint, spec),
        rows=tally.rows if judged else None,
        labels=tally.labels if judged else None,
        label_coverage=round(tally.labels / tally.rows, 4) if judged and tally.rows else None,
        joins=_joins(checkpoint.joins, labels, observed) if spec and spec.labels else None,
        coverage=round(covered, 4) if covered is not None else None,
        expected_loss=_expected_loss(checkpoint, spec),
        windows=WindowCount(
            count=checkpoint.windows,
            last=moment(checkpoint.closed) if checkpoint.closed else None,
            rows_open=window.rows if window else 0,
        )
        if judged
        else None,
        verdicts=tuple(
            _verdict(observed, verdict, decisions.get(verdict.id, ()), checkpoint)
            for verdict in _newest_first(checkpoint)
        ),
        requests=tuple(_request(request) for request in checkpoint.governor.requests),
        proposals=tuple(_proposal(proposal) for proposal in checkpoint.governor.proposals),
        governor=_governor(checkpoint, now),
        next_window=moment(window.opened + period) if window else None,
        handled=HandledVerbs(release=checkpoint.released, approve=checkpoint.governor.approved),
    )


def _ready(observed: Observed, checkpoint: Checkpoint) -> Finding:
    spec, look, baseline = observed.spec, observed.look, checkpoint.baseline
    reason = DriftMonitorReason
    if spec is None or baseline is None:
        return Finding(False, reason.NOTHING_SERVED, "no pod of the stable revision runs yet")
    if look.unreachable and len(look.unreachable) >= look.serving:
        errors = "; ".join(f"{pod}: {error}" for pod, error in sorted(look.unreachable.items())[:3])
        return Finding(False, reason.COUNTS_UNREACHABLE, f"no pod hands over its counts: {errors}. It is tried again")
    if not baseline.complete:
        return Finding(False, reason.LEARNING, _learning(checkpoint, spec))
    if unobservable := _harm_unobservable(checkpoint, spec) or _unsuspectable(checkpoint, spec):
        return Finding(False, reason.HARM_UNOBSERVABLE, unobservable)
    judges = f"judges {_model(checkpoint)}; one false alarm in {_days(spec)} is allowed"
    if observed.rival:
        rival = f"DriftMonitor {observed.rival} acts for this deployment; this one only watches"
        return Finding(True, reason.SECOND_MONITOR, rival)
    if not look.serving:
        return Finding(True, reason.WATCHING, f"{judges}; no pod runs now")
    return Finding(True, reason.WATCHING, judges)


def _days(spec: DriftMonitorSpec) -> str:
    days = spec.false_alarm_every.seconds / 86_400
    return "1 day" if days == 1 else f"{days:.3g} days"


def _learning(checkpoint: Checkpoint, spec: DriftMonitorSpec) -> str:
    baseline = checkpoint.baseline
    rows, windows = (baseline.rows, baseline.windows) if baseline else (0, 0)
    held = checkpoint.triage.of("DataFault")
    message = (
        f"the baseline of {_model(checkpoint)} has {rows} of at least {spec.baseline.rows} rows, "
        f"{windows} of at least {FEWEST_WINDOWS} windows"
    )
    if held and not held.clean:
        return f"{message}; windows with a DataFault are not learned from"
    if not baseline or not rows or not windows:
        return message
    # By the last window's clock: a message that changes with every look would be written with every look.
    took = max(spec.baseline.rows / rows, FEWEST_WINDOWS / windows) * (checkpoint.closed - baseline.since)
    return f"{message}; at this rate it is whole at {at(baseline.since + took)}"


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


def _expected_loss(checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> LossChange | None:
    reference = checkpoint.reference
    if spec is None or reference is None or not checkpoint.history:
        return None
    if reference.expected is None or reference.loss is None or why_not(reference, spec.harm.margin.fraction):
        return None
    score = checkpoint.history[0].cells[-reference.score.cells :]
    expected = mean_loss(reference.expected, score)
    return LossChange(reference=_digits(reference.loss.mean), now=_digits(expected))


def _model(checkpoint: Checkpoint) -> str:
    model = checkpoint.model
    if model is None:
        return "no model"
    return f"version {model.version}" if model.version is not None else f"model {model.sha256[:12]}"


def _found(checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> dict[ConditionType, Finding]:
    if checkpoint.model is None:
        return {}
    return {
        ConditionType.DRIFTING: _drifting(checkpoint, spec),
        ConditionType.DATA_FAULT: _data_fault(checkpoint),
        ConditionType.HARMFUL: _harmful(checkpoint, spec),
    }


def _drifting(checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> Finding:
    reason, triage, baseline = DriftMonitorReason, checkpoint.triage, checkpoint.baseline
    if drift := triage.of("Drift"):
        return Finding(True, reason.DRIFT, describe(drift))
    if baseline is None or not baseline.complete:
        return Finding(None, reason.LEARNING, "there is no baseline to compare with yet")
    if minor := triage.of("MinorDrift"):
        return Finding(False, reason.MINOR_DRIFT, f"{describe(minor)}: below spec.materiality")
    if not checkpoint.history:
        return Finding(False, reason.NO_DRIFT, f"no window has closed yet{_open(checkpoint, spec)}")
    beside = "beside what is broken (DataFault), " if triage.of("DataFault") else ""
    looked = f"{beside}nothing differs from the baseline in {count(checkpoint.windows, 'window')}"
    return Finding(False, reason.NO_DRIFT, f"{looked}; {_visible(checkpoint, baseline, spec)}")


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
        return Finding(True, fault_reason(fault), f"{describe(fault)}.")
    if baseline is None or not baseline.rows:
        return Finding(None, reason.LEARNING, "nothing was seen yet")
    return Finding(False, reason.NO_FAULT, "no values are missing, unknown, forbidden or in another unit")


def _harmful(checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> Finding:
    reason, tally, reference = DriftMonitorReason, checkpoint.tally, checkpoint.reference
    if harm := checkpoint.triage.of("Harm"):
        return Finding(True, reason.HARM, describe(harm))
    if suspicion := checkpoint.triage.of("HarmSuspected"):
        return Finding(None, reason.HARM_SUSPECTED, f"{describe(suspicion)}; {_labels(tally)} came back")
    if tally.labels < FEW_LABELS:
        blind = why_not(reference, spec.harm.margin.fraction) if spec and reference else None
        message = f"{_labels(tally)} came back, from {FEW_LABELS} on harm is judged"
        return Finding(None, reason.TOO_FEW_LABELS, f"{message}; {blind}" if blind else message)
    if tally.loss is None or spec is None:
        return Finding(None, reason.TOO_FEW_LABELS, f"{_labels(tally)} came back, and there is no loss to compare with")
    rules = game(tally.loss, spec.harm.margin.fraction)
    tolerated = f"{rules.tolerated:.3g} (the reference's is {rules.reference:.3g})"
    return Finding(False, reason.NO_HARM, f"{_labels(tally)} speak for no loss above {tolerated}")


def _labels(tally: Tally) -> str:
    """How many, and for how much of what was served."""
    said = count(tally.labels, "label")
    return f"{said} (for {100 * tally.labels / tally.rows:.3g}% of the rows)" if tally.rows else said


def _joined(observed: Observed, joins: Joins, labels: Joining | None) -> dict[ConditionType, Finding]:
    """Only for who has a table of labels, and while it is looked at."""
    reason, spec = DriftMonitorReason, observed.spec
    if spec is None or spec.labels is None or labels is None:
        return {}
    return {ConditionType.LABELS_JOINED: _join_finding(observed, joins, labels, reason)}


def _join_finding(observed: Observed, joins: Joins, labels: Joining, reason: type[DriftMonitorReason]) -> Finding:
    if observed.rival:
        return Finding(False, reason.SECOND_MONITOR, f"DriftMonitor {observed.rival} joins labels for this deployment")
    if joins.failure:
        tried = "is tried again now" if labels.going else f"is tried again at {at(joins.due)}"
        return Finding(False, reason.JOIN_FAILED, f"{joins.failure}. The join {tried}")
    if labels.waiting:
        return Finding(False, reason.JOIN_PENDING, f"Job {labels.going} waits: {labels.waiting}")
    if joins.ended is None:
        waits = f"Job {labels.going} goes on" if labels.going else "it waits for a pod that serves"
        return Finding(None, reason.JOIN_PENDING, f"no join has ended yet: {waits}")
    told = f"{joins.counted} labels of {len(joins.files) // DIGEST} files were joined"
    if joins.unmatched:
        told += f"; {joins.unmatched} have keys that no pod remembers a prediction of"
    return Finding(True, reason.JOINED, f"{told}; {joins.note}" if joins.note else told)


def _joins(joins: Joins, labels: Joining | None, observed: Observed) -> JoinStatus:
    going = labels.going if labels else None
    failed = observed.identity.join_job(joins.number) if joins.failure else None
    return JoinStatus(
        joined=joins.counted,
        late=joins.late,
        unmatched=joins.unmatched,
        duplicates=joins.duplicates,
        rejected=joins.rejected,
        files=len(joins.files) // DIGEST,
        kept_since=moment(joins.since) if joins.since is not None else None,
        last=moment(joins.ended) if joins.ended is not None else None,
        next=moment(joins.due) if labels and not going and joins.due else None,
        job=going or failed,
    )


def _baseline(checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> BaselineStatus | None:
    baseline = checkpoint.baseline
    if baseline is None or spec is None:
        return None
    return BaselineStatus.model_validate(
        {
            "from": baseline.source,
            "rows": baseline.rows,
            "of": baseline.rows if baseline.complete else spec.baseline.rows,
            "state": "Complete" if baseline.complete else "Learning",
            "since": moment(baseline.since),
        }
    )


def _newest_first(checkpoint: Checkpoint) -> list[Verdict]:
    return sorted(checkpoint.triage.verdicts, key=lambda verdict: (-verdict.found, verdict.state))


def _verdict(
    observed: Observed, verdict: Verdict, decisions: tuple[Decision, ...], checkpoint: Checkpoint
) -> VerdictStatus:
    action, following = _course(verdict, decisions, checkpoint, observed.spec)
    previous = _previous(observed, checkpoint, verdict)
    loss = verdict.loss
    return VerdictStatus(
        id=verdict.id,
        state=verdict.state,
        since=moment(verdict.since),
        features=tuple(_feature(feature) for feature in verdict.features),
        samples=verdict.n,
        loss=LossChange(reference=_digits(loss.reference), now=_digits(loss.now)) if loss else None,
        previous=previous,
        action=action,
        next=following,
    )


def _previous(observed: Observed, checkpoint: Checkpoint, verdict: Verdict) -> PreviousLoss | None:
    previous = observed.deployment.status.previous if observed.deployment else None
    if previous is None or verdict.state != "Harm":
        return None
    pairs = checkpoint.tally.pairs.get(previous.sha256, Pairs())
    n = pairs.labelled
    return PreviousLoss(
        version=previous.version,
        samples=n,
        loss=_digits(pairs.companion_loss / n) if n else None,
        now=_digits(pairs.loss / n) if n else None,
        wins=wins(pairs),
    )


def _course(
    verdict: Verdict, decisions: tuple[Decision, ...], checkpoint: Checkpoint, spec: DriftMonitorSpec | None
) -> tuple[str | None, str]:
    """What was done about a verdict and what comes next."""
    if decisions:
        done = [decision.action for decision in decisions if decision.action]
        return "; ".join(done) or None, "; ".join(f"{decision.next}{_when(decision)}" for decision in decisions)
    over = _over(verdict, checkpoint, spec)
    if verdict.state == "DataFault":
        return "automatic training is held", f"{over}; if it is no fault, annotate perennial.dev/release"
    if verdict.state == "TrainServeSkew":
        return None, "compare how the features are made in training and in serving"
    if verdict.state == "MinorDrift":
        return None, f"nothing is done below spec.materiality; {over}"
    if verdict.state == "HarmSuspected":
        return None, f"labels prove or clear it: send them to the feedback endpoint; {over}"
    return None, f"nothing is asked for in spec.actions; {over}"


def _over(verdict: Verdict, checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> str:
    """When it will be over if nothing of it is seen any more."""
    windows = _clean_windows(verdict, checkpoint)
    soonest = f" ({span(windows * spec.window.period.seconds)} at least)" if spec else ""
    return f"over after {windows} more clean windows{soonest}, or with a new baseline"


def _clean_windows(verdict: Verdict, checkpoint: Checkpoint) -> int:
    """How many more it takes."""
    bets = {"Harm": checkpoint.tally.harm, "HarmSuspected": checkpoint.suspicion}
    bet = bets.get(verdict.state)
    return CLEAN.get(verdict.state, 0) - (bet.clean if bet else verdict.clean)


def _when(decision: Decision) -> str:
    if decision.until is None:
        return ""
    return f"{_TIMES.get(decision.kind, ' until')} {at(decision.until)}"


def _feature(finding: DriftFinding) -> FeatureDrift:
    return FeatureDrift(
        name=finding.name,
        effect=round(finding.effect, 3),
        statistic=round(finding.statistic, 1),
        kind=finding.kind,
        psi=round(finding.psi, 3),
        jensen_shannon=round(finding.divergence, 4),
        wasserstein=None if finding.wasserstein is None else _digits(finding.wasserstein),
        together=finding.together[:TOGETHER],
    )


def _request(request: Request) -> ActionRequest:
    return ActionRequest(
        id=request.id,
        action=request.action,
        training_job=request.training_job,
        deployment=request.back.deployment if request.back else None,
        model=request.model,
        accepted_version=request.accepted or None,
        previous=_back(request.back),
        reason=request.reason,
        created_at=moment(request.created),
        expires_at=moment(request.expires),
        state=request.state,
    )


def _proposal(proposal: Proposal) -> ActionProposal:
    return ActionProposal(
        id=proposal.id,
        action=proposal.action,
        training_job=proposal.training_job,
        deployment=proposal.back.deployment if proposal.back else None,
        previous=_back(proposal.back),
        reason=proposal.reason,
        created_at=moment(proposal.created),
    )


def _back(back: Back | None) -> JudgedModel | None:
    return JudgedModel(version=back.version, sha256=back.sha256) if back else None


def _governor(checkpoint: Checkpoint, now: datetime) -> GovernorStatus | None:
    governor = checkpoint.governor
    cooling = governor.cooldown_until > now.timestamp()
    if not (cooling or governor.retrains or governor.rollbacks):
        return None
    return GovernorStatus(
        cooldown_until=moment(governor.cooldown_until) if cooling else None,
        retrains=governor.retrains,
        rollbacks=governor.rollbacks,
    )


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
