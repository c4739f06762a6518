"""The oracles themselves, for any controllers and any story.

A story is a sequence of steps; each does to the server what people and the cluster do, and lets the installation live
on for a while. A crash or a late view is tried within one step at a time, from where the undisturbed story was at its
beginning, and must have left no trace at its end. What a step does besides is told by the server alone: a process that
has died leaves nothing else behind, so that its successor can begin with the world as it was at its death.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from perennial.kube.plan import Key, Manifest

from .apiserver import ApiServer, Write
from .installation import Build, Installation

Step = Callable[[Installation], Awaitable[None]]
Story = Sequence[Step]


@dataclass(frozen=True)
class Chapter:
    """A step of a story that was told without any accident: the world before, and what it came to."""

    step: Step
    before: ApiServer
    state: dict[str, Manifest]
    made: dict[tuple[str, str], int]

    def assert_same(self, other: Installation, accident: str) -> None:
        where = f"{self.step.__name__}, {accident}"
        assert not (differences := _differences(self.state, other.state())), f"{where}: {differences}"
        twice = _made(other).keys() - self.made.keys()
        assert not twice, f"{where}, it made more than once: {sorted(twice)}"


async def told(build: Build, story: Story, server: Callable[[], ApiServer] = ApiServer) -> Installation:
    """The installation at the end of the story, without any accident."""
    installation = Installation(server(), build)
    await goes_on(installation, story)
    return installation


async def goes_on(installation: Installation, story: Story) -> None:
    for step in story:
        await step(installation)
        await installation.settle()


_chapters: dict[object, list[Chapter]] = {}


async def chapters(build: Build, story: Story, server: Callable[[], ApiServer] = ApiServer) -> list[Chapter]:
    """The story without any accident, to be disturbed. It is told once for all oracles."""
    if (known := _chapters.get((build, story, server))) is not None:
        return known
    installation = Installation(server(), build)
    found = []
    for step in story:
        before = installation.server.fork()
        await goes_on(installation, [step])
        found.append(Chapter(step, before, installation.state(), _made(installation)))
    _chapters[build, story, server] = found
    return found


async def survives_every_crash(build: Build, chapters: Sequence[Chapter], *, undone: bool = False) -> int:
    """Whatever write the operator dies after, or (`undone`) is about to make, each step ends where it would have,
    having made nothing twice. The number of crashes."""
    return sum([await _crashes(build, chapter, undone) for chapter in chapters])


async def _crashes(build: Build, chapter: Chapter, undone: bool) -> int:
    calm = _Noted(chapter.before.fork(), build, undone=undone)
    await goes_on(calm, [chapter.step])
    chapter.assert_same(calm, "started anew at its beginning")
    for number, death in enumerate(calm.deaths, 1):
        successor = _Successor(chapter.before.fork(), build, calm.spans, death)
        await goes_on(successor, [chapter.step])
        when = f"{'before' if undone else 'after'} write {number}: {death.write}"
        chapter.assert_same(successor, f"killed {when}")
    return len(calm.deaths)


async def survives_late_views(build: Build, chapter: Chapter, seed: int, *, waits: bool = False) -> None:
    """However late the operator hears of what happened, the step ends where it would have, having made nothing twice.

    `waits`: people see what came of what they did before they do something else.
    """
    late = _Late(chapter.before.fork(), build, random.Random(seed), waits=waits)
    await chapter.step(late)
    await super(_Late, late).come_to_rest()
    chapter.assert_same(late, f"with views as late as by seed {seed}")


async def is_at_rest(installation: Installation) -> None:
    """Nothing has changed, so nothing is written: by a resync of everything, and by a restart."""
    await installation.settle()
    written = len(installation.server.writes)
    installation.enqueue_all()
    await installation.settle()
    assert installation.server.writes[written:] == [], "a resync writes"
    installation.restart()
    await installation.settle()
    assert installation.server.writes[written:] == [], "a restart writes"


def _differences(expected: object, found: object, path: str = "") -> list[str]:
    """Where they differ, for a person: pytest's own comparison of whole clusters takes longer than all tests."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted({*expected, *found})
        return [d for key in keys for d in _differences(expected.get(key), found.get(key), f"{path}.{key}")]
    return [] if expected == found else [f"{path}: {expected!s:.300} became {found!s:.300}"]


def _made(installation: Installation) -> dict[tuple[str, str], int]:
    """What was made for the same owner more than once, and how often. People's own objects have none; what was made for
    an owner of whose end the operator had not heard is the garbage collector's."""
    counts: Counter[tuple[str, str, str]] = Counter()
    gone: set[str] = set()
    for event in installation.server.log:
        metadata = event.manifest["metadata"]
        if event.type == "DELETED":
            gone.add(metadata["uid"])
        elif event.type == "ADDED":
            owners = {reference["uid"] for reference in metadata.get("ownerReferences", [])}
            counts.update((event.plural, metadata["name"], uid) for uid in owners - gone)
    return {(plural, name): count for (plural, name, _), count in counts.items() if count > 1}


@dataclass(frozen=True)
class Death:
    """Where a process may end: at which write, in which span of the step, how long that was to last, and the world."""

    write: Write
    span: int
    end: datetime
    world: ApiServer


class _Noted(Installation):
    """Notes the world at each write, before or after it, and at the end of each span of time that a step lets pass."""

    def __init__(self, server: ApiServer, build: Build, *, undone: bool) -> None:
        super().__init__(server, build)
        self.deaths: list[Death] = []
        self.spans: list[ApiServer] = []
        self._end = server.now
        if undone:
            server.before = self._note
        else:
            server.after = self._note

    async def live_until(self, end: datetime) -> None:
        self._end = end
        await super().live_until(end)
        self.spans.append(self.server.fork())

    def _note(self, write: Write) -> None:
        self.deaths.append(Death(write, len(self.spans), self._end, self.server.fork()))


class _Successor(Installation):
    """Goes through a step whose operator has died. Until then all is as it was, and need not be done again."""

    def __init__(self, server: ApiServer, build: Build, spans: Sequence[ApiServer], death: Death) -> None:
        super().__init__(server, build)
        self._spans = spans
        self._death = death
        self._passed = 0

    async def live_until(self, end: datetime) -> None:
        number, self._passed = self._passed, self._passed + 1
        if number < self._death.span:
            self.server.go_on_from(self._spans[number])
            return
        if number == self._death.span:
            assert end == self._death.end
            self.server.go_on_from(self._death.world)
            self.restart()
        await super().live_until(end)


class _Late(Installation):
    """Works on, having heard some of what happened, some of it twice. What a cluster does goes on meanwhile. Being
    busy, it leaves some statuses to the next reconcile."""

    def __init__(self, server: ApiServer, build: Build, chance: random.Random, *, waits: bool) -> None:
        super().__init__(server, build)
        self._chance = chance
        self._waits = waits

    def may_wait(self, name: str, key: Key) -> bool:
        return (name, key) in self.queue and self._chance.random() < 0.5

    async def come_to_rest(self) -> None:
        for _ in range(self._chance.randrange(40)):
            await self._chance.choice((self._hear, self._hear, self._act, self._reconcile, self._reconcile))()
        if self._waits:
            await super().come_to_rest()

    async def _hear(self) -> None:
        self.hear(self._chance.choice(sorted(self.heard)), self._chance.randrange(1, 4))
        if self._chance.random() < 0.2:
            self.hear_again(self._chance.randrange(1000))

    async def _act(self) -> None:
        self.server.act()

    async def _reconcile(self) -> None:
        await self.step()
