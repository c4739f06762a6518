"""Which rows are learned from and which are held out to judge the version: by rows and seed alone, so repeatable.

The same rule that holds rows out also makes the folds within the rows that are learned from, for cross-validation,
search and calibration: what must not be on two sides once must not be there at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.runtime.failures import InputError
from perennial.wire.run import Test

Indices = NDArray[np.intp]

LEAST_TRAIN = 20
LEAST_TEST = 10


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of rows; `test` is in the order of time where there is one."""

    train: Indices
    test: Indices


@dataclass(frozen=True, slots=True)
class Keys:
    """What rows are split by, each [rows]: `labels` are classes, each of which is held out in its share."""

    rows: int
    labels: NDArray[np.generic] | None = None
    seconds: NDArray[np.float64] | None = None
    groups: Indices | None = None


def newest(seconds: NDArray[np.float64], window: float) -> NDArray[np.bool_]:
    """Which rows are at most `window` seconds older than the newest."""
    return np.asarray(seconds >= seconds.max() - window)


def split(test: Test, seed: int, keys: Keys) -> Split:
    """Hold out `test.fraction` of the rows. Raises InputError where too few rows are left on either side."""
    random = np.random.default_rng(seed)
    if test.split == "Time" and keys.seconds is not None:
        held = _newest_held(test.fraction, keys.seconds)
    elif test.split == "Group" and keys.groups is not None:
        held = _groups_held(test, random, keys.groups)
    else:
        held = _rows_held(test.fraction, random, keys)
    parts = _parts(held, keys)
    if len(parts.train) < LEAST_TRAIN or len(parts.test) < LEAST_TEST:
        raise InputError(
            "TooFewRows",
            f"{keys.rows} rows with a target make {len(parts.train)} to learn from and {len(parts.test)} to judge by; "
            f"at least {LEAST_TRAIN} and {LEAST_TEST} are needed: "
            "give more data, a longer data.window or another data.test",
        )
    return parts


def folds(test: Test, count: int, seed: int, keys: Keys, *, forward: bool = True) -> list[Split]:
    """So many folds, each row tested once at most.

    Of a split by time each fold is tested by the rows after those that it learns from, and the oldest rows by none;
    without `forward` each stretch of time is tested by all others. Raises InputError where there are too few rows.
    """
    random = np.random.default_rng((seed, count))
    if test.split == "Time" and keys.seconds is not None:
        return _stretches(count, keys, forward)
    if test.split == "Group" and keys.groups is not None:
        numbers = _dealt_groups(count, random, keys.groups)
    else:
        numbers = _dealt_rows(count, random, keys)
    return [_parts(numbers == number, keys) for number in range(count)]


def _parts(held: NDArray[np.bool_], keys: Keys) -> Split:
    test = np.flatnonzero(held)
    if keys.seconds is not None:
        test = test[np.argsort(keys.seconds[test], kind="stable")]
    return Split(np.flatnonzero(~held), test)


def _newest_held(fraction: float, seconds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The newest rows; rows of one moment stay together, so that nothing is judged by what happened at once with it."""
    ordered = np.sort(seconds)
    boundary = ordered[len(ordered) - max(1, round(fraction * len(ordered)))]
    held = seconds >= boundary
    return np.asarray(seconds > boundary if held.all() else held)


def _groups_held(test: Test, random: np.random.Generator, groups: Indices) -> NDArray[np.bool_]:
    """Groups in random order as long as they fit into the share; at least the one that comes nearest to it."""
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        raise InputError(
            "TooFewRows", f"data.test.group: every row has the same {test.group!r}: nothing can be held out"
        )
    room = test.fraction * len(groups)
    chosen: list[int] = []
    for group in random.permutation(len(sizes)).tolist():
        if sizes[group] <= room:
            chosen.append(group)
            room -= sizes[group]
    return np.isin(groups, chosen or [int(sizes.argmin())])


def _rows_held(fraction: float, random: np.random.Generator, keys: Keys) -> NDArray[np.bool_]:
    held = np.zeros(keys.rows, bool)
    for rows in _strata(keys):
        shuffled = random.permutation(rows)
        held[shuffled[: min(round(fraction * len(rows)), len(rows) - 1)]] = True
    return held


def _dealt_rows(count: int, random: np.random.Generator, keys: Keys) -> Indices:
    """The fold of each row: the rows of a class are dealt out one by one, going on where the last class stopped."""
    order = np.concatenate([random.permutation(rows) for rows in _strata(keys)])
    numbers = np.empty(keys.rows, np.intp)
    numbers[order] = np.arange(keys.rows) % count
    return numbers


def _dealt_groups(count: int, random: np.random.Generator, groups: Indices) -> Indices:
    """The fold of each row: the largest groups first, each into the fold that has the fewest rows."""
    sizes = np.bincount(groups)
    if len(sizes) < count:
        raise InputError(
            "TooFewRows", f"data.test.group: of groups there are {len(sizes)} to learn from, too few for {count} folds"
        )
    shuffled = random.permutation(len(sizes))
    fold_of = np.empty(len(sizes), np.intp)
    totals = np.zeros(count)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")].tolist():
        fold_of[group] = totals.argmin()
        totals[fold_of[group]] += sizes[group]
    return np.asarray(fold_of[groups])


def _stretches(count: int, keys: Keys, forward: bool) -> list[Split]:
    assert keys.seconds is not None
    moments, codes = np.unique(keys.seconds, return_inverse=True)
    stretches = count + 1 if forward else count
    if len(moments) < stretches:
        raise InputError(
            "TooFewRows",
            f"data.time: of different times there are {len(moments)} to learn from, too few for {count} folds",
        )
    # By rows and not by moments: the first row of each moment decides for all of it.
    first = np.searchsorted(np.sort(codes), np.arange(len(moments)))
    of_moment = np.minimum(first * stretches // keys.rows, stretches - 1)
    numbers = of_moment[codes]
    found = []
    for number in sorted(set(numbers.tolist()))[1 if forward else 0 :]:
        test = _parts(numbers == number, keys).test
        found.append(Split(np.flatnonzero(numbers < number if forward else numbers != number), test))
    return found


def _strata(keys: Keys) -> list[Indices]:
    if keys.labels is None:
        return [np.arange(keys.rows)]
    classes, codes = np.unique(keys.labels.astype(str), return_inverse=True)
    return [np.flatnonzero(codes == code) for code in range(len(classes))]
