"""A training run as its pod receives it: the whole definition, frozen by the operator when the run was made."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Search(msgspec.Struct, omit_defaults=True):
    """What is tried of the estimator's parameters: by name a list of values, or a range {min, max, log}."""

    metric: str
    space: dict[str, Any]
    method: Literal["Random", "Grid", "Halving"] = "Random"
    trials: int = 20
    folds: int = 3


class Step(msgspec.Struct, omit_defaults=True):
    """A transformer between preprocessing and estimator."""

    transformer: str
    parameters: dict[str, Any] = {}


class Sklearn(msgspec.Struct, omit_defaults=True):
    """The built-in trainer's part: an estimator of the allow-list and its parameters."""

    estimator: str
    parameters: dict[str, Any] = {}
    preprocessing: Literal["Auto", "None"] = "Auto"
    calibration: Literal["Sigmoid", "Isotonic"] | None = None
    search: Search | None = None
    steps: list[Step] = []


class Test(msgspec.Struct, omit_defaults=True):
    """How rows are held out: a fraction of them, at random, the newest by time, or whole groups. `folds` of the rest
    cross-validate."""

    fraction: float = 0.25
    split: Literal["Random", "Time", "Group"] = "Random"
    group: str | None = None
    folds: int | None = None


class Expectation(msgspec.Struct, omit_defaults=True):
    """What a column has to be like; `nulls` is the greatest share of missing values, from 0 to 1."""

    type: Literal["Number", "Boolean", "Text", "Date"] | None = None
    values: list[str] | None = None
    min: float | None = None
    max: float | None = None
    nulls: float | None = None
    unique: bool = False


class Data(msgspec.Struct, omit_defaults=True):
    """Where rows come from and what they mean. `window_seconds` keeps the newest rows by `time`."""

    uri: str
    target: str
    features: list[str] = []
    time: str | None = None
    window_seconds: int | None = None
    test: Test = msgspec.field(default_factory=Test)
    expect: dict[str, Expectation] = {}


class Bound(msgspec.Struct, omit_defaults=True):
    """A gate on one metric of the held-out rows."""

    name: str
    min: float | None = None
    max: float | None = None


class Accepted(msgspec.Struct):
    """A version that was accepted before this run was made: its folder, its model's digest and its seal."""

    version: int
    uri: str
    sha256: str
    seal: str


class Champion(msgspec.Struct, omit_defaults=True):
    """The gate against the newest accepted version; `against` is None where there is none."""

    metric: str
    margin: float = 0.0
    against: Accepted | None = None


class Slices(msgspec.Struct):
    """A gate on how far a metric lies apart between the values of a column."""

    column: str
    metric: str
    max_gap: float


class Mlflow(msgspec.Struct):
    """The MLflow server that is told of the version, and the experiment there."""

    uri: str
    experiment: str


class Container(msgspec.Struct, omit_defaults=True):
    """An own container, as far as it can be told to everyone: its environment may hold what is secret."""

    image: str
    command: list[str] = []
    args: list[str] = []


class Run(msgspec.Struct, omit_defaults=True):
    """One run of a TrainingJob. `store` is the root URI, `path` the version's folder below it.

    `before` is the newest accepted version, quarantined ones aside. `sklearn` is None for an own container: the
    publisher then takes what `container` left in the output folder.
    """

    namespace: str
    name: str
    uid: str
    version: int
    store: str
    path: str
    image: str
    definition: str
    trigger: str
    data: Data | None = None
    sklearn: Sklearn | None = None
    container: Container | None = None
    seed: int = 0
    refit: bool = True
    metrics: list[Bound] = []
    champion: Champion | None = None
    before: Accepted | None = None
    slices: list[Slices] = []
    mlflow: Mlflow | None = None
