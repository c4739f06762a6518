"""A span of time as people write it: `28d`, `2m`, `1h30m`.

Go's durations, which Kubernetes uses elsewhere, have no unit above the hour; a window of training data is days.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from .model import Matches

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SYNTAX = Matches(
    pattern="".join(f"([1-9][0-9]{{0,5}}{unit})?" for unit in _UNITS),
    message="must be a duration longer than nothing, in w, d, h, m (minutes), s, largest first: 28d, 2m, 1h30m",
    max_length=32,
)


class Duration(str):
    """A duration, kept as it was written. Raises ValueError where it is none."""

    __slots__ = ()

    def __new__(cls, text: str) -> Duration:
        if not text:
            raise ValueError(_SYNTAX.message)
        return super().__new__(cls, _SYNTAX.check(text))

    @property
    def seconds(self) -> int:
        return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)([a-z])", self))

    @property
    def timedelta(self) -> timedelta:
        return timedelta(seconds=self.seconds)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _SYNTAX.schema
