"""Where the API server has the three kinds, and what people may type for them."""

from __future__ import annotations

from perennial.kube.plan import Resource

GROUP = "perennial.dev"
VERSION = "v1alpha1"
CATEGORY = "perennial"

TRAININGJOBS = Resource(GROUP, VERSION, "trainingjobs", "TrainingJob")
MODELDEPLOYMENTS = Resource(GROUP, VERSION, "modeldeployments", "ModelDeployment")
DRIFTMONITORS = Resource(GROUP, VERSION, "driftmonitors", "DriftMonitor")

SHORT_NAMES = {TRAININGJOBS: "tj", MODELDEPLOYMENTS: "md", DRIFTMONITORS: "dm"}
