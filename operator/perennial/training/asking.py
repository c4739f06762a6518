"""Asking the pods of runs that search how far they are.

It is told for people and decides nothing, so it may cost next to nothing: a pod is asked every few seconds at most, and
one that does not answer, since it still reads its data or is behind a network policy, less and less often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from perennial.kube.plan import Manifest
from perennial.kube.podclient import PodUnreachable
from perennial.wire.places import CONTROL_PORT
from perennial.wire.progress import PROGRESS_PATH, Progress

from .progress import PERIOD, answers

SILENCE = 300.0
"""Seconds at most between two questions to a pod that does not answer."""
_REMEMBERED = 1000
"""Pods, the last ones asked: who is forgotten is asked once more."""

AnswerT = TypeVar("AnswerT")


class Pods(Protocol):
    """Typed questions to pods; raises PodUnreachable."""

    async def get_json(self, ip: str, port: int, path: str, answer: type[AnswerT]) -> AnswerT: ...


@dataclass(slots=True)
class _Memory:
    due: float
    pause: float = PERIOD / 2
    told: Progress | None = None


class Asking:
    """Remembers what pods said last, and when they may be asked again. All of it can be lost."""

    def __init__(self, pods: Pods, clock: Callable[[], float]) -> None:
        self._pods = pods
        self._clock = clock
        self._memory: dict[str, _Memory] = {}

    async def ask(self, pods: Iterable[Manifest]) -> dict[str, Progress]:
        """By the uid of the pod, of those that run and have said something."""
        return {
            pod["metadata"]["uid"]: told for pod in pods if answers(pod) and (told := await self._told(pod)) is not None
        }

    async def _told(self, pod: Manifest) -> Progress | None:
        uid, now = pod["metadata"]["uid"], self._clock()
        memory = self._memory.pop(uid, None) or _Memory(now)
        self._memory[uid] = memory
        while len(self._memory) > _REMEMBERED:
            del self._memory[next(iter(self._memory))]
        if memory.due > now:
            return memory.told
        try:
            memory.told = await self._pods.get_json(pod["status"]["podIP"], CONTROL_PORT, PROGRESS_PATH, Progress)
            memory.pause = PERIOD
        except PodUnreachable:
            memory.pause = min(2 * memory.pause, SILENCE)
        memory.due = now + memory.pause
        return memory.told
