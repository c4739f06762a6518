"""The chart as helm installs it: taken by the API server, restricted, and with no more rights than the operator
needs."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.xdist_group("chart")

CHART = str(Path(__file__).parents[2] / "charts" / "perennial")
NAMESPACE = "perennial-chart-test"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAMESPACE}"

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def release(kubectl: Command, helm: Command) -> Iterator[None]:
    """The chart without its CRDs, which the cluster has already, and without pods: what is looked at are its rights
    and objects."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}
    assert kubectl("apply", "--filename=-", input=json.dumps(namespace)).returncode == 0
    options = [f"--set=fullnameOverride={NAMESPACE}", "--set=crds.install=false", "--set=replicas=0"]
    done = helm("install", "chart-test", CHART, f"--namespace={NAMESPACE}", *options)
    assert done.returncode == 0, done.stderr
    assert "would violate PodSecurity" not in done.stderr
    yield
    helm("uninstall", "chart-test", f"--namespace={NAMESPACE}")
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def may(kubectl: Command, verb: str, resource: str, *, sub: str = "", namespace: str = "default") -> bool:
    options = [f"--as={ACCOUNT}", f"--namespace={namespace}", *([f"--subresource={sub}"] if sub else [])]
    return kubectl("auth", "can-i", verb, resource, *options).stdout.strip() == "yes"


@pytest.mark.parametrize(
    ("verb", "resource", "sub"),
    [
        ("list", "trainingjobs.perennial.dev", ""),
        ("update", "modeldeployments.perennial.dev", "status"),
        ("create", "jobs.batch", ""),
        ("patch", "deployments.apps", ""),
        ("create", "controllerrevisions.apps", ""),
        ("create", "persistentvolumeclaims", ""),
        ("create", "events.events.k8s.io", ""),
        ("watch", "nodes", ""),
    ],
)
@pytest.mark.usefixtures("release")
def test_the_operator_may_do_its_work(kubectl: Command, verb: str, resource: str, sub: str) -> None:
    assert may(kubectl, verb, resource, sub=sub)


@pytest.mark.parametrize(
    ("verb", "resource", "sub"),
    [
        ("get", "secrets", ""),
        ("list", "secrets", ""),
        ("create", "pods", "exec"),
        ("get", "pods", "log"),
        ("delete", "pods", ""),
        ("patch", "jobs.batch", ""),
        ("update", "trainingjobs.perennial.dev", ""),
        ("patch", "modeldeployments.perennial.dev", ""),
        ("delete", "driftmonitors.perennial.dev", ""),
        ("delete", "persistentvolumeclaims", ""),
        ("delete", "services", ""),
        ("update", "leases.coordination.k8s.io", ""),
        ("create", "rolebindings.rbac.authorization.k8s.io", ""),
    ],
)
@pytest.mark.usefixtures("release")
def test_the_operator_may_do_nothing_else(kubectl: Command, verb: str, resource: str, sub: str) -> None:
    assert not may(kubectl, verb, resource, sub=sub)


@pytest.mark.usefixtures("release")
def test_leadership_is_settled_in_its_own_namespace(kubectl: Command) -> None:
    assert may(kubectl, "update", "leases.coordination.k8s.io", namespace=NAMESPACE)


def test_rights_can_be_kept_to_chosen_namespaces(helm: Command) -> None:
    rendered = helm("template", "some", CHART, "--set=watchNamespaces={a,b}").stdout
    assert rendered.count("kind: ClusterRoleBinding\n") == 1, "only of nodes, which have no namespace"
    assert "namespace: a\n" in rendered
    assert 'value: "a,b"' in rendered


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("sotre.uri=s3://models", "'sotre' not allowed"),
        ("store.uri=ftp://models", "does not match pattern"),
        ("replicas=many", "got string, want integer"),
    ],
)
def test_a_wrong_value_is_refused(helm: Command, option: str, says: str) -> None:
    refusal = helm("template", "some", CHART, f"--set={option}")
    assert refusal.returncode != 0
    assert says in refusal.stderr


def test_the_chart_is_clean_and_says_what_next(helm: Command) -> None:
    assert helm("lint", "--strict", CHART).returncode == 0
    notes = helm("install", "some", CHART, "--dry-run=client", "--set=store.uri=s3://models/{namespace}").stdout
    assert "Models are stored at s3://models/{namespace}" in notes
    assert "kubectl get perennial --all-namespaces" in notes


def test_the_definitions_outlive_the_release(helm: Command) -> None:
    rendered = helm("template", "some", CHART).stdout
    assert rendered.count("kind: CustomResourceDefinition\n") == 3
    assert rendered.count("helm.sh/resource-policy: keep") == 3


def test_a_scrape_leaves_monitors_their_namespace(helm: Command) -> None:
    done = helm(
        "template", "x", CHART, "--show-only=templates/servicemonitor.yaml", "--set=metrics.serviceMonitor.enabled=true"
    )
    (endpoint,) = yaml.safe_load(done.stdout)["spec"]["endpoints"]
    assert endpoint == {"port": "metrics", "interval": "30s", "honorLabels": True}


def test_alert_rules_come_as_they_are(helm: Command) -> None:
    done = helm(
        "template", "x", CHART, "--show-only=templates/prometheusrule.yaml", "--set=metrics.prometheusRule.enabled=true"
    )
    rule = yaml.safe_load(done.stdout)
    assert rule["spec"] == yaml.safe_load((Path(CHART) / "alerts.yaml").read_text()), done.stderr
