"""What a monitor takes for granted, in words: whoever gets its verdicts should know what they rest on."""

from __future__ import annotations

from perennial.wire.season import WEEK

from .baseline import Baseline
from .history import LONGEST
from .season import ENOUGH, MOST_BYTES, SPAN

DAY = 86400.0
FEW_PAIRS = 20
"""Pairs of windows with fewer of which the monitor has hardly seen how windows follow one another."""


def assumptions(baseline: Baseline, period: float) -> tuple[str, ...]:
    """Of a monitor whose windows have a `period` in seconds."""
    return (_wavering(baseline), _season(baseline, period))


def _season(baseline: Baseline, period: float) -> str:
    if period >= 7 * DAY:
        return "no season: what differs from one time of the year to the next is told as drift"
    if baseline.season:
        return (
            f"a season by hour of the week (UTC): {len(baseline.season)} of {WEEK} hours were seen, "
            f"{sum(known.weeks > 1 for known in baseline.season.values())} of them in two weeks or more, and each "
            "window is compared with its own; what comes in another hour is compared with all of them"
        )
    if period >= DAY:
        return (
            f"no season, since {_why_not(baseline)}: windows hold whole days, but what differs by the day of the week "
            "is told as drift"
        )
    return (
        f"no season, since {_why_not(baseline)}: what differs by the hour or the weekday is told as drift unless "
        "windows waver as much anyway; with window.period of 1d each window holds all hours"
    )


def _why_not(baseline: Baseline) -> str:
    if baseline.source == "Training":
        return "held-out rows are not known by their hours"
    if baseline.making.too_large:
        return f"counts by hour of so many columns are more than the {MOST_BYTES // 1024} KiB that are kept"
    covered = max(baseline.closed - baseline.since, 0.0)
    if covered < SPAN:
        days = f"{covered / DAY:.1f} of the {SPAN / DAY:.0f} days"
        return f"the baseline covers {days} that show each week's hour twice (baseline.period)"
    return f"less than {ENOUGH:.0%} of the baseline's rows are of hours that were seen in two weeks"


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
