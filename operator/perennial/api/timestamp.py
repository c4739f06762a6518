"""Times in a status: RFC 3339, UTC, whole seconds, as Kubernetes writes its own.

Parts of a second are dropped on the way in, so that what was written compares equal to what is read back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer, WithJsonSchema


def to_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _in_whole_seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(_in_whole_seconds),
    PlainSerializer(to_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
