"""Simulated traffic whose distribution is known, and a monitor that watches it the whole way from rows to verdicts.

Twenty features of the kinds that tables have: correlated and independent normal ones, skewed, integer-valued and tied
ones, a boolean and a categorical one. The reference is made by the trainer, rows are counted by the server's own tally,
counts are judged by the monitor.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged
from perennial.monitoring.verdict import Verdict
from perennial.runtime.server.counts.tally import Coder, Tally
from perennial.runtime.trainer import reference
from perennial.runtime.trainer.metrics import Judged as Answers
from perennial.wire.counts import Epoch, Epochs, ModelCounts
from perennial.wire.schema import Feature, Schema

REFERENCE_ROWS = 10_000
PERIOD = 300.0
MODEL = "a" * 64

NORMAL = [f"x{place}" for place in range(15)]
"""x0 and x1 are correlated at 0.7, x2 to x4 at 0.4 with one another."""
NUMBERS = [*NORMAL, "skewed", "whole", "rare", "flag"]
CATEGORIES = ["ash", "birch", "cedar", "elm", "oak"]
SHARES = [0.4, 0.3, 0.15, 0.1, 0.05]
FEATURES = len(NUMBERS) + 1

Floats = NDArray[np.float64]
Change = Callable[[pd.DataFrame, np.random.Generator], None]
"""Changes drawn rows in place."""


def draw(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Rows with nothing changed, and the model's score last."""
    normal = rng.normal(size=(n, len(NORMAL)))
    normal[:, 1] = 0.7 * normal[:, 0] + np.sqrt(1 - 0.49) * normal[:, 1]
    normal[:, 2:5] = np.sqrt(0.4) * rng.normal(size=(n, 1)) + np.sqrt(0.6) * normal[:, 2:5]
    rows = pd.DataFrame(normal, columns=NORMAL)
    rows["skewed"] = rng.exponential(size=n)
    rows["whole"] = np.round(2 * rng.normal(size=n))
    rows["rare"] = np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n))
    rows["flag"] = (rng.random(n) < 0.3).astype(np.float64)
    rows["kind"] = np.array(CATEGORIES, dtype=object)[rng.choice(len(SHARES), size=n, p=SHARES)]
    rows["score"] = 1 / (1 + np.exp(-(2 * normal[:, 5] + normal[:, 0] - rows["skewed"] + 1)))
    return rows


SCHEMA = Schema(
    task="classification",
    target="y",
    features=[
        *(Feature(name, "boolean" if name == "flag" else "numeric") for name in NUMBERS),
        Feature("kind", "categorical"),
    ],
    score="positive",
    classes=[0, 1],
)


@dataclass(frozen=True)
class Found:
    """What a monitor said first: after how many windows, what it named, and how many windows its estimate of the
    beginning is off."""

    windows: int
    named: tuple[str, ...]
    off: float


class Watched:
    """A monitor with its baseline from training, or from what it is served, and what it is served; one false alarm is
    allowed `every` so long."""

    def __init__(
        self, rng: np.random.Generator, *, rows: int = REFERENCE_ROWS, baseline: str = "Training", every: str = "90d"
    ) -> None:
        self.rng = rng
        learned, self.held = draw(rng, rows), draw(rng, rows)
        scores = self.held["score"].to_numpy()
        truth = (rng.random(rows) < scores).astype(np.intp)
        chances = np.column_stack([1 - scores, scores])
        answers = Answers(truth, (scores > 0.5).astype(np.intp), [0, 1], chances)
        self.reference = reference.build(SCHEMA, reference.HeldOut(self.held, learned, answers, timed=True), MODEL)
        self._code, self._tally = Coder(self.reference, SCHEMA), Tally(self.reference, SCHEMA)
        self.spec = DriftMonitorSpec.model_validate(
            {"deployment": "x", "baseline": {"from": baseline}, "window": {"minRows": 10}, "falseAlarmEvery": every}
        )
        self.checkpoint = judge.begin(Checkpoint(), Judged(MODEL), self.reference)
        self.number = 0

    def cells(self, rows: pd.DataFrame) -> list[int]:
        codes = self._code(rows[["kind"]].to_numpy(dtype=object))
        counted: list[int] = self._tally(np.column_stack([rows[NUMBERS], codes, rows["score"]])).tolist()
        return counted

    def serve(self, rows: pd.DataFrame) -> tuple[Verdict, ...]:
        return self.count(self.cells(rows), len(rows))

    def count(self, cells: list[int], rows: int) -> tuple[Verdict, ...]:
        """Serve so many rows that fell into these cells."""
        self.number += 1
        opened = PERIOD * self.number
        epoch = Epoch(self.number, opened, opened + PERIOD, {MODEL: ModelCounts(rows, cells)})
        answers = {"pod": Epochs("one", MODEL, [epoch])}
        self.checkpoint = judge.advance(self.checkpoint, self.spec, answers, now=opened + PERIOD)
        return self.checkpoint.triage.verdicts

    def found(self, began: int) -> Found | None:
        """What is said of a change that began with this window."""
        verdicts = self.checkpoint.triage.verdicts
        if not verdicts:
            return None
        named = sorted({each.name for verdict in verdicts for each in verdict.features})
        return Found(self.number - began + 1, tuple(named), verdicts[0].since / PERIOD - began)

    def twin(self) -> Watched:
        """Another one that has seen the same, and draws the same from here on."""
        twin = copy(self)
        twin.rng = deepcopy(self.rng)
        return twin
