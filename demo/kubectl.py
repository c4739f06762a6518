"""kubectl, as the demonstration uses it: the same commands that a person would type."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any


class CommandFailed(Exception):
    """A command ended badly; the message is what it printed."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl against one cluster and namespace."""

    binary: Path
    kubeconfig: Path
    namespace: str

    def argv(self, *arguments: str) -> list[str]:
        return [str(self.binary), "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, *arguments]

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
        """The standard output; raises CommandFailed with the standard error."""
        return run(self.argv(*arguments), stdin=stdin, timeout=timeout)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """One object, or None where it is not there or the API server does not answer just now."""
        try:
            return dict(json.loads(self.run("get", kind, name, "--output=json", timeout=10)))
        except (CommandFailed, subprocess.TimeoutExpired):
            return None

    def list(self, kinds: str) -> list[dict[str, Any]]:
        """The objects of the kinds, none where the API server does not answer just now."""
        try:
            return list(json.loads(self.run("get", kinds, "--output=json", timeout=10))["items"])
        except (CommandFailed, subprocess.TimeoutExpired):
            return []

    def apply(self, manifest: Path, **values: str) -> None:
        """`values` stand in the manifest as `${NAME}`."""
        self.run("apply", "--filename=-", stdin=Template(manifest.read_text()).substitute(values))


def run(argv: Sequence[str], stdin: str | None = None, timeout: float = 600) -> str:
    """Run a command and give its standard output; raises CommandFailed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise CommandFailed(f"{' '.join(argv)}\n{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
