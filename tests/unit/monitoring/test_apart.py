"""Two columns with cells of their own: what is surely a difference between them, and what may be none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.monitoring.apart import Apart, Worth, apart, comparable, cuts
from perennial.wire.reference import Categorical, Column, Numeric

MANY = 1_000_000
"""Rows enough for chance to play no part."""


def flat(low: float, high: float, *, bins: int = 32, rows: int = MANY, missing: int = 0) -> Numeric:
    """Evenly spread values, cut as a run cuts them: into bins with as many each."""
    edges = np.linspace(low, high, bins + 1).tolist()
    return Numeric("x", edges, [0, *[rows // bins] * bins, 0, missing])


def texts(shares: dict[str, float], *, others: float = 0.0, unseen: float = 0.0, rows: int = MANY) -> Categorical:
    counts = [round(rows * share) for share in (*shares.values(), others, unseen)]
    return Categorical("x", list(shares), [*counts, 0])


def found(before: Column, now: Column, *, bound: float = 6.0, materiality: float = 0.01) -> Apart | None:
    return apart(Worth(before), Worth(now), bound=bound, materiality=materiality)


@pytest.mark.parametrize(
    ("before", "now", "size", "words"),
    [
        (flat(0, 1), flat(0, 1), 0.0, ""),
        # Within one bin's width nobody can tell; beyond, all but what lies within one.
        (flat(0, 1), flat(0.02, 1.02), 0.0, ""),
        (flat(0, 1), flat(0.1, 1.1), 3 / 32, "higher"),
        (flat(0, 1), flat(-0.1, 0.9), 3 / 32, "lower"),
        (flat(0, 1), flat(2, 3), 1.0, "higher"),
        (flat(0, 1), flat(-0.5, 1.5), 8 / 32, "more spread out"),
        (flat(0, 1), flat(0.25, 0.75), 8 / 32, "less spread out"),
        (flat(0, 1, bins=2), flat(0.2, 1.2, bins=2), 0.0, ""),
        (flat(0, 1, bins=2), flat(0.6, 1.6, bins=2), 0.5, "higher"),
        (flat(0, 1), flat(0, 1, missing=MANY // 4), 0.2, "0% -> 20% missing"),
        (flat(0, 1, missing=MANY // 4), flat(0, 1), 0.2, "20% -> 0% missing"),
        # Of the same categories; of one that came; of one that came while others may only have become rarer.
        (texts({"a": 0.6, "b": 0.4}), texts({"a": 0.5, "b": 0.5}), 0.1, "40% -> 50% 'b'"),
        (texts({"a": 0.6, "b": 0.4}), texts({"b": 0.4, "c": 0.6}), 0.6, "0% -> 60% 'c'"),
        (texts({"a": 0.6, "b": 0.4}), texts({"b": 0.4, "c": 0.3}, others=0.2, unseen=0.1), 0.3, "0% -> 30% 'c'"),
        (texts({"b": 0.7}, others=0.3), texts({"a": 0.3, "b": 0.7}), 0.0, ""),
        (texts({"false": 0.9, "true": 0.1}), texts({"false": 0.7, "true": 0.3}), 0.2, "90% -> 70% 'false'"),
        # Each of many came and went with a little.
        (
            texts({f"old{i}": 0.01 for i in range(100)}),
            texts({f"new{i}": 0.01 for i in range(100)}),
            1.0,
            "0% -> 100% of the categories known now",
        ),
    ],
)
def test_what_is_surely_apart(before: Column, now: Column, size: float, words: str) -> None:
    one = found(before, now)
    assert (one.words if one else "") == words
    assert (one.size if one else 0.0) == pytest.approx(size, abs=1e-4)
    other = found(now, before)
    assert (other.size if other else 0.0) == pytest.approx(size, abs=1e-4)


@pytest.mark.parametrize(
    ("rows", "dispersion", "materiality", "is_found"),
    [
        (300, 1.0, 0.05, False),
        (3000, 1.0, 0.05, True),
        (3000, 10.0, 0.05, False),
        (3000, 1.0, 0.2, False),
        (0, 1.0, 0.05, False),
    ],
)
def test_it_has_to_be_certain_and_material(rows: int, dispersion: float, materiality: float, is_found: bool) -> None:
    before, now = texts({"a": 0.6, "b": 0.4}), texts({"a": 0.45, "b": 0.55}, rows=rows)
    sure = apart(Worth(before), Worth(now, values=dispersion), bound=6.0, materiality=materiality)
    assert (sure is not None) == is_found


def test_a_number_that_became_a_text_is_another_feature() -> None:
    assert comparable(flat(0, 1), flat(2, 3))
    assert not comparable(flat(0, 1), texts({"a": 1.0}))


def test_what_is_looked_at_is_counted() -> None:
    assert cuts(flat(0, 1, bins=4), flat(0, 1, bins=8)) == 5 + 9 + 1
    assert cuts(texts({"a": 1.0}), texts({"a": 0.5, "b": 0.5})) == 1 + 2 + 2 + 1


numbers = st.lists(st.integers(0, 40), min_size=1, max_size=60)
cut_at = st.sets(st.integers(0, 40), min_size=1, max_size=8)


def binned(values: Sequence[int], edges: set[int], times: int = 1) -> Numeric:
    """The values, each so many times, cut anywhere."""
    ordered = sorted(edges)
    cells = np.bincount(np.searchsorted(ordered, values, side="right"), minlength=len(ordered) + 1)
    return Numeric("x", [float(edge) for edge in ordered], [*(cells * times).tolist(), 0])


def truly(before: Sequence[int], now: Sequence[int]) -> float:
    """The largest difference of the two distributions."""
    return max(abs(float(np.mean(np.array(before) < x) - np.mean(np.array(now) < x))) for x in range(42))


@given(numbers, numbers, cut_at, cut_at)
def test_never_more_is_told_than_there_is(before: list[int], now: list[int], a: set[int], b: set[int]) -> None:
    told = found(binned(before, a), binned(now, b), bound=0.0, materiality=0.0)
    assert (told.size if told else 0.0) <= truly(before, now) + 1e-9


@given(numbers, numbers)
def test_with_a_cell_for_each_value_all_is_told(before: list[int], now: list[int]) -> None:
    everywhere = set(range(42))
    pair = (binned(before, everywhere, MANY), binned(now, everywhere, MANY))
    told = found(*pair, bound=0.0, materiality=0.0)
    assert (told.size if told else 0.0) == pytest.approx(truly(before, now), abs=2e-3)


@given(numbers, numbers, cut_at, cut_at)
def test_both_ways_the_same_is_told(before: list[int], now: list[int], a: set[int], b: set[int]) -> None:
    first, second = binned(before, a, 100), binned(now, b, 100)
    there, back = found(first, second, bound=3.0), found(second, first, bound=3.0)
    assert (there is None) == (back is None)
    if there and back:
        assert there.size == pytest.approx(back.size)
        assert {there.words, back.words} in (
            {"higher", "lower"},
            {"more spread out", "less spread out"},
        )


names = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 30), min_size=1)


@given(names, names, st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh")))
def test_of_texts_never_more_either(before: dict[str, int], now: dict[str, int], a: set[str], b: set[str]) -> None:
    """Those in `a` and `b` have no cell: they are counted as rarer ones."""
    told = found(_told(before, a), _told(now, b), bound=0.0, materiality=0.0)
    if told is None:
        return
    shares, shares_before = ({k: v / sum(each.values()) for k, v in each.items()} for each in (now, before))
    least = sum(abs(shares.get(k, 0.0) - shares_before.get(k, 0.0)) for k in "abcdefgh") / 2
    assert told.size <= least + 1e-9


def _told(counts: dict[str, int], rare: set[str]) -> Categorical:
    known = {name: count for name, count in counts.items() if name not in rare}
    others = sum(count for name, count in counts.items() if name in rare)
    return Categorical("x", list(known), [*known.values(), others, 0, 0])
