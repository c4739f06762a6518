"""Public data sets whose changes are known: each is told as it is, with silence before. Downloads them once."""

from __future__ import annotations

import pytest

from tests.benchmarks.known_truth import CASES, Case, watch

pytestmark = pytest.mark.process


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_known_is_found_and_nothing_else(case: Case) -> None:
    assert watch(case).wrong(case) == []


def test_harm_is_suspected_before_labels_prove_it() -> None:
    """The error rises from .056 to .085 at row 25,000: labels of single rows prove it only some thousands later."""
    found = watch(CASES[0])
    assert found.states["HarmSuspected"] < found.states["Harm"]
    assert set(found.named("Drift")) >= {"car_value", "salary_range", "loan_length", "repaid_loan_on_prev_car"}
