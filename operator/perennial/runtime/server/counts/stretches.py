"""Labels by when their rows were predicted, in few stretches of time: the shorter the newer.

A rollout is judged by the rows that were predicted since it began, and the pod that labels come to knows of no rollout.
So it keeps apart what the question may part. Of too many stretches the two neighbours become one that are shortest
together for how long ago they were; a pause between two rollouts is part of that length. A rollout of the same model
that begins again has none of the earlier one's rows in its stretches, and after long some, which its own outnumber.
"""

from __future__ import annotations

from bisect import bisect_left

from perennial.runtime.server.counts.labels import Label
from perennial.wire.stats import Stretch

STRETCHES = 32
"""Kept apart: each is as long as a quarter or so of the time since then, and of a month as two fifths."""

FRESH_SECONDS = 60.0
"""Added to how long ago stretches were: within a minute none is short."""


def add(stretches: list[Stretch], label: Label) -> None:
    """Count the label where its row was predicted. `stretches` are in order and do not overlap."""
    place = bisect_left(stretches, label.issued, key=lambda stretch: stretch.last)
    if place < len(stretches) and stretches[place].first <= label.issued:
        found = stretches[place]
        stretches[place] = Stretch(found.first, found.last, found.pairs + label.pair)
        return
    stretches.insert(place, Stretch(label.issued, label.issued, label.pair))
    if len(stretches) > STRETCHES:
        _join_two(stretches)


def _join_two(stretches: list[Stretch]) -> None:
    newest = stretches[-1].last

    def length_for_age(place: int) -> float:
        first, second = stretches[place], stretches[place + 1]
        return (second.last - first.first) / (newest - second.last + FRESH_SECONDS)

    place = min(range(len(stretches) - 1), key=length_for_age)
    first, second = stretches[place : place + 2]
    stretches[place : place + 2] = [Stretch(first.first, second.last, first.pairs + second.pairs)]
