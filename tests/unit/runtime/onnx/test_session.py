"""ONNX Runtime tells nobody what is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perennial.runtime.onnx.graph import Graph

SCRIPT = """
import sys
from perennial.runtime.onnx.session import open_session
assert open_session(sys.stdin.buffer.read()).run(None, {"numbers": [[1.0]]})[0] == 1.0
"""


@pytest.mark.process
def test_the_library_keeps_no_identifier_and_nothing_that_is_to_be_sent(tmp_path: Path) -> None:
    """Both would be in its user's cache. In an environment of its own, or a test would be recognised and spared."""
    graph = Graph()
    graph.output(graph.input("numbers", 1), "value", "f", 1)
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    model = graph.model().SerializeToString()
    subprocess.run([sys.executable, "-c", SCRIPT], input=model, env=environment, check=True)
    assert not list(tmp_path.rglob("*"))
