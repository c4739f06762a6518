"""The gate against the champion, the newest accepted version, on rows that neither of the two has learned from.

Those are, first, the held-out rows where both runs held out the same: then what both judged models said of them is
compared, before any refit. Else, where `data.time` orders the rows, the held-out rows that are newer than everything
that the champion has learned from: they are put to the champion as it is served. Both are resampled with the same
draws, so that what is hard for both cancels out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.runtime.failures import TransientError
from perennial.runtime.scoring import label_text
from perennial.runtime.store import NotInStoreError, StoreError, StoreRefusedError, Version, open_version
from perennial.wire.manifest import ANSWERS_FILE, LINEAGE_FILE, SealError
from perennial.wire.result import Gate
from perennial.wire.run import Accepted, Champion, Run
from perennial.wire.schema import SCHEMA_FILE, Schema

from . import answers
from .evidence import Evidence
from .foreign import OnnxModel, SkopsModel
from .metrics import LESSER_IS_BETTER, Judged, known_as, value_of
from .onnx_form import matrices
from .replicates import interval, replicates

LEAST_ROWS = 30
"""Fewer rows than that tell nothing of a difference."""

Rows = NDArray[np.bool_]


class NotComparableError(Exception):
    """There is nothing to compare with, or on. The message says why."""


@dataclass(frozen=True, slots=True)
class _Champion:
    """The version, opened and checked."""

    number: int
    version: Version
    schema: Schema


class _Lineage(msgspec.Struct):
    run: Run


def champion_gate(run: Run, rule: Champion, evidence: Evidence) -> Gate:
    """Fails only where the version is worse than the champion by more than the margin, beyond noise.

    Raises TransientError where the store does not answer.
    """
    try:
        champion = _opened(run, rule.against)
        chosen, theirs, on = _comparable(run, champion, evidence)
        return _compared(rule, evidence, chosen, theirs, f"version {champion.number} on {on}")
    except NotComparableError as error:
        return Gate(rule.metric, "champion", rule.margin, None, passed=True, note=f"NotComparable: {error}")


def _opened(run: Run, against: Accepted | None) -> _Champion:
    if against is None:
        raise NotComparableError("no version was accepted before")
    if not against.uri.startswith(f"{run.store.rstrip('/')}/"):
        raise NotComparableError(f"version {against.version} is in another store, {against.uri}")
    try:
        version = open_version(against.uri, sha256=against.sha256, seal=against.seal)
        return _Champion(
            against.version, version, msgspec.json.decode(_read(version, SCHEMA_FILE, against.version), type=Schema)
        )
    except (NotInStoreError, StoreRefusedError, SealError, msgspec.DecodeError) as error:
        raise NotComparableError(f"version {against.version} cannot be opened: {error}") from error
    except StoreError as error:
        raise TransientError("StoreUnreachable", f"output.uri: {error}") from error


def _read(version: Version, name: str, number: int) -> bytes:
    if name not in version:
        raise NotComparableError(f"version {number} has no {name}")
    return version.read(name)


def _comparable(run: Run, champion: _Champion, evidence: Evidence) -> tuple[Rows, Judged, str]:
    """The rows, the champion's answers to them, and in words which rows these are."""
    _refuse_another_task(champion, evidence)
    everything = np.ones(len(evidence.judged.truth), bool)
    if ANSWERS_FILE in champion.version:
        data = _checked(champion, ANSWERS_FILE)
        if theirs := answers.of_the_same_rows(data, evidence, champion.schema.classes):
            return everything, theirs, f"the {len(everything)} rows that both held out"
    through, newer = _newer(run, champion, evidence)
    judged = evidence.judged.take(newer)
    return newer, _asked(champion, evidence, newer, judged), f"{int(newer.sum())} rows newer than {through}"


def _refuse_another_task(champion: _Champion, evidence: Evidence) -> None:
    schema, number = champion.schema, champion.number
    if (schema.task, schema.target) != (evidence.task, evidence.target):
        raise NotComparableError(f"version {number} is a {schema.task} of {schema.target}")
    known = {label_text(label) for label in schema.classes}
    if known != {label_text(label) for label in evidence.judged.classes}:
        raise NotComparableError(f"version {number} tells other classes apart: {', '.join(sorted(known)[:10])}")


def _newer(run: Run, champion: _Champion, evidence: Evidence) -> tuple[str, Rows]:
    """The held-out rows that came after all that the champion has learned from."""
    number, through = champion.number, _through(champion)
    if through is None or evidence.seconds is None or run.data is None:
        raise NotComparableError(
            f"version {number} has learned from other rows, and without data.time nothing tells which of these are new"
        )
    if _time_of(champion) != run.data.time:
        raise NotComparableError(f"version {number} is not ordered by {run.data.time}")
    newer = _is_after(evidence.seconds, through, evidence.are_dates)
    if newer.sum() < LEAST_ROWS:
        raise NotComparableError(
            f"{int(newer.sum())} held-out rows are newer than {through}, through which version {number} has learned; "
            f"{LEAST_ROWS} are needed"
        )
    return through, newer


def _is_after(seconds: NDArray[np.float64], through: str, are_dates: bool) -> Rows:
    """Dates are told to the second and numbers to 15 digits: what may be the same counts as the same."""
    try:
        last = datetime.fromisoformat(through).timestamp() if are_dates else float(through)
    except ValueError as error:
        raise NotComparableError(f"what it learned through, {through}, is of another kind than data.time") from error
    return np.floor(seconds) > last if are_dates else seconds > last + 1e-14 * abs(last)


def _through(champion: _Champion) -> str | None:
    return champion.version.manifest.result.trained_through


def _time_of(champion: _Champion) -> str | None:
    try:
        data = msgspec.json.decode(_checked(champion, LINEAGE_FILE), type=_Lineage).run.data
    except msgspec.DecodeError:
        return None
    return data.time if data else None


def _asked(champion: _Champion, evidence: Evidence, chosen: Rows, judged: Judged) -> Judged:
    """What the champion answers to the chosen rows, from the file that is served."""
    number, schema = champion.number, champion.schema
    there = {feature.name: feature.kind for feature in evidence.features}
    missing = [feature.name for feature in schema.features if there.get(feature.name) != feature.kind]
    if missing:
        raise NotComparableError(f"version {number} needs {', '.join(missing[:5])}, which this run does not use alike")
    rows = evidence.frame.loc[chosen, [feature.name for feature in schema.features]].reset_index(drop=True)
    model = champion.version.manifest.model
    data = _checked(champion, model.file)
    try:
        with warnings.catch_warnings(action="ignore"):
            opened: Any = OnnxModel(data) if model.engine == "onnx" else SkopsModel(data)
            said = opened.answer(rows, matrices(schema, rows))
    except Exception as error:  # whatever a model of another release raises
        raise NotComparableError(f"version {number} does not answer these rows: {error}") from error
    return Judged(judged.truth, said.predictions, schema.classes, said.probabilities)


def _checked(champion: _Champion, name: str) -> bytes:
    try:
        return _read(champion.version, name, champion.number)
    except (NotInStoreError, StoreRefusedError, SealError) as error:
        raise NotComparableError(f"version {champion.number} cannot be read: {error}") from error
    except StoreError as error:
        raise TransientError("StoreUnreachable", f"output.uri: {error}") from error


def _compared(rule: Champion, evidence: Evidence, chosen: Rows, theirs: Judged, note: str) -> Gate:
    name, task = known_as(rule.metric), evidence.task
    ours, drawn = evidence.judged.take(chosen), evidence.drawn.take(chosen)
    pair = [value_of(name, judged, task) for judged in (theirs, ours)]
    draws = [replicates(name, judged, drawn, task) for judged in (theirs, ours)]
    if pair[0] is None or pair[1] is None or draws[0] is None or draws[1] is None:
        raise NotComparableError(f"{rule.metric} cannot be computed for {note}")
    sign = -1.0 if name in LESSER_IS_BETTER else 1.0
    worse = sign * (pair[0] - pair[1])
    between = interval(sign * (draws[0] - draws[1]), worse)
    surely = between[0] if between else worse
    return Gate(rule.metric, "champion", rule.margin, worse, surely <= rule.margin, between, note)
