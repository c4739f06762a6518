"""Which rows are learned from and which are held out to judge the version: by rows and seed alone, so repeatable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.wire.run import Test

from .failures import InputError

Indices = NDArray[np.intp]

LEAST_TRAIN = 20
LEAST_TEST = 10


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of rows; `test` is in the order of time where there is one."""

    train: Indices
    test: Indices


def newest(seconds: NDArray[np.float64], window: float) -> NDArray[np.bool_]:
    """Which rows are at most `window` seconds older than the newest."""
    return np.asarray(seconds >= seconds.max() - window)


def split(
    test: Test, seed: int, labels: NDArray[np.generic] | None, seconds: NDArray[np.float64] | None, rows: int
) -> Split:
    """Hold out `test.fraction` of the rows; `labels` are the classes, each of which is held out in its share.

    Raises InputError where too few rows are left on either side.
    """
    if test.split == "Time" and seconds is not None:
        parts = _by_time(test.fraction, seconds)
    else:
        parts = _at_random(test.fraction, np.random.default_rng(seed), labels, rows)
        if seconds is not None:
            parts = Split(parts.train, parts.test[np.argsort(seconds[parts.test], kind="stable")])
    if len(parts.train) < LEAST_TRAIN or len(parts.test) < LEAST_TEST:
        raise InputError(
            "TooFewRows",
            f"{rows} rows with a target make {len(parts.train)} to learn from and {len(parts.test)} to judge by; "
            f"at least {LEAST_TRAIN} and {LEAST_TEST} are needed: "
            "give more data, a longer data.window or another data.test",
        )
    return parts


def _by_time(fraction: float, seconds: NDArray[np.float64]) -> Split:
    """The newest rows; rows of one moment stay together, so that nothing is judged by what happened at once with it."""
    order = np.argsort(seconds, kind="stable")
    boundary = seconds[order[len(order) - max(1, round(fraction * len(order)))]]
    held = seconds[order] >= boundary
    if held.all():
        held = seconds[order] > boundary
    return Split(np.sort(order[~held]), order[held])


def _at_random(fraction: float, random: np.random.Generator, labels: NDArray[np.generic] | None, rows: int) -> Split:
    groups = [np.arange(rows)] if labels is None else _by_label(labels)
    held = np.zeros(rows, bool)
    for group in groups:
        shuffled = random.permutation(group)
        held[shuffled[: min(round(fraction * len(group)), len(group) - 1)]] = True
    return Split(np.flatnonzero(~held), np.flatnonzero(held))


def _by_label(labels: NDArray[np.generic]) -> list[Indices]:
    classes, codes = np.unique(labels.astype(str), return_inverse=True)
    return [np.flatnonzero(codes == code) for code in range(len(classes))]
