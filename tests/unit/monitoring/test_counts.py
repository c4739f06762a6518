"""Each count is taken exactly once, whoever dies when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from perennial.monitoring.checkpoint import Checkpoint, Judged, Tally, decode, encode
from perennial.monitoring.counts import MODELS, coverage, fold, miss
from perennial.monitoring.course import Course
from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts, Take
from perennial.wire.stats import Pairs

from . import worlds

CELLS = 3
NOW = 1_000_000.0
START = Checkpoint(model=Judged(worlds.MODEL))


@dataclass
class Pod:
    """A pod as `wire/counts.py` has it: it closes an epoch a call and keeps it until it is acknowledged."""

    incarnation: str
    opened: float
    counted: int = 0
    number: int = 0
    open: list[int] = field(default_factory=lambda: [0] * CELLS)
    kept: list[Epoch] = field(default_factory=list)
    ended: bool = False

    def serve(self, cell: int, rows: int) -> None:
        self.open[cell] += rows
        self.counted += rows

    def take(self, take: Take, now: float) -> Epochs:
        if take.incarnation == self.incarnation:
            self.kept = [epoch for epoch in self.kept if epoch.number > take.acknowledge]
        rows = sum(self.open)
        if rows:
            self.number += 1
            counts = ModelCounts(rows=rows, cells=self.open, labels=Labels(loss={self.number: [rows, 0]}))
            self.kept.append(Epoch(self.number, self.opened, now, {worlds.MODEL: counts}))
            self.open = [0] * CELLS
        self.opened = now
        answer = Epochs(self.incarnation, worlds.MODEL, self.kept, self.ended, self.counted)
        return msgspec.json.decode(msgspec.json.encode(answer), type=Epochs)


@dataclass
class World:
    """Two pods at a time, and an operator whose memory is what it managed to write."""

    stored: Checkpoint = START
    now: float = NOW
    served: int = 0
    made: int = 0
    pods: dict[str, Pod] = field(default_factory=dict)
    older: list[Checkpoint] = field(default_factory=list)

    def add(self) -> None:
        """A pod comes, and is met at once."""
        self.made += 1
        uid = f"pod {self.made}"
        self.pods[uid] = Pod(f"{uid}, first file", self.now)
        self.look({uid})
        self.older.clear()

    def any(self, place: int) -> str:
        return sorted(self.pods)[place]

    def serve(self, uid: str, cell: int, rows: int) -> None:
        self.pods[uid].serve(cell, rows)
        self.served += rows

    def look(self, answering: Collection[str] | None = None, *, survives: bool = True) -> None:
        asked = self.pods if answering is None else answering
        answers = {uid: self.pods[uid].take(self._take(uid), self.now) for uid in asked}
        after = fold(self.stored, answers, cells=CELLS, now=self.now)
        after = miss(after, self.pods, self.now, {})
        if survives:
            self.older.append(self.stored)
            self.stored = decode({"metadata": {"name": "m"}, "binaryData": encode(after)})

    def _take(self, uid: str) -> Take:
        mark = self.stored.pods.get(uid)
        return Take(mark.incarnation, mark.number) if mark else Take()


SERVE = st.tuples(st.just("serve"), st.integers(0, 1), st.integers(0, CELLS - 1), st.integers(1, 9))
LOOK = st.tuples(st.just("look"), st.sets(st.integers(0, 1)), st.booleans())
END = st.tuples(st.just("end"), st.integers(0, 1))
LOSSES = st.tuples(st.sampled_from(["vanish", "reboot", "stranger", "restore"]), st.integers(0, 1))


def told(world: World, steps: list[tuple[object, ...]]) -> None:
    """What happens, a second apart. Both pods have been asked for something before."""
    for _ in range(2):
        world.add()
        world.serve(world.any(-1), 0, 5)
        world.now += 1
        world.look()
    for kind, *details in steps:
        world.now += 1
        match kind, details:
            case "serve", [int(place), int(cell), int(rows)]:
                world.serve(world.any(place), cell, rows)
            case "look", [set(places), bool(survives)]:
                world.look([world.any(place) for place in places], survives=survives)
            case "end", [int(place)]:
                uid = world.any(place)
                world.look([uid])
                world.serve(uid, 0, 3)
                world.pods[uid].ended = True
                world.look([uid])
                del world.pods[uid]
                world.add()
            case "vanish", [int(place)]:
                del world.pods[world.any(place)]
                world.add()
            case "reboot", [int(place)]:
                pod = world.pods[world.any(place)]
                world.pods[world.any(place)] = Pod(pod.incarnation + " and another", world.now)
            case "stranger", [int(place)]:
                pod = world.pods[world.any(place)]
                pod.take(Take(), world.now)
                pod.take(Take(pod.incarnation, pod.number), world.now)
            case "restore", _ if world.older:
                world.stored = world.older[0]
    for _ in range(3):
        # What a stranger took is seen by what comes after it.
        for uid in world.pods:
            world.serve(uid, 0, 1)
        world.now += 1
        world.look()


@given(st.lists(st.one_of(SERVE, LOOK, END), max_size=25))
@settings(max_examples=100, deadline=None)
def test_any_interleaving_counts_each_row_once(steps: list[tuple[object, ...]]) -> None:
    """Pods serve, end and hand over; the operator looks at some of them and is killed before it can write."""
    world = World()
    told(world, steps)
    tally, window = world.stored.tally, world.stored.open
    assert (tally.rows, tally.labels) == (world.served, world.served)
    assert (sum(window.cells) if window else 0) == world.served
    assert tally.lost == 0
    world.look()
    assert all(not pod.kept for pod in world.pods.values())


@given(st.lists(st.one_of(SERVE, LOOK, END, LOSSES), max_size=25))
@settings(max_examples=150, deadline=None)
def test_what_is_missing_is_said(steps: list[tuple[object, ...]]) -> None:
    """Also with pods that vanish or lose their file, somebody who takes epochs from them, a memory that is put back."""
    world = World()
    told(world, steps)
    tally = world.stored.tally
    assert tally.rows <= world.served
    assert tally.rows == world.served or tally.lost > 0


def test_a_resent_epoch_is_not_counted_again() -> None:
    first, second = worlds.epoch(1, [1, 2, 3], 6), worlds.epoch(2, [0, 0, 1], 1)
    once = fold(START, {"pod": worlds.answer(first)}, cells=CELLS, now=NOW)
    again = fold(once, {"pod": worlds.answer(first, second)}, cells=CELLS, now=NOW)
    assert again.tally.rows == 7
    assert again.open is not None
    assert again.open.cells == [1, 2, 4]
    assert (again.open.opened, again.open.closed) == (first.opened, second.closed)
    assert fold(again, {"pod": worlds.answer(first, second)}, cells=CELLS, now=NOW) is again


def test_a_new_incarnation_numbers_anew() -> None:
    once = fold(START, {"pod": worlds.answer(worlds.epoch(5, [1, 0, 0], 1))}, cells=CELLS, now=NOW)
    fresh = worlds.answer(worlds.epoch(1, [0, 1, 0], 1), incarnation="two")
    again = fold(once, {"pod": fresh}, cells=CELLS, now=NOW)
    assert again.tally.rows == 2
    assert again.pods["pod"].number == 1


def test_rows_of_another_model_stay_out_of_the_window_and_its_labels_wait() -> None:
    other = worlds.epoch(1, [9, 9, 9], 27, model=worlds.OTHER_MODEL, losses=[3, 2])
    found = fold(START, {"pod": worlds.answer(other)}, cells=CELLS, now=NOW)
    assert found.open is None
    assert found.tally.rows == 0
    assert found.tallies[worlds.OTHER_MODEL].waiting == [3, 2]


def test_only_what_is_judged_says_which_of_two_versions_is_better() -> None:
    known = msgspec.structs.replace(START, tallies={worlds.MODEL: Tally(losses=Course(begun=NOW))})
    pairs = {worlds.OTHER_MODEL: {int(NOW) - 60: Pairs(7, 7.0), int(NOW) + 60: Pairs(3, 1.0)}}
    labels = Labels(loss={int(NOW) - 60: [0, 7], int(NOW) + 60: [2, 1]}, pairs=pairs)
    epoch = Epoch(1, NOW, NOW + 90, {worlds.MODEL: ModelCounts(labels=labels)})
    found = fold(known, {"pod": worlds.answer(epoch)}, cells=CELLS, now=NOW).tally
    assert (found.labels, found.waiting, found.pairs) == (10, [2, 1], {worlds.OTHER_MODEL: Pairs(3, 1.0)})


def test_candidates_that_come_and_go_do_not_grow_the_checkpoint() -> None:
    known = msgspec.structs.replace(START, tallies={worlds.OTHER_MODEL: Tally(rows=1), worlds.MODEL: Tally(rows=2)})
    candidates = [f"{number:064x}" for number in range(50)]
    for number, model in enumerate(candidates, start=1):
        epoch = worlds.epoch(number, [1, 0, 0], 1, model=model)
        known = fold(known, {"pod": worlds.answer(epoch)}, cells=CELLS, now=NOW)
    assert list(known.tallies) == [worlds.OTHER_MODEL, worlds.MODEL, *candidates[2 - MODELS :]]
    strange = worlds.epoch(60, [], 0, model="e" * 64, losses=[1, 0])
    assert fold(known, {"pod": worlds.answer(strange)}, cells=CELLS, now=NOW).tallies == known.tallies


def test_cells_of_another_layout_are_said_to_be_lost() -> None:
    good = fold(START, {"pod": worlds.answer(worlds.epoch(1, [5, 0, 0], 5))}, cells=CELLS, now=NOW)
    found = fold(good, {"pod": worlds.answer(worlds.epoch(2, [5, 0], 5))}, cells=CELLS, now=NOW)
    assert found.open == good.open
    assert coverage(found.tally) == pytest.approx(10 / 15)


def test_a_pod_that_vanishes_loses_what_it_served_since() -> None:
    counted = fold(START, {"pod": worlds.answer(worlds.epoch(1, [60, 0, 0], 60))}, cells=CELLS, now=NOW)
    closed = counted.pods["pod"].seen
    gone = miss(counted, set(), closed + 30, {})
    assert coverage(gone.tally) == pytest.approx(60 / 90)
    assert miss(gone, set(), closed + 60, {}) == gone
    assert "pod" not in miss(gone, set(), closed + 30 + 3600, {}).pods
    assert miss(counted, {"pod"}, closed + 30, {}) is counted


def test_a_pod_that_has_said_all_loses_nothing() -> None:
    counted = fold(START, {"pod": worlds.answer(worlds.epoch(1, [60, 0, 0], 60), last=True)}, cells=CELLS, now=NOW)
    assert coverage(miss(counted, set(), counted.pods["pod"].seen + 30, {}).tally) == 1


def test_what_the_model_before_loses_is_not_missing_of_the_new_one() -> None:
    counted = fold(START, {"pod": worlds.answer(worlds.epoch(1, [60, 0, 0], 60))}, cells=CELLS, now=NOW)
    judged = msgspec.structs.replace(counted, model=Judged(worlds.OTHER_MODEL))
    judged = fold(
        judged, {"new": worlds.answer(worlds.epoch(1, [5, 0, 0], 5, model=worlds.OTHER_MODEL))}, cells=CELLS, now=NOW
    )
    gone = miss(judged, {"new"}, counted.pods["pod"].seen + 30, {})
    assert coverage(gone.tally) == 1
    assert coverage(gone.tallies[worlds.MODEL]) == pytest.approx(60 / 90)


def test_labels_alone_say_nothing_of_how_many_rows_there_will_be() -> None:
    answers = [worlds.epoch(1, [60, 0, 0], 60), worlds.epoch(2, [], 0, losses=[5, 0])]
    counted = fold(START, {"pod": worlds.answer(*answers)}, cells=CELLS, now=NOW)
    gone = miss(counted, set(), counted.pods["pod"].seen + 30, {})
    assert gone.tally.lost == pytest.approx(30)


def test_a_pod_of_which_nothing_is_known_is_thought_to_be_like_the_others() -> None:
    answers = {"a": worlds.answer(worlds.epoch(1, [60, 0, 0], 60)), "b": worlds.answer(incarnation="two")}
    counted = fold(START, answers, cells=CELLS, now=NOW)
    assert miss(counted, {"a"}, NOW + 10, {}).tally.lost == pytest.approx(10)


def test_a_pod_that_was_quiet_until_it_vanished_has_lost_little() -> None:
    counted = fold(START, {"pod": worlds.answer(worlds.epoch(1, [60, 0, 0], 60))}, cells=CELLS, now=NOW)
    assert miss(counted, set(), counted.pods["pod"].seen + 3600, {"pod": 2.0}).tally.lost == pytest.approx(2)


def test_what_a_file_had_that_went_with_its_node_is_lost() -> None:
    first = worlds.epoch(1, [60, 0, 0], 60)
    once = fold(START, {"pod": worlds.answer(first)}, cells=CELLS, now=NOW)
    fresh = worlds.answer(worlds.epoch(1, [0, 1, 0], 1, start=first.closed + 20), incarnation="two")
    again = fold(once, {"pod": fresh}, cells=CELLS, now=NOW)
    assert again.tally.rows == 61
    assert again.tally.lost == pytest.approx(20)


def test_what_somebody_else_took_is_lost_to_the_row() -> None:
    once = fold(START, {"pod": replace(worlds.answer(worlds.epoch(1, [5, 0, 0], 5)), counted=5)}, cells=CELLS, now=NOW)
    later = replace(worlds.answer(worlds.epoch(4, [2, 0, 0], 2)), counted=18)
    again = fold(once, {"pod": later}, cells=CELLS, now=NOW)
    assert (again.tally.rows, again.tally.lost) == (7, 11)


def test_rows_that_a_pod_cannot_count_are_lost() -> None:
    counts = {worlds.MODEL: ModelCounts(unread=3)}
    found = fold(START, {"pod": worlds.answer(Epoch(1, NOW, NOW + 60, counts))}, cells=CELLS, now=NOW)
    assert coverage(found.tally) == 0
