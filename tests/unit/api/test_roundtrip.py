"""What is read is what is written: else an unchanged status would be written for ever, and a spec would lose
something on its way."""

import functools
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from perennial.api.kinds import KINDS
from perennial.api.model import Model, Status
from perennial.api.pods import PodOptions
from perennial.api.schema import tree


def parts(model: type[Model]) -> list[type[Model]]:
    """The model and every model within it."""
    found = {model}
    for name in model.model_json_schema().get("$defs", {}):
        found |= {part for part in _all_models(Model) if part.__name__ == name}
    return sorted(found, key=lambda part: part.__name__)


def _all_models(base: type[Model]) -> set[type[Model]]:
    return {base} | {model for child in base.__subclasses__() for model in _all_models(child)}


def manifests(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the schema allows, rules across fields aside."""
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(0, 1000) | st.sampled_from(["100m", "1Gi"])
    match schema["type"]:
        case "object":
            return _objects(schema)
        case "array":
            return _lists(schema)
        case "string":
            return _strings(schema)
        case "integer":
            return st.integers(schema.get("minimum", -10), schema.get("maximum", 10**9))
        case "number":
            low, high = schema.get("minimum", 0.001), schema.get("maximum", 0.9)
            return st.floats(low, high, allow_nan=False)
        case "boolean":
            return st.booleans()
    raise AssertionError(schema)


def _lists(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    keys = schema.get("x-kubernetes-list-map-keys")
    distinct = (lambda item: tuple(item.get(key) for key in keys)) if keys else None
    return st.lists(manifests(schema["items"]), min_size=schema.get("minItems", 0), max_size=3, unique_by=distinct)


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        inner = schema.get("additionalProperties")
        values = manifests(inner) if isinstance(inner, dict) else st.integers() | st.text(max_size=5)
        return st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), values, max_size=3)
    required = {name: manifests(schema["properties"][name]) for name in schema.get("required", ())}
    optional = {name: manifests(field) for name, field in schema["properties"].items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


@functools.cache
def of(model: type[Model]) -> st.SearchStrategy[Any]:
    """Manifests of the model. A strategy takes longer to make than its examples."""
    return manifests(tree(model))


EXAMPLES = (
    *("28d", "1h30m", "5%", "flights", "a.b", "sklearn.svm.SVC", "0123456789abcdef" * 4),
    *("s3://lake/x/*.csv", "pvc://claim/v1", "http://mlflow:5000", "10.0.0.0/8", "/certs", "0 3 * * 1"),
)


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if schema.get("format") == "date-time":
        return st.sampled_from(["2026-03-01T12:00:00Z", "1999-12-31T23:59:59Z"])
    if pattern := schema.get("pattern"):
        return st.sampled_from([text for text in EXAMPLES if re.fullmatch(pattern, text)])
    return st.text("abcdefgh", min_size=schema.get("minLength", 0), max_size=8)


# The whole specs are left to their parts: random ones break a rule across fields nearly always.
SPEC_PARTS = [part for kind in KINDS for part in parts(kind.spec) if part is not kind.spec]
STATUSES = [kind.status for kind in KINDS]
thorough = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("model", dict.fromkeys(SPEC_PARTS), ids=lambda model: model.__name__)
@thorough
@given(data=st.data())
def test_a_spec_loses_nothing(model: type[Model], data: st.DataObject) -> None:
    manifest = data.draw(of(model))
    try:
        read = model.model_validate(manifest)
    except ValidationError:
        return  # a random one may break a rule across fields
    assert read.to_manifest() == manifest


@pytest.mark.parametrize("model", STATUSES, ids=lambda model: model.__name__)
@thorough
@given(data=st.data())
def test_a_status_that_was_read_is_written_alike(model: type[Status], data: st.DataObject) -> None:
    manifest = data.draw(of(model))
    written = model.model_validate(manifest).to_manifest()
    assert model.model_validate(written).to_manifest() == written
    assert written["observedGeneration"] == manifest.get("observedGeneration", -1)


def test_the_walk_finds_the_parts() -> None:
    assert PodOptions in SPEC_PARTS
    assert len(set(SPEC_PARTS)) > 40
