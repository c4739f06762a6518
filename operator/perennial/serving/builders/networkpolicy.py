"""The NetworkPolicy: everybody may ask for predictions, only the operator, its Jobs that join labels and whom the user
names reach the control port.

Labels decide what the loop does next: who can send them can make a model look harmful.
"""

from __future__ import annotations

from perennial.api.labels import JOINER, MANAGED_BY, ROLE
from perennial.api.modeldeployment import ModelDeploymentSpec
from perennial.kube.plan import Child, Manifest
from perennial.kube.resources import NETWORKPOLICIES
from perennial.serving.names import Identity
from perennial.settings import Settings
from perennial.wire import places

_JOINER = MANAGED_BY | {ROLE: JOINER}


def network_policy(spec: ModelDeploymentSpec, identity: Identity, settings: Settings) -> Child:
    operator: Manifest = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.operator_namespace}},
        "podSelector": {"matchLabels": dict(settings.operator_pod_labels)},
    }
    # Pods of the deployment: one that ends gives another what it remembers.
    ours: list[Manifest] = [{"podSelector": {"matchLabels": labels}} for labels in (identity.selector, _JOINER)]
    named = [peer.model_dump(mode="json", by_alias=True, exclude_defaults=True) for peer in spec.feedback.peers]
    policy: Manifest = {
        "podSelector": {"matchLabels": identity.selector},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": [{"port": port, "protocol": "TCP"} for port in (places.INFERENCE_PORT, places.GRPC_PORT)]},
            {"ports": [{"port": places.CONTROL_PORT, "protocol": "TCP"}], "from": [operator, *ours, *named]},
        ],
    }
    return Child(NETWORKPOLICIES, identity.child(NETWORKPOLICIES, identity.name, spec=policy))
