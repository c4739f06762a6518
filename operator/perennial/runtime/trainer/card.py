"""The model card: what a person must know of a version, as Markdown, made from the same facts as the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from perennial.wire.manifest import Agreement
from perennial.wire.result import Gate
from perennial.wire.run import Run
from perennial.wire.schema import Schema

from .resampling import RESAMPLES
from .slices import SlicesReport
from .verdict import Verdict

_FEATURES_SHOWN = 40


def card(
    run: Run,
    schema: Schema,
    *,
    facts: Mapping[str, str],
    verdict: Verdict,
    served: str,
    spread: Mapping[str, str] | None = None,
    importance: Mapping[str, float] | None = None,
    notes: Iterable[str] = (),
) -> str:
    """The card of a version. `facts` are lines on model and data, in order."""
    parts = [
        f"# {run.namespace}/{run.name}, version {run.version}",
        _list({"task": _task(schema), **facts}),
        "## Judgement on held-out rows",
        _gates(verdict.gates),
        _metrics(verdict),
        *(_slices(report) for report in verdict.slices),
        *(["## Cross-validation on the rows learned from", _list(spread)] if spread else []),
        "## Features",
        _features(schema, importance or {}),
        "## Serving",
        served,
        *(["## Notes", "\n".join(f"- {note}" for note in notes)] if notes else []),
        "## How to make it again",
        f"Run definition `{run.definition}` with image `{run.image}` and seed {run.seed} on data of the digest in "
        "`lineage.json`: the model file is the same, byte by byte.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def served_by(agreement: Agreement | None, why_not: str | None) -> str:
    """One sentence on what computes the answers."""
    if agreement is not None:
        return (
            f"ONNX Runtime. On {agreement.rows} rows (held-out ones, and some made to be hard: missing values, unseen "
            f"categories, values on thresholds) {agreement.labels_different} labels differ from the library's own, "
            f"and no number by more than {agreement.difference:.2g}."
        )
    return f"scikit-learn, since there is no ONNX form: {why_not}." if why_not else "ONNX Runtime."


def _task(schema: Schema) -> str:
    if schema.task == "regression":
        return f"regression of `{schema.target}`"
    classes = ", ".join(str(label) for label in schema.classes[:10])
    return f"classification of `{schema.target}` ({len(schema.classes)} classes: {classes})"


def _list(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _gates(gates: Sequence[Gate]) -> str:
    if not gates:
        return "No gate was set: any model is accepted."
    rows = [
        (
            gate.metric,
            f"{gate.rule} {gate.bound:g}",
            _value(gate),
            _interval(gate.interval),
            "passed" if gate.passed else "**failed**",
        )
        for gate in gates
    ]
    return _table(("gate", "bound", "value", "95% interval", ""), rows)


def _metrics(verdict: Verdict) -> str:
    rows = [(name, f"{value:.6g}", _interval(verdict.intervals.get(name))) for name, value in verdict.metrics.items()]
    if not rows:
        return ""
    drawn = f"The intervals are of {RESAMPLES} resamples of {verdict.drawn}." if verdict.intervals else ""
    return "\n\n".join(part for part in (_table(("metric", "value", "95% interval"), rows), drawn) if part)


def _slices(report: SlicesReport) -> str:
    rows = [
        (each.value, str(each.rows), "" if each.metric is None else f"{each.metric:.6g}", _interval(each.interval))
        for each in report.slices
    ]
    return f"### {report.metric} by {report.column}\n\n" + _table(
        (report.column, "rows", report.metric, "95% interval"), rows
    )


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"


def _value(gate: Gate) -> str:
    if gate.value is None:
        return gate.note or "could not be computed"
    if gate.note is None:
        return f"{gate.value:.6g}"
    return f"{gate.value:.6g} {'worse than' if gate.rule == 'champion' else 'between'} {gate.note}"


def _features(schema: Schema, importance: Mapping[str, float]) -> str:
    ranked = sorted(schema.features, key=lambda feature: -importance.get(feature.name, 0.0))
    rows = [
        (feature.name, feature.kind, f"{importance[feature.name]:+.4g}" if feature.name in importance else "")
        for feature in ranked[:_FEATURES_SHOWN]
    ]
    more = len(schema.features) - len(rows)
    table = _table(("feature", "kind", "loss gained when shuffled"), rows)
    return table + (f"\n\nand {more} more" if more else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
