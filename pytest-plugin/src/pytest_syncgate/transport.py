"""One kept-alive HTTP/1.1 connection: a request in, a status and a bounded body out.

Made of the standard library, with its classes bound at import: the process belongs to tests that replace
`httpx` transports, `requests` adapters or `http.client` itself while our thread sends, and neither may our
reports (with their token) end up in their recordings, nor may their doubles answer for the gate.

Never follows a redirect, never sends anything without verifying the gate's certificate.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

#: For connecting, and for each wait on the socket.
_TIMEOUT_SECONDS = 15.0
_LONGEST_ANSWER = 1024 * 1024


class TransportError(Exception):
    """No answer came; whether the request was carried out is unknown."""


class CertificateError(TransportError):
    """Whoever answers there cannot prove to be the gate; nothing was sent."""


@dataclass(frozen=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """A connection to one base URL, opened when first needed and again after each failure.

    Not for use by two threads at a time.
    """

    def __init__(self, base_url: str, ca_file: Path | None) -> None:
        """Prepare, without connecting. Raises `OSError` if the CA file cannot be used."""
        self._base = urlsplit(base_url)
        self._tls: ssl.SSLContext | None = None
        if self._base.scheme == "https":
            self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        # Read now: a test may change the environment later.
        self._proxy = proxy_for(self._base)
        self._connection: HTTPConnection | None = None

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a POST request and read its answer; raises `TransportError`."""
        return self.request("POST", path, body, headers)

    def request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send one request and read its answer; raises `TransportError`."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.request(method, self._base.path + path, body=body or None, headers=dict(headers))
            response = self._connection.getresponse()
            content = response.read(_LONGEST_ANSWER + 1)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise CertificateError(
                f"its certificate is not accepted: {error.verify_message} (a private CA goes into SYNCGATE_CA_FILE)"
            ) from error
        except Exception as error:
            self.close()
            # Besides the errors of sockets and of HTTP, whatever a test has put in place of a socket may raise.
            raise TransportError(_describe(error)) from error
        if len(content) > _LONGEST_ANSWER or response.will_close:
            self.close()
        if len(content) > _LONGEST_ANSWER:
            raise TransportError("the answer is longer than 1 MiB")
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)

    def close(self) -> None:
        """Drop the connection; the next request opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> HTTPConnection:
        host, port = self._base.hostname or "", self._base.port
        if self._tls is None:
            return HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
        if self._proxy is None:
            return HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=self._tls)
        proxy = self._proxy
        connection = HTTPSConnection(
            proxy.hostname or "", proxy.port or 80, timeout=_TIMEOUT_SECONDS, context=self._tls
        )
        headers = {}
        if proxy.username is not None:
            user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
            headers["Proxy-Authorization"] = "Basic " + b64encode(user.encode()).decode()
        connection.set_tunnel(host, port or 443, headers)
        return connection


def proxy_for(base: SplitResult) -> SplitResult | None:
    """Find the CONNECT proxy that the environment names for this host; plain HTTP (loopback only) has none."""
    host = base.hostname or ""
    proxy = getproxies().get("https")
    if base.scheme != "https" or not proxy or proxy_bypass(host):
        return None
    return urlsplit(proxy if "://" in proxy else "http://" + proxy)


def _describe(error: Exception) -> str:
    """Say in a few words what went wrong on the wire."""
    if isinstance(error, TimeoutError):
        return f"no answer within {_TIMEOUT_SECONDS:.0f} s"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower() or type(error).__name__
    if isinstance(error, HTTPException):
        return f"the connection was cut or does not speak HTTP ({type(error).__name__})"
    return f"{type(error).__name__}: {error}"
