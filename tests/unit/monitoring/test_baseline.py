"""A baseline learned from serving: whole when it may be, and with what windows differ by."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from perennial.monitoring import baseline as baselines
from perennial.monitoring.baseline import SURPRISING, Baseline
from perennial.monitoring.dispersion import Block, Dispersion
from perennial.monitoring.history import Bucket, History, pushed
from perennial.wire.differences import between, of_blocks
from perennial.wire.layout import CutKind, Floats, Layout
from perennial.wire.reference import Column

from . import worlds


@pytest.mark.parametrize(("rows", "of", "windows"), [(500, 10_000, 20), (5000, 10_000, 10), (500, 100, 10)])
def test_it_takes_the_rows_asked_for_and_ten_windows(
    rng: np.random.Generator, rows: int, of: int, windows: int
) -> None:
    learned = _learn(rng, [worlds.numeric("x", rng)], rows, of=of)
    assert learned.windows == windows
    assert learned.recent == ()


def test_each_window_is_compared_once_at_each_length(rng: np.random.Generator) -> None:
    """Sixteen windows are eight pairs, four of twos and two of fours, whether merged already or about to be."""
    columns: list[Column] = [worlds.numeric("x", rng)]
    layout = Layout(columns)
    windows = np.array([worlds.draw(columns[0], rng, 500) for _ in range(16)])
    learned = baselines.from_serving(layout, 0.0)
    for number, window in enumerate(windows.tolist()):
        learned = baselines.learn(learned, layout, Bucket(1, 500, number, number + 1, window), of=8000)
    assert learned.complete
    assert [each.pairs for each in learned.served] == [8, 3, 1]
    twos, *_ = of_blocks(layout, windows)
    assert learned.served[0].squares == pytest.approx(twos.squares, abs=0.01)


def test_windows_alike_but_for_chance_have_little_dispersion(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric(f"x{place}", rng) for place in range(10)]
    assert _dispersion(columns, _learn(rng, columns, 500, of=20_000)).max() < 1.2


def test_hours_that_differ_have_more(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric("x", rng)]
    values = np.array([cut.kind != CutKind.MISSING for cut in Layout(columns).cuts])
    assert _dispersion(columns, _learn(rng, columns, 500, of=20_000, wobble=0.3))[values].min() > 5


def test_missing_values_that_come_in_bursts_have_their_own(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric("x", rng)]
    layout = Layout(columns)
    learned = baselines.from_serving(layout, 0.0)
    for number in range(20):
        window = worlds.draw(columns[0], rng, 500, missing=0.4 if number % 3 == 0 else 0.0)
        learned = baselines.learn(learned, layout, Bucket(1, 500, number, number + 1, window), of=10_000)
    dispersion = _dispersion(columns, learned)
    assert dispersion[layout.fault].min() > 10 > dispersion[~layout.fault].max()


def test_training_brings_what_its_rows_differ_by(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric("x", rng), worlds.numeric("(score)", rng)]
    reference = worlds.reference(columns)
    shifts = rng.normal(size=32) * 0.3
    drawn = [[cell for column in columns for cell in worlds.draw(column, rng, 500, shift=each)] for each in shifts]
    reference.differences = of_blocks(Layout(columns), np.array(drawn))
    trained = baselines.from_training(reference, 12.0)
    assert trained.complete
    assert trained.rows == reference.rows
    assert _dispersion(columns, trained).max() > 10


def test_what_is_served_after_the_baseline_is_learned_on(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric(f"x{place}", rng) for place in range(10)]
    layout = Layout(columns)
    learned = _learn(rng, columns, 500, of=5000)
    history: tuple[Bucket, ...] = ()
    for shift in rng.normal(size=40) * 0.2:
        cells = [cell for column in columns for cell in worlds.draw(column, rng, 500, shift=float(shift))]
        history, pairs = pushed(history, Bucket(1, 500, 0.0, 1.0, cells))
        learned = baselines.compare(learned, layout, pairs, baselines.normal(learned, layout))
    assert learned.rows == 5000
    assert _dispersion(columns, learned)[layout.is_whole].max() > 5


def test_what_came_after_is_looked_back_on_when_it_has_doubled(rng: np.random.Generator) -> None:
    """Up to the length of the longest stretch, and each time on all of it."""
    columns: list[Column] = [worlds.numeric(f"x{place}", rng) for place in range(4)]
    learned = _learn(rng, columns, 500, of=5000)
    seen = []
    for baseline, served in pairwise(_looking_back(rng, columns, learned, windows=70)):
        if served.after is None or (baseline.after and served.after == baseline.after):
            continue
        seen.append(served.after.later)
        assert served.after.baseline == Block(5000, 10)
        assert served.after.differences.pairs == 1
    assert seen == [Block(500 * windows, windows) for windows in (1, 2, 4, 8, 16, 32)]


def test_it_is_compared_with_the_baseline(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric(f"x{place}", rng) for place in range(4)]
    layout = Layout(columns)
    learned = _learn(rng, columns, 500, of=5000)
    windows = [_window(rng, columns, 500, number) for number in range(4)]
    history: History = ()
    for window in windows:
        history, _ = pushed(history, window)
    looked = baselines.look_back(learned, layout, history)
    assert looked.after is not None
    served = np.sum([window.cells for window in windows], axis=0)
    plain = between(layout, np.array([learned.cells]), served[None], np.array([2000.0]))
    assert looked.after.differences == plain
    assert looked.after.later == Block(2000, 4)


def test_a_change_counts_for_little_more_than_is_usual(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric(f"x{place}", rng) for place in range(4)]
    layout = Layout(columns)
    learned = _learn(rng, columns, 500, of=5000)
    looked = baselines.look_back(learned, layout, (_window(rng, columns, 500, 0, shift=3.0),))
    assert looked.after is not None
    known = Dispersion(layout, learned.served, normal=np.asarray(learned.cells)).across(Block(5000, 10), Block(500, 1))
    assert known is not None
    assert looked.after.differences.squares == pytest.approx(SURPRISING * known * looked.after.differences.told, abs=1)


def test_of_held_out_rows_nobody_knows_when_they_came(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric("x", rng), worlds.numeric("(score)", rng)]
    reference = worlds.reference(columns)
    drawn = [_window(rng, columns, 500, number).cells for number in range(16)]
    reference.differences = of_blocks(Layout(columns), np.array(drawn))
    *_, learned = _looking_back(rng, columns, baselines.from_training(reference, 12.0), windows=4)
    assert learned.after is not None
    assert learned.after.baseline == Block(reference.rows, None)


def test_without_any_pair_of_windows_it_would_say_nothing(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric("x", rng), worlds.numeric("(score)", rng)]
    held_out = baselines.from_training(worlds.reference(columns), 12.0)
    found = [each.after for each in _looking_back(rng, columns, held_out, windows=8)]
    assert found[:3] == [None, None, None]
    assert found[-1] is not None


def _window(rng: np.random.Generator, columns: list[Column], rows: int, number: int, shift: float = 0.0) -> Bucket:
    cells = [cell for column in columns for cell in worlds.draw(column, rng, rows, shift=shift)]
    return Bucket(1, rows, float(number), float(number + 1), cells)


def _looking_back(
    rng: np.random.Generator, columns: list[Column], baseline: Baseline, *, windows: int
) -> Iterator[Baseline]:
    """The baseline, and as it is after each window that is served."""
    layout = Layout(columns)
    history: History = ()
    yield baseline
    for number in range(windows):
        history, pairs = pushed(history, _window(rng, columns, 500, number))
        baseline = baselines.compare(baseline, layout, pairs, baselines.normal(baseline, layout))
        baseline = baselines.look_back(baseline, layout, history)
        yield baseline


def _learn(rng: np.random.Generator, columns: list[Column], rows: int, *, of: int, wobble: float = 0.0) -> Baseline:
    layout = Layout(columns)
    learned = baselines.from_serving(layout, 0.0)
    while not learned.complete:
        shift = float(rng.normal() * wobble)
        cells = [cell for column in columns for cell in worlds.draw(column, rng, rows, shift=shift)]
        learned = baselines.learn(learned, layout, Bucket(1, rows, 0.0, 1.0, cells), of=of)
    return learned


def _dispersion(columns: list[Column], learned: Baseline) -> Floats:
    """Of each cut, in a window of 500 rows."""
    found: Floats = baselines.normal(learned, Layout(columns)).dispersion.at(np.array([500.0]))[0]
    return found
