"""The operator as a process of the test, from this source tree, in charge of one namespace alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cluster.harness import Harness

ROOT = Path(__file__).parents[2]


class OperatorProcess:
    """Started and killed at will; its log is kept for whoever looks at a failed test.

    `source` is a tree to run instead of this one: another build of the operator. `settings` are environment variables
    of the operator, as the chart sets them.
    """

    def __init__(
        self,
        cluster: Harness,
        namespace: str,
        runtime_image: str,
        log: Path,
        source: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(cluster.kubeconfig),
            "PERENNIAL_NAMESPACE": namespace,
            "PERENNIAL_WATCH_NAMESPACES": namespace,
            "PERENNIAL_LEADER_ELECTION": "false",
            "PERENNIAL_RUNTIME_IMAGE": runtime_image,
            "PERENNIAL_STORE_SIZE": "1Gi",
            "PERENNIAL_HEALTH_PORT": "0",
            "PERENNIAL_METRICS_PORT": "0",
            "PYTHONPATH": str(source or ROOT / "operator"),
            **(settings or {}),
        }
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "perennial.main"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def is_at_work(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """As a node's death does it: at once, with nothing put in order."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(timeout=40)
        self._process = None
