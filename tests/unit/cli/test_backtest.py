"""Backtests on rows whose change is known: silence before, the right feature and window, and what is done about it."""

from __future__ import annotations

import json
import re
import sys
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import pandas as pd
import pytest
import yaml

from perennial.api.driftmonitor import Window
from perennial.api.resources import DRIFTMONITORS
from perennial.cli.backtest import captured
from perennial.cli.backtest.drawing import moved
from perennial.cli.backtest.epochs import epochs
from perennial.cli.backtest.first_rows import from_first_rows
from perennial.cli.backtest.monitor import from_cluster, from_file
from perennial.cli.backtest.observations import observe
from perennial.cli.backtest.replay import Handed, Replay, replay
from perennial.cli.backtest.standard import of_reference, opened, version_in
from perennial.cli.backtest.table import Meaning, read_table
from perennial.cli.main import main
from perennial.cli.named import Named
from perennial.cli.report.content import content
from perennial.monitoring import judge
from perennial.monitoring.checkpoint import Checkpoint, Judged, encode
from perennial.runtime.binning import count_cells, numeric_cells
from perennial.runtime.store import folders
from perennial.runtime.store.errors import DeniedError, NoCredentialsError
from perennial.runtime.tables import sources
from perennial.wire.counts import Epochs, Labels, ModelCounts
from perennial.wire.layout import SCORE
from perennial.wire.reference import Numeric
from perennial.wire.stats import Pairs
from tests.unit.monitoring import worlds
from tests.unit.runtime.server import models

from .conftest import Namespace
from .world import CHANGE, ROWS, at_row, flights, monitor, write

FIRST = 4_000
MEANING = Meaning(label="late", score="score")


def run(folder: Path, table: pd.DataFrame | None = None, meaning: Meaning = MEANING, **spec: Any) -> Replay:
    """A replay over the table, the first rows of which are normal."""
    policy = from_file(monitor(folder, baseline={"from": "Training"}, **spec), None)
    rows = read_table(write(folder, table), meaning, list)
    standard, rest = from_first_rows(rows, FIRST, meaning, policy.spec.features.exclude)
    observations = observe(rest, standard, meaning, policy.spec.features.exclude)
    return replay(policy, standard.reference, epochs(observations, standard, policy.spec.window), FIRST)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """The usual policy over the usual change."""
    return run(tmp_path_factory.mktemp("changed"))


def found(made: Replay) -> dict[str, list[str]]:
    return {spell.verdict.state: [each.name for each in spell.verdict.features] for spell in made.spells}


def test_the_change_is_found_at_its_window_and_nothing_before(changed: Replay) -> None:
    made = changed
    assert found(made) == {"Drift": ["delay"], "Harm": []}
    for spell in made.spells:
        # A window is at least 500 rows; the change is in it, or in the one before, or the one after.
        assert at_row(CHANGE) < spell.found.found <= at_row(CHANGE + 1_500)
        assert abs(spell.found.since - at_row(CHANGE)) <= 700 * 20
        assert spell.over is None
    assert made.rows == ROWS - FIRST
    drift = next(spell for spell in made.spells if spell.verdict.state == "Drift")
    (feature,) = drift.verdict.features
    assert feature.effect == pytest.approx(0.31, abs=0.03)
    assert CHANGE < drift.row <= CHANGE + 1_500


def test_what_a_feature_moves_with_it_is_not_told_as_a_change_of_its_own(changed: Replay) -> None:
    made = changed
    assert [made.layout.columns[place].name for place in moved(made)] == ["delay"]
    told = content("x", made.spec, made.status, made.checkpoint).features
    others = [each for each in told if each.name != "delay" and (each.excess or 0) > 1]
    assert others
    assert {each.words for each in others} == {"moves with delay"}


def test_nothing_changed_nothing_is_found(tmp_path: Path) -> None:
    made = run(tmp_path, flights(shift=0.0, flipped=False))
    assert made.spells == []
    assert made.requests == []
    assert len(made.windows) > 10
    assert len(made.steps) > 20
    assert sum(step.labels for step in made.steps) == made.rows


def test_a_season_is_learned_from_the_times_of_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row every twelve minutes for thirty days; what swings by the hour is found by nobody, not even early."""
    rng = np.random.default_rng(11)
    times = pd.Timestamp("2013-03-04") + pd.to_timedelta(np.arange(30 * 120) * 720, unit="s")
    swing = 1.5 * np.sin(2 * np.pi * times.hour / 24)
    rows = pd.DataFrame({"time": times, "x": rng.normal(size=len(times)) + swing, "y": rng.normal(size=len(times))})
    policy = monitor(tmp_path, baseline={"from": "Serving", "rows": 1000, "period": "14d"}, window={"minRows": 60})
    assert main(["backtest", "-f", policy, "--data", write(tmp_path, rows), "--baseline-rows", "240"]) == 0
    assert "othing" in capsys.readouterr().out
    standard, rest = from_first_rows(read_table(write(tmp_path, rows), Meaning(), list), 240, Meaning(), ())
    spec = from_file(policy, None)
    handed = list(epochs(observe(rest, standard, Meaning(), ()), standard, spec.spec.window))
    for each in (epoch for answer in handed for pod in answer.answers.values() for epoch in pod.epochs):
        assert (each.closed - 1) // 3600 == each.opened // 3600
    made = replay(spec, standard.reference, handed)
    assert [spell.verdict.state for spell in made.spells] == []
    assert made.status.baseline is not None
    assert "a season by hour of the week (UTC): 168 of 168 hours" in made.status.baseline.assumes[1]


def test_a_retrain_is_asked_for_once_within_the_cooldown(changed: Replay, tmp_path: Path) -> None:
    assert len(changed.requests) == 1
    assert run(tmp_path, actions=[]).requests == []
    assert run(tmp_path, dryRun=True).requests == []


def test_the_cooldown_and_the_stop_are_the_governors(tmp_path: Path) -> None:
    made = run(tmp_path, governor={"cooldown": "3h", "stopAfter": 2})
    first, second = (request.created for request in made.requests)
    assert 3 * 3600 <= second - first <= 5 * 3600
    stopped = [said.at for said in made.said if said.event.reason == "Stopped"]
    assert len(stopped) == 1
    assert stopped[0] > second


BOTH = [{"state": "Harm", "action": "Retrain"}, {"state": "Harm", "action": "Rollback"}]


def asked(folder: Path, table: pd.DataFrame, *more: str, **spec: Any) -> list[str]:
    """The command's arguments for these rows, of which the first are normal."""
    arguments = ["backtest", "-f", monitor(folder, **spec), "--data", write(folder, table)]
    return [*arguments, "--baseline-rows", str(FIRST), "--score", "score", "--label", "late", *more]


def two_versions() -> pd.DataFrame:
    """The version before is wrong where this one is right: from the change on it is the better one."""
    table = flights(shift=0.0)
    return table.assign(before=(table["score"] < 0.5).astype(int))


def test_a_rollback_is_asked_for_once_the_version_before_is_proved_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, page, counts = tmp_path / "out.svg", tmp_path / "out.html", str(tmp_path / "counts.jsonl")
    files = ["--picture", str(picture), "--html", str(page), "--save-counts", counts]
    command = asked(tmp_path, two_versions(), "--previous-prediction", "before", *files, actions=BOTH)
    assert main(command) == 0
    shown = capsys.readouterr().out
    lines = shown[shown.index("Done") :].splitlines()
    done = [line.split()[1] for line in lines[1:] if line.startswith("  2026")]
    assert sorted(done) == ["Held:", "Held:", "RetrainRequested:", "RollbackRequested:", "Unproven:"]
    (request,) = [line for line in lines if "RollbackRequested" in line]
    assert "asked ModelDeployment flights to go back to model before" in request
    assert re.search(r"on \d+ rows labelled since its loss is 0\.\d+ where it is 0\.\d+ now", request)
    assert "from then on model before would have served: on " in shown
    assert "rollback asked " in shown
    assert "rollback asked for" in picture.read_text()
    assert "model before would have served" in page.read_text()
    assert "next:" not in shown
    again = ["backtest", "-f", monitor(tmp_path, actions=BOTH), "--data", counts]
    assert main([*again, "--reference", str(tmp_path / "counts.reference.json")]) == 0
    told = capsys.readouterr().out
    assert request in told.splitlines()
    assert "they are the baseline" in told


def test_a_version_before_that_is_no_better_is_not_gone_back_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = two_versions()
    table["before"] = (table["score"] >= 0.5).astype(int)
    assert main(asked(tmp_path, table, "--previous-prediction", "before", actions=BOTH)) == 0
    shown = capsys.readouterr().out
    assert "RollbackRequested" not in shown
    assert "Unproven: a rollback to model before once that is proved to be better: " in shown
    assert "Cooldown: a retrain is asked for after the cooldown, at 2026-01-0" in shown
    assert "next: a retrain is asked for after the cooldown" in shown


def test_of_a_version_that_is_not_in_the_data_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(tmp_path, flights(shift=0.0), actions=BOTH)) == 0
    shown = capsys.readouterr().out
    assert "note      whether the action Rollback would have been asked for cannot be told" in shown
    assert "RetrainRequested" in shown
    assert "no version before" not in shown


def test_the_version_before_is_asked_itself(tmp_path: Path) -> None:
    """It says yes from 0.7 on, where this one does from a half on."""
    models.binary(tmp_path / "v1", threshold=0.7)
    models.binary(tmp_path / "v2", version=2)
    small = {"a": [0.9, 0.6, 0.1], "b": [0.0, 0.0, 0.0], "late": ["yes", "no", "no"]}
    table = pd.DataFrame({"at": pd.date_range("2026-01-01", periods=3, freq="1s"), **small})
    rows = read_table(write(tmp_path, table), Meaning(), lambda columns: ["a", "b", "late"])
    now, before = opened(str(tmp_path / "v2")), version_in(str(tmp_path / "v1"), "--previous")
    observations = observe(rows, now, Meaning(), (), before)
    (handed,) = epochs(observations, now, Window.model_validate({"minRows": 50, "period": "6h"}), before.sha256)
    labels = handed.answers["backtest"].epochs[0].models[now.reference.model].labels
    assert labels is not None
    assert {name: [*made.values()] for name, made in labels.pairs.items()} == {before.sha256: [Pairs(3, 1.0, 0.0, 1.0)]}


def test_broken_data_is_told_apart_and_holds_the_retrain(tmp_path: Path) -> None:
    table = flights(shift=0.0, flipped=True)
    table.loc[CHANGE - 600 :, "distance"] = np.nan
    made = run(tmp_path, table)
    assert found(made) == {"DataFault": ["distance"], "Harm": []}
    assert made.requests == []


def test_a_baseline_is_learned_from_the_first_rows_served(tmp_path: Path) -> None:
    policy = from_file(monitor(tmp_path, baseline={"from": "Serving", "rows": 3000}, window={"minRows": 200}), None)
    rows = read_table(write(tmp_path), MEANING, list)
    standard, _ = from_first_rows(rows, FIRST, MEANING, ())
    observations = observe(rows, standard, MEANING, ())
    made = replay(policy, standard.reference, epochs(observations, standard, policy.spec.window))
    assert made.learned is not None
    assert at_row(3000) <= made.learned < at_row(3500)
    assert all((window.measured is None) == (window.closed <= made.learned) for window in made.windows)
    assert "Drift" in found(made)
    assert found(made)["Drift"] == ["delay"]


@pytest.mark.parametrize(("rows", "period"), [(500, "1h"), (100, "6h"), (2000, "5m"), (50, "7s")])
def test_windows_and_epochs_are_as_in_a_pod(tmp_path: Path, rows: int, period: str) -> None:
    """Every row is counted once, in order, and a look is never later than a period after the first row."""
    table = read_table(write(tmp_path, flights(rows=FIRST + 2000)), MEANING, list)
    standard, rest = from_first_rows(table, FIRST, MEANING, ())
    window = Window.model_validate({"minRows": rows, "period": period})
    observations = observe(rest, standard, MEANING, ())
    handed = list(epochs(observations, standard, window))
    counts = [each.answers["backtest"].epochs[0] for each in handed]
    total = np.sum([epoch.models["first-rows"].cells for epoch in counts], axis=0)
    column = standard.reference.features[0]
    assert isinstance(column, Numeric)
    values = rest.frame["delay"].to_numpy()
    assert total[: column.cells].tolist() == count_cells(numeric_cells(column, values), column.cells).tolist()
    labels = [epoch.models["first-rows"].labels for epoch in counts]
    assert sum(sum(sum(cells) for cells in each.loss.values()) for each in labels if each) == len(rest)
    assert sum(sum(each.score) for each in labels if each) == len(rest)
    assert all(before.closed <= after.opened for before, after in pairwise(counts))
    served = iter(rest.seconds.tolist())
    for epoch in counts:
        moments = list(islice(served, epoch.models["first-rows"].rows))
        assert epoch.opened <= moments[0] <= moments[-1] < epoch.closed
    assert next(served, None) is None
    longest = max(window.period.seconds, 20.0)
    assert all(epoch.closed - epoch.opened <= longest for epoch in counts)


def test_saved_counts_find_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = monitor(tmp_path, baseline={"from": "Training"})
    counts, reference = str(tmp_path / "counts.jsonl"), tmp_path / "reference.json"
    table = read_table(write(tmp_path), MEANING, list)
    standard, _ = from_first_rows(table, FIRST, MEANING, ())
    reference.write_bytes(msgspec.json.encode(standard.reference))
    data = ["backtest", "-f", policy, "--reference", str(reference)]
    said = ["--score", "score", "--label", "late"]
    assert main([*data, *said, "--data", str(tmp_path / "rows.parquet"), "--save-counts", counts]) == 0
    first = capsys.readouterr().out
    assert main([*data, "--data", counts]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == first.splitlines()[2:]
    assert "a: higher" not in first
    assert "delay: higher" in first
    handed = captured.captured(counts, standard.reference)
    assert all(isinstance(each, Handed) for each in handed)
    assert main([*data, *said, "--data", counts]) == 1
    assert f"--label and --score are for rows, and --data {counts} has counts" in capsys.readouterr().err
    assert main(["backtest", "-f", policy, "--data", counts]) == 1
    assert "baseline-rows" not in (asked := capsys.readouterr().err)
    assert "what is normal? give --reference" in asked
    epoch = handed[-1].answers[next(iter(handed[-1].answers))].epochs[-1]
    late = msgspec.structs.replace(
        epoch, models={"c" * 64: ModelCounts(0, [], Labels(loss={int(epoch.opened): [1, 0]}))}
    )
    with Path(counts).open("ab") as file:
        file.write(msgspec.json.encode(Epochs("another", "first-rows", [late])) + b"\n")
    assert main([*data, "--data", counts]) == 0
    assert "delay: higher" in capsys.readouterr().out
    reference.write_bytes(msgspec.json.encode(msgspec.structs.replace(standard.reference, model="b" * 64)))
    assert main([*data, "--data", counts]) == 1
    another = (
        "counts are of cccccccccccc and first-rows, the reference is of bbbbbbbbbbbb: give that version's reference"
    )
    assert another in capsys.readouterr().err


def test_the_versions_own_model_is_asked(tmp_path: Path) -> None:
    """P(yes) is the first number, clipped; the label is yes from a half on. The rows themselves say nothing of it."""
    served = models.binary(tmp_path / "v1")
    standard = opened(str(tmp_path / "v1"))
    assert opened(served.uri).reference == standard.reference
    assert standard.words == "version 1 of flights"
    table = pd.DataFrame(
        {
            "at": pd.date_range("2026-01-01", periods=4, freq="1h"),
            "a": [0.9, 0.1, 0.6, 0.7],
            "b": [0.5, np.nan, 0.5, 0.5],
            "late": ["yes", "no", "no", None],
        }
    )
    rows = read_table(write(tmp_path, table), Meaning(), lambda columns: ["a", "b", "late"])
    observations = observe(rows, standard, Meaning(), ())
    assert observations.scores is not None
    assert observations.scores.tolist() == [0.9, 0.1, 0.6, 0.7]
    assert observations.labels is not None
    assert observations.labels.rows.tolist() == [0, 1, 2]
    assert observations.labels.loss.tolist() == [0, 0, 1]
    assert observations.labels.positive.tolist() == [True, False, False]
    regression = models.mixed(tmp_path / "v2")
    table = pd.DataFrame({"at": [1, 2], "x": [1.0, 2.0], "carrier": ["UA", "DL"], "flag": [True, False]})
    rows = read_table(write(tmp_path, table), Meaning(time="at"), lambda columns: ["x", "carrier", "flag"])
    asked = observe(rows, opened(regression.uri), Meaning(), ())
    assert asked.scores is not None
    assert asked.scores.tolist() == [12.0, 2.0]


def test_classes_are_compared_by_what_they_mean(tmp_path: Path) -> None:
    table = flights()
    standard, _ = from_first_rows(read_table(write(tmp_path, table), MEANING, list), FIRST, MEANING, ())
    same = table.assign(late=table["late"].astype(bool))
    losses = []
    for each in (table, same):
        labels = observe(read_table(write(tmp_path, each), MEANING, list), standard, MEANING, ()).labels
        assert labels is not None
        losses.append(labels.loss.tolist())
    assert losses[0] == losses[1]
    assert 0.05 < np.mean(losses[0][:CHANGE]) < 0.4


def test_of_many_classes_the_score_is_that_of_the_predicted_one(tmp_path: Path) -> None:
    """However small it is: a model may know more classes than the first rows have."""
    meaning = Meaning(label="carrier", prediction="carrier", score="score")
    standard, _ = from_first_rows(read_table(write(tmp_path), meaning, list), FIRST, meaning, ())
    column = standard.reference.score
    assert isinstance(column, Numeric)
    cells = numeric_cells(column, flights()["score"].to_numpy()[:FIRST])
    assert standard.schema.score == "confidence"
    assert column.counts == count_cells(cells, column.cells).tolist()


def test_counts_without_what_the_model_said_let_expect_no_loss(tmp_path: Path) -> None:
    """Though the reference knows what scores let expect."""
    standard, _ = from_first_rows(read_table(write(tmp_path), MEANING, list), FIRST, MEANING, ())
    assert standard.reference.expected is not None
    rows = read_table(write(tmp_path, flights().drop(columns=["score", "late"])), Meaning(), list)
    policy = monitor(tmp_path, baseline={"from": "Training"})
    handed = epochs(observe(rows, standard, Meaning(), ()), standard, from_file(policy, None).spec.window)
    counts, reference, page = (str(tmp_path / name) for name in ("counts.jsonl", "reference.json", "out.html"))
    assert len(list(captured.write(counts, handed))) > 0
    Path(reference).write_bytes(msgspec.json.encode(standard.reference))
    assert main(["backtest", "-f", policy, "--data", counts, "--reference", reference, "--html", page]) == 0
    assert "Loss that scores let expect" not in Path(page).read_text()


def test_what_is_said_in_the_data_is_not_read_where_there_is_a_model(tmp_path: Path) -> None:
    models.binary(tmp_path / "v1")
    small = {"a": [0.9, 0.1], "b": [0.0, 0.0], "said": [0.1, 0.9]}
    table = pd.DataFrame({"at": pd.date_range("2026-01-01", periods=2, freq="1s"), **small})
    meaning = Meaning(score="said")
    rows = read_table(write(tmp_path, table), meaning, lambda columns: ["a", "b"])
    observations = observe(rows, opened(str(tmp_path / "v1")), meaning, ())
    assert observations.scores is not None
    assert observations.scores[0] > observations.scores[1]
    (note,) = observations.notes
    assert note.startswith("--score: not read, since the model of version 1 of ")


def test_without_what_the_model_said_the_score_is_not_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = flights().drop(columns=["score", "late"])
    path, policy = write(tmp_path, rows), monitor(tmp_path)
    said = ["backtest", "-f", policy, "--data", path, "--baseline-rows", str(FIRST)]
    assert main([*said, "--html", str(tmp_path / "out.html")]) == 0
    assert "its score is not watched" in (tmp_path / "out.html").read_text()
    capsys.readouterr()
    counts = str(tmp_path / "counts.jsonl")
    assert main([*said, "--save-counts", counts]) == 0
    first = capsys.readouterr().out
    again = ["--data", counts, "--reference", str(tmp_path / "counts.reference.json")]
    assert main(["backtest", "-f", policy, *again]) == 0
    second = capsys.readouterr().out
    assert "its score is not watched" in second
    # Of counts it is the rows counted that have numbers.
    parts = [re.sub(r"row [\d,]+", "row", each.partition("Found")[2]) for each in (first, second)]
    assert parts[0] == parts[1] != ""
    meaning = Meaning()
    table = read_table(path, meaning, list)
    standard, rest = from_first_rows(table, FIRST, meaning, ())
    observations = observe(rest, standard, meaning, ())
    assert observations.scores is None
    assert observations.labels is None
    assert "not watched" in observations.notes[0]


def test_the_clusters_monitor_and_its_reference_are_used(cluster: Namespace) -> None:
    columns = [worlds.numeric(name, np.random.default_rng(3)) for name in ("x", SCORE)]
    reference = worlds.reference(columns, loss=worlds.loss(0.1))
    checkpoint = judge.begin(Checkpoint(), Judged(worlds.MODEL, 3), reference)
    cluster.put(DRIFTMONITORS, spec={"deployment": "flights"}, status={"trainingJob": "training"})
    cluster.configmaps["flights-drift"] = {
        "metadata": {"name": "flights-drift"},
        "binaryData": encode(checkpoint),
    }
    found = from_cluster(cluster, Named(DRIFTMONITORS, "flights"))
    assert (found.training_job, found.version, found.reference) == ("training", 3, reference)
    assert found.identity.uid == "uid-flights"
    assert from_cluster(Namespace(objects=cluster.objects), Named(DRIFTMONITORS, "flights")).reference is None
    assert of_reference(reference, "").schema.score == "confidence"


def test_the_answer_is_for_people_and_the_picture_needs_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = flights().rename(columns={"delay": "<delay & more>"})
    path, picture = write(tmp_path, table, "rows.csv"), tmp_path / "out.svg"
    arguments = ["backtest", "-f", monitor(tmp_path), "--data", path, "--baseline-rows", str(FIRST)]
    assert main([*arguments, "--score", "score", "--label", "late", "--picture", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert all(int(row.replace(",", "")) > CHANGE for row in re.findall(r"row ([\d,]+)  ", shown))
    for said in (
        "the first 4,000 rows",
        "row 8,",
        "Drift",
        "<delay & more>: higher (0.3",
        "RetrainRequested: asked",
        "▲",
        "█",
    ):
        assert said in shown
    drawn = ElementTree.parse(picture).getroot()
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    text = picture.read_text()
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    words = {each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"harm", "drift", "retrain asked for", "mean loss of", "<delay & more>"} <= words


REFUSALS: list[tuple[dict[str, Any], list[str], str]] = [
    ({}, ["--data", "gone.csv", "--baseline-rows", "4000"], "--data gone.csv: there is no such file"),
    ({}, ["--data", "{rows}"], "what is normal? give --reference"),
    (
        {},
        ["--data", "{rows}", "--baseline-rows", "50"],
        "--baseline-rows 50: give from 100 to fewer than the 12000 rows",
    ),
    ({}, ["--data", "{rows}", "--baseline-rows", "4000", "--label", "lat"], "--label: {rows} has no column 'lat'; did"),
    ({}, ["--data", "{rows}", "--baseline-rows", "4000", "--time", "carrier"], "has no readable time"),
    ({}, ["--data", "{rows}", "--reference", "{rows}"], "this is no reference.json"),
    ({}, ["--data", "{rows}", "--reference", "{folder}"], "no version is in this folder"),
    (
        {},
        ["--data", "{rows}", "--baseline-rows", "4000", "--previous", "{folder}"],
        "--previous {folder}: no version is in this folder",
    ),
    (
        {},
        ["--data", "{rows}", "--baseline-rows", "4000", "--previous-prediction", "befor"],
        "--previous-prediction: {rows} has no column 'befor'",
    ),
    ({}, ["--data", "{empty}", "--baseline-rows", "4000"], "the file is empty"),
    ({}, ["--data", "{header}", "--baseline-rows", "4000"], "there are columns, but no rows"),
    ({}, ["--data", "{folder}/v1/model.onnx", "--reference", "{folder}/v1"], "neither Parquet nor CSV"),
    (
        {},
        ["--data", "{rows}", "--reference", "{folder}/v1"],
        "a feature of the model is missing: {rows} has no column 'a'",
    ),
    ({}, ["--data", "{text}", "--reference", "{folder}/v1"], "column 'a' is numeric to the model, and here it is text"),
    ({}, ["--data", "{dateless}", "--reference", "{folder}/v1"], "--time: say which column of {dateless} has the time"),
    ({}, ["--data", "{strange}", "--reference", "{folder}/v1"], "'late' has 'perhaps', which is none of the model's"),
    (
        {},
        ["--data", "{rows}", "--baseline-rows", "4000", "--score", "distance", "--label", "late"],
        "--score: column 'distance' has ",
    ),
    (
        {},
        ["--data", "{rows}", "--reference", "{standard}", "--score", "distance"],
        "in {rows}, row 1: give a probability, 0 to 1",
    ),
    ({}, ["--data", "{rows}", "--baseline-rows", "4000", "--score", "delay"], "row 1: give a probability, 0 to 1"),
    ({}, ["--data", "{score}", "--baseline-rows", "4000", "--score", "score"], "has 7.5 in {score}, row 125: give"),
    (
        {},
        ["--data", "{rows}", "--baseline-rows", "4000", "--score", "carrier", "--label", "late"],
        "--score: column 'carrier' must be numbers, and has '",
    ),
    (
        {},
        ["--data", "{number}", "--baseline-rows", "4000"],
        "error: {number}, row 50: column 'delay' is nearly all numbers, but here is 'x1'",
    ),
    (
        {},
        ["--data", "{parts}", "--baseline-rows", "4000"],
        "no column has dates, but 'served' is nearly all dates; {parts}/b.csv, row 3 has 'yesterday'",
    ),
    (
        {},
        ["--data", "{milliseconds}", "--reference", "{folder}/v1", "--time", "at"],
        "'at' has numbers that are no Unix seconds",
    ),
    ({"window": {"period": "soon"}}, ["--data", "{rows}"], "spec.window.period: must be a duration"),
    ({}, ["--data", "{counts}", "--reference", "{folder}/v1"], "line 1: not what a pod answers"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files that something is wrong with, by name."""
    folder = tmp_path_factory.mktemp("refusals")
    models.binary(folder / "v1")
    small = {"at": pd.date_range("2026-01-01", periods=3, freq="1h"), "a": [0.1, 0.2, 0.3], "b": [0.1, 0.2, 0.3]}
    backwards = flights(rows=FIRST + 100).iloc[::-1].reset_index(drop=True)
    number = backwards.astype({"delay": object})
    number.loc[49, "delay"] = "x1"
    score = backwards.copy()
    score.loc[124, "score"] = 7.5
    dates = flights(rows=200).astype({"served": str})
    dates.loc[152, "served"] = "yesterday"
    (folder / "parts").mkdir()
    write(folder / "parts", dates[:150], "a.csv")
    write(folder / "parts", dates[150:], "b.csv")
    standard, _ = from_first_rows(read_table(write(folder), MEANING, list), FIRST, MEANING, ())
    (folder / "standard.json").write_bytes(msgspec.json.encode(standard.reference))
    (folder / "empty.csv").touch()
    (folder / "counts.jsonl").write_text(json.dumps({"rows": 1}) + "\n")
    return {
        "folder": str(folder),
        "rows": str(folder / "rows.parquet"),
        "number": write(folder, number, "number.csv"),
        "score": write(folder, score, "score.csv"),
        "parts": str(folder / "parts"),
        "standard": str(folder / "standard.json"),
        "empty": str(folder / "empty.csv"),
        "header": write(folder, flights(rows=0), "header.csv"),
        "text": write(folder, pd.DataFrame({**small, "a": ["x", "y", "z"]}), "text.csv"),
        "dateless": write(folder, pd.DataFrame({"a": small["a"], "b": small["b"]}), "dateless.csv"),
        "milliseconds": write(folder, pd.DataFrame({**small, "at": [1.7e12, 1.8e12, 1.9e12]}), "ms.csv"),
        "strange": write(folder, pd.DataFrame({**small, "late": ["yes", "no", "perhaps"]}), "strange.csv"),
        "counts": str(folder / "counts.jsonl"),
    }


@pytest.mark.parametrize(("spec", "arguments", "said"), REFUSALS, ids=[said[:40] for _, _, said in REFUSALS])
def test_what_cannot_be_done_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    places: dict[str, str],
    spec: dict[str, Any],
    arguments: list[str],
    said: str,
) -> None:
    given = [argument.format(**places) for argument in arguments]
    assert main(["backtest", "-f", monitor(tmp_path, **spec), *given]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said.format(**places) in error


def test_a_slip_in_a_policy_is_no_other_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = {"uri": "s3://a/b", "key": "k", "column": "c", "pod": {"affinity": {"podAffinity": {}}, "x": 1}}
    slips = monitor(
        tmp_path,
        window={"minrows": 9},
        labels=labels,
        lables={},
        actions=[{"state": "Harm", "action": "Retrain", "when": 1}],
    )
    assert main(["backtest", "-f", slips, "--data", "x", "--baseline-rows", "9"]) == 1
    unknown = (
        "spec.actions[0].when, spec.labels.pod.x, spec.lables (did you mean labels?), "
        "spec.window.minrows (did you mean minRows?)"
    )
    assert capsys.readouterr().err.strip().endswith(f"there is no field {unknown}")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"apiVersion": "perennial.dev/v1"}, "apiVersion must be perennial.dev/v1alpha1, and is perennial.dev/v1"),
        ({"apiVersion": "v1"}, "apiVersion must be perennial.dev/v1alpha1, and is v1"),
        ({"kind": "driftmonitor"}, "kind must be DriftMonitor, and is driftmonitor"),
    ],
)
def test_what_kubectl_would_refuse_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], said: str
) -> None:
    path = Path(monitor(tmp_path))
    other = {"apiVersion": "kubeflow.org/v1", "kind": "TrainingJob"}
    path.write_text(yaml.safe_dump_all([other, yaml.safe_load(path.read_text()) | changed]))
    assert main(["backtest", "-f", str(path), "--data", "x"]) == 1
    assert capsys.readouterr().err == f"error: -f {path}: {said}\n"


def test_a_policy_that_is_all_false_alarms_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(tmp_path, flights(rows=FIRST + 500), falseAlarmEvery="1m")) == 0
    noted = "note      every window may be a false alarm: spec.falseAlarmEvery is not longer than spec.window.period"
    assert noted in capsys.readouterr().out


@pytest.mark.parametrize(
    ("uri", "variables"),
    [
        ("s3://lake/rows.csv", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("gs://lake/rows.csv", "GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("az://lake/rows.csv", "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_credentials_that_are_not_there_are_asked_for_where_a_person_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, uri: str, variables: str
) -> None:
    def refuse(uri: str, secret: Path) -> Any:
        raise NoCredentialsError(uri, "name a Secret by secretRef (http://169.254.169.254)")

    monkeypatch.setattr(sources, "connect", refuse)
    monkeypatch.setattr(folders, "connect", refuse)
    policy, rows = monitor(tmp_path), write(tmp_path)
    refusal = f": {uri}: there are no credentials: set {variables} (docs/data-and-stores.md)\n"
    assert main(["backtest", "-f", policy, "--data", uri, "--baseline-rows", "4000"]) == 1
    assert capsys.readouterr().err == f"error: --data{refusal}"
    assert main(["backtest", "-f", policy, "--data", rows, "--reference", uri]) == 1
    assert capsys.readouterr().err == f"error: --reference{refusal}"


def test_credentials_that_are_refused_are_to_be_checked_where_a_person_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(uri: str, secret: Path) -> Any:
        raise DeniedError(uri, "check the keys of secretRef", "InvalidAccessKeyId")

    monkeypatch.setattr(sources, "connect", refuse)
    monkeypatch.setattr(folders, "connect", refuse)
    uri, policy, rows = "s3://lake/rows.csv", monitor(tmp_path), write(tmp_path)
    variables = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    refusal = f": {uri}: access denied; check {variables}: InvalidAccessKeyId\n"
    assert main(["backtest", "-f", policy, "--data", uri, "--baseline-rows", "4000"]) == 1
    assert capsys.readouterr().err == f"error: --data{refusal}"
    assert main(["backtest", "-f", policy, "--data", rows, "--reference", uri]) == 1
    assert capsys.readouterr().err == f"error: --reference{refusal}"


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_a_library_that_is_not_installed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    path, policy = write(tmp_path), monitor(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["backtest", "-f", policy, "--data", path, "--baseline-rows", "4000"]) == 1
    assert f"{library} is not installed here: pip install '.[trainer]'" in capsys.readouterr().err


def test_which_monitor_is_meant_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(monitor(tmp_path))
    path.write_text(path.read_text() + "---\n" + path.read_text().replace("name: flights", "name: second"))
    assert main(["backtest", "-f", str(path), "--data", "x"]) == 1
    assert "several DriftMonitors: say which, as dm/flights or dm/second" in capsys.readouterr().err
    assert main(["backtest", "-f", str(path), "dm/third", "--data", "x"]) == 1
    assert "has no DriftMonitor third; there is flights, second" in capsys.readouterr().err
    assert main(["backtest", "--data", "x"]) == 1
    assert "whose policy?" in capsys.readouterr().err
