"""What the server says no to, and how it says it: one exception that becomes one JSON answer."""

from __future__ import annotations

import msgspec


class Refusal(Exception):
    """A request that is not carried out. `message` is for the person who sent it and names the field where it can."""

    def __init__(self, status: int, message: str, headers: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def invalid(field: str, message: str) -> Refusal:
    """A request whose `field` (`inputs[0].data[3]`) is wrong."""
    return Refusal(400, f"{field}: {message}")


def malformed(error: Exception) -> Refusal:
    """A body that could not be decoded, from msgspec's error: its path `$.inputs[0].data[3]` becomes the field."""
    if not isinstance(error, msgspec.ValidationError):
        return Refusal(400, f"the body is not valid JSON: {error}" if str(error) else "the body is not valid JSON")
    message, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    return invalid(field, message) if field else Refusal(400, message)
