"""Each count is taken exactly once, whoever dies when."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.monitoring.checkpoint import Checkpoint, Judged, decode, encode
from perennial.monitoring.counts import coverage, fold, miss
from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts, Take

from . import worlds

CELLS = 3
START = Checkpoint(model=Judged(worlds.MODEL))


@dataclass
class Pod:
    """A pod as `wire/counts.py` has it: it closes an epoch a call and keeps it until it is acknowledged."""

    incarnation: str
    counted: int = 0
    number: int = 0
    open: list[int] = field(default_factory=lambda: [0] * CELLS)
    kept: list[Epoch] = field(default_factory=list)

    def serve(self, cell: int, rows: int) -> None:
        self.open[cell] += rows
        self.counted += rows

    def take(self, take: Take) -> Epochs:
        if take.incarnation == self.incarnation:
            self.kept = [epoch for epoch in self.kept if epoch.number > take.acknowledge]
        rows = sum(self.open)
        if rows:
            self.number += 1
            labels = Labels(loss={self.number: [rows, 0]})
            counts = ModelCounts(rows=rows, cells=self.open, labels=labels)
            self.kept.append(Epoch(self.number, self.number, self.number + 1.0, {worlds.MODEL: counts}))
            self.open = [0] * CELLS
        return msgspec.json.decode(msgspec.json.encode(Epochs(self.incarnation, worlds.MODEL, self.kept)), type=Epochs)


@dataclass
class Monitor:
    """An operator whose memory is what it managed to write."""

    stored: Checkpoint = START

    def look(self, pods: dict[str, Pod], *, answering: set[str], survives: bool) -> None:
        answers = {uid: pods[uid].take(self._take(uid)) for uid in sorted(answering & set(pods))}
        after = fold(self.stored, answers, cells=CELLS)
        if survives:
            self.stored = decode({"metadata": {"name": "m"}, "binaryData": encode(after)})

    def _take(self, uid: str) -> Take:
        mark = self.stored.pods.get(uid)
        return Take(mark.incarnation, mark.number) if mark else Take()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("serve"), st.sampled_from("ab"), st.integers(0, CELLS - 1), st.integers(1, 9)),
        st.tuples(st.just("look"), st.sets(st.sampled_from("ab")), st.booleans()),
        st.tuples(st.just("replace"), st.sampled_from("ab")),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_any_interleaving_counts_each_row_once(steps: list[tuple[object, ...]]) -> None:
    """Pods serve, the operator looks at some of them and is killed before it can write, a pod loses its file."""
    pods = {uid: Pod(f"{uid}1") for uid in "ab"}
    monitor = Monitor()
    served = 0
    for kind, *details in steps:
        match kind, details:
            case "serve", [str(uid), int(cell), int(rows)]:
                pods[uid].serve(cell, rows)
            case "look", [set(answering), bool(survives)]:
                monitor.look(pods, answering=answering, survives=survives)
            case "replace", [str(uid)]:
                monitor.look(pods, answering={uid}, survives=True)
                served += pods[uid].counted
                pods[uid] = Pod(pods[uid].incarnation + "1")
    monitor.look(pods, answering={"a", "b"}, survives=True)
    monitor.look(pods, answering={"a", "b"}, survives=True)
    served += sum(pod.counted for pod in pods.values())
    tally, window = monitor.stored.tally, monitor.stored.open
    assert (tally.rows, tally.labels) == (served, served)
    assert (sum(window.cells) if window else 0) == served
    assert all(not pod.kept for pod in pods.values())


def test_a_resent_epoch_is_not_counted_again() -> None:
    first, second = worlds.epoch(1, [1, 2, 3], 6), worlds.epoch(2, [0, 0, 1], 1)
    once = fold(START, {"pod": worlds.answer(first)}, cells=CELLS)
    again = fold(once, {"pod": worlds.answer(first, second)}, cells=CELLS)
    assert again.tally.rows == 7
    assert again.open is not None
    assert again.open.cells == [1, 2, 4]
    assert (again.open.opened, again.open.closed) == (first.opened, second.closed)
    assert fold(again, {"pod": worlds.answer(first, second)}, cells=CELLS) is again


def test_a_new_incarnation_numbers_anew() -> None:
    once = fold(START, {"pod": worlds.answer(worlds.epoch(5, [1, 0, 0], 1))}, cells=CELLS)
    fresh = worlds.answer(worlds.epoch(1, [0, 1, 0], 1), incarnation="two")
    again = fold(once, {"pod": fresh}, cells=CELLS)
    assert again.tally.rows == 2
    assert again.pods["pod"].number == 1


def test_rows_of_another_model_stay_out_of_the_window_and_its_labels_wait() -> None:
    other = worlds.epoch(1, [9, 9, 9], 27, model=worlds.OTHER_MODEL, losses=[3, 2])
    found = fold(START, {"pod": worlds.answer(other)}, cells=CELLS)
    assert found.open is None
    assert found.tally.rows == 0
    assert found.tallies[worlds.OTHER_MODEL].waiting == [3, 2]


def test_cells_of_another_layout_are_said_to_be_lost() -> None:
    good = fold(START, {"pod": worlds.answer(worlds.epoch(1, [5, 0, 0], 5))}, cells=CELLS)
    found = fold(good, {"pod": worlds.answer(worlds.epoch(2, [5, 0], 5))}, cells=CELLS)
    assert found.open == good.open
    assert coverage(found.tally) == pytest.approx(10 / 15)


def test_a_pod_that_vanishes_loses_what_it_served_since() -> None:
    counted = fold(START, {"pod": worlds.answer(worlds.epoch(1, [60, 0, 0], 60))}, cells=CELLS)
    closed = counted.pods["pod"].seen
    gone = miss(counted, set(), closed + 30)
    assert coverage(gone.tally) == pytest.approx(60 / 90)
    assert miss(gone, set(), closed + 60) == gone
    assert "pod" not in miss(gone, set(), closed + 30 + 3600).pods
    assert miss(counted, {"pod"}, closed + 30) is counted


def test_a_pod_that_was_drained_loses_nothing() -> None:
    counted = fold(START, {"pod": worlds.answer(worlds.epoch(1, [60, 0, 0], 60), draining=True)}, cells=CELLS)
    assert coverage(miss(counted, set(), counted.pods["pod"].seen + 30).tally) == 1


def test_what_the_model_before_loses_is_not_missing_of_the_new_one() -> None:
    counted = fold(START, {"pod": worlds.answer(worlds.epoch(1, [60, 0, 0], 60))}, cells=CELLS)
    judged = msgspec.structs.replace(counted, model=Judged(worlds.OTHER_MODEL))
    judged = fold(judged, {"new": worlds.answer(worlds.epoch(1, [5, 0, 0], 5, model=worlds.OTHER_MODEL))}, cells=CELLS)
    gone = miss(judged, {"new"}, counted.pods["pod"].seen + 30)
    assert coverage(gone.tally) == 1
    assert coverage(gone.tallies[worlds.MODEL]) == pytest.approx(60 / 90)
