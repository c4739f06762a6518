"""The control port: stats, metrics, reference and epochs as their readers expect them."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace as Served

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from perennial.wire.counts import Epochs
from perennial.wire.reference import Reference
from perennial.wire.stats import LATENCY_BOUNDS, Stats

BODY = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [0.75, 1, 0.25, None]}]}


def test_stats_are_the_operators(binary: Served) -> None:
    for _ in range(3):
        binary.infer(BODY)
    binary.infer({})
    stats = msgspec.convert(binary.operate("/perennial/v1/stats").body, Stats)
    assert (stats.model, stats.requests, stats.rows, stats.errors) == (binary.predictor.model.digest, 4, 6, 0)
    assert (len(stats.latency), sum(stats.latency)) == (len(LATENCY_BOUNDS) + 1, 4)
    assert stats.comparison is None
    again = msgspec.convert(binary.operate("/perennial/v1/stats").body, Stats)
    assert again.clock > stats.clock


def test_the_busy_time_is_the_integral_of_requests_in_flight(binary: Served) -> None:
    clock = [100.0]
    binary.meter.clock = lambda: clock[0]
    binary.meter._since = 100.0
    first = binary.meter.arrive()
    clock[0] = 102.0
    second = binary.meter.arrive()
    clock[0] = 105.0
    assert binary.operate("/perennial/v1/stats").body["busy_seconds"] == 2 + 2 * 3
    binary.meter.leave(first, 200)
    clock[0] = 106.0
    binary.meter.leave(second, 200)
    stats = binary.operate("/perennial/v1/stats").body
    assert (stats["busy_seconds"], stats["in_flight"]) == (9, 0)
    assert stats["latency"][LATENCY_BOUNDS.index(5.0)] == 2


def test_a_crash_forgets_no_total(binary: Served, tmp_path: Path) -> None:
    from perennial.runtime.server.counting import Counting

    binary.infer(BODY)
    before = binary.operate("/perennial/v1/stats").body
    binary.counting._slot.release()
    binary.state.counting = Counting(tmp_path / "counts", binary.predictor.model, None)
    after = binary.operate("/perennial/v1/stats").body
    assert [after[key] for key in ("incarnation", "requests", "rows", "latency")] == [
        before[key] for key in ("incarnation", "requests", "rows", "latency")
    ]


def test_the_reference_is_the_versions(binary: Served) -> None:
    found = msgspec.convert(binary.operate("/perennial/v1/reference").body, Reference)
    assert found == binary.predictor.model.reference
    assert found.model == binary.predictor.model.digest


def test_epochs_are_in_the_layout_of_the_reference(mixed: Served) -> None:
    inputs = [
        {"name": "x", "shape": [2], "datatype": "FP64", "data": [1.5, None]},
        {"name": "carrier", "shape": [2], "datatype": "BYTES", "data": ["DL", "XX"]},
        {"name": "flag", "shape": [2], "datatype": "BOOL", "data": [True, False]},
    ]
    mixed.infer({"inputs": inputs})
    answer = msgspec.convert(mixed.operate("/perennial/v1/epochs", {}).body, Epochs)
    [epoch] = answer.epochs
    counts = epoch.models[answer.model]
    assert counts.rows == 2
    assert counts.cells == [*(0, 0, 1, 0, 1), *(0, 0, 1, 1, 0), *(1, 1, 0, 0, 0), *(0, 1, 0, 0, 1)]
    again = mixed.operate("/perennial/v1/epochs", {"incarnation": answer.incarnation, "acknowledge": 1}).body
    assert again["epochs"] == []


def test_looking_changes_nothing(binary: Served) -> None:
    binary.infer(BODY)
    look = {"close": False}
    assert binary.operate("/perennial/v1/epochs", look).body["epochs"] == []
    first = binary.operate("/perennial/v1/epochs", {}).body
    looked = binary.operate("/perennial/v1/epochs", {**look, "incarnation": first["incarnation"], "acknowledge": 1})
    assert looked.body["epochs"] == first["epochs"]


def test_a_pod_that_answers_on_while_it_ends_has_not_said_all(binary: Served) -> None:
    binary.state.draining = True
    assert binary.operate("/perennial/v1/epochs", {}).body["last"] is False
    binary.infer(BODY)
    binary.counting.book.finish()
    told = binary.operate("/perennial/v1/epochs", {}).body
    assert (told["last"], [epoch["number"] for epoch in told["epochs"]]) == (True, [1])


def test_a_pod_that_has_said_all_takes_no_label(binary: Served) -> None:
    binary.counting.book.finish()
    refused = binary.operate("/v2/models/flights/feedback", {"labels": []})
    assert (refused.status, refused.body["error"]) == (503, "the pod is ending, and its last counts are on their way")


def test_metrics_are_prometheus_text(paired: Served) -> None:
    paired.infer(BODY)
    paired.infer({})
    text = paired.operate("/metrics").raw.decode()
    samples = {
        (sample.name, sample.labels.get("code") or sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["perennial_requests_total", "200"] == 1
    assert samples["perennial_requests_total", "400"] == 1
    assert samples["perennial_request_duration_seconds_bucket", "+Inf"] == 2
    assert samples["perennial_request_duration_seconds_count", None] == 2
    assert samples["perennial_requests_in_flight", None] == 0
    assert samples["perennial_rows_total", None] == 2
    assert samples["perennial_ready", None] == 1
    assert samples["process_resident_memory_bytes", None] > 0
    assert 'version="2"' in text


def test_metrics_have_the_names_that_dashboards_ask_for(binary: Served) -> None:
    binary.infer(BODY)
    binary.infer({})
    binary.meter.leave(binary.meter.arrive(), 503)
    families = list(text_string_to_metric_families(binary.operate("/metrics").raw.decode()))
    samples = {
        (sample.name, sample.labels.get("reason") or sample.labels.get("le")): sample
        for family in families
        for sample in family.samples
    }
    values = {key: sample.value for key, sample in samples.items()}
    assert samples["nv_inference_request_success", None].labels == {"model": "flights", "version": "1"}
    assert values["nv_inference_request_success", None] == 1
    assert values["nv_inference_request_failure", "OTHER"] == 1
    assert values["nv_inference_request_failure", "REJECTED"] == 1
    assert (values["nv_inference_count", None], values["nv_inference_exec_count", None]) == (2, 1)
    assert values["nv_inference_compute_infer_duration_us", None] > 0
    assert values["nv_inference_queue_duration_us", None] > 0
    assert values["nv_inference_pending_request_count", None] == 0
    assert values["model_infer_request_success_total", None] == 1
    assert values["model_infer_request_failure_total", None] == 2
    assert samples["request_predict_seconds_count", None].labels == {"model_name": "flights"}
    assert values["request_predict_seconds_count", None] == 3
    assert (values["perennial_batch_rows_bucket", "1.0"], values["perennial_batch_rows_bucket", "2.0"]) == (0, 1)
    assert values["perennial_batch_rows_sum", None] == 2
    assert (values["perennial_requests_waiting", None], values["perennial_rows_waiting", None]) == (0, 0)
    assert sum(len(family.samples) for family in families) < 150


def test_the_documentation_lists_every_metric_and_no_other(paired: Served) -> None:
    families = text_string_to_metric_families(paired.operate("/metrics").raw.decode())
    given = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    document = (Path(__file__).parents[4] / "docs" / "server.md").read_text()
    section = document.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`((?:perennial|nv_inference|model_infer|request_predict)_[a-z_]*[a-z])[`{]", section))
    assert listed == {name for name in given if not name.startswith(("process_", "python_"))}
    # What a dashboard of any model server asks for first.
    assert listed >= {
        "perennial_requests_total",
        "perennial_request_duration_seconds",
        "perennial_requests_in_flight",
        "perennial_requests_waiting",
        "perennial_batch_rows",
        "perennial_rows_total",
        "perennial_labels_total",
        "perennial_model_info",
    }


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/metrics", "POST", 405),
        ("/perennial/v1/epochs", "GET", 405),
        ("/perennial/v1/nothing", "GET", 404),
        ("/v2/models/other/feedback", "POST", 404),
        ("/v2/models/flights/infer", "POST", 404),
        ("/perennial/v1/epochs", "POST", 200),
    ],
)
def test_paths_and_methods(binary: Served, path: str, method: str, status: int) -> None:
    assert binary.operate(path, b"", method).status == status


@pytest.mark.parametrize("path", ["/perennial/v1/stats", "/perennial/v1/epochs", "/perennial/v1/reference"])
def test_before_the_model_is_there(binary: Served, path: str) -> None:
    binary.state.predictor = None
    answer = binary.operate(path, b"", "POST" if path.endswith("epochs") else "GET")
    assert (answer.status, answer.headers) == (503, b"retry-after: 1\r\n")
    assert binary.operate("/metrics").status == 200


def test_a_wrong_call_names_the_field(binary: Served) -> None:
    answer = binary.operate("/perennial/v1/epochs", {"acknowledge": "x"})
    assert (answer.status, answer.body["error"]) == (400, "acknowledge: Expected `int`, got `str`")
