"""A replay as a picture over time."""

from __future__ import annotations

import numpy as np

from perennial.cli.drawings.style import STYLE
from perennial.cli.drawings.timeline import Bar, Heat, Point, Timeline, timeline
from perennial.monitoring.harm import game
from perennial.monitoring.words import at, describe

from .drawing import moved
from .monitor import Monitor
from .replay import Replay

FEATURES = 24


def picture(made: Replay, monitor: Monitor) -> str:
    """A whole SVG file, with its own colours for light and dark. Raises ValueError for a replay without windows."""
    drawn = timeline(timeline_of(made), f"What DriftMonitor {monitor.identity.name} would have found")
    style = f"<style>{STYLE} svg {{ background: var(--paper); }}</style>"
    head, _, rest = drawn.partition(">")
    return f"{head}>{style}{rest}\n"


def timeline_of(made: Replay) -> Timeline:
    """What there is to show. Raises ValueError where there is no window."""
    if not made.windows:
        raise ValueError("there is no window to show")
    start, end = made.windows[0].opened, made.windows[-1].closed
    loss = made.checkpoint.tally.loss
    rules = game(loss, made.spec.harm.margin.fraction) if loss else None
    return Timeline(
        start,
        end,
        bars=[
            Bar(
                spell.verdict.state,
                spell.verdict.found,
                end if spell.over is None else spell.over,
                f"{spell.verdict.state}, found at {at(spell.verdict.found)}: {describe(spell.verdict)}",
            )
            for spell in made.spells
        ],
        retrains=[request.created for request in made.requests if request.action == "Retrain"],
        rollbacks=[request.created for request in made.requests if request.action == "Rollback"],
        points=[Point(step.opened, step.closed, step.labels, step.loss) for step in made.steps],
        reference=rules.reference if rules else None,
        tolerated=rules.tolerated if rules else None,
        heat=_heat(made),
        learned=made.learned if made.spec.baseline.source == "Serving" else None,
    )


def _heat(made: Replay) -> Heat | None:
    columns = moved(made)[:FEATURES]
    measured = [(window, window.measured) for window in made.windows if window.measured is not None]
    if not columns or not measured:
        return None
    effects = np.array(
        [
            [each.effect[column] / made.spec.materiality if each.excess[column] > 1 else 0.0 for _, each in measured]
            for column in columns
        ]
    )
    names = [made.layout.columns[column].name for column in columns]
    return Heat(names, [(window.opened, window.closed) for window, _ in measured], effects)
