"""What rows are held against: a version's reference with its schema and, from a version's folder, its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perennial.cli.problem import CannotDo
from perennial.runtime.binning import FALSE, TRUE
from perennial.wire.manifest import MANIFEST_FILE
from perennial.wire.reference import Categorical, Column, Numeric, Reference
from perennial.wire.schema import Feature, Kind, Schema, Score

from .table import refused, told

if TYPE_CHECKING:
    from perennial.runtime.server.engine import Engine


@dataclass(frozen=True)
class Standard:
    """`engine` is None where there is no model: the rows then have to say what it predicted. `words` say what it is.
    `sha256` is the model's digest, where there is one."""

    reference: Reference
    schema: Schema
    words: str
    engine: Engine | None = None
    version: int | None = None
    sha256: str = ""


def opened(place: str) -> Standard:
    """The version in a folder (a path or the URI of a store), or a reference file alone. Raises CannotDo."""
    if "://" in place or Path(place).is_dir():
        return version_in(place, "--reference")
    try:
        reference = msgspec.json.decode(Path(place).read_bytes(), type=Reference)
    except OSError as problem:
        raise CannotDo(f"--reference {place}: {problem.strerror}") from None
    except msgspec.DecodeError as problem:
        raise CannotDo(f"--reference {place}: this is no reference.json: {problem}") from None
    return of_reference(reference, f"the reference in {place}")


def of_reference(reference: Reference, words: str, version: int | None = None) -> Standard:
    """A reference without its model. What the schema would say is in it, but for the types of the classes."""
    features = [Feature(column.name, _kind(column)) for column in reference.features]
    schema = Schema(
        task=reference.task,
        target="",
        features=features,
        score=_score(reference),
        classes=list(reference.classes),
    )
    return Standard(reference, schema, words, version=version)


def version_in(place: str, option: str) -> Standard:
    """The version in a folder, with its model. Raises CannotDo, which names the option."""
    if "://" in place:
        return _version(place, option)
    path = Path(place)
    if not (path / MANIFEST_FILE).is_file():
        raise CannotDo(f"{option} {place}: no version is in this folder: it has no {MANIFEST_FILE}")
    return _version(f"file://{path.absolute()}", option)


def _version(uri: str, option: str) -> Standard:
    from perennial.runtime.store import StoreError, open_version
    from perennial.runtime.store.errors import DeniedError, NoCredentialsError
    from perennial.wire.manifest import SealError
    from perennial.wire.serve import ServedModel

    with told():
        from perennial.runtime.server.model import Unloadable, WrongAnswer, load

        try:
            manifest = open_version(uri).manifest
            model = load(ServedModel(uri, manifest.model.sha256, manifest.version))
        except (NoCredentialsError, DeniedError) as problem:
            raise refused(option, problem) from None
        except (StoreError, SealError, Unloadable, WrongAnswer) as problem:
            raise CannotDo(f"{option} {uri}: {problem}") from None
    if model.reference is None:
        raise CannotDo(f"{option} {uri}: version {manifest.version} was published without a reference")
    words = f"version {manifest.version} of {manifest.name}"
    return Standard(model.reference, model.schema, words, model.engine, manifest.version, manifest.model.sha256)


def _kind(column: Column) -> Kind:
    if isinstance(column, Numeric):
        return "numeric"
    return "boolean" if column.categories == [FALSE, TRUE] and not column.others else "categorical"


def _score(reference: Reference) -> Score:
    if reference.task == "regression":
        return "value"
    if isinstance(reference.score, Categorical):
        return "label"
    return "positive" if len(reference.classes) == 2 else "confidence"
