"""The pipeline around an estimator: what `preprocessing: Auto` does to each kind of column, and what None demands.

Everything is scikit-learn's own transformers, so that the fitted pipeline loads wherever scikit-learn and skops are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from perennial.runtime.failures import InputError
from perennial.wire.schema import Feature

from . import boosters
from .estimators import Chosen

if TYPE_CHECKING:
    import pandas as pd

MAX_ORDINAL = 255
"""Histogram gradient boosting takes so many categories; the rarer ones beyond share a code."""
MAX_ONE_HOT = 64

_TREES = ("sklearn.tree.", "sklearn.ensemble.", "lightgbm.", "xgboost.")
_NATIVE_CATEGORIES = "sklearn.ensemble.HistGradientBoosting"


def pipeline(
    chosen: Chosen, features: Sequence[Feature], preprocessing: Literal["Auto", "None"], rows: pd.DataFrame
) -> Any:
    """The unfitted pipeline that takes a DataFrame of the features by name. Raises InputError."""
    from sklearn.pipeline import Pipeline

    steps = [(f"step{place}", step) for place, step in enumerate(chosen.steps)]
    if preprocessing == "None":
        _refuse_unfit(chosen, features, rows)
        return Pipeline([*steps, ("model", chosen.estimator)])
    return Pipeline([("columns", _columns(chosen, features)), *steps, ("model", chosen.estimator)])


def _columns(chosen: Chosen, features: Sequence[Feature]) -> Any:
    from sklearn.compose import ColumnTransformer

    numbers = [feature.name for feature in features if feature.kind != "categorical"]
    texts = [feature.name for feature in features if feature.kind == "categorical"]
    parts: list[tuple[str, Any, list[str]]] = []
    if numbers:
        parts.append(("numbers", _for_numbers(chosen), numbers))
    if texts:
        parts.append(("texts", _for_texts(chosen, len(numbers), len(texts)), texts))
    return ColumnTransformer(parts, sparse_threshold=0.0, verbose_feature_names_out=False)


def _for_numbers(chosen: Chosen) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    if _are_seen_by_trees(chosen) and _takes_missing(chosen.estimator):
        return "passthrough"
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    if _are_seen_by_trees(chosen):
        return impute
    return Pipeline([("impute", impute), ("scale", StandardScaler())])


def _are_seen_by_trees(chosen: Chosen) -> bool:
    """Trees take columns as they are, and codes; transformers in between take what other estimators do."""
    return chosen.path.startswith(_TREES) and not chosen.steps


def _for_texts(chosen: Chosen, first: int, count: int) -> Any:
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    if not _are_seen_by_trees(chosen):
        return OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MAX_ONE_HOT, sparse_output=False)
    boosters.use_categories(chosen.estimator, first, count)
    native = chosen.path.startswith(_NATIVE_CATEGORIES)
    limit = MAX_ORDINAL
    if native:
        _use_native_categories(chosen.estimator, first, count)
        limit = min(limit, chosen.estimator.max_bins)
    return OrdinalEncoder(
        handle_unknown="use_encoded_value",
        # A category never seen goes the way of a missing one, where the estimator has such a way.
        unknown_value=np.nan if native else -1,
        max_categories=limit,
    )


def _use_native_categories(estimator: Any, first: int, count: int) -> None:
    if estimator.get_params()["categorical_features"] != "from_dtype":
        raise InputError(
            "InvalidParameters",
            "spec.sklearn.parameters.categorical_features: preprocessing Auto sets it by the columns' types: leave it "
            "out",
        )
    estimator.set_params(categorical_features=list(range(first, first + count)))


def _takes_missing(estimator: Any) -> bool:
    from sklearn.utils import get_tags

    return bool(get_tags(estimator).input_tags.allow_nan)


def _refuse_unfit(chosen: Chosen, features: Sequence[Feature], rows: pd.DataFrame) -> None:
    """Preprocessing None passes columns as they are: estimators take numbers, and most take no missing ones."""
    for feature in features:
        if feature.kind == "categorical":
            raise InputError(
                "NotANumber",
                f"column {feature.name!r} holds texts, and spec.sklearn.preprocessing None passes columns as they are: "
                "use Auto, or leave it out of data.features",
            )
        missing = int(rows[feature.name].isna().sum())
        if missing and not chosen.steps and not _takes_missing(chosen.estimator):
            name = chosen.path.rpartition(".")[2]
            raise InputError(
                "ValuesMissing",
                f"column {feature.name!r} has {missing} missing values, which {name} does not take: "
                "spec.sklearn.preprocessing Auto imputes them",
            )
