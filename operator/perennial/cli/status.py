"""`kubectl perennial status`: the loop of a model on one screen."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from perennial.api.conditions import Condition, ConditionType, find
from perennial.api.driftmonitor_status import ActionRequest, DriftMonitorStatus, Verdict
from perennial.api.modeldeployment_status import AnalysisResult, ModelDeploymentStatus, RevisionStatus
from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.api.trainingjob_status import GateResult, Run, TrainingJobStatus
from perennial.api.validation import parse_status, text_at
from perennial.kube.plan import Manifest, Resource
from perennial.monitoring.words import beside, described
from perennial.wire.result import Gate

from .cluster import Cluster, Reached
from .named import Named, named
from .paint import Paint
from .problem import CannotDo

RUNS = 3
"""Runs shown, the newest first; the accepted one besides."""


@dataclass(frozen=True)
class Loop:
    """What belongs together: a deployment, whose versions it follows and who watches it. Any of them may be missing."""

    training: Manifest | None
    deployment: Manifest | None
    monitors: tuple[Manifest, ...]

    @property
    def parts(self) -> list[Manifest]:
        return [part for part in (self.training, self.deployment, *self.monitors) if part]

    def has(self, what: Named) -> bool:
        return any(part["kind"] == what.resource.kind and part["metadata"]["name"] == what.name for part in self.parts)


def run(options: Namespace) -> int:
    wanted = named(options.resource) if options.resource else None
    cluster = Reached(options.context, options.namespace)
    print(screen(cluster, wanted, datetime.now(UTC), Paint.of(sys.stdout)))
    return 0


def screen(cluster: Cluster, wanted: Named | None, now: datetime, paint: Paint) -> str:
    """The loop that has this resource, or all of the namespace. Raises CannotDo where there is none."""
    if wanted:
        cluster.get(wanted)
    shown = [loop for loop in loops(cluster) if wanted is None or loop.has(wanted)]
    if not shown:
        raise CannotDo(f"namespace {cluster.namespace} has no TrainingJob, ModelDeployment or DriftMonitor")
    return "\n\n".join("\n".join(_loop(loop, now, paint)) for loop in shown)


def loops(cluster: Cluster) -> list[Loop]:
    """All loops of the namespace, those with a deployment first."""
    trainings = {item["metadata"]["name"]: item for item in _of(cluster, TRAININGJOBS)}
    monitors = _of(cluster, DRIFTMONITORS)
    found: list[Loop] = []
    followed: set[str] = set()
    watched: set[str] = set()
    for deployment in _of(cluster, MODELDEPLOYMENTS):
        name = deployment["metadata"]["name"]
        source = text_at(deployment, "status", "trainingJob") or text_at(deployment, "spec", "model", "trainingJob")
        watching = tuple(monitor for monitor in monitors if text_at(monitor, "spec", "deployment") == name)
        found.append(Loop(trainings.get(source) if source else None, deployment, watching))
        followed |= {source} if source else set()
        watched |= {monitor["metadata"]["name"] for monitor in watching}
    found += [Loop(training, None, ()) for name, training in trainings.items() if name not in followed]
    found += [Loop(None, None, (monitor,)) for monitor in monitors if monitor["metadata"]["name"] not in watched]
    return found


def _of(cluster: Cluster, resource: Resource) -> list[Manifest]:
    # Items of a list do not always say what they are.
    items = [{**item, "kind": resource.kind} for item in cluster.all(resource)]
    return sorted(items, key=lambda item: str(item["metadata"]["name"]))


def _loop(loop: Loop, now: datetime, paint: Paint) -> Iterator[str]:
    if loop.training:
        yield from _training(loop.training, now, paint)
    if loop.deployment:
        yield from _deployment(loop.deployment, now, paint)
    for monitor in loop.monitors:
        yield from _monitor(monitor, now, paint)


def _training(manifest: Manifest, now: datetime, paint: Paint) -> Iterator[str]:
    status = parse_status(TrainingJobStatus, manifest)
    yield _head("TrainingJob", manifest, status.conditions, paint)
    newest = status.runs[:RUNS]
    accepted = [run for run in status.runs[RUNS:] if run.version == status.accepted_version]
    for run in (*newest, *accepted):
        yield from _run(run, run.version == status.accepted_version, now, paint)
    if status.pending:
        by = f", asked by {status.pending.by}" if status.pending.by else ""
        yield f"  a run waits for {ago(status.pending.since, now)} ({status.pending.trigger}{by})"


def _run(run: Run, accepted: bool, now: datetime, paint: Paint) -> Iterator[str]:
    colours = {"Succeeded": paint.good, "Unchanged": paint.good, "Failed": paint.bad, "Rejected": paint.bad}
    state = colours.get(run.state, paint.busy)(f"{run.state:<10}")
    since = run.finished_at or run.started_at
    when = f"{ago(since, now)} ago" if since else ""
    by = f"{run.trigger}{f' ({run.triggered_by})' if run.triggered_by else ''}"
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in list(run.metrics.items())[:3])
    marks = ", accepted" if accepted else ""
    yield f"  v{run.version:<4} {state} {when:<9} {by}{marks}{f'   {metrics}' if metrics else ''}"
    if run.progress:
        best = f", best {run.progress.metric} {run.progress.best:.4g}" if run.progress.best is not None else ""
        yield f"        searching: {run.progress.done} of {run.progress.of} fits{best}"
    if run.message and not run.finished_at:
        yield f"        {run.message}"
    if run.failure:
        yield f"        {run.failure.reason}: {run.failure.message}"
    for gate in run.gates:
        mark = paint.good("passed") if gate.passed else paint.bad("failed")
        yield f"        gate {mark}: {_told(gate)}"


def _told(gate: GateResult) -> str:
    interval = (gate.interval[0], gate.interval[1]) if len(gate.interval) == 2 else None
    return Gate(gate.metric, gate.rule, gate.bound, gate.value, gate.passed, interval, gate.note).told


def _deployment(manifest: Manifest, now: datetime, paint: Paint) -> Iterator[str]:
    status = parse_status(ModelDeploymentStatus, manifest)
    yield _head("ModelDeployment", manifest, status.conditions, paint)
    if status.stable:
        yield f"  stable     {_revision(status.stable)}"
    if status.candidate:
        yield f"  candidate  {_revision(status.candidate)}"
    if rollout := status.rollout:
        step = f"step {rollout.step + 1} of {rollout.steps}" if rollout.step < rollout.steps else "promoting"
        words = f": {rollout.message}" if rollout.message else ""
        yield f"  rollout    {step} for {ago(rollout.since, now)}, {paint.busy(rollout.state)}{words}"
        yield from (f"             {_analysis(result, paint)}" for result in rollout.analysis)
    if before := status.previous:
        scored = "scored beside it" if before.compared else "not scored beside it"
        yield f"  before     {_version(before.version, before.sha256):<5} {scored}"
    for entry in status.quarantined:
        yield f"  {paint.bad('quarantined')} {_version(entry.version, entry.sha256)}: {entry.reason}"
    if status.history and not status.candidate:
        last = status.history[0]
        yield f"  last       {_version(last.version, last.sha256)} {last.outcome} {ago(last.at, now)} ago"
    if scaling := status.autoscaling:
        yield f"  autoscaler wants {scaling.desired} replicas{f': {scaling.message}' if scaling.message else ''}"


def _revision(revision: RevisionStatus) -> str:
    pods = f"{revision.ready or 0} of {revision.replicas or 0} pods ready"
    weight = revision.weight
    share = f", {weight.measured:.3g}% of requests" if weight and weight.measured is not None else ""
    asked = f" ({weight.asked:.3g}% asked for)" if weight and weight.asked is not None else ""
    return f"{_version(revision.version, revision.sha256):<5} {pods}{share}{asked}"


def _analysis(result: AnalysisResult, paint: Paint) -> str:
    colours = {"Pass": paint.good, "Fail": paint.bad}
    verdict = colours.get(result.verdict, paint.busy)(result.verdict)
    sign = "+" if result.name == "loss" else ""
    value = f"{100 * result.value:{sign}.3g}%" if result.value is not None else "not measured"
    bound = f", at most {100 * result.bound:{sign}.3g}%" if result.bound is not None else ""
    return f"{result.name} {value}{bound} on {result.samples}: {verdict}"


def _monitor(manifest: Manifest, now: datetime, paint: Paint) -> Iterator[str]:
    status = parse_status(DriftMonitorStatus, manifest)
    yield _head("DriftMonitor", manifest, status.conditions, paint)
    for verdict in status.verdicts:
        yield from _verdict(verdict, status.conditions, now, paint)
    if not status.verdicts and status.windows and status.windows.count:
        yield f"  {paint.good('nothing found')}"
    seen = [f"{status.rows:,} rows"] if status.rows else []
    seen += [f"{status.labels:,} labels"] if status.labels else []
    seen += [f"{status.windows.count:,} windows"] if status.windows else []
    seen += [f"coverage {status.coverage:.1%}"] if status.coverage is not None else []
    if seen:
        yield f"  seen       {', '.join(seen)}"
    if joined := find(status.conditions, ConditionType.LABELS_JOINED):
        title = "table" if joined.status == "True" else paint.busy("table")
        yield f"  {title}      {joined.message}"
    for waiting in status.proposals:
        named, since = f"{waiting.action} {waiting.id}", ago(waiting.created_at, now)
        yield f"  {paint.busy('proposal')}   {named} waits for approval for {since}: {waiting.reason}"
    for request in _newest(status.requests):
        when = ago(request.created_at, now)
        yield f"  request    {request.action} {request.id} {request.state}, {when} ago: {request.reason}"


def _newest(requests: Iterable[ActionRequest]) -> Iterable[ActionRequest]:
    """The newest of each action, newest first."""
    first: dict[str, ActionRequest] = {}
    for request in requests:
        first.setdefault(request.action, request)
    return first.values()


_CONDITIONS = {
    "DataFault": ConditionType.DATA_FAULT,
    "Drift": ConditionType.DRIFTING,
    "MinorDrift": ConditionType.DRIFTING,
    "Harm": ConditionType.HARMFUL,
    "HarmSuspected": ConditionType.HARMFUL,
}


def _verdict(verdict: Verdict, conditions: tuple[Condition, ...], now: datetime, paint: Paint) -> Iterator[str]:
    colour = paint.bad if verdict.state in ("Harm", "DataFault") else paint.busy
    yield f"  {colour(verdict.state)} for {ago(verdict.since, now)}, found on {verdict.samples:,}"
    condition = find(conditions, _CONDITIONS[verdict.state]) if verdict.state in _CONDITIONS else None
    if condition and (condition.status == "True" or condition.reason == verdict.state):
        yield f"             {condition.message}"
    elif verdict.features:
        yield f"             {described(verdict)}"
    if before := beside(verdict.previous):
        yield f"             {before}"
    if verdict.action:
        yield f"             done: {verdict.action}"
    if verdict.next:
        yield f"             next: {verdict.next}"


def _head(kind: str, manifest: Manifest, conditions: Iterable[Condition], paint: Paint) -> str:
    name = f"{kind} {paint.strong(manifest['metadata']['name'])}"
    held = tuple(conditions)
    ready = find(held, ConditionType.READY)
    if ready is None:
        return f"{name}  the operator has not looked at it yet"
    colour = paint.good if ready.status == "True" else paint.bad if find(held, ConditionType.STALLED) else paint.busy
    return f"{name}  {colour(ready.reason)}: {ready.message}"


def _version(version: int | None, sha256: str) -> str:
    return f"v{version}" if version is not None else sha256[:12]


def ago(since: datetime, now: datetime) -> str:
    """How long ago, in the two largest units that say something."""
    seconds = max(int((now - since).total_seconds()), 0)
    for size, unit, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "m")):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size}{unit}{f'{rest}{below}' if rest else ''}"
    return f"{seconds // 60}m" if seconds >= 60 else f"{seconds}s"
