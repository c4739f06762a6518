"""The run's last word: its Result as the container's termination message, of which Kubernetes keeps 4096 bytes."""

from __future__ import annotations

import msgspec

from perennial.wire.result import TERMINATION_MESSAGE_LIMIT, Result


def message(result: Result, limit: int = TERMINATION_MESSAGE_LIMIT) -> bytes:
    """The Result as JSON of at most `limit` bytes. What does not fit is left out, what decides is kept longest.

    A cut message would be no JSON at all; the whole Result stands in the version's manifest.
    """
    for smaller in (_all, _short_notes, _gated_metrics, _no_notes, _short_failure, _failed_gates, _bare):
        result = smaller(result)
        data = msgspec.json.encode(result)
        if len(data) <= limit:
            return data
    raise ValueError(f"even the bare result takes {len(data)} bytes")


def _all(result: Result) -> Result:
    return result


def _short_notes(result: Result) -> Result:
    return msgspec.structs.replace(result, notes=[_cut(note, 160) for note in result.notes[:5]])


def _gated_metrics(result: Result) -> Result:
    gated = {gate.metric for gate in result.gates}
    kept = {name: value for name, value in result.metrics.items() if name in gated}
    return msgspec.structs.replace(result, metrics=kept)


def _no_notes(result: Result) -> Result:
    return msgspec.structs.replace(result, notes=[])


def _short_failure(result: Result) -> Result:
    if result.failure is None:
        return result
    failure = msgspec.structs.replace(
        result.failure, reason=_cut(result.failure.reason, 64), message=_cut(result.failure.message, 700)
    )
    return msgspec.structs.replace(result, failure=failure)


def _failed_gates(result: Result) -> Result:
    failed = [gate for gate in result.gates if not gate.passed]
    return msgspec.structs.replace(result, gates=failed[:5], metrics={})


def _bare(result: Result) -> Result:
    return msgspec.structs.replace(result, gates=[], metrics={}, trained_through=None)


def _cut(text: str, length: int) -> str:
    """By characters that JSON may write as up to six bytes each."""
    return text if len(text) <= length else text[: length - 1] + "…"
