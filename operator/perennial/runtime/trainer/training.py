"""A run of the built-in trainer, from its definition to a published version, in the order in which things can fail.

What the user can have got wrong is found first: estimator, parameters and gates before the data is read, columns before
anything is fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perennial.runtime import limits
from perennial.runtime.failures import InputError, RunError
from perennial.wire import places
from perennial.wire import result as wire
from perennial.wire.progress import Progress
from perennial.wire.run import Data, Run, Sklearn
from perennial.wire.schema import Schema

from . import lineage, reference, resampling, table, version
from .answers import packed
from .attribution_form import attribution_form
from .calibration import FOLDS, check_calibration
from .card import card, served_by
from .changes import changes
from .columns import slice_values_of
from .cross_validation import Spread, cross_validated
from .data_report import refuse_unexpected
from .estimators import choose
from .evidence import Evidence, digest_of_places
from .examples import examples
from .fitting import fitted, suited, threads_for
from .importance import permutation_importance
from .inferred import inferred
from .judging import classes_of, judge, score_of
from .kept import kept_form
from .metrics import check_metrics, known_as
from .onnx_form import onnx_form
from .progress import telling
from .resampling import Resampling
from .rows import Rows, usable
from .search import Found, searched
from .search_space import check_search, with_parameters
from .split import split
from .table import Table
from .verdict import Verdict, reach

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Setting:
    """What is fixed once the data is read."""

    run: Run
    sklearn: Sklearn
    data: Data
    table: Table
    rows: Rows
    slices: dict[str, Any]
    started: datetime
    progress: Progress | None
    say: Say


@dataclass(frozen=True, slots=True)
class _Gated:
    """The model that was judged: the rows it learned from, the rows held out, and how it did on them."""

    model: Any
    learned: Rows
    held: Rows
    evidence: Evidence
    verdict: Verdict
    spread: dict[str, Spread]
    sklearn: Sklearn
    found: Found | None = None


def train(run: Run, say: Say, secret: Path = Path(places.DATA_SECRET)) -> wire.Result:
    """Carry the run out. Raises RunError."""
    started = datetime.now(UTC)
    sklearn, data = _definition(run)
    chosen = choose(sklearn, run.seed, limits.cpus())
    task = chosen.task
    check_calibration(sklearn, task, chosen.estimator)
    check_metrics(run, task)
    check_search(sklearn, task, run.seed)
    if (before := version.published(run)) is not None:
        say(f"version {run.version} was published by an earlier attempt: nothing is left to do")
        return before
    progress = Progress(known_as(sklearn.search.metric)) if sklearn.search else None
    with telling(progress, say) if progress else nullcontext():
        read, slices = _read(run, data, secret, say)
        for name, why in read.left_out.items():
            say(f"data: column {name!r} is left out: {why}")
        rows = usable(read, data, task, say)
        return _carried_out(_Setting(run, sklearn, data, read, rows, slices, started, progress, say))


def _carried_out(setting: _Setting) -> wire.Result:
    with threads_for(setting.rows.frame.size):
        gated = _gate(setting)
        model, learned = _final(setting, gated)
        draft = _draft(setting, gated, model, learned)
    return version.seal(setting.run, draft)


def _read(run: Run, data: Data, secret: Path, say: Say) -> tuple[Table, dict[str, Any]]:
    """The rows, once they are known to be as they should, and the columns that they are judged by. What was read is let
    go of as soon as it has its form."""
    columns = list(dict.fromkeys(rule.column for rule in run.slices))
    raw = table.read_files(data, secret, say, beside=columns)
    refuse_unexpected(run, data, raw, say)
    return table.assembled(raw, data), {name: slice_values_of(raw.column(name)) for name in columns}


def _definition(run: Run) -> tuple[Sklearn, Data]:
    if run.sklearn is None or run.data is None:
        raise RunError("InvalidRun", "the run has no sklearn or no data: it is not for this trainer")
    return run.sklearn, run.data


def _gate(setting: _Setting) -> _Gated:
    run, rows, say = setting.run, setting.rows, setting.say
    parts = split(setting.data.test, run.seed, rows.keys)
    say(f"split: {len(parts.train)} rows to learn from, {len(parts.test)} held out ({setting.data.test.split})")
    learned, held = rows.take(parts.train), rows.take(parts.test)
    found = _searched(setting, learned)
    sklearn = with_parameters(setting.sklearn, found.best.parameters) if found else setting.sklearn
    model = fitted(run, sklearn, setting.table.features, learned, say)
    with suited(setting.sklearn.estimator):
        judged = judge(model, held.frame, held.target, rows.task)
        spread = _cross_validated(setting, sklearn, learned)
    evidence = Evidence(
        judged,
        rows.task,
        setting.data.target,
        _drawn(setting, held),
        held.frame,
        setting.table.features,
        digest_of_places(setting.table.digest, held.places),
        held.seconds,
        held.are_dates,
        {name: values[held.places] for name, values in setting.slices.items()},
    )
    return _Gated(model, learned, held, evidence, reach(run, evidence, say), spread, sklearn, found)


def _searched(setting: _Setting, learned: Rows) -> Found | None:
    search, progress = setting.sklearn.search, setting.progress
    if search is None or progress is None:
        return None
    return searched(setting.run, setting.sklearn, search, setting.table.features, learned, progress, setting.say)


def _cross_validated(setting: _Setting, sklearn: Sklearn, learned: Rows) -> dict[str, Spread]:
    test, say = setting.data.test, setting.say
    if test.folds is None:
        return {}

    def fit(rows: Rows) -> Any:
        return fitted(setting.run, sklearn, setting.table.features, rows, say)

    found = cross_validated(test, setting.run.seed, learned, fit)
    say("cross-validation: " + ", ".join(f"{name} {spread}" for name, spread in found.items()))
    return found


def _drawn(setting: _Setting, held: Rows) -> Resampling:
    """What is resampled is what was held out together."""
    if held.groups is not None:
        return resampling.of_groups(held.groups, setting.run.seed)
    if setting.data.test.split == "Time":
        return resampling.of_stretches(len(held), setting.run.seed)
    return resampling.of_rows(len(held), setting.run.seed)


def _final(setting: _Setting, gated: _Gated) -> tuple[Any, Rows]:
    """The model to publish and the rows it learned from: all of them, where that was asked for and the gates passed."""
    if not setting.run.refit or not gated.verdict.accepted:
        return gated.model, gated.learned
    model = fitted(setting.run, gated.sklearn, setting.table.features, setting.rows, setting.say)
    if setting.rows.task == "classification" and classes_of(model) != classes_of(gated.model):
        setting.say("refit: a class is among the held-out rows only; the model that was judged is kept")
        return gated.model, gated.learned
    setting.say(f"refit: on all {len(setting.rows)} rows")
    return model, setting.rows


def _draft(setting: _Setting, gated: _Gated, model: Any, learned: Rows) -> version.Draft:
    run, held, task = setting.run, gated.held, setting.rows.task
    schema = Schema(
        task=task,
        target=setting.data.target,
        features=setting.table.features,
        score=score_of(model, task),
        classes=classes_of(model) if task == "classification" else [],
    )
    schema.examples = examples(model, schema, held.frame)
    kept = kept_form(setting.sklearn, model)
    form = onnx_form(model, schema, held.frame)
    if kept.skops is None and form.data is None:
        raise InputError(
            "NoExactForm",
            f"spec.sklearn.estimator: {setting.sklearn.estimator} is served by ONNX Runtime only, and this model "
            f"cannot be: {form.why_not}",
        )
    served = served_by(form.agreement, form.why_not)
    setting.say(f"serving: {served}")
    rules = inferred(setting.rows, setting.table.features, setting.data.target)
    notes = changes(run, rules, setting.say)
    notes += [f"{name}: left out, {why}" for name, why in setting.table.left_out.items()]
    if form.why_not is not None:
        notes.append(f"scikit-learn serves: {form.why_not}")
    importance = permutation_importance(gated.model, held.frame, held.target, task, run.seed)
    return version.Draft(
        schema=schema,
        skops=kept.skops,
        booster=kept.booster,
        onnx=form.data,
        verdict=gated.verdict,
        lineage=_lineage(setting, model, learned),
        card=card(
            run,
            schema,
            facts=_facts(setting, gated, learned),
            verdict=gated.verdict,
            spread={name: str(each) for name, each in gated.spread.items()},
            served=served,
            importance=importance,
            notes=notes,
        ),
        reference=reference.build(
            schema,
            reference.HeldOut(held.frame, gated.learned.frame, gated.evidence.judged, timed=bool(setting.data.time)),
            version.sha256(kept.skops or form.data or b""),
            setting.data.expect,
        ),
        answers=packed(gated.evidence),
        spread=gated.spread,
        found=gated.found,
        expectations=rules,
        rows=wire.Rows(train=len(gated.learned), test=len(held)),
        trained_through=learned.through,
        why_not_onnx=form.why_not,
        agreement=form.agreement,
        attributions=attribution_form(model, schema, learned.frame, held.frame),
        notes=notes,
    )


def _lineage(setting: _Setting, model: Any, learned: Rows) -> dict[str, object]:
    return {
        **lineage.of_run(setting.run, setting.started),
        **lineage.of_table(setting.run, setting.table),
        **lineage.of_estimator(setting.sklearn, model.named_steps["model"]),
        "preprocessing": setting.sklearn.preprocessing,
        "steps": setting.sklearn.steps,
        "learnedFrom": {"rows": len(learned), "through": learned.through, "refit": len(learned) == len(setting.rows)},
    }


def _transformers(sklearn: Sklearn) -> list[str]:
    return [f"`{step.transformer}`" for step in sklearn.steps]


def _facts(setting: _Setting, gated: _Gated, learned: Rows) -> dict[str, str]:
    data, origins = setting.data, setting.table.origins
    test = data.test
    facts = {
        "estimator": f"`{setting.sklearn.estimator}`",
        "preprocessing": ", ".join([setting.sklearn.preprocessing, *_transformers(setting.sklearn)]),
        "data": f"`{lineage.shown_uri(data.uri)}` ({len(origins)} files, {setting.table.rows} rows, "
        f"sha256 `{setting.table.digest[:12]}`)",
        "held out": f"{len(gated.held)} rows of {len(setting.rows)} ({test.split}, fraction {test.fraction:g})",
        "learned from": f"{len(learned)} rows" + (f", the newest of {learned.through}" if learned.through else ""),
    }
    if gated.found is not None:
        facts["search"] = (
            f"{gated.found.method}, {len(gated.found.trials)} trials on {gated.found.folds} folds: best {gated.found}"
        )
    if setting.sklearn.calibration is not None:
        facts["calibration"] = f"{setting.sklearn.calibration}, on {FOLDS} folds of the rows learned from"
    if data.window_seconds is not None:
        facts["window"] = f"the newest {data.window_seconds / 86400:g} days by `{data.time}`"
    return facts
