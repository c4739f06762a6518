"""A column's rows before and now, over the very bins that the scan compares.

Bins stand side by side in equal widths: they hold about equal shares of the training rows, so that what has changed is
seen however skewed the values are. Grey bars are before, the line is now.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from perennial.monitoring.layout import Ints
from perennial.wire.reference import Categorical, Numeric

from .svg import Scale, number_ticks, shortened, tag, text

WIDTH = 380.0
_HEIGHT = 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 8.0, 10.0, 34.0
_BIN_LABELS = 5
_CATEGORIES = 10
_ROW = 30.0
_NAMES = 120.0


def histogram(column: Numeric | Categorical, before: Ints, now: Ints, label: str) -> str:
    """Both counts [cells of the column] as shares of all rows. `label` says what it is to who cannot see it."""
    shares = [_shares(counts) for counts in (before, now)]
    if isinstance(column, Numeric):
        return _numeric(column, shares[0], shares[1], label)
    return _categorical(column, shares[0], shares[1], label)


def number(value: float) -> str:
    """An edge for a person: three digits that matter, thousands apart."""
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.3g}"
    if abs(value) < 1_000_000:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1e}"
    return f"{value:.2g}"


def _numeric(column: Numeric, before: Sequence[float], now: Sequence[float], label: str) -> str:
    bins = len(column.edges) - 1
    names = ["below", *[""] * bins, "above", "missing"]
    spans = [
        f"below {number(column.edges[0])}",
        *(f"{number(low)} to {number(high)}" for low, high in zip(column.edges, column.edges[1:], strict=False)),
        f"above {number(column.edges[-1])}",
        "missing",
    ]
    # Cells beyond the range and missing ones take room only where there are any.
    shown = [cell for cell in range(len(names)) if 1 <= cell <= bins or before[cell] or now[cell]]
    wide = {cell: 3.0 for cell in shown if names[cell]}
    unit = (WIDTH - _LEFT - _RIGHT) / (sum(wide.get(cell, 1.0) for cell in shown) * 1.0)
    unit = min(unit, 48.0 if wide else unit)
    lefts, x = {}, _LEFT
    for cell in shown:
        lefts[cell] = x
        x += unit * wide.get(cell, 1.0)
    lefts[len(names)] = x
    value = Scale(0.0, max(*before, *now, 0.01) * 1.08, _HEIGHT - _BOTTOM, _TOP)
    parts = _grid(value)
    outline: list[str] = []
    for cell in shown:
        left, width = lefts[cell], unit * wide.get(cell, 1.0)
        inset = width * 0.2 if names[cell] else 0.5
        title = tag("title", escape(f"{spans[cell]}: {before[cell]:.1%} before, {now[cell]:.1%} now"))
        top = value(before[cell])
        bar = tag(
            "rect",
            x=round(left + inset, 2),
            y=top,
            width=round(width - 2 * inset, 2),
            height=value(0) - top,
            class_="before",
        )
        hover = tag("rect", x=round(left, 2), y=_TOP, width=round(width, 2), height=value(0) - _TOP, opacity=0)
        parts.append(tag("g", title, bar, hover))
        start, end = round(left + inset, 2), round(left + width - inset, 2)
        begins = "M" if names[cell] or not outline or names[cell - 1] else "L"
        outline.append(f"{begins}{start:g} {value(now[cell]):g} L{end:g} {value(now[cell]):g}")
        if names[cell]:
            parts.append(text(names[cell], left + width / 2, _HEIGHT - _BOTTOM + 14, class_="faint", anchor="middle"))
    parts.append(tag("path", d=" ".join(outline), class_="curve"))
    parts += _edge_labels(column, {cell: lefts[cell] for cell in range(1, bins + 1)}, unit)
    return _picture(parts, _HEIGHT, label)


def _edge_labels(column: Numeric, lefts: dict[int, float], unit: float) -> list[str]:
    bins = len(lefts)
    chosen = sorted({round(place * bins / (_BIN_LABELS - 1)) for place in range(_BIN_LABELS)}) if bins else []
    parts, taken = [], -1e9
    for edge in chosen:
        words = number(column.edges[edge])
        x = lefts[edge + 1] if edge < bins else lefts[bins] + unit
        if x - taken < 4 + 7 * len(words):
            continue
        taken = x + 3.5 * len(words)
        parts.append(tag("line", x1=x, x2=x, y1=_HEIGHT - _BOTTOM, y2=_HEIGHT - _BOTTOM + 4, class_="axis"))
        parts.append(text(words, x, _HEIGHT - 6, class_="faint", anchor="middle"))
    return parts


def _grid(value: Scale) -> list[str]:
    ticks = number_ticks(value.low, value.high, 3)
    return [
        *(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=value(each), y2=value(each), class_="grid") for each in ticks),
        *(text(_percent(each), _LEFT - 6, value(each) + 4, class_="faint", anchor="end") for each in ticks),
    ]


def _categorical(column: Categorical, before: Sequence[float], now: Sequence[float], label: str) -> str:
    names = [*column.categories, "other known ones", "never seen before", "missing"]
    known = len(column.categories)
    ranked = sorted(range(known), key=lambda cell: -max(before[cell], now[cell]))
    shown = ranked[:_CATEGORIES]
    rest = ranked[_CATEGORIES:]
    rows = [(names[cell], before[cell], now[cell]) for cell in shown]
    others = [*rest, known]
    beyond = (sum(before[cell] for cell in others), sum(now[cell] for cell in others))
    if any(beyond):
        rows.append((f"{len(rest)} others" if rest and not column.others else "others", *beyond))
    rows += [(names[cell], before[cell], now[cell]) for cell in (known + 1, known + 2) if before[cell] or now[cell]]
    value = Scale(0.0, max(max(row[1:]) for row in rows) or 1.0, _NAMES, WIDTH - 56)
    parts: list[str] = []
    for place, (name, was, is_) in enumerate(rows):
        y = _TOP + place * _ROW
        title = tag("title", escape(f"{name}: {was:.1%} before, {is_:.1%} now"))
        parts.append(
            tag(
                "g",
                title,
                text(shortened(name, 17), _NAMES - 8, y + 16, anchor="end"),
                tag("rect", x=_NAMES, y=y + 1, width=value(was) - _NAMES, height=11, class_="before"),
                tag("rect", x=_NAMES, y=y + 13, width=value(is_) - _NAMES, height=11, class_="now"),
                text(_percent(was), value(was) + 5, y + 11, class_="faint"),
                text(_percent(is_), value(is_) + 5, y + 23),
            )
        )
    return _picture(parts, _TOP * 2 + _ROW * len(rows), label)


def _picture(parts: Sequence[str], height: float, label: str) -> str:
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH:g} {height:g}", width="100%", role="img", aria_label=label)


def _shares(counts: Ints) -> list[float]:
    total = max(int(counts.sum()), 1)
    return [count / total for count in counts.tolist()]


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%" if share >= 0.001 or not share else "<0.1%"
