"""Where a version comes from: data with digests, definition, image, libraries, seed; what it takes to make it again."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from perennial.wire.run import Run, Sklearn

from .table import Table

_LIBRARIES = (
    "perennial",
    "scikit-learn",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "skops",
    "onnx",
    "onnxruntime",
    "lightgbm",
    "xgboost-cpu",
)


def of_run(run: Run, started: datetime) -> dict[str, object]:
    """What is true of any run."""
    return {
        "trainingJob": {"namespace": run.namespace, "name": run.name, "uid": run.uid},
        "version": run.version,
        "trigger": run.trigger,
        "definition": run.definition,
        "image": run.image,
        "run": _shown_run(run),
        "seed": run.seed,
        "startedAt": _shown(started),
        "finishedAt": _shown(datetime.now(UTC)),
        "python": platform.python_version(),
        "platform": platform.machine(),
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
    }


def of_table(run: Run, table: Table) -> dict[str, object]:
    """What was learned from."""
    return {
        "data": {
            "uri": shown_uri(run.data.uri) if run.data else None,
            "sha256": table.digest,
            "rows": table.rows,
            "files": [
                {"name": origin.name, "sha256": origin.sha256, "size": origin.size, "rows": origin.rows}
                for origin in table.origins
            ],
            "features": {feature.name: feature.kind for feature in table.features},
            "leftOut": table.left_out,
        }
    }


def of_estimator(sklearn: Sklearn, fitted: Any) -> dict[str, object]:
    """The estimator with all parameters, defaults included: the next release's may differ."""
    estimator = fitted if sklearn.calibration is None else fitted.estimator
    return {
        "estimator": sklearn.estimator,
        "parameters": {name: _plain(value) for name, value in estimator.get_params().items()},
        "calibration": sklearn.calibration,
    }


def _shown_run(run: Run) -> Run:
    """All that the run was told, with which it can be run again; without the signature of a signed URL."""
    if run.data is None:
        return run
    return msgspec.structs.replace(run, data=msgspec.structs.replace(run.data, uri=shown_uri(run.data.uri)))


def shown_uri(uri: str) -> str:
    """Without what follows a question mark: of a URL that is signed it is a secret."""
    return uri.partition("?")[0] if uri.startswith(("http://", "https://")) else uri


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _shown(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
