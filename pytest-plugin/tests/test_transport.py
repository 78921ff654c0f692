"""The wire: certificates are verified, and a proxy sees only the name of the gate."""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest
from gate import Gate

pytestmark = [
    pytest.mark.usefixtures("configured"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with the openssl command"),
]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that is its own CA, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    command = ["openssl", *request.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", "key", "-out", "crt"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "crt", folder / "key"


@pytest.fixture
def tls_gate(certificate: tuple[Path, Path]) -> Iterator[Gate]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    gate = Gate(context)
    yield gate
    gate.stop()
    assert gate.protocol_errors == []


class _Proxy(BaseHTTPRequestHandler):
    """Passes bytes to where CONNECT says, and notes what it was asked for."""

    def do_CONNECT(self) -> None:
        asked = cast(list[tuple[str, str | None]], self.server.asked)  # type: ignore[attr-defined]
        asked.append((self.path, self.headers["Proxy-Authorization"]))
        host, port = self.path.split(":")
        with socket.create_connection((host, int(port))) as upstream:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: upstream, upstream: self.connection}
            while data := (source := select.select(list(ends), [], [])[0][0]).recv(65536):
                ends[source].sendall(data)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name in the base class)
        """Stay quiet: what counts is asserted."""


@pytest.fixture
def proxy() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    server.daemon_threads = True
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_private_ca(
    pytester: pytest.Pytester, tls_gate: Gate, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCGATE_URL", tls_gate.url)
    monkeypatch.setenv("SYNCGATE_CA_FILE", str(certificate[0]))
    pytester.makepyfile("def test_passes(): pass")
    assert pytester.runpytest().ret == pytest.ExitCode.OK
    assert tls_gate.outcomes == {"test_passes": ["passed"]}


@pytest.mark.parametrize("trusted", [False, True])
def test_a_certificate_that_does_not_fit(
    pytester: pytest.Pytester,
    tls_gate: Gate,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,
) -> None:
    if trusted:  # but for another name
        monkeypatch.setenv("SYNCGATE_CA_FILE", str(certificate[0]))
    monkeypatch.setenv("SYNCGATE_URL", tls_gate.url.replace("localhost", "127.0.0.1") if trusted else tls_gate.url)
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "3600")  # which is not waited for
    pytester.makepyfile("def test_passes(): pass")
    result = pytester.runpytest()
    assert result.ret == 69
    result.stdout.fnmatch_lines(["*its certificate is not accepted: *SYNCGATE_CA_FILE*"])
    assert tls_gate.requests == []


def test_a_proxy_of_the_environment(
    pytester: pytest.Pytester,
    tls_gate: Gate,
    certificate: tuple[Path, Path],
    proxy: ThreadingHTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SYNCGATE_URL", tls_gate.url)
    monkeypatch.setenv("SYNCGATE_CA_FILE", str(certificate[0]))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy.server_address[1]}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    pytester.makepyfile("def test_passes(): pass")
    assert pytester.runpytest().ret == pytest.ExitCode.OK
    assert tls_gate.outcomes == {"test_passes": ["passed"]}
    where = tls_gate.url.removeprefix("https://")
    assert proxy.asked == [(where, "Basic dXNlcjpwQHNz")]  # type: ignore[attr-defined]

    monkeypatch.setenv("NO_PROXY", "localhost")
    assert pytester.runpytest().ret == pytest.ExitCode.OK
    assert len(proxy.asked) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("session", ["syncgate_httpx", "syncgate_requests"])
def test_sessions_of_tests_trust_the_same_ca(
    pytester: pytest.Pytester,
    tls_gate: Gate,
    certificate: tuple[Path, Path],
    proxy: ThreadingHTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    session: str,
) -> None:
    """Whatever the environment or a call says about other CAs, and through the same proxy."""
    monkeypatch.setenv("SYNCGATE_URL", tls_gate.url)
    monkeypatch.setenv("SYNCGATE_CA_FILE", str(certificate[0]))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/there/is/none")
    monkeypatch.setenv("SSL_CERT_FILE", "/there/is/none")
    pytester.makepyfile(
        f"""
        def test_endpoint({session}, syncgate):
            assert {session}.get(syncgate.endpoint("cart")).json()["signed"]
        """
    )
    assert pytester.runpytest_subprocess().ret == pytest.ExitCode.OK
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert pytester.runpytest_subprocess().ret == pytest.ExitCode.OK
    assert len(tls_gate.door) == 2
    assert len(proxy.asked) == 2  # type: ignore[attr-defined]  # our own, and the test's


@pytest.mark.parametrize("session", ["syncgate_httpx", "syncgate_requests"])
def test_sessions_of_tests_send_nothing_to_who_is_not_verified(
    pytester: pytest.Pytester, gate: Gate, tls_gate: Gate, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    monkeypatch.setenv("SYNCGATE_ENDPOINTS", f"cart={tls_gate.url}")
    insecure = ", verify=False" if "requests" in session else ""
    pytester.makepyfile(
        f"""
        import pytest

        def test_endpoint({session}, syncgate):
            with pytest.raises(Exception, match="(?i)certificate.verify"):
                {session}.get(syncgate.endpoint("cart"){insecure})
        """
    )
    assert pytester.runpytest_subprocess("-W", "ignore").ret == pytest.ExitCode.OK
    assert tls_gate.door == []
    assert gate.run["finish"] is not None
