"""Which estimators a TrainingJob may name: scikit-learn's of this list, and what an installation allows beside them.

The operator refuses others before a run is made, the trainer before it imports anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

ESTIMATORS_ENV = "PERENNIAL_ESTIMATORS"
"""Import paths of what the installation allows beside the list, by commas: a variable of the operator and its pods."""

BOOSTERS = ("lightgbm", "xgboost")
"""Libraries whose models are kept as ONNX and in their own text, and served as ONNX only."""

_BY_MODULE = {
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
BUILT_IN = tuple(f"{module}.{name}" for module, names in _BY_MODULE.items() for name in names.split())


_TRANSFORMERS = {
    "sklearn.decomposition": "FactorAnalysis FastICA KernelPCA PCA TruncatedSVD",
    "sklearn.feature_selection": "SelectFdr SelectFpr SelectFwe SelectKBest SelectPercentile VarianceThreshold",
    "sklearn.impute": "KNNImputer MissingIndicator SimpleImputer",
    "sklearn.kernel_approximation": "Nystroem RBFSampler",
    "sklearn.preprocessing": "Binarizer KBinsDiscretizer MaxAbsScaler MinMaxScaler Normalizer PolynomialFeatures "
    "PowerTransformer QuantileTransformer RobustScaler StandardScaler",
}
TRANSFORMERS = tuple(f"{module}.{name}" for module, names in _TRANSFORMERS.items() for name in names.split())


def refusal(path: str, further: Sequence[str]) -> str | None:
    """Why the estimator may not be named, None where it is on the list or among the `further` ones."""
    return _refusal("spec.sklearn.estimator", path, "estimators", [*BUILT_IN, *further])


def transformer_refusal(paths: Sequence[str], further: Sequence[str]) -> str | None:
    """The same for the transformers of `spec.sklearn.steps`: why the first that may not be named is refused."""
    for place, path in enumerate(paths):
        field = f"spec.sklearn.steps[{place}].transformer"
        if why := _refusal(field, path, "transformers", [*TRANSFORMERS, *further]):
            return why
    return None


def _refusal(field: str, path: str, what: str, allowed: Sequence[str]) -> str | None:
    if path in allowed:
        return None
    close = _close(path, allowed)
    return (
        f"{field}: {path} is not on the list of {what}{f'; did you mean {close}?' if close else ''} "
        "(the list: docs/estimators.md; the platform team extends it by the chart's value `estimators`)"
    )


def _close(path: str, allowed: Sequence[str]) -> str | None:
    """People misplace the module more often than the class."""
    name = path.rpartition(".")[2]
    same = [candidate for candidate in allowed if candidate.rpartition(".")[2] == name]
    return next(iter(same or get_close_matches(path, allowed, n=1)), None)
