"""Fitting, with what scikit-learn complains of told as the user's own terms have it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from perennial.runtime import limits
from perennial.runtime.failures import InputError
from perennial.wire.run import Run, Sklearn, Test
from perennial.wire.schema import Feature

from .boosters import is_booster, library_of
from .calibration import calibrated, settled
from .class_weight import weigh_classes
from .estimators import Chosen, choose
from .preprocessing import pipeline
from .rows import Rows

SMALL_CELLS = 2_000_000
LARGE_THREADS = 4


def fitted(run: Run, sklearn: Sklearn, features: Sequence[Feature], rows: Rows, say: Callable[[str], None]) -> Any:
    """A new pipeline, fitted on these rows. Raises InputError where they do not suit the estimator."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit(run, sklearn, features, rows, limits.cpus())
    for message in dict.fromkeys(str(warning.message).strip().splitlines()[0] for warning in caught):
        say(f"fit: warning: {message}")
    return model


def fit(run: Run, sklearn: Sklearn, features: Sequence[Feature], rows: Rows, cpus: int) -> Any:
    """What `fitted` does, on so many threads and silently: beside others, who share Python's filters of warnings."""
    chosen = choose(sklearn, run.seed, cpus)
    weigh_classes(chosen.estimator, rows.target)
    _fix_threads(chosen, rows.frame.size)
    model = pipeline(chosen, features, sklearn.preprocessing, rows.frame)
    test = run.data.test if run.data else Test()
    model.set_params(model=calibrated(sklearn, chosen.estimator, test, run.seed, rows))
    with suited(chosen.path):
        model.fit(rows.frame, rows.target)
    parts = [*settled(model.named_steps["model"]), *chosen.steps]
    if not is_booster(chosen.path):
        for part in parts:
            _forget_cpus(part)
    return model


def _fix_threads(chosen: Chosen, cells: int) -> None:
    """Boosters have threads of their own, and round sums by them: as many as for the others below, wherever it is."""
    if is_booster(chosen.path):
        names = [name for name in chosen.estimator.get_params() if _is_cpus(name)]
        chosen.estimator.set_params(**dict.fromkeys(names, _threads(cells)))


def _forget_cpus(estimator: Any) -> None:
    """What is published must not depend on how many CPUs the container had, nor answers on the order of threads."""
    for name in estimator.get_params():
        if _is_cpus(name):
            estimator.set_params(**{name: None})


def _is_cpus(name: str) -> bool:
    return name.rpartition("__")[2] == "n_jobs"


def _threads(cells: int) -> int:
    return 1 if cells < SMALL_CELLS else LARGE_THREADS


@contextmanager
def suited(estimator: str) -> Iterator[None]:
    """scikit-learn says by ValueError or TypeError that data and parameters do not suit, some estimators in predict;
    LightGBM has an error of its own for it."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (ValueError, TypeError)) and library_of(type(error)) is None:
            raise
        message = f"{estimator} does not take this data with these parameters: {error}"
        raise InputError("DoesNotFit", message) from error


@contextmanager
def threads_for(cells: int) -> Iterator[None]:
    """One thread for small data: starting and joining several, on CPUs that are shared, takes longer than the work.

    For large data so many as that are the same wherever a run is: sums are rounded by how they are shared out among
    threads, and with a thread a CPU another node would make another model. Forests take all CPUs all the same, a tree
    each.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits={"openmp": _threads(cells), "blas": 1}):
        yield
