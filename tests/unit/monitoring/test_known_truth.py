"""Public data sets whose changes are known: each is told as it is and in time, with silence before. Downloads them
once."""

from __future__ import annotations

import pytest

from tests.benchmarks.known_truth import CASES, Case, Found, Tables, watch

LOAN = CASES[0]


@pytest.mark.process
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_known_is_found_in_time_and_nothing_else(case: Case) -> None:
    assert watch(case).wrong(case) == []


@pytest.mark.process
def test_harm_is_suspected_before_labels_prove_it() -> None:
    """The error rises from .056 to .085 at row 25,000: labels of single rows prove it only some thousands later."""
    found = watch(LOAN)
    assert found.states["HarmSuspected"] < found.states["Harm"]


def _tables() -> Tables:
    raise AssertionError("nothing is read")


CASE = Case("made up", _tables, change=5000, by=6000, changed=("small",), proved=8000, suspect=True)


def _right() -> Found:
    return Found(
        1000,
        states={"Drift": 6000, "MinorDrift": 6000, "HarmSuspected": 6000, "Harm": 8000},
        dated={"Drift": 5000, "MinorDrift": 5000, "HarmSuspected": 5000, "Harm": 5000},
        features={("Drift", "large"): 6000, ("MinorDrift", "small"): 6000},
        truth={"large": 0.2, "small": 0.03, "same": 0.005},
    )


def test_what_is_right_passes() -> None:
    assert _right().wrong(CASE) == []


@pytest.mark.parametrize(("state", "name"), [("Drift", "large"), ("MinorDrift", "small")])
def test_a_column_that_is_named_late_is_wrong(state: str, name: str) -> None:
    found = _right()
    found.features = {key: 7000 if key == (state, name) else row for key, row in found.features.items()}
    assert found.wrong(CASE) == [f"not found in time: {name}"]


def test_a_large_change_that_is_called_minor_is_wrong() -> None:
    found = _right()
    found.features = {("MinorDrift", "large"): 6000, ("MinorDrift", "small"): 6000}
    assert found.wrong(CASE) == ["not found in time: large"]


def test_harm_that_is_found_late_or_never_is_wrong() -> None:
    found = _right()
    found.states |= {"HarmSuspected": 7000}
    del found.states["Harm"], found.dated["Harm"]
    assert found.wrong(CASE) == ["not found in time: HarmSuspected, Harm"]


@pytest.mark.parametrize("row", [4000, 6000])
def test_another_date_than_the_very_window_is_wrong(row: int) -> None:
    found = _right()
    found.dated |= {"Drift": row}
    assert found.wrong(CASE) == [f"dated wrongly: Drift to row {row:,}"]


def test_what_is_not_so_or_said_before_it_is_so_is_wrong() -> None:
    found = _right()
    found.features |= {("MinorDrift", "same"): 6000}
    found.states |= {"MinorDrift": 5000}
    assert found.wrong(CASE) == ["said and not so: same", "said too early: MinorDrift"]
