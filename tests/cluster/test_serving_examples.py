"""The examples of ModelDeployments as users meet them: all are admitted as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.harness import Harness
from tests.cluster.operator_process import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("serving-*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_is_admitted(cluster: Harness, crds: None, path: Path) -> None:
    cluster.kubectl("apply", "--dry-run=server", "-f", str(path))
