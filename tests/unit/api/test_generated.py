"""The generated files are in step with the models, and the schemas are what Kubernetes and YAML can take."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from perennial.api.__main__ import generated, main
from perennial.api.crd import definition
from perennial.api.kinds import KINDS, Kind
from perennial.api.reference import editor_schema
from perennial.api.schema import structural, tree

ROOT = Path(__file__).parents[3]
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource.kind)


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def root_schema(kind: Kind) -> dict[str, Any]:
    version = definition(kind)["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def test_the_files_are_in_step_with_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--root", str(ROOT)]) == 0, capsys.readouterr().err


def test_check_notices_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0
    edited = tmp_path / "crds" / "perennial.dev_trainingjobs.yaml"
    edited.write_text(edited.read_text().replace("default: 600", "default: 601"))
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert "crds/perennial.dev_trainingjobs.yaml differs" in capsys.readouterr().err


@by_kind
def test_every_schema_is_structural(kind: Kind) -> None:
    for path, node in nodes(root_schema(kind)):
        assert not {"$ref", "$defs", "allOf", "oneOf", "const", "title", "uniqueItems"} & node.keys(), path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert "anyOf" not in node or node.get("x-kubernetes-int-or-string"), path
        assert node.get("additionalProperties") is not True, path
        assert not ("properties" in node and "additionalProperties" in node), path


@by_kind
def test_every_field_is_described(kind: Kind) -> None:
    schema = root_schema(kind)
    for part in ("spec", "status"):
        for path, node in nodes(schema["properties"][part], part):
            for name, field in node.get("properties", {}).items():
                assert len(field.get("description", "")) > 3, f"{path}.{name}"
                assert "\n" not in field["description"], f"{path}.{name}"


@by_kind
def test_no_key_means_something_else_to_yaml(kind: Kind) -> None:
    """YAML 1.1 reads `on`, `yes`, `no`, `y` and `n` as booleans: such a key could not be written without quotes."""
    for path, node in nodes(root_schema(kind)):
        for name in node.get("properties", {}):
            loaded = yaml.safe_load(f"{name}: 1")
            assert loaded == {name: 1}, f"{path}.{name}"
            assert name.lower() not in {"y", "n", "on", "off", "yes", "no", "true", "false", "null"}, f"{path}.{name}"
        for value in node.get("enum", ()):
            assert yaml.safe_load(value) == value, path


@by_kind
def test_whatever_a_rule_walks_is_bounded(kind: Kind) -> None:
    """The API server refuses a CRD whose rules could cost too much; it assumes the largest request where nothing
    bounds it."""
    for path, node in nodes(root_schema(kind)["properties"]["spec"]):
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if node.get("type") == "string" and "enum" not in node:
            assert "maxLength" in node, path
        if isinstance(node.get("additionalProperties"), dict):
            assert "maxProperties" in node, path


@by_kind
def test_the_keys_of_merged_lists_are_always_there(kind: Kind) -> None:
    for path, node in nodes(root_schema(kind)):
        for key in node.get("x-kubernetes-list-map-keys", ()):
            item = node["items"]
            assert key in item["required"] or "default" in item["properties"][key], path


@by_kind
def test_a_status_is_only_described(kind: Kind) -> None:
    status = root_schema(kind)["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    for path, node in nodes({**status, "default": None}):
        assert not {"enum", "pattern", "maxItems", "minimum"} & node.keys(), path
        assert not node.get("default"), path


@by_kind
def test_columns_show_fields_that_exist(kind: Kind) -> None:
    paths = {path for path, _ in nodes(root_schema(kind))}
    for column in kind.columns:
        path = column.path.split("[?")[0].replace("[0]", "[]")
        assert path in paths or path.startswith(".metadata"), column


@by_kind
def test_defaults_of_the_schema_are_those_of_the_models(kind: Kind) -> None:
    """Filled in level by level, as the API server does it, the schema's defaults give the same spec as the model's
    own."""
    table = yaml.safe_load((ROOT / "tests" / "cluster" / "refusals.yaml").read_text())
    base = table["bases"][kind.resource.kind]
    filled = fill(structural(tree(kind.spec)), json.loads(json.dumps(base)))
    assert kind.spec.model_validate(filled) == kind.spec.model_validate(base)
    assert filled != base


def fill(schema: dict[str, Any], value: Any) -> Any:
    if isinstance(value, list):
        return [fill(schema["items"], item) for item in value]
    for name, field in schema.get("properties", {}).items():
        if name not in value and "default" in field:
            value[name] = json.loads(json.dumps(field["default"]))
        if isinstance(value.get(name), dict | list):
            value[name] = fill(field, value[name])
    return value


@by_kind
def test_the_editors_schema_takes_right_manifests_and_marks_misspelt_ones(kind: Kind) -> None:
    schema = editor_schema(kind)
    table = yaml.safe_load((ROOT / "tests" / "cluster" / "refusals.yaml").read_text())
    manifest = {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": kind.resource.kind,
        "metadata": {"name": "flights"},
        "spec": table["bases"][kind.resource.kind],
    }
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(manifest, schema)
    with pytest.raises(jsonschema.ValidationError, match="misspelt"):
        jsonschema.validate({**manifest, "spec": {**manifest["spec"], "misspelt": 1}}, schema)


def test_pages_list_every_reason() -> None:
    files = generated()
    for kind in KINDS:
        text = files[f"docs/reference/{kind.resource.kind.lower()}.md"]
        for group in kind.reasons:
            for reason in group:
                assert f"`{reason.value}`" in text
