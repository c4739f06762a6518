"""What happened over time, one panel below the other over one axis: verdicts, requests, loss, features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from perennial.monitoring.words import at

from .svg import Scale, number_ticks, tag, text, time_ticks, told_apart

WIDTH = 960.0
LEFT, RIGHT = 190.0, 112.0
_LANE = 24.0
_ROW = 18.0
_LOSS = 150.0
_GAP = 26.0
_COLUMNS = 400
"""Places that are told apart on the axis of time: more windows than that share them."""

STATES = ("DataFault", "TrainServeSkew", "MinorDrift", "AnchorDrift", "Drift", "HarmSuspected", "Harm")


@dataclass(frozen=True, slots=True)
class Bar:
    """A verdict of this state stood from `start` to `end`; `words` are shown where one points at it."""

    state: str
    start: float
    end: float
    words: str


@dataclass(frozen=True, slots=True)
class Point:
    """The mean loss of so many labels from `start` to `end`."""

    start: float
    end: float
    labels: int
    loss: float


@dataclass(frozen=True)
class Heat:
    """Of each feature [features] over stretches of time [stretches]: the effect as a multiple of the materiality, 0
    where there is no evidence."""

    names: Sequence[str]
    spans: Sequence[tuple[float, float]]
    effects: NDArray[np.float64]


@dataclass(frozen=True)
class Timeline:
    """All panels. `retrains` and `rollbacks` are the moments at which one was asked for; `learned` is when the baseline
    was whole, where it was learned within the time that is shown; `merged` says that the older a stretch, the longer it
    is."""

    start: float
    end: float
    bars: Sequence[Bar] = ()
    retrains: Sequence[float] = ()
    rollbacks: Sequence[float] = ()
    points: Sequence[Point] = ()
    reference: float | None = None
    tolerated: float | None = None
    heat: Heat | None = None
    learned: float | None = None
    merged: bool = False


def timeline(line: Timeline, label: str) -> str:
    """The picture, as an `svg` element that is as wide as its place. `label` says what it is to who cannot see it."""
    time = Scale(line.start, line.end, LEFT, WIDTH - RIGHT)
    parts: list[str] = []
    y = 8.0
    for draw in (_lanes, _loss, _heat):
        drawn, height = draw(line, time, y)
        parts += drawn
        y += height
    bottom = y - _GAP + 6
    axis = [
        *(tag("line", x1=time(at_), x2=time(at_), y1=8.0, y2=bottom, class_="grid") for at_, _ in _ticks(line)),
        *(_tick(time(at_), bottom + 16, words) for at_, words in _ticks(line)),
    ]
    height = bottom + 26
    return tag(
        "svg",
        *axis,
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        width="100%",
        role="img",
        aria_label=label,
    )


def _ticks(line: Timeline) -> list[tuple[float, str]]:
    return time_ticks(line.start, line.end)


def _tick(x: float, y: float, words: str) -> str:
    return text(words, x, y, class_="faint", anchor="middle")


def _lanes(line: Timeline, time: Scale, y: float) -> tuple[list[str], float]:
    shown = [state for state in STATES if state in ("Drift", "Harm") or any(bar.state == state for bar in line.bars)]
    parts: list[str] = []
    for state in shown:
        parts.append(text(_SAID[state], LEFT - 12, y + 16, anchor="end"))
        parts.append(_lane(y))
        # Harm is judged by labels from the first one on.
        if line.learned is not None and state != "Harm":
            parts.append(_learning(line.learned, time, y))
        parts += [_bar(bar, time, y) for bar in line.bars if bar.state == state]
        y += _LANE
    height = _LANE * len(shown)
    for action, moments in (("retrain", line.retrains), ("rollback", line.rollbacks)):
        if not moments:
            continue
        parts.append(text(f"{action} asked for", LEFT - 12, y + 16, anchor="end"))
        parts.append(_lane(y))
        parts += [_mark(action, moment, time, y) for moment in moments]
        y += _LANE
        height += _LANE
    return parts, height + _GAP


_SAID = {
    "DataFault": "data fault",
    "TrainServeSkew": "train-serve skew",
    "MinorDrift": "minor drift",
    "AnchorDrift": "drift from the anchor",
    "Drift": "drift",
    "HarmSuspected": "harm suspected",
    "Harm": "harm",
}


def _lane(y: float) -> str:
    return tag("rect", x=LEFT, y=y + 3, width=WIDTH - RIGHT - LEFT, height=_LANE - 6, class_="lane")


def _learning(learned: float, time: Scale, y: float) -> str:
    width = max(time(learned) - LEFT, 0.0)
    title = tag("title", f"what is normal is learned until {at(learned)}")
    place = tag("rect", title, x=LEFT, y=y + 3, width=width, height=_LANE - 6, class_="before", opacity="0.25")
    return place + (text("learning", LEFT + 6, y + 16, class_="faint") if width > 60 else "")


def _bar(bar: Bar, time: Scale, y: float) -> str:
    x = time(bar.start)
    title = tag("title", escape(bar.words))
    width = max(time(bar.end) - x, 3.0)
    return tag("rect", title, x=x, y=y + 3, width=width, height=_LANE - 6, rx=2, class_=bar.state)


def _mark(action: str, moment: float, time: Scale, y: float) -> str:
    x, title = time(moment), tag("title", escape(f"a {action} is asked for at {at(moment)}"))
    return tag("path", title, d=f"M{x:g} {y + 5:g} l6 13 h-12 z", class_="mark")


def _loss(line: Timeline, time: Scale, y: float) -> tuple[list[str], float]:
    if not line.points:
        return [], 0.0
    points = _merged(line)
    levels = [point.loss for point in points] + [each for each in (line.reference, line.tolerated) if each is not None]
    low, high = min(levels), max(levels)
    room = (high - low or max(high, 0.01)) * 0.12
    value = Scale(max(low - room, 0.0), min(high + room, 1.0), y + _LOSS, y)
    ticks = number_ticks(value.low, value.high)
    parts = [
        *(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=value(each), y2=value(each), class_="grid") for each in ticks),
        *(text(f"{each:g}", LEFT - 12, value(each) + 4, class_="faint", anchor="end") for each in ticks),
        text("mean loss of", LEFT - 52, y + 16, anchor="end"),
        text("labelled rows", LEFT - 52, y + 32, anchor="end"),
    ]
    parts += _levels(line, value)
    if len(points) == 1:
        parts.append(tag("circle", cx=time(points[0].end), cy=value(points[0].loss), r=4, class_="now"))
    return [*parts, tag("path", d=_curve(points, time, value, steps=line.merged), class_="curve")], _LOSS + _GAP


def _curve(points: Sequence[Point], time: Scale, value: Scale, *, steps: bool) -> str:
    """From middle to middle, or in steps where stretches are of unlike lengths."""
    if steps:
        places = [(time(at_), value(point.loss)) for point in points for at_ in (point.start, point.end)]
    else:
        places = [(time((point.start + point.end) / 2), value(point.loss)) for point in points]
    return " ".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(places))


def _levels(line: Timeline, value: Scale) -> list[str]:
    """The reference's loss and what is tolerated, named at the right, one above the other."""
    parts, x, between = [], WIDTH - RIGHT + 8, 0.0
    if line.reference is not None:
        y = value(line.reference)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="reference"))
        parts.append(text(f"reference {line.reference:.3g}", x, y + 4, class_="faint"))
        between = max(13.0 - (y - value(line.tolerated)), 0.0) if line.tolerated is not None else 0.0
    if line.tolerated is not None:
        y = value(line.tolerated)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="limit"))
        parts.append(text(f"tolerated {line.tolerated:.3g}", x, y + 4 - between, class_="limit-text"))
    return parts


def _merged(line: Timeline) -> list[Point]:
    """As many points as can be told apart, in the order of time."""
    width = (line.end - line.start) / _COLUMNS
    merged: list[Point] = []
    for point in sorted(line.points, key=lambda each: each.end):
        if merged and point.end - merged[-1].start < width:
            last = merged.pop()
            labels = last.labels + point.labels
            loss = (last.loss * last.labels + point.loss * point.labels) / max(labels, 1)
            point = Point(last.start, point.end, labels, loss)
        merged.append(point)
    return merged


def _heat(line: Timeline, time: Scale, y: float) -> tuple[list[str], float]:
    heat = line.heat
    if heat is None or not heat.names:
        return [], 0.0
    parts = []
    for row, (name, short) in enumerate(zip(heat.names, told_apart(heat.names, 23), strict=True)):
        top = y + row * _ROW
        label = text(short, LEFT - 12, top + 13, anchor="end")
        parts.append(tag("g", tag("title", escape(name)), label))
        parts.append(tag("rect", x=LEFT, y=top + 1, width=WIDTH - RIGHT - LEFT, height=_ROW - 2, class_="lane"))
        parts += _cells(heat, row, time, top)
    legend = y + len(heat.names) * _ROW + 8
    parts += _legend(legend)
    return parts, len(heat.names) * _ROW + 28 + _GAP


def _cells(heat: Heat, row: int, time: Scale, top: float) -> list[str]:
    """One rectangle for neighbours of one shade."""
    runs: list[tuple[int, float, float]] = []
    for (start, end), effect in zip(heat.spans, heat.effects[row].tolist(), strict=True):
        level = shade(effect)
        left, right = time(start), time(end)
        if runs and runs[-1][0] == level and left - runs[-1][2] < 1.5:
            runs[-1] = (level, runs[-1][1], right)
        else:
            runs.append((level, left, right))
    return [
        tag(
            "rect",
            x=left,
            y=top + 1,
            width=max(right - left, 1.5),
            height=_ROW - 2,
            class_=f"shade{level}",
        )
        for level, left, right in runs
        if level
    ]


def shade(effect: float) -> int:
    """From 0 (no evidence) to 4, by multiples of the materiality."""
    return 0 if effect <= 0 else 1 + sum(effect >= bound for bound in (1, 2, 4))


def _legend(y: float) -> list[str]:
    words = ("changed, below materiality", "material", "2 times", "4 times the materiality")
    parts, x = [], LEFT
    for level, said in enumerate(words, start=1):
        parts.append(tag("rect", x=x, y=y, width=14, height=12, class_=f"shade{level}"))
        parts.append(text(said, x + 20, y + 11, class_="faint"))
        x += 38 + 6.6 * len(said)
    return parts
