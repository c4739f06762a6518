"""Versions that are trained every day: what moves with them is told once, and what does not never is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.modeldeployment_status import ModelDeploymentStatus
from perennial.kube.plan import Event
from perennial.monitoring.anchor import Anchor, Rules, carried, moved
from perennial.monitoring.checkpoint import Checkpoint, decode, encode
from perennial.monitoring.history import STRETCHES
from perennial.monitoring.names import RELEASE, Identity
from perennial.monitoring.observed import Deployment, Look, Observed
from perennial.monitoring.plan import plan
from perennial.wire.differences import of_blocks
from perennial.wire.layout import layout_of
from perennial.wire.reference import Categorical, Column, Reference

from . import worlds

ROWS = 4000
"""Held out by each version."""

SERVED = 200
"""An hour; each is a window."""

HOURS = 12
"""A day, of which a baseline from serving takes ten."""

RULES = Rules(materiality=0.05, looks=25_920.0 * 4)
"""By default: a quarter of one false alarm in 90 days of windows of five minutes."""

START = datetime(2026, 9, 1, tzinfo=UTC)


def held_out(
    rng: np.random.Generator, version: int, shift: float = 0.0, *, also: list[Column] | None = None
) -> Reference:
    """What a version holds out that was trained where f1 has this shift."""
    columns = [worlds.numeric(f"f{i}", rng, ROWS, shift=shift if i == 1 else 0.0) for i in range(4)]
    score = worlds.numeric("score", rng, ROWS)
    return worlds.reference([*columns, *(also or []), score], model=digest(version), rows=ROWS)


def digest(version: int) -> str:
    return hashlib.sha256(str(version).encode()).hexdigest()


class Daily:
    """A monitor of versions that follow one another every day, of a world in which f1 has some `shift`."""

    def __init__(self, rng: np.random.Generator, spec: Mapping[str, Any] | None = None) -> None:
        self.rng = rng
        self.spec = DriftMonitorSpec.model_validate({
            "deployment": "flights", "window": {"minRows": 100, "period": "1h"}, "baseline": {"rows": 2000},
            **(spec or {}),
        })  # fmt: skip
        self.version = 0
        self.hours = 0
        self.checkpoint = Checkpoint()
        self.status = DriftMonitorStatus()
        self.events: list[Event] = []
        self.annotations: dict[str, str] = {}

    def days(self, shift: float, days: int = 1, *, learned: float | None = None) -> Daily:
        """So many versions, each trained where the shift is `learned`, and served for a day where it is `shift`."""
        for _ in range(days):
            self.version += 1
            reference = held_out(self.rng, self.version, shift if learned is None else learned)
            self._look(reference=reference)
            for _ in range(HOURS):
                self.hours += 1
                self._look(self._hour(reference, shift))
        return self

    def _hour(self, reference: Reference, shift: float) -> dict[str, Any]:
        cells: list[int] = []
        for column in reference.columns:
            cells += worlds.draw(column, self.rng, SERVED, shift=shift if column.name == "f1" else 0.0)
        epoch = worlds.epoch(self.hours, cells, SERVED, seconds=3600.0, model=reference.model, start=START.timestamp())
        return {"pod": worlds.answer(epoch)}

    def _look(self, answers: Mapping[str, Any] | None = None, reference: Reference | None = None) -> None:
        stable = {"revision": "r", "version": self.version, "sha256": digest(self.version)}
        kind = {"apiVersion": "perennial.dev/v1alpha1", "kind": "DriftMonitor"}
        metadata = {"namespace": "team-a", "name": "flights", "uid": "uid", "annotations": self.annotations}
        observed = Observed(
            identity=Identity("team-a", "flights", "uid"),
            manifest={**kind, "metadata": metadata},
            spec=self.spec,
            invalid=None,
            status=self.status,
            checkpoint=self.checkpoint,
            deployment=Deployment(ModelDeploymentStatus.model_validate({"stable": stable}), "flights"),
            look=replace(Look(serving=1, reference=reference), answers=answers or {}),
        )
        wanted = plan(observed, (), START + timedelta(hours=self.hours))
        self.checkpoint = decode(wanted.children[0].manifest)
        self.status = DriftMonitorStatus.model_validate(wanted.status)
        self.events += wanted.events

    def told(self, reason: str) -> list[str]:
        return [event.message for event in self.events if event.reason == reason]

    @property
    def found(self) -> dict[str, list[str]]:
        return {each.state: [feature.name for feature in each.features] for each in self.status.verdicts}


def test_slow_drift_under_daily_retrains_is_told_once(rng: np.random.Generator) -> None:
    daily = Daily(rng)
    first = None
    for day in range(20):
        daily.days(0.05 * day)
        if daily.found.get("AnchorDrift") and first is None:
            first = daily.version
    assert daily.found["AnchorDrift"] == ["f1"]
    assert first is not None
    # From 0.05 of cumulative probability on: a shift of 0.13.
    assert 4 <= first <= 9
    assert not daily.told("Drift")
    (once,) = daily.told("AnchorDrift")
    assert once.startswith(f"AnchorDrift: f1: higher since version 1 of 2026-09-01, {first - 1} promotions ago")
    (verdict,) = daily.status.verdicts
    (feature,) = verdict.features
    # Truly 0.365; what lies within a bin's width is not told.
    assert 0.3 < feature.effect < 0.4
    assert feature.psi is None
    assert verdict.since == START
    assert verdict.action is None
    assert not daily.status.requests
    (anchor,) = daily.status.anchors
    assert (anchor.version, anchor.promotions, anchor.features) == (1, 19, 4)


def test_where_nothing_moves_nothing_is_told(rng: np.random.Generator) -> None:
    daily = Daily(rng).days(0.0, 10)
    assert daily.found == {}
    assert not daily.told("AnchorDrift")


def test_what_was_told_lasts_while_half_of_it_remains(rng: np.random.Generator) -> None:
    daily = Daily(rng).days(0.0).days(0.4).days(0.18).days(0.4).days(0.18)
    assert daily.found == {"AnchorDrift": ["f1"]}
    assert len(daily.told("AnchorDrift")) == 1
    assert Daily(rng).days(0.0).days(0.18).found == {}


def test_it_is_over_when_versions_are_like_the_anchor_again(rng: np.random.Generator) -> None:
    daily = Daily(rng).days(0.0).days(0.4)
    assert daily.found == {"AnchorDrift": ["f1"]}
    daily.days(0.0)
    assert daily.found == {}
    (over,) = [message for message in daily.told("Over") if "AnchorDrift" in message]
    assert "the version that is judged now does not differ from the anchor" in over


def test_a_release_anchors_anew(rng: np.random.Generator) -> None:
    daily = Daily(rng).days(0.0).days(0.4)
    daily.annotations[RELEASE] = "seen"
    daily.days(0.4)
    assert daily.found == {}
    (anchor,) = daily.status.anchors
    assert anchor.version == 3
    assert daily.days(0.8).found == {"AnchorDrift": ["f1"]}


def test_what_was_told_as_drift_is_not_told_again_once_it_is_learned(rng: np.random.Generator) -> None:
    daily = Daily(rng).days(0.0).days(0.6, learned=0.0)
    assert daily.found == {"TrainServeSkew": ["f1"]}
    daily = Daily(rng, {"baseline": {"from": "Training"}}).days(0.0).days(0.6, learned=0.0)
    assert daily.found == {"Drift": ["f1"]}
    daily.days(0.6)
    assert daily.found == {}
    assert [(each.version, each.features) for each in daily.status.anchors] == [(1, 3), (3, 1)]
    assert daily.days(0.6, 3).found == {}


def test_drift_that_is_told_every_day_hides_no_slow_one(rng: np.random.Generator) -> None:
    """A skew that stays: each version's drift is told, and what moves beneath it is another matter."""
    daily = Daily(rng, {"baseline": {"from": "Training"}})
    for day in range(8):
        daily.days(0.6 + 0.05 * day, learned=0.05 * day)
        assert daily.found["Drift"] == ["f1"]
    assert daily.found["AnchorDrift"] == ["f1"]
    assert [(each.version, each.promotions) for each in daily.status.anchors] == [(1, 7)]


def test_what_differs_from_training_every_day_is_no_slow_drift(rng: np.random.Generator) -> None:
    assert Daily(rng).days(0.6, 4, learned=0.0).found == {"TrainServeSkew": ["f1"]}


def test_what_is_not_watched_is_not_told(rng: np.random.Generator) -> None:
    assert Daily(rng, {"features": {"exclude": ["f1"]}}).days(0.0).days(0.4).found == {}


def test_features_come_and_go(rng: np.random.Generator) -> None:
    kind = Categorical("kind", ["ash", "birch"], [2400, 1600, 0, 0, 0])
    turned = worlds.numeric("kind", rng, ROWS)
    first = carried(None, held_out(rng, 1), 1, 100.0, RULES)
    second = carried(first, held_out(rng, 2, also=[kind]), 2, 200.0, RULES)
    third = carried(second, held_out(rng, 3, also=[turned]), 3, 300.0, RULES)
    assert _points(second) == [(1, 1, 4), (2, 0, 1)]
    assert _points(third) == [(1, 2, 4), (3, 0, 1)]
    assert _points(carried(third, held_out(rng, 4), 4, 400.0, RULES)) == [(1, 3, 4)]


def _points(anchor: Anchor) -> list[tuple[int | None, int, int]]:
    return [(each.version, each.promotions, features) for each, features in anchor.points]


def test_where_held_out_rows_waver_more_is_needed(rng: np.random.Generator) -> None:
    """The order of the held-out rows tells how much days differ."""
    for wavers, found in ((False, ["f1"]), (True, [])):
        before, now = held_out(rng, 1), held_out(rng, 2, 0.3)
        for each in (before, now):
            each.differences = of_blocks(layout_of(each), _blocks(rng, each, 0.3 if wavers else 0.0))
        anchor = carried(carried(None, before, 1, 0.0, RULES), now, 2, 1.0, RULES)
        told = moved(anchor, now, RULES)
        assert [each.name for each in told] == found


def _blocks(rng: np.random.Generator, reference: Reference, wavers: float) -> Any:
    return np.array([
        [
            cell
            for column in reference.columns
            for cell in worlds.draw(column, rng, ROWS // 40, shift=rng.normal(scale=wavers))
        ]
        for _ in range(40)
    ])  # fmt: skip


@pytest.mark.parametrize("rows", [300, 3000])
def test_where_all_is_chance_no_more_is_told_than_is_allowed(rng: np.random.Generator, rows: int) -> None:
    """With cells cut alike, where nothing is given away, and with one look for all of the allowance."""
    texts = {"ash": 0.5, "birch": 0.3, "cedar": 0.15, "elm": 0.05}
    columns: list[Column] = [*(worlds.numeric(f"f{i}", rng) for i in range(5)), worlds.categorical("kind", texts)]
    told, times, rules = 0, 80, Rules(materiality=1e-9, looks=1.0)
    for _ in range(times):
        before, now = (_drawn(rng, columns, version, rows) for version in (1, 2))
        anchor = carried(carried(None, before, 1, 0.0, rules), now, 2, 1.0, rules)
        told += bool(moved(anchor, now, rules))
    assert told / times < 1 / STRETCHES


def _drawn(rng: np.random.Generator, columns: list[Column], version: int, rows: int) -> Reference:
    cells = [(column, worlds.draw(column, rng, rows, missing=0.1)) for column in columns]
    drawn = [msgspec.structs.replace(column, counts=counts) for column, counts in cells]
    return worlds.reference([*drawn, columns[0]], model=digest(version), rows=rows)


def test_the_anchor_stays_small(rng: np.random.Generator) -> None:
    columns: list[Column] = [worlds.numeric(f"f{i}", rng) for i in range(20)]
    anchor = carried(None, worlds.reference([*columns, columns[0]]), 1, 0.0, RULES)
    assert len(encode(Checkpoint(anchor=anchor))["checkpoint"]) < 12_000
