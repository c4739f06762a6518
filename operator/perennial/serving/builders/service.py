"""The Service: requests on one port, labels on the other, to the ready pods of all revisions."""

from __future__ import annotations

from perennial.kube.plan import Child
from perennial.kube.resources import SERVICES
from perennial.serving.names import Identity
from perennial.wire import places


def service(identity: Identity) -> Child:
    ports = [
        {"name": "http", "port": places.INFERENCE_PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"},
        {"name": "control", "port": places.CONTROL_PORT, "targetPort": "control", "protocol": "TCP"},
    ]
    spec = {"type": "ClusterIP", "selector": identity.selector, "ports": ports}
    return Child(SERVICES, identity.child(SERVICES, identity.name, spec=spec))
