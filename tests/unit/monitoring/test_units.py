"""Units: what has been converted is told, and what has only changed is not."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perennial.monitoring.dispersion import Dispersion
from perennial.monitoring.faults import Finding, Stretch, finding
from perennial.monitoring.scan import Normal, Scan
from perennial.monitoring.units import changed_unit
from perennial.runtime import binning
from perennial.runtime.trainer.probes import probed
from perennial.wire.layout import Ints, Layout, reference_cells
from perennial.wire.reference import Numeric
from perennial.wire.run import Expectation

Floats = np.ndarray
Draw = Callable[[np.random.Generator, int], Floats]
Change = Callable[[Floats], Floats]

COLUMNS: dict[str, Draw] = {
    "temperature": lambda rng, n: rng.normal(15, 8, n),
    "centred": lambda rng, n: rng.normal(0, 1, n),
    "nearly centred": lambda rng, n: rng.normal(0.3, 1, n),
    "height": lambda rng, n: rng.normal(175, 9, n),
    "longitude": lambda rng, n: rng.choice([-73.8, -87.9, -95.3, -118.4, -122.4], n) + rng.normal(0, 1, n),
    "even": lambda rng, n: rng.uniform(0, 100, n),
    "skewed": lambda rng, n: rng.lognormal(0, 1, n),
    "delay": lambda rng, n: rng.exponential(10, n),
    "hours": lambda rng, n: rng.integers(0, 24, n).astype(float),
    "distances": lambda rng, n: rng.choice([187, 200, 529, 719, 733, 944, 1005, 1089, 1400, 1576, 2475, 2586.0], n),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.6, 0.0, rng.exponential(5, n)),
}


def reference(draw: Draw, rng: np.random.Generator, rows: int = 6000, expected: Expectation | None = None) -> Numeric:
    values = draw(rng, rows)
    return probed(Numeric("x", binning.equal_mass_edges(values), []), values, expected)


def counted(column: Numeric, values: Floats) -> Ints:
    return binning.count_cells(binning.numeric_cells(column, values), column.cells)


def said(draw: Draw, change: Change, rng: np.random.Generator, rows: int = 3000) -> str | None:
    column = reference(draw, rng)
    return changed_unit(column, counted(column, change(draw(rng, rows))), np.array(column.counts))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("temperature", lambda x: 1.8 * x + 32, "looks as if converted from Celsius to Fahrenheit"),
        ("temperature", lambda x: 3.28084 * x, "looks as if converted from metres to feet"),
        ("temperature", lambda x: x + 273.15, "100.0% more lie further from the known range than 3 times its width"),
        ("centred", lambda x: 1000 * x, "looks as if multiplied by"),
        ("centred", lambda x: x / 100, "looks as if divided by 100"),
        ("height", lambda x: 10 * x, "100.0% more lie further from the known range than 3 times its width"),
        ("height", lambda x: x / 100, "100.0% more lie closer to zero than 10"),
        ("even", lambda x: x / 3.28084, "looks as if converted from feet to metres"),
        ("even", lambda x: x / 1000, "more lie closer to zero than"),
        ("skewed", lambda x: 24 * x, "looks as if multiplied by 24 (days and hours)"),
        ("delay", lambda x: 60 * x, "looks as if multiplied by 60 (minutes and seconds)"),
        ("hours", lambda x: 3600 * x, "looks as if multiplied by"),
        ("hours", lambda x: x / 60, "more lie closer to zero than 0."),
        ("distances", lambda x: 1.609344 * x, "looks as if converted from miles to kilometres"),
        ("distances", lambda x: x / 1000, "100.0% more lie closer to zero than"),
        ("mostly zero", lambda x: 1000 * x, "looks as if multiplied by"),
        ("temperature", lambda x: -x, "looks as if its sign had changed"),
        ("longitude", lambda x: -x, "looks as if its sign had changed"),
        ("even", lambda x: -x, "looks as if its sign had changed"),
        ("skewed", lambda x: -x, "looks as if its sign had changed"),
        ("delay", lambda x: -x, "looks as if its sign had changed"),
        ("hours", lambda x: -x, "looks as if its sign had changed"),
        ("distances", lambda x: -x, "looks as if its sign had changed"),
        ("mostly zero", lambda x: -x, "looks as if its sign had changed"),
    ],
)
def test_another_unit_is_named(name: str, change: Change, words: str, rng: np.random.Generator) -> None:
    found = said(COLUMNS[name], change, rng)
    assert found
    assert words in found


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x + x.std(),
        lambda x: x - 2 * x.std(),
        lambda x: 1.5 * (x - x.mean()) + x.mean(),
        lambda x: 0.7 * x,
        lambda x: 1.3 * x,
        lambda x: np.where(np.arange(len(x)) % 5, x, 1000 * x),
        lambda x: np.zeros_like(x),
        lambda x: np.full_like(x, x.max()),
        lambda x: x - 0.6 * x.std(),
        lambda x: np.where(np.arange(len(x)) % 2, x, x + 3 * x.std()),
    ],
)
def test_a_change_of_the_world_is_none(name: str, change: Change, rng: np.random.Generator) -> None:
    assert said(COLUMNS[name], change, rng) is None


@example(24508, "temperature", -3.0, 1.0, 200)
@given(
    st.integers(0, 2**32),
    st.sampled_from(sorted(COLUMNS.keys() - {"mostly zero"})),
    st.floats(-3, 3),
    st.floats(0.7, 1.5),
    st.sampled_from([200, 1000, 5000]),
)
def test_a_shift_is_hardly_ever_taken_for_one(seed: int, name: str, shift: float, spread: float, rows: int) -> None:
    """Beside one that is: what moves by chance to where a known factor would bring it cannot be told from it."""
    rng = np.random.default_rng(seed)
    found = said(COLUMNS[name], lambda x: spread * (x - x.mean()) + x.mean() + shift * x.std(), rng, rows)
    assert found is None or found.startswith("looks as if converted")


def test_a_shift_is_hardly_ever_taken_for_a_change_of_sign(rng: np.random.Generator) -> None:
    """But for one of what is symmetric to just opposite of zero."""
    flipped = 0
    for shape in ("normal", "laplace", "logistic", "exponential", "uniform", "lognormal"):
        for _ in range(50):
            values = getattr(rng, shape)(size=9000)
            place, shift = rng.uniform(-3, 3) * values.std(), rng.uniform(-5, 5) * values.std()
            known = values[:6000] + place
            column = probed(Numeric("x", binning.equal_mass_edges(known), []), known, None)
            now = counted(column, values[6000:] + place + shift)
            flipped += "sign" in (changed_unit(column, now, np.array(column.counts)) or "")
    assert flipped <= 300 / 100


@pytest.mark.parametrize(("beside", "told"), [(0.0, 70), (0.3, 10), (0.5, 1)])
def test_few_rows_tell_a_change_of_sign_only_where_they_tell_it_from_a_shift(
    beside: float, told: int, rng: np.random.Generator
) -> None:
    """Of a hundred windows of 200 rows, `beside` in standard deviations."""
    column = reference(COLUMNS["temperature"], rng)
    windows = [counted(column, 8 * beside - COLUMNS["temperature"](rng, 200)) for _ in range(100)]
    flipped = sum("sign" in (changed_unit(column, now, np.array(column.counts)) or "") for now in windows)
    assert flipped >= told if not beside else flipped <= told


@pytest.mark.parametrize("rows", [1000, 20_000])
@pytest.mark.parametrize(
    "draw", [lambda rng, n: rng.geometric(0.3, n).astype(float), lambda rng, n: 1.0 + rng.poisson(20, n)]
)
def test_a_change_of_sign_of_whole_numbers_is_told_of_any_number_of_rows(
    draw: Draw, rows: int, rng: np.random.Generator
) -> None:
    """A bin holds several of them, and nobody knows how many of which."""
    column = reference(draw, rng)
    windows = [counted(column, -draw(rng, rows)) for _ in range(40)]
    flipped = sum("sign" in (changed_unit(column, now, np.array(column.counts)) or "") for now in windows)
    assert flipped >= 30


@example(1295426, "skewed", 116.0)
@given(st.integers(0, 2**32), st.sampled_from(["skewed", "delay", "centred"]), st.floats(20, 5000))
def test_a_large_factor_is_told_in_the_next_window_if_not_in_this_one(seed: int, name: str, factor: float) -> None:
    """By chance a window in some ten thousand has an edge further off than its error allows."""
    rng = np.random.default_rng(seed)
    column = reference(COLUMNS[name], rng)
    windows = [counted(column, factor * COLUMNS[name](rng, 3000)) for _ in range(2)]
    told = [words for now in windows if (words := changed_unit(column, now, np.array(column.counts)))]
    assert told
    assert all("multiplied" in words or "further" in words for words in told)


@pytest.mark.parametrize(("change", "windows"), [(lambda x: x, 1000), (lambda x: x + 0.5 * x.std(), 100)])
def test_false_faults_stay_within_their_share(change: Change, windows: int, rng: np.random.Generator) -> None:
    """With an allowance that lets a fault be found in one of 400 windows by chance, and drift in one of 200."""
    columns = [msgspec.structs.replace(reference(draw, rng, 2000), name=name) for name, draw in COLUMNS.items()]
    layout = Layout(columns)
    normal = Normal(reference_cells(columns), Dispersion(layout))
    scan = Scan(layout, normal, drift_looks=200.0, fault_looks=400.0)
    found: list[Finding] = []
    for _ in range(windows):
        rows = [change(draw(rng, 300)) for draw in COLUMNS.values()]
        now = np.concatenate([counted(*each) for each in zip(columns, rows, strict=True)])
        peaks = scan.peaks(scan.statistics(now[None, :]))
        found += [finding(scan, peak, Stretch(now), since=0.0, materiality=0.05) for peak in peaks]
    assert sum(each.state == "DataFault" for each in found) <= windows / 400


def test_calendars_and_classes_may_take_new_values(rng: np.random.Generator) -> None:
    column = reference(lambda rng, n: rng.integers(1, 4, n).astype(float), rng)
    assert changed_unit(column, counted(column, np.full(500, 11.0)), np.array(column.counts)) is None
    assert column.probes == []


def test_probes_change_no_bin(rng: np.random.Generator) -> None:
    values = rng.normal(20, 5, 4000)
    plain = Numeric("x", binning.equal_mass_edges(values), [])
    made = probed(plain, values, Expectation(min=-40, max=60))
    assert [made.edges[place] for place in made.bounds] == plain.edges
    assert {-40.0, float(np.nextafter(60.0, 61.0))} <= {made.edges[place] for place in made.probes}
    assert sum(made.counts) == 4000
    assert made.edges == sorted(set(made.edges))


@pytest.mark.parametrize("values", [[], [1e308, -1e308], [5.0] * 100, [0.0, 5e-324], list(range(20)), [np.nan] * 9])
def test_probes_of_odd_columns(values: list[float]) -> None:
    drawn = np.array(values, dtype=float)
    made = probed(Numeric("x", binning.equal_mass_edges(drawn), []), drawn, None)
    assert sum(made.counts) == len(values)
    assert np.isfinite(made.edges).all()
    assert changed_unit(made, np.array(made.counts), np.array(made.counts)) is None
