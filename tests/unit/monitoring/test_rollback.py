"""The action Rollback: proof on the same labelled rows from the moment on at which harm was found, and what is asked
for by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.modeldeployment_status import ModelDeploymentStatus
from perennial.api.trainingjob_status import TrainingJobStatus
from perennial.api.validation import InvalidSpecError, parse_spec
from perennial.kube.plan import Plan
from perennial.monitoring import judge
from perennial.monitoring.before import FALSE_WIN, wins
from perennial.monitoring.checkpoint import Checkpoint, Judged, Tally, decode, encode
from perennial.monitoring.counts import COMPARED, fold
from perennial.monitoring.names import Identity
from perennial.monitoring.observed import Deployment, Look, Observed
from perennial.monitoring.plan import plan
from perennial.monitoring.triage import Triage
from perennial.monitoring.verdict import Loss, Verdict
from perennial.wire.stats import Pairs

from . import worlds

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BEFORE = "0" * 64
BOTH: list[dict[str, str]] = [{"state": "Harm", "action": "Retrain"}, {"state": "Harm", "action": "Rollback"}]
SPEC: dict[str, Any] = {"deployment": "flights", "baseline": {"from": "Training"}, "actions": BOTH}
COLUMNS = [worlds.numeric(name, np.random.default_rng(3)) for name in ("x", "(score)")]
REFERENCE = worlds.reference(COLUMNS, loss=worlds.loss(0.1))
BETTER, WORSE = Pairs(400, 160, 40, 160), Pairs(400, 160, 158, 40)


class Labelled:
    """A monitor that is handed 100 labelled rows a minute; of each the version before was right where it was wrong, so
    often."""

    def __init__(self) -> None:
        self.spec = DriftMonitorSpec.model_validate(SPEC)
        self.checkpoint = judge.begin(Checkpoint(), Judged(worlds.MODEL, 2), REFERENCE)
        self.minute = 0

    def run(self, minutes: int, *, wrong: int, better: int = 0, pairs: bool = True) -> Labelled:
        for _ in range(minutes):
            self.minute += 1
            scored = {BEFORE: Pairs(100, wrong, wrong - better, better)} if pairs else {}
            epoch = worlds.epoch(self.minute, [], 0, losses=[100 - wrong, wrong], pairs=scored)
            self.checkpoint = judge.advance(self.checkpoint, self.spec, {"pod": worlds.answer(epoch)}, epoch.closed)
        return self

    @property
    def harm(self) -> Verdict | None:
        return self.checkpoint.triage.of("Harm")

    @property
    def pairs(self) -> Pairs:
        return self.checkpoint.tally.pairs.get(BEFORE, Pairs())


def test_only_labels_after_the_verdict_are_evidence() -> None:
    labelled = Labelled().run(60, wrong=10, better=-5)
    assert labelled.harm is None
    assert labelled.pairs.labelled == 6000
    while not labelled.harm:
        labelled.run(1, wrong=40, better=30)
    assert labelled.pairs == Pairs()
    labelled.run(3, wrong=40, better=30)
    assert labelled.pairs == Pairs(300, 120, 30, 90)
    assert wins(labelled.pairs)
    assert labelled.checkpoint.tally.labels - labelled.checkpoint.tally.labels_then == 300
    over = labelled.run(600, wrong=10)
    assert over.harm is None
    while not over.harm:
        over.run(1, wrong=40)
    assert over.pairs == Pairs()


def test_a_release_and_a_model_that_comes_back_begin_anew() -> None:
    labelled = Labelled()
    while not labelled.harm:
        labelled.run(1, wrong=40)
    labelled.run(3, wrong=40, better=30)
    released = judge.release(labelled.checkpoint, "token")
    assert released.tally.pairs == {}
    away = judge.begin(labelled.checkpoint, Judged(BEFORE, 1), None)
    back = judge.begin(away, Judged(worlds.MODEL, 2), REFERENCE)
    assert (back.tally.pairs, back.tally.harm, back.tally.labels) == ({}, None, labelled.checkpoint.tally.labels)
    assert back.triage == Triage()
    labelled.checkpoint, labelled.minute = back, 1000
    while not labelled.harm:
        labelled.run(1, wrong=40)
    assert labelled.harm.since >= back.newest


def test_receipts_of_many_models_do_not_grow_the_checkpoint() -> None:
    pairs = {f"{n:064x}": Pairs(1) for n in range(100)}
    answer = worlds.answer(worlds.epoch(1, [], 0, losses=[100, 0], pairs=pairs))
    folded = fold(judge.begin(Checkpoint(), Judged(worlds.MODEL), REFERENCE), {"pod": answer}, cells=1, now=0.0)
    assert len(folded.tally.pairs) == COMPARED


def _looks(rng: np.random.Generator, wrong: float, before: float, rows: int) -> bool:
    """Whether the version before ever wins, looked at after every ten rows."""
    mine, other = rng.random(rows) < wrong, rng.random(rows) < before
    steps = slice(9, None, 10)
    sums = [np.cumsum(values)[steps] for values in (mine, other, mine != other)]
    counted = zip(range(10, rows + 1, 10), *sums, strict=True)
    return any(wins(Pairs(n, float(a), float(b), float(c))) for n, a, b, c in counted)


def test_one_that_is_no_better_seldom_wins_however_often_one_looks(rng: np.random.Generator) -> None:
    won = sum(_looks(rng, 0.4, 0.4, rows=1000) for _ in range(300))
    assert won <= 300 * FALSE_WIN + 3 * (300 * FALSE_WIN) ** 0.5


def test_one_that_is_much_better_wins_soon(rng: np.random.Generator) -> None:
    assert sum(_looks(rng, 0.4, 0.1, rows=150) for _ in range(100)) >= 95
    assert sum(_looks(rng, 0.3, 0.2, rows=1500) for _ in range(50)) >= 45


# ---- what is asked for ----


def deployment(**changes: Any) -> Deployment:
    status = {
        "stable": {"revision": "r2", "version": 2, "sha256": worlds.MODEL},
        "previous": {"version": 1, "sha256": BEFORE, "compared": True},
        **changes,
    }
    return Deployment(ModelDeploymentStatus.model_validate(status), "flights")


def harmed(pairs: Pairs | None = BETTER, labels: int = 500) -> Checkpoint:
    begun = judge.begin(Checkpoint(), Judged(worlds.MODEL, 2), REFERENCE)
    checkpoint = judge.advance(begun, DriftMonitorSpec.model_validate(SPEC), {}, NOW.timestamp())
    tally = msgspec.structs.replace(
        checkpoint.tally, labels=labels, pairs={BEFORE: pairs} if pairs else {}, labels_then=0
    )
    since = NOW.timestamp()
    verdict = Verdict("v1", "Harm", since, since, 700, loss=Loss(0.1, 0.13, 0.4))
    triage = Triage((verdict,))
    # A whole window came after the verdict, so that broken data would have shown.
    return msgspec.structs.replace(checkpoint, tallies={worlds.MODEL: tally}, triage=triage, opened=since)


def observed(checkpoint: Checkpoint | None = None, *, spec: dict[str, Any] | None = None, **changes: Any) -> Observed:
    known = harmed() if checkpoint is None else checkpoint
    accepted = {"version": 2, "uri": "pvc://m/v2", "sha256": worlds.MODEL}
    usual = Observed(
        identity=Identity("team-a", "flights", "uid-monitor"),
        manifest={
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "DriftMonitor",
            "metadata": {"namespace": "team-a", "name": "flights", "uid": "uid-monitor", "generation": 1},
        },
        spec=DriftMonitorSpec.model_validate({**SPEC, **(spec or {})}),
        invalid=None,
        status=DriftMonitorStatus(),
        checkpoint=known,
        stored={"metadata": {"name": "flights-drift", "resourceVersion": "1"}, "binaryData": encode(known)},
        deployment=deployment(),
        training=TrainingJobStatus.model_validate({"accepted": accepted}),
        look=Look(present=frozenset({"pod"}), serving=1, next=15.0),
    )
    return replace(usual, **changes)


def told(wanted: Plan) -> DriftMonitorStatus:
    return DriftMonitorStatus.model_validate(wanted.status)


def test_a_retrain_is_asked_for_at_once_and_a_rollback_when_there_is_proof() -> None:
    first = plan(observed(harmed(None, labels=0)), (), NOW)
    assert [request.action for request in told(first).requests] == ["Retrain"]
    (verdict,) = told(first).verdicts
    assert "once that is proved to be better: no label came back since harm was found" in (verdict.next or "")
    memory = decode(first.children[0].manifest)
    tally = msgspec.structs.replace(memory.tally, labels=500, pairs={BEFORE: BETTER})
    proven = msgspec.structs.replace(memory, tallies={worlds.MODEL: tally})
    second = plan(observed(proven, status=told(first)), (), NOW)
    rollback, retrain = told(second).requests
    assert (rollback.action, rollback.deployment, rollback.model) == ("Rollback", "flights", worlds.MODEL)
    assert rollback.previous is not None
    assert (rollback.previous.version, rollback.previous.sha256) == (1, BEFORE)
    assert (rollback.training_job, rollback.accepted_version, rollback.state) == (None, None, "Pending")
    assert retrain.id == told(first).requests[0].id
    (event,) = second.events
    assert event.reason == "RollbackRequested"
    assert "to go back to version 1" in event.message
    assert event.message.endswith("on 400 rows labelled since its loss is 0.1 where it is 0.4 now")
    (verdict,) = told(second).verdicts
    assert retrain.id in (verdict.action or "")
    assert rollback.id in (verdict.action or "")
    assert verdict.previous is not None
    assert (verdict.previous.wins, verdict.previous.loss, verdict.previous.now) == (True, 0.1, 0.4)
    taken = deployment(handled={"monitors": {"uid-monitor": rollback.id}})
    settled = decode(second.children[0].manifest)
    third = plan(observed(settled, status=told(second), deployment=taken), (), NOW)
    assert [request.state for request in told(third).requests] == ["Taken", "Pending"]
    assert not third.events


ROLLBACK_ONLY = {"actions": BOTH[1:]}
QUARANTINED = {"revision": "r", "reason": "Harm", "since": "2026-03-01T11:00:00Z"}


@pytest.mark.parametrize(
    ("case", "says"),
    [
        (observed(harmed(WORSE)), "its loss is 0.395 where it is 0.4 now"),
        (observed(harmed(None)), "none of the 500 labels that came back since harm was found is of a row that it has"),
        (observed(deployment=deployment(previous=None)), "no rollback: there is no version before this one"),
        (
            observed(deployment=deployment(previous={"version": 1, "sha256": BEFORE, "compared": False})),
            "no rollback: the pods do not score version 1 too",
        ),
        (
            observed(deployment=deployment(quarantined=[{**QUARANTINED, "sha256": BEFORE}])),
            "no rollback: version 1, the one before, is quarantined",
        ),
        (
            observed(deployment=deployment(quarantined=[{**QUARANTINED, "sha256": worlds.MODEL}])),
            "version 1 takes over from the quarantined one",
        ),
        (observed(deployment=replace(deployment(), pinned=2)), "no rollback: the deployment's spec.model.version is 2"),
        (
            observed(deployment=replace(deployment(), training_job=None)),
            "no rollback: the deployment's spec.model names",
        ),
        (observed(deployment=replace(deployment(), suspended=True)), "no rollback: the deployment is suspended"),
        (observed(rival="older"), "DriftMonitor older acts"),
        (observed(spec={"dryRun": True}), "until spec.dryRun is false"),
        (observed(spec={"actions": BOTH[:1]}), "takes the request"),
        (observed(spec={"governor": {"approval": "Required"}}), "perennial.dev/approve="),
    ],
)
def test_what_keeps_a_rollback_back_is_said(case: Observed, says: str) -> None:
    status = told(plan(case, (), NOW))
    assert [request.action for request in status.requests if request.action == "Rollback"] == []
    assert says in (status.verdicts[0].next or "")


def test_a_rollback_alone_asks_for_nothing_else() -> None:
    status = told(plan(observed(spec=ROLLBACK_ONLY), (), NOW))
    assert [request.action for request in status.requests] == ["Rollback"]
    assert status.governor is not None
    assert (status.governor.retrains, status.governor.rollbacks) == (0, 1)


def test_both_proposals_are_shown_and_told() -> None:
    wanted = plan(observed(spec={"governor": {"approval": "Required"}}), (), NOW)
    retrain, rollback = told(wanted).proposals
    assert (retrain.action, rollback.action, rollback.deployment) == ("Retrain", "Rollback", "flights")
    assert {"RetrainProposed", "RollbackProposed"} <= {event.reason for event in wanted.events}


def test_going_back_begins_anew_as_a_promotion_does() -> None:
    first = plan(observed(), (), NOW)
    promoted = deployment(
        stable={"revision": "r1", "version": 1, "sha256": BEFORE},
        previous={"version": 2, "sha256": worlds.MODEL, "compared": True},
        quarantined=[{**QUARANTINED, "sha256": worlds.MODEL}],
        handled={"monitors": {"uid-monitor": told(first).requests[0].id}},
    )
    memory = decode(first.children[0].manifest)
    look = Look(serving=1, reference=worlds.reference(COLUMNS, model=BEFORE, loss=worlds.loss(0.1)))
    after = plan(observed(memory, status=told(first), deployment=promoted, look=look), (), NOW)
    assert told(after).verdicts == ()
    assert told(after).model is not None
    assert [(each.action, each.state) for each in told(after).requests] == [
        ("Rollback", "Taken"),
        ("Retrain", "Pending"),
    ]
    assert decode(after.children[0].manifest).tallies[BEFORE] == Tally(loss=worlds.loss(0.1))


@pytest.mark.parametrize("state", ["HarmSuspected", "Drift"])
def test_without_labels_nobody_goes_back(state: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"spec.actions\[0\]: Rollback is for the state Harm only"):
        parse_spec(DriftMonitorSpec, {"spec": {**SPEC, "actions": [{"state": state, "action": "Rollback"}]}})
