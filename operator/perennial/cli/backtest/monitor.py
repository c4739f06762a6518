"""Whose policy is replayed: a DriftMonitor of the cluster, or of a file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.api.modeldeployment_status import PreviousVersion
from perennial.api.resources import DRIFTMONITORS, GROUP, MODELDEPLOYMENTS
from perennial.api.validation import InvalidSpecError, parse_spec, text_at, unknown_fields
from perennial.cli.cluster import Cluster
from perennial.cli.named import KINDS, Named
from perennial.cli.problem import CannotDo
from perennial.kube.plan import Manifest
from perennial.monitoring.checkpoint import UnreadableCheckpointError, decode
from perennial.monitoring.names import Identity
from perennial.wire.reference import Reference


@dataclass(frozen=True)
class Monitor:
    """`training_job` is who would be asked for a retrain. `reference` and `version` are those of the model that the
    monitor judges now, where the cluster has them. `previous` is the version before, where it is known what that says
    to the rows."""

    identity: Identity
    spec: DriftMonitorSpec
    training_job: str
    reference: Reference | None = None
    version: int | None = None
    previous: PreviousVersion | None = None


def from_file(path: str, name: str | None) -> Monitor:
    """The DriftMonitor in a YAML file, `-` for standard input. `name` is needed where there are several.

    Raises CannotDo.
    """
    documents = _documents(path)
    for document in documents:
        _refuse_another_type(document, path)
    monitors = [each for each in documents if each.get("kind") == DRIFTMONITORS.kind]
    names = [str(text_at(monitor, "metadata", "name")) for monitor in monitors]
    if name is None and len(monitors) > 1:
        raise CannotDo(f"{path} has several DriftMonitors: say which, as dm/{names[0]} or dm/{names[1]}")
    chosen = next((each for each, found in zip(monitors, names, strict=True) if name in (None, found)), None)
    if chosen is None:
        there = f"; there is {', '.join(names)}" if names else ""
        raise CannotDo(f"{path} has no DriftMonitor{f' {name}' if name else ''}{there}")
    spec = _spec(chosen, path)
    if unknown := unknown_fields(spec, chosen.get("spec") or {}, "spec"):
        # kubectl refuses them too: another policy would be tried than the one that is meant.
        raise CannotDo(f"{path}: there is no field {', '.join(unknown)}")
    deployments = [
        each
        for each in documents
        if each.get("kind") == MODELDEPLOYMENTS.kind and text_at(each, "metadata", "name") == spec.deployment
    ]
    training = next((found for each in deployments if (found := text_at(each, "spec", "model", "trainingJob"))), None)
    return Monitor(_identity(chosen, "default"), spec, training or spec.deployment)


def from_cluster(cluster: Cluster, what: Named) -> Monitor:
    """The DriftMonitor as it is in the cluster. Raises CannotDo."""
    manifest = cluster.get(what)
    spec = _spec(manifest, str(what))
    identity = _identity(manifest, cluster.namespace)
    training = text_at(manifest, "status", "trainingJob") or spec.deployment
    stored = cluster.configmap(identity.checkpoint)
    if stored is None:
        return Monitor(identity, spec, training)
    try:
        checkpoint = decode(stored)
    except UnreadableCheckpointError as problem:
        raise CannotDo(f"{what}: {problem}; give --reference instead") from None
    version = checkpoint.model.version if checkpoint.model else None
    return Monitor(identity, spec, training, checkpoint.reference, version)


def _documents(path: str) -> list[Manifest]:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        found: list[Any] = list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError) as problem:
        raise CannotDo(f"-f {path}: {getattr(problem, 'strerror', None) or problem}") from None
    except yaml.YAMLError as problem:
        raise CannotDo(f"-f {path}: not YAML: {problem}") from None
    documents: list[Manifest] = []
    for each in found:
        documents += each.get("items") or [each] if isinstance(each, dict) else []
    return documents


def _refuse_another_type(document: Manifest, path: str) -> None:
    """What kubectl refuses: of our group another version or kind, or a DriftMonitor of another one."""
    version, kind = str(document.get("apiVersion")), str(document.get("kind"))
    if version.partition("/")[0] != GROUP and kind != DRIFTMONITORS.kind:
        return
    if version != DRIFTMONITORS.api_version:
        raise CannotDo(f"-f {path}: apiVersion must be {DRIFTMONITORS.api_version}, and is {version}")
    if kind not in {resource.kind for resource in KINDS}:
        raise CannotDo(f"-f {path}: kind must be {DRIFTMONITORS.kind}, and is {kind}")


def _spec(manifest: Manifest, where: str) -> DriftMonitorSpec:
    try:
        return parse_spec(DriftMonitorSpec, manifest)
    except InvalidSpecError as problem:
        raise CannotDo(f"{where}: {problem}") from None


def _identity(manifest: Manifest, namespace: str) -> Identity:
    name = text_at(manifest, "metadata", "name") or "monitor"
    uid = text_at(manifest, "metadata", "uid") or "backtest"
    return Identity(text_at(manifest, "metadata", "namespace") or namespace, name, uid)
