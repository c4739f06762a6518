"""LightGBM and XGBoost, which an installation may allow: where the trainer has to treat them otherwise.

What they have learned is published as ONNX, exactly, and beside it in their own text, which people can load with the
library and which nothing here ever loads.
"""

from __future__ import annotations

from typing import Any

from perennial.runtime.failures import InputError
from perennial.wire.estimators import BOOSTERS
from perennial.wire.manifest import LIGHTGBM_FILE, XGBOOST_FILE

_XGBOOST_PASSES_ON = (
    "huber_slope max_cached_hist_node normalize_type one_drop quantile_alpha rate_drop sample_type skip_drop "
    "tweedie_variance_power"
)
"""Parameters of its training that its scikit-learn classes take without naming them."""
_CATEGORIES = {
    "lightgbm": ("categorical_column", "categorical_feature", "categorical_features", "cat_column", "cat_feature"),
    "xgboost": ("feature_types",),
}
"""Parameters that say which columns are categories."""
_REPEATABLE = {"deterministic": True, "force_row_wise": True, "verbosity": -1}


def is_booster(path: str) -> bool:
    """Whether an import path leads into one of the two libraries."""
    return path.partition(".")[0] in BOOSTERS


def library_of(kind: type) -> str | None:
    """The library of an estimator's class where it is one of the two."""
    library = kind.__module__.partition(".")[0]
    return library if library in BOOSTERS else None


def booster_in(fitted: Any) -> Any | None:
    """The LightGBM or XGBoost estimator in a pipeline's last step, through calibration and classes by name."""
    if hasattr(fitted, "calibrated_classifiers_"):
        return booster_in(fitted.calibrated_classifiers_[0].estimator)
    inner = getattr(fitted, "estimator_", fitted)
    return inner if library_of(type(inner)) else None


def own_form(booster: Any) -> dict[str, bytes]:
    """The booster in its library's own text, by file name."""
    if library_of(type(booster)) == "lightgbm":
        return {LIGHTGBM_FILE: booster.booster_.model_to_string().encode()}
    return {XGBOOST_FILE: bytes(booster.get_booster().save_raw("json"))}


def parameters_of(kind: type) -> list[str] | None:
    """What they take by name, for classes that take anything and pass it on."""
    library = library_of(kind)
    if library is None:
        return None
    known: list[str] = list(kind().get_params())
    if library == "xgboost":
        return known + _XGBOOST_PASSES_ON.split()
    from lightgbm.basic import _ConfigAliases

    aliases = _ConfigAliases._get_all_param_aliases()
    return [*known, *aliases, *(alias for others in aliases.values() for alias in others)]


def repeatable(kind: type) -> dict[str, Any]:
    """What makes LightGBM the same on any number of threads, and keeps its running commentary out of the log."""
    return _REPEATABLE if library_of(kind) == "lightgbm" else {}


def use_categories(estimator: Any, numbers: int, texts: int) -> None:
    """Let a booster split the columns after the first `numbers` by category. Raises InputError where the definition
    says itself which columns are categories."""
    inner = getattr(estimator, "estimator", estimator)
    library = library_of(type(inner))
    if library is None or inner.get_params().get("tree_method") == "exact":
        return  # XGBoost's exact method takes codes for numbers.
    names = _CATEGORIES[library]
    if given := [name for name, value in inner.get_params().items() if name in names and value is not None]:
        raise InputError(
            "InvalidParameters",
            f"spec.sklearn.parameters.{given[0]}: preprocessing Auto sets it by the columns' types: leave it out",
        )
    if library == "lightgbm":
        inner.set_params(categorical_column=list(range(numbers, numbers + texts)))
    else:
        inner.set_params(enable_categorical=True, feature_types=["q"] * numbers + ["c"] * texts)


def with_classes(estimator: Any) -> Any:
    """The estimator; XGBoost's classifiers, which know numbers only, with classes by any name."""
    from sklearn.base import is_classifier

    if library_of(type(estimator)) != "xgboost" or not is_classifier(estimator):
        return estimator
    from .coded_classes import CodedClasses

    return CodedClasses(estimator)
