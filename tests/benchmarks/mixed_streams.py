"""Rows as tables have them in which nothing changes, with a score and labels, and all that a monitor says of them.

Columns are numeric, whole, tied, heavily tied, constant, boolean and text of few and of many categories; some have
missing values. Each is a monotone function of a normal variable of its own, so that one rule makes all of them waver:
the variable's mean is off by a little in each window, and so is that of what decides which values are missing.

The trainer makes the reference, the server's tally counts, the monitor judges epochs with their labels: scan, faults
and both bets on harm, as in a cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged
from perennial.monitoring.suspicion import why_not
from perennial.monitoring.triage import Triage
from perennial.runtime.server.counts.tally import Coder, Tally
from perennial.runtime.trainer import reference
from perennial.runtime.trainer.metrics import Judged as Answers
from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts
from perennial.wire.schema import Feature, Kind, Schema

REFERENCE_ROWS = 10_000
MODEL = "a" * 64
PERIOD = 300.0
SPREAD = 0.05
"""Standard deviations by which a window's means are off where windows are not alike."""
MISSING = 0.03
KINDS: dict[str, float | None] = {"alike": None, "overdispersed": 0.0, "dependent, 0.6": 0.6, "dependent, 0.9": 0.9}
"""What windows are, and the correlation of a window's means with the next one's; None where they do not waver."""

Floats = NDArray[np.float64]
Values = NDArray[np.float64] | NDArray[np.object_]


def _normal(z: Floats) -> Floats:
    return z


def _skewed(z: Floats) -> Floats:
    skewed: Floats = -np.log(ndtr(-z))
    return skewed


def _whole(z: Floats) -> Floats:
    return np.round(2 * z)


def _counted(z: Floats) -> Floats:
    """Few whole numbers, most of them 0 or 1."""
    return np.floor(_skewed(z))


def _heavily_tied(z: Floats) -> Floats:
    """Nine in ten are 0."""
    tied: Floats = np.maximum(z - ndtri(0.9), 0.0)
    return tied


def _constant(z: Floats) -> Floats:
    return np.ones_like(z)


def _flag(z: Floats) -> Floats:
    flags: Floats = (z > ndtri(0.7)).astype(np.float64)
    return flags


def _texts(shares: Floats) -> Callable[[Floats], NDArray[np.object_]]:
    bounds = ndtri(np.cumsum(shares / shares.sum())[:-1])
    names = np.array([f"category {place}" for place in range(len(shares))], dtype=object)
    return lambda z: names[np.searchsorted(bounds, z)]


_FEW = _texts(np.array([0.4, 0.3, 0.15, 0.1, 0.05]))
_MANY = _texts(1 / np.arange(3.0, 403.0))


@dataclass(frozen=True)
class Made:
    """A column as a monotone function of a normal variable; of one with `missing` so many values are."""

    name: str
    kind: Kind
    of: Callable[[Floats], Values]
    missing: float = 0.0


COLUMNS = (
    Made("normal", "numeric", _normal),
    Made("correlated", "numeric", _normal),
    *(Made(f"independent {place}", "numeric", _normal) for place in range(3)),
    Made("normal, gaps", "numeric", _normal, MISSING),
    Made("skewed", "numeric", _skewed),
    Made("skewed, gaps", "numeric", _skewed, MISSING),
    Made("whole", "numeric", _whole),
    Made("whole, gaps", "numeric", _whole, MISSING),
    Made("counted", "numeric", _counted),
    Made("heavily tied", "numeric", _heavily_tied),
    Made("heavily tied, gaps", "numeric", _heavily_tied, MISSING),
    Made("constant", "numeric", _constant),
    Made("flag", "boolean", _flag),
    Made("flag, gaps", "boolean", _flag, MISSING),
    Made("few", "categorical", _FEW),
    Made("few, gaps", "categorical", _FEW, MISSING),
    Made("many", "categorical", _MANY),
    Made("many, gaps", "categorical", _MANY, MISSING),
)
GAPS = tuple(made for made in COLUMNS if made.missing)
WEIGHTS = {"normal": 2.0, "skewed": 1.0, "flag": 1.0, "few": 0.7}
"""Of the columns' variables in the score's logit."""
SCHEMA = Schema(
    task="classification",
    target="y",
    features=[Feature(made.name, made.kind) for made in COLUMNS],
    score="positive",
    classes=[0, 1],
)


@dataclass(frozen=True)
class Window:
    """Rows by column, with the model's scores and the labels that came back."""

    columns: Mapping[str, Values]
    scores: Floats
    labels: NDArray[np.bool_]

    @property
    def predictions(self) -> NDArray[np.bool_]:
        predictions: NDArray[np.bool_] = self.scores > 0.5
        return predictions

    @property
    def rows(self) -> pd.DataFrame:
        return pd.DataFrame(dict(self.columns))

    @property
    def numbers(self) -> Floats:
        return np.column_stack([self.columns[name] for name in SCHEMA.numbers]).astype(np.float64)

    @property
    def texts(self) -> NDArray[np.object_]:
        return np.column_stack([self.columns[name] for name in SCHEMA.texts])


class Rows:
    """Windows of rows, one after the other."""

    def __init__(self, rng: np.random.Generator, kind: str) -> None:
        self._rng = rng
        self._persistence = KINDS[kind]
        self._off = rng.normal(size=len(COLUMNS) + len(GAPS)) * SPREAD

    def window(self, n: int) -> Window:
        z = self._rng.normal(size=(len(COLUMNS) + len(GAPS), n))
        z[1] = 0.7 * z[0] + np.sqrt(1 - 0.49) * z[1]
        z += self._onward()[:, None]
        missing = dict(zip((made.name for made in GAPS), z[len(COLUMNS) :], strict=True))
        columns: dict[str, Values] = {}
        logit: Floats = np.full(n, 0.5)
        for made, variable in zip(COLUMNS, z, strict=False):
            values = made.of(variable)
            if made.missing:
                values[missing[made.name] < ndtri(made.missing)] = "" if made.kind == "categorical" else np.nan
            columns[made.name] = values
            logit += WEIGHTS.get(made.name, 0.0) * variable
        score = expit(logit)
        return Window(columns, score, self._rng.random(n) < score)

    def many(self, n: int, total: int) -> Window:
        """At least so many rows, in windows of n."""
        windows = [self.window(n) for _ in range(-(-total // n))]
        columns = {made.name: np.concatenate([each.columns[made.name] for each in windows]) for made in COLUMNS}
        scores = np.concatenate([each.scores for each in windows])
        return Window(columns, scores, np.concatenate([each.labels for each in windows]))

    def _onward(self) -> Floats:
        if self._persistence is None:
            return np.zeros_like(self._off)
        fresh = self._rng.normal(size=len(self._off)) * SPREAD
        self._off = self._persistence * self._off + np.sqrt(1 - self._persistence**2) * fresh
        return self._off


@dataclass
class Said:
    """New verdicts by state in so many windows that were judged by a whole baseline, and in those that it was learned
    from (`learning`); `suspects` of the streams could suspect harm by their scores. `told` says what each was about."""

    windows: int = 0
    states: Counter[str] = field(default_factory=Counter)
    learning: Counter[str] = field(default_factory=Counter)
    suspects: int = 0
    told: list[str] = field(default_factory=list)

    def __add__(self, other: Said) -> Said:
        return Said(
            self.windows + other.windows,
            self.states + other.states,
            self.learning + other.learning,
            self.suspects + other.suspects,
            self.told + other.told,
        )


@dataclass(frozen=True)
class Stream:
    """So many windows of n rows after a baseline of their own."""

    kind: str
    n: int
    windows: int
    seed: int
    every: str
    baseline: str

    def said(self) -> Said:
        rows = Rows(np.random.default_rng([9500, self.n, self.seed]), self.kind)
        monitor = _Monitor(rows, self)
        said, known = Said(suspects=monitor.suspects), set[str]()
        for number in count(1):
            whole = monitor.learned
            for verdict in monitor.serve(number, rows.window(self.n)).verdicts:
                if verdict.id in known:
                    continue
                known.add(verdict.id)
                (said.states if whole else said.learning)[verdict.state] += 1
                features = ", ".join(f"{each.name} {each.words}" for each in verdict.features[:3])
                said.told.append(f"{self.kind}, n = {self.n}, {self.seed}/{number}: {verdict.state} {features}")
            said.windows += whole
            if said.windows == self.windows:
                return said
        raise AssertionError("windows do not end")


class _Monitor:
    """From rows to verdicts."""

    def __init__(self, rows: Rows, stream: Stream) -> None:
        learned, held = rows.many(stream.n, REFERENCE_ROWS), rows.many(stream.n, REFERENCE_ROWS)
        chances = np.column_stack([1 - held.scores, held.scores])
        answers = Answers(held.labels.astype(np.intp), held.predictions.astype(np.intp), [0, 1], chances)
        made = reference.build(SCHEMA, reference.HeldOut(held.rows, learned.rows, answers, timed=True), MODEL)
        self._spec = DriftMonitorSpec.model_validate(
            {
                "deployment": "x",
                "baseline": {"from": stream.baseline},
                "window": {"minRows": stream.n, "period": "5m"},
                "falseAlarmEvery": stream.every,
            }
        )
        self._checkpoint = judge.begin(Checkpoint(), Judged(MODEL), made)
        self._code, self._tally = Coder(made, SCHEMA), Tally(made, SCHEMA)
        self._score_cells = made.score.cells
        self.suspects = int(why_not(made, self._spec.harm.margin.fraction) is None)

    @property
    def learned(self) -> bool:
        baseline = self._checkpoint.baseline
        return baseline is not None and baseline.complete

    def serve(self, number: int, window: Window) -> Triage:
        """What is found after one more window, whose rows all have labels."""
        rows = np.column_stack([window.numbers, self._code(window.texts), window.scores])
        cells = self._tally(rows)
        positive = self._tally(rows[window.labels])
        wrong = int(np.count_nonzero(window.labels != window.predictions))
        opened = PERIOD * number
        labels = Labels(
            loss={int(opened): [len(rows) - wrong, wrong]},
            score=cells[-self._score_cells :].tolist(),
            by_score=positive[-self._score_cells :].tolist(),
        )
        counts = ModelCounts(len(rows), cells.tolist(), labels)
        answers = {"pod": Epochs("one", MODEL, [Epoch(number, opened, opened + PERIOD, {MODEL: counts})])}
        self._checkpoint = judge.advance(self._checkpoint, self._spec, answers, now=opened + PERIOD)
        return self._checkpoint.triage
