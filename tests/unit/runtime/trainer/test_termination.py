"""The termination message: JSON within 4096 bytes, whatever the run came to."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from perennial.runtime.trainer import termination
from perennial.wire.result import TERMINATION_MESSAGE_LIMIT, Failure, Gate, Model, Result, Rows

texts = st.text(max_size=6000)
numbers = st.floats(allow_nan=False, allow_infinity=False)
models = st.builds(
    Model,
    uri=st.text(max_size=400),
    sha256=st.just("a" * 64),
    seal=st.just("b" * 64),
    size=st.just(1),
    engine=st.just("onnx"),
)
gate_lists = st.lists(
    st.builds(
        Gate, metric=st.text(max_size=63), rule=st.just("min"), bound=numbers, value=numbers, passed=st.booleans()
    ),
    max_size=40,
)
results = st.builds(
    Result,
    version=st.integers(1, 10**6),
    outcome=st.sampled_from(["Accepted", "Rejected", "Failed"]),
    model=st.one_of(st.none(), models),
    metrics=st.dictionaries(st.text(max_size=60), numbers, max_size=60),
    gates=gate_lists,
    rows=st.just(Rows(10, 10)),
    failure=st.one_of(st.none(), st.builds(Failure, reason=st.text(max_size=80), message=texts)),
    notes=st.lists(texts, max_size=10),
)


@given(results)
def test_any_result_fits_and_decodes(result: Result) -> None:
    data = termination.message(result)
    assert len(data) <= TERMINATION_MESSAGE_LIMIT
    told = msgspec.json.decode(data, type=Result)
    assert (told.version, told.outcome, told.model) == (result.version, result.outcome, result.model)
    if result.failure is not None:
        assert told.failure is not None
        assert told.failure.message[:100] == result.failure.message[:100] or len(result.failure.message) > 700


def test_a_result_that_fits_is_told_whole() -> None:
    result = Result(
        3, "Rejected", metrics={"f1": 0.5}, gates=[Gate("f1", "min", 0.6, 0.5, False)], notes=["served slowly"]
    )
    assert msgspec.json.decode(termination.message(result), type=Result) == result


def test_what_decides_is_kept_longest() -> None:
    gates = [Gate(f"metric_{i}", "min", 0.5, 0.4 if i == 30 else 0.6, i != 30) for i in range(40)]
    result = Result(1, "Rejected", metrics={f"m{i}": 1 / 3 for i in range(200)}, gates=gates, notes=["x" * 5000])
    told = msgspec.json.decode(termination.message(result), type=Result)
    assert any(not gate.passed for gate in told.gates)
