"""Late labels through the whole of a look: harm is dated by the predictions, and what a fault brought about never
counts.
"""

from __future__ import annotations

import numpy as np
import pytest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged
from perennial.monitoring.verdict import Verdict

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
