"""The fixture `syncgate_requests`: a `requests.Session` whose requests to the gate are signed (see `signing`)."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager

from .settings import Settings
from .signing import Signer, bare, base_url, tls_context


def session(settings: Settings, signer: Signer) -> requests.Session:
    """Make a session; addresses that are not the gate's are reached as with any other session."""
    made = requests.Session()
    made.auth = _keep  # else requests would look for another credential in a .netrc
    adapter = _Adapter(settings, signer)
    for origin in signer.origins:
        made.mount(base_url(origin), adapter)
    return made


def _keep(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _Adapter(HTTPAdapter):
    """Signs, and checks certificates against the configured CAs whatever a call or the environment says."""

    def __init__(self, settings: Settings, signer: Signer) -> None:
        self._context = tls_context(settings)
        self._pools = _pool_classes(signer)
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **options)
        self._install(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, ssl_context=self._context, **options)
        self._install(manager)
        return manager

    def _install(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = self._pools

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Leave the CAs to the context."""
        del verify
        return super().build_connection_pool_key_attributes(request, True, cert)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the CAs to the context; requests would add those of certifi."""


def _pool_classes(signer: Signer) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools with connections of our own, which recorders do not replace."""

    class Plain(HTTPConnection):
        def request(self, method: Any, url: Any, body: Any = None, headers: Any = None, **options: Any) -> None:
            __tracebackhide__ = True
            try:
                super().request(method, url, body, _signed(signer, "http", self, headers), **options)
            except BaseException as error:
                raise bare(error)  # noqa: B904 (without a cause, on purpose)

    class Encrypted(HTTPSConnection):
        def request(self, method: Any, url: Any, body: Any = None, headers: Any = None, **options: Any) -> None:
            __tracebackhide__ = True
            try:
                super().request(method, url, body, _signed(signer, "https", self, headers), **options)
            except BaseException as error:
                raise bare(error)  # noqa: B904 (without a cause, on purpose)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _signed(signer: Signer, scheme: str, connection: HTTPConnection, headers: Any) -> Any:
    """Add the token; through a proxy it is the far end of the tunnel that counts."""
    if any(name.lower() == "authorization" for name in headers or ()):
        return headers  # a test that says by itself who it is
    tunnel = getattr(connection, "_tunnel_host", None)
    host, port = (tunnel, connection._tunnel_port) if tunnel else (connection.host, connection.port)
    value = signer.authorization(scheme, host, port)
    return headers if value is None else {**(headers or {}), "Authorization": value}
