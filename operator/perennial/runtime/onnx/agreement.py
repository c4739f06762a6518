"""Whether an ONNX model answers as scikit-learn did, judged in a process of its own that may crash, hang or be killed.

Run as `python -m perennial.runtime.onnx.agreement FOLDER`: it reads the model, rows and expected answers from the
folder and prints an Agreement. It imports numpy and ONNX Runtime alone.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from perennial.wire.manifest import Agreement
from perennial.wire.schema import NUMBERS, TEXTS

from .hard_rows import Rows
from .session import open_session
from .trial import TrialError, tried

TOLERANCE = 1e-6
TIME_LIMIT_SECONDS = 120.0
_WRONG = 1e300


@dataclass(frozen=True, slots=True)
class Answers:
    """What scikit-learn said: labels as texts (None for regression); probabilities [rows, classes] or values [rows]."""

    labels: list[str] | None
    numbers: NDArray[np.float64] | None


class DisagreementError(Exception):
    """The ONNX model is not to be trusted; the message says why."""


def agree(model: bytes, rows: Rows, expected: Answers, *, seconds: float = TIME_LIMIT_SECONDS) -> Agreement:
    """Compare within the time limit. Raises DisagreementError where an answer differs or none came."""
    with tempfile.TemporaryDirectory(prefix="perennial-onnx-") as name:
        folder = Path(name)
        _write(folder, model, rows, expected)
        try:
            said = tried(__name__, folder, seconds=seconds)
        except TrialError as error:
            raise DisagreementError(str(error)) from error
    agreement = msgspec.json.decode(said, type=Agreement)
    if agreement.labels_different or not agreement.difference <= TOLERANCE:
        raise DisagreementError(
            f"of {agreement.rows} rows {agreement.labels_different} have another label, "
            f"the largest difference is {agreement.difference:.3g} (at most {TOLERANCE:g} is exact)"
        )
    return agreement


def _write(folder: Path, model: bytes, rows: Rows, expected: Answers) -> None:
    (folder / "model.onnx").write_bytes(model)
    np.save(folder / "numbers.npy", rows.numbers)
    (folder / "texts.json").write_bytes(msgspec.json.encode(rows.texts.tolist()))
    (folder / "labels.json").write_bytes(msgspec.json.encode(expected.labels))
    if expected.numbers is not None:
        np.save(folder / "expected.npy", expected.numbers)


def compare(folder: Path) -> Agreement:
    """Run the folder's model on its rows, at once and one by one, and compare with what was expected."""
    session = open_session(folder / "model.onnx")
    numbers = np.load(folder / "numbers.npy")
    texts = np.array(msgspec.json.decode((folder / "texts.json").read_bytes()), object).reshape(len(numbers), -1)
    whole = _run(session, numbers, texts)
    # The runtime takes another way for few rows than for many: a server uses both.
    single = [_run(session, numbers[row : row + 1], texts[row : row + 1]) for row in range(min(len(numbers), 200))]
    labels = msgspec.json.decode((folder / "labels.json").read_bytes(), type=list[str] | None)
    expected = np.load(folder / "expected.npy") if (folder / "expected.npy").exists() else None
    judged = [_judge(whole, labels, expected)]
    for row, answer in enumerate(single):
        one = slice(row, row + 1)
        judged.append(_judge(answer, labels and labels[one], None if expected is None else expected[one]))
    return Agreement(len(numbers), sum(wrong for wrong, _ in judged), max(difference for _, difference in judged))


def _run(session: Any, numbers: NDArray[np.float64], texts: NDArray[np.object_]) -> list[NDArray[np.generic]]:
    feeds: dict[str, Any] = {NUMBERS: numbers, TEXTS: texts}
    outputs: list[NDArray[np.generic]] = session.run(
        None, {node.name: feeds[node.name] for node in session.get_inputs()}
    )
    return outputs


def _judge(
    outputs: list[NDArray[np.generic]], labels: list[str] | None, expected: NDArray[np.float64] | None
) -> tuple[int, float]:
    """How many labels differ, and the largest difference of the numbers."""
    wrong = 0
    if labels is not None:
        wrong = sum(str(given) != label for given, label in zip(outputs[0].tolist(), labels, strict=True))
    if expected is None:
        return wrong, 0.0
    given = np.asarray(outputs[0 if labels is None else 1], np.float64)
    difference = np.abs(given - expected)
    if labels is None:
        difference /= 1.0 + np.abs(expected)
    # NaN where a number was expected is as wrong as can be; JSON has neither that nor infinity.
    return wrong, float(np.nan_to_num(difference, nan=_WRONG, posinf=_WRONG).max(initial=0.0))


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(compare(Path(sys.argv[1]))))
