"""ID tokens of GitHub Actions, asked for with the gate's audience, and again before each expires.

In: the two variables that GitHub sets in a job with `permissions: id-token: write`. Out: a token that is good for
some time yet. The variable's own token goes to that one address, over TLS, and nowhere else. See GitHub's
documentation, "OpenID Connect reference", "Methods for requesting the OIDC token".
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from threading import Lock
from time import time
from urllib.parse import quote, urlsplit

from .credentials import CredentialError, checked
from .transport import Transport, TransportError

#: Asked for again when this much of its life is left, or half of it if it lives shorter; GitHub's live 300 s.
_RENEW_SECONDS = 60.0
#: How long a token is kept that does not say when it ends.
_UNKNOWN_LIFE_SECONDS = 60.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class GitHubToken:
    """The token endpoint of one GitHub Actions job."""

    source = "ID token of GitHub Actions"

    def __init__(self, url: str, request_token: str, audience: str, now: Callable[[], float] = time) -> None:
        """Prepare, without a request. Raises `CredentialError` if the address cannot be meant."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or (parts.scheme != "https" and (parts.scheme, host in _LOOPBACK) != ("http", True)):
            raise CredentialError("ACTIONS_ID_TOKEN_REQUEST_URL is not an https URL")
        self._now = now
        self._request_token = checked(request_token, "environment variable ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        query = f"{parts.query}&" if parts.query else ""
        self._path = f"{parts.path or '/'}?{query}audience={quote(audience, safe='')}"
        self._transport = Transport(f"{parts.scheme}://{parts.netloc}", None)
        self._lock = Lock()
        self._token: str | None = None
        self._renew_at = self._ends_at = 0.0

    def __repr__(self) -> str:
        return "GitHubToken()"

    def token(self) -> str:
        """Return the token, or a new one if it is about to expire; raises `CredentialError`."""
        with self._lock:
            now = self._now()
            if self._token is None or now >= self._renew_at:
                try:
                    self._token = self._ask()
                except CredentialError:
                    if self._token is None or now >= self._ends_at:
                        raise
                else:
                    self._ends_at = _expiry(self._token) or now + _UNKNOWN_LIFE_SECONDS
                    self._renew_at = self._ends_at - min(_RENEW_SECONDS, (self._ends_at - now) / 2)
            return self._token

    def _ask(self) -> str:
        headers = {"Authorization": f"Bearer {self._request_token}", "Accept": "application/json; api-version=2.0"}
        try:
            answer = self._transport.request("GET", self._path, b"", headers)
        except TransportError as error:
            raise CredentialError(f"GitHub's token endpoint cannot be used: {error}") from None
        finally:
            self._transport.close()
        if answer.status != 200:
            raise CredentialError(f"GitHub's token endpoint answers {answer.status}")
        try:
            value = json.loads(answer.body)["value"]
        except (ValueError, KeyError, TypeError):
            value = None
        if not isinstance(value, str):
            raise CredentialError("GitHub's token endpoint answers without a token")
        return checked(value, self.source)


def _expiry(token: str) -> float | None:
    """Read `exp` of a JWT (RFC 7519), unverified: only when to renew depends on it."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return None
