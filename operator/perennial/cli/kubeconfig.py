"""The files that say where clusters are, as kubectl reads them: KUBECONFIG, else ~/.kube/config.

The client library reads them too, but takes it for granted that they are well-formed. What a person has to mend in
them is found here, before it does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from perennial.runtime.failures import hint

from .problem import CannotDo

_DEFAULT = "~/.kube/config"


class _Context(msgspec.Struct):
    namespace: str | None = None


class _Entry(msgspec.Struct):
    name: str


class _ContextEntry(_Entry):
    context: _Context | None = None


class _File(msgspec.Struct, rename={"current": "current-context"}):
    contexts: list[_ContextEntry] | None = None
    clusters: list[_Entry] | None = None
    users: list[_Entry] | None = None
    current: str | None = None


@dataclass(frozen=True)
class Chosen:
    """A context that is there. `files` is how the client library takes several."""

    files: str
    context: str
    namespace: str


def choose(context: str | None) -> Chosen:
    """The context, or else the current one. Raises CannotDo."""
    given = os.environ.get("KUBECONFIG") or _DEFAULT
    paths = [path for each in given.split(os.pathsep) if each and (path := _place(each))]
    if not paths:
        raise CannotDo(f"no cluster: there is no kubeconfig {given}; set KUBECONFIG")
    files = [_read(path) for path in paths]
    shown = os.pathsep.join(map(str, paths))
    # Where several files say it, the first one counts.
    known = {each.name: each for file in reversed(files) for each in reversed(file.contexts or [])}
    wanted = context or next((file.current for file in files if file.current), None)
    if wanted is None:
        raise CannotDo(f"{shown} has no current-context: give --context{hint('', sorted(known))}")
    if wanted not in known:
        raise CannotDo(f"{shown} has no context {wanted}{hint(wanted, sorted(known))}")
    own = known[wanted].context
    return Chosen(shown, wanted, (own and own.namespace) or "default")


def _place(given: str) -> Path | None:
    try:
        path = Path(given).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError) as problem:
        raise CannotDo(f"{given}: {problem}") from None


def _read(path: Path) -> _File:
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, _File)
    except OSError as problem:
        raise CannotDo(f"{path}: {problem.strerror}") from None
    except yaml.MarkedYAMLError as problem:
        line = f"line {problem.problem_mark.line + 1}: " if problem.problem_mark else ""
        raise CannotDo(f"{path} is no kubeconfig: {line}{problem.problem}") from None
    except (ValueError, yaml.YAMLError, msgspec.ValidationError) as problem:
        raise CannotDo(f"{path} is no kubeconfig: {problem}") from None
