"""Why an action is not taken now: rules that are asked in order, of which the first that objects says why and until
when.

Nothing here knows the cluster: what the TrainingJob and the deployment are doing comes in as a situation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .requests import Action, Back, Governor, Request
from .words import at


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user allows. `cooldown` is in seconds."""

    cooldown: float
    stop_after: int
    dry_run: bool
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Brake:
    """Why this installation allows no action now, or no retrain. `until` is when to ask again (Unix seconds), None for
    when it is installed anew."""

    reason: str
    until: float | None = None
    only: Action | None = None


@dataclass(frozen=True, slots=True)
class Return:
    """The way back. `objection` says why there is none, `wins` whether the version before is proved to be better, and
    `words` what labels say of the two; `under_way`: the judged one is quarantined already."""

    back: Back | None = None
    objection: str = "there is no version before this one"
    wins: bool = False
    words: str = ""
    under_way: bool = False


@dataclass(frozen=True, slots=True)
class Stale:
    """Training data as run `version` found them at `seen`: what they were at `since` (Unix seconds)."""

    version: int
    since: float
    seen: float

    @property
    def until(self) -> float:
        """When they have been the same for twice as long: what did not change for an hour may the next, what did not
        for a month hardly will tomorrow."""
        return 2 * self.seen - self.since


@dataclass(frozen=True, slots=True)
class Situation:
    """What matters beyond the monitor. `accepted` is the TrainingJob's accepted version, 0 without one; `taken` are the
    last requests that the TrainingJob and the deployment noted; `pinned` is the version that the deployment is held to;
    `busy` says what is already going on that may be the cure, `fruitless` how the run that was asked for last has ended
    if that brought no cure, `stale` what a run since the last cause found of its data if they were the same as before.

    `rival` is the name of the monitor that acts instead of this one; `approved` is the proposal that a person said yes
    to; `found` is when the first cause of the action was found, and `hasty` says that no whole window was judged since
    the worst was.
    """

    model: str
    now: float
    training_job: str | None = None
    pinned: int | None = None
    accepted: int = 0
    taken: frozenset[str] = frozenset()
    busy: str | None = None
    fruitless: str | None = None
    stale: Stale | None = None
    way_back: Return = Return()
    rival: str | None = None
    data_fault: bool = False
    found: float = 0.0
    hasty: bool = False
    approved: str | None = None
    brake: Brake | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was done or would be, and what comes next. `until` is when to ask again (Unix seconds), None for as soon as
    something changes."""

    kind: Literal[
        "Requested",
        "Proposed",
        "InFlight",
        "Cooldown",
        "Stale",
        "Stopped",
        "Braked",
        "DryRun",
        "Unproven",
        "Held",
        "NotActing",
    ]
    action: str | None
    next: str
    until: float | None = None


Decisions: TypeAlias = Mapping[str, tuple[Decision, ...]]
"""By verdict id, one for each action that the verdict asks for."""

Rule = Callable[[Governor, Situation, Limits], Decision | None]


# ---- for both ----


def _rival(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    if situation.rival is None:
        return None
    return Decision("NotActing", None, f"nothing: DriftMonitor {situation.rival} acts for this deployment")


def _stopped(governor: Governor, situation: Situation, limits: Limits) -> Decision | None:
    used_up = spent(governor, limits)
    if used_up is None:
        return None
    last = f"{situation.fruitless}; " if situation.fruitless else ""
    return Decision(
        "Stopped",
        f"{used_up} in a row, and none was followed by a long calm",
        f"{last}a person looks at data and definition, then annotates the monitor with perennial.dev/release",
    )


# ---- for a retrain ----


def _no_training_job(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    if situation.training_job:
        return None
    return Decision("Held", None, "nothing: the deployment follows no TrainingJob that could be run again")


def _pinned(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    if situation.pinned is None:
        return None
    why = f"the deployment's spec.model.version is {situation.pinned}, so that no retrain would be served"
    return Decision("Held", None, f"nothing: {why}")


def _retrain_data_fault(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    if not situation.data_fault:
        return None
    return Decision("Held", None, "a retrain is held until the DataFault is over: broken data must not be learned from")


def _retrain_hasty(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    return _hasty("a retrain", situation)


def _retrain_in_flight(governor: Governor, situation: Situation, _: Limits) -> Decision | None:
    latest = governor.latest("Retrain")
    if latest and latest.state == "Pending":
        return requested(latest, "InFlight")
    return Decision("InFlight", None, situation.busy) if situation.busy else None


def _retrain_dry_run(_: Governor, situation: Situation, limits: Limits) -> Decision | None:
    return _dry_run(f"a retrain of TrainingJob {situation.training_job}", limits)


def _retrain_stale(governor: Governor, situation: Situation, _: Limits) -> Decision | None:
    """A retrain on the same data yields the same model: it would only use up what `stopAfter` allows."""
    stale = situation.stale
    if stale is None:
        return None
    until = max(stale.until, governor.cooldown_until)
    if situation.now >= until:
        return None
    same = f"the training data are what they were at {at(stale.since)}, as run v{stale.version} found"
    start = f"once they are others, kubectl perennial run tj/{situation.training_job} trains at once"
    return Decision("Stale", None, f"{same}; {start}, else a retrain is asked for", until)


def _retrain_cooldown(governor: Governor, situation: Situation, _: Limits) -> Decision | None:
    if situation.now >= governor.cooldown_until:
        return None
    return Decision("Cooldown", None, "a retrain is asked for after the cooldown", governor.cooldown_until)


def _retrain_brake(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    return _braked(situation.brake)


# ---- for a rollback ----


def _no_way_back(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    way = situation.way_back
    return None if way.back else Decision("Held", None, f"no rollback: {way.objection}")


def _rollback_data_fault(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    """The version before may do without the column that is broken; that is no reason for a quarantine."""
    if not situation.data_fault:
        return None
    return Decision("Held", None, "a rollback is held until the DataFault is over: no version is to blame for that")


def _rollback_hasty(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    return _hasty("a rollback", situation)


def _rollback_in_flight(governor: Governor, situation: Situation, _: Limits) -> Decision | None:
    latest, way = governor.latest("Rollback"), situation.way_back
    if latest and latest.state == "Pending":
        return requested(latest, "InFlight")
    if way.back and way.under_way:
        return Decision("InFlight", None, f"{way.back.title} takes over from the quarantined one")
    return None


def _unproven(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    """Until there is proof a rollback is a guess: it may be the world that has changed, and not the version."""
    way = situation.way_back
    if way.wins or way.back is None:
        return None
    return Decision("Unproven", None, f"a rollback to {way.back.title} once that is proved to be better: {way.words}")


def _rollback_dry_run(_: Governor, situation: Situation, limits: Limits) -> Decision | None:
    back = situation.way_back.back
    return _dry_run(f"a rollback of ModelDeployment {back.deployment} to {back.title}", limits) if back else None


def _rollback_cooldown(governor: Governor, situation: Situation, _: Limits) -> Decision | None:
    """A retrain's cooldown is not waited for: it was asked for when nobody knew yet that there is a better version."""
    if situation.now >= governor.rollback_after:
        return None
    return Decision("Cooldown", None, "a rollback is asked for after the cooldown", governor.rollback_after)


def _rollback_brake(_: Governor, situation: Situation, __: Limits) -> Decision | None:
    brake = situation.brake
    return None if brake and brake.only == "Retrain" else _braked(brake)


RULES: dict[Action, tuple[Rule, ...]] = {
    "Retrain": (
        _rival,
        _no_training_job,
        _pinned,
        _retrain_data_fault,
        _retrain_in_flight,
        _retrain_hasty,
        _retrain_dry_run,
        _stopped,
        _retrain_stale,
        _retrain_cooldown,
        _retrain_brake,
    ),
    "Rollback": (
        _rival,
        _no_way_back,
        _rollback_in_flight,
        _rollback_data_fault,
        _unproven,
        _rollback_hasty,
        _rollback_dry_run,
        _stopped,
        _rollback_cooldown,
        _rollback_brake,
    ),
}


# ---- what the rules say ----


def spent(governor: Governor, limits: Limits) -> str | None:
    """What was done so often in a row as `stop_after` allows."""
    counts = {"retrains": governor.retrains, "rollbacks": governor.rollbacks}
    return next((f"{count} {name}" for name, count in counts.items() if count >= limits.stop_after), None)


def _dry_run(what: str, limits: Limits) -> Decision | None:
    if not limits.dry_run:
        return None
    return Decision("DryRun", f"dry run: {what} would have been asked for", "nothing, until spec.dryRun is false")


def _hasty(what: str, situation: Situation) -> Decision | None:
    """Labels may prove harm before the window closes that shows the data to be broken."""
    if not situation.hasty:
        return None
    return Decision("Held", None, f"{what} waits for one whole window more, which would show broken data")


def _braked(brake: Brake | None) -> Decision | None:
    return Decision("Braked", None, f"nothing: {brake.reason}", brake.until) if brake else None


def requested(request: Request, kind: Literal["Requested", "InFlight"]) -> Decision:
    whose = "ModelDeployment" if request.back else "TrainingJob"
    return Decision(kind, request.words, f"{whose} takes the request", request.expires)
