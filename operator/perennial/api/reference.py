"""The reference pages and the editors' JSON Schemas, made from the models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import getdoc
from typing import Any

from .kinds import Kind
from .reasons import Reason
from .resources import GROUP, SHORT_NAMES, VERSION
from .schema import editor, tree


def editor_schema(kind: Kind) -> dict[str, Any]:
    """JSON Schema of a whole manifest, for `# yaml-language-server: $schema=...`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.resource.kind,
        "description": kind.description,
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": f"{GROUP}/{VERSION}"},
            "kind": {"const": kind.resource.kind},
            "metadata": {"type": "object"},
            "spec": editor(tree(kind.spec)),
            "status": {"type": "object"},
        },
    }


def page(kind: Kind) -> str:
    """The reference page of a kind, as Markdown."""
    resource = kind.resource
    parts = [
        f"# {resource.kind}",
        "<!-- Made by `python -m perennial.api`; change operator/perennial/api instead. -->",
        kind.description,
        f"`apiVersion: {GROUP}/{VERSION}`, short name `{SHORT_NAMES[resource]}`, namespaced.",
        "## spec",
        *_fields(tree(kind.spec), "spec"),
        "## status",
        *_fields(tree(kind.status), "status"),
        "## Reasons",
        *_reasons(kind.reasons),
    ]
    return "\n\n".join(parts) + "\n"


def _fields(schema: dict[str, Any], path: str) -> Iterator[str]:
    """A table of the object's fields, then a section for each field that is an object or a list of them."""
    yield schema["description"]
    if rules := [rule["message"] for rule in schema.get("x-kubernetes-validations", ())]:
        yield "Rules: " + "; ".join(rules) + "."
    required = schema.get("required", ())
    rows = [_row(name, field, name in required) for name, field in schema["properties"].items()]
    yield "\n".join(["| field | type | default | |", "|---|---|---|---|", *rows])
    for name, field in schema["properties"].items():
        inner, suffix = _inner(field)
        if "properties" in inner:
            yield f"### {path}.{name}{suffix}"
            yield from _fields(inner, f"{path}.{name}{suffix}")


def _inner(field: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The schema of what the field holds, and what a path to one of several has at its end."""
    if field.get("type") == "array":
        return field["items"], "[]"
    each = field.get("additionalProperties")
    return (each, ".*") if isinstance(each, dict) else (field, "")


def _row(name: str, field: dict[str, Any], required: bool) -> str:
    default = f"`{json.dumps(field['default'])}`" if field.get("default") not in (None, {}) else ""
    limits = _limits(field)
    text = " ".join(part for part in (field.get("description", ""), limits) if part)
    return f"| `{name}` | {_type(field)} | {'**required**' if required else default} | {_cell(text)} |"


def _type(field: dict[str, Any]) -> str:
    if "x-kubernetes-int-or-string" in field:
        return "quantity"
    if choices := field.get("enum") or ([field["const"]] if "const" in field else None):
        return " \\| ".join(f"`{choice}`" for choice in choices)
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field["type"] == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"map of {_type(field['additionalProperties'])}"
    return str(field.get("format", field["type"]))


def _limits(field: dict[str, Any]) -> str:
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum", field.get("exclusiveMaximum"))
    if low is None and high is None:
        return ""
    if high is None:
        return f"At least {low}."
    return f"From {low} to {high}."


def _reasons(groups: tuple[type[Reason], ...]) -> Iterator[str]:
    """A table for each group, with what they are of."""
    for group in groups:
        yield getdoc(group) or ""
        rows = [f"| `{reason.value}` | {_cell(reason.meaning)} |" for reason in group]
        yield "\n".join(["| reason | meaning |", "|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
