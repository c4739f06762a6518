"""The whole desired state of a ModelDeployment: one move of the rollout, the replicas that follow, children, status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec

from perennial.api.modeldeployment import ModelDeploymentSpec
from perennial.api.requests import waiting
from perennial.kube.plan import Child, Deletion, Plan, Problem
from perennial.kube.resources import CONTROLLERREVISIONS, DEPLOYMENTS

from .analysis import Totals, analyse, elsewhere, total
from .builders.controllerrevision import controller_revision
from .builders.deployment import deployment
from .builders.disruptionbudget import disruption_budget
from .builders.networkpolicy import network_policy
from .builders.service import service
from .builders.template import server_template
from .digest import is_known, server_digest
from .events import events
from .fleet import Group, Replicas, advance
from .moves import Keep, Move, Start, applied, roles, with_records
from .names import VERBS, Verb
from .observe import Observed
from .outcome import Outcome
from .pods import group
from .readings import INTERVAL_SECONDS
from .revision import Revision
from .rollback import NOTHING_ASKED, Asked, asked, previous
from .rollout import decide
from .scaling import wanted
from .situation import Situation, Target, goal
from .source import source_of
from .split import pods_bound
from .status import invalid_status, status

PATIENCE = timedelta(seconds=60)
"""How long a quarantined revision may go on answering because what replaces its pods does not come."""
HISTORY_LIMIT = 10
RETRY_SECONDS = 30.0
"""After a child was refused: what makes it acceptable may give no event here."""
QUARANTINE_LIMIT = 50


def plan(observed: Observed, problems: tuple[Problem, ...], now: datetime) -> Plan:
    if observed.spec is None:
        return Plan(status=invalid_status(observed, now))
    outcome = _decide(observed, observed.spec, problems, now)
    replicas = _replicas(outcome.after, now)
    pruned = _pruned(outcome.after, observed)
    return Plan(
        children=tuple(_children(observed, observed.spec, outcome.after, replicas, pruned)),
        deletions=tuple(_deletions(observed, outcome.after, replicas, pruned)),
        status=status(observed, outcome, now),
        events=tuple(events(outcome, observed)),
        requeue_after=_again(observed, outcome, now),
    )


def _decide(observed: Observed, spec: ModelDeploymentSpec, problems: tuple[Problem, ...], now: datetime) -> Outcome:
    replicas = wanted(observed, spec, now)
    verb = _verb(observed)
    before = _situation(observed, spec, replicas.replicas, verb, now)
    move = decide(before)
    return Outcome(move, before, _moved(observed, spec, before, move), replicas, verb, problems)


def _situation(
    observed: Observed, spec: ModelDeploymentSpec, replicas: int, verb: Verb | None, now: datetime
) -> Situation:
    revisions = _adopted(observed)
    stable, candidate = roles(revisions)
    situation = Situation(
        now=now,
        spec=spec.rollout,
        wanted=replicas,
        bound=pods_bound(replicas, spec.autoscaling.max_replicas if spec.autoscaling else None),
        target=observed.target if isinstance(observed.target, Target) else None,
        stable=stable,
        candidate=candidate,
        revisions=revisions,
        groups=_groups(observed, now),
        verb=verb,
        asked=_asked(observed, spec, stable, revisions, now),
        suspended=spec.suspend,
    )
    if candidate is None:
        return situation
    totals = _totals(observed, stable, candidate)
    same = stable is not None and stable.model.sha256 == candidate.model.sha256
    is_cure = candidate.model.cure or situation.goes_back_to(candidate.model)
    found = analyse(spec.rollout.analysis, totals, is_cure=is_cure, same_model=same) if stable else ()
    measured = candidate.name not in observed.readings.silent
    return replace(situation, totals=totals, findings=found, measured=measured)


def _totals(observed: Observed, stable: Revision | None, candidate: Revision) -> Totals:
    stats = observed.readings.stats
    totals = total(stats.get(candidate.name, ()), stable.model.sha256 if stable else None)
    if stable is None or candidate.record.progress is None:
        return totals
    others = (each for name, found in stats.items() if name != candidate.name for each in found)
    came = elsewhere(others, candidate.model.sha256, stable.model.sha256, candidate.record.progress.begun)
    return replace(totals, pairs=totals.pairs + came)


def _adopted(observed: Observed) -> Mapping[str, Revision]:
    """The revisions; one with a digest of an unknown algorithm is taken to mean the spec that it is first seen with."""
    revisions = dict(observed.revisions)
    for running in roles(revisions):
        if running and not is_known(running.digest) and running.record.adopted is None:
            record = msgspec.structs.replace(running.record, adopted=server_digest(observed.manifest["spec"]))
            revisions[running.name] = replace(running, record=record)
    return revisions


def _groups(observed: Observed, now: datetime) -> dict[str, Group]:
    pods = observed.pods
    return {
        name: group((pod for pod in pods if pod.revision == name), observed.asked(name), now)
        for name in observed.deployments
    }


def _asked(
    observed: Observed,
    spec: ModelDeploymentSpec,
    stable: Revision | None,
    revisions: Mapping[str, Revision],
    now: datetime,
) -> Asked:
    """What DriftMonitors ask for; of a suspended deployment nothing until it is not."""
    if spec.suspend:
        return NOTHING_ASKED
    requests = waiting(observed.requests, observed.handled, now)
    return asked(requests, spec.model, source_of(spec.model), stable, previous(stable, revisions))


def _verb(observed: Observed) -> Verb | None:
    """The first annotation with a token that was not taken. Without a status nobody knows which were: none is new."""
    if observed.status.observed_generation < 0:
        return None
    for verb, annotation in VERBS.items():
        token = observed.annotations.get(annotation)
        if token is not None and token != getattr(observed.status.handled, verb):
            return verb
    return None


def _moved(observed: Observed, spec: ModelDeploymentSpec, before: Situation, move: Move) -> Situation:
    """The situation once the move is written: its revisions and roles."""
    records = applied(move, before)
    revisions = with_records(before.revisions, records)
    if isinstance(move, Start) and move.target.name not in revisions:
        made = _made(observed, spec, before, move.target)
        revisions[made.name] = replace(made, record=records[made.name])
    stable, candidate = roles(revisions)
    return replace(before, revisions=revisions, stable=stable, candidate=candidate)


def _made(observed: Observed, spec: ModelDeploymentSpec, before: Situation, target: Target) -> Revision:
    template = server_template(spec, target.model, target.name, observed.identity, observed.settings)
    number = max((revision.number for revision in before.revisions.values()), default=0) + 1
    return Revision(target.name, target.digest, target.model, template, number=number)


def _replicas(after: Situation, now: datetime) -> Replicas:
    stable, candidate = after.group(after.stable), after.group(after.candidate)
    return advance(goal(after), after.wanted, stable, candidate, after.leaving, _hastened(after, now))


def _hastened(after: Situation, now: datetime) -> frozenset[str]:
    return frozenset(
        name
        for name in after.leaving
        if (revision := after.revisions.get(name))
        and (quarantine := revision.record.quarantine)
        and now - quarantine.since > PATIENCE
    )


def _children(
    observed: Observed, spec: ModelDeploymentSpec, after: Situation, replicas: Replicas, pruned: Iterable[Revision]
) -> Iterable[Child]:
    """Records first: a Deployment whose revision is not written down would be nobody's."""
    identity = observed.identity
    dropped = {revision.name for revision in pruned}
    for revision in after.revisions.values():
        if revision.name not in dropped:
            yield controller_revision(revision, identity)
    if not after.revisions:
        return
    yield service(identity)
    yield disruption_budget(identity)
    yield network_policy(spec, identity, observed.settings)
    if after.stable:
        yield deployment(after.stable, replicas.stable, identity)
    if after.candidate:
        yield deployment(after.candidate, replicas.candidate, identity)
    for name, number in replicas.leaving.items():
        if name in after.revisions and not _is_gone(after.groups[name], number):
            yield deployment(after.revisions[name], number, identity)


def _deletions(
    observed: Observed, after: Situation, replicas: Replicas, pruned: Iterable[Revision]
) -> Iterable[Deletion]:
    """Deployments without pods, of revisions that left; then records that nobody can go back to."""
    namespace = observed.identity.namespace
    for name, number in replicas.leaving.items():
        metadata = observed.deployments[name]["metadata"]
        if _is_gone(after.groups[name], number):
            yield Deletion(DEPLOYMENTS, namespace, metadata["name"], metadata["uid"])
    for revision in pruned:
        if revision.uid:
            name = observed.identity.of_revision(revision.name)
            yield Deletion(CONTROLLERREVISIONS, namespace, name, revision.uid)


def _is_gone(group: Group, number: int) -> bool:
    return not (group.asked or group.pods or number)


def _pruned(after: Situation, observed: Observed) -> tuple[Revision, ...]:
    """The oldest records beyond the limits. Quarantined ones are kept longer: forgotten, they would be tried again. The
    one to go back to is kept."""
    kept = {revision.name for revision in (after.stable, after.candidate) if revision} | set(observed.deployments)
    if after.target:
        kept.add(after.target.name)
    idle = sorted(
        (revision for revision in after.revisions.values() if revision.name not in kept),
        key=lambda revision: revision.number,
        reverse=True,
    )
    quarantined = [revision for revision in idle if revision.record.quarantine]
    others = [revision for revision in idle if not revision.record.quarantine]
    before = previous(after.stable, after.revisions)
    return (*quarantined[QUARANTINE_LIMIT:], *(one for one in others[HISTORY_LIMIT:] if one is not before))


def _again(observed: Observed, outcome: Outcome, now: datetime) -> float | None:
    """Seconds until something can be different without an event."""
    if outcome.problems:
        return RETRY_SECONDS
    move = outcome.move
    times = [moment for pod in observed.pods for moment in (pod.counted_on_in(now), pod.told_in(now))]
    times.append(move.again if isinstance(move, Keep) else timedelta())
    if is_measured(observed):
        times.append(timedelta(seconds=INTERVAL_SECONDS))
    seconds = [max(time.total_seconds(), 0.05) for time in times if time is not None]
    return min(seconds, default=None)


def is_measured(observed: Observed) -> bool:
    """Whether the pods' counters decide anything now."""
    if observed.spec is None:
        return False
    judged = observed.candidate is not None and observed.stable is not None and bool(observed.spec.rollout.steps)
    return judged or observed.spec.autoscaling is not None
