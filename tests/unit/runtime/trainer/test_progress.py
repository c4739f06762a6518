"""The trainer answers how far its search is, and does without where it cannot."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import msgspec
import pytest

from perennial.runtime.trainer import search, training
from perennial.runtime.trainer.progress import telling
from perennial.wire.progress import PROGRESS_PATH, Progress
from perennial.wire.run import Search
from tests.unit.runtime.trainer.world import World


def asked(port: int, path: str = PROGRESS_PATH) -> Progress:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
        return msgspec.json.decode(response.read(), type=Progress)


def test_it_answers_while_it_goes_on_and_nothing_else() -> None:
    progress = Progress("f1", 12)
    with telling(progress, print, port=0) as port:
        progress.done, progress.best = 7, 0.5
        assert asked(port) == Progress("f1", 12, 7, 0.5)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            asked(port, "/")
    with pytest.raises(OSError, match="refused"):
        asked(port)


def test_a_taken_port_is_said_and_does_no_harm() -> None:
    said: list[str] = []
    with telling(Progress("f1"), said.append, port=0) as port, telling(Progress("f1"), said.append, port) as none:
        assert none == 0
    assert "cannot be opened" in said[0]


def test_a_search_counts_its_fits_and_knows_the_best_so_far(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Progress] = []
    original: Any = search._Search._score

    def noted(self: search._Search, *arguments: object) -> object:
        answer = original(self, *arguments)
        seen.append(msgspec.structs.replace(self._progress))
        return answer

    monkeypatch.setattr(search._Search, "_score", noted)
    monkeypatch.setattr(training, "telling", lambda progress, say: telling(progress, say, port=0))
    result = world.train(search=Search("accuracy", {"max_depth": [1, 2, 5]}, "Grid", 3, 2))
    assert [each.of for each in seen] == [6] * 6
    assert seen[0].best is None
    assert result.search is not None
    assert seen[-1].best == result.search.score
