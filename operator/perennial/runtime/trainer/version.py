"""A version put together: its files, its manifest, and its publication in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from perennial.runtime.failures import InputError, NoVersionError, RunError, TransientError
from perennial.runtime.store import (
    NotInStoreError,
    StoreError,
    StoreRefusedError,
    open_version,
    publish,
)
from perennial.wire.manifest import (
    ANSWERS_FILE,
    ATTRIBUTIONS_FILE,
    CARD_FILE,
    EXPECTATIONS_FILE,
    FORMAT,
    LINEAGE_FILE,
    METRICS_FILE,
    ONNX_FILE,
    REFERENCE_FILE,
    SEARCH_FILE,
    SKOPS_FILE,
    Agreement,
    File,
    Manifest,
    ModelFile,
    SealError,
)
from perennial.wire.reference import Reference
from perennial.wire.result import Model, Result, Rows, Searched
from perennial.wire.run import Run
from perennial.wire.schema import SCHEMA_FILE, Schema

from .attribution_form import AttributionForm
from .cross_validation import Spread
from .search import Found
from .search_space import shown
from .verdict import Verdict

_PARAMETERS = 500
"""Characters of the best parameters that a result has; all are in search.json."""


@dataclass(frozen=True, slots=True)
class Draft:
    """All that a version holds. At least one of `skops` and `onnx` is there. `booster` are files for people."""

    schema: Schema
    skops: bytes | None
    onnx: bytes | None
    verdict: Verdict
    lineage: dict[str, object]
    card: str
    reference: Reference | None = None
    booster: Mapping[str, bytes] = field(default_factory=dict)
    answers: bytes | None = None
    spread: Mapping[str, Spread] = field(default_factory=dict)
    found: Found | None = None
    expectations: dict[str, object] | None = None
    rows: Rows | None = None
    trained_through: str | None = None
    why_not_onnx: str | None = None
    agreement: Agreement | None = None
    attributions: AttributionForm = field(default_factory=AttributionForm)
    notes: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The model's identity: sha256 of its primary file."""
        return sha256(self.skops if self.skops is not None else self.onnx or b"")


def uri_of(run: Run) -> str:
    """The folder of the run's version."""
    return f"{run.store.rstrip('/')}/{run.path.strip('/')}"


def published(run: Run) -> Result | None:
    """The result of this run where an earlier attempt has published it, None where there is no such version.

    Raises RunError where another run's version is in its place.
    """
    try:
        with _told(run):
            manifest = open_version(uri_of(run)).manifest
    except NoVersionError:
        return None
    if (manifest.uid, manifest.version, manifest.definition) != (run.uid, run.version, run.definition):
        raise RunError(
            "StoreConflict", f"{uri_of(run)} holds version {manifest.version} of {manifest.name}, another run's"
        )
    return manifest.result


def report(run: Run) -> Result:
    """The result of the published version. Raises NoVersionError where there is none."""
    with _told(run):
        return open_version(uri_of(run)).manifest.result


def seal(run: Run, draft: Draft) -> Result:
    """Publish the version; answers with the result as the sealed manifest has it."""
    files = _files(draft)
    manifest = msgspec.json.format(msgspec.json.encode(_manifest(run, draft, files)), indent=1)
    with _told(run):
        return publish(uri_of(run), files, manifest).manifest.result


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pretty(content: object) -> bytes:
    """JSON that a person can read."""
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


def _files(draft: Draft) -> dict[str, bytes]:
    every: Mapping[str, bytes | None] = {
        SKOPS_FILE: draft.skops,
        ONNX_FILE: draft.onnx,
        **draft.booster,
        SCHEMA_FILE: pretty(draft.schema),
        REFERENCE_FILE: None if draft.reference is None else msgspec.json.encode(draft.reference),
        EXPECTATIONS_FILE: None if draft.expectations is None else pretty(draft.expectations),
        ANSWERS_FILE: draft.answers,
        ATTRIBUTIONS_FILE: draft.attributions.data,
        METRICS_FILE: pretty({**draft.verdict.report(), "crossValidation": draft.spread}),
        SEARCH_FILE: None if draft.found is None else pretty(draft.found),
        LINEAGE_FILE: pretty(draft.lineage),
        CARD_FILE: draft.card.encode(),
    }
    return {name: data for name, data in every.items() if data is not None}


def _manifest(run: Run, draft: Draft, files: Mapping[str, bytes]) -> Manifest:
    primary = SKOPS_FILE if draft.skops is not None else ONNX_FILE
    served = ONNX_FILE if draft.onnx is not None else SKOPS_FILE
    model = ModelFile(
        primary=primary,
        sha256=draft.digest,
        file=served,
        engine="onnx" if served == ONNX_FILE else "sklearn",
        why=draft.why_not_onnx,
        agreement=draft.agreement,
        attributed=draft.attributions.quantity,
        not_attributed=draft.attributions.why_not,
    )
    result = Result(
        version=run.version,
        outcome="Accepted" if draft.verdict.accepted else "Rejected",
        model=Model(uri=uri_of(run), sha256=draft.digest, seal="", size=len(files[served]), engine=model.engine),
        metrics=draft.verdict.metrics,
        gates=draft.verdict.gates,
        rows=draft.rows,
        trained_through=draft.trained_through,
        notes=draft.notes,
        search=_told_search(draft.found),
    )
    return Manifest(
        format=FORMAT,
        namespace=run.namespace,
        name=run.name,
        uid=run.uid,
        version=run.version,
        definition=run.definition,
        files={name: File(sha256(data), len(data)) for name, data in sorted(files.items())},
        model=model,
        result=result,
    )


def _told_search(found: Found | None) -> Searched | None:
    if found is None or found.best.score is None:
        return None
    return Searched(found.metric, found.best.score, len(found.trials), shown(found.best.parameters)[:_PARAMETERS])


@contextmanager
def _told(run: Run) -> Iterator[None]:
    """The store's errors as the run's."""
    try:
        yield
    except NotInStoreError as error:
        raise NoVersionError("NoVersion", str(error)) from error
    except StoreRefusedError as error:
        raise InputError("StoreForbidden", f"output.uri: {error}") from error
    except StoreError as error:
        raise TransientError("StoreUnreachable", f"output.uri: {error}") from error
    except SealError as error:
        raise RunError("SealBroken", f"{uri_of(run)}: {error}") from error
