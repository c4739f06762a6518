"""How the demonstration's year passes: on, but for what is under way and for an operator that is away."""

from __future__ import annotations

from itertools import chain, islice, repeat

import pytest

from demo import scene
from demo.kubectl import Kubectl

ANYWHERE = Kubectl.__new__(Kubectl)
FIRST, SECOND = islice(scene.STREAMED_WEEKS, 2)


def year(monkeypatch: pytest.MonkeyPatch, settled: list[bool], at_work: list[bool]) -> list[int]:
    """What is flown where these are the answers, and then yes."""
    settlings, works = chain(settled, repeat(True)), chain(at_work, repeat(True))
    monkeypatch.setattr(scene, "has_settled", lambda _: next(settlings))
    return list(scene.calendar(ANYWHERE, lambda: next(works)))


def test_the_year_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert year(monkeypatch, [], []) == list(scene.STREAMED_WEEKS)


def test_what_is_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert year(monkeypatch, [False, False], [])[:4] == [FIRST, FIRST, FIRST, SECOND]


def test_an_operator_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert year(monkeypatch, [], [True, False, False])[:5] == [FIRST, SECOND, SECOND, SECOND, SECOND + 1]


def test_nothing_is_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    often = 10 * (scene.AGAIN + scene.AWAY)
    flown = year(monkeypatch, [False] * often, [False] * often)
    assert len(flown) == len(scene.STREAMED_WEEKS) + scene.AGAIN + scene.AWAY
    assert flown[-1] == scene.STREAMED_WEEKS[-1]
