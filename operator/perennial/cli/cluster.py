"""The cluster as a person reaches it: by their kubeconfig, with their own rights.

The official client is imported when a cluster is asked for: it takes longer to import than everything else here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from perennial.kube.plan import Manifest, Resource

from .kubeconfig import choose
from .named import Named
from .problem import CannotDo

AnswerT = TypeVar("AnswerT")

_SECONDS = 30


class Cluster(Protocol):
    """One namespace of a cluster. All methods raise CannotDo with the server's own words."""

    @property
    def namespace(self) -> str: ...

    def get(self, what: Named) -> Manifest: ...

    def all(self, resource: Resource) -> list[Manifest]: ...

    def configmap(self, name: str) -> Manifest | None:
        """None where there is none."""

    def annotate(self, what: Named, annotations: Mapping[str, str]) -> Manifest: ...


class Reached:
    """A cluster of the kubeconfig. `namespace` None is the context's own."""

    def __init__(self, context: str | None, namespace: str | None) -> None:
        import kubernetes

        chosen = choose(context)
        config: Any = kubernetes.config
        try:
            config.load_kube_config(chosen.files, chosen.context)
        # Certificates may be no base64.
        except (config.ConfigException, ValueError) as problem:
            raise CannotDo(f"no cluster: context {chosen.context}: {problem}") from None
        self.namespace = namespace or chosen.namespace
        self._context = chosen.context
        self._objects: Any = kubernetes.client.CustomObjectsApi()
        self._core: Any = kubernetes.client.CoreV1Api()

    def get(self, what: Named) -> Manifest:
        resource = what.resource
        found: Manifest = self._told(
            f"{what} in namespace {self.namespace}",
            lambda: self._objects.get_namespaced_custom_object(
                resource.group, resource.version, self.namespace, resource.plural, what.name, _request_timeout=_SECONDS
            ),
        )
        return found

    def all(self, resource: Resource) -> list[Manifest]:
        listed: Manifest = self._told(
            f"{resource.plural} in namespace {self.namespace}",
            lambda: self._objects.list_namespaced_custom_object(
                resource.group, resource.version, self.namespace, resource.plural, _request_timeout=_SECONDS
            ),
        )
        return list(listed.get("items") or ())

    def configmap(self, name: str) -> Manifest | None:
        import kubernetes

        def read() -> Any:
            try:
                return self._core.read_namespaced_config_map(name, self.namespace, _request_timeout=_SECONDS)
            except kubernetes.client.ApiException as problem:
                if problem.status == 404:
                    return None
                raise

        found = self._told(f"configmap/{name} in namespace {self.namespace}", read)
        return None if found is None else {"metadata": {"name": name}, "binaryData": found.binary_data or {}}

    def annotate(self, what: Named, annotations: Mapping[str, str]) -> Manifest:
        resource = what.resource
        changed: Manifest = self._told(
            f"{what} in namespace {self.namespace}",
            lambda: self._objects.patch_namespaced_custom_object(
                resource.group,
                resource.version,
                self.namespace,
                resource.plural,
                what.name,
                {"metadata": {"annotations": dict(annotations)}},
                _content_type="application/merge-patch+json",
                _request_timeout=_SECONDS,
            ),
        )
        return changed

    def _told(self, what: str, ask: Callable[[], AnswerT]) -> AnswerT:
        """The answer, or what the server said instead."""
        import kubernetes
        from urllib3.exceptions import HTTPError

        from perennial.kube.errors import from_answer

        try:
            return ask()
        except kubernetes.client.ApiException as problem:
            body = problem.body if isinstance(problem.body, bytes) else str(problem.body or problem.reason).encode()
            raise CannotDo(f"{what}: {from_answer(problem.status, body).message}") from None
        except HTTPError as problem:
            server = self._objects.api_client.configuration.host
            raise CannotDo(f"{server} does not answer: {_cause(problem)} (context {self._context})") from None


def _cause(problem: BaseException) -> str:
    """What was first in a chain of errors, in the words of the operating system where it is one of its own."""
    while isinstance(deeper := getattr(problem, "reason", None) or problem.__cause__, BaseException):
        problem = deeper
    return (isinstance(problem, OSError) and problem.strerror) or str(problem)
