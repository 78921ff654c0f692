"""The same with pytest-xdist: one run, opened by the controller, fed by all workers."""

from __future__ import annotations

import hashlib

import pytest
from gate import Gate

pytestmark = pytest.mark.usefixtures("configured")


def test_one_run_for_all_workers(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(30))
        def test_number(number):
            assert number != 7

        def test_other(): pass
        """
    )
    result = pytester.runpytest_subprocess("-n", "2", "-k", "number")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gate.outcomes == {f"test_number[{n}]": ["failed" if n == 7 else "passed"] for n in range(30)}
    assert {attempt["worker"] for attempt in gate.run["attempts"]} == {"gw0", "gw1"}
    ids = "\n".join(sorted(attempt["test"] for attempt in gate.run["attempts"]))
    assert gate.run["opening"]["collected"] == {
        "tests": 30,
        "digest": hashlib.sha256(ids.encode()).hexdigest(),
        "deselected": 1,
    }
    assert "--numprocesses 2" in gate.run["opening"]["options"]


def test_reruns_in_workers(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(
        """
        def test_passes_at_last(counter=[0]):
            counter[0] += 1
            assert counter[0] == 2

        def test_never_passes(): assert False
        """
    )
    pytester.runpytest_subprocess("-n", "2", "--reruns", "1")
    assert gate.outcomes == {
        "test_passes_at_last": ["failed", "passed"],
        "test_never_passes": ["failed", "failed"],
    }


def test_a_crashed_worker_is_an_error(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile("import os\ndef test_crashes(): os._exit(1)\ndef test_passes(): pass")
    result = pytester.runpytest_subprocess("-n", "1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gate.outcomes == {"test_crashes": ["error"], "test_passes": ["passed"]}
    assert "crashed while running" in gate.message("test_crashes")


def test_a_file_that_cannot_be_collected_is_one_error(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(test_good="def test_good(): pass", test_bad="import nothing_of_that_name")
    result = pytester.runpytest_subprocess("-n", "2")
    assert result.ret != pytest.ExitCode.OK
    assert gate.outcomes["test_bad.py"] == ["error"]


def test_a_refusal_ends_the_session_before_a_test_runs(pytester: pytest.Pytester, gate: Gate) -> None:
    gate.fault = lambda _kind, _before: (403, {"code": "not-permitted", "detail": "may not report"})
    pytester.makepyfile("import pathlib\ndef test_runs(): pathlib.Path('ran').touch()")
    result = pytester.runpytest_subprocess("-n", "2")
    assert result.ret == 77
    result.stdout.fnmatch_lines(["syncgate: the run for checkout-staging, suite integration could not be opened: 403*"])
    assert not (pytester.path / "ran").exists()


def test_every_test_everywhere_is_not_supported(pytester: pytest.Pytester, gate: Gate) -> None:
    result = pytester.runpytest_subprocess("--dist", "each", "--tx", "2*popen")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert gate.requests == []
