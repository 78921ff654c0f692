"""Gives requests of tests their token: a fresh one each, for the gate and the configured hosts, nobody else.

The token is added where a connection sends, below everything that a test, a recorder of HTTP (vcrpy and the like) or a
log can see of a request: it is in no request object, and no redirect carries it along. A connection knows whom it is
connected to, so that is what decides. Errors come up without the frames in which a header could be read.
"""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from .credentials import Credential
from .settings import Settings

#: Scheme, host in lower case, port.
Origin = tuple[str, str, int]
_PORTS = {"http": 80, "https": 443}


class Signer:
    """Knows who may be sent a token."""

    def __init__(self, settings: Settings, credential: Credential) -> None:
        self._credential = credential
        urls = [settings.url, *(url for url in settings.endpoints.values() if url)]
        #: Origins that get a token.
        self.origins = frozenset(_origin(url) for url in urls)

    def authorization(self, scheme: str, host: str, port: int | None) -> str | None:
        """Return the value of the header for a connection, `None` for a stranger's; raises `CredentialError`."""
        origin = (scheme, host.lower().strip("[]"), port or _PORTS.get(scheme, 0))
        return f"Bearer {self._credential.token()}" if origin in self.origins else None


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return what the gate's certificate is checked with: the configured CA file, else the system's."""
    return ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)


def bare(error: BaseException) -> BaseException:
    """Take the frames and the causes off an error; they hold the headers of the request."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def base_url(origin: Origin) -> str:
    """Write an origin as a URL without a path."""
    scheme, host, port = origin
    where = f"[{host}]" if ":" in host else host
    return f"{scheme}://{where}" + ("" if port == _PORTS[scheme] else f":{port}")


def _origin(url: str) -> Origin:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS[parts.scheme]
