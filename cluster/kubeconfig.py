"""Kubeconfig files: merged into and cut out of a user's file as kind does it, and the shell's view of a cluster."""

import shlex
from pathlib import Path
from typing import Any

import yaml

from cluster.cluster import Cluster

LISTS = ("clusters", "users", "contexts")


def merge(target: Path, addition: dict[str, Any]) -> None:
    """Adds a cluster's entries to a file and makes its context the current one."""
    config = _read(target)
    for key in LISTS:
        names = {entry["name"] for entry in addition[key]}
        config[key] = [entry for entry in config.get(key) or [] if entry["name"] not in names] + addition[key]
    config["current-context"] = addition["current-context"]
    _write(target, config)


def cut(target: Path, context: str) -> None:
    """Removes a cluster's entries from a file, if they are there."""
    if not target.exists():
        return
    config = _read(target)
    if not any(entry["name"] == context for key in LISTS for entry in config.get(key) or []):
        return
    for key in LISTS:
        config[key] = [entry for entry in config.get(key) or [] if entry["name"] != context]
    if config.get("current-context") == context:
        config["current-context"] = ""
    _write(target, config)


def exports(cluster: Cluster) -> str:
    tools = sorted({str(cluster.kubectl.parent), str(cluster.helm.parent)})
    path = ":".join([*tools, "$PATH"])
    return f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}\nexport PATH={path}"


def _read(path: Path) -> dict[str, Any]:
    config = yaml.safe_load(path.read_text()) if path.exists() else None
    return config or {"apiVersion": "v1", "kind": "Config", "preferences": {}}


def _write(path: Path, config: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
