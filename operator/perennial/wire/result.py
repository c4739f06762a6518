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
    """One acceptance rule as it was judged: `value` against `bound`.

    The value is the metric for `min` and `max`; for `champion` by how much the metric is worse than the champion's,
    negative where it is better; for `slice` how far it lies apart between two values of a column. `interval` is where
    the value lies, noise considered, with a confidence of 95%; None where that cannot be told. `note` says what was
    compared, or begins with NotComparable and says why nothing was.
    """

    metric: str
    rule: Literal["min", "max", "champion", "slice"]
    bound: float
    value: float | None
    passed: bool
    interval: tuple[float, float] | None = None
    note: str | None = None

    @property
    def told(self) -> str:
        """The value and what is asked for, for a person."""
        if self.value is None:
            return f"{self.metric} {self.note or 'is not computable'}, {self._asked}"
        low, high = self.interval or (self.value, self.value)
        between = f" ({low:.4g} to {high:.4g})" if self.interval else ""
        if self.rule == "slice":
            return f"{self.metric} differs by {self.value:.4g}{between} between {self.note}, {self._asked}"
        if self.rule == "champion":
            worse = f"{self.metric} is {self.value:.4g} worse{between} than"
            return f"{worse} that of {self.note}, {self._asked}"
        close = "; the held-out rows are too few to tell the two apart" if low <= self.bound <= high else ""
        return f"{self.metric} is {self.value:.6g}{between}, {self._asked}{close if self.interval else ''}"

    @property
    def _asked(self) -> str:
        if self.rule in ("champion", "slice"):
            return f"{self.bound:g} is allowed"
        return f"{'at least' if self.rule == 'min' else 'at most'} {self.bound:g} is asked for"


class Failure(msgspec.Struct, omit_defaults=True):
    """Why a run failed, for the person who reads the status. `reason` is CamelCase."""

    reason: str
    message: str


class Rows(msgspec.Struct):
    """How many rows the run learned from and was judged on."""

    train: int
    test: int


class Searched(msgspec.Struct):
    """What a search found: the mean `score` of the best of the `trials` over the folds, and its parameters as text."""

    metric: str
    score: float
    trials: int
    parameters: str


class Tracked(msgspec.Struct, omit_defaults=True):
    """What a tracker has of the run: the id that it goes by there, and why it is not there, or not whole."""

    run: str | None = None
    problem: str | None = None


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
    search: Searched | None = None
    tracked: Tracked | None = None
    """Never in a manifest: a version is sealed before anyone is told of it."""
    notes: list[str] = []
    """What whoever reads the status should know of this version: no reference, why not ONNX, columns left out."""
