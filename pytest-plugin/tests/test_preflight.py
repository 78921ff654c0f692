"""The question before the first test: a mistake ends the session at once, and says what to do."""

from __future__ import annotations

import time
from typing import Any

import pytest
from gate import CUT_AFTER, CUT_BEFORE, TOKEN, Gate

pytestmark = pytest.mark.usefixtures("configured")

TEST = "import pathlib\npathlib.Path('collected').touch()\ndef test_runs(): pathlib.Path('ran').touch()"


def failing(check: str, about: str | None = None, mend: str | None = "do this") -> dict[str, Any]:
    return {"check": check, "about": about, "ok": False, "detail": f"the {check} is wrong", "mend": mend}


def test_all_is_well(pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCGATE_ENDPOINTS", "checkout-api cart=https://cart.example.com")
    pytester.makepyfile(TEST)
    result = pytester.runpytest("--syncgate-environment=staging")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["syncgate: preflight passed: 4 checks, credential good until 2026-11-23T13:00:00Z"])
    (asked,) = gate.preflights
    assert (
        abs(time.time() - time.mktime(time.strptime(asked.pop("now")[:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 30
    )
    assert asked == {
        "application": "checkout-staging",
        "application_namespace": None,
        "environment": "staging",
        "suite": "integration",
        "expected_seconds": None,
        "endpoints": ["checkout-api", "cart"],
    }


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_failing_checks_end_the_session(pytester: pytest.Pytester, gate: Gate, workers: tuple[str, ...]) -> None:
    gate.checks += [failing("clock"), failing("endpoint", "checkout-api", None)]
    pytester.makepyfile(TEST)
    started = time.monotonic()
    result = pytester.runpytest_subprocess(*workers)
    took = time.monotonic() - started
    assert result.ret == 78
    result.stdout.fnmatch_lines(
        [
            "syncgate: preflight failed: clock: the clock is wrong - do this",
            "syncgate: preflight failed: endpoint checkout-api: the endpoint is wrong",
        ]
    )
    assert "no run was opened" not in result.stdout.str()
    assert gate.requests == []
    assert not (pytester.path / "ran").exists()
    if not workers:
        assert not (pytester.path / "collected").exists()
        assert took < 6  # the start of Python on a busy machine included


def test_the_preflight_itself_is_quick(pytester: pytest.Pytester, gate: Gate) -> None:
    gate.checks.append(failing("lifetime"))
    pytester.makepyfile(TEST)
    result = pytester.runpytest_inprocess()
    assert result.ret == 78
    assert result.duration < 2


def test_where_reporting_is_not_required_it_only_warns(pytester: pytest.Pytester, gate: Gate) -> None:
    gate.checks.append(failing("lifetime"))
    pytester.makepyfile(TEST)
    result = pytester.runpytest("--no-syncgate-required")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["syncgate: preflight failed: lifetime: the lifetime is wrong - do this"])
    assert gate.outcomes == {"test_runs": ["passed"]}


@pytest.mark.parametrize("off", ["flag", "environment", "ini"])
def test_switched_off(pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    gate.checks.append(failing("clock"))
    pytester.makepyfile(TEST)
    if off == "environment":
        monkeypatch.setenv("SYNCGATE_PREFLIGHT", "false")
    if off == "ini":
        pytester.makeini("[pytest]\nsyncgate_preflight = false\n")
    result = pytester.runpytest(*["--no-syncgate-preflight"] * (off == "flag"))
    assert result.ret == pytest.ExitCode.OK
    assert gate.preflights == []


def test_an_older_gate_has_none(pytester: pytest.Pytester, gate: Gate) -> None:
    gate.preflight_fault = (404, {"code": "not-found", "detail": "the gate has no such page"})
    pytester.makepyfile(TEST)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.OK
    assert [line for line in result.outlines if "preflight" in line] == [
        "syncgate: preflight skipped: this gate has none yet"
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {"code": "wrong-audience", "detail": "of another"}), "*401 wrong-audience: * - the gate does *"),
        ((403, {"code": "not-permitted", "detail": "no"}), "*403 not-permitted: no - this identity may not report*"),
        ((422, {"code": "invalid", "detail": "no suite"}), "*422 invalid: no suite - correct the settings*"),
        ((200, {"ok": False}), "*preflight failed: the gate does not say which check"),
        ((200, {"ok": False, "checks": ["?", 3]}), "*preflight failed: the gate does not say which check"),
        ((200, {"checks": []}), "*preflight failed: the gate does not say which check"),
        ((200, {"ok": True, "checks": [failing("clock")]}), "*preflight failed: clock: *"),
    ],
)  # fmt: skip
def test_other_answers(pytester: pytest.Pytester, gate: Gate, answer: tuple[int, dict[str, Any]], words: str) -> None:
    gate.preflight_fault = answer
    pytester.makepyfile(TEST)
    result = pytester.runpytest()
    assert result.ret == 78
    result.stdout.fnmatch_lines(
        [f"syncgate: preflight failed: {words[1:]}" if words[0] != "*" else f"syncgate: {words}"]
    )
    assert gate.requests == []
    assert TOKEN not in result.stdout.str()


def test_a_gate_that_comes_late_is_waited_for(pytester: pytest.Pytester, gate: Gate) -> None:
    gate.preflight_faults = [(503, {}), CUT_BEFORE, CUT_AFTER]
    pytester.makepyfile(TEST)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.OK
    assert len({asked["now"] for asked in gate.preflights}) == len(gate.preflights) == 2  # the clock of each try


@pytest.mark.parametrize(("required", "status"), [(True, 69), (False, 0)])
def test_a_gate_that_stays_away(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, required: bool, status: int
) -> None:
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "0.5")
    gate.preflight_fault = (503, {"detail": "starting"})
    pytester.makepyfile(TEST)
    result = pytester.runpytest("--syncgate-required" if required else "--no-syncgate-required")
    assert result.ret == status
    result.stdout.fnmatch_lines(["syncgate: the run for * could not be opened: *503: starting*"])
    assert gate.requests == []
