"""What a DriftMonitor says and asks for in every situation, as tables over a plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from perennial.api.conditions import ConditionType, find
from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.modeldeployment_status import ModelDeploymentStatus
from perennial.api.trainingjob_status import TrainingJobStatus
from perennial.kube.plan import Plan, Problem
from perennial.monitoring import judge
from perennial.monitoring import plan as planning
from perennial.monitoring.checkpoint import Checkpoint, Judged, Tally, decode, encode
from perennial.monitoring.course import Course, Span
from perennial.monitoring.faults import Finding
from perennial.monitoring.history import Bucket
from perennial.monitoring.names import RELEASE, Identity
from perennial.monitoring.objections import Brake
from perennial.monitoring.observed import Deployment, Look, Observed
from perennial.monitoring.plan import plan
from perennial.monitoring.requests import Governor, Request
from perennial.monitoring.triage import Triage
from perennial.monitoring.verdict import Loss, State, Verdict
from perennial.monitoring.words import described
from perennial.wire.reference import Expected

from . import worlds

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SPEC: dict[str, Any] = {"deployment": "flights", "actions": [{"state": "Harm", "action": "Retrain"}]}
IDENTITY = Identity("team-a", "flights", "uid-monitor")
RNG = np.random.default_rng(3)
COLUMNS = [worlds.numeric(name, RNG) for name in ("x", "y", "(score)")]
REFERENCE = worlds.reference(COLUMNS, loss=worlds.loss(0.1))
STABLE: dict[str, Any] = {"revision": "rev1", "version": 3, "sha256": worlds.MODEL}
DEPLOYMENT = Deployment(ModelDeploymentStatus.model_validate({"stable": STABLE}), "flights")
ACCEPTED = {"version": 3, "uri": "pvc://m/v3", "sha256": worlds.MODEL}
TRAINING = TrainingJobStatus.model_validate({"accepted": ACCEPTED})
SERVING = Look(present=frozenset({"pod"}), serving=1, next=15.0)


def begun(source: str = "Training") -> Checkpoint:
    spec = DriftMonitorSpec.model_validate({**SPEC, "baseline": {"from": source}})
    fresh = judge.begin(Checkpoint(), Judged(worlds.MODEL, 3), REFERENCE)
    fold = worlds.answer(worlds.epoch(1, [cell for column in COLUMNS for cell in worlds.draw(column, RNG, 40)], 40))
    return judge.advance(fresh, spec, {"pod": fold}, NOW.timestamp())


def verdict(state: State) -> Verdict:
    kind = "Missing" if state == "DataFault" else "Distribution"
    found = Finding("Drift", "x", kind, 0.3, 0.1, 12.0, "higher", 500, 0)
    since = NOW.timestamp() - 3600
    if state in ("Harm", "HarmSuspected"):
        return Verdict(f"v-{state}", state, since, NOW.timestamp(), 700, loss=Loss(0.1, 0.13, 0.25))
    return Verdict(f"v-{state}", state, since, NOW.timestamp(), 500, features=(found,))


def with_verdicts(*states: State, source: str = "Training") -> Checkpoint:
    """Found a whole window ago."""
    found = Triage(tuple(verdict(state) for state in states))
    return msgspec.structs.replace(begun(source), triage=found, opened=NOW.timestamp())


def observed(checkpoint: Checkpoint | None = None, *, spec: dict[str, Any] | None = None, **changes: Any) -> Observed:
    wanted = {**SPEC, "baseline": {"from": "Training"}, **(spec or {})}
    known = begun() if checkpoint is None else checkpoint
    usual = Observed(
        identity=IDENTITY,
        manifest={
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "DriftMonitor",
            "metadata": {"namespace": "team-a", "name": "flights", "uid": "uid-monitor", "generation": 7},
        },
        spec=DriftMonitorSpec.model_validate(wanted),
        invalid=None,
        status=DriftMonitorStatus(),
        checkpoint=known,
        stored={"metadata": {"name": "flights-drift", "resourceVersion": "1"}, "binaryData": encode(known)},
        deployment=DEPLOYMENT,
        training=TRAINING,
        look=SERVING,
    )
    return replace(usual, **changes)


def told(wanted: Plan) -> DriftMonitorStatus:
    return DriftMonitorStatus.model_validate(wanted.status)


def condition(wanted: Plan, kind: str) -> tuple[str, str]:
    found = find(told(wanted).conditions, ConditionType(kind))
    return (found.status, found.reason) if found else ("absent", "")


def remembered(wanted: Plan) -> Checkpoint:
    (child,) = wanted.children
    return decode(child.manifest)


UNREACHABLE = replace(SERVING, unreachable={"flights-1": "refused"})
EMPTY = Checkpoint()
WITHOUT_REFERENCE = judge.begin(EMPTY, Judged(worlds.MODEL, 3), None)


@pytest.mark.parametrize(
    ("case", "ready", "stalled"),
    [
        (observed(), ("True", "Watching"), "absent"),
        (replace(observed(), spec=None, invalid="spec.deployment: is required"), ("False", "InvalidSpec"), "True"),
        (observed(spec={"suspend": True}), ("False", "Suspended"), "absent"),
        (observed(deployment=None), ("False", "DeploymentNotFound"), "absent"),
        (observed(EMPTY, deployment=Deployment(ModelDeploymentStatus())), ("False", "NothingServed"), "absent"),
        (
            observed(WITHOUT_REFERENCE, look=replace(SERVING, no_reference="HTTP 404")),
            ("False", "NoReference"),
            "absent",
        ),
        (observed(WITHOUT_REFERENCE, look=UNREACHABLE), ("False", "CountsUnreachable"), "absent"),
        (observed(look=UNREACHABLE), ("False", "CountsUnreachable"), "absent"),
        (observed(look=replace(UNREACHABLE, serving=2)), ("True", "Watching"), "absent"),
        (observed(begun("Serving"), spec={"baseline": {"from": "Serving"}}), ("False", "Learning"), "absent"),
        (observed(rival="older"), ("True", "SecondMonitor"), "absent"),
        (observed(msgspec.structs.replace(begun(), windows=32)), ("False", "HarmUnobservable"), "absent"),
        (observed(msgspec.structs.replace(begun(), windows=32), spec={"actions": []}), ("True", "Watching"), "absent"),
    ],
)
def test_ready(case: Observed, ready: tuple[str, str], stalled: str) -> None:
    wanted = plan(case, (), NOW)
    assert condition(wanted, "Ready") == ready
    assert condition(wanted, "Stalled")[0] == stalled
    assert told(wanted).observed_generation == 7


@pytest.mark.parametrize(
    ("states", "conditions"),
    [
        (
            (),
            {
                "Drifting": ("False", "NoDrift"),
                "DataFault": ("False", "NoFault"),
                "Harmful": ("Unknown", "TooFewLabels"),
            },
        ),
        (("MinorDrift",), {"Drifting": ("False", "MinorDrift")}),
        (("Drift", "MinorDrift"), {"Drifting": ("True", "Drift"), "DataFault": ("False", "NoFault")}),
        (("DataFault",), {"DataFault": ("True", "MissingValues"), "Drifting": ("False", "NoDrift")}),
        (("Harm",), {"Harmful": ("True", "Harm"), "Drifting": ("False", "NoDrift")}),
        (("HarmSuspected",), {"Harmful": ("Unknown", "HarmSuspected"), "Drifting": ("False", "NoDrift")}),
        (("HarmSuspected", "Harm"), {"Harmful": ("True", "Harm")}),
        (("TrainServeSkew",), {"Drifting": ("False", "NoDrift"), "DataFault": ("False", "NoFault")}),
        (("AnchorDrift",), {"Drifting": ("False", "NoDrift"), "DataFault": ("False", "NoFault")}),
        (("AnchorDrift", "Drift"), {"Drifting": ("True", "Drift")}),
    ],
)
def test_what_was_found(states: tuple[State, ...], conditions: dict[str, tuple[str, str]]) -> None:
    wanted = plan(observed(with_verdicts(*states), spec={"actions": []}), (), NOW)
    assert {kind: condition(wanted, kind) for kind in conditions} == conditions
    assert {each.state for each in told(wanted).verdicts} == set(states)
    assert condition(wanted, "Ready")[0] == "True"
    assert all(each.next for each in told(wanted).verdicts)


OTHER = "c" * 64


def promoted(*whole: bool) -> Checkpoint:
    """One version a day was served, of each of which the baseline was whole or was not; the last one is judged now."""
    spec = DriftMonitorSpec.model_validate({**SPEC, "baseline": {"from": "Serving"}})
    checkpoint = begun("Serving")
    for day, complete in enumerate(whole, start=1):
        assert checkpoint.baseline
        baseline = msgspec.structs.replace(checkpoint.baseline, complete=complete)
        model = OTHER if (len(whole) - day) % 2 else worlds.MODEL
        reference = msgspec.structs.replace(REFERENCE, model=model)
        replaced = msgspec.structs.replace(checkpoint, baseline=baseline)
        checkpoint = judge.begin(replaced, Judged(model, 3), reference)
        checkpoint = judge.advance(checkpoint, spec, {}, (NOW + timedelta(days=day)).timestamp())
    return checkpoint


@pytest.mark.parametrize(
    ("whole", "ready", "says"),
    [
        ((True,), ("True", "Learning"), None),
        ((True, False, False), ("True", "Learning"), None),
        ((True, False, False, False), ("False", "LearningInVain"), "the last 3 versions gave way before"),
        ((False, False, False, False), ("False", "LearningInVain"), "after 1d on average: if that goes on"),
        ((False, False, False, True), ("True", "Learning"), None),
    ],
)
def test_baselines_that_are_cut_short_again_and_again_are_told(
    whole: tuple[bool, ...], ready: tuple[str, str], says: str | None
) -> None:
    """Retrains by night never complete a baseline of two weeks."""
    wanted = plan(observed(promoted(*whole), spec={"baseline": {"from": "Serving"}}), (), NOW)
    assert condition(wanted, "Ready") == ready
    found = find(told(wanted).conditions, ConditionType.READY)
    assert found
    assert (says in found.message) if says else "gave way" not in found.message


def test_the_next_version_does_not_hide_that_it_learns_in_vain() -> None:
    """An alert on the reason would begin to wait anew with every promotion."""
    promotion = observed(promoted(False, False, False), spec={"baseline": {"from": "Serving"}}, deployment=PROMOTED)
    fetching = plan(promotion, (), NOW)
    assert condition(fetching, "Ready") == ("False", "LearningInVain")
    found = find(told(fetching).conditions, ConditionType.READY)
    assert found
    assert found.message == "the reference is being fetched"


@pytest.mark.parametrize("changes", [{"spec": {"suspend": True}}, {"deployment": None}])
def test_a_monitor_that_does_not_watch_claims_nothing(changes: dict[str, Any]) -> None:
    wanted = plan(observed(with_verdicts("DataFault"), **changes), (), NOW)
    assert condition(wanted, "DataFault") == ("absent", "")
    assert told(wanted).verdicts == ()
    again = observed(with_verdicts("DataFault"), status=told(wanted))
    assert [each.state for each in told(plan(again, (), NOW)).verdicts] == ["DataFault"]


def test_an_allowance_of_a_window_is_called_what_it_is() -> None:
    case = observed(spec={"falseAlarmEvery": "5m", "window": {"period": "5m"}})
    ready = find(told(plan(case, (), NOW)).conditions, ConditionType.READY)
    assert ready is not None
    assert "every window may be a false alarm" in ready.message


@pytest.mark.parametrize("source", ["Training", "Serving"])
def test_a_feature_that_is_excluded_and_unknown_is_named(source: str) -> None:
    names = ["x", "(score)", "flight_id", "a", "b", "c"]
    spec = {"features": {"exclude": names}, "baseline": {"from": source}}
    ready = find(told(plan(observed(begun(source), spec=spec), (), NOW)).conditions, ConditionType.READY)
    assert ready is not None
    assert "spec.features.exclude has what is no feature of it: flight_id, a, b and 1 more" in ready.message


@pytest.mark.parametrize(
    ("source", "state", "says"),
    [
        ("Serving", "Drift", "(2h40m at least), or when perennial.dev/release takes what is served for normal"),
        ("Serving", "TrainServeSkew", "over when perennial.dev/release takes what is served for normal"),
        ("Training", "Drift", "or with another version: of this one the rows held out are what is normal"),
        ("Serving", "Harm", "(2h40m at least), or with another version"),
    ],
)
def test_a_verdict_says_how_it_ends(source: str, state: State, says: str) -> None:
    spec = {"actions": [], "baseline": {"from": source}}
    (found,) = told(plan(observed(with_verdicts(state, source=source), spec=spec), (), NOW)).verdicts
    assert says in (found.next or "")


@pytest.mark.parametrize(
    ("judged_from", "said", "words"),
    [
        (0.0, ("False", "NoHarm"), "250 labels (for 50% of the rows) speak for no loss above"),
        (60.0, ("False", "NoHarm"), "150 labels speak for no loss above"),
        (
            120.0,
            ("Unknown", "TooFewLabels"),
            "50 of them for what is judged; harm is not proved, and that there is none is said from 100 on",
        ),
    ],
)
def test_no_harm_is_claimed_only_with_labels_of_what_is_judged(
    judged_from: float, said: tuple[str, str], words: str
) -> None:
    spans = Span(0.0, [20, 80]), Span(60.0, [90, 10]), Span(120.0, [45, 5])
    tally = Tally(rows=500, labels=250, loss=REFERENCE.loss, losses=Course(spans, judged_from))
    wanted = plan(observed(msgspec.structs.replace(begun(), tallies={worlds.MODEL: tally})), (), NOW)
    assert condition(wanted, "Harmful") == said
    harmful = find(told(wanted).conditions, ConditionType.HARMFUL)
    assert harmful
    assert words in harmful.message


@pytest.mark.parametrize(("narrow", "says"), [(True, True), (False, False)])
def test_a_feature_that_may_be_the_time_is_told_what_to_do_about(narrow: bool, says: bool) -> None:
    cells = [cell for column in COLUMNS for cell in worlds.draw(column, RNG, 500)]
    if narrow:
        cells[: COLUMNS[0].cells] = [500 * (place == 5) for place in range(COLUMNS[0].cells)]
    memory = msgspec.structs.replace(with_verdicts("Drift"), history=(Bucket(1, 500, 0.0, 300.0, cells),))
    (found,) = told(plan(observed(memory), (), NOW)).verdicts
    advice = "x hardly varies within a window: if it tells the time, leave that out (spec.features.exclude) or have the"
    assert (advice in (found.next or "")) is says


def test_what_happened_to_a_feature_is_told_alike_in_status_and_events() -> None:
    wanted = plan(observed(with_verdicts("TrainServeSkew")), (), NOW)
    (skewed,) = told(wanted).verdicts
    assert [feature.message for feature in skewed.features] == ["higher"]
    assert f"TrainServeSkew: {described(skewed)}" in [event.message for event in wanted.events]


def test_labels_of_rows_from_before_the_monitor_are_no_share_of_its_rows() -> None:
    tally = Tally(rows=100, labels=250, loss=REFERENCE.loss, losses=Course((Span(0.0, [250, 0]),)))
    wanted = plan(observed(msgspec.structs.replace(begun(), tallies={worlds.MODEL: tally})), (), NOW)
    assert told(wanted).label_coverage == 1
    harmful = find(told(wanted).conditions, ConditionType.HARMFUL)
    assert harmful
    assert "250 labels (for 100% of the rows)" in harmful.message


APPROVAL = {"governor": {"approval": "Required"}}
RETRAIN_ON_DRIFT = {"actions": [{"state": "Drift", "action": "Retrain"}]}
RETRAIN_ON_SUSPICION = {"actions": [{"state": "HarmSuspected", "action": "Retrain"}]}
EXPECTED = Expected([0.1] * REFERENCE.score.cells, estimated=0.1, measured=0.1, doubt=0.01)


def suspectable(*states: State, expected: Expected = EXPECTED) -> Checkpoint:
    """With scores that tell the loss, and a window that was judged."""
    reference = msgspec.structs.replace(REFERENCE, expected=expected)
    cells = [cell for column in COLUMNS for cell in worlds.draw(column, RNG, 500)]
    return msgspec.structs.replace(
        with_verdicts(*states), reference=reference, history=(Bucket(1, 500, 0.0, 300.0, cells),)
    )


def test_what_scores_let_expect_is_told() -> None:
    loss = told(plan(observed(suspectable()), (), NOW)).expected_loss
    assert loss is not None
    assert [loss.reference, loss.now] == pytest.approx([0.1, 0.1])
    assert told(plan(observed(), (), NOW)).expected_loss is None


def test_who_wants_action_on_a_suspicion_is_told_when_there_can_be_none() -> None:
    off = suspectable(expected=msgspec.structs.replace(EXPECTED, measured=0.2))
    for spec, reason in ((RETRAIN_ON_SUSPICION, "HarmUnobservable"), ({"actions": []}, "Watching")):
        wanted = plan(observed(off, spec=spec), (), NOW)
        assert condition(wanted, "Ready")[1] == reason
        assert told(wanted).expected_loss is None
    harmful = find(told(plan(observed(off), (), NOW)).conditions, ConditionType.HARMFUL)
    assert harmful is not None
    assert "they let expect 0.1, and 0.2 was measured" in harmful.message


RUNNING = TrainingJobStatus.model_validate({
    "accepted": ACCEPTED,
    "conditions": [{
        "type": "Training", "status": "True", "observedGeneration": 1, "reason": "RunInProgress", "message": "",
        "lastTransitionTime": "2026-03-01T11:00:00Z",
    }],
})  # fmt: skip
NEWER = TrainingJobStatus.model_validate({"accepted": {**ACCEPTED, "version": 4, "sha256": worlds.OTHER_MODEL}})
ROLLING = Deployment(
    ModelDeploymentStatus.model_validate(
        {"stable": STABLE, "candidate": {"revision": "rev2", "version": 4, "sha256": worlds.OTHER_MODEL}}
    ),
    "flights",
)


ROLLED_BACK = Deployment(
    ModelDeploymentStatus.model_validate({
        "stable": STABLE,
        "quarantined": [{
            "revision": "rev2", "version": 4, "sha256": worlds.OTHER_MODEL, "reason": "errors",
            "since": "2026-03-01T11:00:00Z",
        }],
    }),
    "flights",
)  # fmt: skip
ABORTED = Deployment(
    ModelDeploymentStatus.model_validate({
        "stable": STABLE,
        "history": [{
            "revision": "rev2", "version": 4, "sha256": worlds.OTHER_MODEL, "outcome": outcome,
            "at": "2026-03-01T11:00:00Z",
        } for outcome in ("Aborted", "Failed")],
    }),
    "flights",
)  # fmt: skip
PINNED = Deployment(DEPLOYMENT.status, "flights", pinned=3)
PROMOTED = Deployment(
    ModelDeploymentStatus.model_validate({"stable": {**STABLE, "version": 4, "sha256": worlds.OTHER_MODEL}}),
    "flights",
)


@pytest.mark.parametrize(
    ("case", "asks", "next_word"),
    [
        (observed(with_verdicts("Harm")), True, "takes the request until"),
        (observed(with_verdicts("Harm"), spec={"actions": []}), False, "nothing is asked for"),
        (observed(with_verdicts("Drift")), False, "nothing is asked for"),
        (observed(with_verdicts("Drift"), spec=RETRAIN_ON_DRIFT), True, "takes the request until"),
        (observed(with_verdicts("MinorDrift"), spec=RETRAIN_ON_DRIFT), False, "below spec.materiality"),
        (observed(with_verdicts("AnchorDrift"), spec=RETRAIN_ON_DRIFT), False, "once perennial.dev/release takes"),
        (observed(with_verdicts("HarmSuspected")), False, "labels prove or clear it"),
        (observed(suspectable("HarmSuspected"), spec=RETRAIN_ON_SUSPICION), True, "takes the request until"),
        (observed(with_verdicts("Harm", "DataFault")), False, "held until the DataFault is over"),
        (observed(msgspec.structs.replace(with_verdicts("Harm"), opened=0.0)), False, "one whole window more"),
        (observed(with_verdicts("Harm"), rival="older"), False, "DriftMonitor older acts"),
        (observed(with_verdicts("Harm"), spec={"dryRun": True}), False, "until spec.dryRun is false"),
        (observed(with_verdicts("Harm"), training=RUNNING), False, "is running"),
        (observed(with_verdicts("Harm"), training=NEWER), False, "version 4 was accepted"),
        (observed(with_verdicts("Harm"), training=NEWER, deployment=ROLLED_BACK), True, "takes the request until"),
        (observed(with_verdicts("Harm"), training=NEWER, deployment=ABORTED), True, "takes the request until"),
        (observed(with_verdicts("Harm"), deployment=PINNED), False, "spec.model.version is 3"),
        (observed(with_verdicts("Harm"), deployment=ROLLING), False, "version 4 is being rolled out"),
        (observed(with_verdicts("Harm"), deployment=Deployment(DEPLOYMENT.status)), False, "follows no TrainingJob"),
        (observed(with_verdicts("Harm"), spec=APPROVAL), False, "perennial.dev/approve="),
        (observed(with_verdicts("Harm"), brake=Brake("switched off")), False, "nothing: switched off"),
        (
            observed(with_verdicts("Harm"), brake=Brake("used up", NOW.timestamp() + 60)),
            False,
            "nothing: used up; one is possible at 2026-03-01T12:01:00Z",
        ),
    ],
)
def test_acting(case: Observed, asks: bool, next_word: str) -> None:
    wanted = plan(case, (), NOW)
    requests = told(wanted).requests
    assert bool(requests) == asks
    assert any(next_word in (each.next or "") for each in told(wanted).verdicts)
    if asks:
        (request,) = requests
        assert (request.training_job, request.model, request.state) == ("flights", worlds.MODEL, "Pending")
        accepted = case.training.accepted if case.training else None
        assert accepted
        assert request.accepted_version == accepted.version
        assert request.expires_at == NOW + timedelta(hours=1)
        assert [event.reason for event in wanted.events if event.reason == "RetrainRequested"]
        assert remembered(wanted).governor.requests[0].id == request.id


def test_a_request_is_made_once_and_followed() -> None:
    first = plan(observed(with_verdicts("Harm")), (), NOW)
    memory = remembered(first)
    request = memory.governor.requests[0]
    later = NOW + timedelta(seconds=30)
    again = plan(observed(memory, status=told(first)), (), later)
    assert told(again).requests == told(first).requests
    assert not again.events
    taken = TrainingJobStatus.model_validate(
        {"accepted": ACCEPTED, "handled": {"monitors": {"uid-monitor": request.id}}}
    )
    after = plan(observed(memory, status=told(first), training=taken), (), later)
    assert told(after).requests[0].state == "Taken"
    (harm,) = told(after).verdicts
    assert request.id in (harm.action or "")
    assert "after the cooldown at 2026-03-01T13:00:00Z" in (harm.next or "")


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ({"state": "Unchanged"}, "; run v4 came to the very model that is accepted already: its data have nothing new"),
        ({"state": "Rejected"}, "; run v4 missed a gate"),
        ({"state": "Succeeded"}, None),
        ({"state": "Unchanged", "triggeredBy": "another"}, None),
        ({"state": "Unchanged", "startedAt": "2026-03-01T11:00:00Z"}, None),
    ],
)
def test_what_a_retrain_has_come_to_is_told(run: dict[str, Any], says: str | None) -> None:
    first = plan(observed(with_verdicts("Harm")), (), NOW)
    usual = {"version": 4, "trigger": "DriftMonitor", "triggeredBy": "flights", "startedAt": "2026-03-01T12:00:02Z"}
    handled = {"monitors": {"uid-monitor": told(first).requests[0].id}}
    ended = TrainingJobStatus.model_validate({"accepted": ACCEPTED, "handled": handled, "runs": [{**usual, **run}]})
    later = NOW + timedelta(minutes=1)
    (harm,) = told(plan(observed(remembered(first), status=told(first), training=ended), (), later)).verdicts
    action = harm.action or ""
    assert (says in action) if says else ("run v4" not in action and told(first).requests[0].id in action)


def runs(*ended: tuple[int, str, str]) -> TrainingJobStatus:
    """A TrainingJob's runs by number, state and start, which came to one model, of which version 3 was accepted."""
    model = {"uri": "s3://models/flights/v3", "sha256": worlds.MODEL}
    told = [
        {"version": version, "state": state, "trigger": "Scheduled", "startedAt": at, "model": model}
        for version, state, at in ended
    ]
    return TrainingJobStatus.model_validate({"accepted": ACCEPTED, "runs": told})


FIRST = (3, "Succeeded", "2026-03-01T06:00:00Z")
SAME_AGAIN = (4, "Unchanged", "2026-03-01T11:00:00Z")


@pytest.mark.parametrize(
    ("found", "training", "says"),
    [
        ("10:00", runs(SAME_AGAIN, FIRST), "what they were at 2026-03-01T06:00:00Z, as run v4 found; once they are"),
        ("10:00", runs(SAME_AGAIN, FIRST), "kubectl perennial run tj/flights trains at once, else a retrain is asked"),
        ("10:00", runs(SAME_AGAIN, FIRST), "asked for at 2026-03-01T16:00:00Z"),
        # The same for an hour until an hour ago: that is worth a try by now.
        ("10:00", runs(SAME_AGAIN, (3, "Succeeded", "2026-03-01T10:00:00Z")), "takes the request"),
        # What is new since may be in the data, too.
        ("11:30", runs(SAME_AGAIN, FIRST), "takes the request"),
        ("10:00", runs((5, "Rejected", "2026-03-01T11:30:00Z"), SAME_AGAIN, FIRST), "takes the request"),
    ],
)
def test_data_that_have_not_changed_are_left_alone_for_as_long_again(
    found: str, training: TrainingJobStatus, says: str
) -> None:
    memory = with_verdicts("Harm")
    hour, minute = found.split(":")
    moment = NOW.replace(hour=int(hour), minute=int(minute)).timestamp()
    (harm,) = memory.triage.verdicts
    triage = memory.triage.replace("Harm", msgspec.structs.replace(harm, found=moment))
    memory = msgspec.structs.replace(memory, triage=triage, opened=moment + 60)
    (verdict,) = told(plan(observed(memory, training=training), (), NOW)).verdicts
    assert says in (verdict.next or "")


def test_that_data_have_not_changed_is_an_event_once() -> None:
    first = plan(observed(with_verdicts("Harm")), (), NOW)
    request = told(first).requests[0].id
    again = {"version": 4, "state": "Unchanged", "trigger": "DriftMonitor", "triggeredBy": "flights"}
    accepted = runs(FIRST).runs[0].to_manifest()
    seen = {**accepted, **again, "startedAt": "2026-03-01T12:00:02Z"}
    training = TrainingJobStatus.model_validate(
        {"accepted": ACCEPTED, "handled": {"monitors": {"uid-monitor": request}}, "runs": [seen, accepted]}
    )
    later = NOW + timedelta(hours=2)
    second = plan(observed(remembered(first), status=told(first), training=training), (), later)
    assert [event.reason for event in second.events] == ["NothingNew"]
    assert "asked for at 2026-03-01T18:00:04Z" in second.events[0].message
    assert len(told(second).requests) == 1
    third = plan(observed(remembered(second), status=told(second), training=training), (), later)
    assert not third.events
    asks = plan(observed(remembered(second), status=told(second), training=training), (), NOW + timedelta(hours=7))
    assert len(told(asks).requests) == 2
    assert remembered(asks).governor.retrains == 2


def test_a_run_that_somebody_else_asked_for_tells_of_unchanged_data_too() -> None:
    memory = with_verdicts("Harm")
    first = plan(observed(memory, training=RUNNING), (), NOW)
    assert not told(first).requests
    training = runs((4, "Unchanged", "2026-03-01T12:00:30Z"), FIRST)
    second = plan(observed(remembered(first), status=told(first), training=training), (), NOW + timedelta(minutes=1))
    (event,) = second.events
    assert event.reason == "NothingNew"
    assert event.message.startswith("the training data are what they were at 2026-03-01T06:00:00Z, as run v4 found")
    third = plan(observed(remembered(second), status=told(second), training=training), (), NOW + timedelta(hours=1))
    assert not third.events


def test_what_was_done_about_an_earlier_harm_is_not_done_about_this_one() -> None:
    before = Request(
        id="r1", training_job="flights", model=worlds.MODEL, reason="Harm", created=0.0, expires=1.0, state="Taken"
    )
    memory = msgspec.structs.replace(with_verdicts("Harm"), governor=Governor(requests=(before,)))
    (harm,) = told(plan(observed(memory, deployment=PINNED), (), NOW)).verdicts
    assert harm.action is None


def test_a_person_approves_what_is_proposed() -> None:
    case = observed(with_verdicts("Harm"), spec=APPROVAL)
    first = plan(case, (), NOW)
    (proposal,) = told(first).proposals
    assert proposal.reason.startswith("Harm: the loss is 0.25")
    assert [event.message for event in first.events if event.reason == "RetrainProposed"]
    waiting = replace(case, checkpoint=remembered(first), status=told(first))
    again = plan(waiting, (), NOW + timedelta(hours=5))
    assert told(again).proposals == (proposal,)
    assert not again.events
    waiting.manifest["metadata"]["annotations"] = {"perennial.dev/approve": proposal.id}
    wanted = plan(waiting, (), NOW + timedelta(hours=5))
    assert [event.reason for event in wanted.events] == ["RetrainRequested"]
    approved = told(wanted)
    assert [request.id for request in approved.requests] == [proposal.id]
    assert approved.proposals == ()
    assert approved.handled.approve == proposal.id


def test_an_approval_of_nothing_is_said() -> None:
    case = observed(with_verdicts("Harm"), spec=APPROVAL)
    case.manifest["metadata"]["annotations"] = {"perennial.dev/approve": "slip"}
    first = plan(case, (), NOW)
    (harm,) = told(first).verdicts
    assert told(first).requests == ()
    assert (harm.next or "").endswith("; slip, which it has, names nothing that waits")
    (proposal,) = told(first).proposals
    used = msgspec.structs.replace(remembered(first), governor=Governor(proposals=(), approved="slip"))
    (again,) = told(plan(replace(case, checkpoint=used), (), NOW)).verdicts
    assert (again.next or "").endswith(f"perennial.dev/approve={proposal.id}")


def test_a_proposal_goes_with_what_asked_for_it() -> None:
    first = plan(observed(with_verdicts("Harm"), spec=APPROVAL), (), NOW)
    calm = msgspec.structs.replace(remembered(first), triage=Triage())
    assert told(plan(observed(calm, spec=APPROVAL, status=told(first)), (), NOW)).proposals == ()


@pytest.mark.parametrize(
    ("sight", "says"),
    [
        ((0.04, 0.01), "a difference of 0.04 of cumulative probability would show"),
        ((0.2, 0.01), "a difference of 0.2 of cumulative probability would show, and less with more rows"),
        ((0.2, 0.08), "would show, and no less than 0.08 with a baseline of 5000 rows"),
    ],
)
def test_silence_says_what_would_have_been_seen(sight: tuple[float, float], says: str) -> None:
    quiet = msgspec.structs.replace(suspectable(), triage=Triage(), sight=sight, windows=1)
    drifting = find(told(plan(observed(quiet), (), NOW)).conditions, ConditionType.DRIFTING)
    assert drifting is not None
    assert drifting.message.startswith("nothing differs from the baseline in 1 window; ")
    assert drifting.message.endswith(says)


def test_what_broken_data_bring_about_is_not_called_normal() -> None:
    broken = msgspec.structs.replace(suspectable("DataFault"), windows=2)
    status = told(plan(observed(broken), (), NOW))
    drifting = find(status.conditions, ConditionType.DRIFTING)
    assert drifting is not None
    assert drifting.message.startswith("beside what is broken (DataFault), nothing differs")
    (verdict,) = status.verdicts
    assert verdict.next == (
        "over after 8 more clean windows (40m at least), or with another version: of this one the rows held out are "
        "what is normal (spec.baseline.from)"
    )


def test_nothing_new_writes_nothing() -> None:
    case = observed(with_verdicts("Drift"))
    first = plan(case, (), NOW)
    settled = replace(case, checkpoint=remembered(first), stored=first.children[0].manifest, status=told(first))
    again = plan(settled, (), NOW + timedelta(seconds=20))
    assert again.children[0].manifest["binaryData"] is first.children[0].manifest["binaryData"]
    assert again.status == first.status
    assert again.events == ()


def test_events_are_told_until_the_status_persisted() -> None:
    case = observed(with_verdicts("Drift", "DataFault"))
    reasons = {event.reason for event in plan(case, (), NOW).events}
    assert {"Drift", "MissingValues", "BaselineComplete"} <= reasons
    over = replace(case, checkpoint=begun(), status=told(plan(case, (), NOW)))
    assert [event.message for event in plan(over, (), NOW).events] == [
        "DataFault of x (v-DataFault) is over: it has looked normal for long enough",
        "Drift of x (v-Drift) is over: it has looked normal for long enough",
    ]


def test_an_event_says_why_something_is_over() -> None:
    found = told(plan(observed(with_verdicts("Harm")), (), NOW))
    case = observed(with_verdicts("Harm"), status=found)
    manifest = {**case.manifest, "metadata": {**case.manifest["metadata"], "annotations": {RELEASE: "1"}}}
    released = plan(replace(case, manifest=manifest), (), NOW)
    assert "Harm (v-Harm) is over: perennial.dev/release 1 was taken" in [event.message for event in released.events]
    promoted = Deployment(ModelDeploymentStatus.model_validate({"stable": {**STABLE, "sha256": worlds.OTHER_MODEL}}))
    said = [event.message for event in plan(replace(case, deployment=promoted), (), NOW).events]
    assert "Harm (v-Harm) is over: another model is judged" in said


def test_an_event_says_what_broken_data_were_the_cause_of() -> None:
    cause = "broken data (DataFault) were the cause"
    for states, left in ((("Drift",), ("DataFault",)), (("DataFault", "Harm"), ())):
        found = told(plan(observed(with_verdicts(*states)), (), NOW))
        said = [event.message for event in plan(observed(with_verdicts(*left), status=found), (), NOW).events]
        assert [message.endswith(cause) for message in said if states[-1] in message.split(" ")[0]] == [True]


def test_only_harm_says_how_the_version_before_does() -> None:
    before = {"version": 2, "sha256": worlds.OTHER_MODEL, "compared": True}
    status = ModelDeploymentStatus.model_validate({"stable": STABLE, "previous": before})
    found = told(plan(observed(with_verdicts("Drift", "Harm"), deployment=Deployment(status, "flights")), (), NOW))
    assert {verdict.state for verdict in found.verdicts if verdict.previous} == {"Harm"}


def test_promotion_begins_anew_and_keeps_what_the_old_model_is_owed() -> None:
    memory = with_verdicts("Harm")
    request = Request(
        id="r1",
        training_job="flights",
        model=worlds.MODEL,
        reason="Harm",
        created=0.0,
        expires=NOW.timestamp() + 60,
    )
    governor = Governor(requests=(request,))
    memory = msgspec.structs.replace(memory, governor=governor)
    reference = worlds.reference(COLUMNS, model=worlds.OTHER_MODEL, loss=worlds.loss(0.05))
    look = replace(SERVING, reference=reference)
    wanted = plan(observed(memory, deployment=PROMOTED, look=look), (), NOW)
    after = remembered(wanted)
    assert told(wanted).verdicts == ()
    judged = told(wanted).model
    assert judged is not None
    assert judged.version == 4
    assert after.reference == reference
    assert after.tallies[worlds.MODEL].rows == 40
    assert after.tally.rows == 0
    assert after.pods == memory.pods
    assert told(wanted).requests[0].state == "Superseded"


def test_what_the_loop_learns_anew_leaves_a_monitor_ready() -> None:
    spec = {"baseline": {"from": "Serving"}}
    for before, status in ((begun("Training"), "True"), (begun("Serving"), "False")):
        promoted = observed(before, spec=spec, deployment=PROMOTED)
        fetching = plan(promoted, (), NOW)
        assert condition(fetching, "Ready") == (status, "Learning")
        look = replace(SERVING, reference=worlds.reference(COLUMNS, model=worlds.OTHER_MODEL, loss=worlds.loss(0.1)))
        learning = plan(replace(promoted, checkpoint=remembered(fetching), look=look), (), NOW)
        assert condition(learning, "Ready") == (status, "Learning")
        assert condition(learning, "Drifting") == ("Unknown", "Learning")
        released = replace(promoted, checkpoint=judge.release(remembered(learning), "1"))
        assert condition(plan(released, (), NOW), "Ready") == ("False", "Learning")


def test_the_governor_has_stopped_until_a_person_releases_it() -> None:
    """Not with the last retrain, which may help; nor does it look going again because a person trains by hand."""

    def since(wanted: Plan) -> datetime | None:
        governor = told(wanted).governor
        return governor.stopped_since if governor else None

    memory = msgspec.structs.replace(with_verdicts("Harm"), governor=Governor(retrains=3))
    assert since(plan(observed(memory, training=RUNNING), (), NOW)) is None
    stopped = plan(observed(memory), (), NOW)
    assert since(stopped) == NOW
    later = NOW + timedelta(hours=1)
    for training in (TRAINING, RUNNING):
        assert since(plan(observed(remembered(stopped), training=training), (), later)) == NOW
    over = msgspec.structs.replace(remembered(stopped), triage=Triage())
    assert since(plan(observed(over), (), later)) == NOW
    assert since(plan(observed(over, spec={"governor": {"stopAfter": 4}}), (), later)) is None
    assert since(plan(observed(over, spec={"suspend": True}), (), later)) is None
    released = observed(remembered(stopped))
    released.manifest["metadata"]["annotations"] = {"perennial.dev/release": "1"}
    assert since(plan(released, (), later)) is None


def test_a_person_releases_what_was_found() -> None:
    memory = msgspec.structs.replace(with_verdicts("Harm", "DataFault"), governor=Governor(retrains=3))
    case = observed(memory)
    case.manifest["metadata"]["annotations"] = {"perennial.dev/release": "1"}
    wanted = plan(case, (), NOW)
    assert told(wanted).verdicts == ()
    assert told(wanted).governor is None
    assert told(wanted).handled.release == "1"
    again = msgspec.structs.replace(with_verdicts("Harm"), released="1")
    kept = replace(case, checkpoint=again)
    assert told(plan(kept, (), NOW)).verdicts


@pytest.mark.parametrize(
    ("problem", "reason", "stalled"),
    [("NameTaken", "NameTaken", "True"), ("Forbidden", "Forbidden", "absent"), ("Invalid", "InvalidChild", "absent")],
)
def test_a_checkpoint_that_is_refused_is_not_on_record(problem: str, reason: str, stalled: str) -> None:
    counts = [cell for column in COLUMNS for cell in worlds.draw(column, RNG, 40)]
    look = replace(SERVING, answers={"pod": worlds.answer(worlds.epoch(2, counts, 40))})
    case = observed(look=look)
    refused = plan(case, (Problem(problem, "ConfigMap", "flights-drift", "no"),), NOW)
    assert condition(refused, "Ready") == ("False", reason)
    assert condition(refused, "Stalled")[0] == stalled
    assert told(refused).rows == 40
    assert told(plan(case, (), NOW)).rows == 80


def test_what_no_configmap_holds_is_said_in_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MOST_BYTES", 2048)
    wanted = plan(observed(), (), NOW)
    ready = find(told(wanted).conditions, ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "TooManyColumns")
    assert ready.message.startswith("what is remembered of 3 columns takes ")
    assert wanted.children == ()


def test_an_unreadable_checkpoint_is_said_and_replaced() -> None:
    case = observed(
        EMPTY,
        unreadable="no checkpoint",
        stored={"metadata": {"name": "flights-drift", "resourceVersion": "1"}, "binaryData": {}},
    )
    wanted = plan(case, (), NOW)
    assert "CheckpointUnreadable" in [event.reason for event in wanted.events]
    assert remembered(wanted).model == Judged(worlds.MODEL, 3)


def test_the_checkpoint_is_owned_and_labelled() -> None:
    (child,) = plan(observed(), (), NOW).children
    metadata = child.manifest["metadata"]
    assert metadata["name"] == "flights-drift"
    assert metadata["labels"]["perennial.dev/driftmonitor"] == "flights"
    assert metadata["ownerReferences"][0]["uid"] == "uid-monitor"


def test_a_monitor_that_is_being_deleted_wants_nothing() -> None:
    case = observed()
    case.manifest["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert plan(case, (), NOW) == Plan()


@pytest.mark.parametrize(
    ("case", "seconds"),
    [
        (observed(), 15.0),
        (observed(look=replace(SERVING, next=0.0)), 0.2),
        (
            observed(
                msgspec.structs.replace(with_verdicts("Harm"), governor=Governor(cooldown_until=NOW.timestamp() + 5))
            ),
            5.0,
        ),
    ],
)
def test_when_it_looks_again(case: Observed, seconds: float) -> None:
    assert plan(case, (), NOW).requeue_after == pytest.approx(seconds)
