"""Suites as people have them: large, loud, interrupted, selected; none of this costs an attempt."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest
from gate import Gate

pytestmark = pytest.mark.usefixtures("configured")

MANY = 20_000


def test_twenty_thousand_tests_while_the_gate_comes_and_goes(pytester: pytest.Pytester, gate: Gate) -> None:
    gate.fault = lambda kind, before: (503, {}) if kind == "attempts" and before < 6 else None
    pytester.makepyfile(f"import pytest\n@pytest.mark.parametrize('n', range({MANY}))\ndef test_number(n): pass")
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.OK
    assert len(gate.run["attempts"]) == MANY == gate.run["opening"]["collected"]["tests"]
    assert len({attempt["test"] for attempt in gate.run["attempts"]}) == MANY
    assert {attempt["outcome"] for attempt in gate.run["attempts"]} == {"passed"}
    result.stdout.fnmatch_lines([f"syncgate: passed: *{MANY} attempts reported*"])


def test_huge_tracebacks(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(
        """
        def test_deep():
            def sink(n): return sink(n + 1)
            sink(0)

        def test_long(): assert "\\ud800é" * 2_000_000 == ""
        def test_chained():
            error = None
            for number in range(300):
                try:
                    raise ValueError("☃" * 1000) from error
                except ValueError as caught:
                    error = caught
            raise error
        def test_passes(): pass
        """
    )
    result = pytester.runpytest_subprocess("--tb=short", "-q")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    names = ["test_deep", "test_long", "test_chained"]
    assert gate.outcomes == {"test_passes": ["passed"], **{name: ["failed"] for name in names}}
    assert all(100 < len(gate.message(name).encode()) <= 4096 for name in names)


def test_last_failed(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile("def test_passes(): pass\ndef test_fails(): assert False")
    pytester.runpytest()
    pytester.runpytest("--lf")
    _, again = gate.runs.values()
    assert [attempt["test"].split("::")[1] for attempt in again["attempts"]] == ["test_fails"]
    assert "--last-failed" in again["opening"]["options"]
    assert again["opening"]["collected"]["tests"] == 1


def test_subtests_of_pytest(pytester: pytest.Pytester, gate: Gate) -> None:
    if not hasattr(pytest, "Subtests"):
        pytest.skip("pytest before 9 has none")
    pytester.makepyfile(
        """
        def test_one_fails(subtests):
            for number in range(3):
                with subtests.test(number=number):
                    assert number != 1
        def test_all_pass(subtests):
            for number in range(3):
                with subtests.test(number=number): pass
        """
    )
    pytester.runpytest()
    assert gate.outcomes == {"test_one_fails": ["failed"], "test_all_pass": ["passed"]}


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_ctrl_c(pytester: pytest.Pytester, gate: Gate, workers: tuple[str, ...]) -> None:
    """What was tried before is there, and the run says that it was cut short."""
    path = pytester.makepyfile(
        "import time, pytest\n@pytest.mark.parametrize('n', range(1000))\ndef test_number(n): time.sleep(0.02)"
    )
    command = [sys.executable, "-m", "pytest", str(path), *workers]
    with subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (gate.runs and gate.run["attempts"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    finish = gate.run["finish"]
    assert (finish["interrupted"], finish["exit_status"]) == (True, 2)
    assert 0 < len(gate.run["attempts"]) < 1000
    assert {attempt["outcome"] for attempt in gate.run["attempts"]} <= {"passed", "error"}
    assert "syncgate: passed: " in told  # what the stand-in says of every run


def test_reruns_in_workers_with_parameters(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(
        """
        import pathlib, pytest

        @pytest.mark.parametrize("city", ["Zürich", "東京", "x\\ny", "a" * 300])
        def test_city(city, request):
            mark = pathlib.Path(str(abs(hash(request.node.nodeid))))
            if not mark.exists():
                mark.touch()
                raise OSError("first try of " + city)
        """
    )
    result = pytester.runpytest_subprocess("-n", "2", "--reruns", "1")
    assert result.ret == pytest.ExitCode.OK
    assert list(gate.outcomes.values()) == [["failed", "passed"]] * 4
    assert all(name.isprintable() for name in gate.outcomes)


def test_what_the_gate_cannot_take_is_brought_into_form(pytester: pytest.Pytester, gate: Gate) -> None:
    """Names with control characters, very long ones, and more options than it takes."""
    pytester.makeini("[pytest]\ndisable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("text", ["a\\nb", "a\\x7fb", "é" * 20_000, "é" * 20_001])
        def test_text(text): pass
        """
    )
    flags = [f"--deselect=nowhere{number}" for number in range(150)]
    result = pytester.runpytest("-k", "text" + " or x" * 200, *flags)
    assert result.ret == pytest.ExitCode.OK
    names = [attempt["test"] for attempt in gate.run["attempts"]]
    assert len(set(names)) == 4
    assert all(len(name.encode()) <= 16 * 1024 and name.isprintable() for name in names)
    assert names[0].endswith("test_text[a\\x0ab]")
    options = gate.run["opening"]["options"]
    assert len(options) == 100
    assert all(0 < len(option.encode()) <= 512 for option in options)
    assert options[-1].startswith("... and ")


def test_how_tests_were_selected_is_told(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(test_a="def test_a(): pass", test_b="def test_b(): pass")
    pytester.runpytest_subprocess("-p", "no:xdist", "test_a.py::test_a")
    assert gate.options == ["-p no:xdist", "test_a.py::test_a"]
    told = gate.run["opening"]["options"]
    assert any(option.startswith("plugin pytest-rerunfailures ") for option in told)
    assert not any("syncgate" in option for option in told)


def test_the_session_does_not_wait_for_the_gate(pytester: pytest.Pytester, gate: Gate) -> None:
    """A gate that takes its time with every batch does not slow the tests down."""
    gate.fault = lambda kind, _before: time.sleep(0.5) if kind == "attempts" else None
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('n', range(1000))\ndef test_number(n): pass")
    ended: list[float] = []

    def look() -> None:
        while not (gate.runs and gate.run["finish"]):
            time.sleep(0.01)
        ended.append(time.monotonic())

    watcher = threading.Thread(target=look)
    watcher.start()
    result = pytester.runpytest_subprocess("-q", "--durations=1", "--durations-min=0.3", "-vv")
    watcher.join()
    assert result.ret == pytest.ExitCode.OK
    assert "0.5" not in "".join(line for line in result.outlines if " call " in line)
