"""The labels of everything that the operator makes: people select by them, and the three rooms know by them what one
another made.
"""

from __future__ import annotations

MANAGED_BY = {"app.kubernetes.io/managed-by": "perennial"}
ROLE = "app.kubernetes.io/name"

TRAININGJOB = "perennial.dev/trainingjob"
MODELDEPLOYMENT = "perennial.dev/modeldeployment"
DRIFTMONITOR = "perennial.dev/driftmonitor"
"""Each holds the name of the resource that something is of."""

JOINER = "labels"
"""The role of pods that join labels: they are let in to the server pods of their namespace."""

REVISION = "perennial.dev/revision"
"""Of what a ModelDeployment serves: which of its revisions."""
