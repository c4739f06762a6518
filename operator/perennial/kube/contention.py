"""Who else writes to our children: a difference that comes back each time is said, and not fought over.

A mutating webhook undoes a change within the request, another controller soon after. Either way the same thing is
asked for again and again; after a few times it is asked for only every few minutes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

TIMES = 3
SPAN_SECONDS = 300.0
_REMEMBERED = 10_000


@dataclass(slots=True)
class _Asked:
    digest: str
    at: list[float] = field(default_factory=list)
    refused: bool = False


class Contention:
    """How often the same was asked for, by the uid of the child. What was forgotten is just asked for once more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: OrderedDict[str, _Asked] = OrderedDict()

    def is_contended(self, uid: str, digest: str) -> bool:
        """Whether asking for this once more is to be put off."""
        asked = self._asked.get(uid)
        if asked is None or asked.digest != digest:
            return False
        recent = self._recent(asked)
        return len(recent) >= TIMES or (asked.refused and bool(recent))

    def applied(self, uid: str, digest: str, *, kept: bool) -> None:
        """It was asked for; `kept` tells whether the answer still had all of it."""
        asked = self._asked.pop(uid, None)
        if asked is None or asked.digest != digest:
            asked = _Asked(digest)
        asked.at = [*self._recent(asked), self._clock()]
        asked.refused = not kept
        self._asked[uid] = asked
        if len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)

    def _recent(self, asked: _Asked) -> list[float]:
        horizon = self._clock() - SPAN_SECONDS
        return [at for at in asked.at if at > horizon]
