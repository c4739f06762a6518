"""Verdicts: begun, kept, grown, and over only after a long clean run."""

from __future__ import annotations

import pytest

from perennial.monitoring.course import Course, Span, credit
from perennial.monitoring.faults import Finding, FindingState
from perennial.monitoring.harm import Harm, game
from perennial.monitoring.triage import CLEAN, Triage, skew, triage, triage_harm

from . import worlds

MODEL = "a" * 64


def finding(
    state: FindingState, name: str = "x", *, effect: float = 0.2, since: float = 0.0, kind: str = ""
) -> Finding:
    kind = kind or ("Missing" if state == "DataFault" else "Distribution")
    return Finding(state, name, kind, effect, 0.1, 9.0, "higher", 500, since)


def walk(before: Triage, windows: list[dict[int, list[Finding]]], start: int = 0) -> Triage:
    """Window by window: each says what is found in stretches of one window, of two, ..."""
    for number, found in enumerate(windows, start=start):

        def findings(within: int | None, found: dict[int, list[Finding]] = found) -> list[Finding]:
            best: dict[str, Finding] = {}
            for windows, each in found.items():
                if within is None or windows <= within:
                    best.update({finding.name: finding for finding in each})
            return list(best.values())

        before = triage(before, findings, model=MODEL, opened=number, closed=number + 1)
    return before


def states(found: Triage) -> list[str]:
    return sorted(verdict.state for verdict in found.verdicts)


@pytest.mark.parametrize("state", ["DataFault", "Drift", "MinorDrift"])
def test_a_finding_begins_a_verdict(state: FindingState) -> None:
    found = walk(Triage(), [{1: [finding(state, since=3.0)]}], start=9)
    (verdict,) = found.verdicts
    assert (verdict.state, verdict.since, verdict.found) == (state, 3.0, 10.0)
    assert len(verdict.id) == 8


@pytest.mark.parametrize("state", ["DataFault", "Drift"])
def test_it_is_kept_under_its_name_until_clean_for_long(state: FindingState) -> None:
    begun = walk(Triage(), [{1: [finding(state)]}])
    clean: list[dict[int, list[Finding]]] = [{}] * (CLEAN[state] - 1)
    still = walk(begun, clean, start=1)
    assert [verdict.id for verdict in still.verdicts] == [verdict.id for verdict in begun.verdicts]
    assert walk(still, [{}], start=CLEAN[state]).verdicts == ()


def test_long_stretches_that_still_hold_the_change_do_not_keep_it() -> None:
    """After the change has ended, 4 merged windows alarm for a while; the newest alone do not."""
    found = walk(Triage(), [{1: [finding("DataFault", since=0.0)]}])
    for number in range(1, 9):
        found = walk(found, [{number + 2: [finding("DataFault", since=0.0)]}], start=number)
    assert found.verdicts == ()
    assert found.quiet["DataFault"] == 1
    again = walk(found, [{16: [finding("DataFault", since=0.0)]}], start=9)
    assert again.verdicts == ()
    fresh = walk(again, [{2: [finding("DataFault", since=9.0)]}], start=10)
    assert states(fresh) == ["DataFault"]


def test_long_stretches_that_still_hold_broken_rows_are_no_drift() -> None:
    found = walk(Triage(), [{1: [finding("DataFault", since=0.0)]}])
    for number in range(1, 9):
        found = walk(found, [{number + 2: [finding("DataFault", since=0.0)]}], start=number)
    mended = walk(found, [{16: [finding("Drift", since=0.0)]}], start=9)
    assert mended.verdicts == ()
    assert states(walk(mended, [{2: [finding("Drift", since=9.0)]}], start=10)) == ["Drift"]


def test_a_small_lasting_change_is_not_clean_though_single_windows_are() -> None:
    found = walk(Triage(), [{4: [finding("Drift")]}])
    for number in range(1, 80):
        found = walk(found, [{4: [finding("Drift")]}], start=number)
    assert states(found) == ["Drift"]
    assert found.verdicts[0].clean < 4


def test_features_join_and_are_refreshed() -> None:
    found = walk(Triage(), [{1: [finding("Drift", "x", effect=0.1)]}, {1: [finding("Drift", "y", effect=0.3)]}])
    found = walk(found, [{1: [finding("Drift", "x", effect=0.4)]}], start=2)
    (verdict,) = found.verdicts
    assert [(each.name, each.effect) for each in verdict.features] == [("x", 0.4), ("y", 0.3)]


@pytest.mark.parametrize("state", ["DataFault", "Drift"])
def test_a_feature_that_is_well_again_goes_while_others_stay(state: FindingState) -> None:
    found = walk(Triage(), [{1: [finding(state, "x"), finding(state, "y")]}])
    found = walk(found, [{1: [finding(state, "y")]}] * (CLEAN[state] - 1), start=1)
    assert [each.name for each in found.verdicts[0].features] == ["x", "y"]
    again = walk(found, [{1: [finding(state, "x"), finding(state, "y")]}], start=CLEAN[state])
    assert [each.clean for each in again.verdicts[0].features] == [0, 0]
    found = walk(found, [{1: [finding(state, "y")]}], start=CLEAN[state])
    assert [each.name for each in found.verdicts[0].features] == ["y"]


def test_what_changes_its_kind_is_never_about_nothing() -> None:
    found = walk(Triage(), [{1: [finding("Drift", "x")]}])
    found = walk(found, [{1: [finding("Drift", "x", kind="Range")]}] * (CLEAN["Drift"] + 1), start=1)
    assert [each.kind for each in found.verdicts[0].features] == ["Range"]


def test_minor_drift_that_grows_becomes_drift() -> None:
    minor = walk(Triage(), [{1: [finding("MinorDrift", "x", effect=0.03), finding("MinorDrift", "y", effect=0.02)]}])
    grown = walk(minor, [{1: [finding("Drift", "x"), finding("MinorDrift", "y", effect=0.02)]}], start=1)
    assert states(grown) == ["Drift", "MinorDrift"]
    assert {verdict.state: [each.name for each in verdict.features] for verdict in grown.verdicts} == {
        "Drift": ["x"],
        "MinorDrift": ["y"],
    }


def test_drift_that_shrinks_below_materiality_is_the_same_drift() -> None:
    found = walk(Triage(), [{1: [finding("Drift", "x")]}])
    found = walk(found, [{1: [finding("MinorDrift", "x", effect=0.04)]}] * 40, start=1)
    assert states(found) == ["Drift"]


def test_a_fault_that_is_mended_is_over_though_a_little_is_left() -> None:
    found = walk(Triage(), [{1: [finding("DataFault", "x", effect=1.0)]}])
    found = walk(found, [{1: [finding("MinorDrift", "x", effect=0.02, kind="Missing")]}] * CLEAN["DataFault"], start=1)
    assert states(found) == ["MinorDrift"]


def test_skew_names_material_differences_only() -> None:
    found = skew([finding("Drift", "x"), finding("MinorDrift", "y")], model=MODEL, closed=9.0, since=1.0, n=10_000)
    assert found is not None
    assert [each.name for each in found.features] == ["x"]
    assert skew([finding("MinorDrift")], model=MODEL, closed=9.0, since=1.0, n=10_000) is None


def test_harm_begins_is_updated_and_ends() -> None:
    rules = game(worlds.loss(0.1), margin=0.2)
    alarm = Harm(rules.tolerated, evidence=9.0, clean=0, alarm=True)
    course = Course((Span(1.0, [900, 100]), Span(4.0, [240, 60]), Span(6.0)))
    begun = triage_harm(Triage(), alarm, rules, course, model=MODEL, closed=7.0)
    (verdict,) = begun.verdicts
    assert (verdict.state, verdict.since, verdict.n) == ("Harm", 4.0, 300)
    assert verdict.loss is not None
    assert verdict.loss.now == pytest.approx(0.2)
    more = credit(course, [(7.0, [180, 120])])
    updated = triage_harm(begun, alarm, rules, more, model=MODEL, closed=8.0)
    assert updated.verdicts[0].id == verdict.id
    assert updated.verdicts[0].n == 600
    waning = Harm(rules.tolerated, clean=CLEAN["Harm"] - 1)
    assert triage_harm(updated, waning, rules, more, model=MODEL, closed=9.0) == updated
    over = Harm(rules.tolerated, clean=CLEAN["Harm"])
    assert triage_harm(updated, over, rules, more, model=MODEL, closed=9.0).verdicts == ()
