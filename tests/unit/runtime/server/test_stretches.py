"""Labels by the process that predicted their rows: all are kept, and rollouts of the same model stay apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.runtime.server.counts.labels import Label
from perennial.runtime.server.counts.stretches import STRETCHES, add
from perennial.runtime.server.receipt import Ids
from perennial.wire.stats import Challenger

DAY = 86_400


class Process:
    def __init__(self) -> None:
        self._ids = Ids()

    def label(self, issued: int, loss: float = 0.0) -> Label:
        return Label(self._ids(), issued, "candidate", loss, 0, 1, 0, 0, positive=False, companion="stable")


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 10_000)), min_size=1, max_size=300), st.integers(0, 10_000)
)
def test_all_labels_are_kept_and_what_is_asked_for_never_shrinks(seen: list[tuple[int, int]], began: int) -> None:
    processes = [Process() for _ in range(100)]
    challenger, before = Challenger(), 0
    for process, moment in seen:
        add(challenger.stretches, processes[process].label(moment))
        found = challenger.since(began).labelled
        assert before <= found
        before = found
    moments = [moment for _, moment in seen]
    assert len(challenger.stretches) <= STRETCHES
    assert challenger.since(0).labelled == len(moments)
    assert challenger.since(began).labelled >= sum(moment >= began for moment in moments)
    assert challenger.since(max(moments) + 1).labelled == 0


@pytest.mark.parametrize("pods", [1, 3, 100])
@pytest.mark.parametrize("pause", [5, 600])
def test_a_rollout_that_begins_again_has_none_of_the_earlier_ones_rows(pods: int, pause: int) -> None:
    """The earlier one went on for a day with a label every five seconds, the later one has one every minute. The loss
    marks the rows of the earlier one."""
    rng, challenger, began = np.random.default_rng(7), Challenger(), DAY + pause

    def serve(moments: Sequence[int], loss: float) -> None:
        processes = [Process() for _ in range(pods)]
        for moment in moments:
            add(challenger.stretches, processes[rng.integers(pods)].label(moment, loss))

    serve(range(0, DAY, 5), 1.0)
    assert challenger.since(began).labelled == 0
    serve(range(began, began + 4 * DAY, 60), 0.0)
    # One that was late.
    add(challenger.stretches, Process().label(0, 1.0))
    found = challenger.since(began)
    assert (found.labelled, found.loss) == (4 * DAY // 60, 0.0)
