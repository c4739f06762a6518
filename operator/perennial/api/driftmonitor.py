"""DriftMonitor: what counts as a change worth knowing of, and what is done about it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import Field

from .duration import Duration
from .model import Keyed, Model, Rule, Satisfies
from .names import DataUri, ResourceName, SecretReference
from .percent import Percent
from .pods import PodOptions, Resources
from .trainingjob import Column


class Window(Model):
    """How what is served is cut into windows: one closes when both are reached."""

    min_rows: Annotated[int, Ge(10), Le(10000000)] = 500
    """The fewest rows of a window."""
    period: Duration = Duration("5m")
    """How often the pods are asked for their counts, and the shortest window."""


class Baseline(Model):
    """What is normal."""

    source: Literal["Serving", "Training"] = Field(default="Serving", alias="from")
    """Serving takes the first rows served, compared once with training (TrainServeSkew); Training takes the run's
    held-out rows."""
    rows: Annotated[int, Ge(100), Le(100000000)] = 10000
    """How many rows a baseline from serving takes, from ten windows or more. Raised when it is whole, another one is
    learned; so it is with `period`."""
    period: Duration | None = None
    """How long a baseline from serving takes at least. From two weeks on (14d) it knows the hours of the week, so that
    what differs by them is not told as drift."""


class Features(Model):
    """Which features are watched."""

    exclude: Annotated[tuple[Column, ...], MaxLen(2000), Keyed()] = ()
    """Features that are not watched, such as identifiers."""


class Harm(Model):
    """When a greater loss counts as harm."""

    margin: Percent = Percent("20%")
    """How much greater, relative to the reference's, the loss must be."""


class Action(Model):
    """What is done in a state, besides saying so."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.action != 'Rollback' || self.state == 'Harm'",
            "Rollback is for the state Harm only: without labels nobody knows that the version before is better",
            lambda action: action.action != "Rollback" or action.state == "Harm",
        ),
    )

    state: Literal["Drift", "Harm", "HarmSuspected"]
    """Drift: what is served differs materially. Harm: labels show that the model has become worse. HarmSuspected: its
    scores let expect it, without labels."""
    action: Literal["Retrain", "Rollback"]
    """Retrain asks the deployment's TrainingJob for a run. Rollback asks the ModelDeployment to quarantine the version
    that harms and to go back to the one before it, as soon as that one is proved to be better on the same labelled
    rows."""


class Governor(Model):
    """Keeps the loop from running away."""

    cooldown: Duration = Duration("1h")
    """The shortest time between two actions. Only a rollback does not wait for a retrain's to pass: it follows
    proof."""
    stop_after: Annotated[int, Ge(1), Le(100)] = 3
    """After so many retrains in a row, or so many rollbacks, none followed by 32 windows and as many steps of labels
    without a verdict to act upon, nothing more is done until a person has looked."""
    approval: Literal["None", "Required"] = "None"
    """Required only proposes an action, in `status.proposals`, until a person annotates the monitor with
    `perennial.dev/approve` and the proposal's id."""


class LabelTable(Model):
    """Labels that come in a table: a Job in the namespace joins them with what was predicted, by a key."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.key != self.column",
            "key and column must be two columns: the one that names a row, and the one that holds its label",
            lambda labels: labels.key != labels.column,
        ),
        Rule(
            "!has(self.time) || (self.time != self.key && self.time != self.column)",
            "time must be a column of its own: the one that says when a label became known",
            lambda labels: labels.time is None or labels.time not in (labels.key, labels.column),
        ),
    )

    uri: DataUri
    """The table, as CSV or Parquet: s3://, gs://, az://, https:// or http://, pvc://claim/path, configmap://name/key.
    A path may hold `*`; a folder is all files in it. Files that come later, or change, are joined when they are
    there."""
    secret_ref: SecretReference | None = None
    """The Secret with the credentials, endpoint and region for the URI."""
    key: Column
    """What a prediction and its label have in common: a column of the table, and in requests a field of each row or a
    tensor of this name, which need be no feature. `id` is also the request's own `id`, where it has one row."""
    column: Column
    """The column with the label: a class of the model, or a number."""
    time: Column | None = None
    """The column that says when a label became known. It is then for the predictions of its key before that which have
    none yet; without it, for all of them."""
    every: Duration = Duration("1h")
    """How often the table is looked at; not more often than every 10 s."""
    resources: Resources = Resources(requests={"cpu": "100m", "memory": "512Mi"})
    """Compute resources of the Job. It holds the keys, labels and times of one file at a time."""
    pod: PodOptions = PodOptions()
    """How the Job's pods are made."""


_SAME_DEPLOYMENT = Rule(
    "self == oldSelf", "cannot be changed, as the baseline is of this deployment: make a new DriftMonitor"
)


class DriftMonitorSpec(Model):
    """Which deployment is watched, how closely, and what is done about a change."""

    deployment: Annotated[ResourceName, Satisfies(_SAME_DEPLOYMENT)]
    """The ModelDeployment, in the same namespace, that is watched. Of several monitors of one deployment only the
    oldest acts."""
    false_alarm_every: Duration = Duration("90d")
    """The one knob: how rarely, with nothing changed, an alarm may be raised."""
    window: Window = Window()
    """How what is served is cut into windows."""
    baseline: Baseline = Baseline()
    """What is normal."""
    features: Features = Features()
    """Which features are watched."""
    materiality: Annotated[float, Gt(0), Lt(1)] = 0.05
    """The smallest change that matters, in cumulative probability; a smaller one is minor: reported, never acted
    upon."""
    harm: Harm = Harm()
    """When a greater loss counts as harm."""
    labels: LabelTable | None = None
    """Labels that come in a table, besides those that are sent to the feedback endpoint. A prediction that has a label
    by both counts the first."""
    actions: Annotated[tuple[Action, ...], MaxLen(8), Keyed("state", "action")] = ()
    """What is done in which state. Conditions, Events and metrics always say so; by default nothing else is done."""
    governor: Governor = Governor()
    """Keeps the loop from running away."""
    dry_run: bool = False
    """True names actions in the status and takes none."""
    suspend: bool = False
    """True takes no counts and judges nothing. What is served meanwhile is not judged later either, nor is what was
    served before the monitor was made."""
