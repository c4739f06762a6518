"""The PodDisruptionBudget: drains take one serving pod at a time.

By `maxUnavailable` and not `minAvailable`: the latter would let a deployment of one replica block the drain of its node
for ever. Pods that are not ready may always be evicted: they serve nobody.
"""

from __future__ import annotations

from perennial.kube.plan import Child
from perennial.kube.resources import PODDISRUPTIONBUDGETS
from perennial.serving.names import Identity


def disruption_budget(identity: Identity) -> Child:
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": identity.selector},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return Child(PODDISRUPTIONBUDGETS, identity.child(PODDISRUPTIONBUDGETS, identity.name, spec=spec))
