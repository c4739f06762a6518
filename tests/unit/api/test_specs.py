"""What the API server stores is understood, defaults are as documented, and what must be refused is refused in
Python too."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.model import Model
from perennial.api.modeldeployment import ModelDeploymentSpec
from perennial.api.trainingjob import TrainingJobSpec
from perennial.api.trainingjob_status import TrainingJobStatus
from perennial.api.validation import InvalidSpecError, parse_spec, parse_status, unknown_fields

SPECS: dict[str, type[Model]] = {
    "TrainingJob": TrainingJobSpec,
    "ModelDeployment": ModelDeploymentSpec,
    "DriftMonitor": DriftMonitorSpec,
}
TABLE = yaml.safe_load((Path(__file__).parents[2] / "cluster" / "refusals.yaml").read_text())
CASES = [(kind, case) for kind in SPECS for case in TABLE[kind] if case.get("by") != "server"]


def wrong_spec(kind: str, case: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = copy.deepcopy(TABLE["bases"][kind])
    for path in case.get("remove", ()):
        *parents, last = path.split(".")
        del _descend(spec, parents)[last]
    for path, value in case.get("set", {}).items():
        *parents, last = path.split(".")
        _descend(spec, parents)[last] = value
    return spec


def _descend(node: dict[str, Any], parents: list[str]) -> dict[str, Any]:
    for parent in parents:
        node = node.setdefault(parent, {})
    return node


@pytest.mark.parametrize("kind", SPECS)
def test_the_smallest_manifest_is_enough(kind: str) -> None:
    SPECS[kind].model_validate(TABLE["bases"][kind])


@pytest.mark.parametrize(("kind", "case"), CASES, ids=lambda value: value["says"] if isinstance(value, dict) else value)
def test_what_the_api_server_refuses_is_refused_in_python(kind: str, case: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpecError) as refusal:
        parse_spec(SPECS[kind], {"spec": wrong_spec(kind, case)})
    assert all(problem.startswith("spec") for problem in refusal.value.problems)


def test_the_table_has_a_hundred_and_more() -> None:
    assert sum(len(TABLE[kind]) for kind in SPECS) >= 100


def test_a_problem_names_its_field_and_says_what_to_do() -> None:
    spec = {
        "sklearn": {"estimator": "sklearn.svm.SVC"},
        "data": {"uri": "ftp://x/y"},
        "acceptance": {"metrics": [{"name": "f1"}]},
    }
    with pytest.raises(InvalidSpecError) as refusal:
        parse_spec(TrainingJobSpec, {"spec": spec})
    assert len(refusal.value.problems) == 2
    assert refusal.value.problems[0].startswith("spec.data.uri: must be where the rows are: s3://")
    assert refusal.value.problems[1] == (
        "spec.acceptance.metrics[0]: needs min, max or both: without a bound it accepts everything"
    )


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidSpecError, match=r"^spec\.deployment: is required$"):
        parse_spec(DriftMonitorSpec, {})


def test_a_status_that_cannot_be_read_is_made_anew() -> None:
    assert parse_status(TrainingJobStatus, {"status": {"runs": "none"}}) == TrainingJobStatus()
    assert parse_status(TrainingJobStatus, {"status": {"latestVersion": 3}}).latest_version == 3


def test_fields_of_a_newer_release_are_ignored() -> None:
    spec = TABLE["bases"]["TrainingJob"] | {"schedule": {"cron": "* * * * *"}}
    assert TrainingJobSpec.model_validate(spec).sklearn is not None


def test_what_is_no_field_is_told_with_the_one_that_may_be_meant() -> None:
    given: dict[Any, Any] = {
        "deployment": "flights",
        "lables": {},
        5: 1,
        "window": {"minrows": 9},
        "actions": [{"stat": "Harm"}],
    }
    actions = [{"state": "Harm", "action": "Retrain", "stat": "Harm"}]
    parsed = parse_spec(DriftMonitorSpec, {"spec": given | {"actions": actions}})
    assert unknown_fields(parsed, given, "spec") == [
        "spec.lables (did you mean labels?)",
        "spec.5",
        "spec.window.minrows (did you mean minRows?)",
        "spec.actions[0].stat (did you mean state?)",
    ]


def test_what_is_kubernetes_own_is_kept_as_it_is() -> None:
    pod = {
        "affinity": {"nodeAffinity": {"x": [1]}},
        "volumes": [{"name": "certs", "configMap": {"name": "certs", "items": [{"key": "a", "path": "b"}]}}],
        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    spec = TrainingJobSpec.model_validate(TABLE["bases"]["TrainingJob"] | {"pod": pod})
    assert spec.pod.to_manifest() == pod


def test_an_empty_selector_is_kept_since_it_selects_all() -> None:
    spec = {"model": {"trainingJob": "flights"}, "feedback": {"from": [{"namespaceSelector": {}}]}}
    assert ModelDeploymentSpec.model_validate(spec).to_manifest() == spec
