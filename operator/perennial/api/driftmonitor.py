"""DriftMonitor: what counts as a change worth knowing of, and what is done about it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import Field

from .duration import Duration
from .model import Keyed, Model, Rule, Satisfies
from .names import ResourceName
from .percent import Percent
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
    """How many rows a baseline from serving takes, from ten windows or more."""


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
    actions: Annotated[tuple[Action, ...], MaxLen(8), Keyed("state", "action")] = ()
    """What is done in which state. Conditions, Events and metrics always say so; by default nothing else is done."""
    governor: Governor = Governor()
    """Keeps the loop from running away."""
    dry_run: bool = False
    """True names actions in the status and takes none."""
    suspend: bool = False
    """True takes no counts and judges nothing."""
