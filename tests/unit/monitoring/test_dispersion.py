"""The overdispersion by length, on windows whose wavering is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from perennial.monitoring import baseline as baselines
from perennial.monitoring.dispersion import Block, Contrast, Dispersion
from perennial.monitoring.history import Bucket, History, crowds, lengths, push
from perennial.wire.differences import between, of_blocks, units
from perennial.wire.layout import CutKind, Floats, Ints, Layout
from perennial.wire.reference import Categorical, Differences, Numeric

from . import worlds

ROWS = 1000
LENGTHS = (1, 4, 16, 46)


@pytest.fixture
def layout(rng: np.random.Generator) -> Layout:
    return Layout([worlds.numeric(f"x{place}", rng) for place in range(20)])


def _windows(layout: Layout, rng: np.random.Generator, means: Floats, rows: int = ROWS) -> Ints:
    """Counts of windows of normal columns, whose means [windows, columns] are in standard deviations."""
    blocks = []
    for place, column in enumerate(layout.columns):
        assert isinstance(column, Numeric)
        below = norm.cdf(np.asarray(column.edges)[None, :] - means[:, place, None])
        ends = np.ones((len(means), 1))
        shares = np.diff(np.concatenate([0 * ends, below, ends], axis=1))
        blocks += [rng.multinomial(rows, shares), np.zeros((len(means), 1), np.int64)]
    return np.concatenate(blocks, axis=1)


def _wavering(rng: np.random.Generator, windows: int, columns: int, size: float, persistence: float) -> Floats:
    means = rng.normal(size=(windows, columns)) * size
    for before, now in pairwise(means):
        now *= np.sqrt(1 - persistence**2)
        now += persistence * before
    return means


def _level(layout: Layout, dispersion: Dispersion) -> Floats:
    """Of the columns' levels, by the length of a stretch in windows."""
    rows = np.array(LENGTHS, dtype=np.float64) * ROWS
    return dispersion.at(rows)[:, layout.kind == CutKind.LEVEL]


def _true(length: int, size: float, persistence: float) -> float:
    """That of a mean rank, which tells a normal mean by 3 / pi of its rows."""
    lags = np.arange(1, length)
    alike = 1 + 2 * ((1 - lags / length) * persistence**lags).sum()
    return float(1 + 3 / np.pi * ROWS * size**2 * alike)


def _served(layout: Layout, rng: np.random.Generator, means: Floats) -> Dispersion:
    """That windows of such means teach: one stretch of it is a thousand rows."""
    return Dispersion(layout, of_blocks(layout, _windows(layout, rng, means)))


def _across(dispersion: Dispersion, baseline: Block, later: Block) -> Floats:
    found = dispersion.across(baseline, later)
    assert found is not None
    return found


def _before_and_after(layout: Layout, rng: np.random.Generator, means: Floats) -> tuple[float, float]:
    """Of sixteen windows, by what the ten windows of a baseline have shown and by how far what came after it lies from
    it besides."""
    windows = _windows(layout, rng, means)
    baseline, later = windows[:10], windows[10:]
    apart = between(layout, baseline.sum(axis=0)[None], later.sum(axis=0)[None], np.array([len(later) * ROWS]))
    served = of_blocks(layout, baseline)
    contrast = Contrast(Block(10 * ROWS, 10), Block(len(later) * ROWS, len(later)), apart)
    learned = Dispersion(layout, served), Dispersion(layout, served, after=contrast)
    before, after = (float(np.median(_level(layout, each)[2])) for each in learned)
    return before, after


def test_independent_rows_tell_as_much_as_they_are(layout: Layout, rng: np.random.Generator) -> None:
    windows = _windows(layout, rng, np.zeros((64, 20)))
    found = _level(layout, Dispersion(layout, of_blocks(layout, windows)))
    assert (found >= 1).all()
    assert found[:3].max() < 1.1


@pytest.mark.parametrize("persistence", [0.0, 0.3, 0.6, 0.9])
def test_stretches_of_windows_that_waver_tell_less(
    layout: Layout, rng: np.random.Generator, persistence: float
) -> None:
    windows = _windows(layout, rng, _wavering(rng, 256, 20, 0.05, persistence))
    found = _level(layout, Dispersion(layout, of_blocks(layout, windows)))
    for length, row in zip(LENGTHS, found, strict=True):
        assert 0.65 < np.median(row) / _true(length, 0.05, persistence) < 1.6


def test_ten_windows_are_enough_to_be_careful(layout: Layout, rng: np.random.Generator) -> None:
    """Longer than what was seen is judged by how its parts went on from one another: not as if they were alike."""
    windows = _windows(layout, rng, _wavering(rng, 10, 20, 0.1, 0.9))
    found = _level(layout, Dispersion(layout, of_blocks(layout, windows)))
    assert np.median(found[3]) > 0.5 * _true(46, 0.1, 0.9)


def test_ten_windows_that_look_alike_are_not_trusted_far(layout: Layout, rng: np.random.Generator) -> None:
    """Where windows hang together, neighbours hardly differ: it is the baselines that show least which alarm."""
    shown = [
        np.median(_level(layout, Dispersion(layout, of_blocks(layout, windows)))[2])
        for windows in (_windows(layout, rng, _wavering(rng, 10, 20, 0.05, 0.9)) for _ in range(40))
    ]
    assert np.quantile(shown, 0.1) > 0.75 * _true(16, 0.05, 0.9)


def test_a_column_that_wavers_alone_is_judged_by_itself(layout: Layout, rng: np.random.Generator) -> None:
    means = np.zeros((64, 20))
    means[:, 3] = rng.normal(size=64) * 0.2
    found = _level(layout, Dispersion(layout, of_blocks(layout, _windows(layout, rng, means))))[0]
    assert found[3] > 20
    assert np.delete(found, 3).max() < 3


def test_a_column_that_runs_away_is_no_wavering_of_the_others(layout: Layout, rng: np.random.Generator) -> None:
    """Such as a number that only ever grows."""
    means = np.zeros((64, 20))
    means[:, 3] = np.linspace(-3, 3, 64)
    found = _level(layout, Dispersion(layout, of_blocks(layout, _windows(layout, rng, means))))
    assert found[2, 3] > 1000
    assert np.delete(found[:3], 3, axis=1).max() < 3


def test_a_column_that_looks_quiet_by_chance_is_taken_to_waver_as_the_others(
    layout: Layout, rng: np.random.Generator
) -> None:
    for _ in range(40):
        windows = _windows(layout, rng, _wavering(rng, 56, 20, 0.05, 0.9))
        found = _level(layout, Dispersion(layout, of_blocks(layout, windows)))
        assert found[1].min() > 0.6 * np.median(found[1])


def test_columns_that_have_shown_to_be_each_of_its_own_are_judged_so(layout: Layout) -> None:
    """After a month of windows small differences are certain, and no process explains even those that waver least."""
    chosen, _ = units(layout)
    excess = np.array([0.2, 1.0, 3.0, 3.0])[layout.column[chosen] % 4]
    longer = [
        Differences(pairs, 1000.0 * 2**length * pairs, (pairs * (1 + excess)).tolist())
        for length, pairs in enumerate((4000, 2000, 1000))
    ]
    assert _level(layout, Dispersion(layout, longer))[0, :4] == pytest.approx([1.2, 2.0, 4.0, 4.0], rel=0.2)


@pytest.mark.parametrize("windows", [1, 2, 8])
def test_neighbours_of_one_length_are_a_contrast_as_any_other(
    layout: Layout, rng: np.random.Generator, windows: int
) -> None:
    dispersion = _served(layout, rng, _wavering(rng, 10, 20, 0.05, 0.6))
    block = Block(windows * ROWS, windows)
    neighbours = dispersion.between(np.array([float(windows * ROWS)]), windows)
    assert neighbours is not None
    assert _across(dispersion, block, block) == pytest.approx(neighbours[0])


@pytest.mark.parametrize(("earlier", "later"), [(10, 30), (30, 10), (4, 32)])
def test_blocks_of_any_length_differ_as_means_do_that_hang_together(
    layout: Layout, rng: np.random.Generator, earlier: int, later: int
) -> None:
    """In relation to neighbours of sixteen, as many streams show it."""
    size, persistence = 0.1, 0.8
    dispersion = _served(layout, rng, _wavering(rng, 600, 20, size, persistence))
    levels = np.flatnonzero(layout.kind[units(layout)[0]] == CutKind.LEVEL)
    true, found = [], []
    for one, other in ((earlier, later), (16, 16)):
        means = _wavering(rng, one + other, 10_000, size, persistence)
        differ = means[:one].mean(axis=0) - means[one:].mean(axis=0)
        true.append(1 + differ.var() / (np.pi / 3 * (1 / one + 1 / other) / ROWS))
        blocks = Block(one * ROWS, one), Block(other * ROWS, other)
        found.append(np.median(_across(dispersion, *blocks)[levels]))
    assert found[0] / found[1] == pytest.approx(true[0] / true[1], rel=0.15)


def test_held_out_rows_are_taken_to_waver_by_chance_alone(layout: Layout, rng: np.random.Generator) -> None:
    """They may be of an hour or of a year: so a baseline of them is never taken for closer than it should be."""
    dispersion = _served(layout, rng, _wavering(rng, 64, 20, 0.05, 0.9))
    later = Block(8 * ROWS, 8)
    levels = np.flatnonzero(layout.kind[units(layout)[0]] == CutKind.LEVEL)
    held_out = _across(dispersion, Block(10 * ROWS, None), later)
    served_long_before = _across(dispersion, Block(10 * ROWS, 10_000_000), later)
    assert held_out[levels] == pytest.approx(served_long_before[levels], rel=0.01)


def test_a_few_windows_with_most_of_the_rows_are_worth_as_few(layout: Layout, rng: np.random.Generator) -> None:
    dispersion = _served(layout, rng, _wavering(rng, 64, 20, 0.05, 0.0))
    held_out = Block(10**9, None)
    levels = np.flatnonzero(layout.kind[units(layout)[0]] == CutKind.LEVEL)
    even = _across(dispersion, held_out, Block(8 * ROWS, 8))[levels]
    uneven = _across(dispersion, held_out, Block(8 * ROWS, 8, 4.0))[levels]
    assert np.median((uneven - 1) / (even - 1)) == pytest.approx(4, rel=0.3)


def test_a_baseline_that_all_is_alike_to_shows_that_nothing_wavers(layout: Layout, rng: np.random.Generator) -> None:
    """Ten windows by themselves are far from showing it."""
    before, after = zip(*(_before_and_after(layout, rng, np.zeros((26, 20))) for _ in range(10)), strict=True)
    assert np.median(after) - 1 < 0.5 * (np.median(before) - 1)


@pytest.mark.parametrize("persistence", [0.6, 0.9])
def test_windows_that_waver_do_not_show_that_they_do_not(
    layout: Layout, rng: np.random.Generator, persistence: float
) -> None:
    for _ in range(10):
        means = _wavering(rng, 26, 20, 0.05, persistence)
        before, after = _before_and_after(layout, rng, means)
        assert after > 0.7 * min(before, _true(16, 0.05, persistence))


def test_all_columns_may_have_come_back_with_one_weather(layout: Layout, rng: np.random.Generator) -> None:
    """Twenty columns as close to the baseline as can be are no twenty times as much as one."""
    kinds = len(units(layout)[0])
    close = Differences(1, 16.0 * ROWS, [0.0] * kinds, [1] * kinds)
    contrast = Contrast(Block(10 * ROWS, 10), Block(16 * ROWS, 16), close)
    for _ in range(10):
        served = of_blocks(layout, _windows(layout, rng, _wavering(rng, 10, 20, 0.05, 0.6)))
        before, after = (_level(layout, Dispersion(layout, served, after=each))[2] for each in (None, contrast))
        assert np.median(after) > 0.5 * min(np.median(before), _true(16, 0.05, 0.6))


def test_a_change_of_all_columns_does_not_pass_for_wavering(layout: Layout, rng: np.random.Generator) -> None:
    """What lies between the baseline and what came after it speaks against wavering alone."""
    for shift in (0.05, 0.1, 1.0):
        means = np.zeros((26, 20))
        means[10:] = shift
        before, after = _before_and_after(layout, rng, means)
        assert after <= before + 1e-9


@given(st.lists(st.lists(st.integers(0, 3000), min_size=12, max_size=12), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_any_counts_give_a_dispersion(drawn: list[list[int]]) -> None:
    layout = Layout(
        [
            Numeric("x", [0.0, 1.0, 2.0, 3.0, 4.0], [0, 100, 100, 100, 100, 0, 0]),
            Categorical("c", ["a", "b"], [200, 200, 0, 0, 0]),
        ]
    )
    dispersion = Dispersion(layout, of_blocks(layout, np.array(drawn)))
    found = dispersion.at(np.array([1.0, 1000.0, 1e6]))
    assert np.isfinite(found).all()
    assert (found >= 1).all()
    assert found.shape == (3, len(layout.cuts))


def test_differences_are_pearsons_statistic_of_two_samples(rng: np.random.Generator) -> None:
    layout = Layout([worlds.categorical("c", {"a": 0.7, "b": 0.3})])
    earlier, later = np.array([[70, 30, 0, 0, 0]]), np.array([[140, 60, 0, 0, 0]])
    moved = np.array([[55, 45, 0, 0, 0]])
    chosen, _ = units(layout)
    assert [int(layout.kind[cut]) for cut in chosen] == [
        CutKind.CATEGORY,
        CutKind.CATEGORY,
        CutKind.UNSEEN,
        CutKind.MISSING,
    ]
    same, other = between(layout, earlier, later, np.array([150.0])), between(layout, earlier, moved, np.array([100.0]))
    assert same.squares == [0.0, 0.0, 0.0, 0.0]
    assert same.told == [1, 1, 0, 0]
    pooled = 125 / 200
    assert other.squares[0] == pytest.approx(0.15**2 / (pooled * (1 - pooled) * 2 / 100), abs=1e-3)
    assert (other.pairs, other.rows) == (1, 100)
    both = same.plus(other)
    assert (both.pairs, both.rows) == (2, 250.0)
    assert both.squares == pytest.approx([one + two for one, two in zip(same.squares, other.squares, strict=True)])
    assert both.told == [2, 2, 0, 0]
    most = np.full((1, 4), 0.5)
    assert between(layout, earlier, moved, np.array([100.0]), most).squares == [0.5, 0.5, 0.0, 0.0]


def test_rare_categories_do_not_hide_that_others_waver(rng: np.random.Generator) -> None:
    """A text of many values has more of them than there are other features, and they tell next to nothing."""
    numbers = Layout([worlds.numeric(f"x{place}", rng) for place in range(4)])
    shares = {f"code {place}": 0.9 / 2**8 if place else 0.1 for place in range(64)}
    text = worlds.categorical("text", shares, rows=50_000)
    layout = Layout([*numbers.columns, text])
    windows = _windows(numbers, rng, _wavering(rng, 24, 4, 0.05, 0.6))
    texts = rng.multinomial(ROWS, np.array(text.counts) / sum(text.counts), size=24)
    both = np.concatenate([windows, texts], axis=1)
    alone = Dispersion(numbers, of_blocks(numbers, windows))
    beside = Dispersion(layout, of_blocks(layout, both))
    assert _level(layout, beside) == pytest.approx(_level(numbers, alone), rel=0.05)


def test_a_text_is_taken_to_waver_as_numbers_do(layout: Layout, rng: np.random.Generator) -> None:
    """Few windows of one text cannot show that it does not; and numbers do not learn from it."""
    windows = 32
    text = Layout([worlds.categorical("text", {"yes": 0.5, "no": 0.5})])
    both = Layout([*layout.columns, *text.columns])
    numbers = _windows(layout, rng, _wavering(rng, windows, 20, 0.05, 0.9))
    texts = rng.multinomial(ROWS, [0.5, 0.5, 0.0, 0.0, 0.0], size=windows)
    rows = np.array([16.0 * ROWS])
    alone = Dispersion(text, of_blocks(text, texts)).at(rows)
    beside = Dispersion(both, of_blocks(both, np.concatenate([numbers, texts], axis=1))).at(rows)
    of_text = both.column == len(layout.columns)
    assert beside[:, of_text].max() > 5 * alone.max()
    unaware = Dispersion(layout, of_blocks(layout, numbers)).at(rows)
    assert beside[:, ~of_text] == pytest.approx(unaware)


@pytest.mark.parametrize("seed", [1, 3])
def test_long_texts_do_not_outvote_what_else_wavers(seed: int) -> None:
    """All waver by one rule, of which a hundred rare categories show next to nothing: they are two columns."""
    rng = np.random.default_rng(seed)
    few = {"a": 0.4, "b": 0.3, "c": 0.15, "d": 0.1, "e": 0.05}
    many = {f"code {place}": 1 / (place + 3) for place in range(64)}
    shares = [{"yes": 0.3, "no": 0.7}] * 2 + [few] * 2 + [many] * 2
    columns = [worlds.categorical(f"c{place}", share, rows=50_000) for place, share in enumerate(shares)]
    means = _wavering(rng, 200, len(columns), 0.05, 0.6)
    cells = []
    for column, share, mean in zip(columns, shares, means.T, strict=True):
        ends = norm.ppf(np.cumsum([*share.values()])[:-1] / sum(share.values()))
        below = norm.cdf(ends - mean[:, None])
        counts = rng.multinomial(ROWS, np.diff(below, axis=1, prepend=0.0, append=1.0))
        cells += [counts, np.zeros((len(counts), column.cells - len(share)), np.int64)]
    lengths = np.array(LENGTHS) * float(ROWS)
    short, whole = Layout(columns[:4]), Layout(columns)
    counted = np.concatenate(cells, axis=1)
    alone = Dispersion(short, of_blocks(short, np.concatenate(cells[:8], axis=1))).at(lengths)
    beside = Dispersion(whole, of_blocks(whole, counted)).at(lengths)
    assert beside[:, : alone.shape[1]] == pytest.approx(alone, rel=0.1)


def test_a_share_wavers_the_less_the_rarer_it_is(rng: np.random.Generator) -> None:
    """Cuts of something normal that wavers: what its categories show of it together is said of each."""
    categories = {"half": 0.5, "fifth": 0.2, "tenth": 0.1, "rare": 0.02, "other": 0.18}
    layout = Layout([worlds.categorical(f"c{place}", categories) for place in range(3)])
    ends = norm.ppf(np.cumsum([*categories.values()])[:-1])
    means = rng.normal(size=(64, 3)) * 0.1
    below = norm.cdf(ends - means[:, :, None])
    shares = np.diff(below, axis=2, prepend=0.0, append=1.0)
    cells = np.concatenate([rng.multinomial(ROWS, shares), np.zeros((64, 3, 3), np.int64)], axis=2)
    found = Dispersion(layout, of_blocks(layout, cells.reshape(64, -1))).at(np.array([float(ROWS)]))[0]
    half = 1 + ROWS * 0.01 * norm.pdf(0) ** 2 / 0.25
    named = {name: np.median(found[place:21:7]) for place, name in enumerate(categories)}
    assert 0.6 * half < named["half"] < 1.6 * half
    assert 1 <= named["rare"] < named["half"] / 2


def test_busy_windows_waver_as_quiet_ones_do(layout: Layout, rng: np.random.Generator) -> None:
    """What moves all rows of a window makes the more of a difference the more rows it has."""
    sizes = np.where(np.arange(60) % 6 == 5, 5000, 500)
    means = _wavering(rng, len(sizes), 20, 0.05, 0.0)
    learned = baselines.from_serving(layout, 0.0)
    for number, (size, mean) in enumerate(zip(sizes.tolist(), means, strict=True)):
        (cells,) = _windows(layout, rng, mean[None, :], rows=size)
        window = Bucket(1, size, float(number), float(number + 1), cells.tolist())
        learned = baselines.learn(learned, layout, window, of=10**9)
    normal = baselines.normal(learned, layout)
    rows = np.array([500.0, 5000.0, 8000.0])
    found = normal.dispersion.of(rows, np.array([500.0, 5000.0, 3250.0]))[:, layout.kind == CutKind.LEVEL]
    true = 1 + 3 / np.pi * 0.05**2 * np.array([500.0, 5000.0, 3250.0])
    assert np.median(found, axis=1) / true == pytest.approx([1.0, 1.0, 1.0], rel=0.5)
    squares = float((sizes.astype(float) ** 2).sum() / sizes.sum())
    assert normal.crowd == pytest.approx(squares)


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=80))
@settings(max_examples=60, deadline=None)
def test_a_stretch_knows_how_many_rows_came_together(sizes: list[int]) -> None:
    history: History = ()
    for number, size in enumerate(sizes):
        history = push(history, Bucket(1, size, float(number), float(number + 1), [size]))
    for stretch, length in enumerate(lengths(history)):
        newest = np.array(sizes[len(sizes) - length :], dtype=np.float64)
        assert crowds(history)[stretch] == pytest.approx((newest**2).sum() / newest.sum())
