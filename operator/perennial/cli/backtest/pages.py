"""A replay as the page that a report is, with all that was found on the way and not only what stands at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perennial.cli.report.content import HEADLINES, Content, Found, content, sentence
from perennial.monitoring.words import at, describe

from .monitor import Monitor
from .picture import timeline_of
from .replay import Replay, Spell
from .words import ACTS, gone_back

_OTHER_ACTS = frozenset(ACTS) - {"RetrainRequested"}
"""Retrains are told together."""


def told_as_page(made: Replay, monitor: Monitor, data: str, notes: Sequence[str]) -> Content:
    """What the page says."""
    title = f"Backtest of DriftMonitor {monitor.identity.name} over {data}"
    whole = content(title, made.spec, made.status, made.checkpoint)
    gravest = min((spell.verdict.state for spell in made.spells), key=list(HEADLINES).index, default="")
    return replace(
        whole,
        about=". ".join([_about(made), *notes]),
        headline=HEADLINES[gravest] if gravest else whole.headline,
        state=gravest or whole.state,
        explained=_explained(made, gravest),
        found=[_found(made, monitor, spell) for spell in made.spells],
        timeline=timeline_of(made) if made.windows else None,
    )


def _about(made: Replay) -> str:
    span = f", {at(made.windows[0].opened)} to {at(made.windows[-1].closed)}" if made.windows else ""
    return f"{made.rows:,} rows{span}: what would have been found and done"


def _explained(made: Replay, gravest: str) -> str:
    first = next((spell for spell in made.spells if spell.verdict.state == gravest), None)
    if first is None:
        return "" if made.learned is not None else "There was no whole baseline to compare with."
    return f"First found at {at(first.found.found)}, row {first.row:,}. {sentence(describe(first.found))}"


def _found(made: Replay, monitor: Monitor, spell: Spell) -> Found:
    return Found(
        state=spell.verdict.state,
        since=spell.verdict.since,
        words=sentence(describe(spell.verdict)),
        done=_done(made, monitor, spell),
        found=spell.found.found,
        until=spell.over,
    )


def _done(made: Replay, monitor: Monitor, spell: Spell) -> str | None:
    """What the verdict led to while it stood, where an action is asked for in its state."""
    if all(action.state != spell.verdict.state for action in made.spec.actions):
        return None
    end = spell.over if spell.over is not None else made.at
    within = [request for request in made.requests if spell.found.found <= request.created <= end]
    retrains = [at(request.created) for request in within if not request.back]
    others = [
        f"{said.event.message} ({at(said.at)})"
        for said in made.said
        if said.event.reason in _OTHER_ACTS and spell.found.found <= said.at <= end
    ]
    asked = [f"TrainingJob {monitor.training_job} was asked for a retrain at {' and '.join(retrains)}"]
    back = gone_back(made) if any(request.back for request in within) else None
    return "; ".join([*(asked if retrains else []), *others, *([back] if back else [])]) or None
