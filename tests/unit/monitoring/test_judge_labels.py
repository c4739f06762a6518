"""Late labels through the whole of a look: harm is dated by the predictions, and what a fault brought about never
counts.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged
from perennial.monitoring.verdict import Verdict
from perennial.wire.counts import Labels, ModelCounts
from perennial.wire.stats import Pairs

from . import worlds

ROWS = 1000
MINUTE = 60.0
START = 1_000_000.0
SPEC = DriftMonitorSpec.model_validate(
    {
        "deployment": "flights",
        "baseline": {"from": "Training"},
        "window": {"minRows": ROWS, "period": "60s"},
        "actions": [{"state": "Harm", "action": "Retrain"}],
    }
)


class Served:
    """A monitor of a deployment that answers 1,000 rows a minute; labels come when a test says so."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        columns = [worlds.numeric(name, rng) for name in ("x", "(score)")]
        self.reference = worlds.reference(columns, loss=worlds.loss(0.1))
        self.checkpoint = judge.begin(Checkpoint(), Judged(worlds.MODEL), self.reference)
        self.minute = 0

    def minutes(self, count: int = 1, *, missing: float = 0.0) -> Served:
        for _ in range(count):
            self._look([], None, missing=missing)
        return self

    def labels(self, *, of: int, wrong: int, number: int = 200) -> Served:
        """Labels of the predictions of that minute."""
        return self._look([number - wrong, wrong], START + MINUTE * (of - 0.5))

    def _look(self, losses: list[int], made: float | None, *, missing: float = 0.0) -> Served:
        self.minute += 1
        cells = [
            cell
            for column in self.reference.columns
            for cell in worlds.draw(column, self.rng, ROWS, missing=missing if column.name == "x" else 0.0)
        ]
        epoch = worlds.epoch(self.minute, cells, ROWS, losses=losses, made=made, start=START)
        self.checkpoint = judge.advance(self.checkpoint, SPEC, {"pod": worlds.answer(epoch)}, epoch.closed)
        return self

    @property
    def harm(self) -> Verdict | None:
        return self.checkpoint.triage.of("Harm")


@pytest.fixture
def served(rng: np.random.Generator) -> Served:
    return Served(rng)


def test_harm_is_since_the_predictions_were_bad(served: Served) -> None:
    served.minutes(60)
    for of in range(1, 41):
        served.labels(of=of, wrong=20 if of < 30 else 80)
    assert served.harm
    assert served.harm.since == START + 29 * MINUTE
    assert served.harm.loss
    assert served.harm.loss.now == pytest.approx(0.4)


def test_what_a_mended_fault_brought_about_counts_for_nothing_however_late(served: Served) -> None:
    served.minutes(10).minutes(10, missing=0.5)
    assert served.checkpoint.triage.of("DataFault")
    served.minutes(20)
    assert not served.checkpoint.triage.of("DataFault")
    for of in range(11, 21):
        served.labels(of=of, wrong=100)
    assert served.harm is None
    while not served.harm:
        served.labels(of=served.minute, wrong=100)
    assert served.harm.since == START + 49 * MINUTE


def test_what_versions_say_of_each_other_in_a_fault_is_forgotten_with_it(served: Served) -> None:
    """Harm was there before the fault, and the version before does without the column that is broken."""
    served.minutes(10).minutes(10, missing=0.5)
    assert served.checkpoint.triage.of("DataFault")
    tally = msgspec.structs.replace(served.checkpoint.tally, pairs={worlds.OTHER_MODEL: Pairs(90, 80.0, 8.0, 72.0)})
    served.checkpoint = msgspec.structs.replace(served.checkpoint, tallies={worlds.MODEL: tally})
    served.minutes(20)
    assert not served.checkpoint.triage.of("DataFault")
    assert served.checkpoint.tally.pairs == {}


def test_what_was_served_while_suspended_is_not_judged_by_late_labels(served: Served) -> None:
    served.minutes(10)
    served.checkpoint = judge.start(served.checkpoint, START + 10 * MINUTE)
    for _ in range(20):
        served.labels(of=5, wrong=100)
    assert served.harm is None


def test_a_release_takes_what_was_served_for_normal(served: Served) -> None:
    served.minutes(10)
    served.checkpoint = judge.release(served.checkpoint, "token")
    for _ in range(20):
        served.labels(of=5, wrong=100)
    assert served.harm is None
    assert served.checkpoint.tally.labels == 4000


def test_labels_that_waited_for_a_suspension_to_end_prove_nothing(served: Served) -> None:
    """What they say could be dated nowhere."""
    served.minutes(10).labels(of=11, wrong=10)
    half = msgspec.structs.replace(served.checkpoint.tally, waiting=[0, 5000])
    served.checkpoint = msgspec.structs.replace(served.checkpoint, tallies={worlds.MODEL: half})
    served.checkpoint = judge.start(served.checkpoint, START + 11 * MINUTE)
    served.minutes(3)
    assert served.harm is None


def test_a_model_that_comes_back_is_not_judged_by_labels_that_waited(served: Served) -> None:
    served.minutes(10)
    half = msgspec.structs.replace(served.checkpoint.tally, waiting=[0, 5000])
    served.checkpoint = msgspec.structs.replace(served.checkpoint, tallies={worlds.MODEL: half})
    away = judge.begin(served.checkpoint, Judged(worlds.OTHER_MODEL), None)
    served.checkpoint = judge.begin(away, Judged(worlds.MODEL), served.reference)
    served.minutes(3)
    assert served.harm is None


def test_a_release_holds_also_where_nothing_has_been_served_for_long(served: Served) -> None:
    served.minutes(10)
    served.checkpoint = msgspec.structs.replace(served.checkpoint, pods={})
    served.checkpoint = judge.release(served.checkpoint, "token")
    for _ in range(20):
        served.labels(of=5, wrong=100)
    assert served.harm is None


def test_a_pod_that_ends_is_heard_though_it_was_sent_labels_of_the_version_that_follows(served: Served) -> None:
    """The new version's reference is not here yet, and labels reach any pod."""
    served.minutes(2)
    after = judge.begin(served.checkpoint, Judged(worlds.OTHER_MODEL), None)
    last = worlds.epoch(3, [0] * sum(column.cells for column in served.reference.columns), 70, start=START)
    labels = ModelCounts(labels=Labels(loss={int(START): [3, 2]}))
    last = msgspec.structs.replace(last, models={**last.models, worlds.OTHER_MODEL: labels})
    after = judge.advance(after, SPEC, {"pod": worlds.answer(last)}, last.closed)
    assert after.tallies[worlds.MODEL].rows == 2 * ROWS + 70
    assert (after.tally.labels, after.tally.waiting) == (5, [3, 2])


def test_the_last_labels_are_judged_though_nothing_is_served_any_more(served: Served) -> None:
    served.minutes(3).labels(of=2, wrong=60, number=100)
    told = served.harm
    assert told
    closed = START + MINUTE * (served.minute + 0.5)
    more = worlds.epoch(served.minute + 1, [], 0, losses=[100, 700], made=told.since + 1, start=START)
    answer = worlds.answer(msgspec.structs.replace(more, closed=closed))
    checkpoint = judge.advance(served.checkpoint, SPEC, {"pod": answer}, closed)
    assert checkpoint.triage.of("Harm") == told, "a step is a window's period"
    found = judge.advance(checkpoint, SPEC, {}, closed + MINUTE).triage.of("Harm")
    assert found
    assert found.n == told.n + 800
