"""The role of AWS that this process has, exchanged for tokens of the gate, again before each expires.

In: credentials as botocore finds them (environment, profile, web identity, container, machine). Out: a token that is
good for some time yet. The proof is a signed `sts:GetCallerIdentity`, for this gate and one challenge of it, as
`syncgate token aws` makes it; the gate sends it to AWS, and no secret leaves this process. Refused: a gate that asks
for a proof for another one, which it could hand on to that.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any
from urllib.parse import urlencode, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.session import get_session

from .credentials import CredentialError, checked
from .transport import Answer, Transport, TransportError

#: Asked for again when this much of its life is left, or half of it if it lives shorter.
_RENEW_SECONDS = 60.0
_BODY = "Action=GetCallerIdentity&Version=2011-06-15"
_FORM = "application/x-www-form-urlencoded"
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_PROOF = "urn:syncgate:params:oauth:token-type:aws-sts-proof"
#: The region of the endpoint for all regions, and of endpoints whose name tells none.
_GLOBAL = "us-east-1"


class AwsToken:
    """Tokens of one gate for the role or user of AWS that this process is."""

    source = "AWS role of this environment"

    def __init__(self, url: str, audience: str, ca_file: Path | None, now: Callable[[], float] = monotonic) -> None:
        """Find the credentials; the gate is not asked yet. Raises `CredentialError` if there are none."""
        self._audience = audience.rstrip("/")
        try:
            session = get_session()
            credentials = session.get_credentials()
            self._region: str | None = session.get_config_variable("region")
            self._transport = Transport(url, ca_file)
        except BotoCoreError as error:
            raise CredentialError(f"the credentials of AWS cannot be used: {error}") from None
        except OSError as error:
            raise CredentialError(f"the CA file {ca_file} cannot be used: {error}") from None
        if credentials is None:
            raise CredentialError("there are no credentials of AWS: sign in, or run where a role is attached")
        self._credentials = credentials
        self._now = now
        self._lock = Lock()
        self._token: str | None = None
        self._renew_at = self._ends_at = 0.0

    def __repr__(self) -> str:
        return "AwsToken()"

    def token(self) -> str:
        """Return the token, or a new one if it is about to expire; raises `CredentialError`."""
        with self._lock:
            now = self._now()
            if self._token is None or now >= self._renew_at:
                try:
                    self._token, life = self._exchange()
                except CredentialError:
                    if self._token is None or now >= self._ends_at:
                        raise
                else:
                    self._ends_at = now + life
                    self._renew_at = self._ends_at - min(_RENEW_SECONDS, life / 2)
            return self._token

    def _exchange(self) -> tuple[str, float]:
        try:
            challenge = self._ask("/syncgate/v1/token/challenge", b"", "application/json")
            form = {"grant_type": _GRANT, "subject_token": self._proof(challenge), "subject_token_type": _PROOF}
            answer = self._ask("/syncgate/v1/token", urlencode(form).encode(), _FORM)
        except TransportError as error:
            raise CredentialError(f"the gate's token endpoint cannot be used: {error}") from None
        finally:
            self._transport.close()
        token, life = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not isinstance(life, (int, float)):
            raise CredentialError("the gate's token endpoint answers without a token")
        return checked(token, "token of the gate"), float(life)

    def _ask(self, path: str, body: bytes, form: str) -> dict[str, Any]:
        answer = self._transport.post(path, body, {"Accept": "application/json", "Content-Type": form})
        try:
            told = json.loads(answer.body)
        except ValueError:
            told = None
        if answer.status != 200 or not isinstance(told, dict):
            raise CredentialError(f"the gate gives no token for a role of AWS: {_reason(answer, told)}")
        return told

    def _proof(self, challenge: dict[str, Any]) -> str:
        text, audience, endpoints = (challenge.get(name) for name in ("challenge", "audience", "aws_sts"))
        if not isinstance(text, str) or not isinstance(audience, str):
            raise CredentialError("the gate's token endpoint answers without a challenge")
        if audience.rstrip("/") != self._audience:
            raise CredentialError(
                f"the gate calls itself {audience!r}, not {self._audience!r}: set SYNCGATE_URL to that, or, if you "
                "know that both are one gate, SYNCGATE_AUDIENCE"
            )
        if not isinstance(endpoints, list) or not endpoints:
            raise CredentialError("the gate takes no identities of AWS: its configuration has no [aws]")
        regions = {str(url): _region(str(url)) for url in endpoints}
        near = [url for url, region in regions.items() if region and region == self._region]
        url = (near or list(regions))[0]
        return self._signed(url, regions[url] or self._region or _GLOBAL, audience, text)

    def _signed(self, url: str, region: str, audience: str, challenge: str) -> str:
        headers = {"Content-Type": _FORM, "x-syncgate-audience": audience, "x-syncgate-challenge": challenge}
        url = url.rstrip("/") + "/"
        request = AWSRequest("POST", url, data=_BODY, headers=headers)
        try:
            SigV4Auth(self._credentials.get_frozen_credentials(), "sts", region).add_auth(request)
        except BotoCoreError as error:
            raise CredentialError(f"the credentials of AWS cannot be used: {error}") from None
        # botocore signs the host and leaves it to its HTTP library to send.
        sent = {**dict(request.headers.items()), "Host": urlsplit(url).netloc}
        proof = json.dumps({"url": url, "body": _BODY, "headers": sent})
        return urlsafe_b64encode(proof.encode()).decode().rstrip("=")


def _reason(answer: Answer, told: object) -> str:
    """Say why, in the gate's words (RFC 6749 section 5.2, RFC 9457) where there are any."""
    said = told if isinstance(told, dict) else {}
    words = said.get("error_description") or said.get("detail") or f"it answers {answer.status}"
    return "".join(char for char in str(words) if char.isprintable())


def _region(url: str) -> str | None:
    """Tell the region of an endpoint by its name: `sts.REGION.amazonaws.com`, also behind that of a VPC endpoint."""
    labels = (urlsplit(url).hostname or "").split(".")
    for service, region in pairwise(labels):
        if service in ("sts", "sts-fips"):
            if region == "amazonaws":
                return _GLOBAL
            return region if "-" in region else None
    return None
