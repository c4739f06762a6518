"""People's verbs: which annotation each of them is, and how long one waits for it."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from typing import Any

import pytest

from perennial.api.driftmonitor_status import HandledVerbs as MonitorVerbs
from perennial.api.modeldeployment_status import HandledVerbs as DeploymentVerbs
from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.api.trainingjob_status import HandledTriggers
from perennial.cli.main import main
from perennial.cli.named import KINDS, Named, named
from perennial.cli.problem import CannotDo
from perennial.cli.verbs import ANNOTATIONS, ask, await_taken, fresh_token, proposal
from perennial.kube.plan import Manifest, Resource

from .conftest import Namespace

CASES = [(verb, resource) for verb, kinds in ANNOTATIONS.items() for resource in kinds]


def takes(verb: str, resource: Resource) -> Any:
    """The operator's part: it takes what it finds and notes the token."""

    def take(manifest: Manifest) -> None:
        if token := manifest["metadata"].get("annotations", {}).get(ANNOTATIONS[verb][resource]):
            manifest["status"]["handled"] = {verb: token}

    return take


@pytest.mark.parametrize(("verb", "resource"), CASES)
def test_a_verb_is_asked_for_and_awaited(cluster: Namespace, verb: str, resource: Resource) -> None:
    cluster.put(resource, spec={}, status={"handled": {}})
    what = Named(resource, "flights")
    said = ask(cluster, verb, what, "jane-1")
    assert cluster.get(what)["metadata"]["annotations"] == {f"perennial.dev/{verb}": "jane-1"}
    assert "jane-1" in said
    cluster.taken = takes(verb, resource)
    assert f"{verb} is taken" in await_taken(cluster, verb, what, "jane-1", 5)


def test_every_verb_that_a_status_has_is_there() -> None:
    known = {
        TRAININGJOBS: {"run"} & set(HandledTriggers.model_fields),
        MODELDEPLOYMENTS: set(DeploymentVerbs.model_fields) - {"monitors"},
        DRIFTMONITORS: set(MonitorVerbs.model_fields),
    }
    assert {resource: {verb for verb, kinds in ANNOTATIONS.items() if resource in kinds} for resource in KINDS} == known


def test_waiting_ends_and_says_what_the_resource_says(cluster: Namespace) -> None:
    told = {"type": "Ready", "status": "False", "reason": "Suspended", "message": "spec.suspend is true"}
    cluster.put(TRAININGJOBS, spec={"suspend": True}, status={"conditions": [told]})
    what = Named(TRAININGJOBS, "flights")
    assert "it is suspended" in ask(cluster, "run", what, "one")
    passed = count(step=10)
    with pytest.raises(CannotDo, match=r"run still waits after 60 s. Suspended: spec.suspend is true"):
        await_taken(cluster, "run", what, "one", 60, sleep=lambda _: None, clock=lambda: next(passed))
    ask(cluster, "run", what, "two")
    with pytest.raises(CannotDo, match="by another token"):
        await_taken(cluster, "run", what, "one", 60)


def test_the_run_that_was_started_is_named(cluster: Namespace) -> None:
    runs = [{"version": 4, "state": "Running", "triggeredBy": "one"}, {"version": 3, "state": "Succeeded"}]
    cluster.put(TRAININGJOBS, status={"handled": {"run": "one"}, "runs": runs})
    assert await_taken(cluster, "run", Named(TRAININGJOBS, "flights"), "one", 5).endswith("Version 4 is Running")


@pytest.mark.process
def test_help_comes_at_once() -> None:
    """It imports nothing that takes long."""
    slow = ("numpy", "pydantic", "kubernetes", "pandas", "msgspec")
    code = (
        f"import sys; from perennial.cli.main import parser; parser(); print([m for m in {slow} if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_tokens_are_never_the_same() -> None:
    assert len({fresh_token() for _ in range(20)}) == 20


@pytest.mark.parametrize("text", ["dm/flights", "driftmonitor/flights", "DriftMonitors.perennial.dev/flights"])
def test_resources_are_named_as_kubectl_names_them(text: str) -> None:
    assert named(text) == Named(DRIFTMONITORS, "flights")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "md/flights"], "this is for TrainingJob, such as tj/flights"),
        (["promote", "flights"], "'flights' is no resource: give its type and name, such as md/flights"),
        (["release", "pod/x"], "this is for ModelDeployment and DriftMonitor"),
        (["abort", "md/"], "is no resource"),
    ],
)
def test_what_cannot_be_asked_for_is_told(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


def test_only_a_proposal_that_waits_is_approved(cluster: Namespace) -> None:
    what = Named(DRIFTMONITORS, "flights")
    cluster.put(DRIFTMONITORS, status={})
    with pytest.raises(CannotDo, match="there is no proposal"):
        proposal(cluster, what, None)
    retrain, rollback = {"action": "Retrain", "id": "abc123"}, {"action": "Rollback", "id": "def456"}
    cluster.put(DRIFTMONITORS, status={"proposals": [retrain]})
    assert proposal(cluster, what, None) == "abc123"
    with pytest.raises(CannotDo, match="no proposal of a Rollback"):
        proposal(cluster, what, "Rollback")
    cluster.put(DRIFTMONITORS, status={"proposals": [retrain, rollback]})
    with pytest.raises(CannotDo, match="Retrain and Rollback are proposed: say which by --action"):
        proposal(cluster, what, None)
    assert proposal(cluster, what, "Rollback") == "def456"
