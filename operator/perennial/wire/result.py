"""What a run came to. It travels in the pod's termination message (at most 4096 bytes) and stands in the manifest.

The operator never opens the store: all that it knows of a version is this.
"""

from __future__ import annotations

from typing import Literal

import msgspec

TERMINATION_MESSAGE_LIMIT = 4096

Outcome = Literal["Accepted", "Rejected", "Failed"]


class Model(msgspec.Struct, omit_defaults=True):
    """A published model: the version's folder, the digest of the model's primary file, and what serves it.

    `seal` is the sha256 of the version's manifest, which lists every other file's sha256.
    """

    uri: str
    sha256: str
    seal: str
    size: int
    engine: Literal["onnx", "sklearn"]


class Gate(msgspec.Struct, omit_defaults=True):
    """One acceptance rule as it was judged: `value` against `bound`. `interval` is where the value lies, noise
    considered, with a confidence of 95%; None where that cannot be told."""

    metric: str
    rule: Literal["min", "max"]
    bound: float
    value: float | None
    passed: bool
    interval: tuple[float, float] | None = None


class Failure(msgspec.Struct, omit_defaults=True):
    """Why a run failed, for the person who reads the status. `reason` is CamelCase."""

    reason: str
    message: str


class Rows(msgspec.Struct):
    """How many rows the run learned from and was judged on."""

    train: int
    test: int


class Result(msgspec.Struct, omit_defaults=True):
    """The outcome of one run."""

    version: int
    outcome: Outcome
    model: Model | None = None
    metrics: dict[str, float] = {}
    gates: list[Gate] = []
    rows: Rows | None = None
    trained_through: str | None = None
    failure: Failure | None = None
    notes: list[str] = []
    """What whoever reads the status should know of this version: no reference, why not ONNX, columns left out."""
