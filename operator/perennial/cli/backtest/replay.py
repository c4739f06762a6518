"""The policy over counts: every look as the controller would take it, and what it found, said and asked for.

A retrain is taken at once and changes nothing: the data hold one model's rows. So what is shown after the first
request is what happens when retraining does not help: the cooldown, another request, and the governor's stop. A
rollback ends what is done: another version would serve from then on, of which the data know its losses and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.modeldeployment_status import HandledVerbs, ModelDeploymentStatus, Quarantined, RevisionStatus
from perennial.api.trainingjob_status import HandledTriggers, TrainingJobStatus
from perennial.cli.measure import Measured, measure
from perennial.kube.plan import Event
from perennial.monitoring import baseline as baselines
from perennial.monitoring.checkpoint import Checkpoint
from perennial.monitoring.events import events
from perennial.monitoring.judge import scanner
from perennial.monitoring.objections import Decision, Decisions
from perennial.monitoring.observed import Deployment, Look, Observed
from perennial.monitoring.plan import ACTIONS, consider
from perennial.monitoring.requests import Request
from perennial.monitoring.status import status
from perennial.monitoring.verdict import Verdict
from perennial.monitoring.words import at as words_at
from perennial.monitoring.words import moment
from perennial.wire.counts import Epochs, summed
from perennial.wire.layout import Layout, layout_of
from perennial.wire.reference import Reference
from perennial.wire.stats import Pairs

from .monitor import Monitor

_WAITS = ("Held", "Cooldown", "Unproven", "Braked", "NotActing")
"""Kinds of decisions that no Event tells."""


@dataclass(frozen=True, slots=True)
class Handed:
    """What the pods hand over at one look, by pod. `at` is in Unix seconds."""

    at: float
    answers: Mapping[str, Epochs]


@dataclass(frozen=True, slots=True)
class Window:
    """A window that was closed. `measured` is None while the baseline was learned."""

    opened: float
    closed: float
    rows: int
    measured: Measured | None


@dataclass(frozen=True, slots=True)
class Step:
    """A step of labels: how many, and their mean loss. The first one is as long as a moment."""

    opened: float
    closed: float
    labels: int
    loss: float


@dataclass(slots=True)
class Spell:
    """A verdict while it stood, as it was `found` at this row of the data, counted in the order of time, and as it was
    last known. `over` is None where it still stands at the end."""

    found: Verdict
    verdict: Verdict
    row: int
    over: float | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """An Event that the controller would have written."""

    at: float
    event: Event


@dataclass(frozen=True, slots=True)
class Waited:
    """From `at` on an action was wanted and not taken, and `words` say why."""

    at: float
    kind: str
    words: str


@dataclass
class Replay:
    """What was found and done, in the order of time, up to the look `at` the end, whose are `checkpoint` and `status`.
    `skipped` are the rows of the data before the first one that is watched, `rows` those that are.
    `after` are the labels since the rollback, as the judged version and the one before would have had them."""

    spec: DriftMonitorSpec
    layout: Layout
    windows: list[Window] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    spells: list[Spell] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    waited: list[Waited] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    after: Pairs = field(default_factory=Pairs)
    learned: float | None = None
    skipped: int = 0
    rows: int = 0
    at: float = 0.0
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    status: DriftMonitorStatus = field(default_factory=DriftMonitorStatus)

    @property
    def back(self) -> Request | None:
        """The rollback that was asked for."""
        return next((request for request in self.requests if request.back), None)


def replay(monitor: Monitor, reference: Reference, handed: Iterable[Handed], skipped: int = 0) -> Replay:
    """Let the monitor look at everything that was handed over, after so many rows that it does not see."""
    made = Replay(monitor.spec, layout_of(reference), skipped=skipped)
    observed = _beginning(monitor, reference)
    known: object = None
    decisions: Decisions = {}
    standing: dict[str, Waited] = {}
    for each in _then_nothing(handed, monitor.spec):
        before = observed.checkpoint
        observed = replace(observed, look=replace(observed.look, answers=each.answers))
        checkpoint, decisions = consider(observed, monitor.spec, moment(each.at))
        _note(made, before, checkpoint, each)
        if made.back is None:
            _note_waits(made, standing, _by_action(checkpoint, monitor.spec, decisions), each.at)
        observed = replace(
            observed,
            checkpoint=checkpoint,
            training=_training(observed, checkpoint),
            deployment=_deployment(observed, made.back),
        )
        if (worth := _worth_telling(checkpoint, decisions)) != known:
            observed, known = _told(made, observed, decisions, each.at), worth
        made.at = each.at
    made.checkpoint = observed.checkpoint
    made.status = status(observed, observed.checkpoint, decisions, moment(made.at))
    return made


def _then_nothing(handed: Iterable[Handed], spec: DriftMonitorSpec) -> Iterator[Handed]:
    """And one look after the data's end: by then the last labels have waited long enough to be judged."""
    last = None
    for each in handed:
        yield each
        last = each.at
    if last is not None:
        # A second more: what is rounded must not be too early.
        yield Handed(last + spec.window.period.seconds + 1, {})


def _beginning(monitor: Monitor, reference: Reference) -> Observed:
    identity = monitor.identity
    stable = RevisionStatus(revision="backtest", version=monitor.version, sha256=reference.model)
    return Observed(
        identity=identity,
        manifest={"metadata": {"namespace": identity.namespace, "name": identity.name, "generation": 1}},
        spec=monitor.spec,
        invalid=None,
        status=DriftMonitorStatus(),
        checkpoint=Checkpoint(),
        deployment=Deployment(ModelDeploymentStatus(stable=stable, previous=monitor.previous), monitor.training_job),
        training=TrainingJobStatus(),
        look=Look(serving=1, reference=reference),
    )


def _training(observed: Observed, checkpoint: Checkpoint) -> TrainingJobStatus:
    """A TrainingJob that takes every request and never comes to anything."""
    latest = checkpoint.governor.latest("Retrain")
    taken = {observed.identity.uid: latest.id} if latest else {}
    return TrainingJobStatus(handled=HandledTriggers(monitors=taken))


def _deployment(observed: Observed, back: Request | None) -> Deployment | None:
    """A ModelDeployment that takes a rollback and has not gone back yet."""
    deployment = observed.deployment
    if back is None or deployment is None or deployment.status.quarantined:
        return deployment
    gone = Quarantined(revision="backtest", sha256=back.model, reason=back.reason, since=moment(back.created))
    taken = HandledVerbs(monitors={observed.identity.uid: back.id})
    return replace(deployment, status=deployment.status.model_copy(update={"quarantined": (gone,), "handled": taken}))


def _worth_telling(checkpoint: Checkpoint, decisions: Decisions) -> object:
    """All that Events are made of: where it is as it was, the status need not be put into words."""
    baseline = checkpoint.baseline
    verdicts = [verdict.id for verdict in checkpoint.triage.verdicts]
    kinds = {decision.kind for made in decisions.values() for decision in made}
    return verdicts, checkpoint.governor, baseline is not None and baseline.complete, kinds


def _told(made: Replay, observed: Observed, decisions: Decisions, at: float) -> Observed:
    told = status(observed, observed.checkpoint, decisions, moment(at))
    if made.back is None or at <= made.back.created:
        made.said += [Said(at, event) for event in events(observed, observed.checkpoint, decisions, told)]
    return replace(observed, status=told)


def _note(made: Replay, before: Checkpoint, after: Checkpoint, handed: Handed) -> None:
    model = after.model.sha256 if after.model else ""
    counted = sum(
        epoch.models[model].rows for each in handed.answers.values() for epoch in each.epochs if model in epoch.models
    )
    made.rows += counted
    if after.baseline and after.baseline.complete and made.learned is None:
        made.learned = handed.at
    if after.windows > before.windows:
        opened = before.open.opened if before.open else _opened(handed)
        rows = (before.open.rows if before.open else 0) + counted
        made.windows.append(Window(opened, after.closed, rows, _measured(made, after)))
    if after.tally.stepped != before.tally.stepped and after.tally.loss:
        cells = summed(before.tally.waiting, _losses(handed, model))
        total = sum(count * value for count, value in zip(cells, after.tally.loss.values, strict=False))
        opened = before.tally.stepped or after.tally.stepped
        made.steps.append(Step(opened, after.tally.stepped, sum(cells), total / max(sum(cells), 1)))
    _note_spells(made, before, after, handed.at)
    if made.back is not None:
        made.after += _paired(handed, model, made.back)
        return
    known = {request.id for request in before.governor.requests}
    made.requests += [request for request in after.governor.requests if request.id not in known]


def _losses(handed: Handed, model: str) -> list[int]:
    cells: list[int] = []
    for epoch in (epoch for answer in handed.answers.values() for epoch in answer.epochs):
        labels = epoch.models[model].labels if model in epoch.models else None
        cells = reduce(summed, labels.loss.values(), cells) if labels else cells
    return cells


def _paired(handed: Handed, model: str, back: Request) -> Pairs:
    pairs = Pairs()
    for epoch in (epoch for answer in handed.answers.values() for epoch in answer.epochs):
        labels = epoch.models[model].labels if model in epoch.models else None
        if labels is not None and back.back is not None:
            pairs = sum(labels.pairs.get(back.back.sha256, {}).values(), pairs)
    return pairs


def _note_waits(made: Replay, standing: dict[str, Waited], decided: dict[str, Decision], at: float) -> None:
    """Why an action that is wanted is not taken, each time that it is for another reason."""
    for action, decision in decided.items():
        until = f", at {words_at(decision.until)}" if decision.until else ""
        wait = Waited(at, decision.kind, decision.next + until)
        last = standing.get(action)
        standing[action] = wait
        if decision.kind not in _WAITS or (last and _alike(last, wait)):
            continue
        made.waited.append(wait)


def _alike(last: Waited, wait: Waited) -> bool:
    """What labels say so far is told once: it is another number at every look."""
    return last.kind == wait.kind and (last.words == wait.words or wait.kind == "Unproven")


def _by_action(checkpoint: Checkpoint, spec: DriftMonitorSpec, decisions: Decisions) -> dict[str, Decision]:
    """Verdicts that ask for an action have one decision of it together, in the order of the actions."""
    found: dict[str, Decision] = {}
    for verdict in checkpoint.triage.verdicts:
        asked = {each.action for each in spec.actions if each.state == verdict.state}
        actions = [action for action in ACTIONS if action in asked]
        found |= zip(actions, decisions.get(verdict.id, ()), strict=False)
    return found


def _note_spells(made: Replay, before: Checkpoint, after: Checkpoint, at: float) -> None:
    standing = {spell.verdict.id: spell for spell in made.spells if spell.over is None}
    for verdict in after.triage.verdicts:
        if verdict.id in standing:
            standing[verdict.id].verdict = verdict
        else:
            made.spells.append(Spell(verdict, verdict, made.skipped + made.rows))
    left = {verdict.id for verdict in after.triage.verdicts}
    for verdict in before.triage.verdicts:
        if verdict.id not in left:
            standing[verdict.id].over = at


def _measured(made: Replay, after: Checkpoint) -> Measured | None:
    baseline = after.baseline
    if baseline is None or not baseline.complete or not after.history:
        return None
    scan = scanner(made.layout, baselines.normal(baseline, made.layout), made.spec)
    return measure(scan, after.history)


def _opened(handed: Handed) -> float:
    return min((epoch.opened for each in handed.answers.values() for epoch in each.epochs), default=handed.at)
