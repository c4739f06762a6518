"""From a stored object to a spec, or to words that name the field and say what to do.

The API server checks the same rules when an object is applied; what gets past it (an older CRD, a restored backup)
ends here, as the `InvalidSpec` reason of a condition and never as an exception that stops a controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .model import Model

ModelT = TypeVar("ModelT", bound=BaseModel)


class InvalidSpecError(ValueError):
    """A spec that cannot be carried out. `problems` has one sentence for each wrong field."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def parse_spec(model: type[ModelT], manifest: Mapping[str, Any]) -> ModelT:
    """The object's spec. Raises InvalidSpecError."""
    try:
        return model.model_validate(manifest.get("spec") or {})
    except ValidationError as error:
        raise InvalidSpecError(explain(error, "spec")) from None


def unknown_fields(parsed: Model, given: Mapping[str, Any], path: str) -> list[str]:
    """Paths of what was given and is no field, with the field that may be meant: what the API server would have refused
    or dropped."""
    return list(_unread(given, parsed, parsed.to_manifest(), path))


def _unread(given: Any, parsed: Any, read: Any, path: str) -> Iterator[str]:
    """`read` is what of `given` stands in `parsed`."""
    if isinstance(given, Mapping) and isinstance(read, Mapping):
        fields = _fields(parsed)
        for name, value in given.items():
            if name in read:
                inner = getattr(parsed, fields[name]) if name in fields else None
                yield from _unread(value, inner, read[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}{_meant(name, fields)}"
    elif isinstance(given, list) and isinstance(read, list):
        inners = parsed if isinstance(parsed, Sequence) else [None] * len(given)
        for number, (item, inner, kept) in enumerate(zip(given, inners, read, strict=True)):
            yield from _unread(item, inner, kept, f"{path}[{number}]")


def _fields(parsed: Any) -> dict[str, str]:
    """The attributes of a model by the names of the API."""
    fields = type(parsed).model_fields if isinstance(parsed, BaseModel) else {}
    return {field.alias or attribute: attribute for attribute, field in fields.items()}


def _meant(name: object, fields: Iterable[str]) -> str:
    close = get_close_matches(str(name), fields, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def parse_status(model: type[ModelT], manifest: Mapping[str, Any]) -> ModelT:
    """The object's status, or an empty one where it cannot be read: a status is a view and can be made anew."""
    try:
        return model.model_validate(manifest.get("status") or {})
    except ValidationError:
        return model()


def value_at(manifest: Mapping[str, Any], *path: str) -> Any:
    """What stands at a path of an object that was not validated; None where the path leads nowhere.

    Indexes and whoever reads another's object use it: a cache must take in whatever the API server has.
    """
    found: Any = manifest
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def text_at(manifest: Mapping[str, Any], *path: str) -> str | None:
    """The text that stands at a path of an object that was not validated; None where there is none."""
    found = value_at(manifest, *path)
    return found if isinstance(found, str) and found else None


def explain(error: ValidationError, root: str) -> tuple[str, ...]:
    """One sentence a problem, each beginning with the path of the field."""
    return tuple(dict.fromkeys(_sentence(root, details) for details in error.errors(include_url=False)))


def _sentence(root: str, details: Any) -> str:
    path = root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in details["loc"])
    if details["type"] == "missing":
        return f"{path}: is required"
    if details["type"] == "value_error":
        return f"{path}: {details['ctx']['error']}"
    message = details["msg"].removeprefix("Input ")
    return f"{path}: {message[:1].lower()}{message[1:]}"
