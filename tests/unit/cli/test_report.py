"""The page of a report: every part of it, whatever the features are called, and nothing that comes from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.resources import DRIFTMONITORS
from perennial.cli.backtest.drawing import LANES
from perennial.cli.drawings.histogram import histogram, number
from perennial.cli.drawings.svg import number_ticks, shortened, time_ticks, told_apart
from perennial.cli.drawings.timeline import STATES
from perennial.cli.named import Named
from perennial.cli.problem import CannotDo
from perennial.cli.report.command import report
from perennial.cli.report.content import HEADLINES, POINTS, Content, content
from perennial.cli.report.page import page
from perennial.kube.plan import Manifest
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged, encode
from perennial.monitoring.verdict import State
from perennial.wire.reference import Column
from tests.unit.monitoring import worlds

from .conftest import Namespace

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOSTILE = '<script src="https://elsewhere.example/x.js">alert(1)</script>'
VOID = {"meta"}


class Page(HTMLParser):
    """What a browser would make of it: its texts, its elements, and what is left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class Monitored:
    """A monitor that has seen so many windows of 500 rows, with labels."""

    def __init__(self, names: Sequence[str], **spec: Any) -> None:
        self.rng = np.random.default_rng(20130101)
        self.columns: list[Column] = [worlds.numeric(name, self.rng) for name in names]
        self.columns += [
            worlds.categorical("kind", {"ash": 0.6, "birch": 0.4}),
            worlds.numeric("score", self.rng),
        ]
        self.spec = DriftMonitorSpec.model_validate({"deployment": "flights", "baseline": {"from": "Training"}, **spec})
        reference = worlds.reference(self.columns, loss=worlds.loss(0.1))
        self.checkpoint = judge.begin(Checkpoint(), Judged(worlds.MODEL, 7), reference)
        self.windows = 0

    def see(self, windows: int, *, shift: float = 0.0, missing: float = 0.0, error: float = 0.1) -> Monitored:
        """The first feature moves, the second one goes missing."""
        for _ in range(windows):
            self.windows += 1
            cells = [
                cell
                for place, column in enumerate(self.columns)
                for cell in worlds.draw(
                    column, self.rng, 500, shift=shift * (place == 0), missing=missing * (place == 1)
                )
            ]
            wrong = int(self.rng.binomial(500, error))
            epoch = worlds.epoch(self.windows, cells, 500, losses=[500 - wrong, wrong], seconds=300)
            answers = {"pod": worlds.answer(epoch)}
            self.checkpoint = judge.advance(self.checkpoint, self.spec, answers, now=epoch.closed)
        return self

    def content(self) -> Content:
        return content("DriftMonitor team-a/flights", self.spec, DriftMonitorStatus(), self.checkpoint)


def test_the_page_has_every_part() -> None:
    seen = Monitored(["delay", "distance", "hour"]).see(20).see(6, shift=0.8, missing=0.5, error=0.4)
    told = seen.content()
    assert told.headline == "The data are broken"
    assert [each.state for each in told.found] == ["DataFault", "Harm", "Drift"]
    assert [each.name for each in told.features][:2] == ["distance", "delay"]
    assert told.features[1].effect == pytest.approx(0.31, abs=0.05)
    assert told.features[1].psi > 0.5 > max(each.psi for each in told.features[2:])
    assert told.features[1].words.startswith("higher; values moved by 0.8")
    assert {each.name for each in told.features} == {"delay", "distance", "hour", "kind", "(score)"}
    assert all(not each.effect and not each.state for each in told.features[2:])
    read = Page(page(told, NOW))
    assert read.open == []
    text = " ".join(read.texts)
    for said in (
        "DriftMonitor team-a/flights",
        "version 7, as of",
        told.headline,
        "What was found, and done",
        "Over time",
        "tolerated 0.13",
        "mean loss of",
        "Features by effect",
        "0.0% -> ",
        "Before and now",
        "(score), the model's own output",
        "Windows and thresholds",
        "one in 90d: one in 25,920 windows",
        "Reference loss",
        "Made at 2026-03-01T12:00:00Z by kubectl perennial",
    ):
        assert said in text
    # One over time, a bar and a histogram for each feature.
    assert read.elements.count("svg") == 1 + 2 * len(told.features)


def test_a_number_says_what_it_is_where_there_is_no_room_for_a_head() -> None:
    """On a phone rows of the table are blocks, of which the style writes these."""
    text = page(Monitored(["delay"]).see(12).content(), NOW)
    heads = re.findall(r'<td class="number" data-head="(\w+)">', text)
    assert heads == ["Effect", "Evidence", "PSI"] * 3
    assert text.count('class="number"') == len(heads)
    assert "@media screen and (max-width: 640px)" in text


def test_what_is_asked_for_and_what_the_version_before_would_do_is_there() -> None:
    seen = Monitored(["delay"], actions=[{"state": "Harm", "action": "Rollback"}]).see(12).see(6, error=0.5)
    asked = {"id": "b1", "action": "Rollback", "reason": "Harm", "createdAt": "2026-03-01T11:59:00Z"}
    request = {**asked, "model": worlds.MODEL, "expiresAt": "2026-03-01T12:59:00Z", "state": "Taken"}
    (harm,) = seen.checkpoint.triage.verdicts
    verdict = {"id": harm.id, "state": "Harm", "since": "2026-03-01T11:00:00Z", "samples": 900}
    before = {"version": 6, "samples": 1400, "loss": 0.1, "now": 0.5, "wins": True}
    told = {"verdicts": [{**verdict, "previous": before}], "proposals": [asked], "requests": [request]}
    status = DriftMonitorStatus.model_validate(
        {**told, "governor": {"rollbacks": 1, "stoppedSince": "2026-03-01T11:59:30Z"}}
    )
    text = " ".join(Page(page(content("x", seen.spec, status, seen.checkpoint), NOW)).texts)
    for said in (
        "version 6 has a loss of 0.1 where this one has 0.5, on 1,400 rows labelled since; proved to be better",
        "Rollback on Harm",
        "Rollback b1, since 2026-03-01T11:59:00Z",
        "Taken, made at 2026-03-01T11:59:00Z",
        "Rollbacks that did not help",
        "Stopped since 2026-03-01T11:59:30Z: nothing more is done",
    ):
        assert said in text


def test_now_is_what_was_served_since_the_change() -> None:
    told = Monitored(["delay", "distance"]).see(24).see(8, shift=1.5).content()
    moved = told.features[0]
    assert moved.state == "Drift"
    assert moved.rows <= 9 * 500
    others = [each.rows for each in told.features[1:]]
    assert min(others) > moved.rows
    shares = [counts.sum() for counts in (moved.before, moved.now)]
    assert shares == [5000, moved.rows]


def test_the_loss_over_time_has_all_labels_and_no_point_of_a_few() -> None:
    monitored = Monitored(["delay", "distance"]).see(100)
    ended = monitored.checkpoint.closed
    # Then nobody asks for a day, and three labels come for what was predicted last.
    late = worlds.epoch(400, [], 0, losses=[0, 3], seconds=300, made=ended - 1)
    monitored.checkpoint = judge.advance(
        monitored.checkpoint, monitored.spec, {"pod": worlds.answer(late)}, late.closed
    )
    timeline = monitored.content().timeline
    assert timeline
    assert sum(point.labels for point in timeline.points) == 100 * 500 + 3
    assert min(point.labels for point in timeline.points) >= 100 * 500 / POINTS
    assert all(abs(point.loss - 0.1) < 0.03 for point in timeline.points)
    assert timeline.points[-1].end == ended


def test_nothing_comes_from_elsewhere_whatever_a_feature_is_called() -> None:
    seen = Monitored([HOSTILE, "b"]).see(12).see(4, shift=1.0)
    text = page(seen.content(), NOW)
    read = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(read.elements)
    assert not [name for name, _ in read.attributes if name in ("src", "href", "style") or name.startswith("on")]
    assert "default-src 'none'" in text
    outside = text.replace(HOSTILE.replace("<", "&lt;"), "").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"url\(|@import", outside)
    assert HOSTILE not in text
    assert any(HOSTILE in said for said in read.texts)


def test_two_hundred_features_are_all_there_and_most_are_folded() -> None:
    names = [f"rolling_average_of_the_balance_over_{place}_days_excluding_weekends" for place in range(200)]
    seen = Monitored(names, features={"exclude": [names[5]]}).see(11).see(2, shift=1.0)
    told = seen.content()
    text = page(told, NOW)
    read = Page(text)
    assert set(names) <= set(read.texts)
    assert text.count("<details>") == 2
    assert text.index(names[0]) < text.index("<details>")
    (excluded,) = (each for each in told.features if each.name == names[5])
    assert (excluded.excess, excluded.words) == (None, "not watched")
    assert len(text) < 3_000_000


def test_a_monitor_that_knows_little_says_so() -> None:
    assert Monitored(["a", "b"], baseline={"from": "Serving"}).see(3).content().headline == (
        "What is normal is still being learned"
    )
    seen = Monitored(["a", "b"]).see(3)
    assert (seen.content().headline, seen.content().state) == ("Nothing has changed", "")
    blind = {"type": "Ready", "status": "False", "reason": "CountsUnreachable", "message": "no pod answers"}
    blind_now = {**blind, "observedGeneration": 1, "lastTransitionTime": "2026-03-01T12:00:00Z"}
    told = content("x", seen.spec, DriftMonitorStatus.model_validate({"conditions": [blind_now]}), seen.checkpoint)
    assert (told.headline, told.state) == ("Nothing has changed, as far as can be seen", "Unsure")
    assert told.explained == "No pod answers."
    empty = content("x", DriftMonitorSpec(deployment="flights"), DriftMonitorStatus(), Checkpoint())
    assert empty.about == "no model is judged yet"
    assert Page(page(empty, NOW)).open == []


def test_what_is_taken_for_granted_and_what_is_measured_from_are_there() -> None:
    seen = Monitored(["delay", "distance"]).see(3)
    baseline = {"from": "Training", "rows": 5000, "of": 5000, "state": "Complete", "assumes": ["no season: ..."]}
    anchor = {"version": 3, "since": "2026-03-01T11:00:00Z", "promotions": 14, "features": 2}
    status = DriftMonitorStatus.model_validate({"baseline": baseline, "anchors": [anchor]})
    texts = Page(page(content("x", seen.spec, status, seen.checkpoint), NOW)).texts
    assert texts[texts.index("Taken for granted") + 1] == "no season: ..."
    assert texts[texts.index("Anchor") + 1] == (
        "2 features as held out by version 3, watched from 2026-03-01T11:00:00Z on, 14 promotions ago"
    )


def test_every_state_has_its_words_and_its_lane() -> None:
    states = set(get_args(State))
    assert set(HEADLINES) == states
    assert set(STATES) == states
    assert set(LANES) == states


def test_the_cluster_has_all_that_a_report_needs(cluster: Namespace) -> None:
    what = Named(DRIFTMONITORS, "flights")
    seen = Monitored(["a", "b"]).see(12, shift=0.0)
    cluster.put(DRIFTMONITORS, spec=seen.spec.to_manifest(), status={"coverage": 0.98})
    assert report(cluster, what).about == "no model is judged yet"
    cluster.configmaps["flights-drift"] = stored(seen.checkpoint)
    told = report(cluster, what)
    assert told.title == "DriftMonitor team-a/flights"
    assert ("Coverage", "98.0% of what was served") in told.facts["What was seen"]
    assert len(told.features) == 4
    cluster.configmaps["flights-drift"] = stored(msgspec.structs.replace(seen.checkpoint, format=99))
    with pytest.raises(CannotDo, match=r"dm/flights: the checkpoint has format 99.*another release"):
        report(cluster, what)


def stored(checkpoint: Checkpoint) -> Manifest:
    return {"metadata": {"name": "flights-drift"}, "binaryData": encode(checkpoint)}


def test_a_histogram_shows_each_share() -> None:
    column = worlds.categorical("kind", {"ash": 0.6, "birch & beech": 0.4})
    drawn = histogram(column, np.array([60, 40, 0, 0, 0]), np.array([30, 20, 0, 50, 0]), "kind")
    for said in (
        "ash: 60.0% before, 30.0% now",
        "birch &amp; beech: 40.0%",
        "never seen before: 0.0% before, 50.0% now",
    ):
        assert said in drawn
    assert "missing" not in drawn
    numbers = worlds.numeric("x", np.random.default_rng(1), bins=4)
    nothing = np.zeros(numbers.cells, dtype=np.int64)
    gone = nothing.copy()
    gone[-1] = 10
    drawn = histogram(numbers, np.array(numbers.counts), gone, "x")
    assert "missing: 0.0% before, 100.0% now" in drawn
    assert "below" not in drawn
    assert histogram(numbers, nothing, nothing, "x").startswith("<svg")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.05, 0.0601), (-3e5, 12.0), (0.0, 1e-9), (5.0, 5.0)])
def test_ticks_are_within_and_round(low: float, high: float) -> None:
    ticks = number_ticks(low, high)
    assert 1 <= len(ticks) <= 8
    assert all(low - 1e-12 <= tick <= high + 1e-12 for tick in ticks)


@pytest.mark.parametrize("span", [2, 40, 600, 7200, 86_400, 5 * 86_400, 40 * 86_400, 400 * 86_400, 4000 * 86_400])
def test_times_are_told_at_round_moments(span: float) -> None:
    start = 1_770_000_123.0
    ticks = time_ticks(start, start + span)
    assert 1 <= len(ticks) <= 14
    assert all(start <= moment <= start + span for moment, _ in ticks)
    assert len({words for _, words in ticks}) == len(ticks)


def test_long_names_are_told_apart() -> None:
    names = [f"balance_average_over_{place}_days_excluding_weekends" for place in (7, 14)]
    assert shortened(names[0], 20) == shortened(names[1], 20)
    first, second = told_apart(names, 20)
    assert first != second
    assert max(len(first), len(second)) <= 20
    assert told_apart(["short", "short"], 20) == ["short", "short"]
    assert [number(each) for each in (0.0, 1234567.0, -1234.5, 0.12345, 1e-7)] == [
        "0",
        "1.2e+06",
        "-1,234",
        "0.123",
        "1.0e-07",
    ]
