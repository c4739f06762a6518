"""Which estimators a TrainingJob may name, and their construction from its parameters, with messages that name the
field."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import Any

from perennial.runtime import skops
from perennial.wire.estimators import refusal
from perennial.wire.run import Sklearn

from . import boosters
from .failures import InputError, hint
from .target import Task

_FIELD = "spec.sklearn.estimator"
_PARAMETERS = "spec.sklearn.parameters"


@dataclass(frozen=True, slots=True)
class Chosen:
    """An estimator that was constructed but not fitted, and what it is for."""

    path: str
    task: Task
    estimator: Any


def choose(sklearn: Sklearn, seed: int, cpus: int) -> Chosen:
    """The estimator of the definition, with seed and threads set. Raises InputError."""
    path = sklearn.estimator
    if (why := refusal(path, skops.further())) is not None:
        raise InputError("EstimatorNotAllowed", why)
    estimator = _construct(_imported(path), sklearn.parameters, seed, cpus)
    return Chosen(path, _task(path, estimator), boosters.with_classes(estimator))


def own_seed(estimator: Any, seed: int) -> None:
    """Give the estimator, and each that it holds, the run's seed where the definition sets none."""
    unset = [name for name, value in estimator.get_params().items() if _is_seed(name) and value is None]
    estimator.set_params(**dict.fromkeys(unset, seed))


def _is_seed(name: str) -> bool:
    return name.rpartition("__")[2] == "random_state"


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError("EstimatorNotAllowed", f"{_FIELD}: {path} is not in this image: {error}") from error


def _construct(estimator_class: Any, parameters: dict[str, Any], seed: int, cpus: int) -> Any:
    known = boosters.parameters_of(estimator_class) or list(inspect.signature(estimator_class).parameters)
    for name in parameters:
        if name not in known:
            raise InputError("InvalidParameters", f"{_PARAMETERS}.{name}: unknown{hint(name, known)}")
    estimator = estimator_class(**{**boosters.repeatable(estimator_class), **parameters})
    own_seed(estimator, seed)
    if "n_jobs" in known:
        estimator.set_params(n_jobs=cpus)
    check(estimator)
    return estimator


def check(estimator: Any) -> None:
    """Raises InputError where a parameter's value is none that the estimator takes."""
    if not hasattr(estimator, "_parameter_constraints"):
        return
    try:
        estimator._validate_params()
    except ValueError as error:
        raise InputError("InvalidParameters", f"{_PARAMETERS}: {error}") from error


def _task(path: str, estimator: Any) -> Task:
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(estimator):
        return "classification"
    if is_regressor(estimator):
        return "regression"
    raise InputError("EstimatorNotAllowed", f"{_FIELD}: {path} is neither a classifier nor a regressor")
