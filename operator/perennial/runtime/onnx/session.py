"""ONNX Runtime as it is used here: on one thread, by the CPU, and telling nobody.

Its official builds send their maker what is run, models' names and hashes among it, and keep an identifier of the
machine. Only what its environment says before it is first imported keeps it from all of that; `DisableTelemetryEvents`
comes too late.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(model: bytes | Path) -> InferenceSession:
    """A session of the model, given as it is or by its file. A pod has about one core, and a request's rows are few.

    Raises what ONNX Runtime raises.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
