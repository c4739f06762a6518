"""How to reach the API server: the official client's configuration, certificates, token refresh and HTTP session.

Only those: its models decode ten times slower than plain JSON, and its `call_api` cuts watches and hides errors. The
session is made by a private method, for which the client is pinned to one version.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

# It ships no type information.
_config: Any = config


class NoCluster(Exception):
    """There is neither a kubeconfig nor a service account to connect with. The text says what was tried."""


class Connection:
    """An API server and the credentials for it. The session is opened at first use."""

    def __init__(self, configuration: Any) -> None:
        # The queue's workers bound what runs at once, and each watch needs a connection of its own.
        configuration.connection_pool_maxsize = 0
        # With it, aiohttp reads ~/.netrc for every request, in a thread. Only a proxy is taken from the environment.
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.proxy = configuration.proxy or _proxy_for(configuration.host)
        self.configuration = configuration
        self._transport = RESTClientObject(configuration)

    @classmethod
    async def open(cls, kubeconfig: str | None = None) -> Connection:
        """By `kubeconfig`, else by KUBECONFIG, else as a pod, else by ~/.kube/config. Raises NoCluster."""
        # Instances share a process-wide default unless they are made behind its metaclass.
        configuration = type.__call__(Configuration)
        path = kubeconfig or os.environ.get("KUBECONFIG")
        if path:
            await _config.load_kube_config(config_file=path, client_configuration=configuration)
            return cls(configuration)
        try:
            _config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException as not_a_pod:
            try:
                await _config.load_kube_config(client_configuration=configuration)
            except config.ConfigException as no_file:
                raise NoCluster(f"not a pod ({not_a_pod}) and no kubeconfig ({no_file}): set KUBECONFIG") from None
        return cls(configuration)

    @property
    def host(self) -> str:
        return str(self.configuration.host)

    async def authorization(self) -> str | None:
        """The Authorization header. Re-reads a pod's token by the minute, and asks credential plugins."""
        value: str | None = await self.configuration.get_api_key_with_prefix("BearerToken")
        return value

    async def request(
        self, method: str, url: str, *, headers: dict[str, str], data: bytes | None, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """One request. Raises what aiohttp raises."""
        session = self._session()
        if authorization := await self.authorization():
            headers["Authorization"] = authorization
        arguments: dict[str, Any] = {}
        if self.configuration.tls_server_name:
            arguments["server_hostname"] = self.configuration.tls_server_name
        if self.configuration.proxy:
            arguments["proxy"] = self.configuration.proxy
        if self.configuration.proxy_headers:
            arguments["proxy_headers"] = self.configuration.proxy_headers
        return await session.request(method, url, headers=headers, data=data, timeout=limits, **arguments)

    async def close(self) -> None:
        await self._transport.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._transport.pool_manager is None:
            self._transport.pool_manager = self._transport._create_pool_manager()
        session: aiohttp.ClientSession = self._transport.pool_manager
        return session


def _proxy_for(host: str) -> str | None:
    address = urlsplit(host)
    return None if proxy_bypass(address.netloc) else getproxies().get(address.scheme)
