"""The status as a view of the checkpoint: conditions, verdicts and requests in the API's words."""

from __future__ import annotations

from datetime import datetime

from perennial.api.conditions import Finding, health, settle
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import (
    ActionProposal,
    ActionRequest,
    AnchorStatus,
    BaselineStatus,
    DriftMonitorStatus,
    GovernorStatus,
    HandledVerbs,
    JudgedModel,
    LossChange,
    WindowCount,
)

from .assumptions import assumptions
from .checkpoint import Checkpoint
from .conditions import found, ready
from .counts import coverage
from .join_status import join_status, joined
from .joins import Joining
from .objections import Decisions
from .observed import Observed
from .requests import Back, Proposal, Request
from .suspicion import mean_loss, why_not
from .verdict import Verdict
from .verdict_status import verdict_status
from .words import digits, moment

ANCHORS = 10
"""Versions shown that features are anchored at."""


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
    can_judge = stalled or blocked or ready(observed, checkpoint)
    if stalled:
        can_judge = Finding(False, stalled.reason, stalled.message)
    conditions = settle(
        observed.status.conditions,
        health(can_judge, stalled=stalled)
        | (found(checkpoint, spec) if observed.watches else {})
        | joined(observed, checkpoint.joins, labels),
        generation=observed.generation,
        now=now,
    )
    tally, window = checkpoint.tally, checkpoint.open
    covered = coverage(tally)
    judged, labelled = checkpoint.model, tally.labelled
    period = spec.window.period.seconds if spec else 0
    return DriftMonitorStatus(
        observed_generation=observed.generation,
        conditions=conditions,
        training_job=observed.deployment.training_job if observed.deployment else None,
        model=JudgedModel(version=judged.version, sha256=judged.sha256) if judged else None,
        baseline=_baseline(checkpoint, spec),
        anchors=_anchors(checkpoint),
        rows=tally.rows if judged else None,
        labels=tally.labels if judged else None,
        label_coverage=round(labelled, 4) if labelled is not None else None,
        joins=join_status(checkpoint.joins, labels, observed) if spec and spec.labels else None,
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
            verdict_status(observed, verdict, decisions.get(verdict.id, ()), checkpoint)
            for verdict in (_newest_first(checkpoint) if observed.watches else ())
        ),
        requests=tuple(_request(request) for request in checkpoint.governor.requests),
        proposals=tuple(_proposal(proposal) for proposal in checkpoint.governor.proposals),
        governor=_governor(observed, checkpoint, now),
        next_window=moment(window.opened + period) if window else None,
        handled=HandledVerbs(release=checkpoint.released, approve=checkpoint.governor.approved),
    )


def _expected_loss(checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> LossChange | None:
    reference = checkpoint.reference
    if spec is None or reference is None or not checkpoint.history:
        return None
    if reference.expected is None or reference.loss is None or why_not(reference, spec.harm.margin.fraction):
        return None
    score = checkpoint.history[0].cells[-reference.score.cells :]
    expected = mean_loss(reference.expected, score)
    return LossChange(reference=digits(reference.loss.mean), now=digits(expected))


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
            "assumes": assumptions(baseline, spec.window.period.seconds),
        }
    )


def _anchors(checkpoint: Checkpoint) -> tuple[AnchorStatus, ...]:
    points = checkpoint.anchor.points if checkpoint.anchor else []
    return tuple(
        AnchorStatus(
            version=anchored.version, since=moment(anchored.since), promotions=anchored.promotions, features=features
        )
        for anchored, features in points[:ANCHORS]
    )


def _newest_first(checkpoint: Checkpoint) -> list[Verdict]:
    return sorted(checkpoint.triage.verdicts, key=lambda verdict: (-verdict.found, verdict.state))


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


def _governor(observed: Observed, checkpoint: Checkpoint, now: datetime) -> GovernorStatus | None:
    governor = checkpoint.governor
    cooling = governor.cooldown_until > now.timestamp()
    if not (cooling or governor.retrains or governor.rollbacks):
        return None
    return GovernorStatus(
        cooldown_until=moment(governor.cooldown_until) if cooling else None,
        retrains=governor.retrains,
        rollbacks=governor.rollbacks,
        stopped_since=moment(governor.stopped) if governor.stopped and observed.watches else None,
    )
