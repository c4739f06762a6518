"""The oracles themselves, for any controllers and any story.

A story is a function that does to the server what people and the cluster do, and lets the installation settle in
between.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from perennial.kube.plan import Manifest

from .apiserver import ApiServer, Killed
from .installation import Build, Installation

Story = Callable[[Installation], Awaitable[None]]


async def told(build: Build, story: Story, server: Callable[[], ApiServer] = ApiServer) -> Installation:
    """The story without any accident."""
    installation = Installation(server(), build)
    await story(installation)
    await installation.settle()
    return installation


async def survives_every_crash(
    build: Build,
    story: Story,
    server: Callable[[], ApiServer] = ApiServer,
    *,
    moments: Callable[[int], Iterable[int]] = range,
    undone: bool = False,
) -> int:
    """Whatever write the operator dies after, or (`undone`) is about to make, it ends where it would have, having made
    nothing twice. `moments` picks some of so many. The number of crashes that were tried.
    """
    calm = await told(build, story, server)
    expected = calm.state()
    tried = list(moments(len(calm.server.writes)))
    for deaths in tried:
        installation = _Mortal(server(), build, deaths, undone=undone)
        await story(installation)
        await installation.settle()
        where = f"killed {'before' if undone else 'after'} write {deaths + 1}: {calm.server.writes[deaths]}"
        assert installation.has_died, f"it was not {where}"
        _assert_same(installation, expected, calm, where)
    return len(tried)


async def survives_late_views(
    build: Build, story: Story, seed: int, server: Callable[[], ApiServer] = ApiServer, *, waits: bool = False
) -> None:
    """However late the operator hears of what happened, it ends where it would have, having made nothing twice.

    `waits`: people see what came of what they did before they do something else.
    """
    calm = await told(build, story, server)
    late = _Late(server(), build, random.Random(seed), waits=waits)
    await story(late)
    await super(_Late, late).settle()
    _assert_same(late, calm.state(), calm, f"with views as late as by seed {seed}")


def _assert_same(installation: Installation, expected: dict[str, Manifest], calm: Installation, where: str) -> None:
    assert installation.state() == expected, where
    twice = _made(installation).keys() - _made(calm).keys()
    assert not twice, f"{where}, it made more than once: {sorted(twice)}"


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


class _Mortal(Installation):
    """Dies once, after a number of writes, and is started again."""

    def __init__(self, server: ApiServer, build: Build, deaths: int, *, undone: bool) -> None:
        super().__init__(server, build)
        if undone:
            server.dies_before = deaths
        else:
            server.dies_after = deaths
        self.has_died = False

    async def step(self) -> bool:
        try:
            return await super().step()
        except Killed:
            self.has_died = True
            self.server.dies_after = self.server.dies_before = None
            self.restart()
            return True


class _Late(Installation):
    """Works on, having heard some of what happened, some of it twice. What a cluster does goes on meanwhile."""

    def __init__(self, server: ApiServer, build: Build, chance: random.Random, *, waits: bool) -> None:
        super().__init__(server, build)
        self._chance = chance
        self._waits = waits

    async def settle(self) -> None:
        for _ in range(self._chance.randrange(40)):
            await self._chance.choice((self._hear, self._hear, self._act, self._reconcile, self._reconcile))()
        if self._waits:
            await super().settle()

    async def _hear(self) -> None:
        self.hear(self._chance.choice(sorted(self.heard)), self._chance.randrange(1, 4))
        if self._chance.random() < 0.2:
            self.hear_again(self._chance.randrange(1000))

    async def _act(self) -> None:
        self.server.act()

    async def _reconcile(self) -> None:
        await self.step()
