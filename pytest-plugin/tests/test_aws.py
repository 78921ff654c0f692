"""Roles of AWS, over real HTTP: what is signed and for whom, and that tokens are renewed before they end."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
from gate import Gate

from pytest_syncgate.aws import AwsToken, _region
from pytest_syncgate.credentials import CredentialError

KEY, SECRET, SESSION = "ASIAIOSFODNN7EXAMPLE", "secret-of-the-role", "FwoGZXIvYXdzEJr//w=="
STS = "https://sts.eu-central-1.amazonaws.com/"


class TokenEndpoint:
    """The token endpoint of a gate: gives a token for each proof whose signature holds."""

    def __init__(self, url: str) -> None:
        self.challenge: dict[str, Any] = {"expires_in": 120, "aws_sts": ["https://sts.amazonaws.com/", STS]}
        self.life = 900
        self.refusal: dict[str, str] | None = None
        self.proofs: list[dict[str, Any]] = []
        self.given: list[str] = []
        self.challenge["audience"] = url
        self.url = url

    def answer(self, path: str, body: str) -> tuple[int, dict[str, Any]]:
        if path == "/syncgate/v1/token/challenge":
            return 200, {**self.challenge, "challenge": f"challenge-{len(self.given)}"}
        if self.refusal is not None:
            return 400, self.refusal
        form = parse_qs(body, strict_parsing=True)
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:token-exchange"]
        assert form["subject_token_type"] == ["urn:syncgate:params:oauth:token-type:aws-sts-proof"]
        (proof,) = form["subject_token"]
        self.proofs.append(json.loads(base64.urlsafe_b64decode(proof + "=" * (-len(proof) % 4))))
        self.given.append(f"header.claims-{len(self.given)}.signature")
        return 200, {"access_token": self.given[-1], "token_type": "Bearer", "expires_in": self.life}


@pytest.fixture
def endpoint(gate: Gate) -> TokenEndpoint:
    endpoint = TokenEndpoint(gate.url)
    gate.token_endpoint = endpoint.answer
    return endpoint


@pytest.fixture(autouse=True)
def role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/there/is/none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/there/is/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def signature(proof: dict[str, Any]) -> str:
    """Sign the headers of a proof anew (Signature Version 4), without the library that made it."""
    headers = {name.lower(): value for name, value in proof["headers"].items() if name != "Authorization"}
    date = headers["x-amz-date"]
    scope = f"{date[:8]}/eu-central-1/sts/aws4_request"
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    names = ";".join(sorted(headers))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(proof['body'].encode()).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={key.hex()}"


def test_the_proof_is_signed_whole_for_this_gate_and_its_challenge(endpoint: TokenEndpoint) -> None:
    credential = AwsToken(endpoint.url, endpoint.url, None)
    assert credential.token() == endpoint.given[0]
    (proof,) = endpoint.proofs
    assert set(proof) == {"url", "body", "headers"}
    assert (proof["url"], proof["body"]) == (STS, "Action=GetCallerIdentity&Version=2011-06-15")
    headers = proof["headers"]
    assert headers["Host"] == "sts.eu-central-1.amazonaws.com"
    assert headers["x-syncgate-audience"] == endpoint.url
    assert headers["x-syncgate-challenge"] == "challenge-0"
    assert headers["X-Amz-Security-Token"] == SESSION
    assert headers["Authorization"] == signature(proof)
    # The list of the gate, and nothing beside it.
    of_gate = {"authorization", "content-type", "host", "x-amz-date", "x-amz-security-token"}
    assert {name.lower() for name in headers} == of_gate | {"x-syncgate-audience", "x-syncgate-challenge"}
    assert SECRET not in json.dumps(proof) + repr(credential)


def test_renewal_by_the_clock(endpoint: TokenEndpoint) -> None:
    now = [1000.0]
    credential = AwsToken(endpoint.url, endpoint.url, None, now=lambda: now[0])
    for at, which in [(1000.0, 0), (1839.0, 0), (1840.0, 1), (2679.0, 1), (2680.0, 2)]:
        now[0] = at
        assert credential.token() == f"header.claims-{which}.signature", at
    # A gate that is away is no reason to drop a token that is good for some time yet.
    endpoint.refusal = {"error": "temporarily_unavailable", "error_description": "try again in a minute"}
    now[0] = 3579.0
    assert credential.token() == endpoint.given[2]
    now[0] = 3580.0
    with pytest.raises(CredentialError, match="try again in a minute"):
        credential.token()


def test_a_gate_that_asks_for_a_proof_for_another_gets_none(endpoint: TokenEndpoint) -> None:
    endpoint.challenge["audience"] = "https://prod.example"
    with pytest.raises(CredentialError, match=r"calls itself 'https://prod\.example'"):
        AwsToken(endpoint.url, endpoint.url, None).token()
    assert endpoint.proofs == []
    # Unless it was said that both are one.
    AwsToken(endpoint.url, "https://prod.example/", None).token()
    assert endpoint.proofs[0]["headers"]["x-syncgate-audience"] == "https://prod.example"


def test_why_there_is_no_token_is_told(endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.refusal = {"error": "invalid_grant", "error_description": "AWS STS refused the proof\x1b[2J"}
    with pytest.raises(CredentialError, match=r"role of AWS: AWS STS refused the proof\[2J$"):
        AwsToken(endpoint.url, endpoint.url, None).token()
    endpoint.challenge["aws_sts"] = []
    with pytest.raises(CredentialError, match="takes no identities of AWS"):
        AwsToken(endpoint.url, endpoint.url, None).token()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialError, match="there are no credentials of AWS"):
        AwsToken(endpoint.url, endpoint.url, None)


@pytest.mark.usefixtures("configured")
def test_a_run_is_reported_by_the_role_where_that_is_asked_for(
    pytester: pytest.Pytester, gate: Gate, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile("def test_passes(): pass")
    assert pytester.runpytest().ret == pytest.ExitCode.OK
    assert endpoint.given == []
    monkeypatch.delenv("SYNCGATE_TOKEN")
    gate.seen_tokens.clear()
    gate.tokens = cast(set[str], endpoint.given)
    result = pytester.runpytest("--syncgate-aws")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["syncgate: signs in with the AWS role of this environment"])
    assert len(endpoint.given) == 1
    assert set(gate.seen_tokens) == set(endpoint.given)
    assert endpoint.given[0] not in result.stdout.str()


@pytest.mark.usefixtures("configured", "endpoint")
def test_what_it_needs_is_told(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNCGATE_TOKEN")
    monkeypatch.setenv("SYNCGATE_AWS", "true")
    monkeypatch.setitem(sys.modules, "pytest_syncgate.aws", None)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*needs botocore: pip install 'pytest-syncgate[[]aws]'*"])


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sts.amazonaws.com/", "us-east-1"),
        ("https://sts.eu-central-1.amazonaws.com/", "eu-central-1"),
        ("https://sts-fips.us-east-2.amazonaws.com", "us-east-2"),
        ("https://vpce-0a1b-2c3d.sts.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("http://127.0.0.1:5000/", None),
        ("https://proxy.example", None),
    ],
)
def test_the_region_is_that_of_the_endpoint(url: str, region: str | None) -> None:
    assert _region(url) == region
