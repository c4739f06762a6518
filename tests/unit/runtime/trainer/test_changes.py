"""The rows beside those of the version before: what is new is told from what looks broken, and neither stops a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from perennial.wire.run import Accepted
from tests.unit.runtime.trainer.world import World, flights


def notes(world: World, table: pd.DataFrame, **options: Any) -> list[str]:
    """What a second run says of these rows, beside the flights of the first."""
    world.write(flights())
    first = world.given().model
    assert first is not None
    world.write(table)
    result = world.train(version=2, before=Accepted(1, first.uri, first.sha256, first.seal), **options)
    assert result.outcome == "Accepted"
    said = [note for note in result.notes if note.startswith("since version 1 ")]
    assert [f"data: {note}" for note in said] == [line for line in world.said if line.startswith("data: since")]
    return [note.removeprefix("since version 1 ") for note in said]


def test_the_same_rows_are_not_worth_a_word(world: World) -> None:
    assert notes(world, flights(seed=0)) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"carrier": "ZZ"}, ["carrier looks broken: none of its values was there before: ZZ"]),
        ({"hour": 2.0e6}, ["hour looks broken: it reaches from 2e+06 to 2e+06, 0 to 23 before"]),
        ({"hour": "noon"}, ["hour looks broken: its values are Text and were Number"]),
        ({"hour": 30.0}, []),
    ],
)
def test_a_column_that_broke_is_told(world: World, changed: dict[str, Any], expected: list[str]) -> None:
    said = notes(world, flights().assign(**changed))
    assert [note for note in said if "looks broken" in note] == expected


def test_missing_values_that_were_there_look_broken(world: World) -> None:
    table = flights()
    table.loc[::2, "distance"] = np.nan
    (note,) = notes(world, table)
    assert note == "distance looks broken: 51.75% are missing, 5.75% were"


def test_new_values_among_the_known_are_a_change(world: World) -> None:
    table = flights()
    table.loc[:20, "carrier"] = "DD"
    assert notes(world, table) == ["carrier changed: 1 of 4 values are new: DD"]


def test_columns_come_and_go(world: World) -> None:
    said = notes(world, flights().assign(gate=1.0), features=["carrier", "distance", "gate", "hour"])
    assert said == ["gate: new since version 1", "wet: in version 1 and no more"]


def test_a_version_that_cannot_be_opened_is_no_reason_to_fail(world: World) -> None:
    nowhere = Accepted(1, f"file://{world.root}/store/gone", "0" * 64, "0" * 64)
    assert world.train(before=nowhere).outcome == "Accepted"
    assert any(line.startswith("data: not compared with that of version 1: ") for line in world.said)
