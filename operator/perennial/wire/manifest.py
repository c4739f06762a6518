"""The sealed manifest of a version: `manifest.json`, written last; a folder without one is not a version.

It lists every file's digest, says which one is served and why, and holds the run's Result. Its own digest, the seal, is
what the operator keeps: whoever holds the seal can check everything below it.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from .result import Result

MANIFEST_FILE = "manifest.json"
SKOPS_FILE = "model.skops"
LIGHTGBM_FILE = "model.lightgbm.txt"
XGBOOST_FILE = "model.xgboost.json"
ONNX_FILE = "model.onnx"
REFERENCE_FILE = "reference.json"
EXPECTATIONS_FILE = "expectations.json"
CARD_FILE = "card.md"
METRICS_FILE = "metrics.json"
SEARCH_FILE = "search.json"
LINEAGE_FILE = "lineage.json"
ANSWERS_FILE = "answers.npz"
ATTRIBUTIONS_FILE = "attributions.msgpack"

FORMAT = "perennial.dev/model/v1"


class File(msgspec.Struct):
    """A file of the version's folder: sha256 as 64 hexadecimal digits, size in bytes."""

    sha256: str
    size: int


class Agreement(msgspec.Struct):
    """How the ONNX model compared with scikit-learn on held-out rows and on rows made to be hard.

    `difference` is the largest one of a probability (absolute) or of a prediction (relative to 1 + its size).
    """

    rows: int
    labels_different: int
    difference: float


Quantity = Literal[
    "prediction",
    "log_prediction",
    "probability",
    "decision_function",
    "uncalibrated_probability",
    "uncalibrated_decision_function",
]
"""What attributions and their base value add up to, by scikit-learn's names. Of two classes there is one, the second's;
of more there is one a class. `log_prediction` is the logarithm of the prediction. What is uncalibrated is the
classifier's own, before the curve that calibrates it."""


class ModelFile(msgspec.Struct, omit_defaults=True):
    """`file` is what `engine` loads; `primary` the file whose digest is the model's identity.

    `why` says why scikit-learn serves where ONNX does not. `attributed` is what attributions are of, where the version
    has what they are computed from; else `not_attributed` says why not.
    """

    primary: str
    sha256: str
    file: str
    engine: Literal["onnx", "sklearn"]
    why: str | None = None
    agreement: Agreement | None = None
    attributed: Quantity | None = None
    not_attributed: str | None = None


class Manifest(msgspec.Struct, omit_defaults=True):
    """A version. `result.model.seal` is empty in here (a digest can not hold itself): `open_manifest` fills it in."""

    format: str
    namespace: str
    name: str
    uid: str
    version: int
    definition: str
    files: dict[str, File]
    model: ModelFile
    result: Result


class SealError(ValueError):
    """The manifest, or a file that it lists, is not what it must be."""


def seal_of(data: bytes) -> str:
    """The seal of a manifest: sha256 of its bytes."""
    return hashlib.sha256(data).hexdigest()


def open_manifest(data: bytes, seal: str | None = None) -> Manifest:
    """The manifest in `data`, with its seal filled in. Raises SealError where it has not the given seal or is none."""
    actual = seal_of(data)
    if seal is not None and seal != actual:
        raise SealError(f"{MANIFEST_FILE} has sha256 {actual} and must have {seal}: it was changed after publication")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise SealError(f"{MANIFEST_FILE} is no manifest: {error}") from error
    if manifest.format != FORMAT:
        raise SealError(f"{MANIFEST_FILE} has format {manifest.format!r}; this release reads {FORMAT!r}")
    if manifest.result.model is not None:
        manifest.result.model.seal = actual
    return manifest


def check_file(manifest: Manifest, name: str, data: bytes) -> None:
    """Raises SealError where `data` is not the listed file `name`."""
    listed = manifest.files[name].sha256
    actual = hashlib.sha256(data).hexdigest()
    if actual != listed:
        raise SealError(f"{name} has sha256 {actual} and must have {listed}: it was changed after publication")
