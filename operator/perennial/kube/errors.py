"""What an API server answers instead of an object: one exception for each thing that is handled differently."""

from __future__ import annotations

from typing import Any

import msgspec


class ApiError(Exception):
    """A request that did not succeed. `status` is the HTTP code (0 where there was no answer), `message` the server's
    own words; `retry_after` is in seconds, None where the server did not say."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class BadRequest(ApiError):
    """400: what was sent cannot be read."""


class Unauthorized(ApiError):
    """401: the credentials are not, or no longer, valid."""


class Forbidden(ApiError):
    """403: RBAC, an admission plugin or a quota refuses it."""


class NotFound(ApiError):
    """404: the object, its namespace or its type is not there."""


class AlreadyExists(ApiError):
    """409 on a create: the name is taken."""


class Conflict(ApiError):
    """409: the object is another one (uid) or has changed since (resourceVersion)."""


class Expired(ApiError):
    """410: a resourceVersion or continue token that the server has forgotten. List again."""


class Invalid(ApiError):
    """422: the schema or a validation rule refuses it."""


class TooManyRequests(ApiError):
    """429: nothing was done. Try again after `retry_after`."""


class ServerError(ApiError):
    """5xx: whether something was done is unknown."""


class NoAnswer(ApiError):
    """No connection, a lost one, or no answer in time: whether something was done is unknown."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "NoAnswer", message)


_CLASSES: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
    429: TooManyRequests,
}


def from_answer(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The exception for an HTTP answer. Its body is a Status object unless a proxy answered in the server's place."""
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError:
        told = None
    if not isinstance(told, dict):
        told = {"message": body[:300].decode(errors="replace").strip() or "no explanation given"}
    return from_status(told | {"code": status}, _seconds(retry_after))


def from_status(told: dict[str, Any], retry_after: float | None = None) -> ApiError:
    """The exception for a Status object: of an answer, or of an ERROR event within a watch."""
    status = int(told.get("code") or 500)
    reason = str(told.get("reason") or "Unknown")
    if status == 409 and reason == "AlreadyExists":
        found: type[ApiError] = AlreadyExists
    else:
        found = _CLASSES.get(status, ServerError if status >= 500 else ApiError)
    details = told.get("details")
    if retry_after is None and isinstance(details, dict):
        retry_after = _seconds(details.get("retryAfterSeconds"))
    return found(status, reason, str(told.get("message") or reason), retry_after)


def _seconds(text: object) -> float | None:
    """A Retry-After in seconds. The header's other form, a date, is sent by no API server."""
    try:
        return max(0.0, float(str(text)))
    except ValueError:
        return None
