"""The chart's values and rules, as far as they can be judged without helm."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import perennial
from perennial.settings import Settings

CHART = Path(__file__).parents[3] / "charts" / "perennial"
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").glob("*.*")}
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def leaves(node: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for name, value in node.items():
        inner = leaves(value, f"{path}.{name}") if isinstance(value, dict) and value else [f"{path}.{name}"]
        found += [f"{path}.{name}"] if name == "resources" else inner
    return found


def test_the_default_values_keep_their_own_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sotre": {}},
        {"store": {"uri": "ftp://models"}},
        {"store": {"uri": "s3://key:secret@models"}},
        {"store": {"secretName": "Not A Name"}},
        {"store": {"uri": "", "secretName": "models"}},
        {"store": {"size": "ten"}},
        {"store": {"accessMode": "ReadWriteSometimes"}},
        {"replicas": "two"},
        {"operator": {"logLevel": "LOUD"}},
        {"image": {"operator": ""}},
        {"estimators": "lightgbm.LGBMClassifier"},
        {"estimators": ["LGBMClassifier"]},
        {"estimators": ["lightgbm.LGBMClassifier,os.system"]},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(VALUES | wrong, SCHEMA)


def test_every_value_is_used_and_every_used_value_exists() -> None:
    text = "\n".join([*TEMPLATES.values(), *(p.read_text() for p in (CHART / "templates" / "crds").glob("*.yaml"))])
    used = set(re.findall(r"\.Values((?:\.\w+)+)", text))
    assert used == set(leaves(VALUES))


def test_the_operator_may_do_no_more_than_it_needs() -> None:
    text = "\n".join(line for line in TEMPLATES["rbac.yaml"].splitlines() if "{{" not in line)
    roles = [doc for doc in yaml.safe_load_all(text) if doc and "rules" in doc]
    assert [role["kind"] for role in roles] == ["ClusterRole", "ClusterRole", "Role"]
    for rule in (rule for role in roles for rule in role["rules"]):
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"secrets", "pods/exec", "pods/log", "serviceaccounts", "clusterroles"} & set(rule["resources"])
        assert not {"deletecollection", "impersonate", "escalate", "bind"} & set(rule["verbs"])
        if rule["apiGroups"] == ["perennial.dev"] and set(rule["verbs"]) & {"update", "patch", "create", "delete"}:
            assert all("/" in resource for resource in rule["resources"]), "users' specs are never written"


def test_versions_are_one() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == perennial.__version__
    assert chart["appVersion"] == chart["version"]
    assert VALUES["image"]["operator"].endswith(f":{chart['appVersion']}")
    assert VALUES["image"]["runtime"].endswith(f":{chart['appVersion']}")
    oldest = chart["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
    assert f"Kubernetes {oldest} or newer" in (CHART.parents[1] / "README.md").read_text()


def test_the_operator_reads_what_the_chart_sets() -> None:
    variables = set(re.findall(r"name: (PERENNIAL_\w+)", TEMPLATES["deployment.yaml"]))
    rendered = {
        "PERENNIAL_NAMESPACE": "somewhere",
        "PERENNIAL_POD_NAME": "perennial-0",
        "PERENNIAL_DEPLOYMENT": "perennial",
        "PERENNIAL_POD_LABELS": '{"app.kubernetes.io/name":"other"}',
        "PERENNIAL_WATCH_NAMESPACES": "a,b",
        "PERENNIAL_RUNTIME_IMAGE": VALUES["image"]["runtime"],
        "PERENNIAL_IMAGE_PULL_POLICY": "Always",
        "PERENNIAL_ESTIMATORS": "lightgbm.LGBMClassifier,lightgbm.LGBMRegressor",
        "PERENNIAL_STORE_URI": "s3://models/{namespace}",
        "PERENNIAL_STORE_SECRET": "models",
        "PERENNIAL_STORE_SIZE": "2Gi",
        "PERENNIAL_STORAGE_CLASS": "fast",
        "PERENNIAL_STORE_ACCESS_MODE": "ReadWriteMany",
        "PERENNIAL_ACTIONS": "false",
        "PERENNIAL_RETRAINS_A_DAY": "9",
        "PERENNIAL_ALERTMANAGER_URL": "http://alertmanager.monitoring:9093",
        "PERENNIAL_WORKERS": "3",
        "PERENNIAL_RESYNC_SECONDS": "77",
        "PERENNIAL_LOG_LEVEL": "DEBUG",
        "PERENNIAL_LOG_FORMAT": "json",
    }
    assert variables == set(rendered)
    settings = Settings.from_environment(rendered)
    for name in variables:
        assert Settings.from_environment({**rendered, name: ""}) != settings, f"{name} is not read"
