"""Moves the replicas of a deployment's revisions towards a split without taking a pod that is needed.

Called at each reconcile with what is there now, it answers the next number for each revision; it keeps no state, so
that it goes on from wherever a crash left the numbers. Kubernetes removes pods that are not ready first, so that
lowering a revision to n leaves min(ready, n) ready ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from .split import Split, surge


@dataclass(frozen=True, slots=True)
class Group:
    """The pods of one revision: `asked` is its Deployment's replicas, `pods` those that exist and are not ending,
    `ready` those of them that are ready for long enough to count on, `newest_ready` since when the last of them is."""

    asked: int = 0
    pods: int = 0
    ready: int = 0
    newest_ready: datetime | None = None

    @property
    def counted_on(self) -> int:
        """Ready pods that stay: those above `asked` are about to be removed."""
        return min(self.ready, self.asked)

    @property
    def size(self) -> int:
        return max(self.asked, self.pods)


@dataclass(frozen=True, slots=True)
class Replicas:
    """The next number for each revision; `leaving` by revision."""

    stable: int
    candidate: int
    leaving: Mapping[str, int]


def advance(
    goal: Split,
    wanted: int,
    stable: Group,
    candidate: Group,
    leaving: Mapping[str, Group],
    hastened: Collection[str] = (),
) -> Replicas:
    """The next step towards `goal`, with at least `wanted` ready pods kept and no more than a surge above the goal.

    The candidate grows only while the stable pods that its weight is reckoned against are ready. `hastened` ones
    among the leaving are taken away although the stable pods that should replace them do not come, if there is one.
    """
    ready = stable.counted_on + candidate.counted_on + sum(group.counted_on for group in leaving.values())
    spare = max(0, ready - wanted)
    room = max(goal.total, wanted) + surge(wanted)

    kept: dict[str, int] = {}
    for revision, group in leaving.items():
        at_once = revision in hastened and stable.counted_on > 0
        unneeded = group.counted_on if at_once else min(spare, group.counted_on)
        kept[revision] = group.counted_on - unneeded
        spare = max(0, spare - unneeded)

    leaving_size = sum(max(kept[revision], group.pods) for revision, group in leaving.items())
    next_stable, spare = _towards(goal.stable, stable, spare, room - leaving_size - candidate.size)
    if candidate.asked < goal.candidate and stable.counted_on < goal.stable:
        return Replicas(next_stable, candidate.asked, kept)
    others = leaving_size + max(next_stable, stable.pods)
    next_candidate, _ = _towards(goal.candidate, candidate, spare, room - others)
    return Replicas(next_stable, next_candidate, kept)


def _towards(goal: int, group: Group, spare: int, room: int) -> tuple[int, int]:
    """The group's next number and what is left of `spare`, the ready pods that may go."""
    if group.asked < goal:
        return max(group.asked, min(goal, room)), spare
    if group.counted_on <= goal:
        return goal, spare
    given = min(group.counted_on - goal, spare)
    return group.counted_on - given, spare - given
