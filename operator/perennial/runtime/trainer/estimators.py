"""Which estimators a TrainingJob may name, and their construction from its parameters, with messages that name the
field."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, field
from typing import Any

from perennial.runtime import skops
from perennial.runtime.failures import InputError, hint
from perennial.wire.estimators import refusal, transformer_refusal
from perennial.wire.run import Sklearn, Step

from . import boosters
from .target import Task

_FIELD = "spec.sklearn.estimator"
_PARAMETERS = "spec.sklearn.parameters"
_STEPS = "spec.sklearn.steps"


@dataclass(frozen=True, slots=True)
class Chosen:
    """An estimator that was constructed but not fitted, what it is for, and the transformers before it."""

    path: str
    task: Task
    estimator: Any
    steps: list[Any] = field(default_factory=list)


def choose(sklearn: Sklearn, seed: int, cpus: int) -> Chosen:
    """The estimator of the definition, with seed and threads set. Raises InputError."""
    path = sklearn.estimator
    further = skops.further()
    named = [step.transformer for step in sklearn.steps]
    if (why := refusal(path, further) or transformer_refusal(named, further)) is not None:
        raise InputError("EstimatorNotAllowed", why)
    estimator = _construct(_imported(path, _FIELD), sklearn.parameters, _PARAMETERS, seed, cpus)
    task = _task(path, estimator)
    steps = [_step(step, task, f"{_STEPS}[{place}]", seed, cpus) for place, step in enumerate(sklearn.steps)]
    return Chosen(path, task, boosters.with_classes(estimator), steps)


def _step(step: Step, task: Task, field: str, seed: int, cpus: int) -> Any:
    found = _imported(step.transformer, f"{field}.transformer")
    transformer = _construct(found, step.parameters, f"{field}.parameters", seed, cpus)
    if not hasattr(transformer, "transform"):
        raise InputError("EstimatorNotAllowed", f"{field}.transformer: {step.transformer} is no transformer")
    if task == "regression" and "score_func" in transformer.get_params():
        from sklearn.feature_selection import f_regression

        transformer.set_params(score_func=f_regression)
    return transformer


def own_seed(estimator: Any, seed: int) -> None:
    """Give the estimator, and each that it holds, the run's seed where the definition sets none."""
    unset = [name for name, value in estimator.get_params().items() if _is_seed(name) and value is None]
    estimator.set_params(**dict.fromkeys(unset, seed))


def _is_seed(name: str) -> bool:
    return name.rpartition("__")[2] == "random_state"


def _imported(path: str, field: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError("EstimatorNotAllowed", f"{field}: {path} is not in this image: {error}") from error


def _construct(estimator_class: Any, parameters: dict[str, Any], field: str, seed: int, cpus: int) -> Any:
    known = boosters.parameters_of(estimator_class) or list(inspect.signature(estimator_class).parameters)
    for name in parameters:
        if name not in known:
            raise InputError("InvalidParameters", f"{field}.{name}: unknown{hint(name, known)}")
    estimator = estimator_class(**{**boosters.repeatable(estimator_class), **parameters})
    own_seed(estimator, seed)
    if "n_jobs" in known:
        estimator.set_params(n_jobs=cpus)
    check(estimator, field)
    return estimator


def check(estimator: Any, field: str) -> None:
    """Raises InputError where a parameter's value is none that the estimator takes."""
    if not hasattr(estimator, "_parameter_constraints"):
        return
    try:
        estimator._validate_params()
    except ValueError as error:
        raise InputError("InvalidParameters", f"{field}: {error}") from error


def _task(path: str, estimator: Any) -> Task:
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(estimator):
        return "classification"
    if is_regressor(estimator):
        return "regression"
    raise InputError("EstimatorNotAllowed", f"{_FIELD}: {path} is neither a classifier nor a regressor")
