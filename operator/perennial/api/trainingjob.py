"""TrainingJob: how a model is made and when a version of it is good enough."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from .containers import OwnContainer
from .duration import Duration
from .model import Keyed, Model, Rule
from .names import DataUri, HttpUri, Identifier, ImportPath, SecretReference, StoreUri
from .percent import Percent
from .pods import EnvVar, PodOptions, Resources, VolumeName

Column = Annotated[str, MinLen(1), MaxLen(256)]


_ANY_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
"""Whether a text is a time as cron has it does not depend on when one asks."""


def _cron(text: str) -> str:
    try:
        CronSim(text, _ANY_MOMENT)
    except CronSimError as error:
        raise ValueError(
            f"{text!r} is no time as cron has it: {error}; it takes minute, hour, day, month, weekday"
        ) from error
    return text


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise ValueError(f"there is no time zone {name!r}; they are named as Europe/Berlin or UTC") from error
    return name


class Schedule(Model):
    """When runs start by the clock."""

    cron: Annotated[str, MaxLen(100), Field(pattern=r"^\S+( \S+){4}$"), AfterValidator(_cron)]
    """Minute, hour, day of the month, month and day of the week, as cron has them: "0 3 * * 1" is Monday at three."""
    time_zone: Annotated[str, MinLen(1), MaxLen(64), AfterValidator(_time_zone)] = "UTC"
    """Where that is the time: a name of the IANA database, Europe/Berlin. Changes of the clock are as cron has them: a
    time that is skipped comes right after it, one that comes twice counts once."""


class Search(Model):
    """Which of the estimator's parameters are tried, within the rows that are learned from. The best ones make the
    version."""

    metric: Identifier
    """What is the best: a metric by the names of `acceptance.metrics`, its mean over the folds."""
    space: Annotated[dict[str, Any], MinLen(1), MaxLen(50)]
    """By parameter a list of values, [3, 5, null], or a range {min: 0.01, max: 0.3, log: true}. Whole bounds give whole
    numbers; log draws as many below the geometric mean as above it."""
    method: Literal["Random", "Grid", "Halving"] = "Random"
    """Random draws; Grid takes every combination of lists; Halving draws, begins with a part of the rows, and takes the
    best third on to three times as many."""
    trials: Annotated[int, Ge(1), Le(1000)] = 20
    """How many combinations are tried at most. A grid that has more is refused."""
    folds: Annotated[int, Ge(2), Le(10)] = 3
    """Each trial is judged on so many folds, split as `data.test` says, and costs as many fits."""


class Step(Model):
    """A transformer of the pipeline."""

    transformer: ImportPath
    """Import path of the transformer: sklearn.decomposition.PCA. It has to be on the list in docs/estimators.md, or
    among the installation's own."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Its parameters, by their scikit-learn names."""


class Sklearn(Model):
    """The built-in trainer: a scikit-learn estimator with its preprocessing."""

    estimator: ImportPath
    """Import path of the estimator: sklearn.ensemble.HistGradientBoostingClassifier. It has to be on the list in
    docs/estimators.md, or among the installation's own (the chart's value `estimators`)."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """The estimator's parameters, by their scikit-learn names."""
    preprocessing: Literal["Auto", "None"] = "Auto"
    """Auto imputes, scales and encodes by column type; None passes the columns as they are."""
    steps: Annotated[tuple[Step, ...], MaxLen(10)] = ()
    """Transformers between preprocessing and estimator, in this order. Auto then imputes, scales and one-hot encodes
    for every estimator; with None the first step gets the columns themselves."""
    calibration: Literal["Sigmoid", "Isotonic"] | None = None
    """Calibrate a classifier's probabilities, so that of rows with 0.8 eight in ten are of the class: Sigmoid has two
    parameters, Isotonic any rising curve and needs a thousand rows or more. It costs five more fits."""
    search: Search | None = None
    """Find the best parameters first."""
    refit: bool = True
    """Whether, after the gate, the estimator is fitted anew on all rows, so that the newest are learned from and not
    only tested on."""


class TrainContainer(OwnContainer):
    """The container that trains."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.name != 'publisher'",
            "publisher is the operator's own container: choose another name",
            lambda container: container.name != "publisher",
        ),
    )

    name: VolumeName = "train"
    """Name of the container."""
    env: Annotated[tuple[EnvVar, ...], MaxLen(128), Keyed("name")] = ()
    """Environment variables of this container. PERENNIAL_DATA and PERENNIAL_OUTPUT say where data is and where the
    model goes, PERENNIAL_CHECKPOINT what a next attempt would find again."""


class TemplateSpec(Model):
    """The container; everything else about the pod is in `spec.pod` and `spec.resources`."""

    containers: Annotated[tuple[TrainContainer, ...], MinLen(1), MaxLen(1), Keyed("name")]
    """Exactly one container. It writes what it trained into the folder $PERENNIAL_OUTPUT and exits with 0; exit code
    64 says that its input is wrong, and is not retried."""


class Template(Model):
    """A container of your own that trains. A second one, the publisher, uploads what it left, gates it and seals the
    version."""

    spec: TemplateSpec
    """What runs."""


class TestSplit(Model):
    """How rows are held out to judge a version."""

    __test__: ClassVar[bool] = False
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.split == 'Group') == has(self.group)",
            "split Group needs group, and no other split takes it: the column whose rows stay on one side",
            lambda test: (test.split == "Group") == (test.group is not None),
        ),
    )

    fraction: Annotated[float, Gt(0), Lt(1)] = 0.25
    """The share of rows that is held out."""
    split: Literal["Random", "Time", "Group"] = "Random"
    """Random picks them by `spec.seed`, of each class its share; Time takes the newest by `data.time`; Group picks
    whole groups by `spec.seed`."""
    group: Column | None = None
    """The column that says what belongs together, a customer or a device: rows of one value are learned from or held
    out together. It is no feature unless `features` names it."""
    folds: Annotated[int, Ge(2), Le(20)] | None = None
    """Cross-validate as well, in so many folds of the same kind within the rows that are learned from: the spread of
    each metric is in the version's card and metrics. Each fold costs one more fit."""


class ColumnExpectation(Model):
    """What a column has to be like. Missing values count for `nulls` alone."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.type) || has(self.values) || has(self.min) || has(self.max) || has(self.nulls) || "
            "has(self.unique)",
            "expects nothing: give type, values, min, max, nulls or unique",
            lambda column: any(value is not None for _, value in column),
        ),
        Rule(
            "!has(self.min) || !has(self.max) || self.min <= self.max",
            "min must not be above max: no value could keep it",
            lambda column: column.min is None or column.max is None or column.min <= column.max,
        ),
        Rule(
            "!(has(self.min) || has(self.max)) || !has(self.type) || self.type == 'Number'",
            "min and max are of numbers: type must be Number, or left out",
            lambda column: (column.min is None and column.max is None) or column.type in (None, "Number"),
        ),
    )

    type: Literal["Number", "Boolean", "Text", "Date"] | None = None
    """What every value is. `min` and `max` expect numbers by themselves."""
    values: Annotated[tuple[Annotated[str, MaxLen(256)], ...], MinLen(1), MaxLen(1000), Keyed()] | None = None
    """The only values there may be. In a column of numbers or booleans they are meant as such: "1", "true"."""
    min: float | None = None
    """The least value."""
    max: float | None = None
    """The greatest value."""
    nulls: Percent | None = None
    """The greatest share of missing values: 5%."""
    unique: bool | None = None
    """Whether no value may come twice."""


class Expectations(Model):
    """What the data has to be like. A run whose rows break a rule fails with DataRejected before anything is fitted."""

    columns: Annotated[dict[str, ColumnExpectation], MinLen(1), MaxLen(500)]
    """The rules by column. A column need not be a feature."""


class Data(Model):
    """Where the rows are and what their columns mean."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.window) || has(self.time)",
            "window needs time: the column that says how old a row is",
            lambda data: data.window is None or data.time is not None,
        ),
        Rule(
            "!has(self.test) || self.test.split != 'Time' || has(self.time)",
            "test.split Time needs time: the column that orders the rows",
            lambda data: data.test.split != "Time" or data.time is not None,
        ),
        Rule(
            "!has(self.target) || !has(self.features) || !self.features.exists(f, f == self.target)",
            "features must not hold the target: the model would be given the answer",
            lambda data: data.target not in data.features,
        ),
    )

    uri: DataUri
    """The rows, as CSV or Parquet: s3://, gs://, az://, https:// or http://, pvc://claim/path, configmap://name/key.
    A path may hold `*`."""
    secret_ref: SecretReference | None = None
    """The Secret with the credentials, endpoint and region for the URI."""
    target: Column | None = None
    """The column to predict."""
    features: Annotated[tuple[Column, ...], MaxLen(2000), Keyed()] = ()
    """The columns to predict from. By default every column but `target`, `time` and `test.group`."""
    time: Column | None = None
    """The column that orders the rows: a date, a time, or a number."""
    window: Duration | None = None
    """Train on the newest rows only, so far back from the newest: 28d."""
    test: TestSplit = TestSplit()
    """How rows are held out."""
    expect: Expectations | None = None
    """What the rows (within `window`) have to be like, checked before anything is fitted."""


class MetricBound(Model):
    """A gate: the metric of the held-out rows must lie within these bounds."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.min) || has(self.max)",
            "needs min, max or both: without a bound it accepts everything",
            lambda bound: bound.min is not None or bound.max is not None,
        ),
        Rule(
            "!has(self.min) || !has(self.max) || self.min <= self.max",
            "min must not be above max: no version could pass",
            lambda bound: bound.min is None or bound.max is None or bound.min <= bound.max,
        ),
    )

    name: Identifier
    """The metric, by scikit-learn's name: roc_auc, accuracy, f1, log_loss, r2, mean_absolute_error."""
    min: float | None = None
    """The least acceptable value."""
    max: float | None = None
    """The greatest acceptable value."""


class Champion(Model):
    """The gate against the champion: the newest accepted version that no ModelDeployment has quarantined."""

    metric: Identifier
    """The metric that is compared."""
    margin: Annotated[float, Ge(0)] = 0.0
    """By how much a version may be worse, in the metric's own unit. It fails only where the held-out rows show, beyond
    noise, that it is worse by more."""


class SliceGap(Model):
    """A gate on how far a metric lies apart between the values of a column: airlines, countries, groups of people."""

    column: Column
    """The column; it need not be one of the features. Numbers of many values are sliced by their quartiles."""
    metric: Identifier
    """The metric that is compared."""
    max_gap: Annotated[float, Ge(0)]
    """The largest difference between two values that is acceptable, in the metric's own unit. The gate fails only where
    the held-out rows show, beyond noise, that a difference is larger."""


class Acceptance(Model):
    """When a version is good enough to be deployed. One that is not is kept, marked Rejected and never deployed."""

    metrics: Annotated[tuple[MetricBound, ...], MaxLen(20), Keyed("name")] = ()
    """The gates; all must pass."""
    champion: Champion | None = None
    """Refuse a version that is worse than the newest accepted one, on rows that neither has learned from. What cannot
    be compared is said (NotComparable) and left to the other gates."""
    slices: Annotated[tuple[SliceGap, ...], MaxLen(10), Keyed("column", "metric")] = ()
    """Refuse a version that serves some values of a column much worse than others."""


class Output(Model):
    """Where versions are stored."""

    uri: StoreUri
    """The root of the store: s3://, gs://, az:// or pvc://claim/path; `{namespace}` stands for the namespace. Each
    version gets a folder of its own below."""
    secret_ref: SecretReference | None = None
    """The Secret with the credentials, endpoint and region for the URI."""


class Mlflow(Model):
    """An MLflow server that is told of every version. Its outage fails no run."""

    uri: HttpUri
    """Its address, http://mlflow.mlflow:5000, with the path that it is served under, if any. The run's pod talks to it,
    once the version is sealed."""
    experiment: Annotated[str, MinLen(1), MaxLen(256)]
    """The experiment that runs are logged to; made where it does not exist."""
    secret_ref: SecretReference | None = None
    """The Secret with what the server asks for: mlflow_tracking_token, or mlflow_tracking_username and
    mlflow_tracking_password."""


class Tracking(Model):
    """Who else is told of runs and their versions."""

    mlflow: Mlflow
    """An MLflow server."""


class TrainingJobSpec(Model):
    """What is trained, on what, and when the result is good enough. A change of what affects training starts a run."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.sklearn) != has(self.template)",
            "needs exactly one of sklearn (the built-in trainer) and template (a container of your own)",
            lambda spec: (spec.sklearn is None) != (spec.template is None),
        ),
        Rule(
            "!has(self.sklearn) || has(self.data)",
            "sklearn needs data: where the rows are and which column is the target",
            lambda spec: spec.sklearn is None or spec.data is not None,
        ),
        Rule(
            "!has(self.sklearn) || !has(self.data) || has(self.data.target)",
            "sklearn needs data.target: the column to predict",
            lambda spec: spec.sklearn is None or spec.data is None or spec.data.target is not None,
        ),
        Rule(
            "!has(self.template) || !has(self.data) || "
            "!(has(self.data.window) || has(self.data.features) || has(self.data.expect))",
            "data.features, data.window and data.expect belong to sklearn: with template your container reads the data "
            "itself",
            lambda spec: (
                spec.template is None
                or spec.data is None
                or not (spec.data.window or spec.data.features or spec.data.expect)
            ),
        ),
    )

    sklearn: Sklearn | None = None
    """Train with scikit-learn, in the built-in trainer. Either this or `template`."""
    template: Template | None = None
    """Train in a container of your own. Either this or `sklearn`."""
    data: Data | None = None
    """Where the rows are and what their columns mean. With `template`, the container finds them under
    $PERENNIAL_DATA."""
    seed: Annotated[int, Ge(0), Le(4294967295)] = 0
    """Makes random choices repeatable: the same definition, data and image give the same model, byte by byte."""
    acceptance: Acceptance = Acceptance()
    """When a version is good enough to be deployed."""
    schedule: Schedule | None = None
    """Run by the clock too. A change of it starts no run."""
    output: Output | None = None
    """Where versions are stored. By default in the store of the installation, else on the claim perennial-models of
    the namespace."""
    tracking: Tracking | None = None
    """Log each version to an experiment tracker. A change of it starts no run."""
    resources: Resources = Resources(requests={"cpu": "500m", "memory": "1Gi"})
    """Compute resources of the container that trains."""
    backoff_limit: Annotated[int, Ge(0), Le(20)] = 2
    """How often a run's pod is tried again after a failure that a retry may cure. Wrong data and wrong definitions
    are not retried."""
    active_deadline_seconds: Annotated[int, Ge(1), Le(31536000)] | None = None
    """A run that takes longer fails. By default there is no limit."""
    pending_deadline_seconds: Annotated[int, Ge(1), Le(31536000)] = 600
    """A run whose pod has not started by then fails, with the scheduler's or the node's own reason."""
    max_runs_per_day: Annotated[int, Ge(1), Le(1000)] = 24
    """How many runs may start by themselves within 24 hours; a trigger beyond that waits. `perennial.dev/run` is not
    held."""
    version_history_limit: Annotated[int, Ge(1), Le(100)] = 10
    """How many finished runs are remembered; a version that is served or a rollback target is never dropped."""
    suspend: bool = False
    """True starts no run; one that is going on ends by itself."""
    pod: PodOptions = PodOptions()
    """How the run's pods are made. With `template`, a change of `env` or `volumes` starts a run."""
