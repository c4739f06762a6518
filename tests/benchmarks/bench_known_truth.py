"""The monitor on data whose changes are known: which features, when, and silence before.

python -m tests.benchmarks.bench_known_truth [--rows 1000]

The data are those that NannyML ships (its wheel is downloaded without its dependencies, and only its tables are read):
50,000 or 60,000 reference rows, then as many in production, with changes at a known row. Rows are counted as a server
counts them, a window of them at a time, and judged by the whole path from epochs to verdicts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged
from perennial.monitoring.harm import game
from perennial.monitoring.layout import SCORE
from perennial.runtime import binning, scoring
from perennial.runtime.trainer.bounds import upper_mean, upper_share
from perennial.runtime.trainer.overdispersion import phi
from perennial.runtime.trainer.reference import CONFIDENCE, LOSS_BINS, LOSS_SPAN
from perennial.wire.counts import Epoch, Epochs, Labels, ModelCounts
from perennial.wire.reference import Categorical, Column, Loss, Numeric, Reference

PACKAGE = "nannyml==0.13.1"
MODEL = "a" * 64
PERIOD = 300.0
SURELY, HARDLY = 0.07, 0.012
"""Differences in cumulative probability that must be found to be material (of at least 0.05), and that must not be
found."""
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Case:
    """A data set: until row `change` of production it is as the reference was, from there on it is not."""

    name: str
    reference: str
    analysis: str
    labels: str
    label: str
    score: str
    prediction: str
    columns: tuple[str, ...]
    change: int
    regression: bool = False


CASES = (
    Case(
        name="synthetic car loan",
        reference="synthetic_car_loan_reference.csv",
        analysis="synthetic_car_loan_analysis.csv",
        labels="synthetic_car_loan_analysis_target.csv",
        label="repaid",
        score="y_pred_proba",
        prediction="y_pred",
        columns=(
            "car_value",
            "salary_range",
            "debt_to_income_ratio",
            "loan_length",
            "repaid_loan_on_prev_car",
            "size_of_downpayment",
            "driver_tenure",
        ),
        change=25_000,
    ),
    Case(
        name="synthetic sample",
        reference="synthetic_sample_reference.csv",
        analysis="synthetic_sample_analysis.csv",
        labels="synthetic_sample_analysis_gt.csv",
        label="work_home_actual",
        score="y_pred_proba",
        prediction="y_pred",
        columns=(
            "distance_from_office",
            "salary_range",
            "gas_price_per_litre",
            "public_transportation_cost",
            "wfh_prev_workday",
            "workday",
            "tenure",
        ),
        change=25_000,
    ),
    Case(
        name="synthetic regression",
        reference="regression_synthetic_reference.csv",
        analysis="regression_synthetic_analysis.csv",
        labels="regression_synthetic_analysis_targets.csv",
        label="y_true",
        score="y_pred",
        prediction="y_pred",
        columns=("car_age", "km_driven", "price_new", "accident_count", "door_count", "fuel", "transmission"),
        change=30_000,
        regression=True,
    ),
)


@dataclass
class Found:
    """When a feature first drifted materially, and harm was first proved: the row by which the window had closed.

    `truth` has how much each column differs from the reference after the change, over all its rows; `loss` the mean
    loss after it and what is tolerated.
    """

    truth: dict[str, float] = field(default_factory=dict)
    loss: tuple[float, float] = (0.0, 0.0)
    drift: dict[str, int] = field(default_factory=dict)
    minor: dict[str, int] = field(default_factory=dict)
    harm: int | None = None


def tables() -> Path:
    folder = Path(tempfile.gettempdir()) / "perennial-known-truth"
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        subprocess.run(command, check=True)
        wheels = list(folder.glob("*.whl"))
    return wheels[0]


def read(wheel: Path, name: str) -> pd.DataFrame:
    with zipfile.ZipFile(wheel) as archive, archive.open(f"nannyml/datasets/data/{name}") as file:
        return pd.read_csv(file)


def column_of(name: str, values: pd.Series) -> tuple[Column, Ints]:
    """A column as the trainer makes it, and the cells of its own values."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(np.float64)
        numeric = Numeric(name, binning.equal_mass_edges(numbers), [])
        cells = binning.numeric_cells(numeric, numbers)
        counts = binning.count_cells(cells, numeric.cells).tolist()
        return msgspec.structs.replace(numeric, counts=counts, phi=phi(cells, numeric.cells, ordered=True)), cells
    texts = _texts(values)
    top, others = binning.top_categories(values.value_counts().to_dict(), set(texts))
    category = Categorical(name, top, [], others)
    cells = binning.text_cells(category, texts)
    counts = binning.count_cells(cells, category.cells).tolist()
    return msgspec.structs.replace(category, counts=counts, phi=phi(cells, category.cells, ordered=False)), cells


def cells_of(column: Column, values: pd.Series) -> Ints:
    if isinstance(column, Numeric):
        return binning.numeric_cells(column, values.to_numpy(np.float64))
    return binning.text_cells(column, _texts(values))


def losses(case: Case, rows: pd.DataFrame, truth: pd.Series, scale: float) -> NDArray[np.float64]:
    if case.regression:
        return scoring.regression_loss(scale, truth.to_numpy(), rows[case.prediction].to_numpy())
    return np.asarray(truth.to_numpy() != rows[case.prediction].to_numpy(), np.float64)


def loss_of(case: Case, rows: pd.DataFrame) -> Loss:
    """The reference loss, as the trainer makes it."""
    errors = np.abs(rows[case.label].to_numpy(np.float64) - rows[case.prediction].to_numpy(np.float64))
    scale = LOSS_SPAN * float(errors.mean())
    values = losses(case, rows, rows[case.label], scale)
    if not case.regression:
        wrong = int(values.sum())
        upper = upper_share(wrong, len(values), CONFIDENCE)
        return Loss([0.0, 1.0], [len(values) - wrong, wrong], wrong / len(values), upper, CONFIDENCE)
    ends = [0.0, *(np.arange(1, LOSS_BINS + 1) / LOSS_BINS).tolist()]
    cells = binning.loss_cells(ends, values)
    rounded = np.asarray(ends)[cells]
    upper = upper_mean(rounded, len(values), CONFIDENCE)
    counts = binning.count_cells(cells, len(ends)).tolist()
    return Loss(ends, counts, float(rounded.mean()), upper, CONFIDENCE, scale)


def watch(case: Case, wheel: Path, rows: int) -> Found:
    """Judge all of production, a window of so many rows after the other."""
    before, now = read(wheel, case.reference), read(wheel, case.analysis)
    truth = read(wheel, case.labels)[case.label]
    columns = [column_of(name, before[name])[0] for name in case.columns]
    score = column_of("score", before[case.score])[0]
    loss = loss_of(case, before)
    reference = Reference(MODEL, "classification", len(before), columns, score, loss)
    spec = DriftMonitorSpec.model_validate(
        {"deployment": "x", "baseline": {"from": "Training"}, "window": {"minRows": rows, "period": "5m"}}
    )
    checkpoint = judge.begin(Checkpoint(), Judged(MODEL), reference)
    cells = [cells_of(column, now[column.name]) for column in columns] + [cells_of(score, now[case.score])]
    lost = binning.loss_cells(loss.values, losses(case, now, truth, loss.scale))
    found = Found()
    for each, column in zip(cells, [*columns, msgspec.structs.replace(score, name=SCORE)], strict=True):
        found.truth[column.name] = _difference(column, each[case.change :])
    tolerated = game(loss, spec.harm.margin.fraction).tolerated
    found.loss = float(np.asarray(loss.values)[lost[case.change :]].mean()), tolerated
    for number, start in enumerate(range(0, len(now) - rows + 1, rows), start=1):
        window = slice(start, start + rows)
        counted = [
            binning.count_cells(each[window], column.cells).tolist()
            for each, column in zip(cells, [*columns, score], strict=True)
        ]
        labels = Labels(loss=binning.count_cells(lost[window], len(loss.values)).tolist())
        counts = ModelCounts(rows=rows, cells=[cell for each in counted for cell in each], labels=labels)
        epoch = Epoch(number, PERIOD * number, PERIOD * (number + 1), {MODEL: counts})
        answers = {"pod": Epochs("one", MODEL, [epoch])}
        checkpoint = judge.advance(checkpoint, spec, answers, now=PERIOD * (number + 1))
        _note(found, checkpoint, start + rows)
    return found


def _note(found: Found, checkpoint: Checkpoint, row: int) -> None:
    for verdict in checkpoint.triage.verdicts:
        if verdict.state == "Harm" and found.harm is None:
            found.harm = row
        features = {"Drift": found.drift, "DataFault": found.drift, "MinorDrift": found.minor}.get(verdict.state, {})
        for feature in verdict.features:
            features.setdefault(feature.name, row)


def _difference(column: Column, cells: Ints) -> float:
    """In cumulative probability, or for categories in the share of one."""
    now = binning.count_cells(cells, column.cells) / len(cells)
    before = np.asarray(column.counts) / sum(column.counts)
    apart = np.cumsum(now - before) if isinstance(column, Numeric) else now - before
    return float(np.abs(apart).max())


def _texts(values: pd.Series) -> list[str]:
    texts: list[str] = values.astype(str).where(values.notna(), "").tolist()
    return texts


def report(case: Case, found: Found) -> bool:
    """Whether all that surely differs was found, nothing that does not, and nothing at all before the change."""
    print(f"\n{case.name}: as the reference until row {case.change:,}")
    print(f"  {'column':<28} {'difference after':>16}")
    right = True
    for name, difference in found.truth.items():
        said = [f"material by row {found.drift[name]:,}"] if name in found.drift else []
        said += [f"minor by row {found.minor[name]:,}"] if name in found.minor else []
        print(f"  {name:<28} {difference:>16.3f}   {', '.join(said) or 'silent'}")
        right &= name in found.drift or difference < SURELY
        right &= not said or difference > HARDLY
    now, tolerated = found.loss
    harm = f"harm by row {found.harm:,}" if found.harm else "no harm"
    print(f"  {'loss':<28} {now:>16.3f}   {harm} ({tolerated:.3f} is tolerated)")
    rows = [*found.drift.values(), *found.minor.values(), *([found.harm] if found.harm else [])]
    return right and (found.harm is not None) == (now > tolerated) and min(rows, default=0) > case.change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1000, help="rows of a window")
    arguments = parser.parse_args()
    wheel = tables()
    results = {case.name: report(case, watch(case, wheel, arguments.rows)) for case in CASES}
    print()
    for name, right in results.items():
        print(f"{'as known' if right else 'NOT as known':<14} {name}")
    sys.exit(not all(results.values()))


if __name__ == "__main__":
    main()
