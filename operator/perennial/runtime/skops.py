"""scikit-learn models as files: written byte-reproducibly, read with a static list of trusted types. No pickle.

skops names a file's members after memory addresses and stamps them with the time; `dump` renames them in order of use
and drops the time, so that equal models are equal bytes. `load` never trusts what a file says of itself: only public
scikit-learn estimators, the types below, each of which was looked at, and those that the installation allows are ever
instantiated. A booster of LightGBM or XGBoost is none of them: its state goes to a parser in C++ that was not made for
what strangers wrote.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import zipfile
from contextlib import suppress
from typing import Any

from perennial.wire.estimators import BOOSTERS, ESTIMATORS_ENV

TRUSTED = (
    "functools.partial",  # Of what skops finds inside of it, which must be in this list itself.
    "numpy.dtype",
    "sklearn._loss.loss.AbsoluteError",
    "sklearn._loss.loss.ExponentialLoss",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfGammaLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfPoissonLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn._loss.loss.HuberLoss",
    "sklearn._loss.loss.PinballLoss",
    "sklearn._loss.link.HalfLogitLink",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogLink",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.CompoundKernel",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.DotProduct",
    "sklearn.gaussian_process.kernels.Exponentiation",
    "sklearn.gaussian_process.kernels.ExpSineSquared",
    "sklearn.gaussian_process.kernels.Matern",
    "sklearn.gaussian_process.kernels.PairwiseKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.RationalQuadratic",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
)

_SCHEMA = "schema.json"
_NO_TIME = (1980, 1, 1, 0, 0, 0)


class UntrustedModelError(ValueError):
    """The file holds types that are not on the list, or is no skops file."""


def dump(model: Any) -> bytes:
    """The model as a skops file; equal models give equal bytes."""
    from skops import io as skops_io

    return _canonical(skops_io.dumps(model))


def load(data: bytes) -> Any:
    """The model in a skops file. Raises UntrustedModelError where it is none or holds a type that is not trusted."""
    from skops import io as skops_io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops_io.loads(data, trusted=[*TRUSTED, *_further_types()])
    except UntrustedTypesFoundException as error:
        raise UntrustedModelError(f"the skops file holds types that are not trusted: {error}") from error
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError) as error:
        raise UntrustedModelError(f"this is no skops file: {error}") from error


def further() -> tuple[str, ...]:
    """The import paths that the installation allows beside scikit-learn's own estimators."""
    given = os.environ.get(ESTIMATORS_ENV, "")
    return tuple(path.strip() for path in given.split(",") if path.strip())


def _further_types() -> list[str]:
    """The same, of those that this image has, by the modules that define them: a file names its types so."""
    types = []
    for path in further():
        module, _, name = path.rpartition(".")
        if module.partition(".")[0] in BOOSTERS:
            continue
        with suppress(ImportError, AttributeError):
            found = getattr(importlib.import_module(module), name)
            types.append(f"{found.__module__}.{found.__qualname__}")
    return types


def _canonical(data: bytes) -> bytes:
    """The same skops file with members and ids numbered in order of use, without times."""
    source = zipfile.ZipFile(io.BytesIO(data))
    schema = json.loads(source.read(_SCHEMA))
    names: dict[str, str] = {}
    _renumber(schema, names, {})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for old, new in names.items():
            _add(target, new, source.read(old))
        _add(target, _SCHEMA, json.dumps(schema, sort_keys=True).encode())
    return out.getvalue()


def _renumber(node: Any, names: dict[str, str], ids: dict[int, int]) -> None:
    if isinstance(node, list):
        for item in node:
            _renumber(item, names, ids)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "__id__":
            node[key] = ids.setdefault(value, len(ids))
        elif key == "file" and isinstance(value, str):
            node[key] = names.setdefault(value, f"{len(names)}{os.path.splitext(value)[1]}")
        else:
            _renumber(value, names, ids)


def _add(target: zipfile.ZipFile, name: str, data: bytes) -> None:
    target.writestr(zipfile.ZipInfo(name, _NO_TIME), data, compress_type=zipfile.ZIP_DEFLATED)
