"""Features as tables have them: tied, whole, constant, boolean, of many categories, and references of few rows.

The reference is the trainer's, cells are the server's. Each kind is silent while nothing changes, and found by name
when it does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged
from perennial.runtime.server.counts.tally import Coder, Tally
from perennial.runtime.trainer import reference
from perennial.runtime.trainer.metrics import Judged as Answers
from perennial.wire.counts import ModelCounts
from perennial.wire.run import Expectation
from perennial.wire.schema import Feature, Kind, Schema

from . import worlds

Draw = Callable[[np.random.Generator, int], np.ndarray]
Found = dict[str, list[tuple[str, str]]]

CODES = np.array([f"code {number}" for number in range(500)], dtype=object)


def watch(
    kind: Kind,
    rng: np.random.Generator,
    before: Draw,
    *,
    rows: int,
    after: Draw | None,
    windows: int,
    expected: Expectation | None = None,
) -> Found:
    """The verdicts, with what they name, after so many windows of 500 rows; `after` None: nothing changes."""
    schema = Schema("regression", "y", [Feature("x", kind)], "value")
    held, learned = (pd.DataFrame({"x": before(rng, rows)}) for _ in range(2))
    answers = Answers(rng.normal(size=rows), rng.permutation(np.linspace(0, 1, rows)))
    expect = {"x": expected} if expected else {}
    made = reference.build(schema, reference.HeldOut(held, learned, answers), worlds.MODEL, expect)
    spec = DriftMonitorSpec.model_validate({"deployment": "x", "baseline": {"from": "Training"}})
    checkpoint = judge.begin(Checkpoint(), Judged(worlds.MODEL), made)
    tally = Tally(made, schema)
    for number in range(1, windows + 1):
        served = (after or before)(rng, 500)
        texts = kind == "categorical"
        values = Coder(made, schema)(served.reshape(-1, 1)) if texts else served.reshape(-1, 1)
        cells = tally(np.column_stack([values, rng.choice(np.linspace(0, 1, rows), 500)])).tolist()
        epoch = worlds.epoch(number, cells, 500, seconds=300.0)
        assert epoch.models[worlds.MODEL] == ModelCounts(rows=500, cells=cells)
        checkpoint = judge.advance(checkpoint, spec, {"pod": worlds.answer(epoch)}, now=epoch.closed)
    verdicts = checkpoint.triage.verdicts
    return {verdict.state: [(finding.name, finding.kind) for finding in verdict.features] for verdict in verdicts}


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n)


def whole(mean: float) -> Draw:
    return lambda rng, n: rng.poisson(mean, n).astype(np.float64)


def mostly_zero(share: float) -> Draw:
    return lambda rng, n: np.where(rng.random(n) < share, 0.0, rng.exponential(size=n))


def constant(value: float) -> Draw:
    return lambda rng, n: np.full(n, value)


def flag(share: float) -> Draw:
    return lambda rng, n: (rng.random(n) < share).astype(np.float64)


def many(first: int, weight: float = 1.0) -> Draw:
    """Zipf's law over 500 categories, those from `first` on; the first has `weight` times its share."""
    shares = 1 / np.arange(1, 501 - first)
    shares[0] *= weight
    return lambda rng, n: CODES[first + rng.choice(len(shares), size=n, p=shares / shares.sum())]


KINDS: dict[str, tuple[Kind, Draw, Draw, str]] = {
    "normal": ("numeric", normal, lambda rng, n: rng.normal(size=n) + 0.5, "Distribution"),
    "whole": ("numeric", whole(3.0), whole(4.0), "Distribution"),
    "few whole": ("numeric", whole(0.3), whole(0.9), "Distribution"),
    "mostly zero": ("numeric", mostly_zero(0.9), mostly_zero(0.6), "Distribution"),
    "constant": ("numeric", constant(7.0), constant(8.0), "Range"),
    "boolean": ("boolean", flag(0.3), flag(0.45), "Category"),
    "rare boolean": ("boolean", flag(0.01), flag(0.12), "Category"),
    "never true": ("boolean", flag(0.0), flag(0.12), "Category"),
    "many categories": ("categorical", many(0), many(0, weight=2.5), "Category"),
}


@pytest.mark.parametrize("rows", [300, 5000])
@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_said_while_nothing_changes(rng: np.random.Generator, name: str, rows: int) -> None:
    kind, before, _, _ = KINDS[name]
    found = watch(kind, rng, before, rows=rows, after=None, windows=60)
    # With 300 rows, categories that training has not seen come later: little, and no more than that is said.
    assert found in ({}, {"MinorDrift": [("x", "Unseen")]}) if name == "many categories" else found == {}


@pytest.mark.parametrize("rows", [300, 5000])
@pytest.mark.parametrize("name", KINDS)
def test_what_changes_is_found_and_named(rng: np.random.Generator, name: str, rows: int) -> None:
    kind, before, after, says = KINDS[name]
    found = watch(kind, rng, before, rows=rows, after=after, windows=12)
    assert ("x", says) in found["Drift"]
    assert "DataFault" not in found


def test_a_rare_category_that_takes_a_tenth_of_the_rows_is_drift_at_once(rng: np.random.Generator) -> None:
    """It has no cell of its own: those that have none are two in three of all rows."""
    shares = 1 / np.sqrt(np.arange(1, 501))

    def before(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.choice(CODES, n, p=shares / shares.sum())

    def spiked(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.where(rng.random(n) < 0.1, CODES[400], before(rng, n))

    assert watch("categorical", rng, before, rows=5000, after=None, windows=40) == {}
    assert watch("categorical", rng, before, rows=5000, after=spiked, windows=2) == {"Drift": [("x", "Category")]}


def test_categories_that_training_knew_none_of_are_broken_data(rng: np.random.Generator) -> None:
    renamed = watch(
        "categorical",
        rng,
        many(0),
        rows=5000,
        after=lambda rng, n: np.char.upper(many(0)(rng, n).astype(str)).astype(object),
        windows=3,
    )
    assert ("x", "Unseen") in renamed["DataFault"]


@pytest.mark.parametrize(
    ("kind", "before", "after", "expected", "says"),
    [
        ("categorical", many(450), many(448), Expectation(values=[*CODES[450:]]), "Forbidden"),
        ("categorical", many(450), many(448), None, "Unseen"),
        ("numeric", flag(0.5), whole(1.5), Expectation(min=0, max=1), "Forbidden"),
        ("numeric", flag(0.5), whole(1.5), Expectation(min=0, max=10), "Range"),
    ],
)
def test_what_data_expect_forbids_is_broken_data(
    rng: np.random.Generator, kind: Kind, before: Draw, after: Draw, expected: Expectation | None, says: str
) -> None:
    found = watch(kind, rng, before, rows=5000, after=after, windows=4, expected=expected)
    assert ("x", says) in found["DataFault" if says == "Forbidden" else "Drift"]


CONVERTED: dict[str, tuple[Draw, Draw]] = {
    "a thousand times": (normal, lambda rng, n: 1000 * normal(rng, n)),
    "Celsius to Fahrenheit": (lambda rng, n: rng.normal(15, 8, n), lambda rng, n: 1.8 * rng.normal(15, 8, n) + 32),
    "metres to feet": (lambda rng, n: rng.gamma(2, 500, n), lambda rng, n: 3.28084 * rng.gamma(2, 500, n)),
    "to thousandths": (lambda rng, n: rng.gamma(2, 500, n), lambda rng, n: rng.gamma(2, 500, n) / 1000),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_another_unit_is_broken_data_and_no_drift(rng: np.random.Generator, name: str) -> None:
    before, after = CONVERTED[name]
    found = watch("numeric", rng, before, rows=5000, after=after, windows=8)
    assert found == {"DataFault": [("x", "Unit")]}


def test_a_unit_that_changes_within_a_window_is_no_drift_once_it_is_seen(rng: np.random.Generator) -> None:
    """The window in which it happens holds both units and looks like neither."""
    sent = iter([0.0, 0.4, *[1.0] * 6])

    def after(rng: np.random.Generator, n: int) -> np.ndarray:
        values, share = rng.gamma(2, 500, n), next(sent)
        return np.where(rng.random(n) < share, 3.28084 * values, values)

    found = watch("numeric", rng, lambda rng, n: rng.gamma(2, 500, n), rows=5000, after=after, windows=8)
    assert found == {"DataFault": [("x", "Unit")]}


def test_it_is_over_when_the_unit_is_back_and_leaves_no_drift_behind(rng: np.random.Generator) -> None:
    factors = iter([1.0] * 4 + [1000.0] * 6 + [1.0] * 40)
    found = watch("numeric", rng, normal, rows=5000, after=lambda rng, n: next(factors) * normal(rng, n), windows=50)
    assert found == {}


@pytest.mark.parametrize("step", [40.0, 150.0])
def test_a_number_that_is_counted_on_is_no_other_unit(rng: np.random.Generator, step: float) -> None:
    """Such as a date: window by window it comes further, and in the end three times its known range and more."""
    begins = iter(1100 + step * np.arange(12))
    found = watch(
        "numeric",
        rng,
        lambda rng, n: rng.uniform(1000, 1100, n),
        rows=5000,
        after=lambda rng, n: next(begins) + rng.uniform(0, 10, n),
        windows=12,
    )
    assert found == {"Drift": [("x", "Range")]}


@pytest.mark.parametrize(("shares", "state"), [(np.linspace(0, 1, 24), "Drift"), ([0, 0.45, *[1] * 22], "DataFault")])
def test_a_release_that_is_taken_up_is_no_broken_column(
    rng: np.random.Generator, shares: list[float], state: str
) -> None:
    """Unlike names that are spelt otherwise from some moment on, which may lie within a window."""
    taken_up = iter(shares)

    def after(rng: np.random.Generator, n: int) -> np.ndarray:
        newer = rng.random(n) < next(taken_up)
        return np.where(newer, "release 5", np.where(rng.random(n) < 0.3, "release 3", "release 4")).astype(object)

    def before(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.where(rng.random(n) < 0.3, "release 3", "release 4").astype(object)

    found = watch("categorical", rng, before, rows=5000, after=after, windows=24)
    assert ("x", "Unseen") in found[state]
    assert set(found) <= {state, "MinorDrift"}
