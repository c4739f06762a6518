"""What object stores complain about, in words for the person who configured them.

obstore tells apart little of what goes wrong, and not the same for each operation: a listing that is denied is a
generic error, a bucket that does not exist a missing object. The answer's status and code say more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import (
    DeniedError,
    NoBucketError,
    NoCredentialsError,
    NotInStoreError,
    StoreError,
    StoreRefusedError,
    StoreUnreachableError,
)

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]+)</Message>")
_METADATA = re.compile(r"169\.254\.1\d\d\.\d+|metadata\.google\.internal")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_MAY_PASS = (408, 425, 429)
_CREDENTIALS = "check the keys of secretRef, or the pod's identity"
_NO_CREDENTIALS = "there are no credentials: name a Secret by secretRef, or give the pod's service account an identity"
_CAUSES = {
    "BadScheme": 'http is allowed only where allow_http is "true"',
    "ConnectionRefused": "the connection is refused",
    "dns error": "the host's name is not known",
    "InvalidContentType": "it does not answer in TLS: is it http?",
    "UnknownIssuer": "its certificate is not from an authority that is trusted here",
    "TimedOut": "no answer in time",
    "NetworkUnreachable": "there is no way to it",
    "HostUnreachable": "there is no way to it",
}
"""By what obstore's dump of the error's sources says, which its message leaves out."""


@contextmanager
def explained(uri: str, otherwise: type[StoreError] = StoreUnreachableError) -> Iterator[None]:
    """Turn obstore's errors into the store's own, with `uri` named and what the other side said.

    What is not known for anything else is `otherwise`.
    AlreadyExistsError and NotSupportedError pass: they are answers to a conditional write.
    """
    from obstore import exceptions as theirs

    try:
        yield
    except (theirs.AlreadyExistsError, theirs.NotSupportedError):
        raise
    except (theirs.BaseError, FileNotFoundError) as error:
        raise _explanation(uri, error, otherwise) from error


def _explanation(uri: str, error: Exception, otherwise: type[StoreError]) -> StoreError:
    from obstore import exceptions as theirs

    text, said = str(error), _said(error)
    code = _CODE.search(text)
    if code and code[1] in _NO_BUCKET:
        return NoBucketError(f"{uri}: there is no such bucket")
    if isinstance(error, FileNotFoundError):
        return NotInStoreError(f"{uri}: not found")
    if isinstance(error, theirs.UnknownConfigurationKeyError):
        return StoreRefusedError(f"{uri}: the Secret of secretRef has a key that means nothing: {said}")
    if _METADATA.search(said):
        return NoCredentialsError(uri, f"{_NO_CREDENTIALS} ({said})")
    status = _status(text)
    if status in (401, 403) or isinstance(error, theirs.PermissionDeniedError | theirs.UnauthenticatedError):
        return DeniedError(uri, _CREDENTIALS, said)
    if (status and 300 <= status < 500 and status not in _MAY_PASS) or _is_configuration(text):
        return StoreRefusedError(f"{uri}: {said}")
    return otherwise(f"{uri}: {said}")


def _is_configuration(text: str) -> bool:
    return " credential error" in text or "BadScheme" in text


def _status(text: str) -> int | None:
    found = _STATUS.search(text)
    return int(found[1]) if found else None


def _said(error: Exception) -> str:
    """The other side's own words, or else obstore's without its dump, and the cause that only the dump has."""
    text = str(error)
    if code := _CODE.search(text):
        message = _MESSAGE.search(text)
        return f"{code[1]}: {message[1]}" if message else code[1]
    plain, _, dump = text.partition("\n\nDebug source")
    said = plain.strip().replace("\n", " ")[:500]
    cause = next((words for sign, words in _CAUSES.items() if sign in dump), None)
    return f"{said}: {cause}" if cause else said
