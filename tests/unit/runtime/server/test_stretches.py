"""Labels by when their rows were predicted: all are kept, and rollouts of the same model stay apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perennial.runtime.server.counts.labels import Label
from perennial.runtime.server.counts.stretches import STRETCHES, add
from perennial.wire.stats import Challenger

HOUR, DAY = 3600, 86_400


def label(issued: int, loss: float = 0.0) -> Label:
    return Label(issued, issued, "candidate", loss, 0, 1, 0, 0, positive=False, companion="stable")


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=200), st.integers(0, 10_000))
def test_all_labels_are_kept_in_order_and_what_is_asked_for_never_shrinks(moments: list[int], began: int) -> None:
    challenger, before = Challenger(), 0
    for moment in moments:
        add(challenger.stretches, label(moment))
        found = challenger.since(began).labelled
        assert before <= found
        before = found
    ends = [end for stretch in challenger.stretches for end in (stretch.first, stretch.last)]
    assert ends == sorted(ends)
    assert len(challenger.stretches) <= STRETCHES
    assert challenger.since(0).labelled == len(moments)
    assert challenger.since(began).labelled >= sum(moment >= began for moment in moments)
    assert challenger.since(max(moments) + 1).labelled == 0


def test_a_rollout_that_begins_again_has_none_of_the_earlier_ones_rows_and_later_few() -> None:
    """The earlier one went on for two days; the loss marks its rows."""
    challenger, pause = Challenger(), 600
    began = 2 * DAY + pause
    for moment in range(0, 2 * DAY, 20):
        add(challenger.stretches, label(moment, loss=1.0))
    assert challenger.since(began).labelled == 0
    shares = {}
    for moment in range(began, began + DAY, 20):
        add(challenger.stretches, label(moment))
        pairs = challenger.since(began)
        shares[moment - began] = pairs.loss / pairs.labelled
    assert max(share for passed, share in shares.items() if passed < HOUR) == 0
    assert max(shares.values()) < 1 / 5
