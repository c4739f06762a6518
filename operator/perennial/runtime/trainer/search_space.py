"""Which parameters a search tries: from `sklearn.search` alone and the seed, before any row is read.

Every candidate is constructed once here, so that a value which the estimator does not take is told with its field and
not after an hour.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import islice, product
from typing import Any

import msgspec
import numpy as np

from perennial.runtime.failures import InputError
from perennial.wire.run import Search, Sklearn

from .calibration import check_calibration
from .estimators import choose
from .metrics import check_metric
from .target import Task

Parameters = dict[str, Any]

_FIELD = "spec.sklearn.search"
_STREAM = 0x5EA7
_ATTEMPTS = 20
"""Draws for each candidate, before a space is taken for exhausted."""
_DIGITS = 6


class _Range(msgspec.Struct, forbid_unknown_fields=True):
    min: float | int
    max: float | int
    log: bool = False


def check_search(sklearn: Sklearn, task: Task, seed: int) -> None:
    """Raises InputError for a metric that there is not, a space that is none, and values that the estimator refuses."""
    if sklearn.search is None:
        return
    check_metric(f"{_FIELD}.metric", sklearn.search.metric, task)
    for name in sklearn.search.space:
        if name in sklearn.parameters:
            raise InputError("InvalidParameters", f"{_FIELD}.space.{name}: is in spec.sklearn.parameters too: keep one")
    for candidate in candidates(sklearn.search, seed):
        tried = with_parameters(sklearn, candidate)
        try:
            check_calibration(tried, task, choose(tried, seed, 1).estimator)
        except InputError as error:
            raise InputError(error.reason, f"{_FIELD}.space: {shown(candidate)}: {error.message}") from error


def candidates(search: Search, seed: int) -> list[Parameters]:
    """What is tried, in this order, none twice. Raises InputError where the space is none."""
    names = sorted(search.space)
    choices = {name: _choices(name, search.space[name]) for name in names}
    if search.method == "Grid":
        return _grid(search, choices)
    random = np.random.default_rng((seed, _STREAM))
    drawn: dict[str, Parameters] = {}
    for candidate in islice(_draws(choices, random), search.trials * _ATTEMPTS):
        drawn.setdefault(json.dumps(candidate, sort_keys=True), candidate)
        if len(drawn) == search.trials:
            break
    return list(drawn.values())


def with_parameters(sklearn: Sklearn, candidate: Parameters) -> Sklearn:
    """The definition with these parameters, and nothing left to search."""
    return msgspec.structs.replace(sklearn, parameters={**sklearn.parameters, **candidate}, search=None)


def shown(candidate: Parameters) -> str:
    """For a person: `learning_rate=0.1, max_depth=5`."""
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in candidate.items())


def _choices(name: str, given: Any) -> list[Any] | _Range:
    field = f"{_FIELD}.space.{name}"
    if isinstance(given, list):
        if not given:
            raise InputError("InvalidParameters", f"{field}: has no value")
        return given
    try:
        found = msgspec.convert(given, _Range)
    except msgspec.ValidationError as error:
        raise InputError(
            "InvalidParameters", f"{field}: must be a list of values, or a range {{min, max, log}}: {error}"
        ) from error
    if not found.min < found.max or not math.isfinite(found.max - found.min):
        raise InputError("InvalidParameters", f"{field}: min {found.min:g} must be below max {found.max:g}")
    if found.log and found.min <= 0:
        raise InputError("InvalidParameters", f"{field}: log needs a min above 0, and it is {found.min:g}")
    return found


def _grid(search: Search, choices: dict[str, list[Any] | _Range]) -> list[Parameters]:
    lists = {}
    for name, values in choices.items():
        if isinstance(values, _Range):
            raise InputError("InvalidParameters", f"{_FIELD}.space.{name}: Grid needs a list of values, not a range")
        lists[name] = values
    size = math.prod(map(len, lists.values()))
    if size > search.trials:
        raise InputError(
            "InvalidParameters",
            f"{_FIELD}.trials: the grid has {size} combinations, and trials allows {search.trials}: "
            "raise it, or search at Random",
        )
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]


def _draws(choices: dict[str, list[Any] | _Range], random: np.random.Generator) -> Iterator[Parameters]:
    while True:
        yield {name: _draw(values, random) for name, values in choices.items()}


def _draw(values: list[Any] | _Range, random: np.random.Generator) -> Any:
    if isinstance(values, list):
        return values[int(random.integers(len(values)))]
    whole = isinstance(values.min, int) and isinstance(values.max, int)
    # Of whole numbers each has a share of its own, the last one too.
    low, high = float(values.min), float(values.max) + (1.0 if whole else 0.0)
    place = random.random()
    value = low * (high / low) ** place if values.log else low + (high - low) * place
    if whole:
        return min(int(value), values.max)
    return min(max(float(f"{value:.{_DIGITS}g}"), values.min), values.max)
