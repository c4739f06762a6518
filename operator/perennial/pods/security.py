"""The security context of every pod that the operator makes: it meets the `restricted` Pod Security Standard.

A user's own container gets the same where it says nothing, so that a namespace labelled `enforce=restricted` takes
it as it is; what it does say is kept, and the API server judges it.
"""

from __future__ import annotations

from perennial.kube.plan import Manifest

NON_ROOT = 65532
"""The user and group of the project's images ("nonroot" of the distroless images)."""


def pod_security_context(said: Manifest | None = None) -> Manifest:
    """A pod's securityContext, with what the user said on top."""
    defaults: Manifest = {
        "runAsNonRoot": True,
        "runAsUser": NON_ROOT,
        "runAsGroup": NON_ROOT,
        "fsGroup": NON_ROOT,
        # A model store can hold many files: walking them all at every start is the default and takes minutes.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return defaults | (said or {})


def container_security_context(said: Manifest | None = None) -> Manifest:
    """A container's securityContext, with what the user said on top."""
    defaults: Manifest = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    return defaults | (said or {})


def restricted(container: Manifest) -> Manifest:
    """The container with a restricted security context where it says nothing, and a log tail as its last word.

    FallbackToLogsOnError: a container that dies without a termination message leaves its last log lines in its
    status, which is all that can be told of it once the pod is gone.
    """
    hardened = {"terminationMessagePolicy": "FallbackToLogsOnError"} | container
    return hardened | {"securityContext": container_security_context(container.get("securityContext"))}
