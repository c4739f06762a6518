"""The base of every API model: camelCase names, frozen values, and rules that the API server and Python both check.

One statement of a rule yields its CEL form in the CRD and its check here, so that a manifest which the API server
took without the rule (an older CRD, a restored backup) is refused by the controller with the same words.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from operator import attrgetter
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_NESTED = (dict, list)


@dataclass(frozen=True, slots=True)
class Rule:
    """A constraint across fields. `cel` and `holds` say the same; a transition rule (with oldSelf) has no `holds`."""

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None

    @property
    def schema(self) -> JsonSchemaValue:
        return {"rule": self.cel, "message": self.message}


class _Base(BaseModel):
    """Unknown fields are ignored: a newer CRD may hold what this operator does not know."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        frozen=True,
        # Most are only ever read as parts of a spec or a status: built for themselves too, they cost a start 0.1 s.
        defer_build=True,
        extra="ignore",
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        result = handler.resolve_ref_schema(handler(schema))
        for name, text in described(cls).items():
            result["properties"][cls.model_fields[name].alias or name].setdefault("description", text)
        return result


class Model(_Base):
    """A piece of a spec. `rules` are of its fields together."""

    rules: ClassVar[tuple[Rule, ...]] = ()

    def to_manifest(self) -> dict[str, Any]:
        """What was set, as JSON values under the names of the API: the inverse of `model_validate`."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @model_validator(mode="after")
    def _check_rules(self) -> Any:
        for rule in self.rules:
            if rule.holds and not rule.holds(self):
                raise ValueError(rule.message)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        result = super().__get_pydantic_json_schema__(schema, handler)
        if cls.rules:
            result["x-kubernetes-validations"] = [rule.schema for rule in cls.rules]
        return result


class OpenModel(Model):
    """An object of Kubernetes' own of which only the named fields are ours to check; the rest is kept as it is."""

    model_config = ConfigDict(extra="allow")


class Status(_Base):
    """A status, or a piece of one. It keeps no rules, and is always written whole, without empty fields."""

    def to_manifest(self) -> dict[str, Any]:
        dumped: dict[str, Any] = _without_empty(self.model_dump(mode="json", by_alias=True, exclude_none=True))
        return dumped


def _without_empty(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_empty(item) if isinstance(item, _NESTED) else item for item in value]
    kept = {}
    for key, item in value.items():
        if not isinstance(item, _NESTED):
            kept[key] = item
        elif of_it := _without_empty(item):
            kept[key] = of_it
    return kept


@cache
def described(model: type[BaseModel]) -> dict[str, str]:
    """The text below each field of a model.

    Pydantic finds it too (`use_attribute_docstrings`), but as the class is made: a third of what the operator's own
    imports take, for texts that only the generator reads.
    """
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not (issubclass(cls, _Base) and cls.model_fields):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in pairwise(definition.body):
            match field, below:
                case ast.AnnAssign(ast.Name(name)), ast.Expr(ast.Constant(str(text))) if name in model.model_fields:
                    found[name] = inspect.cleandoc(text)
    return found


@dataclass(frozen=True, slots=True)
class Matches:
    """A string that matches `pattern` wholly. `message` is what a person reads when it does not.

    The API server words a failed OpenAPI pattern as the bare regular expression, so the CRD carries it as a rule
    with this message. CEL's cost is bounded by `max_length`.
    """

    pattern: str
    message: str
    max_length: int

    @property
    def schema(self) -> JsonSchemaValue:
        rule = {"rule": f"self.matches(r'^{self.pattern}$')", "message": self.message}
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": self.max_length,
            "pattern": f"^{self.pattern}$",
            "x-kubernetes-validations": [rule],
        }

    def check(self, value: str) -> str:
        if len(value) > self.max_length:
            raise ValueError(f"may be at most {self.max_length} characters long")
        if not re.fullmatch(self.pattern, value):
            raise ValueError(self.message)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return self.schema


class Satisfies:
    """A field of any type that keeps these rules; in their CEL, `self` is the field's value."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules

    def check(self, value: Any) -> Any:
        for rule in self.rules:
            if rule.holds and not rule.holds(value):
                raise ValueError(rule.message)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        result = dict(handler(schema))
        rules = [rule.schema for rule in self.rules]
        return {**result, "x-kubernetes-validations": [*result.get("x-kubernetes-validations", []), *rules]}


class Keyed:
    """A list whose items are told apart by the named fields, or by themselves: no two alike, merged by key in an
    apply."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self._key: Callable[[Any], Any] = attrgetter(*keys) if keys else lambda item: item

    def check(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        seen: set[Any] = set()
        for item in items:
            key = self._key(item)
            if key in seen:
                raise ValueError(f"has two entries for {self._name(item)}: keep one")
            seen.add(key)
        return items

    def _name(self, item: Any) -> str:
        return ", ".join(str(getattr(item, key)) for key in self.keys) if self.keys else str(item)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        result = dict(handler(schema))
        if not self.keys:
            return {**result, "x-kubernetes-list-type": "set"}
        return {
            **result,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [to_camel(k) for k in self.keys],
        }
