"""What every provider hands out: a cluster one can talk to, whatever runs it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cluster:
    name: str
    provider: str
    kubeconfig: Path
    kubectl: Path
    helm: Path
