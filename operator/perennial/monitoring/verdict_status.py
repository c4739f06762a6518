"""A verdict in the API's words: what was found, what was done about it, what comes next and when."""

from __future__ import annotations

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import FeatureDrift, LossChange, PreviousLoss
from perennial.api.driftmonitor_status import Verdict as VerdictStatus
from perennial.wire.layout import layout_of
from perennial.wire.stats import Pairs

from .before import wins
from .checkpoint import Checkpoint
from .clocks import narrow
from .faults import Finding
from .objections import Decision
from .observed import Observed
from .triage import CLEAN
from .verdict import State, Verdict
from .words import NAMED, at, digits, moment, span

_TIMES = {"Cooldown": " at", "Stale": " at", "Braked": "; one is possible at"}
"""How a decision's time is said; of all others it is until when they hold."""

_OF_THE_TIME = ("TrainServeSkew", "MinorDrift", "Drift")
"""What a feature that follows the clock may bring about."""

_OF_LOSS = ("HarmSuspected", "Harm")
"""Measured against the version's own loss, whatever is served."""

TOGETHER = 10
"""Features shown of a joint change."""


def verdict_status(
    observed: Observed, verdict: Verdict, decisions: tuple[Decision, ...], checkpoint: Checkpoint
) -> VerdictStatus:
    """`decisions` are what the governor has decided about it."""
    action, following = _course(verdict, decisions, checkpoint, observed.spec)
    if told := _clocks(verdict, checkpoint):
        following = f"{following}; {told}"
    previous = _previous(observed, checkpoint, verdict)
    loss = verdict.loss
    return VerdictStatus(
        id=verdict.id,
        state=verdict.state,
        since=moment(verdict.since),
        features=tuple(_feature(feature, verdict.state) for feature in verdict.features),
        samples=verdict.n,
        loss=LossChange(reference=digits(loss.reference), now=digits(loss.now)) if loss else None,
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
        loss=digits(pairs.companion_loss / n) if n else None,
        now=digits(pairs.loss / n) if n else None,
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
        return "automatic training is held", over
    if verdict.state == "TrainServeSkew":
        return None, f"compare how the features are made in training and in serving; over {_taken_for_normal(spec)}"
    if verdict.state == "AnchorDrift":
        learned = "nothing is done, since the versions have learned it; over with one that is like the anchor again"
        return None, f"{learned}, or once perennial.dev/release takes the present one for normal"
    if verdict.state == "MinorDrift":
        return None, f"nothing is done below spec.materiality; {over}"
    if verdict.state == "HarmSuspected":
        return None, f"labels prove or clear it: send them to the feedback endpoint; {over}"
    return None, f"nothing is asked for in spec.actions; {over}"


def _clocks(verdict: Verdict, checkpoint: Checkpoint) -> str | None:
    """What to do about features that may be the time itself, where a baseline does not know the hours of the week."""
    baseline, reference = checkpoint.baseline, checkpoint.reference
    if verdict.state not in _OF_THE_TIME or baseline is None or baseline.season or reference is None:
        return None
    layout = layout_of(reference)
    places = {column.name: place for place, column in enumerate(layout.columns)}
    names = [
        feature.name
        for feature in verdict.features
        if feature.name in places and narrow(layout, places[feature.name], checkpoint.history)
    ]
    if not names:
        return None
    shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    vary, tell = ("varies", "it tells") if len(names) == 1 else ("vary", "they tell")
    return (
        f"{shown} hardly {vary} within a window: if {tell} the time, leave that out (spec.features.exclude) or have "
        "the hours of the week learned (spec.baseline: {from: Serving, period: 14d})"
    )


def _over(verdict: Verdict, checkpoint: Checkpoint, spec: DriftMonitorSpec | None) -> str:
    """When it will be over if nothing of it is seen any more."""
    windows = _clean_windows(verdict, checkpoint)
    soonest = f" ({span(windows * spec.window.period.seconds)} at least)" if spec else ""
    normal = "with another version" if verdict.state in _OF_LOSS else _taken_for_normal(spec)
    return f"over after {windows} more clean windows{soonest}, or {normal}"


def _taken_for_normal(spec: DriftMonitorSpec | None) -> str:
    """How something lasting becomes no news: a person says that it is as it should be."""
    if spec and spec.baseline.source == "Training":
        return "with another version: of this one the rows held out are what is normal (spec.baseline.from)"
    return "when perennial.dev/release takes what is served for normal"


def _clean_windows(verdict: Verdict, checkpoint: Checkpoint) -> int:
    """How many more it takes."""
    bets = {"Harm": checkpoint.tally.harm, "HarmSuspected": checkpoint.suspicion}
    bet = bets.get(verdict.state)
    return CLEAN.get(verdict.state, 0) - (bet.clean if bet else verdict.clean)


def _when(decision: Decision) -> str:
    if decision.until is None:
        return ""
    return f"{_TIMES.get(decision.kind, ' until')} {at(decision.until)}"


def _feature(finding: Finding, state: State) -> FeatureDrift:
    alike = state != "AnchorDrift"
    return FeatureDrift(
        name=finding.name,
        effect=round(finding.effect, 3),
        statistic=round(finding.statistic, 1),
        kind=finding.kind,
        message=finding.words,
        psi=round(finding.psi, 3) if alike else None,
        jensen_shannon=round(finding.divergence, 4) if alike else None,
        wasserstein=None if finding.wasserstein is None else digits(finding.wasserstein),
        together=finding.together[:TOGETHER],
    )
