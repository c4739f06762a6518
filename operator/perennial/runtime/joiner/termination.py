"""A join's last word: its result as the container's termination message, of which Kubernetes keeps 4096 bytes."""

from __future__ import annotations

import msgspec

from perennial.wire.join import Joined
from perennial.wire.result import TERMINATION_MESSAGE_LIMIT


def message(joined: Joined, limit: int = TERMINATION_MESSAGE_LIMIT) -> bytes:
    """The result as JSON of at most `limit` bytes: what it says to people is cut before what it counts."""
    for length in (700, 300, 0):
        short = msgspec.structs.replace(
            joined,
            notes=[note[:length] for note in joined.notes[:1] if length],
            missed=joined.missed[: max(length, 100)] if joined.missed else None,
            failure=msgspec.structs.replace(joined.failure, message=joined.failure.message[: max(length, 200)])
            if joined.failure
            else None,
        )
        data = msgspec.json.encode(short)
        if len(data) <= limit:
            return data
    raise ValueError(f"even the bare result takes {len(data)} bytes")
