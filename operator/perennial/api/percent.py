"""A share as people write it: `1%`, `0.5%`.

A bare number would leave open whether 1 is one in a hundred or all of it; the sign says.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from .model import Matches

_SYNTAX = Matches(
    pattern=r"(100|[0-9]{1,2}(\.[0-9]{1,6})?)%",
    message='must be a percentage from 0% to 100%, with the sign: "1%", "0.5%"',
    max_length=10,
)


class Percent(str):
    """A percentage, kept as it was written. Raises ValueError where it is none."""

    __slots__ = ()

    def __new__(cls, text: str) -> Percent:
        return super().__new__(cls, _SYNTAX.check(text))

    @property
    def fraction(self) -> float:
        """`1%` is 0.01."""
        return float(Decimal(self[:-1]) / 100)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _SYNTAX.schema
