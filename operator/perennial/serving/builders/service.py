"""The Service: requests on a port for each protocol, labels on another, to the ready pods of all revisions.

The ports of the pods are meant by name: a revision that was rendered before there was one for gRPC gets no requests of
that kind, and goes on with the others.
"""

from __future__ import annotations

from perennial.kube.plan import Child
from perennial.kube.resources import SERVICES
from perennial.serving.names import Identity
from perennial.wire import places


def service(identity: Identity) -> Child:
    ports = [
        {"name": "http", "port": places.INFERENCE_PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"},
        {
            "name": "grpc",
            "port": places.GRPC_PORT,
            "targetPort": "grpc",
            "protocol": "TCP",
            "appProtocol": "kubernetes.io/h2c",
        },
        {"name": "control", "port": places.CONTROL_PORT, "targetPort": "control", "protocol": "TCP"},
    ]
    spec = {"type": "ClusterIP", "selector": identity.selector, "ports": ports}
    return Child(SERVICES, identity.child(SERVICES, identity.name, spec=spec))
