"""What tests get: facts of the run, and sessions whose token goes to the gate and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gate import TOKEN, Gate

pytestmark = pytest.mark.usefixtures("configured")

SESSIONS = ["syncgate_httpx", "syncgate_requests"]


@pytest.fixture
def elsewhere() -> Iterator[Gate]:
    """Another server, which no token may reach."""
    server = Gate()
    yield server
    server.stop()
    assert not any("Authorization" in headers for _, _, headers in server.door)


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_facts_of_the_run(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SYNCGATE_ENDPOINTS", "checkout-api, cart=https://cart.example.com/v1/")
    monkeypatch.setenv("SYNCGATE_APPLICATION_NAMESPACE", "shop")
    monkeypatch.setenv("SYNCGATE_ENVIRONMENT", "staging")
    pytester.makepyfile(
        f"""
        import pytest
        from pytest_syncgate import Syncgate

        @pytest.mark.parametrize("number", range(4))
        def test_facts(syncgate: Syncgate, number):
            assert syncgate == Syncgate(
                gate_url="{gate.url}", application="checkout-staging", application_namespace="shop",
                environment="staging", suite="integration",
                commits=("3f2c1a9be07d44c1ab1c1b4a8ac7d9e24f0d5c66",), run="01J0",
                run_url="{gate.url}/syncgate/v1/runs/01J0",
                endpoints={{"checkout-api": None, "cart": "https://cart.example.com/v1"}},
            )
            assert syncgate.endpoint("checkout-api") == "{gate.url}/endpoints/checkout-api/"
            assert syncgate.endpoint("cart") == "https://cart.example.com/v1/"
            with pytest.raises(pytest.UsageError):
                syncgate.endpoint("../admin")
        """
    )
    result = pytester.runpytest_subprocess(*workers)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=4)


def test_without_a_gate_a_test_that_needs_it_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(syncgate): pass\ndef test_b(syncgate_httpx): pass\ndef test_c(): pass")
    result = pytester.runpytest_subprocess("--syncgate-url=")
    result.assert_outcomes(errors=2, passed=1)
    result.stdout.fnmatch_lines(["*this test needs the gate, but none is in use: set SYNCGATE_URL*"])


@pytest.mark.parametrize("library", ["httpx", "requests"])
def test_a_library_that_is_not_installed(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    blocked = pytester.mkpydir(library)
    (blocked / "__init__.py").write_text(f"raise ImportError('there is no {library} here')")
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    pytester.makepyfile(f"def test_endpoint(syncgate_{library}): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*needs {library}: pip install 'pytest-syncgate[[]{library}[]]'*"])
    assert gate.run["finish"] is not None


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_the_token_of_the_moment_goes_to_endpoints(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, session: str, workers: tuple[str, ...]
) -> None:
    token_file = pytester.path / "token"
    token_file.write_text(TOKEN)
    gate.tokens |= {"second-token"}
    monkeypatch.setenv("SYNCGATE_TOKEN_FILE", "token")
    pytester.makepyfile(
        f"""
        import pathlib

        def test_endpoint({session}, syncgate, tmp_path, monkeypatch):
            monkeypatch.chdir(tmp_path)
            base = syncgate.endpoint("checkout-api")
            answer = {session}.get(base + "orders?id=1")
            assert answer.json() == {{"signed": True, "path": "/endpoints/checkout-api/orders?id=1"}}
            pathlib.Path({str(token_file)!r}).write_text("second-token")
            answer = {session}.post(base + "orders", json={{"item": 1}}, headers={{"X-Trace": "1"}})
            assert answer.json()["signed"]
            told = [answer, answer.request, answer.request.headers, dict(answer.request.headers), {session}.headers]
            assert "token" not in repr(told) and "uthorization" not in repr(told)
        """
    )
    result = pytester.runpytest_subprocess(*workers)
    assert result.ret == pytest.ExitCode.OK
    assert [headers["Authorization"] for _, _, headers in gate.door] == [f"Bearer {TOKEN}", "Bearer second-token"]
    assert gate.door[1][0] == "POST"
    assert gate.door[1][2]["X-Trace"] == "1"


@pytest.mark.parametrize("session", SESSIONS)
def test_the_token_goes_nowhere_else(pytester: pytest.Pytester, gate: Gate, elsewhere: Gate, session: str) -> None:
    """Not on a redirect, not to another port of the same host, not to a host whose name begins alike."""
    follow = ", follow_redirects=True" if "httpx" in session else ""
    pytester.makepyfile(
        f"""
        def test_redirect({session}, syncgate):
            answer = {session}.get(syncgate.endpoint("cart") + "?to={elsewhere.url}/steal"{follow})
            assert answer.status_code == 401 and str(answer.url) == "{elsewhere.url}/steal"

        def test_back_again({session}, syncgate):
            answer = {session}.get("{elsewhere.url}/?to=" + syncgate.endpoint("cart"){follow})
            assert answer.json()["signed"]

        def test_other_port({session}):
            assert {session}.get("{elsewhere.url}/").status_code == 401

        def test_other_name({session}):
            assert {session}.get("{elsewhere.url}/".replace("127.0.0.1", "localhost")).status_code == 401
            other = "{gate.url}/endpoints/cart/".replace("127.0.0.1", "localhost")
            assert {session}.get(other).status_code == 401

        def test_own_words({session}, syncgate):
            answer = {session}.get(syncgate.endpoint("cart"), headers={{"Authorization": "Bearer expired"}})
            assert answer.status_code == 401
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=5)
    assert len(elsewhere.door) == 4
    told = [headers.get("Authorization") for _, _, headers in gate.door]
    assert told == [f"Bearer {TOKEN}", f"Bearer {TOKEN}", None, "Bearer expired"]


@pytest.mark.parametrize("session", SESSIONS)
def test_an_endpoint_with_a_host_of_its_own(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    host = Gate()
    monkeypatch.setenv("SYNCGATE_ENDPOINTS", f"cart={host.url}")
    pytester.makepyfile(
        f"def test_host({session}, syncgate): assert {session}.get(syncgate.endpoint('cart')).json()['signed']"
    )
    result = pytester.runpytest_subprocess()
    host.stop()
    assert result.ret == pytest.ExitCode.OK
    assert gate.door == []
    assert gate.preflights[0]["endpoints"] == ["cart"]


@pytest.mark.parametrize("session", SESSIONS)
def test_failures_do_not_show_the_token(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    """Not even with the local variables of every frame, when the connection fails under a request."""
    token_file = pytester.path / "token"
    token_file.write_text(TOKEN)
    monkeypatch.delenv("SYNCGATE_TOKEN")
    monkeypatch.setenv("SYNCGATE_TOKEN_FILE", "token")
    pytester.makepyfile(
        f"""
        def test_cut({session}, syncgate):
            {session}.get(syncgate.endpoint("cart") + "?cut=1")

        def test_large_cut({session}, syncgate):
            {session}.post(syncgate.endpoint("cart") + "?cut=1", content=b"x" * 8_000_000) if hasattr(
                {session}, "build_request") else {session}.post(syncgate.endpoint("cart"), data=b"x" * 8_000_000)
            assert False

        def test_nobody_there({session}):
            {session}.get("http://127.0.0.1:1/")
        """
    )
    result = pytester.runpytest_subprocess("--showlocals", "--tb=long", "--full-trace")
    result.assert_outcomes(failed=3)
    assert any("Authorization" in headers for _, _, headers in gate.door)
    assert TOKEN not in result.stdout.str() + result.stderr.str()
    assert TOKEN not in str(gate.run)
    assert "[token]" not in str(gate.run)


@pytest.mark.parametrize("session", SESSIONS)
def test_recordings_do_not_hold_the_token(pytester: pytest.Pytester, gate: Gate, session: str, tmp_path: Path) -> None:
    pytest.importorskip("vcr")
    pytester.makepyfile(
        f"""
        import vcr

        def test_recorded({session}, syncgate):
            with vcr.use_cassette({str(tmp_path / "cassette.yaml")!r}, record_mode="all"):
                assert {session}.get(syncgate.endpoint("cart")).json()["signed"]
        """
    )
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.OK
    cassette = tmp_path / "cassette.yaml"
    assert TOKEN not in (cassette.read_text() if cassette.exists() else "")
    assert gate.outcomes == {"test_recorded": ["passed"]}  # and our own reports went to the gate


@pytest.mark.parametrize("session", SESSIONS)
def test_threads_share_a_session(pytester: pytest.Pytester, gate: Gate, session: str) -> None:
    pytester.makepyfile(
        f"""
        from concurrent.futures import ThreadPoolExecutor

        def test_threads({session}, syncgate):
            url = syncgate.endpoint("cart")
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: {session}.get(url).json()["signed"], range(40)))
            assert answers == [True] * 40
        """
    )
    assert pytester.runpytest_subprocess().ret == pytest.ExitCode.OK
    assert len(gate.door) == 40
