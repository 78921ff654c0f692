"""A gate that is away, slow to accept or cuts connections: no attempt is lost, and none is stored twice."""

from __future__ import annotations

import threading
import time

import pytest
from gate import CUT_AFTER, CUT_BEFORE, TOKEN, Gate, Json

pytestmark = pytest.mark.usefixtures("configured")

SLOW_TESTS = """
    import time
    import pytest

    @pytest.mark.parametrize("number", range(40))
    def test_number(number):
        time.sleep(0.06)
"""


def all_arrived_once(gate: Gate) -> bool:
    return gate.outcomes == {f"test_number[{number}]": ["passed"] for number in range(40)}


def test_attempts_arrive_while_tests_run(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(SLOW_TESTS)
    seen: list[int] = []

    def look() -> None:
        time.sleep(0.1)
        while not (gate.runs and gate.run["finish"]):
            if gate.runs:
                seen.append(len(gate.run["attempts"]))
            time.sleep(0.02)

    watcher = threading.Thread(target=look)
    watcher.start()
    pytester.runpytest()
    watcher.join()
    assert any(0 < count < 40 for count in seen)
    assert all_arrived_once(gate)


@pytest.mark.parametrize("cut", [CUT_BEFORE, CUT_AFTER])
@pytest.mark.parametrize("kind", ["runs", "attempts", "finish"])
def test_a_cut_connection_loses_and_doubles_nothing(pytester: pytest.Pytester, gate: Gate, kind: str, cut: str) -> None:
    gate.fault = lambda seen, before: cut if seen == kind and before < 2 else None
    pytester.makepyfile(SLOW_TESTS)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.OK
    assert all_arrived_once(gate)
    assert gate.run["finish"] is not None


def test_every_other_request_fails_in_another_way(pytester: pytest.Pytester, gate: Gate) -> None:
    faults: list[str | tuple[int, Json]] = [(503, {}), CUT_AFTER, (429, {}), CUT_BEFORE, (500, {}), (502, {})]
    counter = iter(range(1000))

    def fault(_kind: str, _before: int) -> str | tuple[int, Json] | None:
        number = next(counter)
        return faults[number // 2 % len(faults)] if number % 2 == 0 else None

    gate.fault = fault
    pytester.makepyfile(SLOW_TESTS)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.OK
    assert all_arrived_once(gate)


def test_a_replaced_token_is_used_and_the_old_one_forgotten(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_file = pytester.path / "token"
    token_file.write_text("first-token\n")
    gate.tokens = {"first-token"}
    monkeypatch.setenv("SYNCGATE_TOKEN_FILE", str(token_file))

    def fault(kind: str, before: int) -> None:
        if kind == "attempts" and before == 0:
            # Between the client's reading the token and the gate's judging it.
            token_file.write_text("second-token\n")
            gate.tokens = {"second-token"}

    gate.fault = fault
    pytester.makepyfile(SLOW_TESTS)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.OK
    assert all_arrived_once(gate)
    assert set(gate.seen_tokens) == {"first-token", "second-token"}
    assert "token\n" not in result.stdout.str().replace(str(token_file), "")


def test_tests_that_replace_the_network_do_not_meet_the_reports(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(
        """
        import http.client, socket, time
        import pytest

        class Forbidden:
            def __init__(self, *args, **kwargs):
                raise AssertionError("the test's double was used")

        @pytest.mark.parametrize("number", range(40))
        def test_number(number, monkeypatch):
            monkeypatch.setattr(socket, "socket", Forbidden)
            monkeypatch.setattr(http.client, "HTTPConnection", Forbidden)
            monkeypatch.setattr(time, "time", lambda: 0.0)
            monkeypatch.setattr(time, "monotonic", lambda: 0.0)
            monkeypatch.setenv("SYNCGATE_TOKEN", "another")
            time.sleep(0.06)
        """
    )
    gate.fault = lambda kind, before: CUT_AFTER if kind == "attempts" and before == 0 else None
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.OK
    assert all_arrived_once(gate)
    assert set(gate.seen_tokens) == {TOKEN}
    assert all(attempt["started_at"] > "2020" for attempt in gate.run["attempts"])


def test_tests_that_replace_the_file_system_do_not_meet_the_attempts(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(
        """
        import os, time
        import pytest
        import pytest_syncgate.spool, pytest_syncgate.spoolfile

        pytest_syncgate.spool._COMPACT_BYTES = 1000

        def forbidden(*args, **kwargs):
            raise OSError("the test's double was used")

        @pytest.mark.parametrize("number", range(40))
        def test_number(number, monkeypatch):
            for name in ("open", "read", "write", "lseek", "close", "replace", "rename"):
                monkeypatch.setattr(os, name, forbidden)
            time.sleep(0.06)
        """
    )
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.OK
    assert all_arrived_once(gate)


@pytest.mark.parametrize(("required", "status"), [(True, 69), (False, 0)])
def test_a_gate_that_stays_away_during_the_run(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, required: bool, status: int
) -> None:
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "1")
    gate.fault = lambda kind, _before: (503, {"detail": "the store is behind"}) if kind == "attempts" else None
    pytester.makepyfile("def test_passes(): pass")
    result = pytester.runpytest("--syncgate-required" if required else "--no-syncgate-required")
    assert result.ret == status
    result.stdout.fnmatch_lines(
        ["syncgate: the run was not reported completely and does not count: *503: the store is behind*waits in *"]
    )
    assert gate.run["finish"] is None


def test_a_refusal_during_the_run(pytester: pytest.Pytester, gate: Gate) -> None:
    refusal = (403, {"code": "not-permitted", "detail": "the identity was withdrawn", "decision": "01JX"})
    gate.fault = lambda kind, _before: refusal if kind == "attempts" else None
    pytester.makepyfile("def test_passes(): pass")
    result = pytester.runpytest()
    assert result.ret == 77
    result.stdout.fnmatch_lines(["*will not count: 403 not-permitted: the identity was withdrawn (decision 01JX)*"])
    assert len([kind for kind, _ in gate.requests if kind == "attempts"]) == 1


def test_a_gate_that_stays_away_at_the_end(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "1")
    gate.fault = lambda kind, _before: CUT_BEFORE if kind == "finish" else None
    pytester.makepyfile("def test_fails(): assert False")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.TESTS_FAILED  # what pytest found is not hidden by our own status
    result.stdout.fnmatch_lines(["*does not count: *remote end closed connection*"])
