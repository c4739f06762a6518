"""Names, references and addresses that several kinds take, each with its one rule and message."""

from __future__ import annotations

import re
from typing import Annotated

from .model import Matches, Model, Rule, Satisfies

NAME_LIMIT = 40
"""Of a resource of ours: children append a uid, a version and a suffix, and must stay within 63 characters."""
DNS_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"

ResourceName = Annotated[
    str,
    Matches(
        DNS_1035,
        "must be the name of a resource: lower-case letters, digits and '-', starting with a letter",
        NAME_LIMIT,
    ),
]
ObjectName = Annotated[
    str,
    Matches(
        r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?",
        "must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'",
        253,
    ),
]
Identifier = Annotated[
    str,
    Matches(r"[A-Za-z_][A-Za-z0-9_]*", "must be a plain name: letters, digits and '_', not starting with a digit", 63),
]
ImportPath = Annotated[
    str,
    Matches(
        r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+",
        "must be the full import path of an estimator class, such as sklearn.ensemble.HistGradientBoostingClassifier",
        128,
    ),
]
Sha256 = Annotated[str, Matches(r"[0-9a-f]{64}", "must be a SHA-256 digest: 64 hexadecimal digits in lower case", 64)]

_NO_CREDENTIALS = Satisfies(
    Rule(
        "!self.matches(r'^[a-z0-9]+://[^/]*@')",
        "must hold no user or password: put credentials into the Secret of secretRef",
        lambda uri: not re.search("^[a-z0-9]+://[^/]*@", uri),
    )
)

DataUri = Annotated[
    str,
    Matches(
        r"((s3|gs|az|https?|pvc)://[^\s/]+/[^\s]+|configmap://[^\s/]+/[^\s/]+)",
        "must be where the rows are: s3://bucket/path, gs://bucket/path, az://container/path, https://host/path, "
        "pvc://claim/path or configmap://name/key; a path may hold *",
        1024,
    ),
    _NO_CREDENTIALS,
]
StoreUri = Annotated[
    str,
    Matches(
        r"(s3|gs|az|pvc)://[^\s/]+(/[^\s]*)?",
        "must be a place that can be written to: s3://bucket/path, gs://bucket/path, az://container/path or "
        "pvc://claim/path; {namespace} stands for the namespace",
        1024,
    ),
    _NO_CREDENTIALS,
]
ModelUri = Annotated[
    str,
    Matches(
        r"(s3|gs|az|pvc)://[^\s/]+/[^\s]+",
        "must be the folder of a version in a store: s3://bucket/path/v3, gs://…, az://… or pvc://claim/path/v3",
        1024,
    ),
    _NO_CREDENTIALS,
]
HttpUri = Annotated[
    str,
    Matches(
        r"https?://[^\s/?#]+(/[^\s?#]*)?",
        "must be the address of a server: http://host:port or https://host/path, without ? and #",
        1024,
    ),
    _NO_CREDENTIALS,
]


class SecretReference(Model):
    """A Secret in the same namespace. It is mounted into the pod; the operator never reads it."""

    name: ObjectName
    """Name of the Secret. Of a store, its keys are the configuration: aws_access_key_id, aws_secret_access_key,
    aws_region, aws_endpoint, aws_allow_http; google_service_account_key; azure_storage_account_name,
    azure_storage_account_key. Of an MLflow server: mlflow_tracking_token, or mlflow_tracking_username and
    mlflow_tracking_password."""
