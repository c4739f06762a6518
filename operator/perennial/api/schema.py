"""From a model to JSON Schema, and from that to the structural OpenAPI schema of a CRD.

Pydantic's schema names shared types and offers null beside every optional field; Kubernetes wants one closed tree
without either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

_VALIDATIONS = "x-kubernetes-validations"
_STATUS_DROPS = frozenset({"default", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "maxItems"})


class _Defaults(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """Of a nested model only what differs from its own defaults: the API server fills in the rest, level by
        level."""
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if isinstance(dft, tuple):
            return [self.encode_default(item) for item in dft]
        return super().encode_default(dft)


def tree(model: type[BaseModel]) -> JsonSchemaValue:
    """The model's JSON Schema as one tree: references resolved, optional fields plainly absent, no noise."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_Defaults)
    definitions = schema.pop("$defs", {})
    plain: JsonSchemaValue = _plain(schema, definitions)
    return plain


def structural(schema: JsonSchemaValue) -> JsonSchemaValue:
    """A spec's schema as a CRD takes it."""
    return _rewrite(schema, _structural_node)


def structural_status(schema: JsonSchemaValue) -> JsonSchemaValue:
    """A status' schema as a CRD takes it: types and descriptions only.

    Only the operator writes it, and one that is newer than the CRDs must still be able to say what it found.
    """
    return _rewrite(structural(schema), lambda node: {k: v for k, v in node.items() if k not in _STATUS_DROPS})


def editor(schema: JsonSchemaValue) -> JsonSchemaValue:
    """The schema for editors: plain JSON Schema that also refuses misspelt fields."""
    return _rewrite(schema, _editor_node)


def _plain(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _plain({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    node = _without_null(node)
    if "$ref" in node:
        return _plain(node, definitions)
    kept = {
        key: value for key, value in node.items() if key != "title" and not (key == "default" and value in (None, []))
    }
    plain = {
        key: value if key in ("default", "enum") else _plain_part(key, value, definitions)
        for key, value in kept.items()
    }
    if "description" in plain:
        plain["description"] = " ".join(plain["description"].split())
    return plain


def _plain_part(key: str, value: Any, definitions: dict[str, Any]) -> Any:
    if key in ("default", "enum"):
        return value
    if key == "properties":
        return {name: _plain(field, definitions) for name, field in value.items()}
    return _plain(value, definitions)


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    """`X | None` is X: the field is there or it is not."""
    choices = node.get("anyOf", ())
    kept = [choice for choice in choices if choice != {"type": "null"}]
    if len(kept) == len(choices) or len(kept) != 1:
        return node
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    return {**kept[0], **rest}


def _rewrite(node: JsonSchemaValue, change: Callable[[JsonSchemaValue], JsonSchemaValue]) -> JsonSchemaValue:
    """The schema with `change` done to every schema node, the leaves first."""
    result = dict(node)
    if "properties" in result:
        result["properties"] = {name: _rewrite(field, change) for name, field in result["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = _rewrite(result[key], change)
    return change(result)


def _structural_node(node: dict[str, Any]) -> dict[str, Any]:
    result = dict(node)
    if result.get("additionalProperties") is True:
        del result["additionalProperties"]
        result["x-kubernetes-preserve-unknown-fields"] = True
    if "const" in result:
        result["enum"] = [result.pop("const")]
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in result:
            result[bound] = result[exclusive]
            result[exclusive] = True
    if result.get("type") == "integer":
        result["format"] = "int64"
    if isinstance(result.get("default"), dict):
        # The API server holds a default against the rules before it fills in the defaults within it.
        within = {name: field["default"] for name, field in result.get("properties", {}).items() if "default" in field}
        result["default"] = within | result["default"]
        if not result["default"]:
            del result["default"]
    if _VALIDATIONS in result and "pattern" in result:
        # The rule says the same with words that a person understands.
        del result["pattern"]
    return result


def _editor_node(node: dict[str, Any]) -> dict[str, Any]:
    result = {key: value for key, value in node.items() if not key.startswith("x-kubernetes-")}
    if "properties" in result and "additionalProperties" not in result:
        result["additionalProperties"] = False
    return result
