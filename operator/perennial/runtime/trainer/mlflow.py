"""An MLflow server by its REST API, of which logging a version takes a handful of calls: MLflow's own client would be
larger than the trainer.

The answers are those of https://mlflow.org/docs/latest/rest-api.html, for servers with a registry of their own.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from perennial.runtime.store import StoreRefusedError
from perennial.runtime.store.remote import configuration

_API = "/api/2.0/mlflow"
_TIMEOUT_SECONDS = 10
"""For each time that the server says nothing."""
_ANSWER_LIMIT = 4 << 20
_MAY_PASS = (408, 425, 429)
_TOKEN, _USER, _PASSWORD = "mlflow_tracking_token", "mlflow_tracking_username", "mlflow_tracking_password"
"""The Secret's keys: what MLflow's own client takes from the environment, in lower case."""


class MlflowError(Exception):
    """The server did not do what it was asked. `code` is MLflow's own word; `passes` where trying again may help."""

    def __init__(self, message: str, *, code: str = "", passes: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.passes = passes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Credentials are for the server that was named, and a POST that is redirected would arrive as a GET."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Server:
    """The server at `uri`, with the credentials in the folder of a Secret. Raises MlflowError where they are none."""

    def __init__(self, uri: str, secret: Path) -> None:
        self._root = uri.rstrip("/")
        self._headers = {"Content-Type": "application/json", **_authorization(secret)}
        self._opener = urllib.request.build_opener(_NoRedirect)

    def get(self, what: str, **query: str) -> dict[str, Any]:
        return self._ask(f"{what}?{urlencode(query)}", None)

    def post(self, what: str, **body: Any) -> dict[str, Any]:
        return self._ask(what, json.dumps(body, allow_nan=False).encode())

    def _ask(self, what: str, data: bytes | None) -> dict[str, Any]:
        request = urllib.request.Request(f"{self._root}{_API}/{what}", data, self._headers)
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                return self._decoded(answer.read(_ANSWER_LIMIT))
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error
        except (OSError, http.client.HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            words = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
            raise MlflowError(f"{self._root} does not answer: {words}", passes=True) from error

    def _decoded(self, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise MlflowError(f"{self._root} does not answer as MLflow does: is the path right?")
        return found

    def _refusal(self, error: urllib.error.HTTPError) -> MlflowError:
        code, words = _said(error)
        if 300 <= error.code < 400:
            place = (error.headers.get("Location") or "another place").partition("?")[0]
            words = f"it sends the caller on to {place}, and no credentials are carried there"
        passes = error.code >= 500 or error.code in _MAY_PASS
        return MlflowError(f"{self._root} answers HTTP {error.code}: {words}", code=code, passes=passes)


def _said(error: urllib.error.HTTPError) -> tuple[str, str]:
    """MLflow's code and words; the status line's of whatever stands before it."""
    try:
        told = json.loads(error.read(_ANSWER_LIMIT))
        return str(told["error_code"]), str(told["message"])
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return "", str(error.reason)


def _authorization(secret: Path) -> dict[str, str]:
    try:
        keys = configuration(secret)
    except (OSError, ValueError, StoreRefusedError) as error:
        raise MlflowError(f"the Secret cannot be read: {error}") from error
    if unknown := sorted(keys.keys() - {_TOKEN, _USER, _PASSWORD}):
        known = f"{_TOKEN}, {_USER} and {_PASSWORD}"
        raise MlflowError(f"the Secret has a key that means nothing: {unknown[0]}; the keys are {known}")
    if token := keys.get(_TOKEN):
        return {"Authorization": f"Bearer {token}"}
    if not keys:
        return {}
    if not (keys.get(_USER) and keys.get(_PASSWORD)):
        raise MlflowError(f"the Secret has one of {_USER} and {_PASSWORD}: it takes both")
    pair = f"{keys[_USER]}:{keys[_PASSWORD]}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
