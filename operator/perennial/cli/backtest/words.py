"""What a replay found and did, in sentences with times, rows and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perennial.api.titles import model_title
from perennial.cli.paint import Paint
from perennial.monitoring.words import at, describe

from .first_rows import is_of_first_rows
from .monitor import Monitor
from .replay import Replay, Spell
from .standard import Standard

ACTS = (
    "RetrainRequested",
    "RetrainProposed",
    "RollbackRequested",
    "RollbackProposed",
    "Stopped",
    "DryRun",
)
"""Events that say what is done."""


def told(made: Replay, monitor: Monitor, standard: Standard, data: str, notes: Sequence[str], paint: Paint) -> str:
    """The whole, for a terminal."""
    spec = made.spec
    lines = [
        f"DriftMonitor {paint.strong(monitor.identity.name)} over {data}",
        f"  rows      {made.rows:,}{_span(made)}",
        f"  against   {_against(standard)}; {_baseline(made)}",
        f"  policy    a false alarm in {spec.false_alarm_every}; windows of {spec.window.min_rows} rows and "
        f"{spec.window.period}; materiality {spec.materiality:g}; harm margin {spec.harm.margin}",
        *([f"  previous  {_previous(monitor)}"] if monitor.previous else []),
        *(f"  note      {note}" for note in notes),
        "",
        paint.strong("Found"),
        *_found(made, paint),
        "",
        paint.strong("Done"),
        *_done(made, monitor, paint),
    ]
    return "\n".join(lines)


def _span(made: Replay) -> str:
    if not made.windows:
        return f"; too few for a window of {made.spec.window.min_rows} rows: nothing was judged"
    return f", {at(made.windows[0].opened)} to {at(made.windows[-1].closed)}, {len(made.windows):,} windows"


def _against(standard: Standard) -> str:
    if is_of_first_rows(standard.reference):
        return standard.words
    return f"{standard.words} ({standard.reference.rows:,} rows)"


def _previous(monitor: Monitor) -> str:
    previous = monitor.previous
    assert previous is not None
    return f"{model_title(previous.version, previous.sha256)}, whose answers to the same rows are known"


def _baseline(made: Replay) -> str:
    if made.spec.baseline.source == "Training":
        return "they are the baseline"
    if made.learned is None:
        return (
            f"the baseline from serving is not whole: it takes {made.spec.baseline.rows:,} rows and ten windows "
            "(spec.baseline)"
        )
    baseline = made.checkpoint.baseline
    return f"the baseline is the first {baseline.rows if baseline else 0:,} rows served, whole at {at(made.learned)}"


def _found(made: Replay, paint: Paint) -> Iterator[str]:
    if not made.spells:
        yield "  nothing" if made.learned is not None else "  nothing: there was no baseline to compare with"
    for spell in made.spells:
        yield from _spell(spell, paint)
    loss = made.checkpoint.tally.loss
    if loss and not made.steps:
        yield "  no labels: harm cannot be seen"


def _spell(spell: Spell, paint: Paint) -> Iterator[str]:
    verdict = spell.verdict
    colour = paint.bad if verdict.state in ("Harm", "DataFault") else paint.busy
    yield f"  {at(verdict.found)}  row {spell.row:,}  {colour(verdict.state)}"
    yield f"      {describe(spell.found)}"
    last = describe(verdict)
    later = f": {last}" if last != describe(spell.found) else ""
    yield f"      {f'over at {at(spell.over)}' if spell.over is not None else 'still so at the end'}{later}"


def _done(made: Replay, monitor: Monitor, paint: Paint) -> Iterator[str]:
    acts = [(said.at, said.event.reason, said.event.message) for said in made.said if said.event.reason in ACTS]
    waits = [(wait.at, wait.kind, wait.words) for wait in made.waited]
    for moment, reason, words in sorted([*acts, *waits], key=lambda each: each[0]):
        yield f"  {at(moment)}  {paint.strong(reason)}: {words}"
    if any(not request.back for request in made.requests):
        yield f"  (the rows are one model's: another one of TrainingJob {monitor.training_job} changes nothing here)"
    if (back := gone_back(made)) is not None:
        yield f"  ({back})"
    if not acts and not waits:
        yield f"  nothing{_why_nothing(made)}"
    elif still := _next(made):
        yield f"  next: {still}"


def gone_back(made: Replay) -> str | None:
    """What the data know of the time after a rollback; None without one."""
    request, after = made.back, made.after
    if request is None or request.back is None:
        return None
    n = after.labelled
    losses = f"on {n:,} rows labelled since its loss is {after.companion_loss / n:.3g}, this one's {after.loss / n:.3g}"
    return (
        f"from then on {request.back.title} would have served: {losses if n else 'no label came since'}. What is found "
        "after that is of this model's answers; what the monitor would have found of the other one is not known"
    )


def _next(made: Replay) -> str | None:
    """What the verdicts that stand at the end wait for."""
    if made.back is not None:
        return None
    return next((verdict.next for verdict in made.status.verdicts if verdict.next), None)


def _why_nothing(made: Replay) -> str:
    """Why verdicts led to nothing."""
    wanted = {action.state for action in made.spec.actions}
    found = {spell.verdict.state for spell in made.spells} & {"Drift", "HarmSuspected", "Harm"}
    if not found:
        return ""
    if not wanted & found:
        return f": spec.actions asks for nothing in {' and '.join(sorted(found))}"
    held = _next(made)
    return f": {held}" if held else ""
