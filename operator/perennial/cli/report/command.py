"""From the command's options to the file that it writes."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.driftmonitor_status import DriftMonitorStatus
from perennial.api.resources import DRIFTMONITORS
from perennial.api.validation import InvalidSpecError, parse_spec, parse_status
from perennial.cli.cluster import Cluster, Reached
from perennial.cli.named import Named, named
from perennial.cli.problem import CannotDo
from perennial.monitoring.checkpoint import Checkpoint, UnreadableCheckpointError, decode
from perennial.monitoring.names import Identity

from .content import Content, content
from .page import page


def run(options: Namespace) -> int:
    what = named(options.resource, (DRIFTMONITORS,))
    written = page(report(Reached(options.context, options.namespace), what), datetime.now(UTC))
    write(options.output or f"{what.name}-report.html", written)
    return 0


def report(cluster: Cluster, what: Named) -> Content:
    """What the cluster knows of the monitor: its status, and what it remembers. Raises CannotDo."""
    manifest = cluster.get(what)
    try:
        spec = parse_spec(DriftMonitorSpec, manifest)
    except InvalidSpecError as problem:
        raise CannotDo(f"{what}: {problem}") from None
    status = parse_status(DriftMonitorStatus, manifest)
    stored = cluster.configmap(Identity(cluster.namespace, what.name, "").checkpoint)
    try:
        checkpoint = decode(stored) if stored else Checkpoint()
    except UnreadableCheckpointError as problem:
        raise CannotDo(f"{what}: {problem}; this is kubectl perennial of another release than the operator?") from None
    return content(f"DriftMonitor {cluster.namespace}/{what.name}", spec, status, checkpoint)


def write(path: str, text: str) -> None:
    """Write a file and say so; `-` is standard output. Raises CannotDo."""
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as problem:
        raise CannotDo(f"{path}: {problem.strerror}") from None
    print(f"written: {path}", file=sys.stderr)
