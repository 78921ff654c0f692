"""Tokens of CI systems, over real HTTP: which one is used, and that it is renewed before it ends."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import pytest
from gate import TOKEN, Gate

from pytest_syncgate import credentials
from pytest_syncgate.credentials import CredentialError
from pytest_syncgate.github import GitHubToken

REQUEST_TOKEN = "request-token-of-the-job"
AUDIENCE = "https://gate.example.com"


class TokenEndpoint:
    """What GitHub runs beside a job: gives a new token to who asks with the job's own."""

    def __init__(self) -> None:
        self.life = 300.0
        self.audiences: list[str] = []
        self.given: list[str] = []
        self.fault: tuple[int, bytes] | None = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.endpoint = self  # type: ignore[attr-defined]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/token?api-version=2.0"

    def answer(self, query: dict[str, list[str]], authorization: str | None) -> tuple[int, bytes]:
        if self.fault is not None:
            return self.fault
        if authorization != f"Bearer {REQUEST_TOKEN}" or query["api-version"] != ["2.0"]:
            return 401, b"{}"
        self.audiences += query["audience"]
        claims = {"aud": query["audience"][0], "exp": time.time() + self.life, "jti": len(self.given)}
        part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        self.given.append(f"eyJh.{part}.signature")
        return 200, json.dumps({"value": self.given[-1], "count": 1}).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        endpoint = cast(TokenEndpoint, self.server.endpoint)  # type: ignore[attr-defined]
        status, body = endpoint.answer(parse_qs(urlsplit(self.path).query), self.headers["Authorization"])
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name in the base class)
        """Stay quiet: what counts is asserted."""


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    server = TokenEndpoint()
    yield server
    server.server.shutdown()
    server.thread.join()
    server.server.server_close()


@pytest.fixture
def in_github(endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNCGATE_TOKEN")
    monkeypatch.setattr(credentials, "DEFAULT_TOKEN_FILE", Path("/there/is/none"))
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", endpoint.url)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)


@pytest.mark.usefixtures("configured", "in_github")
def test_a_job_of_github_actions(
    pytester: pytest.Pytester, gate: Gate, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCGATE_AUDIENCE", "https://gate.example.com/?a&b")
    gate.tokens = cast(set[str], _Given(endpoint))
    pytester.makepyfile("def test_passes(): pass")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["syncgate: signs in with the ID token of GitHub Actions"])
    assert endpoint.audiences == ["https://gate.example.com/?a&b"]  # asked for once
    assert set(gate.seen_tokens) == set(endpoint.given)
    assert REQUEST_TOKEN not in result.stdout.str()
    assert endpoint.given[0] not in result.stdout.str()


@pytest.mark.usefixtures("configured", "in_github")
def test_renewal_in_a_long_run(pytester: pytest.Pytester, gate: Gate, endpoint: TokenEndpoint) -> None:
    """Tokens that live for a second are renewed after half of it, also for a session in an xdist worker."""
    endpoint.life = 1.0
    gate.tokens = cast(set[str], _Given(endpoint, newest=2))
    pytester.makepyfile(
        """
        import time, pytest

        @pytest.mark.parametrize("number", range(8))
        def test_number(number, syncgate_httpx, syncgate):
            time.sleep(0.4)
            assert syncgate_httpx.get(syncgate.endpoint("cart")).json()["signed"]
        """
    )
    result = pytester.runpytest_subprocess("-n", "1")
    assert result.ret == pytest.ExitCode.OK
    assert gate.outcomes == {f"test_number[{number}]": ["passed"] for number in range(8)}
    assert len(set(gate.seen_tokens)) > 2
    assert len({headers["Authorization"] for _, _, headers in gate.door}) > 2
    assert set(endpoint.audiences) == {gate.url}


class _Given:
    """Accepts what the endpoint gave: all, or its newest tokens of each asker."""

    def __init__(self, endpoint: TokenEndpoint, newest: int | None = None) -> None:
        self.endpoint = endpoint
        self.newest = newest

    def __contains__(self, token: str) -> bool:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return token in self.endpoint.given and (self.newest is None or time.time() < claims["exp"])

    def __iter__(self) -> Iterator[str]:
        return iter(self.endpoint.given)


def test_renewal_by_the_clock(endpoint: TokenEndpoint) -> None:
    now = [time.time()]
    credential = GitHubToken(endpoint.url, REQUEST_TOKEN, AUDIENCE, now=lambda: now[0])
    first = credential.token()
    now[0] += 200
    assert credential.token() == first
    now[0] += 45  # less than a minute is left
    endpoint.fault = (503, b"")
    assert credential.token() == first  # which is still good
    endpoint.fault = None
    assert credential.token() != first
    endpoint.fault = (503, b"")
    now[0] += 600
    with pytest.raises(CredentialError, match="GitHub's token endpoint answers 503"):
        credential.token()
    assert REQUEST_TOKEN not in repr(credential)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "without a token"),
        (b"[]", "without a token"),
        (b"<html>", "without a token"),
        (b'{"value": 3}', "without a token"),
        (b'{"value": "two words"}', "does not hold a token"),
        (b'{"value": ""}', "is empty"),
    ],
)
def test_answers_without_a_token(endpoint: TokenEndpoint, body: bytes, words: str) -> None:
    endpoint.fault = (200, body)
    with pytest.raises(CredentialError, match=words):
        GitHubToken(endpoint.url, REQUEST_TOKEN, AUDIENCE).token()


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.e30.c", "a.eyJleHAiOiJ4In0.c"])
def test_a_token_that_does_not_say_when_it_ends(endpoint: TokenEndpoint, token: str) -> None:
    now = [time.time()]
    endpoint.fault = (200, json.dumps({"value": token}).encode())
    credential = GitHubToken(endpoint.url, REQUEST_TOKEN, AUDIENCE, now=lambda: now[0])
    assert credential.token() == token
    endpoint.fault = (500, b"")
    now[0] += 61
    with pytest.raises(CredentialError):
        credential.token()


@pytest.mark.parametrize(
    "url", ["http://example.com/token", "ftp://127.0.0.1/", "nonsense", "https://[::1", "https://"]
)
def test_an_address_that_cannot_be_githubs(url: str) -> None:
    with pytest.raises(CredentialError, match="is not an https URL"):
        GitHubToken(url, REQUEST_TOKEN, AUDIENCE)


@pytest.mark.usefixtures("configured", "in_github")
def test_what_wins(pytester: pytest.Pytester, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted service-account token before that of a CI system, GitHub's before GitLab's."""
    pytester.makepyfile("def test_passes(): pass")
    monkeypatch.setenv("SYNCGATE_ID_TOKEN", TOKEN)
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["syncgate: signs in with the GitLab ID token in SYNCGATE_ID_TOKEN"])
    assert result.ret == pytest.ExitCode.OK

    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)
    (pytester.path / "mounted").write_text(TOKEN)
    monkeypatch.setattr(credentials, "DEFAULT_TOKEN_FILE", pytester.path / "mounted")
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["syncgate: signs in with the token file *mounted"])
    assert endpoint.given == []


@pytest.mark.usefixtures("configured", "in_github")
def test_a_token_endpoint_that_refuses(
    pytester: pytest.Pytester, gate: Gate, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "0.5")
    endpoint.fault = (403, b"")
    result = pytester.runpytest()
    assert result.ret == 69
    result.stdout.fnmatch_lines(["*cannot be used: GitHub's token endpoint answers 403*"])
    assert gate.seen_tokens == []


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_credential_of_the_project(pytester: pytest.Pytester, gate: Gate, workers: tuple[str, ...]) -> None:
    gate.tokens = {"token-of-the-project"}
    pytester.makeconftest(
        """
        class OfTheProject:
            source = "project's own credential"
            def token(self):
                return "token-of-the-project"

        def pytest_syncgate_credential(config):
            return OfTheProject()
        """
    )
    pytester.makepyfile(
        "def test_a(syncgate_requests, syncgate): assert syncgate_requests.get(syncgate.endpoint('a')).json()['signed']"
    )
    result = pytester.runpytest_subprocess(*workers)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["syncgate: signs in with the project's own credential"])
    assert set(gate.seen_tokens) == {"token-of-the-project"}
