"""Whatever ends a process of a Job is told in the log, by an exit code and as last words."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.runtime.ending import explained, leave
from perennial.runtime.failures import INPUT_EXIT, INTERNAL_EXIT, TRANSIENT_EXIT, InputError


@pytest.mark.parametrize(
    ("error", "code", "reason", "said", "has_traceback"),
    [
        (InputError("MissingColumn", "no column 'late'"), INPUT_EXIT, "MissingColumn", "no column 'late'", False),
        (MemoryError("8 GiB"), INTERNAL_EXIT, "OutOfMemory", "set resources.limits.memory higher (8 GiB)", True),
        (ConnectionError("reset"), TRANSIENT_EXIT, "InputOutput", "ConnectionError: reset", True),
        (KeyError("late"), INTERNAL_EXIT, "InternalError", "KeyError: 'late'", True),
    ],
)
def test_an_error_says_what_to_do_and_whether_a_retry_helps(
    error: Exception, code: int, reason: str, said: str, has_traceback: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    told, failure = explained(error)
    assert (told, failure.reason) == (code, reason)
    assert said in failure.message
    log = capsys.readouterr().err
    assert f"{reason}: {failure.message}" in log
    assert (type(error).__name__ in log.splitlines()[0]) is has_traceback


def test_last_words_are_left_where_kubernetes_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert leave(b"told", tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == b"told"
    assert not leave(b"told", tmp_path / "none" / "log")
    monkeypatch.setenv("PERENNIAL_TERMINATION_LOG", str(tmp_path / "named"))
    assert leave(b"told")
    assert (tmp_path / "named").read_bytes() == b"told"
