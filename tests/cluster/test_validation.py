"""What is wrong is refused when it is applied, with words that a person understands; what is right is taken, with
its defaults.

Every manifest goes through kubectl to the API server as a dry run: nothing is left behind. The wrong ones go there as
one folder: a process for each would take a tenth of a processor's second two hundred times.
"""

import copy
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.xdist_group("validation")

TABLE = yaml.safe_load((Path(__file__).parent / "refusals.yaml").read_text())
KINDS = ("TrainingJob", "ModelDeployment", "DriftMonitor")
CASES = [(kind, number) for kind in KINDS for number in range(len(TABLE[kind]))]
SOURCE = re.compile(r'^Error from server \(\w+\): error when creating "[^"]*/(\w+)-(\d+)\.json": ', re.MULTILINE)
"""How kubectl begins what it says of a file."""

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


def manifest(kind: str, case: dict[str, Any]) -> dict[str, Any]:
    """The right manifest of the kind with the case's fields set and removed."""
    right = {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "flights", "namespace": "default"},
        "spec": copy.deepcopy(TABLE["bases"][kind]),
    }
    for path in case.get("remove", ()):
        parent, last = _field(right["spec"], path)
        del parent[last]
    for path, value in case.get("set", {}).items():
        parent, last = _field(right if path.startswith("metadata.") else right["spec"], path)
        parent[last] = value
    return right


def _field(node: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    *parents, last = path.split(".")
    for parent in parents:
        node = node.setdefault(parent, {})
    return node, last


def apply(kubectl: Kubectl, wanted: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return kubectl("apply", "--dry-run=server", "--output=json", "--filename=-", input=json.dumps(wanted))


@pytest.fixture(scope="module")
def refusals(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    """What kubectl says of each case, by kind and number, where it is refused."""
    folder = tmp_path_factory.mktemp("wrong")
    for kind, number in CASES:
        (folder / f"{kind}-{number}.json").write_text(json.dumps(manifest(kind, TABLE[kind][number])))
    said = SOURCE.split(kubectl("apply", "--dry-run=server", f"--filename={folder}").stderr)
    return {(kind, int(number)): words for kind, number, words in zip(said[1::3], said[2::3], said[3::3], strict=True)}


def describe(case: tuple[str, int]) -> str:
    kind, number = case
    value = TABLE[kind][number]
    return f"{kind}-{', '.join(value.get('set', value.get('remove', ())))}: {value['says']}"


@pytest.mark.parametrize("case", CASES, ids=describe)
def test_a_wrong_manifest_is_refused_in_words(refusals: dict[tuple[str, int], str], case: tuple[str, int]) -> None:
    kind, number = case
    assert case in refusals, "it was taken"
    assert TABLE[kind][number]["says"] in refusals[case]


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        ("TrainingJob", {"backoffLimit": 2, "maxRunsPerDay": 24, "pendingDeadlineSeconds": 600, "suspend": False}),
        ("ModelDeployment", {"replicas": 1, "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}}),
        ("DriftMonitor", {"falseAlarmEvery": "90d", "window": {"minRows": 500, "period": "5m"}, "materiality": 0.05}),
    ],
)
def test_the_smallest_manifest_is_taken_with_its_defaults(
    kubectl: Kubectl, kind: str, defaults: dict[str, Any]
) -> None:
    taken = apply(kubectl, manifest(kind, {}))
    assert taken.returncode == 0, taken.stderr
    stored = json.loads(taken.stdout)
    assert {name: stored["spec"][name] for name in defaults} == defaults
    assert stored["status"] == {"observedGeneration": -1}


def test_defaults_reach_into_what_is_given(kubectl: Kubectl) -> None:
    canary = {"strategy": "Canary", "steps": [{"weight": 10}], "analysis": {"errorRate": {"max": "1%"}}}
    scaling = {"maxReplicas": 3, "metrics": [{"type": "Concurrency", "target": 8}]}
    taken = apply(kubectl, manifest("ModelDeployment", {"set": {"rollout": canary, "autoscaling": scaling}}))
    assert taken.returncode == 0, taken.stderr
    spec = json.loads(taken.stdout)["spec"]
    assert spec["rollout"]["steps"] == [{"weight": 10, "minRequests": 100}]
    assert spec["rollout"]["inconclusive"] == {"after": "30m", "verdict": "Hold"}
    assert spec["autoscaling"]["minReplicas"] == 1
    assert spec["autoscaling"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_what_kubernetes_itself_checks_is_kept(kubectl: Kubectl) -> None:
    pod = {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        "volumes": [{"name": "certs", "configMap": {"name": "certs"}}],
        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "securityContext": {"fsGroup": 1000, "supplementalGroups": [4]},
    }
    taken = apply(kubectl, manifest("TrainingJob", {"set": {"pod": pod}}))
    assert taken.returncode == 0, taken.stderr
    assert json.loads(taken.stdout)["spec"]["pod"] == pod


def test_a_monitor_cannot_be_pointed_elsewhere(kubectl: Kubectl) -> None:
    first = manifest("DriftMonitor", {"set": {"metadata.name": "immutable", "suspend": True}})
    made = kubectl("create", "--filename=-", input=json.dumps(first))
    assert made.returncode == 0, made.stderr
    try:
        moved = manifest("DriftMonitor", {"set": {"metadata.name": "immutable", "deployment": "elsewhere"}})
        refusal = apply(kubectl, moved)
        assert refusal.returncode != 0
        assert "cannot be changed, as the baseline is of this deployment: make a new DriftMonitor" in refusal.stderr
    finally:
        kubectl("delete", "driftmonitor", "immutable", "--namespace=default")


@pytest.mark.parametrize(("kind", "short"), zip(KINDS, ("tj", "md", "dm"), strict=True))
def test_people_may_type_short_names(kubectl: Kubectl, kind: str, short: str) -> None:
    assert kubectl("get", short, "--all-namespaces").returncode == 0
    assert kind.lower() in kubectl("api-resources", "--categories=perennial", "--output=name").stdout


def test_every_field_explains_itself(kubectl: Kubectl) -> None:
    explained = kubectl("explain", "trainingjob.spec.data.window").stdout
    assert "Train on the newest rows only" in explained
