"""Every reason that a user can meet is on the reference page."""

import re
from pathlib import Path

from perennial.api.reasons import REASONS, RunFailureReason

RUNTIME = Path(__file__).parents[3] / "operator" / "perennial" / "runtime"


def test_no_reason_is_said_twice_with_different_meanings() -> None:
    meanings: dict[str, str] = {}
    for reason in (reason for group in REASONS for reason in group):
        assert re.fullmatch(r"([A-Z][a-z]*)+", reason.value)
        assert meanings.setdefault(reason.value, reason.meaning) == reason.meaning


def test_what_the_trainer_reports_is_documented() -> None:
    """The trainer runs in users' pods and knows no API of ours, so its words are compared here."""
    raised = re.compile(r'(?:InputError|TransientError|RunError|Failure)\(\s*"(\w+)"')
    files = (RUNTIME / "ending.py", *(RUNTIME / "tables").glob("*.py"), *(RUNTIME / "trainer").glob("*.py"))
    said = {reason for file in files for reason in raised.findall(file.read_text())}
    documented = {reason.value for group in REASONS for reason in group}
    assert said
    assert said <= documented, f"add to RunFailureReason: {said - documented}"
    assert {reason.value for reason in RunFailureReason} <= said, "documented, but never said"
