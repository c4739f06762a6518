"""What a monitor says that it takes for granted."""

from __future__ import annotations

import pytest

from perennial.monitoring.assumptions import assumptions
from perennial.monitoring.baseline import Baseline
from perennial.wire.reference import Differences

BASE = Baseline("Training", 0.0, complete=True)


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        (BASE, "independent windows: none were served yet"),
        (
            Baseline("Training", 0.0, trained=[Differences(64, 5000.0, [64.0])]),
            "as the held-out rows in the order of time do",
        ),
        (Baseline("Serving", 0.0, served=[Differences(4, 4000.0, [4.0])]), "as only 4 pairs of windows do"),
        (
            Baseline("Serving", 0.0, served=[Differences(40, 40_000.0, [90.0])], of=[1000, 32_000], worth=[400, 900]),
            "as 40 pairs of windows do: the 1,000 rows of one tell as much as 400 independent ones, the 32,000 of 32",
        ),
    ],
)
def test_how_far_windows_differ_and_how_it_is_known(baseline: Baseline, said: str) -> None:
    assert said in assumptions(baseline, 300.0)[0]


@pytest.mark.parametrize(
    ("period", "said"),
    [(300.0, "by the hour or the weekday"), (86_400.0, "day of the week"), (604_800.0, "of the year")],
)
def test_that_there_is_no_season(period: float, said: str) -> None:
    assert said in assumptions(BASE, period)[1]
