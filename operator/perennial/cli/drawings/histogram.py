"""A column's rows before and now, over the very bins that the scan compares.

Bins stand side by side in equal widths: they hold about equal shares of the training rows, so that what has changed is
seen however skewed the values are. Grey bars are before, the line is now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from perennial.wire.layout import Counts
from perennial.wire.reference import Categorical, Numeric

from .svg import Scale, number_ticks, shortened, tag, text

WIDTH = 330.0
_HEIGHT = 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 20.0, 10.0, 34.0
_BIN_LABELS = 5
_TELLING = 0.0005
"""The share of rows from which a cell that is no bin is shown."""
_APART = 3.0
"""Its width in bins."""
_NAMED = {"below": ("middle", 0.5), "above": ("end", 0.8), "missing": ("end", 1.9)}
"""How its name stands below it: two side by side have no room to stand in their middles."""
_CATEGORIES = 10
_ROW = 30.0
_NAMES = 116.0


def histogram(column: Numeric | Categorical, before: Counts, now: Counts, label: str) -> str:
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


@dataclass(frozen=True)
class _Slot:
    """A cell's place on the axis. `name` is empty for a bin between two edges."""

    left: float
    width: float
    name: str
    span: str
    before: float
    now: float

    @property
    def ends(self) -> tuple[float, float]:
        """Of its bar: cells that are no bins stand apart."""
        inset = self.width * 0.2 if self.name else 0.0
        return round(self.left + inset, 1), round(self.left + self.width - inset, 1)


def _numeric(column: Numeric, before: Sequence[float], now: Sequence[float], label: str) -> str:
    slots = _slots(column, before, now)
    value = Scale(0.0, max(*before, *now, 0.01) * 1.08, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(value), *(_before(slot, value) for slot in slots)]
    parts.append(tag("path", d=_outline(slots, value), class_="curve"))
    for slot in slots:
        if slot.name:
            anchor, place = _NAMED[slot.name]
            x = slot.left + place * slot.width
            parts.append(text(slot.name, x, _HEIGHT - _BOTTOM + 14, class_="faint", anchor=anchor))
    parts += _edges(column, [slot for slot in slots if not slot.name])
    return _picture(parts, _HEIGHT, label)


def _slots(column: Numeric, before: Sequence[float], now: Sequence[float]) -> list[_Slot]:
    """The bins, and cells beyond the range and missing ones where there are rows in them."""
    edges = [number(edge) for edge in column.edges]
    bins = [("", f"{low} to {high}") for low, high in pairwise(edges)]
    cells = [("below", f"below {edges[0]}"), *bins, ("above", f"above {edges[-1]}"), ("missing", "missing")]
    shown = [
        (name, span, was, is_)
        for (name, span), was, is_ in zip(cells, before, now, strict=True)
        if not name or max(was, is_) >= _TELLING
    ]
    unit = (WIDTH - _LEFT - _RIGHT) / sum(_APART if name else 1.0 for name, *_ in shown)
    slots, left = [], _LEFT
    for name, span, was, is_ in shown:
        width = unit * (_APART if name else 1.0)
        slots.append(_Slot(left, width, name, span, was, is_))
        left += width
    return slots


def _before(slot: _Slot, value: Scale) -> str:
    """The bar of before, and over its whole height the words for who points at it."""
    start, end = slot.ends
    top, foot = value(slot.before), value(0)
    title = tag("title", escape(f"{slot.span}: {slot.before:.1%} before, {slot.now:.1%} now"))
    bar = tag("rect", x=start + 0.5, y=top, width=round(end - start - 1, 1), height=foot - top, class_="before")
    over = tag("rect", x=start, y=_TOP, width=round(end - start, 1), height=foot - _TOP, opacity=0)
    return tag("g", title, bar, over)


def _outline(slots: Sequence[_Slot], value: Scale) -> str:
    """Along the tops of the bins, and around each cell that stands apart."""
    path: list[str] = []
    for place, slot in enumerate(slots):
        (start, end), top, foot = slot.ends, value(slot.now), value(0)
        if slot.name:
            path.append(f"M{start:g} {foot:g} V{top:g} H{end:g} V{foot:g}")
        elif place == 0 or slots[place - 1].name:
            path.append(f"M{start:g} {top:g} H{end:g}")
        else:
            path.append(f"V{top:g} H{end:g}")
    return " ".join(path)


def _edges(column: Numeric, bins: Sequence[_Slot]) -> list[str]:
    """The values at some of the edges, as far as they do not touch."""
    places = [*(slot.left for slot in bins), bins[-1].left + bins[-1].width]
    chosen = sorted({round(each * len(bins) / (_BIN_LABELS - 1)) for each in range(_BIN_LABELS)})
    parts: list[str] = []
    free = 0.0
    for edge in chosen:
        words, x = number(column.edges[edge]), places[edge]
        if x - 3.5 * len(words) < free:
            continue
        free = x + 3.5 * len(words) + 4
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
    known, unseen = len(column.categories), column.cells - 2
    beside = (("never seen before", unseen), ("missing", unseen + 1))
    ranked = sorted(range(known), key=lambda cell: -max(before[cell], now[cell]))
    shown = ranked[:_CATEGORIES]
    rest = ranked[_CATEGORIES:]
    rows = [(column.categories[cell], before[cell], now[cell]) for cell in shown]
    others = [*rest, *range(known, unseen)]
    beyond = (sum(before[cell] for cell in others), sum(now[cell] for cell in others))
    if any(beyond):
        rows.append((f"{len(rest)} others" if rest and not column.others else "others", *beyond))
    rows += [(name, before[cell], now[cell]) for name, cell in beside if before[cell] or now[cell]]
    value = Scale(0.0, max(max(row[1:]) for row in rows) or 1.0, _NAMES, WIDTH - 56)
    parts: list[str] = []
    for place, (name, was, is_) in enumerate(rows):
        y = _TOP + place * _ROW
        title = tag("title", escape(f"{name}: {was:.1%} before, {is_:.1%} now"))
        parts.append(
            tag(
                "g",
                title,
                text(shortened(name, 15), _NAMES - 8, y + 16, anchor="end"),
                tag("rect", x=_NAMES, y=y + 1, width=value(was) - _NAMES, height=11, class_="before"),
                tag("rect", x=_NAMES, y=y + 13, width=value(is_) - _NAMES, height=11, class_="now"),
                text(_percent(was), value(was) + 5, y + 11, class_="faint"),
                text(_percent(is_), value(is_) + 5, y + 23),
            )
        )
    return _picture(parts, _TOP * 2 + _ROW * len(rows), label)


def _picture(parts: Sequence[str], height: float, label: str) -> str:
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH:g} {height:g}", width="100%", role="img", aria_label=label)


def _shares(counts: Counts) -> list[float]:
    total = max(float(counts.sum()), 1.0)
    return [count / total for count in counts.tolist()]


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%" if share >= 0.001 or not share else "<0.1%"
