"""ID tokens: real ones by the authorization code flow, and forged ones that must be refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from . import browser


@dataclass(frozen=True)
class Provider:
    """The OpenID provider: where it is, and its clients."""

    issuer: str
    clients: dict[str, str]

    def id_token(self, login: str, *, client: str = "cli", seconds: int | None = None) -> str:
        """Signs `login` in by authorization code and PKCE, as the CLI does, and gives the ID token."""
        verifier = secrets.token_urlsafe(48)
        redirect = "http://localhost:1/auth/callback" if client == "cli" else "http://localhost:1/callback"
        question = {
            "client_id": self.clients[client],
            "response_type": "code",
            "scope": "openid profile email groups",
            "redirect_uri": redirect,
            "state": secrets.token_urlsafe(8),
            "code_challenge": _base64(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        back = browser.sign_in(f"{self.issuer}/auth?{urlencode(question)}", login)
        answer = parse_qs(urlsplit(back).query)
        assert "code" in answer, back
        with self.id_tokens_good_for(seconds):
            response = httpx.post(
                f"{self.issuer}/token",
                data={
                    "grant_type": "authorization_code",
                    "client_id": self.clients[client],
                    "code": answer["code"][0],
                    "code_verifier": verifier,
                    "redirect_uri": redirect,
                },
                trust_env=False,
            )
        assert response.status_code == 200, response.text
        return str(response.json()["id_token"])

    def id_tokens_good_for(self, seconds: int | None) -> _Lifetime:
        """While the context lasts, ID tokens are good for so long; `None` changes nothing."""
        return _Lifetime(self.issuer, seconds)

    def public_key(self) -> tuple[str, rsa.RSAPublicKey]:
        """Id and value of the key that signs."""
        keys = httpx.get(f"{self.issuer}/jwks", trust_env=False).json()["keys"]
        key = jwt.PyJWK(keys[0])
        assert isinstance(key.key, rsa.RSAPublicKey)
        return str(keys[0]["kid"]), key.key


class _Lifetime:
    USUAL = 3600

    def __init__(self, issuer: str, seconds: int | None) -> None:
        self._url = f"{issuer}/test/id-token-seconds"
        self._seconds = seconds

    def _set(self, seconds: int) -> None:
        httpx.put(self._url, content=str(seconds), trust_env=False).raise_for_status()

    def __enter__(self) -> None:
        if self._seconds is not None:
            self._set(self._seconds)

    def __exit__(self, *_: object) -> None:
        if self._seconds is not None:
            self._set(self.USUAL)


def claims_of(token: str) -> dict[str, object]:
    """What a token says, unverified."""
    return dict(jwt.decode(token, options={"verify_signature": False}))


def header_of(token: str) -> dict[str, object]:
    return dict(jwt.get_unverified_header(token))


def unsigned(token: str) -> str:
    """The same claims with `alg` none."""
    return f"{_part({**header_of(token), 'alg': 'none'})}.{token.split('.')[1]}."


def signed_with_the_public_key(token: str, provider: Provider) -> str:
    """The same claims with HS256, the provider's public key being the secret."""
    _, key = provider.public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = f"{_part({**header_of(token), 'alg': 'HS256'})}.{token.split('.')[1]}"
    return f"{text}.{_base64(hmac.new(pem, text.encode(), hashlib.sha256).digest())}"


def signed_by_somebody_else(token: str) -> str:
    """The same claims and key id, signed by a key that is not the provider's."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims_of(token), key, algorithm="RS256", headers={"kid": header_of(token)["kid"]})


def signed_by_the_cluster(rig: dict[str, Any], token: str, **claims: object) -> str:
    """A service-account token with other claims, signed by the key of the API server as it would have been."""
    [key] = Path(rig["dir"]).rglob("service-account.key")
    kid = header_of(token)["kid"]
    return jwt.encode({**claims_of(token), **claims}, key.read_bytes(), algorithm="RS256", headers={"kid": kid})


def with_a_changed_claim(token: str, name: str, value: object) -> str:
    """The provider's signature, under other claims."""
    head, _, signature = token.split(".")
    return f"{head}.{_part({**claims_of(token), name: value})}.{signature}"


def _part(value: dict[str, object]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
