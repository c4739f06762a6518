"""The cluster as a person reaches it: by their kubeconfig, with their own rights.

The official client is imported when a cluster is asked for: it takes longer to import than everything else here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from perennial.kube.plan import Manifest, Resource

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

        config: Any = kubernetes.config
        try:
            # KUBECONFIG and ~/.kube/config, as kubectl reads them.
            config.load_kube_config(context=context)
            contexts, active = config.list_kube_config_contexts()
        except config.ConfigException as problem:
            raise CannotDo(f"no cluster: {problem}; set KUBECONFIG, or give --context") from None
        chosen = next((each for each in contexts if each["name"] == context), active)
        self.namespace = namespace or chosen["context"].get("namespace") or "default"
        self._objects: Any = kubernetes.client.CustomObjectsApi()
        self._core: Any = kubernetes.client.CoreV1Api()

    def get(self, what: Named) -> Manifest:
        resource = what.resource
        found: Manifest = _told(
            f"{what} in namespace {self.namespace}",
            lambda: self._objects.get_namespaced_custom_object(
                resource.group, resource.version, self.namespace, resource.plural, what.name, _request_timeout=_SECONDS
            ),
        )
        return found

    def all(self, resource: Resource) -> list[Manifest]:
        listed: Manifest = _told(
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

        found = _told(f"configmap/{name} in namespace {self.namespace}", read)
        return None if found is None else {"metadata": {"name": name}, "binaryData": found.binary_data or {}}

    def annotate(self, what: Named, annotations: Mapping[str, str]) -> Manifest:
        resource = what.resource
        changed: Manifest = _told(
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


def _told(what: str, ask: Callable[[], AnswerT]) -> AnswerT:
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
        raise CannotDo(f"{what}: the API server does not answer: {problem}") from None
