"""What the API server said to trials, for a little while: a reconcile that follows another one at once, for the echo of
its status say, has no use for asking the same again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from .difference import digest
from .plan import Child, Problem

STANDS_SECONDS = 10.0
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """`problem` is None where the object would be made."""

    problem: Problem | None
    until: float


class Trials:
    """Answers by what was asked: another manifest is another question."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: OrderedDict[tuple[str, str], Answer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def answer(self, child: Child) -> Answer | None:
        """The answer to the same trial that still stands."""
        known = self._answers.get(_question(child))
        return known if known and self._clock() < known.until else None

    def note(self, child: Child, problem: Problem | None) -> None:
        question = _question(child)
        self._answers.pop(question, None)
        self._answers[question] = Answer(problem, self._clock() + STANDS_SECONDS)
        while self._answers and (len(self._answers) > _REMEMBERED or self._oldest().until < self._clock()):
            self._answers.popitem(last=False)

    def _oldest(self) -> Answer:
        return next(iter(self._answers.values()))


def _question(child: Child) -> tuple[str, str]:
    return child.resource.plural, digest(child.manifest)
