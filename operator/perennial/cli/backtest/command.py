"""From the command's options to what it prints and writes."""

from __future__ import annotations

import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.modeldeployment_status import PreviousVersion
from perennial.api.resources import DRIFTMONITORS
from perennial.cli.cluster import Reached
from perennial.cli.named import named
from perennial.cli.paint import Paint
from perennial.cli.problem import CannotDo
from perennial.cli.report.command import write
from perennial.cli.report.page import page
from perennial.monitoring.words import at, false_alarms
from perennial.wire.layout import SCORE

from . import captured, drawing, words
from .epochs import epochs
from .first_rows import from_first_rows, is_of_first_rows
from .monitor import Monitor, from_cluster, from_file
from .observations import observe
from .pages import told_as_page
from .picture import picture
from .replay import Handed, replay
from .standard import Standard, of_reference, opened, version_in
from .table import Meaning, needed, read_table

_NO_REFERENCE = "what is normal? give --reference (a version's folder, or its reference.json)"
_OR_FIRST_ROWS = " or --baseline-rows (so many first rows of the data)"
_OF_ROWS = ("time", "label", "prediction", "score", "previous", "previous_prediction", "baseline_rows")
"""Options that say what rows are: counts hold the answers already."""
_NO_SCORE = "no row was counted with what the model said: its score is not watched"
_SHOWN_SECONDS = 0.5
BY_COLUMN = "before"
"""What stands for the digest of a version before of which only a column is known."""
_NO_ROLLBACK = (
    "whether the action Rollback would have been asked for cannot be told: what the version before says to these rows "
    "is not known (--previous, --previous-prediction)"
)


@dataclass(frozen=True)
class Prepared:
    """A monitor, what its rows are held against, and what they come to."""

    monitor: Monitor
    standard: Standard
    handed: Iterable[Handed]
    notes: tuple[str, ...] = ()


def run(options: Namespace) -> int:
    prepared = _prepared(options)
    handed = captured.write(options.save_counts, prepared.handed) if options.save_counts else prepared.handed
    made = replay(prepared.monitor, prepared.standard.reference, _shown(handed), options.baseline_rows or 0)
    paint = Paint.of(sys.stdout)
    print(words.told(made, prepared.monitor, prepared.standard, options.data, prepared.notes, paint))
    if made.windows:
        print()
        print("\n".join(drawing.drawn(made, shutil.get_terminal_size((100, 40)).columns, paint)))
    if options.save_counts and is_of_first_rows(prepared.standard.reference):
        reference = msgspec.json.encode(prepared.standard.reference).decode()
        write(str(Path(options.save_counts).with_suffix(".reference.json")), reference)
    if options.picture:
        if not made.windows:
            raise CannotDo("--picture: there is nothing to draw, as no window was closed")
        write(options.picture, picture(made, prepared.monitor))
    if options.html:
        told = told_as_page(made, prepared.monitor, options.data, prepared.notes)
        write(options.html, page(told, datetime.now(UTC)))
    return 0


def _shown(handed: Iterable[Handed]) -> Iterator[Handed]:
    """How far it is, for a person who waits: a year of rows takes a minute or two."""
    if not sys.stderr.isatty():
        yield from handed
        return
    shown = time.monotonic()
    for each in handed:
        if time.monotonic() - shown > _SHOWN_SECONDS:
            shown = time.monotonic()
            print(f"\r{at(each.at)}", end="", file=sys.stderr, flush=True)
        yield each
    print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _prepared(options: Namespace) -> Prepared:
    monitor = _monitor(options)
    is_captured = captured.is_captured(options.data)
    prepared = _of_counts(options, monitor) if is_captured else _of_rows(options, monitor)
    if is_of_first_rows(prepared.standard.reference):
        monitor = replace(prepared.monitor, spec=_from_first_rows(prepared.monitor.spec))
        prepared = replace(prepared, monitor=monitor)
    noisy = false_alarms(monitor.spec)
    return replace(prepared, notes=(*prepared.notes, noisy)) if noisy else prepared


def _of_counts(options: Namespace, monitor: Monitor) -> Prepared:
    given = vars(options)
    if idle := [f"--{name.replace('_', '-')}" for name in _OF_ROWS if given[name] is not None]:
        verb = "are" if len(idle) > 1 else "is"
        raise CannotDo(f"{' and '.join(idle)} {verb} for rows, and --data {options.data} has counts")
    standard = _standard(options, monitor)
    handed = captured.captured(options.data, standard.reference)
    notes: tuple[str, ...] = ()
    if not captured.is_scored(handed, standard.reference):
        monitor, standard, notes = *_without_score(monitor, standard), (_NO_SCORE,)
    digest = captured.compared(handed, standard.reference.model)
    previous = PreviousVersion(sha256=digest, compared=True) if digest else None
    return _with_previous(Prepared(monitor, standard, handed, notes), previous)


def _of_rows(options: Namespace, monitor: Monitor) -> Prepared:
    meaning = Meaning(options.time, options.label, options.prediction, options.score, options.previous_prediction)
    excluded = monitor.spec.features.exclude
    standard = None if options.baseline_rows is not None else _standard(options, monitor, _OR_FIRST_ROWS)
    before = version_in(options.previous, "--previous") if options.previous else None

    def wanted(columns: list[str]) -> list[str]:
        if standard is None:
            return columns
        names = [feature.name for feature in standard.schema.features]
        target = [standard.schema.target] if standard.schema.target in columns else []
        watched = [name for name in names if name in columns or name not in excluded]
        asked = [feature.name for feature in before.schema.features] if before else []
        return [
            *(needed("a feature of the model is missing", name, columns, options.data) for name in watched),
            *(needed("a feature of the version before is missing", name, columns, options.data) for name in asked),
            *target,
        ]

    table = read_table(options.data, meaning, lambda columns: wanted(list(columns)))
    if standard is None:
        standard, table = from_first_rows(table, options.baseline_rows, meaning, excluded)
    observations = observe(table, standard, meaning, excluded, before)
    if observations.scores is None:
        monitor, standard = _without_score(monitor, standard)
    monitor = replace(monitor, version=standard.version)
    previous = _previous(before, meaning)
    handed = epochs(observations, standard, monitor.spec.window, previous.sha256 if previous else None)
    return _with_previous(Prepared(monitor, standard, handed, observations.notes), previous)


def _previous(before: Standard | None, meaning: Meaning) -> PreviousVersion | None:
    if before is not None:
        return PreviousVersion(version=before.version, sha256=before.sha256, compared=True)
    return PreviousVersion(sha256=BY_COLUMN, compared=True) if meaning.previous else None


def _with_previous(prepared: Prepared, previous: PreviousVersion | None) -> Prepared:
    """Without the version before nothing can be said of a rollback, not even why there is none."""
    spec = prepared.monitor.spec
    actions = tuple(action for action in spec.actions if action.action != "Rollback")
    if previous is not None or len(actions) == len(spec.actions):
        return replace(prepared, monitor=replace(prepared.monitor, previous=previous))
    monitor = replace(prepared.monitor, spec=spec.model_copy(update={"actions": actions}))
    return replace(prepared, monitor=monitor, notes=(*prepared.notes, _NO_ROLLBACK))


def _monitor(options: Namespace) -> Monitor:
    what = named(options.resource, (DRIFTMONITORS,)) if options.resource else None
    if options.filename:
        return from_file(options.filename, what.name if what else None)
    if what is None:
        raise CannotDo("whose policy? name a DriftMonitor of the cluster, such as dm/flights, or give a file with -f")
    return from_cluster(Reached(options.context, options.namespace), what)


def _standard(options: Namespace, monitor: Monitor, otherwise: str = "") -> Standard:
    """What was asked for, else what the cluster's monitor judges. Raises CannotDo where there is neither; `otherwise`
    says what would do as well."""
    if options.reference:
        return opened(options.reference)
    if monitor.reference is None:
        raise CannotDo(_NO_REFERENCE + otherwise)
    version = f"version {monitor.version}" if monitor.version is not None else "the model"
    return of_reference(monitor.reference, f"{version} that {monitor.identity.name} judges now", monitor.version)


def _from_first_rows(spec: DriftMonitorSpec) -> DriftMonitorSpec:
    """The first rows are the baseline: no other is learned, unless it shall show a season."""
    if spec.baseline.period:
        return spec
    return spec.model_copy(update={"baseline": spec.baseline.model_copy(update={"source": "Training"})})


def _without_score(monitor: Monitor, standard: Standard) -> tuple[Monitor, Standard]:
    """Neither drift of what the model said nor a loss that this lets expect is looked for."""
    features = monitor.spec.features.model_copy(update={"exclude": (*monitor.spec.features.exclude, SCORE)})
    spec = monitor.spec.model_copy(update={"features": features})
    reference = msgspec.structs.replace(standard.reference, expected=None)
    return replace(monitor, spec=spec), replace(standard, reference=reference)
