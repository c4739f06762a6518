"""The page itself: HTML with its style and its pictures inside, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from perennial import __version__
from perennial.cli.drawings.histogram import histogram
from perennial.cli.drawings.style import STYLE
from perennial.cli.drawings.svg import shortened, tag
from perennial.cli.drawings.timeline import timeline
from perennial.monitoring.words import at
from perennial.wire.layout import SCORE

from .content import Content, Feature, Found

LISTED, DRAWN = 20, 6
"""Features that are listed, and drawn, at once though nothing is known against them; the others unfold."""

_BAR = 150.0

_LAYOUT = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 17px; margin: 0; font-weight: 600; } h2 { font-size: 18px; margin: 40px 0 6px; }
h3 { font-size: 14px; margin: 0; overflow-wrap: anywhere; }
p { margin: 4px 0; } .faint { color: var(--faint); } .small { font-size: 13px; }
.verdict { margin: 20px 0 0; padding: 18px 22px; border-left: 6px solid var(--good); background: var(--card); }
.verdict strong { display: block; font-size: 26px; line-height: 1.25; }
.verdict.Harm, .verdict.DataFault { border-color: var(--bad); }
.verdict.Drift, .verdict.AnchorDrift, .verdict.TrainServeSkew, .verdict.HarmSuspected { border-color: var(--busy); }
.verdict.MinorDrift { border-color: var(--minor); } .verdict.Unsure { border-color: var(--line); }
.found { margin: 10px 0; padding: 10px 16px; border-left: 4px solid var(--line); background: var(--card); }
.found.Harm, .found.DataFault { border-color: var(--bad); }
.found.Drift, .found.AnchorDrift, .found.TrainServeSkew, .found.HarmSuspected { border-color: var(--busy); }
.found.MinorDrift { border-color: var(--minor); }
.tag { font-weight: 600; } .tag.Harm, .tag.DataFault { color: var(--bad); }
.tag.Drift, .tag.AnchorDrift, .tag.TrainServeSkew, .tag.HarmSuspected { color: var(--busy); }
.tag.MinorDrift { color: var(--minor); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--grid); vertical-align: top; }
th { font-weight: 600; color: var(--faint); font-size: 13px; }
td.name { overflow-wrap: anywhere; max-width: 260px; } td.number { white-space: nowrap; }
td svg { display: block; width: 150px; height: 16px; margin-top: 3px; }
.wide { overflow-x: auto; }
.grid { display: grid; gap: 22px 26px; margin-top: 12px;
  grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); }
.grid figure { margin: 0; break-inside: avoid; } .grid.facts { gap: 8px 34px; } .facts th { width: 42%; }
.key span { display: inline-block; margin-right: 18px; }
.key i { display: inline-block; width: 14px; margin-right: 6px; }
.key i.before { height: 11px; background: var(--before); }
.key i.now { height: 3px; background: var(--now); vertical-align: 3px; }
details { margin-top: 14px; } summary { cursor: pointer; color: var(--faint); }
footer { margin-top: 44px; font-size: 13px; color: var(--faint); }
@page { margin: 14mm; }
@media screen and (max-width: 640px) {
  main { padding: 20px 14px 40px; } .verdict { padding: 14px 16px; } .verdict strong { font-size: 22px; }
  .wide svg { width: 720px; } .wide + p::before { content: "Scroll sideways for what is newest. "; }
  .features, .features tbody { display: block; } .features thead { display: none; }
  .features tr { display: flex; flex-wrap: wrap; gap: 2px 12px; padding: 8px 0; border-bottom: 1px solid var(--grid); }
  .features td { border: 0; padding: 0; } .features td svg { width: 84px; }
  .features td.name, .features td.words { flex: 1 0 100%; max-width: 100%; }
  .features td.name { font-weight: 600; } .features td.words { overflow-wrap: anywhere; }
  .features td.number::before { content: attr(data-head) " "; color: var(--faint); font-size: 13px; } }
@media print { body { font-size: 10pt; } table { font-size: 9pt; } td.name { max-width: 300px; }
  main { max-width: none; padding: 0; } h2 { break-after: avoid; }
  tr, .found, .verdict, .facts > div { break-inside: avoid; } .grid { grid-template-columns: repeat(2, 1fr); }
  .verdict, .found { border: 1px solid var(--line); border-left-width: 6px; } }
"""


def page(content: Content, made: datetime) -> str:
    """The whole file."""
    body = "".join(
        (
            _head(content),
            _found(content.found),
            _course(content),
            _features(content),
            _histograms(content),
            _facts(content),
            _foot(made),
        )
    )
    head = "".join(
        (
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Whatever a feature's name holds: nothing is run, nothing is fetched.
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            tag("title", escape(f"{content.title}: {content.headline}")),
            tag("style", STYLE + _LAYOUT),
        )
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>{body}</main></body></html>\n'


def _head(content: Content) -> str:
    return "".join(
        (
            tag("h1", escape(content.title)),
            _p(content.about, "faint small"),
            tag(
                "section",
                tag("strong", escape(content.headline)),
                _p(content.explained) if content.explained else "",
                class_=f"verdict {content.state}".strip(),
            ),
        )
    )


def _found(found: Sequence[Found]) -> str:
    if not found:
        return ""
    return tag("h2", "What was found, and done") + "".join(_one(each) for each in found)


def _one(found: Found) -> str:
    since = f" since {at(found.since)}"
    known = f", found at {at(found.found)}" if found.found else ""
    until = f", over at {at(found.until)}" if found.until else ""
    return tag(
        "section",
        _p_of(tag("span", escape(found.state), class_=f"tag {found.state}"), escape(f"{since}{known}{until}")),
        _p(found.words),
        _p(f"Done: {found.done}") if found.done else "",
        _p(f"Next: {found.next}", "faint") if found.next else "",
        class_=f"found {found.state}",
    )


def _course(content: Content) -> str:
    if content.timeline is None:
        return ""
    merged = " Older windows are kept merged: they are drawn as one." if content.timeline.merged else ""
    note = f"Times are UTC.{merged}"
    return "".join(
        (
            tag("h2", "Over time"),
            # Scaled to a phone's width its words could not be read. Whoever has no pointer scrolls by keys.
            tag("div", timeline(content.timeline, "Verdicts, loss and features over time"), class_="wide", tabindex=0),
            _p(note, "faint small"),
        )
    )


def _features(content: Content) -> str:
    if not content.features:
        return ""
    first = [each for each in content.features if each.state]
    shown = list(content.features[: max(len(first), LISTED)])
    rest = content.features[len(shown) :]
    scale = max(*(each.effect for each in content.features), 4 * content.materiality)
    parts = [
        tag("h2", "Features by effect"),
        _p(
            "The effect is how much of the rows' probability has moved: 0 is the same, 1 has nothing in common. The "
            f"line marks what is material ({content.materiality:g}). Evidence alarms from 1 on. PSI is the population "
            "stability index, for who knows it: chance alone makes it larger where rows are few.",
            "faint small",
        ),
        _table(shown, scale, content.materiality),
    ]
    if rest:
        said = f"{len(rest)} more, with less evidence or none"
        parts.append(tag("details", tag("summary", said), _table(rest, scale, content.materiality)))
    return "".join(parts)


def _table(features: Sequence[Feature], scale: float, materiality: float) -> str:
    heads = ("Feature", "Effect", "", "Evidence", "PSI", "What has changed")
    head = tag("thead", tag("tr", *(tag("th", each or " ") for each in heads)))
    return tag("table", head, tag("tbody", *(_row(each, scale, materiality) for each in features)), class_="features")


def _row(feature: Feature, scale: float, materiality: float) -> str:
    evidence = "-" if feature.excess is None else f"{feature.excess:.2f}"
    kind = tag("span", escape(feature.state), class_=f"tag {feature.state}") + ": " if feature.state else ""
    return tag(
        "tr",
        tag("td", escape(feature.name), class_="name"),
        _number("Effect", f"{feature.effect:.2f}" if feature.effect else "-"),
        tag("td", _bar(feature.effect, scale, materiality)),
        _number("Evidence", evidence),
        _number("PSI", f"{feature.psi:.2f}"),
        tag("td", kind + escape(feature.words), class_="words"),
    )


def _number(head: str, value: str) -> str:
    """A cell that says what it is where there is no room for a table's head."""
    return tag("td", value, class_="number", data_head=head)


def _bar(effect: float, scale: float, materiality: float) -> str:
    line = materiality / scale * _BAR
    return tag(
        "svg",
        tag("rect", x=0, y=2, width=_BAR, height=12, class_="lane"),
        tag("rect", x=0, y=2, width=round(effect / scale * _BAR, 1), height=12, class_="now"),
        tag("line", x1=line, x2=line, y1=0, y2=16, stroke="var(--bad)", stroke_width=1.5),
        viewBox=f"0 0 {_BAR:g} 16",
        aria_hidden="true",
    )


def _histograms(content: Content) -> str:
    if not content.features:
        return ""
    found = [each for each in content.features if each.state]
    score = [each for each in content.features if each.name == SCORE and not each.state]
    others = [each for each in content.features if not each.state and each.name != SCORE]
    first = [*found, *score]
    shown = [*first, *others[: max(DRAWN - len(first), 0)]]
    rest = others[max(DRAWN - len(first), 0) :]
    key = '<span><i class="before"></i>before (the baseline)</span><span><i class="now"></i>now</span>'
    parts = [
        tag("h2", "Before and now"),
        tag("p", key, class_="key small"),
        _p(
            "Share of all rows. Bins of numbers hold about equal shares of the training rows; the labels are their "
            "edges.",
            "faint small",
        ),
        _drawn(shown),
    ]
    if rest:
        parts.append(tag("details", tag("summary", f"{len(rest)} more"), _drawn(rest)))
    return "".join(parts)


def _drawn(features: Sequence[Feature]) -> str:
    return tag("div", *(_figure(each) for each in features), class_="grid")


def _figure(feature: Feature) -> str:
    name = f"{feature.name}, the model's own output" if feature.name == SCORE else feature.name
    said = f"{feature.rows:,} rows since {at(feature.since)}"
    caption = tag("h3", escape(shortened(name, 90)), title=name) + _p(said, "faint small")
    drawn = histogram(feature.column, feature.before, feature.now, f"{name} before and now")
    return tag("figure", tag("figcaption", caption), drawn)


def _facts(content: Content) -> str:
    tables = [
        tag(
            "div",
            tag("h3", escape(title)),
            tag(
                "table",
                *(tag("tr", tag("th", escape(name)), tag("td", escape(value))) for name, value in rows),
            ),
        )
        for title, rows in content.facts.items()
    ]
    return tag("h2", "Windows and thresholds") + tag("div", *tables, class_="grid facts")


def _foot(made: datetime) -> str:
    return tag("footer", escape(f"Made at {at(made.timestamp())} by kubectl perennial {__version__}."))


def _p(words: str, class_: str | None = None) -> str:
    return tag("p", escape(words), class_=class_)


def _p_of(*parts: str) -> str:
    return tag("p", *parts)
