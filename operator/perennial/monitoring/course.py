"""The course that losses took: counts by when the predictions were made, however late their labels come.

Labels come in any order, so what is found of them is dated here and not by when they came. Each judged window has a
span of its own. Of many, neighbours become one where the two are shortest beside their age: an old span is some
hundredth of its age long.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np

from perennial.wire.counts import summed
from perennial.wire.layout import Floats

from .harm import Game

SPANS = 128
"""The most that there are."""


CountT = TypeVar("CountT")


class Span(msgspec.Struct, frozen=True):
    """Counts by cell of the loss, of predictions from `opened` on to the next span."""

    opened: float
    cells: list[int] = []


class Course(msgspec.Struct, frozen=True):
    """Spans, oldest first. The last one is of the window that is open. Predictions from before `begun` are shown and
    judged no more."""

    spans: tuple[Span, ...] = ()
    begun: float = 0.0

    @property
    def labels(self) -> int:
        """How many are judged."""
        return sum(sum(span.cells) for span in self.spans if span.opened >= self.begun)


@dataclass(frozen=True)
class Rise:
    """Where the loss rose: `since` when, on so many `labels`, to which mean `loss`."""

    since: float
    labels: int
    loss: float


def moments(counts: Mapping[int, CountT], grain: int, closed: float) -> list[tuple[float, CountT]]:
    """When predictions were made (Unix seconds), and the counts of these: in the middle of their grain, and before the
    epoch of their labels was `closed`."""
    return [(min(start + grain / 2, closed), counted) for start, counted in sorted(counts.items())]


def credit(course: Course, counts: Iterable[tuple[float, list[int]]]) -> Course:
    """With these counts, each in the span of its time."""
    made = list(counts)
    if not made:
        return course
    spans = _reaching(course, min(moment for moment, _ in made))
    opened = [span.opened for span in spans]
    more: dict[int, list[int]] = {}
    for moment, cells in made:
        place = bisect_right(opened, moment) - 1
        more[place] = summed(more.get(place, []), cells)
    credited = [
        msgspec.structs.replace(span, cells=summed(span.cells, more[place])) if place in more else span
        for place, span in enumerate(spans)
    ]
    return msgspec.structs.replace(course, spans=tuple(credited))


def cut(course: Course, at: float, *, keep: Collection[float] = ()) -> Course:
    """With a new span from `at` on, if there are any. None that begins at `keep` becomes one with the span before."""
    if not course.spans or at <= course.spans[-1].opened:
        return course
    return _bounded(msgspec.structs.replace(course, spans=(*course.spans, Span(at))), keep)


def close(course: Course, opened: float, closed: float, *, keep: Collection[float] = ()) -> Course:
    """Once a window has ended. Nothing was predicted between the one before and `opened`."""
    *earlier, last = course.spans or (Span(max(opened, course.begun)),)
    # What was predicted before any window closed may be older than the first one.
    if earlier and last.opened not in (*keep, course.begun):
        last = msgspec.structs.replace(last, opened=max(last.opened, opened))
    return cut(msgspec.structs.replace(course, spans=(*earlier, last)), closed, keep=keep)


def anew(course: Course, at: float) -> Course:
    """Predictions from `at` on are judged, those before no more."""
    begun = max(at, course.begun)
    place = bisect_right([span.opened for span in course.spans], begun)
    earlier, later = course.spans[:place], course.spans[place:]
    # What was counted by then cannot be told apart, and is judged no more.
    boundary = (Span(begun),) if earlier and earlier[-1].opened < begun else ()
    return _bounded(Course((*earlier, *boundary, *later), begun))


def judged(course: Course, counts: Iterable[tuple[float, list[int]]]) -> list[int]:
    """The losses of those predictions that are to be judged."""
    cells: list[int] = []
    for moment, each in counts:
        if moment >= course.begun:
            cells = summed(cells, each)
    return cells


def rise(course: Course, game: Game) -> Rise:
    """Of all stretches the one that one of the bettors would have gained most on: where the loss rose, as likely as
    not (the maximum of a cumulative sum; Page, Continuous inspection schemes, 1954)."""
    opened, cells = _judged(course, game)
    wealth = np.vstack([np.zeros(len(game.gains)), np.cumsum(cells @ game.gains.T, axis=0)])
    best = wealth[1:] - np.minimum.accumulate(wealth, axis=0)[:-1]
    # Bad predictions may share a span with so many good ones that nobody gains on it.
    best[cells.sum(axis=1) == 0] = -np.inf
    last, bettor = np.unravel_index(int(best.argmax()), best.shape)
    # The last of equals: spans without labels add nothing.
    first = int(last - wealth[last::-1, bettor].argmin())
    return _rise(opened[first], cells[first : last + 1], game)


def since(course: Course, game: Game, at: float) -> Rise:
    """What the loss has been since then."""
    opened, cells = _judged(course, game)
    # The first span may have become longer by what is older.
    return _rise(at, cells[max(bisect_right(opened, at) - 1, 0) :], game)


def _judged(course: Course, game: Game) -> tuple[list[float], Floats]:
    """The spans that are judged: when they began, and counts of shape (spans, cells)."""
    spans = [span for span in course.spans if span.opened >= course.begun]
    cells = np.zeros((len(spans), len(game.values)))
    for row, span in zip(cells, spans, strict=True):
        known = span.cells[: len(row)]
        row[: len(known)] = known
    return [span.opened for span in spans], cells


def _rise(at: float, cells: Floats, game: Game) -> Rise:
    labels = int(cells.sum())
    return Rise(at, labels, float((cells @ game.values).sum()) / max(labels, 1))


def _reaching(course: Course, oldest: float) -> tuple[Span, ...]:
    """The spans, the first of which begins at `oldest` if not before: none has predictions from before `begun` and from
    after."""
    first, *later = course.spans or (Span(max(oldest, course.begun)),)
    if oldest >= first.opened:
        return (first, *later)
    if oldest < course.begun <= first.opened:
        return (Span(oldest), msgspec.structs.replace(first, opened=course.begun), *later)
    return (msgspec.structs.replace(first, opened=oldest), *later)


def _bounded(course: Course, keep: Collection[float] = ()) -> Course:
    """With no more spans than there may be."""
    spans = list(course.spans)
    while len(spans) > SPANS:
        place = min(
            (place for place in range(1, len(spans) - 1) if spans[place].opened not in (*keep, course.begun)),
            key=lambda place: _length_beside_age(spans, place),
        )
        one, other = spans[place - 1 : place + 1]
        spans[place - 1 : place + 1] = [Span(one.opened, summed(one.cells, other.cells))]
    return msgspec.structs.replace(course, spans=tuple(spans))


def _length_beside_age(spans: list[Span], place: int) -> float:
    """How long the span before and this one would be together, beside how long ago they began."""
    opened = spans[place - 1].opened
    return (spans[place + 1].opened - opened) / (spans[-1].opened - opened)
