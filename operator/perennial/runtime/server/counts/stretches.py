"""Labels by the server process that predicted their rows: what tells one rollout of a model from another.

A candidate is judged by the rows of its own rollout, and a pod of the stable version, that labels come to as well,
knows of no rollout. But a model that is rolled out again has new pods, and only in haste do those of before serve on.
So the rows of a process count as a whole, from the first to the last. Of too many processes two become one that served
at the same time, and thus in the same rollout; only where none did, the two between which least time passed.
"""

from __future__ import annotations

from itertools import pairwise

from perennial.runtime.server.counts.labels import Label
from perennial.runtime.server.receipt import issuer
from perennial.wire.stats import Pairs, Stretch

STRETCHES = 64
"""Processes that are kept apart."""


def add(stretches: dict[int, Stretch], label: Label) -> None:
    """Count the label where its row was predicted."""
    process = issuer(label.id)
    known = stretches.get(process, Stretch(label.issued, label.issued, Pairs()))
    first, last = min(known.first, label.issued), max(known.last, label.issued)
    stretches[process] = Stretch(first, last, known.pairs + label.pair)
    if len(stretches) > STRETCHES:
        _join_two(stretches)


def _join_two(stretches: dict[int, Stretch]) -> None:
    ordered = sorted(stretches, key=lambda process: stretches[process].first)
    older, newer = min(pairwise(ordered), key=lambda pair: stretches[pair[1]].first - stretches[pair[0]].last)
    first, second = stretches.pop(older), stretches.pop(newer)
    stretches[newer] = Stretch(first.first, max(first.last, second.last), first.pairs + second.pairs)
