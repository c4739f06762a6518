"""What an ONNX file of somebody else takes and answers, found out in a process of its own that may crash or hang.

Run as `python -m perennial.runtime.onnx.probe FOLDER`: it reads the model and rows from the folder and prints a Probe.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from perennial.wire.schema import NUMBERS, TEXTS

from .hard_rows import Rows
from .session import open_session
from .trial import TrialError, tried

TIME_LIMIT_SECONDS = 300.0


class Port(msgspec.Struct):
    """An input or output: ONNX Runtime's name of the type, dimensions, and columns where it has two and says so."""

    type: str
    dimensions: int
    columns: int | None


class Probe(msgspec.Struct):
    """A model's inputs and outputs, and the answers by output where rows were given."""

    inputs: dict[str, Port]
    outputs: dict[str, Port]
    answers: dict[str, list[Any]] = {}


class ProbeError(Exception):
    """ONNX Runtime can not load or run the model. The message says why."""


def probe(model: bytes, rows: Rows | None = None, *, seconds: float = TIME_LIMIT_SECONDS) -> Probe:
    """Load the model, and run it on `rows` where there are some. Raises ProbeError."""
    with tempfile.TemporaryDirectory(prefix="perennial-onnx-") as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(model)
        if rows is not None:
            np.save(folder / "numbers.npy", rows.numbers)
            (folder / "texts.json").write_bytes(msgspec.json.encode(rows.texts.tolist()))
        try:
            said = tried(__name__, folder, seconds=seconds)
        except TrialError as error:
            raise ProbeError(str(error)) from error
    return msgspec.json.decode(said, type=Probe)


def look(folder: Path) -> Probe:
    """What `probe` does, in this process."""
    session = open_session(folder / "model.onnx")
    found = Probe(
        {node.name: _port(node.type, node.shape) for node in session.get_inputs()},
        {node.name: _port(node.type, node.shape) for node in session.get_outputs()},
    )
    if (folder / "numbers.npy").exists():
        numbers = np.load(folder / "numbers.npy")
        texts = np.array(msgspec.json.decode((folder / "texts.json").read_bytes()), object).reshape(len(numbers), -1)
        feeds = {name: value for name, value in ((NUMBERS, numbers), (TEXTS, texts)) if name in found.inputs}
        outputs = session.run(list(found.outputs), feeds)
        found.answers = {name: output.tolist() for name, output in zip(found.outputs, outputs, strict=True)}
    return found


def _port(kind: str, shape: list[object]) -> Port:
    last = shape[-1] if len(shape) == 2 else None
    return Port(kind, len(shape), last if isinstance(last, int) else None)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(look(Path(sys.argv[1]))))
