"""A status is stored exactly as the operator writes it: nothing pruned, nothing filled in, so that an unchanged one
is never written again."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from perennial.api.kinds import KINDS, Kind
from perennial.api.schema import tree

BASES = yaml.safe_load((Path(__file__).parent / "refusals.yaml").read_text())["bases"]

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


def full(schema: dict[str, Any]) -> Any:
    """A value with every field that the schema has."""
    if choices := schema.get("enum") or ([schema["const"]] if "const" in schema else None):
        return choices[-1]
    match schema["type"]:
        case "object" if "properties" in schema:
            return {name: full(field) for name, field in schema["properties"].items()}
        case "object":
            return {"key": full(schema["additionalProperties"])}
        case "array":
            return [full(schema["items"])]
        case "string":
            return "2026-03-01T12:00:00Z" if schema.get("format") == "date-time" else "text"
        case "boolean":
            return False
    return 0 if schema["type"] == "integer" else 0.1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource.kind)
def test_a_full_status_comes_back_as_it_was_written(kubectl: Kubectl, kind: Kind) -> None:
    status = kind.status.model_validate(full(tree(kind.status))).to_manifest()
    made = {
        "apiVersion": kind.resource.api_version,
        "kind": kind.resource.kind,
        "metadata": {"name": "status-test", "namespace": "default"},
        "spec": BASES[kind.resource.kind] | {"suspend": True},
    }
    created = kubectl("create", "--filename=-", input=json.dumps(made))
    assert created.returncode == 0, created.stderr
    target = (kind.resource.plural, "status-test", "--namespace=default")
    try:
        patch = [{"op": "replace", "path": "/status", "value": status}]
        options = ["--subresource=status", "--type=json", "--dry-run=server", "--output=json"]
        written = kubectl("patch", *target, *options, f"--patch={json.dumps(patch)}")
        assert written.returncode == 0, written.stderr
        assert json.loads(written.stdout)["status"] == status
        assert written.stderr == ""
    finally:
        kubectl("delete", *target)
