"""Where things are inside a pod that the operator makes, and how a URI maps to a mount.

The operator mounts by these rules and the runtime resolves by them, so that a `pvc://` or `configmap://` URI means
the same file on both sides.
"""

from __future__ import annotations

from urllib.parse import urlsplit

RUN_ENV = "PERENNIAL_RUN"
SERVE_ENV = "PERENNIAL_SERVE"
POD_NAME_ENV = "PERENNIAL_POD"
OUTPUT_ENV = "PERENNIAL_OUTPUT"
DATA_ENV = "PERENNIAL_DATA"
CHECKPOINT_ENV = "PERENNIAL_CHECKPOINT"
MODEL_ENV = "PERENNIAL_MODEL"
MODEL_NAME_ENV = "PERENNIAL_MODEL_NAME"
MODEL_VERSION_ENV = "PERENNIAL_MODEL_VERSION"
PORT_ENV = "PERENNIAL_PORT"

INFERENCE_PORT = 8080
CONTROL_PORT = 8081
GRPC_PORT = 9000
"""Where KServe has its own runtimes of this protocol (Triton, MLServer) listen for gRPC; 8081 is taken."""

PVC_ROOT = "/perennial/pvc"
CONFIGMAP_ROOT = "/perennial/configmap"
DATA_SECRET = "/perennial/secrets/data"
STORE_SECRET = "/perennial/secrets/store"
TRACKING_SECRET = "/perennial/secrets/tracking"
OUTPUT = "/perennial/output"
CHECKPOINT = "/perennial/checkpoint"
MODEL = "/perennial/model"
COUNTS = "/perennial/counts"
SCRATCH = "/tmp"

DEFAULT_CLAIM = "perennial-models"


def claim_of(uri: str) -> str | None:
    """The PersistentVolumeClaim that a `pvc://claim/path` URI names, None for any other scheme."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme == "pvc" else None


def configmap_of(uri: str) -> str | None:
    """The ConfigMap that a `configmap://name/key` URI names, None for any other scheme."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme == "configmap" else None


def checkpoint_of(uri: str) -> str | None:
    """Where on its claim an own container keeps what it may go on from, beside the version of this `pvc://` URI; None
    where versions are in no file system. The version's folder comes into being whole, so that it can hold nothing."""
    parts = urlsplit(uri)
    if parts.scheme != "pvc":
        return None
    parent, _, version = parts.path.strip("/").rpartition("/")
    return f"{parent}/.{version}.checkpoint"


def mounted_path(uri: str) -> str | None:
    """The path in the pod of a `pvc://` or `configmap://` URI, None where the URI is read over the network."""
    parts = urlsplit(uri)
    root = {"pvc": PVC_ROOT, "configmap": CONFIGMAP_ROOT}.get(parts.scheme)
    return f"{root}/{parts.netloc}{parts.path}" if root else None
