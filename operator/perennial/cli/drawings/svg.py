"""Elements of SVG and HTML as text, and scales with readable ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape


def tag(name: str, *children: str, **attributes: object) -> str:
    """An element. Children are markup already; attributes are escaped, with `_` for `-` (`class_` is class)."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{''.join(children)}</{name}>" if children else f"<{name}{given}/>"


def text(content: str, x: float, y: float, *, class_: str | None = None, anchor: str | None = None) -> str:
    return tag("text", escape(content), x=x, y=y, class_=class_, text_anchor=anchor)


def shortened(content: str, length: int) -> str:
    """A text that fits, with its middle left out: names of features often differ at their ends."""
    if len(content) <= length:
        return content
    head = (length - 1) // 2
    return f"{content[:head]}…{content[len(content) - (length - 1 - head) :]}"


def told_apart(names: Sequence[str], length: int) -> list[str]:
    """Texts that fit; those that would look the same without their middles show where they differ."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(shortened(name, length), []).append(name)
    return [_told_apart(name, alike[shortened(name, length)], length) for name in names]


def _told_apart(name: str, alike: list[str], length: int) -> str:
    if len(set(alike)) == 1:
        return shortened(name, length)
    columns = enumerate(zip(*alike, strict=False))
    same = next((place for place, letters in columns if len(set(letters)) > 1), min(map(len, alike)))
    head = min(length // 3, same)
    return f"{name[:head]}…{name[same : same + length - head - 1]}"


@dataclass(frozen=True)
class Scale:
    """From values `low` to `high` to places `start` to `end`; values outside go to the ends."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        share = min(max((value - self.low) / span, 0.0), 1.0) if span > 0 else 0.0
        return round(self.start + share * (self.end - self.start), 2)


def number_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers from `low` to `high`."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / max(count, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


_STEPS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200)
_DAYS = (1, 2, 7, 14)
_MONTHS = (1, 2, 3, 6, 12)


def time_ticks(start: float, end: float, count: int = 6) -> list[tuple[float, str]]:
    """About `count` moments (Unix seconds, UTC) from `start` to `end`, with what to write there: a date where one
    begins."""
    span = max(end - start, 1.0)
    for step in (*_STEPS, *(86400 * days for days in _DAYS)):
        if span / step <= count:
            return _regular(start, end, step)
    return _monthly(start, end, next((months for months in _MONTHS if span / (2629800 * months) <= count), 12))


def _regular(start: float, end: float, step: int) -> list[tuple[float, str]]:
    ticks: list[tuple[float, str]] = []
    day = None
    for place in range(math.ceil(start / step), math.floor(end / step) + 1):
        moment = datetime.fromtimestamp(place * step, UTC)
        clock = f"{moment:%H:%M:%S}" if step < 60 else f"{moment:%H:%M}"
        label = f"{moment.day} {moment:%b}" if step >= 86400 or moment.date() != day else clock
        if step < 86400 and moment.date() != day and (moment.hour or moment.minute or moment.second):
            label = f"{label} {clock}"
        day = moment.date()
        ticks.append((float(place * step), label))
    return ticks


def _monthly(start: float, end: float, months: int) -> list[tuple[float, str]]:
    first = datetime.fromtimestamp(start, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    ticks: list[tuple[float, str]] = []
    moment = first
    while moment.timestamp() <= end:
        if moment.timestamp() >= start and (moment.month - 1) % months == 0:
            ticks.append((moment.timestamp(), f"{moment:%b %Y}"))
        moment = (moment + timedelta(days=32)).replace(day=1)
    return ticks


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
