"""Effects: how large, which way, of what kind; and what that means."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.monitoring.effects import Effect, Kind, effect
from perennial.monitoring.faults import meaning
from perennial.monitoring.scan import Peak
from perennial.wire.layout import CutKind, Layout, reference_cells
from perennial.wire.reference import Categorical, Column, Numeric

X = Numeric("x", [0.0, 1.0, 2.0, 3.0, 4.0], [0, 250, 250, 250, 250, 0, 0])
GROUPED = Categorical(
    "c", ["ash", "birch"], [400, 400, 100, 100, 0, 0], others=["cedar", "fir", "larch", "oak", "yew"], groups=2
)
C = Categorical("c", ["ash", "birch"], [500, 400, 100, 0, 0], others=["cedar"])


@pytest.mark.parametrize(
    ("cells", "kind", "size", "rises", "words"),
    [
        ([0, 100, 150, 250, 500, 0, 0], "Distribution", 0.25, True, "higher"),
        ([0, 500, 250, 150, 100, 0, 0], "Distribution", 0.25, False, "lower"),
        ([0, 450, 50, 50, 450, 0, 0], "Distribution", 0.2, True, "more spread out"),
        ([0, 50, 450, 450, 50, 0, 0], "Distribution", 0.2, False, "less spread out"),
        ([0, 0, 960, 20, 20, 0, 0], "Distribution", 0.46, False, "25.0% -> 96.0% from 1 to 2"),
        ([0, 200, 200, 200, 200, 200, 0], "Range", 0.2, True, "0.0% -> 20.0% outside the range known before"),
    ],
)
def test_numbers(cells: list[int], kind: str, size: float, rises: bool, words: str) -> None:
    found = _effect(X, CutKind.VALUE, cells)
    assert (found.kind, found.rises, found.words) == (kind, rises, words)
    assert found.size == pytest.approx(size)


@pytest.mark.parametrize(
    ("column", "cut", "cells", "kind", "size", "words"),
    [
        (C, CutKind.CATEGORY, [200, 700, 100, 0, 0], "Category", 0.3, "50.0% -> 20.0% 'ash'; 40.0% -> 70.0% 'birch'"),
        (
            C,
            CutKind.CATEGORY,
            [450, 350, 200, 0, 0],
            "Category",
            0.1,
            "10.0% -> 20.0% of the rarer categories; 40.0% -> 35.0% 'birch'; 50.0% -> 45.0% 'ash'",
        ),
        (C, CutKind.UNSEEN, [300, 200, 0, 500, 0], "Unseen", 0.5, "0.0% -> 50.0% of no known category"),
        (C, CutKind.CATEGORY, [350, 300, 100, 250, 0], "Unseen", 0.25, "0.0% -> 25.0% of no known category"),
        (
            GROUPED,
            CutKind.CATEGORY,
            [360, 360, 190, 90, 0, 0],
            "Category",
            0.09,
            "10.0% -> 19.0% of 'cedar' and 2 other rare ones; 40.0% -> 36.0% 'ash'; 40.0% -> 36.0% 'birch'",
        ),
        (
            GROUPED,
            CutKind.CATEGORY,
            [300, 300, 200, 200, 0, 0],
            "Category",
            0.2,
            "20.0% -> 40.0% of the rarer categories; 40.0% -> 30.0% 'ash'; 40.0% -> 30.0% 'birch'",
        ),
        (C, CutKind.MISSING, [0, 0, 0, 0, 70], "Missing", 1.0, "0.0% -> 100.0% missing"),
        (X, CutKind.MISSING, [0, 200, 200, 200, 200, 0, 200], "Missing", 0.2, "0.0% -> 20.0% missing"),
    ],
)
def test_shares(column: Column, cut: CutKind, cells: list[int], kind: str, size: float, words: str) -> None:
    found = _effect(column, cut, cells)
    assert (found.kind, found.words) == (kind, words)
    assert found.size == pytest.approx(size)


def test_a_long_category_is_cut_short_in_words() -> None:
    column = Categorical("c", ["x" * 5000, "ash"], [300, 700, 0, 0, 0])
    found = _effect(column, CutKind.CATEGORY, [700, 300, 0, 0, 0])
    assert found.words == f"30.0% -> 70.0% '{'x' * 59}…'; 70.0% -> 30.0% 'ash'"


LIMITED = Numeric(
    "x",
    [-5.0, 0.0, 1.0, 2.0, 3.0, 4.0, float(np.nextafter(9.0, 10.0))],
    [0, 0, 250, 250, 250, 250, 0, 0, 0],
    probes=[0, 6],
    least=-5.0,
    greatest=9.0,
)
CLOSED = Categorical("c", ["ash", "birch"], [500, 500, 0, 0, 0], closed=True)


@pytest.mark.parametrize(
    ("column", "cut", "cells", "kind", "broken", "words"),
    [
        (X, CutKind.MISSING, [0, 200, 200, 200, 200, 0, 200], "Missing", True, "0.0% -> 20.0% missing"),
        (C, CutKind.UNSEEN, [300, 200, 200, 300, 0], "Unseen", False, "0.0% -> 30.0% of no known category"),
        (C, CutKind.UNSEEN, [50, 25, 25, 900, 0], "Unseen", True, "0.0% -> 90.0% of no known category"),
        (
            CLOSED,
            CutKind.UNSEEN,
            [450, 450, 0, 100, 0],
            "Forbidden",
            True,
            "0.0% -> 10.0% of no known category, which data.expect forbids",
        ),
        (
            LIMITED,
            CutKind.VALUE,
            [0, 200, 200, 200, 200, 200, 0, 0, 0],
            "Range",
            False,
            "0.0% -> 20.0% outside the range known before",
        ),
        (
            LIMITED,
            CutKind.VALUE,
            [0, 0, 200, 200, 200, 200, 50, 150, 0],
            "Forbidden",
            True,
            "0.0% -> 15.0% above 9, which data.expect forbids",
        ),
        (
            LIMITED,
            CutKind.VALUE,
            [100, 0, 200, 200, 200, 200, 0, 100, 0],
            "Forbidden",
            True,
            "0.0% -> 10.0% below -5 and 0.0% -> 10.0% above 9, which data.expect forbids",
        ),
    ],
)
def test_what_is_broken(column: Column, cut: CutKind, cells: list[int], kind: Kind, broken: bool, words: str) -> None:
    found = _effect(column, cut, cells)
    assert (found.kind, found.broken, found.words) == (kind, broken, words)


def test_what_was_missing_and_is_there_is_not_broken() -> None:
    column = Numeric("x", X.edges, [0, 200, 200, 200, 200, 0, 200])
    assert not _effect(column, CutKind.MISSING, [0, 250, 250, 250, 250, 0, 0]).broken


def test_missing_values_do_not_count_as_a_change_of_the_others() -> None:
    assert _effect(X, CutKind.VALUE, [0, 25, 25, 25, 25, 0, 900]).size == pytest.approx(0)


@pytest.mark.parametrize(
    ("broken", "size", "state"),
    [
        (True, 0.30, "DataFault"),
        (True, 0.04, "MinorDrift"),
        (False, 0.30, "Drift"),
        (False, 0.0626, "Drift"),
        (False, 0.0624, "MinorDrift"),
    ],
)
def test_meaning(broken: bool, size: float, state: str) -> None:
    found = Effect("Missing", size, rises=True, words="", broken=broken)
    assert meaning(found, statistic=-10.0, materiality=0.05) == state


def test_what_chance_could_have_made_look_large_is_minor() -> None:
    found = Effect("Distribution", 0.06, True, "")
    assert meaning(found, statistic=6.0, materiality=0.05) == "MinorDrift"
    assert meaning(found, statistic=20.0, materiality=0.05) == "Drift"


@pytest.mark.parametrize(
    ("features", "named"),
    [
        (("a",), "a goes with the others otherwise than before: higher"),
        (("a", "b"), "a and b go together otherwise than before: higher"),
        (("a", "b", "c", "d", "e"), "a, b, c and 2 more go together otherwise than before: higher"),
    ],
)
def test_a_joint_change_names_its_features(features: tuple[str, ...], named: str) -> None:
    layout = Layout([X], {"x": features})
    cut = next(place for place, kind in enumerate(layout.kind) if kind == CutKind.VALUE)
    now = np.array([0, 100, 150, 250, 500, 0, 0])
    assert effect(layout, Peak(0, 0, cut, 9.0, 5.0), now, reference_cells([X])).words == named


def _effect(column: Column, kind: CutKind, cells: list[int]) -> Effect:
    """Of the second of two columns, so that a mistaken offset shows."""
    layout = Layout([X, column])
    cut = next(i for i, each in enumerate(layout.cuts) if each.column == 1 and each.kind == kind)
    before = reference_cells(layout.columns)
    now = np.array([*X.counts, *cells])
    return effect(layout, Peak(column=1, stretch=0, cut=cut, statistic=9.0, bound=5.0), now, before)
