"""Exactly once: whatever dies between the pod and its reader, and whenever, each row and label is in one epoch that
the reader keeps.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perennial.runtime.server.counts import epochs as module
from perennial.runtime.server.counts import labels as ledgers
from perennial.runtime.server.counts import slot as slots
from perennial.runtime.server.counts.epochs import CHALLENGERS, KEPT, Book
from perennial.runtime.server.counts.labels import Label
from perennial.runtime.server.counts.mapped import Layout, open_counts
from perennial.runtime.server.counts.tally import Tally
from perennial.runtime.server.counts.totals import Totals
from perennial.wire.counts import Epoch, Epochs, ModelCounts, Take
from perennial.wire.reference import Numeric, Reference
from perennial.wire.schema import Feature, Schema
from perennial.wire.stats import Challenger, Pairs, Stretch

OWN, RETIRED, COMPANION, CANDIDATE = "ab" * 32, "cd" * 32, "ef" * 32, "12" * 32
REFERENCE = Reference(
    model=OWN,
    task="classification",
    rows=4,
    features=[Numeric("x", [0.0, 1.0, 2.0], [1, 1, 1, 1, 0])],
    score=Numeric("score", [0.0, 0.5, 1.0], [1, 1, 1, 1, 0]),
)
TALLY = Tally(REFERENCE, Schema("classification", "y", [Feature("x", "numeric")], "positive"))


class Died(Exception):
    """The pod was killed here."""


class Pod:
    """A server pod's counting, which can be killed: what is in the folder is all that its next process has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1_000_000.0
        self.dies_at: str | None = None
        self.start()

    def start(self) -> None:
        self.mapped = open_counts(self.folder, Layout(1, 0, TALLY.cells), OWN)
        self.slot = slots.claim(self.mapped, TALLY)
        self.book = DyingBook(self)

    def kill(self) -> None:
        os.close(self.slot._lock)
        self.dies_at = None
        self.start()

    def read(self) -> np.ndarray:
        self.slot.flush()
        return slots.snapshot_all(self.mapped)


class DyingBook(Book):
    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        super().__init__(pod.mapped, pod.read, lambda: pod.now, COMPANION)

    def _save(self) -> None:
        if self.pod.dies_at == "before":
            raise Died
        super()._save()
        if self.pod.dies_at == "after":
            raise Died


class Reader:
    """The DriftMonitor's side: it counts an epoch of a new number, and acknowledges what its checkpoint holds."""

    def __init__(self) -> None:
        self.incarnation: str | None = None
        self.checkpoint = 0
        self.cells = np.zeros(TALLY.cells, np.int64)
        self.rows = 0
        self.labels: Counter[tuple[str, int, int]] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()

    def ask(self) -> Take:
        return Take(self.incarnation, self.checkpoint)

    def keep(self, answer: Epochs) -> None:
        fresh = [epoch for epoch in answer.epochs if epoch.number > self.checkpoint]
        assert answer.counted == self.rows + sum(m.rows for epoch in fresh for m in epoch.models.values())
        numbers = [epoch.number for epoch in answer.epochs]
        assert numbers == sorted(set(numbers))
        for epoch in fresh:
            self._add(epoch)
        self.incarnation = answer.incarnation
        self.checkpoint = max([self.checkpoint, *numbers])

    def _add(self, epoch: Epoch) -> None:
        assert epoch.opened <= epoch.closed
        for digest, counts in epoch.models.items():
            self.rows += counts.rows
            self.cells += np.array(counts.cells or [0] * TALLY.cells)
            for second, cells in (counts.labels.loss if counts.labels else {}).items():
                for cell, count in enumerate(cells):
                    self.labels[digest, second, cell] += count
            for companion, pairs in (counts.labels.pairs if counts.labels else {}).items():
                self.pairs[digest, companion] += sum(each.labelled for each in pairs.values())


def issued(id_: int) -> int:
    """When the prediction was made: the order in which labels come is another one."""
    return 1_000_000 - 7 * id_ % 50


def label(id_: int, model: str = OWN, wrong: bool = False, companion: str = "") -> Label:
    return Label(id_, issued(id_), model, float(wrong), int(wrong), 2, id_ % 4, 5, not wrong, companion, 0.0)


class ExactlyOnce(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.pod, self.reader = Pod(Path(self.folder.name)), Reader()
        self.rows: list[tuple[float, float]] = []
        self.labels: Counter[tuple[str, int, int]] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.ids = 0

    def teardown(self) -> None:
        self.pod.dies_at = None
        for _ in range(KEPT + 2):
            self.reader.keep(self.pod.book.take(self.reader.ask()))
        assert self.pod.book.waiting == 0 or self.reader.checkpoint
        assert self.reader.rows == len(self.rows)
        if self.rows:
            assert self.reader.cells.tolist() == TALLY(np.array(self.rows)).tolist()
        assert (self.reader.labels, self.reader.pairs) == (self.labels, self.pairs)
        assert self.pod.book.totals.labels == sum(n for (model, *_), n in self.labels.items() if model == OWN)
        os.close(self.pod.slot._lock)
        self.folder.cleanup()

    @rule(
        values=st.lists(
            st.tuples(st.sampled_from([-1.0, 0.5, 1.5, 7.0, float("nan")]), st.sampled_from([0.2, 0.7])), max_size=300
        )
    )
    def count(self, values: list[tuple[float, float]]) -> None:
        if values:
            rows = np.array(values)
            self.pod.slot.add(rows[:, :1], None, rows[:, 1])
            self.rows += values

    @rule(
        model=st.sampled_from([OWN, RETIRED]), wrong=st.booleans(), companion=st.sampled_from(["", COMPANION, RETIRED])
    )
    def label(self, model: str, wrong: bool, companion: str) -> None:
        self.ids += 1
        assert self.pod.book.label(label(self.ids, model, wrong, companion))
        self.labels[model, issued(self.ids), int(wrong)] += 1
        if companion:
            self.pairs[model, companion] += 1

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def label_again(self, data: st.DataObject) -> None:
        assert not self.pod.book.label(label(data.draw(st.integers(1, self.ids))))

    @rule()
    def take(self) -> None:
        self.reader.keep(self.pod.book.take(self.reader.ask()))

    @rule()
    def take_and_lose_the_answer(self) -> None:
        self.pod.book.take(self.reader.ask())

    @rule()
    def look(self) -> None:
        before = self.pod.book.waiting
        self.pod.book.take(Take(self.reader.incarnation, self.reader.checkpoint, close=False))
        assert self.pod.book.waiting == before

    @rule(where=st.sampled_from(["before", "after"]))
    def die_while_taking(self, where: str) -> None:
        self.pod.dies_at = where
        with pytest.raises(Died):
            self.pod.book.take(self.reader.ask())
        self.pod.kill()

    @rule(number=st.integers(0, 50))
    def a_stranger_acknowledges(self, number: int) -> None:
        self.pod.book.take(Take("another", number))

    @rule()
    def die(self) -> None:
        self.pod.kill()

    @rule()
    def finish(self) -> None:
        self.pod.book.finish()

    @rule(seconds=st.integers(0, 1000))
    def wait(self, seconds: int) -> None:
        self.pod.now += seconds

    @invariant()
    def bounded(self) -> None:
        assert self.pod.book.waiting <= KEPT + 1


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_an_empty_pod_closes_no_epoch(pod: Pod) -> None:
    assert [pod.book.take(Take()).epochs for _ in range(3)] == [[], [], []]


def test_an_unacknowledged_epoch_is_answered_again_unchanged(pod: Pod) -> None:
    pod.slot.add(np.array([[0.5]]), None, np.array([0.7]))
    first = pod.book.take(Take()).epochs
    pod.slot.add(np.array([[1.5]]), None, np.array([0.7]))
    again = pod.book.take(Take()).epochs
    assert again[0] == first[0]
    assert [epoch.number for epoch in again] == [1, 2]


def test_an_epoch_that_was_never_sent_cannot_be_acknowledged(pod: Pod) -> None:
    pod.slot.add(np.array([[0.5]]), None, np.array([0.7]))
    pod.book.finish()
    [epoch] = pod.book.take(Take(pod.mapped.incarnation, 99)).epochs
    assert epoch.models[OWN].rows == 1


def test_what_a_pod_says_last_is_all_that_it_has(pod: Pod) -> None:
    """Not when it begins to end, and not while an epoch waits for its turn to be sent."""
    for _ in range(KEPT):
        pod.slot.add(np.array([[0.5]]), None, np.array([0.7]))
        answer = pod.book.take(Take())
        assert not answer.last
    pod.slot.add(np.array([[0.5]]), None, np.array([0.7]))
    pod.book.finish()
    answer = pod.book.take(Take())
    assert (answer.last, answer.counted, len(answer.epochs)) == (False, KEPT, KEPT)
    answer = pod.book.take(Take(pod.mapped.incarnation, KEPT))
    assert (answer.last, answer.counted, len(answer.epochs)) == (True, KEPT + 1, 1)
    answer = pod.book.take(Take(pod.mapped.incarnation, KEPT + 1))
    assert (answer.last, answer.counted, answer.epochs) == (True, KEPT + 1, [])


def test_a_container_that_is_started_again_has_not_said_its_last(pod: Pod) -> None:
    pod.book.finish()
    assert pod.book.take(Take()).last
    pod.kill()
    assert not pod.book.take(Take()).last


def test_rows_that_cannot_be_counted_are_told(pod: Pod) -> None:
    totals = Totals(pod.slot.totals)
    totals.unread(3)
    [epoch] = pod.book.take(Take()).epochs
    assert epoch.models == {OWN: ModelCounts(unread=3)}
    totals.unread(2)
    pod.kill()
    pod.book.close()
    Totals(pod.slot.totals).unread(4)
    pod.slot.add(np.array([[0.5]]), None, np.array([0.7]))
    [_, epoch] = pod.book.take(Take()).epochs
    assert (epoch.models[OWN].rows, epoch.models[OWN].unread) == (1, 6)


def test_half_a_file_of_a_node_that_lost_its_power_keeps_no_pod_from_starting(pod: Pod) -> None:
    pod.slot.add(np.array([[0.5]]), None, np.array([0.7]))
    pod.book.take(Take())
    (pod.folder / "epochs").write_bytes((pod.folder / "epochs").read_bytes()[:20])
    (pod.folder / "counts").unlink()
    pod.kill()
    assert pod.book.take(Take()).epochs == []


def test_without_acknowledgement_the_open_epoch_goes_on(pod: Pod) -> None:
    for _ in range(3 * KEPT):
        pod.slot.add(np.array([[0.5]]), None, np.array([0.7]))
        answer = pod.book.take(Take())
    assert len(answer.epochs) == KEPT
    after = pod.book.take(Take(answer.incarnation, KEPT)).epochs
    assert [epoch.number for epoch in after] == [KEPT + 1]
    assert after[0].models[OWN].rows == 2 * KEPT


def test_labels_of_many_moments_that_nobody_takes_wait_together(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer has to hold all that waits: a reader that could not take it would never take anything."""
    monkeypatch.setattr(module, "KEPT_MOMENTS", 3)
    for id_ in range(1, 11):
        pod.book.label(dataclasses.replace(label(id_), issued=id_))
        answer = pod.book.take(Take())
    assert [epoch.number for epoch in answer.epochs] == [1, 2, 3]
    rest = pod.book.take(Take(pod.mapped.incarnation, 3)).epochs
    assert [
        sum(map(sum, made.labels.loss.values())) for made in (epoch.models[OWN] for epoch in rest) if made.labels
    ] == [7]


def test_a_full_ledger_closes_into_one_unsent_epoch(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LABELS", 10)
    for id_ in range(1, 36):
        assert pod.book.label(label(id_, wrong=id_ % 5 == 0))
    assert pod.book.waiting == 1
    pod.kill()
    [epoch] = pod.book.take(Take()).epochs
    labels = epoch.models[OWN].labels
    assert labels is not None
    assert np.sum(list(labels.loss.values()), axis=0).tolist() == [28, 7]


def test_labels_of_very_many_moments_come_by_longer_ones(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MOMENTS", 8)
    monkeypatch.setattr(module, "LABELS", 10)
    for id_ in range(1, 41):
        late = label(id_, wrong=id_ > 30, companion=COMPANION)
        assert pod.book.label(dataclasses.replace(late, issued=1_000 + id_))
    pod.kill()
    [epoch] = pod.book.take(Take()).epochs
    labels = epoch.models[OWN].labels
    assert labels is not None
    assert labels.grain == 8
    assert {start: sum(cells) for start, cells in labels.loss.items()} == {
        start: len(set(range(start, start + 8)) & set(range(1_001, 1_041))) for start in range(1_000, 1_041, 8)
    }
    assert np.sum(list(labels.loss.values()), axis=0).tolist() == [30, 10]
    paired = {start: pairs.labelled for start, pairs in labels.pairs[COMPANION].items()}
    assert paired == {start: sum(cells) for start, cells in labels.loss.items()}


def test_paired_losses_are_of_this_companion_only(pod: Pod) -> None:
    right = label(1, companion=COMPANION)
    pod.book.label(right)
    pod.book.label(dataclasses.replace(right, id=2, loss=1.0, companion_loss=0.25))
    pod.book.label(dataclasses.replace(right, id=3, companion=RETIRED))
    pod.book.label(label(4))
    pod.kill()
    totals = pod.book.totals
    assert (totals.labels, totals.pairs) == (4, Pairs(2, 1.0, 0.25, 0.75**2))
    [epoch] = pod.book.take(Take()).epochs
    labels = epoch.models[OWN].labels
    assert labels is not None
    assert {name: sum(made.values(), Pairs()) for name, made in labels.pairs.items()} == {
        COMPANION: totals.pairs,
        RETIRED: Pairs(1),
    }


def test_labels_of_a_challenger_are_summed_by_the_process_that_predicted_their_rows(pod: Pod) -> None:
    """Their pod is another one: this one's model is the one that the challenger is held against."""
    theirs = dataclasses.replace(label(1, companion=OWN), model=CANDIDATE, issued=120)
    pod.book.label(theirs)
    pod.book.label(dataclasses.replace(theirs, id=2, issued=179, loss=1.0, companion_loss=0.25))
    pod.book.take(Take())
    pod.kill()
    pod.book.label(dataclasses.replace(theirs, id=3, issued=180))
    pod.book.label(dataclasses.replace(theirs, id=4, companion=RETIRED))
    pod.kill()
    totals = pod.book.totals
    assert (totals.labels, totals.pairs) == (0, Pairs())
    one = theirs.pair
    process = Stretch(120, 180, one + Pairs(1, 1.0, 0.25, 0.75**2) + one)
    assert totals.challengers == {CANDIDATE: Challenger({0: process})}


def test_the_challengers_of_the_newest_predictions_are_kept(pod: Pod) -> None:
    theirs = dataclasses.replace(label(1, companion=OWN), model=CANDIDATE, issued=10_000)
    pod.book.label(theirs)
    pod.book.label(dataclasses.replace(theirs, id=2, issued=4_000))
    others = [f"{number:064x}" for number in range(CHALLENGERS)]
    for number, model in enumerate(others):
        pod.book.label(dataclasses.replace(theirs, id=100 + number, model=model, issued=5_000 + number))
    assert set(pod.book.totals.challengers) == {CANDIDATE, *others[1:]}


def test_a_reader_is_waited_for_only_when_it_came_lately(pod: Pod) -> None:
    assert not pod.book.is_read()
    pod.book.take(Take())
    assert pod.book.is_read()
    pod.now += 601
    assert not pod.book.is_read()


def test_cells_are_those_of_the_layout(pod: Pod) -> None:
    pod.slot.add(np.array([[np.nan]]), None, np.array([0.2]))
    [epoch] = pod.book.take(Take()).epochs
    assert epoch.models[OWN].cells == [0, 0, 0, 0, 1, 0, 1, 0, 0, 0]
