"""What one reconcile decided, for those who tell of it: status, conditions and events."""

from __future__ import annotations

from dataclasses import dataclass

from perennial.api.reasons import ModelDeploymentReason
from perennial.kube.plan import Problem

from .moves import Keep, Move, Start
from .names import Verb
from .scaling import Wanted
from .situation import Situation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a plan decided: the move, and the situation before and after it."""

    move: Move
    before: Situation
    after: Situation
    wanted: Wanted
    verb: Verb | None
    problems: tuple[Problem, ...]

    @property
    def waits(self) -> Keep | None:
        """What is waited for. Of a first revision it is known before its pods are asked for, so that its status is
        written once."""
        if isinstance(self.move, Start) and self.after.stable is None:
            return Keep(ModelDeploymentReason.ROLLING_OUT, f"0 of {self.after.wanted} pods are ready")
        return self.move if isinstance(self.move, Keep) else None
