"""Every reason that a user can meet is on the reference page."""

import re
from pathlib import Path

import pytest

from perennial.api.kinds import KINDS, Kind
from perennial.api.reasons import JoinFailureReason, RunFailureReason
from perennial.wire.join import MAX_FILES

RUNTIME = Path(__file__).parents[3] / "operator" / "perennial" / "runtime"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.resource.kind))
def test_no_reason_is_said_twice_with_different_meanings(kind: Kind) -> None:
    meanings: dict[str, str] = {}
    for reason in (reason for group in kind.reasons for reason in group):
        assert re.fullmatch(r"([A-Z]+[a-z]*)+", reason.value)
        assert meanings.setdefault(reason.value, reason.meaning) == reason.meaning


def said_in(*folders: str) -> set[str]:
    """What the runtime, which knows no API of ours, says in its failures."""
    raised = re.compile(r'(?:InputError|TransientError|RunError|Failure)\(\s*"(\w+)"')
    files = [file for folder in folders for file in (RUNTIME / folder).glob("*.py")]
    return {reason for file in [RUNTIME / "ending.py", *files] for reason in raised.findall(file.read_text())}


def test_what_the_trainer_reports_is_documented() -> None:
    said = said_in("tables", "trainer")
    [kind] = [kind for kind in KINDS if RunFailureReason in kind.reasons]
    documented = {reason.value for group in kind.reasons for reason in group}
    assert said
    assert said <= documented, f"add to RunFailureReason: {said - documented}"
    assert {reason.value for reason in RunFailureReason} <= said, "documented, but never said"


def test_what_the_joiner_reports_is_documented() -> None:
    """The kernel's verdict is told by the operator."""
    assert {reason.value for reason in JoinFailureReason} == said_in("tables", "joiner") | {"OOMKilled"}
    assert f"{MAX_FILES:,}" in JoinFailureReason.TOO_MANY_FILES.meaning
