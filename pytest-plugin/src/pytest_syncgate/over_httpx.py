"""The fixture `syncgate_httpx`: an `httpx.Client` whose requests to the gate are signed (see `signing`)."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpcore
import httpx

from .settings import Settings
from .signing import Signer, bare, base_url, tls_context
from .transport import proxy_for

_TIMEOUT_SECONDS = 30.0


def client(settings: Settings, signer: Signer) -> httpx.Client:
    """Make a client; addresses that are not the gate's are reached as with any other client."""
    context = tls_context(settings)
    mounts: dict[str, httpx.BaseTransport | None] = {}
    for origin in signer.origins:
        url = base_url(origin)
        proxy = proxy_for(urlsplit(url))
        transport = httpx.HTTPTransport(verify=context, trust_env=False, proxy=proxy.geturl() if proxy else None)
        _sign(transport._pool, signer)
        mounts[url] = transport
    # Nothing of the environment: a .netrc would be another credential, its proxies are in the mounts.
    return httpx.Client(mounts=mounts, trust_env=False, timeout=_TIMEOUT_SECONDS)


def _sign(pool: httpcore.ConnectionPool, signer: Signer) -> None:
    """Have the pool's connections sign what they send."""
    create = pool.create_connection

    def create_connection(origin: httpcore.Origin) -> httpcore.ConnectionInterface:
        return _Signing(create(origin), origin, signer)

    pool.create_connection = create_connection  # type: ignore[method-assign]


class _Signing(httpcore.ConnectionInterface):
    """A connection that adds the token to each request on its way out."""

    def __init__(self, inner: httpcore.ConnectionInterface, origin: httpcore.Origin, signer: Signer) -> None:
        self._inner = inner
        self._origin = origin
        self._signer = signer

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        __tracebackhide__ = True
        try:
            return self._inner.handle_request(self._signed(request))
        except BaseException as error:
            raise bare(error)  # noqa: B904 (without a cause, on purpose)

    def _signed(self, request: httpcore.Request) -> httpcore.Request:
        if any(name.lower() == b"authorization" for name, _ in request.headers):
            return request  # a test that says by itself who it is
        origin = self._origin
        value = self._signer.authorization(origin.scheme.decode(), origin.host.decode(), origin.port)
        if value is None:
            return request
        headers = [*request.headers, (b"Authorization", value.encode())]
        return httpcore.Request(
            request.method, request.url, headers=headers, content=request.stream, extensions=request.extensions
        )

    def close(self) -> None:
        self._inner.close()

    def info(self) -> str:
        return self._inner.info()

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        return self._inner.can_handle_request(origin)

    def is_available(self) -> bool:
        return self._inner.is_available()

    def has_expired(self) -> bool:
        return self._inner.has_expired()

    def is_idle(self) -> bool:
        return self._inner.is_idle()

    def is_closed(self) -> bool:
        return self._inner.is_closed()
