"""The status of a DriftMonitor: what it judges, what it found, and what it asks for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .conditions import Conditions
from .model import Status
from .timestamp import Timestamp


class JudgedModel(Status):
    """The model whose pods are watched."""

    version: int | None = None
    """Number of the version."""
    sha256: str
    """Digest of the model's primary file."""


class BaselineStatus(Status):
    """What is compared with."""

    source: str = Field(alias="from")
    """Serving or Training."""
    rows: int
    """How many rows it has."""
    of: int
    """How many rows it shall have."""
    state: Literal["Learning", "Complete"]
    """Whether it is whole."""
    since: Timestamp | None = None
    """When it was begun."""
    assumes: tuple[str, ...] = ()
    """What is taken for granted: how far windows differ when nothing has changed, and what is known of the season."""


class AnchorStatus(Status):
    """A version that features are anchored at: what it held out is compared with what later versions hold out."""

    version: int | None = None
    """Number of the version."""
    since: Timestamp
    """When it was first watched."""
    promotions: int
    """How many have followed it."""
    features: int
    """How many features are anchored at it."""


class WindowCount(Status):
    """The windows so far."""

    count: int
    """How many were judged."""
    last: Timestamp | None = None
    """When the last one closed."""
    rows_open: int
    """Rows in the one that is open."""


class FeatureDrift(Status):
    """A feature that differs."""

    name: str
    """Its name; the model's own output is `(score)`. How features go together is watched as `a * b`, `(component 1)`
    and `(reconstruction error)`."""
    effect: float
    """How much it differs, in cumulative probability; for AnchorDrift at least."""
    statistic: float
    """How certain that is: the signed root of the likelihood ratio."""
    kind: str
    """What differs: Distribution, Category, Missing, Unseen, Range, Joint, Unit (as if in another one) or Forbidden (by
    the TrainingJob's `data.expect`)."""
    message: str = ""
    """What happened to it, in words: `higher`, `1.0% -> 21.0% 'UA'`."""
    psi: float | None = None
    """Population stability index over the feature's bins or categories; absent for AnchorDrift, as each version has its
    own."""
    jensen_shannon: float | None = None
    """Jensen-Shannon divergence over the same, in bits: from 0 to 1."""
    wasserstein: float | None = None
    """How far a number has moved on average, in its own unit; exact to a bin's width."""
    together: tuple[str, ...] = ()
    """The features that go together otherwise than before, for Joint: those that matter most first, at most ten."""


class JoinStatus(Status):
    """The joins of labels from a table. The numbers are of all joins so far, over all versions."""

    joined: int = 0
    """Rows of the table whose label was counted."""
    late: int = 0
    """Of these, those for predictions of a version that was not served any more: they count for that one."""
    unmatched: int = 0
    """Rows with a key that no pod remembers a prediction of."""
    duplicates: int = 0
    """Rows for predictions that had a label already: the first one counts."""
    rejected: int = 0
    """Rows with a label that is none of the model's classes, or no number."""
    files: int = 0
    """Files that were joined."""
    kept_since: Timestamp | None = None
    """When the oldest prediction was made that is still remembered."""
    last: Timestamp | None = None
    """When the last join ended."""
    next: Timestamp | None = None
    """When the next one begins; absent while one is going on."""
    job: str | None = None
    """The Job that is going on, or was the last to fail."""


class LossChange(Status):
    """The loss of labelled rows, or what scores let expect of it."""

    reference: float
    """Of the held-out rows of the run."""
    now: float
    """Since the change began; under `expectedLoss`, in the last window."""


class PreviousLoss(Status):
    """The version before on the rows that were labelled since harm was found, beside the one that harms."""

    version: int | None = None
    """Number of the version before."""
    samples: int
    """How many of the labelled rows both have scored."""
    loss: float | None = None
    """Its loss on them."""
    now: float | None = None
    """The loss of the judged version on them."""
    wins: bool
    """Whether it is proved to be better."""


class Verdict(Status):
    """Something that was found. It stays until a new baseline or a long clean run."""

    id: str
    """Its name, for requests and Events."""
    state: Literal["DataFault", "TrainServeSkew", "MinorDrift", "AnchorDrift", "Drift", "HarmSuspected", "Harm"]
    """What was found."""
    since: Timestamp
    """When the change is estimated to have begun."""
    features: tuple[FeatureDrift, ...] = ()
    """Which features differ, the largest effect first."""
    samples: int
    """How many rows or labels it was found on."""
    loss: LossChange | None = None
    """The loss before and now."""
    previous: PreviousLoss | None = None
    """What going back would bring, for Harm: absent where there is no version before."""
    action: str | None = None
    """What was done."""
    next: str | None = None
    """What comes next, and when."""


class ActionRequest(Status):
    """An action that is asked of the TrainingJob or of the ModelDeployment, which takes it from here and notes it under
    `handled`."""

    id: str
    """Its name; a request is taken once."""
    action: Literal["Retrain", "Rollback"] = "Retrain"
    """What is asked for."""
    training_job: str | None = None
    """The TrainingJob that is asked for a retrain."""
    deployment: str | None = None
    """The ModelDeployment that is asked for a rollback."""
    model: str
    """Digest of the model that was judged."""
    accepted_version: int | None = None
    """For a retrain, the TrainingJob's accepted version when the request was made: one that is accepted later makes it
    late."""
    previous: JudgedModel | None = None
    """For a rollback, the version to go back to: any other one makes it late."""
    reason: str
    """Why."""
    created_at: Timestamp
    """When it was made."""
    expires_at: Timestamp
    """After this it is not taken any more."""
    state: str
    """What became of it."""


class ActionProposal(Status):
    """An action that would be asked for if a person agreed, as `spec.governor.approval` wants it."""

    id: str
    """What `perennial.dev/approve` has to be."""
    action: Literal["Retrain", "Rollback"]
    """What would be asked for."""
    training_job: str | None = None
    """The TrainingJob that would be asked for a retrain."""
    deployment: str | None = None
    """The ModelDeployment that would be asked for a rollback."""
    previous: JudgedModel | None = None
    """For a rollback, the version to go back to."""
    reason: str
    """Why."""
    created_at: Timestamp
    """When it was proposed."""


class GovernorStatus(Status):
    """What keeps the loop from running away."""

    cooldown_until: Timestamp | None = None
    """No action before this."""
    retrains: int = 0
    """Retrains in a row that no long calm followed."""
    rollbacks: int = 0
    """Rollbacks in a row that no long calm followed."""
    stopped_since: Timestamp | None = None
    """Since when an action is refused, as those before it brought no long calm: a person has to look."""


class HandledVerbs(Status):
    """The last token of each annotation that was taken, so that none is taken twice."""

    release: str | None = None
    """Of `perennial.dev/release`: what is served from then on is normal, and the governor starts anew."""
    approve: str | None = None
    """Of `perennial.dev/approve`: the proposal that became a request."""


class DriftMonitorStatus(Status):
    """What the operator found and did."""

    observed_generation: int = -1
    """The generation of the spec that this status is about; -1 before the operator has seen the object."""
    conditions: Conditions = ()
    """Ready: the monitor sees and judges. Reconciling, Stalled: see the reference. Drifting, DataFault, Harmful:
    what was found. LabelsJoined: how the table of `spec.labels` goes."""
    training_job: str | None = None
    """The TrainingJob of the deployment's model: whom requests are for."""
    model: JudgedModel | None = None
    """The model whose pods are watched."""
    baseline: BaselineStatus | None = None
    """What is compared with."""
    anchors: tuple[AnchorStatus, ...] = ()
    """What promotions do not begin anew: the versions that slow drift is measured from, the oldest ten. Features are
    anchored at the first version that was watched with them, after `perennial.dev/release` at the one of then, and
    those whose Drift was told at the one that has learned it."""
    rows: int | None = None
    """Rows counted for this model."""
    labels: int | None = None
    """Labels counted for this model."""
    label_coverage: float | None = None
    """Of the rows counted for this model, the share that has a label."""
    joins: JoinStatus | None = None
    """What became of the labels in the table of `spec.labels`."""
    coverage: float | None = None
    """Of the rows that this model has served, the share that was counted. Rows that a pod did not hand over before it
    ended are estimated, by the rate at which it served."""
    expected_loss: LossChange | None = None
    """What the scores let expect, without labels; absent where they do not tell the loss."""
    windows: WindowCount | None = None
    """The windows so far."""
    verdicts: tuple[Verdict, ...] = ()
    """What was found, newest first."""
    requests: tuple[ActionRequest, ...] = ()
    """What is asked of the TrainingJob and of the ModelDeployment, newest first."""
    proposals: tuple[ActionProposal, ...] = ()
    """What waits for a person's approval."""
    governor: GovernorStatus | None = None
    """What keeps the loop from running away."""
    next_window: Timestamp | None = None
    """When the next window can close."""
    handled: HandledVerbs = HandledVerbs()
    """Annotations that were taken."""
