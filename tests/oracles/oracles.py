"""The oracles themselves, for any controllers and any story.

A story is a function that does to the server what people and the cluster do, and lets the installation settle in
between.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

from .apiserver import ApiServer, Killed
from .installation import Build, Installation

Story = Callable[[Installation], Awaitable[None]]


async def told(build: Build, story: Story) -> Installation:
    """The story without any accident."""
    installation = Installation(ApiServer(), build)
    await story(installation)
    await installation.settle()
    return installation


async def survives_every_crash(build: Build, story: Story) -> int:
    """Whatever write the operator dies after, it ends where it would have, having made nothing twice.

    The number of crashes that were tried.
    """
    calm = await told(build, story)
    for deaths in range(len(calm.server.writes)):
        installation = _Mortal(ApiServer(), build, deaths)
        await story(installation)
        await installation.settle()
        assert installation.has_died, f"it was not killed after write {deaths + 1}"
        assert installation.state() == calm.state(), f"killed after write {deaths + 1}: {calm.server.writes[deaths]}"
        twice = _made(installation).keys() - _made(calm).keys()
        assert not twice, f"killed after write {deaths + 1}, it made more than once: {sorted(twice)}"
    return len(calm.server.writes)


async def survives_late_views(build: Build, story: Story, seed: int) -> None:
    """However late the operator hears of what happened, it ends where it would have, having made nothing twice."""
    calm = await told(build, story)
    late = _Late(ApiServer(), build, random.Random(seed))
    await story(late)
    await super(_Late, late).settle()
    assert late.state() == calm.state(), f"with views as late as by seed {seed}"
    twice = _made(late).keys() - _made(calm).keys()
    assert not twice, f"with views as late as by seed {seed}, it made more than once: {sorted(twice)}"


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
    """What was made for the same owner more than once, and how often. People's own objects have none."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for event in installation.server.log:
        for reference in event.manifest["metadata"].get("ownerReferences", []) if event.type == "ADDED" else ():
            counts[event.plural, event.manifest["metadata"]["name"], reference["uid"]] += 1
    return {(plural, name): count for (plural, name, _), count in counts.items() if count > 1}


class _Mortal(Installation):
    """Dies once, after a number of writes, and is started again."""

    def __init__(self, server: ApiServer, build: Build, deaths: int) -> None:
        super().__init__(server, build)
        server.dies_after = deaths
        self.has_died = False

    async def step(self) -> bool:
        try:
            return await super().step()
        except Killed:
            self.has_died = True
            self.server.dies_after = None
            self.restart()
            return True


class _Late(Installation):
    """Works on, having heard some of what happened."""

    def __init__(self, server: ApiServer, build: Build, chance: random.Random) -> None:
        super().__init__(server, build)
        self._chance = chance

    async def settle(self) -> None:
        for _ in range(self._chance.randrange(40)):
            if self._chance.random() < 0.5:
                self.hear(self._chance.randrange(1, 4))
            else:
                await self.step()
