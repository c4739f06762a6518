"""Public data whose changes are known: which features, from which row, and silence before.

Each set is a table that a model was judged by and one that it was then asked about. The trainer makes the reference of
the first, the server's tally counts the second a window at a time, the monitor judges the counts: the whole path from
rows to verdicts. Packages are downloaded for their data alone and nothing of them is imported here.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from cluster.locks import locked
from cluster.paths import cache_home
from demo import flights
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged
from perennial.monitoring.harm import game
from perennial.monitoring.verdict import State
from perennial.runtime import binning, scoring
from perennial.runtime.server.counts.tally import Coder, Tally
from perennial.runtime.trainer import reference
from perennial.runtime.trainer.metrics import Judged as Answers
from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts
from perennial.wire.layout import SCORE
from perennial.wire.reference import Column, Loss, Numeric, Reference
from perennial.wire.schema import Feature, Kind, Schema
from tests.environments import commands

NANNYML = "nannyml==0.13.1"
RIVER = "river==0.26.1"
MODEL = "a" * 64
PERIOD = 300.0

SURELY, HARDLY = 0.07, 0.012
"""Differences in cumulative probability that must be found to be material (of at least 0.05), and that must not be
found. What is between may be called either; joint columns only explain what no feature does."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tables:
    """Rows before and after, with their features, and in both `label`, `score` and `prediction`."""

    before: pd.DataFrame
    now: pd.DataFrame


@dataclass(frozen=True)
class Case:
    """A data set: until row `change` of production it is as the reference was, from there on it is not; None: it
    always is.

    By row `by`, or the end of the window that holds it, every column of `changed` must have been named, every column
    that differs by SURELY called material, and harm suspected where scores can tell (`suspect`); by row `proved` harm
    is to be proved, None: the loss does not rise. What is found must be dated to the window in which the change begins.
    """

    name: str
    tables: Callable[[], Tables]
    change: int | None
    by: int = 0
    changed: tuple[str, ...] = ()
    proved: int | None = None
    suspect: bool = False
    regression: bool = False
    rows: int = 1000


HARM = ("HarmSuspected", "Harm")


@dataclass
class Found:
    """By which row each state was first found, to which it was dated then, and by which each feature was first named in
    it, in windows of so many rows. `truth` has how much each column differs from the reference after the change, `loss`
    the mean loss after it and what is tolerated."""

    rows: int
    states: dict[State, int] = field(default_factory=dict)
    dated: dict[State, int] = field(default_factory=dict)
    features: dict[tuple[State, str], int] = field(default_factory=dict)
    truth: dict[str, float] = field(default_factory=dict)
    loss: tuple[float, float] = (0.0, 0.0)

    def named(self, state: State) -> dict[str, int]:
        return {name: row for (each, name), row in self.features.items() if each == state}

    def wrong(self, case: Case) -> list[str]:
        """What was said and is not true, or is true and was not said in time."""
        drift = self.named("Drift")
        said = {name: min(rows) for name, rows in self._rows().items()}
        joint = {name for name in self.truth if " * " in name or name.startswith("(")} - {SCORE}
        surely = [name for name, size in self.truth.items() if size >= SURELY and name not in joint]
        due: dict[State, int] = {"HarmSuspected": case.by} if case.suspect else {}
        due |= {"Harm": case.proved} if case.proved else {}
        told: dict[str, list[str]] = {
            "not found in time": [
                *(name for name in surely if self._late(drift.get(name), case.by)),
                *(name for name in case.changed if self._late(said.get(name), case.by)),
                *(state for state, by in due.items() if self._late(self.states.get(state), by)),
            ],
            "said and not so": [
                *(name for name in said if self.truth.get(name, 0.0) <= HARDLY),
                *(state for state in self.states if state in HARM and state not in due),
            ],
            "said too early": [
                state for state, row in self.states.items() if case.change is None or row <= case.change
            ],
            "dated wrongly": [
                f"{state} to row {row:,}"
                for state, row in self.dated.items()
                if case.change is not None and not row <= case.change < row + self.rows
            ],
        }
        return [f"{words}: {', '.join(each)}" for words, each in told.items() if each]

    def _late(self, row: int | None, by: int) -> bool:
        return row is None or row - self.rows >= by

    def _rows(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for (_, name), row in self.features.items():
            rows.setdefault(name, []).append(row)
        return rows


def watch(case: Case, rows: int | None = None) -> Found:
    """Judge all of production, a window of so many rows after the other."""
    tables = case.tables()
    size = rows or case.rows
    names = [name for name in tables.before.columns if name not in ("label", "score", "prediction")]
    schema = _schema(names, tables.before, case)
    made = reference.build(
        schema, reference.HeldOut(tables.before, tables.before, _answers(tables.before, case), timed=True), MODEL
    )
    assert made.loss is not None
    spec = DriftMonitorSpec.model_validate(
        {"deployment": "x", "baseline": {"from": "Training"}, "window": {"minRows": size, "period": "5m"}}
    )
    counted = _Counted(made, schema, tables.now, case)
    checkpoint = judge.begin(Checkpoint(), Judged(MODEL), made)
    found = Found(size)
    if case.change is not None:
        found.truth = _differences(made, counted.cells(case.change, len(tables.now)))
        after = np.asarray(made.loss.values)[counted.losses[case.change :]]
        found.loss = float(after.mean()), game(made.loss, spec.harm.margin.fraction).tolerated
    for number, start in enumerate(range(0, len(tables.now) - size + 1, size), start=1):
        losses = np.bincount(counted.losses[start : start + size], minlength=len(made.loss.values)).tolist()
        labels = Labels(loss={int(PERIOD * number): losses})
        counts = ModelCounts(rows=size, cells=counted.cells(start, start + size).tolist(), labels=labels)
        epoch = Epoch(number, PERIOD * number, PERIOD * (number + 1), {MODEL: counts})
        answers = {"pod": Epochs("one", MODEL, [epoch])}
        checkpoint = judge.advance(checkpoint, spec, answers, now=PERIOD * (number + 1))
        for verdict in checkpoint.triage.verdicts:
            found.states.setdefault(verdict.state, start + size)
            found.dated.setdefault(verdict.state, round((verdict.since / PERIOD - 1) * size))
            for finding in verdict.features:
                found.features.setdefault((verdict.state, finding.name), start + size)
    return found


class _Counted:
    """Production as a server counts it: the cells of rows, and the cell of each row's loss."""

    def __init__(self, made: Reference, schema: Schema, now: pd.DataFrame, case: Case) -> None:
        numbers = now[schema.numbers].to_numpy(np.float64)
        texts = now[schema.texts].to_numpy(dtype=object)
        codes = Coder(made, schema)(texts) if schema.texts else np.empty((len(now), 0))
        self._rows = np.column_stack([numbers, codes, now["score"]])
        self._tally = Tally(made, schema)
        assert made.loss is not None
        self.losses = binning.loss_cells(made.loss.values, _losses(case, made.loss, now))

    def cells(self, start: int, end: int) -> NDArray[np.int64]:
        return self._tally(self._rows[start:end])


def _schema(names: list[str], rows: pd.DataFrame, case: Case) -> Schema:
    features = [Feature(name, _kind(rows[name])) for name in names]
    if case.regression:
        return Schema("regression", "label", features, "value")
    return Schema("classification", "label", features, "positive", [0, 1])


def _kind(values: pd.Series) -> Kind:
    if pd.api.types.is_bool_dtype(values):
        return "boolean"
    return "numeric" if pd.api.types.is_numeric_dtype(values) else "categorical"


def _answers(rows: pd.DataFrame, case: Case) -> Answers:
    truth, predictions = rows["label"].to_numpy(), rows["prediction"].to_numpy()
    if case.regression:
        return Answers(truth.astype(np.float64), predictions.astype(np.float64))
    chance = rows["score"].to_numpy(np.float64)
    return Answers(truth.astype(np.intp), predictions.astype(np.intp), [0, 1], np.column_stack([1 - chance, chance]))


def _losses(case: Case, loss: Loss, rows: pd.DataFrame) -> Floats:
    if case.regression:
        return scoring.regression_loss(loss.scale, rows["label"].to_numpy(), rows["prediction"].to_numpy())
    return np.asarray(rows["label"] != rows["prediction"], np.float64)


def _differences(made: Reference, cells: NDArray[np.int64]) -> dict[str, float]:
    ends = np.cumsum([column.cells for column in made.columns])[:-1]
    apart = {}
    for column, now in zip(made.columns, np.split(cells, ends), strict=True):
        apart[SCORE if column is made.score else column.name] = _difference(column, now)
    return apart


def _difference(column: Column, now: NDArray[np.int64]) -> float:
    """In cumulative probability, or for categories in the share of one."""
    shares = now / now.sum() - np.asarray(column.counts) / sum(column.counts)
    return float(np.abs(np.cumsum(shares) if isinstance(column, Numeric) else shares).max())


def _nannyml(stem: str, truth: str, label: str, score: str, prediction: str) -> Callable[[], Tables]:
    def tables() -> Tables:
        before, now = _read(f"{stem}_reference.csv"), _read(f"{stem}_analysis.csv")
        now[label] = _read(truth)[label]
        return Tables(*(_plain(rows, label, score, prediction) for rows in (before, now)))

    return tables


def _plain(rows: pd.DataFrame, label: str, score: str, prediction: str) -> pd.DataFrame:
    answers = {"label": rows[label], "score": rows[score], "prediction": rows[prediction]}
    left_out = {"id", "Unnamed: 0", "timestamp", "period", label, score, prediction}
    features = rows.drop(columns=[name for name in rows.columns if name in left_out])
    for name in features.columns:
        if _kind(features[name]) == "categorical":
            features[name] = features[name].astype(object).where(features[name].notna(), "").astype(str)
    return features.assign(**answers)


def _read(name: str) -> pd.DataFrame:
    with zipfile.ZipFile(_wheel()) as archive, archive.open(f"nannyml/datasets/data/{name}") as file:
        return pd.read_csv(file)


def _wheel() -> Path:
    folder = cache_home() / "known-truth"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        if not list(folder.glob("*.whl")):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), NANNYML]
            subprocess.run(command, check=True)
        (wheel,) = folder.glob("*.whl")
    return wheel


_DRAW = """
import csv, itertools, sys
from river.datasets import synth
name, before, after, count = sys.argv[1:]
def concept(which, seed):
    made = getattr(synth, name)
    if name == "SEA":
        return made(variant=int(which), noise=0.05, seed=seed)
    return made(classification_function=int(which), seed=seed)
rows = csv.writer(sys.stdout)
drawn = list(itertools.islice(concept(before, 1), 3 * int(count)))
drawn += itertools.islice(concept(after, 2), int(count))
rows.writerow([*drawn[0][0], "label"])
rows.writerows([*x.values(), int(y)] for x, y in drawn)
"""
"""Four stretches of rows: to learn from, to judge by, served as before, and served after the concept has changed."""


def _river(name: str, before: int, after: int, count: int = 8_000) -> Callable[[], Tables]:
    def tables() -> Tables:
        python = commands(RIVER) / "python"
        command = [str(python), "-c", _DRAW, name, str(before), str(after), str(count)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        head, *lines = (line.split(",") for line in told.stdout.splitlines())
        rows = pd.DataFrame(lines, columns=[f"x{column}" if column.isdigit() else column for column in head])
        rows = rows.apply(_as_numbers)
        codes = pd.DataFrame(_codes(rows))
        model = DecisionTreeClassifier(min_samples_leaf=100, random_state=0)
        model.fit(codes[:count], rows["label"][:count])
        score = model.predict_proba(codes)[:, 1]
        rows = rows.assign(score=score, prediction=(score > 0.5).astype(int))
        return Tables(rows[count : 2 * count].reset_index(drop=True), rows[2 * count :].reset_index(drop=True))

    return tables


def _as_numbers(values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    return values.astype(str) if numbers.isna().any() else numbers


def _codes(rows: pd.DataFrame) -> dict[str, pd.Series]:
    features = rows.drop(columns="label")
    return {name: rows[name] if _kind(rows[name]) == "numeric" else pd.factorize(rows[name])[0] for name in features}


def _flights() -> Tables:
    """Flights of the first quarter in no order of time: real columns, of which nothing can have changed."""
    rows = pd.read_parquet(flights.prepared())
    chosen = rows[rows["scheduled"].dt.month <= 3].sample(frac=1, random_state=1)
    table = chosen[["carrier", "origin", "distance", "hour", "weekday"]].assign(label=chosen["air_time"])
    part = len(table) // 4
    numbers = table[["distance", "hour", "weekday"]]
    model = DecisionTreeRegressor(min_samples_leaf=50, random_state=0).fit(numbers[:part], table["label"][:part])
    answer = model.predict(numbers)
    table = table.assign(score=answer, prediction=answer)
    return Tables(*(rows.reset_index(drop=True) for rows in (table[part : 2 * part], table[2 * part :])))


_LOAN = ("car_value", "salary_range", "loan_length", "repaid_loan_on_prev_car")
_SAMPLE = ("distance_from_office", "salary_range", "public_transportation_cost", "wfh_prev_workday")

CASES = (
    Case(
        "synthetic car loan",
        _nannyml("synthetic_car_loan", "synthetic_car_loan_analysis_target.csv", "repaid", "y_pred_proba", "y_pred"),
        change=25_000,
        by=26_000,
        changed=_LOAN,
        proved=33_000,
        suspect=True,
    ),
    Case(
        "synthetic sample",
        _nannyml("synthetic_sample", "synthetic_sample_analysis_gt.csv", "work_home_actual", "y_pred_proba", "y_pred"),
        change=25_000,
        by=26_000,
        changed=_SAMPLE,
        proved=30_000,
        suspect=True,
    ),
    Case(
        "synthetic regression",
        _nannyml("regression_synthetic", "regression_synthetic_analysis_targets.csv", "y_true", "y_pred", "y_pred"),
        change=30_000,
        by=31_000,
        changed=("car_age", "accident_count"),
        regression=True,
    ),
    Case("SEA, another threshold", _river("SEA", 1, 2), change=8_000, proved=9_000),
    Case("Agrawal, another rule", _river("Agrawal", 0, 2), change=8_000, proved=9_000),
    Case("STAGGER, another rule", _river("STAGGER", 0, 2), change=8_000, proved=9_000),
    Case("flights of spring in no order", _flights, change=None, regression=True),
)
