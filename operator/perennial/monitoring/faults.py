"""What a difference means: broken data, drift, or too little to matter.

Broken data must not be learned from, so it is told apart from change by its kind and its direction: values that go
missing, a column most of whose values training never knew, another unit (`units.py`), and what `data.expect` forbids. A
new category among the known ones and a new range are changes of the world: they are drift.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from perennial.wire.layout import SCORE, Ints

from .effects import Effect, effect
from .history import Hours
from .scan import Peak, Scan

FindingState = Literal["DataFault", "Drift", "MinorDrift"]

DOUBT = 2.0
"""Standard errors by which an effect must exceed the materiality."""


class Finding(msgspec.Struct, frozen=True):
    """One column that alarms. `statistic` is the signed root, `n` the rows of its stretch, `since` where that begins
    (Unix seconds). `together` has the features that take part in a joint column. `psi`, `divergence` and `wasserstein`
    are as in `effects.py`. `clean` windows have passed without it, in a verdict that goes on for others."""

    state: FindingState
    name: str
    kind: str
    effect: float
    divergence: float
    statistic: float
    words: str
    n: int
    since: float
    together: tuple[str, ...] = ()
    psi: float = 0.0
    wasserstein: float | None = None
    clean: int = 0


def meaning(found: Effect, statistic: float, materiality: float) -> FindingState:
    """What an effect is: materiality is in cumulative probability.

    Material is what is surely so. The statistic is about the effect in standard errors, and two of them are taken off:
    what was just found is found where chance made it look its largest.
    """
    if found.size * (1 - DOUBT / max(abs(statistic), DOUBT)) < materiality:
        return "MinorDrift"
    return "DataFault" if found.broken else "Drift"


@dataclass(frozen=True)
class Stretch:
    """A stretch's counts [cells], the hours in which its rows came, and how many there are in a row's own window.
    Columns `on_their_way` are as in that module, and whether the peak's `is_clock` as in `clocks.py`."""

    cells: Ints
    hours: Hours = field(default_factory=dict)
    crowd: float = 1.0
    on_their_way: Collection[str] = ()
    is_clock: bool = False


def finding(scan: Scan, peak: Peak, stretch: Stretch, *, since: float, materiality: float) -> Finding:
    """A peak in a stretch as what it means."""
    dispersion = scan.dispersion(peak, stretch.cells, stretch.crowd)
    name = scan.layout.columns[peak.column].name
    expected = scan.expected(stretch.hours)
    found = effect(
        scan.layout,
        peak,
        stretch.cells,
        expected,
        dispersion,
        on_its_way=name in stretch.on_their_way,
        is_clock=stretch.is_clock,
    )
    if abs(peak.statistic) < scan.fault_bound:
        found = replace(found, broken=False)
    return Finding(
        state=meaning(found, peak.statistic, materiality),
        name=name,
        kind=found.kind,
        effect=found.size,
        divergence=found.divergence,
        statistic=peak.statistic,
        words=found.words,
        n=int(scan.layout.rows(stretch.cells)),
        since=since,
        psi=found.psi,
        wasserstein=found.wasserstein,
        together=scan.layout.joint.get(name, ()),
    )


def unexplained(findings: Iterable[Finding]) -> list[Finding]:
    """Without what others explain: joint columns in which a feature takes part that has changed by itself as much, and
    the score while data are broken."""
    found = list(findings)
    changed = {finding.name for finding in found if not finding.together}
    much = {finding.name for finding in found if not finding.together and finding.state != "MinorDrift"}
    broken = any(finding.state == "DataFault" for finding in found)
    return [
        finding
        for finding in found
        if (changed if finding.state == "MinorDrift" else much).isdisjoint(finding.together)
        and not (broken and finding.name == SCORE)
    ]
