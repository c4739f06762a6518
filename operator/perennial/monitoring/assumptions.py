"""What a monitor takes for granted, in words: whoever gets its verdicts should know what they rest on."""

from __future__ import annotations

from .baseline import Baseline
from .history import LONGEST

DAY = 86400.0
FEW_PAIRS = 20
"""Pairs of windows with fewer of which the monitor has hardly seen how windows follow one another."""


def assumptions(baseline: Baseline, period: float) -> tuple[str, ...]:
    """Of a monitor whose windows have a `period` in seconds."""
    return (_wavering(baseline), _season(period))


def _season(period: float) -> str:
    if period >= 7 * DAY:
        return "no season: what differs from one time of the year to the next is told as drift"
    if period >= DAY:
        return "no season: windows hold whole days, but what differs by the day of the week is told as drift"
    return (
        "no season: the baseline knows no hours and no weekdays, so what differs by them is told as drift unless "
        "windows waver as much anyway; with window.period of 1d each window holds all hours"
    )


def _wavering(baseline: Baseline) -> str:
    pairs = baseline.served[0].pairs if baseline.served else 0
    if not pairs and not baseline.trained:
        return (
            "independent windows: none were served yet to tell how far they differ, and the held-out rows are in no "
            "order of time (data.time)"
        )
    few = "only " if pairs < FEW_PAIRS else ""
    seen = f"{few}{pairs} pairs of windows" if pairs else "the held-out rows in the order of time"
    if not baseline.worth:
        return f"windows that differ as {seen} do"
    (rows, all_rows), (worth, all_worth) = baseline.of, baseline.worth
    return (
        f"windows that differ as {seen} do: the {rows:,} rows of one tell as much as {worth:,} independent ones, the "
        f"{all_rows:,} of {LONGEST} windows as {all_worth:,}"
    )
