"""Times in a status: RFC 3339, UTC, whole seconds, as Kubernetes writes its own.

Parts of a second are dropped on the way in, so that what was written compares equal to what is read back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer, WithJsonSchema

_UP_TO_SECONDS = len("2026-07-31T14:05:00")


def to_text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).isoformat()[:_UP_TO_SECONDS]}Z"


def _in_whole_seconds(moment: datetime) -> datetime:
    return (moment.replace(microsecond=0) if moment.microsecond else moment).astimezone(UTC)


Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(_in_whole_seconds),
    PlainSerializer(to_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
