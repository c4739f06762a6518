"""Reads objects without a process for each look.

Tests look at a cluster twice a second, side by side, and kubectl takes a tenth of a processor's second each time. What
a person would see is asked of kubectl itself; this is for waiting.
"""

from pathlib import Path
from typing import Any

import requests
from pykube import HTTPClient, KubeConfig

from cluster.errors import ClusterError


class Reader:
    """One cluster's API, read by the names that kubectl takes: plural, singular or short."""

    def __init__(self, kubeconfig: Path) -> None:
        self._http = HTTPClient(KubeConfig.from_file(str(kubeconfig)))
        self._places: dict[str, tuple[str, str]] = {}

    def get(self, kind: str, name: str = "", namespace: str = "", selector: str = "") -> Any:
        """The object, or without a name the list.

        Raises:
            ClusterError: when the API server does not answer, or says no.
        """
        version, plural = self._place(kind)
        params = {"labelSelector": selector} if selector else {}
        return self._ask(version, namespace, f"{plural}/{name}" if name else plural, params)

    def _place(self, kind: str) -> tuple[str, str]:
        if kind not in self._places:
            self._discover()  # again for a kind that was defined since
        if kind not in self._places:
            raise ClusterError(f"the cluster has no kind {kind}")
        return self._places[kind]

    def _discover(self) -> None:
        groups = self._ask("/apis")["groups"]
        for version in ("v1", *(group["preferredVersion"]["groupVersion"] for group in groups)):
            for resource in self._ask(version)["resources"]:
                if "/" in resource["name"]:
                    continue
                for word in (resource["name"], resource["singularName"], *resource.get("shortNames", [])):
                    self._places.setdefault(word, (version, resource["name"]))

    def _ask(self, version: str, namespace: str = "", path: str = "", params: dict[str, str] | None = None) -> Any:
        try:
            answer = self._http.get(version=version, namespace=namespace or None, url=path, params=params, timeout=30)
        except requests.RequestException as problem:
            raise ClusterError(f"{path or version}: {problem}") from problem
        if not answer.ok:
            raise ClusterError(f"{path or version}: {answer.json().get('message', answer.reason)}")
        return answer.json()
