"""The scan against the formula written out, and against what it promises."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from perennial.monitoring.dispersion import Dispersion
from perennial.monitoring.history import STRETCHES, Bucket, History, push, stretches
from perennial.monitoring.scan import NOTABLE, Normal, Scan, bound, signed_root, standardised
from perennial.wire.layout import SCORE, CutKind, Layout, layout_of, reference_cells
from perennial.wire.reference import Categorical, Column, Numeric, Reference

from . import worlds


def by_the_formula(s: float, n: float, f: float, m: float) -> float:
    """The signed root as the textbook has it, one logarithm at a time."""
    pooled = (s + f) / (n + m)
    terms = ((s, n * pooled), (n - s, n * (1 - pooled)), (f, m * pooled), (m - f, m * (1 - pooled)))
    ratio = sum(count * np.log(count / expected) for count, expected in terms if count > 0)
    return float(np.sign(s / n - f / m) * np.sqrt(max(2 * ratio, 0.0)))


@pytest.mark.parametrize(
    ("s", "n", "f", "m"),
    [
        (50, 100, 500, 1000),
        (0, 500, 0, 10_000),
        (3, 500, 0, 10_000),
        (500, 500, 300, 10_000),
        (0, 500, 9_999, 10_000),
        (12.5, 123.25, 40.75, 999.5),
        (70_000_000, 200_000_000, 35_000_000, 100_000_000),
    ],
)
def test_signed_root_is_the_formula(s: float, n: float, f: float, m: float) -> None:
    found = float(signed_root(*(np.array([float(x)]) for x in (s, n, f, m)))[0])
    assert found == pytest.approx(by_the_formula(s, n, f, m), abs=1e-3 if n > 1e6 else 1e-8)


def test_no_rows_say_nothing() -> None:
    assert signed_root(*(np.array([x]) for x in (0.0, 0.0, 10.0, 100.0)))[0] == 0


share_of_one = st.integers(0, 10_000).map(lambda each: each / 10_000)
shares = st.tuples(share_of_one, st.floats(0.5, 1e6), share_of_one, st.floats(0.5, 1e6))


@given(st.lists(shares, min_size=1, max_size=20))
def test_what_is_notable_is_never_missed(drawn: list[tuple[float, float, float, float]]) -> None:
    """Pearson's statistic only stands for roots that are small, and both agree on the direction."""
    share, n, reference_share, reference_n = np.array(drawn).T
    exact = signed_root(share * n, n, reference_share * reference_n, reference_n)
    of_reference = (reference_share * reference_n)[None, :]
    quick = standardised((share * n)[None, :], n[None, :], of_reference, reference_n[None, :])[0]
    notable = np.abs(exact) >= NOTABLE
    assert quick[notable] == pytest.approx(exact[notable])
    assert (np.abs(quick[~notable]) < NOTABLE + 1e-6).all()


def test_bound_is_the_normal_quantile_of_all_looks() -> None:
    assert bound(1000, 300) == pytest.approx(float(norm.isf(1 / (2 * 1000 * 300))))


def test_every_cut_counts_what_it_says(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric("x", rng, bins=4), worlds.categorical("c", {"a": 0.7, "b": 0.3})]
    layout = Layout(columns)
    cells = np.arange(layout.cells)
    inside, n = layout.cut_counts(cells)
    numbers, categories = cells[layout.slice(0)], cells[layout.slice(1)]
    values = int(numbers[:-1].sum())
    edges = len(columns[0].edges) if isinstance(columns[0], Numeric) else 0
    expected = [(int(numbers[: edge + 1].sum()), values) for edge in range(edges)]
    expected += [(int(numbers[-1]), int(numbers.sum()))]
    inside, n = inside[~layout.is_whole], n[~layout.is_whole]
    present = int(categories[:-1].sum())
    expected += [(int(categories[0]), present), (int(categories[1]), present)]
    expected += [(int(categories[3]), present), (int(categories[4]), int(categories.sum()))]
    assert list(zip(inside.astype(int).tolist(), n.astype(int).tolist(), strict=True)) == expected


def test_a_constant_column_has_cuts_on_both_sides() -> None:
    column = Numeric("x", [3.0, float(np.nextafter(3.0, 4.0))], [0, 100, 0, 0])
    layout = Layout([column])
    scan = _scan(layout)
    cells = np.array([[0, 50, 50, 0]])
    assert [peak.column for peak in scan.peaks(scan.statistics(cells))] == [0]


def test_an_empty_column_is_watched_for_values_being_there() -> None:
    layout = Layout([Numeric("x", [], [0, 100])])
    scan = _scan(layout)
    peaks = scan.peaks(scan.statistics(np.array([[100, 0]])))
    assert [CutKind(int(layout.kind[peak.cut])) for peak in peaks] == [CutKind.MISSING]


def test_cells_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="'x' has 4 cells and 3 counts"):
        Layout([Numeric("x", [0.0, 1.0], [1, 2, 3])])


def test_excluded_columns_never_alarm_and_lower_the_others_bound(rng: np.random.Generator) -> None:
    columns = [worlds.numeric(name, rng) for name in ("x", "y")]
    layout = Layout(columns)
    shifted = np.array([[cell for column in columns for cell in worlds.draw(column, rng, 2000, shift=1.0)]])
    everything, excluded = _scan(layout), _scan(layout, exclude=("y",))
    assert {peak.column for peak in everything.peaks(everything.statistics(shifted))} == {0, 1}
    assert {peak.column for peak in excluded.peaks(excluded.statistics(shifted))} == {0}
    assert excluded.bounds[0] < everything.bounds[0]


def test_a_column_as_a_whole_is_its_mean_rank_and_its_ranks_squared_distance(rng: np.random.Generator) -> None:
    """Against the rows themselves: parts, their mean and their variance."""
    column = worlds.numeric("x", rng)
    layout = Layout([column])
    cells = np.array(worlds.draw(column, rng, 3000, shift=0.4))
    inside, n = layout.cut_counts(cells)
    variance = layout.variance(inside, n)
    values = [cut for cut in layout.cuts if cut.kind is CutKind.VALUE]
    below = np.cumsum(column.counts[:-1])[[cut.last - 1 for cut in values]] / sum(column.counts[:-1])
    rows = np.repeat(np.arange(column.cells - 1), cells[:-1])
    is_below = rows[:, None] < np.array([cut.last for cut in values])
    level = is_below.mean(axis=1)
    distance = np.abs(0.5 - below)
    lower = below < 0.5
    spread = (is_below[:, lower] * distance[lower]).sum(axis=1) / distance[lower].sum()
    spread += (~is_below[:, ~lower] * distance[~lower]).sum(axis=1) / distance[~lower].sum()
    for kind, parts in ((CutKind.LEVEL, level), (CutKind.SPREAD, spread)):
        (cut,) = np.flatnonzero(layout.kind == kind)
        assert inside[cut] / n[cut] == pytest.approx(parts.mean())
        assert variance[cut] == pytest.approx(parts.var())


@pytest.mark.parametrize("counts", [[0, 900, 0, 100, 0, 0], [0, 500, 500, 0, 0], [0, 999, 1, 0, 0]])
def test_a_column_of_few_values_has_no_whole(counts: list[int]) -> None:
    layout = Layout([Numeric("x", [float(edge) for edge in range(len(counts) - 2)], counts)])
    assert not layout.is_whole.any()


@pytest.mark.parametrize(("change", "kind"), [({"shift": 0.1}, CutKind.LEVEL), ({"scale": 1.1}, CutKind.SPREAD)])
def test_a_column_as_a_whole_sees_with_fewer_rows(
    rng: np.random.Generator, change: dict[str, float], kind: CutKind
) -> None:
    """Four tenths more evidence (in squares) of a normal column moved than at the best of its cuts."""
    column = worlds.numeric("x", rng, rows=1_000_000)
    scan = _scan(Layout([column]))
    rows = rng.normal(size=200_000) * change.get("scale", 1.0) + change.get("shift", 0.0)
    cells = np.bincount(np.searchsorted(column.edges, rows, side="right"), minlength=column.cells)
    squares = scan.statistics(cells[None, :])[0] ** 2
    best = squares[scan.layout.kind == CutKind.VALUE].max()
    assert squares[scan.layout.kind == kind][0] > 1.4 * best


def test_overdispersion_divides_the_evidence(rng: np.random.Generator) -> None:
    columns = [worlds.numeric("x", rng)]
    layout = Layout(columns)
    cells = np.array([worlds.draw(columns[0], rng, 2000, shift=0.3)])
    plain = _scan(layout).statistics(cells)
    divided = _scan(layout, phi=4.0).statistics(cells)
    assert np.abs(divided).max() == pytest.approx(np.abs(plain).max() / 2, rel=0.02)


def test_values_missing_and_unseen_are_found_apart(rng: np.random.Generator) -> None:
    columns = [worlds.categorical("c", {"a": 0.5, "b": 0.5})]
    layout = Layout(columns)
    scan = _scan(layout)
    cells = np.array([[100, 400, 0, 300, 200]])
    kinds = [CutKind(int(layout.kind[peak.cut])) for peak in scan.peaks(scan.statistics(cells))]
    assert kinds == [CutKind.CATEGORY, CutKind.UNSEEN, CutKind.MISSING]


def test_the_reference_own_extreme_is_no_surprise() -> None:
    """A few rows beyond the smallest reference row are what a second sample of the same size has."""
    columns = [Numeric("x", [0.0, 1.0, 2.0], [0, 500, 500, 0, 0])]
    scan = _scan(Layout(columns), looks=1)
    statistics = scan.statistics(np.array([[5, 500, 500, 0, 0]]))
    assert np.abs(statistics[0, 0]) < by_the_formula(5, 1005, 0, 1000)


def test_false_alarms_are_rare_and_real_change_is_found(rng: np.random.Generator) -> None:
    """A tenth of what the benchmark simulates: 2,000 windows may hold an alarm with a chance of 8%, by the bound
    itself less."""
    columns = [worlds.numeric(f"f{i}", rng, rows=10_000) for i in range(20)]
    layout = Layout(columns)
    scan = _scan(layout, looks=25_920)
    probabilities = [np.diff(np.concatenate([[0.0], norm.cdf(column.edges), [1.0]])) for column in columns]
    history: History = ()
    for _ in range(2000):
        cells = np.concatenate([np.append(rng.multinomial(500, p / p.sum()), 0) for p in probabilities])
        history = push(history, Bucket(1, 500, 0.0, 1.0, cells.tolist()))
        assert scan.peaks(scan.statistics(stretches(history))) == []
    moved = np.diff(np.concatenate([[0.0], norm.cdf(np.asarray(columns[7].edges) - 0.3), [1.0]]))
    probabilities[7] = moved
    found: list[int] = []
    for _ in range(6):
        cells = np.concatenate([np.append(rng.multinomial(500, p / p.sum()), 0) for p in probabilities])
        history = push(history, Bucket(1, 500, 0.0, 1.0, cells.tolist()))
        found += [peak.column for peak in scan.peaks(scan.statistics(stretches(history)))]
    assert set(found) == {7}


def test_history_stays_small_and_its_stretches_are_sums() -> None:
    history: History = ()
    for number in range(500):
        history = push(history, Bucket(1, 10, number, number + 1, [number, 1]))
        assert len(history) <= STRETCHES
        covered = sum(bucket.windows for bucket in history)
        assert covered == min(number + 1, covered)
        assert covered >= min(number + 1, 32)
        for stretch in range(len(history)):
            windows = sum(bucket.windows for bucket in history[: stretch + 1])
            newest = range(number - windows + 1, number + 1)
            assert stretches(history)[stretch].tolist() == [sum(newest), windows]
            assert history[stretch].opened == newest[0]


def test_a_reference_of_both_kinds_is_one_flat_window(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric("x", rng, bins=4), Categorical("c", ["a"], [5, 1, 0, 2])]
    assert reference_cells(columns).tolist() == [*columns[0].counts, 5, 1, 0, 2]


def _scan(layout: Layout, phi: float = 1.0, looks: float = 1000, exclude: tuple[str, ...] = ()) -> Scan:
    normal = Normal(reference_cells(layout.columns), worlds.Alike(layout, phi))
    return Scan(layout, normal, drift_looks=looks, fault_looks=looks, exclude=exclude)


def test_a_layout_is_made_once_for_what_is_in_a_reference() -> None:
    rng = np.random.default_rng(1)
    reference = worlds.reference([worlds.numeric(name, rng) for name in ("x", SCORE)])
    layout = layout_of(reference)
    again = msgspec.json.decode(msgspec.json.encode(reference), type=Reference)
    assert layout_of(again) is layout
    assert (layout.columns[-1].name, reference.score.name) == (SCORE, SCORE)
    again.features[0].counts[0] += 1
    assert layout_of(again) is not layout


@pytest.mark.parametrize("place", range(1, 33))
def test_rows_that_are_all_alike_are_no_more_than_certain(rng: np.random.Generator, place: int) -> None:
    """Their variance is nothing but rounding, whatever their level is."""
    layout = Layout([worlds.numeric("x", rng)])
    before, now = np.zeros((2, layout.cells), dtype=np.int64)
    before[place], now[17 if place != 17 else 18] = 10_000, 500
    scan = Scan(layout, Normal(before, Dispersion(layout)), drift_looks=1000, fault_looks=1000)
    assert np.abs(scan.statistics(now[None])).max() < 100
