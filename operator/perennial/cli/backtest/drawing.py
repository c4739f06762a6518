"""A replay as lines of characters: states, requests, loss and the features that moved, over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from perennial.cli.measure import alarming
from perennial.cli.paint import Paint
from perennial.monitoring.words import at

from .replay import Replay

LANES = ("DataFault", "TrainServeSkew", "MinorDrift", "AnchorDrift", "Drift", "HarmSuspected", "Harm")
FEATURES = 8
_NAME = 18
_BARS = "▁▂▃▄▅▆▇█"
_SHADES = " ░▒▓█"


def drawn(made: Replay, width: int, paint: Paint) -> Iterator[str]:
    """Lines of at most `width` characters, for a replay that has windows."""
    columns = max(min(width, 160) - _NAME - 2, 20)
    start, end = made.windows[0].opened, made.windows[-1].closed
    span = max(end - start, 1.0)

    def place(seconds: float) -> int:
        return min(max(int((seconds - start) / span * columns), 0), columns - 1)

    for state in LANES:
        marked = _states(made, state, place, end, columns)
        if marked.strip(".") or state in ("Drift", "Harm"):
            colour = paint.bad if state in ("Harm", "DataFault") else paint.busy
            yield f"{state:<{_NAME}}  {colour(marked)}"
    for action, name in (("Retrain", "retrain asked"), ("Rollback", "rollback asked")):
        if moments := [each.created for each in made.requests if each.action == action]:
            yield f"{name:<{_NAME}}  {_marks(moments, place, columns)}"
    if made.steps:
        yield from _loss(made, place, columns)
    for column in moved(made)[:FEATURES]:
        name = made.layout.columns[column].name
        yield f"{_short(name):<{_NAME}}  {_effects(made, column, place, columns)}"
    yield f"{'':<{_NAME}}  {_axis(start, end, columns)}"
    if moved(made):
        materiality = made.spec.materiality
        yield (
            f"{'':<{_NAME}}  {_SHADES[1]} surely changed, {_SHADES[2]} by {materiality:g} of cumulative probability "
            f"or more, {_SHADES[3]} {2 * materiality:g}, {_SHADES[4]} {4 * materiality:g}"
        )


def moved(made: Replay) -> list[int]:
    """The columns that alarmed in some window, the largest effect first."""
    measured = [window.measured for window in made.windows if window.measured is not None]
    if not measured:
        return []
    largest = np.max([np.where(each.excess > 1, each.effect, 0.0) for each in measured], axis=0)
    return alarming(made.layout, largest)


Place = Callable[[float], int]


def _states(made: Replay, state: str, place: Place, end: float, columns: int) -> str:
    cells = ["."] * columns
    for spell in made.spells:
        if spell.verdict.state == state:
            first, last = place(spell.verdict.found), place(spell.over if spell.over is not None else end)
            cells[first : last + 1] = "█" * (last + 1 - first)
    return "".join(cells)


def _marks(moments: Iterable[float], place: Place, columns: int) -> str:
    cells = [" "] * columns
    for moment in moments:
        cells[place(moment)] = "▲"
    return "".join(cells)


def _loss(made: Replay, place: Place, columns: int) -> Iterator[str]:
    labels, total = np.zeros(columns), np.zeros(columns)
    for step in made.steps:
        labels[place(step.closed)] += step.labels
        total[place(step.closed)] += step.labels * step.loss
    mean = np.divide(total, labels, out=np.full(columns, np.nan), where=labels > 0)
    low, high = float(np.nanmin(mean)), float(np.nanmax(mean))
    scale = (len(_BARS) - 1) / max(high - low, 1e-9)
    bars = "".join(" " if np.isnan(each) else _BARS[round((each - low) * scale)] for each in mean.tolist())
    yield f"{f'loss {low:.3g}-{high:.3g}':<{_NAME}}  {bars}"


def _effects(made: Replay, column: int, place: Place, columns: int) -> str:
    """The largest effect in each place of windows in which the column alarmed."""
    shades = [0] * columns
    materiality = made.spec.materiality
    for window in made.windows:
        if window.measured is None or window.measured.excess[column] <= 1.0:
            continue
        effect = float(window.measured.effect[column]) / materiality
        shade = 1 + sum(effect >= bound for bound in (1, 2, 4))
        for cell in range(place(window.opened), place(window.closed) + 1):
            shades[cell] = max(shades[cell], shade)
    return "".join(_SHADES[shade] for shade in shades)


def _axis(start: float, end: float, columns: int) -> str:
    first, last = at(start)[:16], at(end)[:16]
    return f"{first}{last:>{max(columns - len(first), len(last) + 1)}}"


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
