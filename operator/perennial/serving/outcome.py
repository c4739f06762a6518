"""What one reconcile decided, for those who tell of it: status, conditions and events."""

from __future__ import annotations

from dataclasses import dataclass

from perennial.kube.plan import Problem

from .moves import Move
from .scaling import Wanted
from .situation import Situation, Verb


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a plan decided: the move, and the situation before and after it."""

    move: Move
    before: Situation
    after: Situation
    wanted: Wanted
    verb: Verb | None
    problems: tuple[Problem, ...]
