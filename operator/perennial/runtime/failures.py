"""Why a run can end without a version: the user's input (not tried again), or the world (tried again)."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

INPUT_EXIT = 64
"""The user's input is wrong: a retry would find the same."""
INTERNAL_EXIT = 65
"""A fault of the trainer's own that a retry would meet again."""
NO_VERSION_EXIT = 66
"""There is no version to report."""
TRANSIENT_EXIT = 75
"""Something outside did not answer: a retry may help."""


_NAME_LIMIT = 80


class RunError(Exception):
    """Ends the run. `reason` is CamelCase, the message is for the person who wrote the TrainingJob."""

    exit_code = INTERNAL_EXIT

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class InputError(RunError):
    """The user's definition or data can not be trained on."""

    exit_code = INPUT_EXIT


class TransientError(RunError):
    """A place outside did not answer."""

    exit_code = TRANSIENT_EXIT


class NoVersionError(RunError):
    """What was asked for was never published."""

    exit_code = NO_VERSION_EXIT


def hint(given: str, known: Iterable[str]) -> str:
    """`; did you mean X?` where a known name is close, else the names there are, as far as they fit."""
    names = list(known)
    if close := _alike(given, names) or get_close_matches(given, names, n=1):
        return f"; did you mean {_shown(close[0])}?"
    shown = ", ".join(map(_shown, names[:12]))
    return f"; there is {shown}{' and more' if len(names) > 12 else ''}" if names else ""


def _alike(given: str, names: Iterable[str]) -> list[str]:
    """Names that differ in upper and lower case or in spaces around them."""
    return [name for name in names if name.strip().casefold() == given.strip().casefold()]


def _shown(name: str) -> str:
    """In quotes where one could not see else what it is."""
    short = name if len(name) <= _NAME_LIMIT else name[: _NAME_LIMIT - 1] + "…"
    return short if short and short == short.strip() and short.isprintable() else repr(short)
