"""A gate that comes and goes, sessions that are killed: no attempt is lost, and none is stored twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from gate import CUT_AFTER, CUT_BEFORE, TOKEN, Fault, Gate

pytestmark = pytest.mark.usefixtures("configured")

TESTS = """
    import time
    import pytest

    @pytest.mark.parametrize("number", range({count}))
    def test_number(number):
        time.sleep({seconds})
"""


def each_once(count: int) -> dict[str, list[str]]:
    return {f"test_number[{number}]": ["passed"] for number in range(count)}


def spools(pytester: pytest.Pytester) -> list[Path]:
    return list((pytester.path / ".pytest_cache" / "d" / "syncgate").glob("*"))


@pytest.mark.parametrize("seed", range(4))
def test_random_cuts(pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Requests that are cut before and after they are stored, connections cut under way, a gate that restarts."""
    dice = random.Random(seed)
    over = threading.Event()
    faults: list[Fault] = [CUT_BEFORE, CUT_AFTER, (503, {}), (200, {}), (302, {}), (404, {})]

    def fault(kind: str, _before: int) -> Fault:
        if dice.random() < 0.6:
            return None
        return dice.choice(faults[:3] if kind == "runs" else faults)  # the first answer must be a gate's

    def disturb() -> None:
        for _ in range(12):
            if over.wait(dice.uniform(0.1, 0.5)):
                return
            gate.cut()
            if dice.random() < 0.4:
                gate.stop()
                time.sleep(dice.uniform(0.05, 0.5))
                gate.start()

    gate.fault = fault
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "120")
    pytester.makepyfile(TESTS.format(count=150, seconds=0.02))
    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        result = pytester.runpytest_subprocess()
    finally:
        over.set()
        disturber.join()
    assert result.ret == pytest.ExitCode.OK
    assert gate.outcomes == each_once(150)
    assert gate.run["finish"] is not None
    assert len(gate.run["opening"]["options"]) < 20
    assert spools(pytester) == []


@pytest.mark.parametrize("stored", [CUT_AFTER, CUT_BEFORE])
def test_a_killed_session_is_finished_by_the_next(pytester: pytest.Pytester, gate: Gate, stored: str) -> None:
    """What the first session spooled arrives in its own run, as interrupted; the second has a run of its own."""
    gate.fault = lambda kind, before: stored if kind == "attempts" and before >= 1 else None
    pytester.makepyfile(TESTS.format(count=100, seconds=0.05))
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "test_a_killed_session_is_finished_by_the_next.py"]
    with subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len([kind for kind, _ in gate.requests if kind == "attempts"]) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    (spool,) = spools(pytester)
    assert spool.stat().st_mode & 0o777 == 0o600
    kept = [line for line in spool.read_text().splitlines() if line.startswith("a")]
    assert TOKEN not in spool.read_text()
    assert 0 < len(kept) < 100
    killed_at = spool.stat().st_mtime
    with spool.open("ab") as file:
        file.write(b'a{"test": "torn by the ki')
    os.utime(spool, (killed_at, killed_at))

    gate.fault = lambda _kind, _before: None
    result = pytester.runpytest_subprocess("-k", "number and 7")
    assert result.ret == pytest.ExitCode.OK
    first, second = gate.runs.values()
    assert [one["test"] for one in first["attempts"]] == [
        f"test_a_killed_session_is_finished_by_the_next.py::test_number[{number}]" for number in range(len(kept))
    ]
    assert abs(datetime.fromisoformat(first["finish"]["finished_at"][:-1] + "+00:00").timestamp() - killed_at) < 0.01
    assert (first["finish"]["interrupted"], first["finish"]["exit_status"]) == (True, 2)
    assert second["finish"]["interrupted"] is False
    result.stdout.fnmatch_lines(
        [f"syncgate: an earlier session left the run 01J0: {len(kept)} attempts delivered, verdict passed - *"]
    )
    assert spools(pytester) == []
    result = pytester.runpytest_subprocess("-k", "number and 7")
    assert "earlier session" not in result.stdout.str()


def test_a_gate_away_at_the_end_gets_all_at_the_next_start(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "1")
    monkeypatch.setenv("SYNCGATE_SPOOL_DIR", "kept")
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('number', range(300))\ndef test_number(number): pass")
    gate.fault = lambda kind, before: CUT_BEFORE if kind == "attempts" and before > 0 else None
    result = pytester.runpytest()
    assert result.ret == 69
    result.stdout.fnmatch_lines([f"*does not count: *what is missing waits in {pytester.path}/kept/run-*.spool, and *"])
    assert gate.run["finish"] is None
    gate.fault = lambda _kind, _before: None
    result = pytester.runpytest("-k", "number and 7")
    assert result.ret == pytest.ExitCode.OK
    first, second = gate.runs.values()
    assert len(first["attempts"]) == 300
    assert first["finish"]["exit_status"] == 0
    assert first["finish"]["interrupted"] is False
    assert first["finish"]["finished_at"] < second["opening"]["started_at"]
    assert list((pytester.path / "kept").iterdir()) == []


def test_a_token_that_ends_within_the_run(pytester: pytest.Pytester, gate: Gate) -> None:
    """What comes after that is kept, too, and sent under the next token."""
    pytester.makepyfile(TESTS.format(count=60, seconds=0.05))

    def fault(kind: str, before: int) -> Fault:
        if kind == "attempts" and before == 1:
            gate.tokens.clear()
        return None

    gate.fault = fault
    result = pytester.runpytest()
    assert result.ret == 77
    result.stdout.fnmatch_lines(["*does not count: 401 expired: *waits in */run-*.spool, and *does not accept*"])
    assert 0 < len(gate.run["attempts"]) < 60
    gate.tokens.add(TOKEN)
    gate.fault = lambda _kind, _before: None
    result = pytester.runpytest("-k", "7")
    assert result.ret == pytest.ExitCode.OK
    first, _ = gate.runs.values()
    assert len(first["attempts"]) == 60
    assert first["finish"]["interrupted"] is False


@pytest.mark.parametrize(
    ("fault", "words", "left"),
    [
        ((409, {"code": "run-finished", "detail": "it is over"}), "the gate takes it no more: 409 run-finished*", 0),
        ((404, {"code": "no-such-run", "detail": "none"}), "the gate does not take it from this identity: 404 *", 1),
        ((503, {"detail": "starting"}), "not delivered yet: *503: starting*", 1),
    ],
)  # fmt: skip
def test_what_the_gate_does_not_take_any_more(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, fault: Fault, words: str, left: int
) -> None:
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "0.5")
    pytester.makepyfile("def test_passes(): pass")
    gate.fault = lambda kind, _before: CUT_BEFORE if kind == "attempts" else None
    assert pytester.runpytest().ret == 69
    before = len(gate.requests)
    gate.fault = lambda kind, _before: fault if kind == "attempts" and len(gate.runs) == 1 else None
    result = pytester.runpytest()
    result.stdout.fnmatch_lines([f"syncgate: an earlier session left the run 01J0: {words}"])
    assert result.ret == pytest.ExitCode.OK
    assert len(gate.requests) > before + 3
    assert gate.runs["01J1"]["finish"] is not None
    assert len(spools(pytester)) == left


def test_a_run_that_nobody_is_given_is_forgotten_after_a_day(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "0.5")
    pytester.makepyfile("def test_passes(): pass")
    gate.fault = lambda kind, _before: CUT_BEFORE if kind == "attempts" else None
    assert pytester.runpytest().ret == 69
    unknown = (404, {"code": "no-such-run", "detail": "there is none"})
    gate.fault = lambda kind, _before: unknown if kind == "attempts" and len(gate.runs) == 1 else None
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["syncgate: an earlier session *: the gate does not take it from this identity: 404 *"])
    (spool,) = spools(pytester)
    os.utime(spool, (time.time() - 90_000,) * 2)
    gate.fault = lambda kind, _before: unknown if kind == "attempts" and len(gate.runs) == 2 else None
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["syncgate: an earlier session *: the gate takes it no more: 404 no-such-run*"])
    assert spools(pytester) == []


def test_leftovers_for_another_gate_stay(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "0.5")
    pytester.makepyfile("def test_passes(): pass")
    gate.fault = lambda kind, _before: CUT_BEFORE if kind == "attempts" else None
    assert pytester.runpytest().ret == 69
    other = Gate()
    monkeypatch.setenv("SYNCGATE_URL", other.url)
    result = pytester.runpytest()
    other.stop()
    assert result.ret == pytest.ExitCode.OK
    assert "earlier session" not in result.stdout.str()
    assert len(other.runs) == 1
    assert len(spools(pytester)) == 1


def test_a_file_that_is_not_ours_is_told_and_left(pytester: pytest.Pytester, gate: Gate) -> None:
    folder = pytester.path / ".pytest_cache" / "d" / "syncgate"
    folder.mkdir(parents=True)
    (folder / "x.spool").write_text('h{"gate":"somewhere"}\n')
    (folder / "x.spool").chmod(0o644)
    pytester.makepyfile("def test_passes(): pass")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["syncgate: */x.spool is left alone: *"])
    assert gate.outcomes == {"test_passes": ["passed"]}


def test_a_full_spool_ends_in_a_clear_failure(pytester: pytest.Pytester, gate: Gate) -> None:
    """And nothing of it is sent later: a run with gaps must not look complete."""
    gate.fault = lambda kind, _before: (503, {"detail": "behind"}) if kind == "attempts" else None
    pytester.makeconftest("import pytest_syncgate.spoolfile as file\nfile.MAX_BYTES = 100_000")
    pytester.makepyfile(TESTS.format(count=2000, seconds=0))
    result = pytester.runpytest_subprocess("--syncgate-retry-seconds=1")
    assert result.ret == 69
    result.stdout.fnmatch_lines(["*will not count: 0 MiB of attempts wait for the gate, and more are not kept*"])
    assert spools(pytester) == []


def test_without_the_cache_of_pytest(pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(pytester.path / "there-is-none"))
    pytester.makepyfile("def test_passes(): pass")
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider").ret == pytest.ExitCode.OK
    assert gate.outcomes == {"test_passes": ["passed"]}
