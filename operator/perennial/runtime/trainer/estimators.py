"""Which estimators a TrainingJob may name, and their construction from its parameters, with messages that name the
field."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import Any

from perennial.runtime.skops import extra_types
from perennial.wire.run import Sklearn

from .failures import InputError, hint
from .target import Task

_ALLOWED = {
    "sklearn.calibration": "CalibratedClassifierCV",
    "sklearn.discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    "sklearn.dummy": "DummyClassifier DummyRegressor",
    "sklearn.ensemble": "AdaBoostClassifier AdaBoostRegressor BaggingClassifier BaggingRegressor ExtraTreesClassifier "
    "ExtraTreesRegressor GradientBoostingClassifier GradientBoostingRegressor HistGradientBoostingClassifier "
    "HistGradientBoostingRegressor RandomForestClassifier RandomForestRegressor",
    "sklearn.gaussian_process": "GaussianProcessClassifier GaussianProcessRegressor",
    "sklearn.kernel_ridge": "KernelRidge",
    "sklearn.linear_model": "ARDRegression BayesianRidge ElasticNet ElasticNetCV GammaRegressor HuberRegressor Lars "
    "LarsCV Lasso LassoCV LassoLars LassoLarsCV LassoLarsIC LinearRegression LogisticRegression LogisticRegressionCV "
    "OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV Perceptron PoissonRegressor QuantileRegressor Ridge RidgeCV "
    "RidgeClassifier RidgeClassifierCV SGDClassifier SGDRegressor TheilSenRegressor TweedieRegressor",
    "sklearn.naive_bayes": "BernoulliNB ComplementNB GaussianNB MultinomialNB",
    "sklearn.neighbors": "KNeighborsClassifier KNeighborsRegressor NearestCentroid RadiusNeighborsClassifier "
    "RadiusNeighborsRegressor",
    "sklearn.neural_network": "MLPClassifier MLPRegressor",
    "sklearn.svm": "LinearSVC LinearSVR NuSVC NuSVR SVC SVR",
    "sklearn.tree": "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor",
}
ALLOWED = tuple(f"{module}.{name}" for module, names in _ALLOWED.items() for name in names.split())

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
    allowed = [*ALLOWED, *extra_types()]
    if path not in allowed:
        raise InputError(
            "EstimatorNotAllowed", f"{_FIELD}: {path} is not on the list of estimators{_close(path, allowed)}"
        )
    estimator_class = _imported(path)
    estimator = _construct(estimator_class, sklearn.parameters, seed, cpus)
    return Chosen(path, _task(path, estimator), estimator)


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
    known = [name for name in inspect.signature(estimator_class).parameters if name != "self"]
    for name in parameters:
        if name not in known:
            raise InputError("InvalidParameters", f"{_PARAMETERS}.{name}: unknown{hint(name, known)}")
    estimator = estimator_class(**parameters)
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


def _close(path: str, allowed: list[str]) -> str:
    """People misplace the module more often than the class."""
    name = path.rpartition(".")[2]
    same = [candidate for candidate in allowed if candidate.rpartition(".")[2] == name]
    return f"; did you mean {same[0]}?" if same else hint(path, allowed)
