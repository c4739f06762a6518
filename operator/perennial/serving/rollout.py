"""The rollout: which revision is stable, which is the candidate, and what happens to them next.

`decide` looks at one situation and answers one move, the first of an ordered list of rules that applies; moves.py has
what a move writes. One move a reconcile, written as one record of one revision: a crash at any point is a situation
like any other. Rolling is a canary without steps.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

import msgspec

from perennial.api.reasons import CommonReason
from perennial.api.reasons import ModelDeploymentReason as Reason

from .analysis import is_failed, is_inconclusive
from .moves import End, GoBack, GoTo, Keep, Move, Note, Promote, Release, Start, attempts
from .revision import Revision, Setback
from .rollback import is_compared, of_harmful
from .situation import Situation, Target, asked_split, is_reached
from .split import pods_needed

Rule: TypeAlias = Callable[[Situation], Move | None]

LONGEST_BACKOFF = timedelta(hours=1)
NO_ROLLOUT = "no rollout is going on"


def decide(situation: Situation) -> Move:
    rules = _CANDIDATE_RULES if situation.candidate else _IDLE_RULES
    for rule in rules:
        if move := rule(situation):
            return move
    return Keep(Reason.STABLE, NO_ROLLOUT)


# ---- with a candidate ----


def _aborted_by_person(s: Situation) -> Move | None:
    if s.verb != "abort":
        return None
    if s.stable is None:
        return Keep(Reason.STARTING, "there is nothing to go back to: the first revision cannot be aborted")
    return End("Aborted", Reason.ABORTED, "ended by perennial.dev/abort", setback=True)


def _promoted_by_person(s: Situation) -> Move | None:
    return GoTo(len(s.steps)) if s.verb == "promote" and s.step is not None else None


def _gives_way(s: Situation) -> Move | None:
    """A candidate that is still judged is judged against a model that goes: it is rolled out again, over the one that
    is gone back to. One that has passed its last step replaces the version that harms anyway."""
    if s.asked.back is None or s.stable is None or s.step is None:
        return None
    message = f"{s.stable.model.title} is rolled back to {s.asked.back.to.title} first"
    return End("Superseded", Reason.ABORTED, f"{message}; it is rolled out over that one, from the first step on")


def _no_longer_wanted(s: Situation) -> Move | None:
    if s.target and s.stable and s.target.name == s.stable.name and not s.suspended:
        return End("Superseded", Reason.ABORTED, "the spec asks for the stable revision again")
    return None


def _superseded(s: Situation) -> Move | None:
    """A change of spec and a stuck first revision are superseded at once; a new version by what the user chose."""
    if s.target is None or s.candidate is None or s.target.name == s.candidate.name or s.suspended:
        return None
    if _barred(s, s.target):
        return None
    respecified = s.target.digest != s.candidate.digest or s.target.source != s.candidate.record.source
    stuck_at_first = s.stable is None and not s.group(s.candidate).ready
    if respecified or stuck_at_first or s.spec.on_new_version == "Supersede":
        return End("Superseded", Reason.ABORTED, f"superseded by {s.target.model.title}")
    return None


def _failed_analysis(s: Situation) -> Move | None:
    if not is_failed(s.findings) or s.stable is None:
        return None
    found = next(finding for finding in s.findings if finding.verdict == "Fail")
    return End("RolledBack", Reason.ROLLED_BACK, found.failure, quarantine=True)


def _suspended_candidate(s: Situation) -> Move | None:
    return Keep(CommonReason.SUSPENDED, "suspended: the rollout stays where it is") if s.suspended else None


def _blocked(s: Situation) -> Move | None:
    """The clock of the deadline stands while no number of pods gives the weight."""
    if asked_split(s):
        began = msgspec.structs.replace(s.progress, blocked=False, since=s.now, reached=None)
        return Note(began) if s.progress.blocked else None
    if not s.progress.blocked:
        return Note(msgspec.structs.replace(s.progress, blocked=True))
    weight = s.step.weight if s.step else 100
    needed = pods_needed(weight)
    return Keep(
        Reason.WEIGHT_UNREACHABLE,
        f"a weight of {weight}% takes {needed} pods and at most {s.bound} may run: let autoscaling.maxReplicas or "
        f"replicas allow {needed}, ask for a greater weight, or set rollout.allowInexact",
    )


def _waiting_for_pods(s: Situation) -> Move | None:
    """Waits for the step's pods, until none became ready for too long: a full node is no fault of the model, hence no
    quarantine."""
    if s.progress.reached or is_reached(s):
        return None
    group = s.group(s.candidate)
    elapsed = s.now - max(s.progress.since, group.newest_ready or s.progress.since)
    deadline = timedelta(seconds=s.spec.progress_deadline_seconds)
    if elapsed < deadline:
        return Keep(Reason.ROLLING_OUT, f"{group.ready} of {group.asked} pods are ready", deadline - elapsed)
    limit = s.spec.progress_deadline_seconds
    message = f"no pod became ready within {limit} s ({group.ready} of {group.asked} are)"
    if s.stable is None:
        return Keep(Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    return End("Failed", Reason.PROGRESS_DEADLINE_EXCEEDED, message, setback=True, until=s.now + _backoff(s))


def _taking_over(s: Situation) -> Move | None:
    return Promote() if s.step is None else None


def _reached(s: Situation) -> Move | None:
    progress = s.progress
    if progress.reached is None:
        return Note(msgspec.structs.replace(progress, reached=s.now, requests=s.totals.requests))
    if s.measured and s.totals.requests < progress.requests:
        # Pods that are gone took their counts along, and so did the operator that remembered them.
        return Note(msgspec.structs.replace(progress, requests=s.totals.requests))
    return None


def _judged(s: Situation) -> Move | None:
    """Enough requests, the hold passed, every measure conclusive: the next step."""
    step, reached = s.step, s.progress.reached
    if step is None or reached is None:
        return None
    lasted = s.now - reached
    missing = step.min_requests - s.requests_in_step()
    if missing > 0 or is_inconclusive(s.findings):
        return _inconclusive(s, lasted, missing)
    hold = step.hold.timedelta if step.hold else timedelta()
    if lasted < hold:
        return Keep(Reason.HOLDING, f"holds for {step.hold}", hold - lasted)
    return GoTo(s.progress.step + 1)


def _inconclusive(s: Situation, lasted: timedelta, missing: int) -> Move:
    undecided = [f"{f.name} ({f.n})" for f in s.findings if f.verdict == "Inconclusive"]
    awaited = [f"{missing} more requests"] if missing > 0 else []
    awaited += [f"more observations for {', '.join(undecided)}"] if undecided else []
    message = f"waits for {' and '.join(awaited)}"
    after = s.spec.inconclusive.after.timedelta
    if lasted < after:
        return Keep(Reason.ANALYSING, message, after - lasted)
    if s.spec.inconclusive.verdict == "Promote":
        return GoTo(s.progress.step + 1)
    if s.spec.inconclusive.verdict == "Rollback":
        message = f"inconclusive after {s.spec.inconclusive.after}: it {message}"
        return End("Aborted", Reason.INCONCLUSIVE, message, setback=True)
    asks = "annotate perennial.dev/promote or perennial.dev/abort"
    return Keep(Reason.INCONCLUSIVE, f"after {s.spec.inconclusive.after} it still {message}: {asks}")


# ---- without a candidate ----


def _released_by_person(s: Situation) -> Move | None:
    return Release() if s.verb == "release" else None


def _retried_by_person(s: Situation) -> Move | None:
    """`promote` without a candidate tries again what was put off; it never lifts a quarantine."""
    known = s.revisions.get(s.target.name) if s.target else None
    if s.verb == "promote" and s.target and known and known.record.setback and not known.record.quarantine:
        return Start(s.target)
    return None


def _started_after_the_verb(s: Situation) -> Move | None:
    """A verb that is still to be noted as taken must not meet a rollout that began after it."""
    return Keep(Reason.STABLE, NO_ROLLOUT, timedelta()) if s.verb else None


def _gone_back(s: Situation) -> Move | None:
    return GoBack(s.asked.back) if s.asked.back else None


def _nothing_new(s: Situation) -> Move | None:
    if s.target is None or (s.stable and s.target.name == s.stable.name):
        kept_out = s.target.instead_of if s.target else None
        return _quarantined(kept_out) if kept_out else Keep(Reason.STABLE, NO_ROLLOUT)
    return None


def _suspended_target(s: Situation) -> Move | None:
    return Keep(CommonReason.SUSPENDED, "suspended: no rollout is started") if s.suspended else None


def _barred_target(s: Situation) -> Move | None:
    return _barred(s, s.target) if s.target else None


def _companion_in_use(s: Situation) -> Move | None:
    """Pods of the target that are still leaving compare with a model that is no longer the stable one."""
    if s.target is None or s.stable is None or s.spec.analysis is None:
        return None
    known = s.revisions.get(s.target.name)
    if known and s.target.name in s.groups and not is_compared(known, s.stable):
        return Keep(Reason.ROLLING_OUT, "waits until the revision's former pods are gone")
    return None


def _start(s: Situation) -> Move | None:
    return Start(s.target) if s.target else None


_CANDIDATE_RULES: tuple[Rule, ...] = (
    _released_by_person,
    _aborted_by_person,
    _promoted_by_person,
    _gives_way,
    _no_longer_wanted,
    _superseded,
    _failed_analysis,
    _suspended_candidate,
    _blocked,
    _waiting_for_pods,
    _taking_over,
    _reached,
    _judged,
)
_IDLE_RULES: tuple[Rule, ...] = (
    _released_by_person,
    _retried_by_person,
    _started_after_the_verb,
    _gone_back,
    _nothing_new,
    _suspended_target,
    _barred_target,
    _companion_in_use,
    _start,
)


# ---- what the rules ask ----


def _barred(s: Situation, target: Target) -> Keep | None:
    if harmful := of_harmful(target.model, s.revisions):
        return _quarantined(harmful)
    known = s.revisions.get(target.name)
    if known is None:
        return None
    if known.record.quarantine:
        return _quarantined(known)
    if setback := known.record.setback:
        if setback.until and setback.until <= s.now:
            return None
        again = setback.until - s.now if setback.until else None
        return Keep(_REASONS.get(setback.reason, Reason.ABORTED), _setback_message(target, setback), again)
    return None


def _quarantined(revision: Revision) -> Keep:
    quarantine = revision.record.quarantine
    reason = quarantine.reason if quarantine else ""
    message = f"{revision.model.title} is quarantined: {reason}; annotate perennial.dev/release to lift it"
    return Keep(Reason.QUARANTINED, message)


_REASONS = {reason.value: reason for reason in Reason}


def _setback_message(target: Target, setback: Setback) -> str:
    by_hand = "annotate perennial.dev/promote or release to try again"
    later = f"tried again at {setback.until:%H:%M:%S} UTC" if setback.until else by_hand
    return f"{target.model.title}: {setback.message}; {later}"


def _backoff(s: Situation) -> timedelta:
    base = timedelta(seconds=s.spec.progress_deadline_seconds)
    doubled: timedelta = max(base, timedelta(minutes=1)) * 2 ** min(attempts(s), 10)
    return min(doubled, LONGEST_BACKOFF)
