"""Every attempt of every test arrives, with the outcome that it had."""

from __future__ import annotations

import hashlib

import pytest
from gate import TOKEN, Gate

from pytest_syncgate.attempts import Assembler

pytestmark = pytest.mark.usefixtures("configured")

EVERY_KIND = """
    import pytest

    @pytest.fixture
    def broken_setup():
        raise RuntimeError("no database")

    @pytest.fixture
    def broken_teardown():
        yield
        raise RuntimeError("left a mess")

    def test_passes(): pass
    def test_fails(): assert 1 == 2, "not equal"
    def test_setup_error(broken_setup): pass
    def test_teardown_error(broken_teardown): pass
    def test_fails_twice(broken_teardown): assert False, "the body"
    def test_skips(): pytest.skip("not today")
    @pytest.mark.skip(reason="never")
    def test_marked_skip(): pass
    @pytest.mark.xfail(reason="known bug")
    def test_xfails(): assert False
    @pytest.mark.xfail(run=False, reason="crashes")
    def test_xfails_unrun(): assert False
    @pytest.mark.xfail(reason="was a bug")
    def test_xpasses(): pass
    @pytest.mark.xfail(strict=True, reason="must fail")
    def test_xpasses_strictly(): pass
    def test_xfails_with_mess(broken_teardown): pytest.xfail("known bug")
"""


def test_every_kind_of_outcome(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(EVERY_KIND)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gate.outcomes == {
        "test_passes": ["passed"],
        "test_fails": ["failed"],
        "test_setup_error": ["error"],
        "test_teardown_error": ["error"],
        "test_fails_twice": ["failed"],
        "test_skips": ["skipped"],
        "test_marked_skip": ["skipped"],
        "test_xfails": ["xfailed"],
        "test_xfails_unrun": ["xfailed"],
        "test_xpasses": ["xpassed"],
        "test_xpasses_strictly": ["failed"],
        "test_xfails_with_mess": ["error"],
    }
    assert gate.run["finish"]["exit_status"] == 1
    assert gate.run["finish"]["interrupted"] is False


def test_messages_say_what_happened_and_where(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(EVERY_KIND)
    pytester.runpytest()
    assert "test_messages_say_what_happened_and_where.py:13: AssertionError: not equal" in gate.message("test_fails")
    assert gate.message("test_setup_error").startswith("at setup: ")
    assert "the body" in gate.message("test_fails_twice")
    assert "left a mess" in gate.message("test_fails_twice")
    assert "not today" in gate.message("test_skips")
    assert gate.message("test_xfails") == "known bug"
    assert gate.message("test_xpasses") == "was a bug"
    assert "XPASS(strict)" in gate.message("test_xpasses_strictly")
    assert gate.message("test_passes") is None


def test_opening_tells_the_collected_set(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(test_a="def test_b(): pass\ndef test_a(): pass\ndef test_other(): pass")
    pytester.runpytest("-k", "not other", "--maxfail=3")
    opening = gate.run["opening"]
    ids = "test_a.py::test_a\ntest_a.py::test_b"
    assert opening["collected"] == {
        "tests": 2,
        "digest": hashlib.sha256(ids.encode()).hexdigest(),
        "deselected": 1,
    }
    assert gate.options == ["-k not other", "--maxfail 3"]
    assert (opening["application"], opening["suite"]) == ("checkout-staging", "integration")
    assert (opening["application_namespace"], opening["environment"]) == (None, None)
    assert (opening["commits"], opening["dirty"]) == (None, None)
    assert opening["tool"]["version"] == pytest.__version__


def test_parametrised_and_unicode_names(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makeini("[pytest]\ndisable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("city", ["Zürich", "東京", "a/b::c[1]"])
        def test_città(city):
            assert city == "Zürich", "naïve \\0 ☃"
        """
    )
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gate.outcomes == {
        "test_città[Zürich]": ["passed"],
        "test_città[東京]": ["failed"],
        "test_città[a/b::c[1]]": ["failed"],
    }
    assert "☃" in gate.message("test_città[東京]")
    told = sorted(attempt["test"] for attempt in gate.run["attempts"])
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()
    assert gate.run["opening"]["collected"]["digest"] == digest


def test_long_messages_are_cut_and_many_tests_batched(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(450))
        def test_fails(number):
            raise RuntimeError("\\x01é" * 5000)
        """
    )
    pytester.runpytest("--tb=no", "-q")
    assert len(gate.run["attempts"]) == 450
    assert max(len(attempt["message"].encode()) for attempt in gate.run["attempts"]) in (4095, 4096)
    assert max(len(body["attempts"]) for kind, body in gate.requests if kind == "attempts") <= 200


def test_subtests_decide_about_their_test(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(
        """
        import unittest

        class TestSub(unittest.TestCase):
            def test_one_of_three_fails(self):
                for number in range(3):
                    with self.subTest(number=number):
                        assert number != 1

            def test_all_pass(self):
                for number in range(3):
                    with self.subTest(number=number):
                        pass
        """
    )
    pytester.runpytest()
    assert gate.outcomes["TestSub::test_one_of_three_fails"] == ["failed"]
    assert gate.outcomes["TestSub::test_all_pass"] == ["passed"]


def test_a_body_that_does_not_run_is_not_a_pass(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile("def test_fails(): assert False")
    pytester.runpytest("--setup-only")
    assert gate.outcomes == {"test_fails": ["skipped"]}
    assert gate.options == ["--setup-only"]


def test_a_file_that_cannot_be_collected_is_an_error(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(test_good="def test_good(): pass", test_bad="import nothing_of_that_name")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert gate.outcomes == {"test_bad.py": ["error"]}
    assert gate.run["opening"]["collected"]["tests"] == 1
    assert gate.run["finish"]["interrupted"] is True


def test_no_tests_at_all_is_reported_as_such(pytester: pytest.Pytester, gate: Gate) -> None:
    gate.verdict = {
        "verdict": "refused",
        "reasons": [{"code": "no-tests", "detail": "no test was collected"}],
    }
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert gate.run["opening"]["collected"]["tests"] == 0
    result.stdout.fnmatch_lines(["syncgate: reason no-tests: no test was collected"])


def test_an_interrupted_test_is_an_error(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(
        """
        def test_first(): pass
        def test_interrupted(): raise KeyboardInterrupt
        def test_never_begun(): pass
        """
    )
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert gate.outcomes == {"test_first": ["passed"], "test_interrupted": ["error"]}
    assert gate.run["opening"]["collected"]["tests"] == 3
    assert gate.run["finish"]["interrupted"] is True


def test_stopping_at_the_first_failure_is_told(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile("def test_fails(): assert False\ndef test_later(): pass")
    pytester.runpytest("-x")
    assert gate.outcomes == {"test_fails": ["failed"]}
    assert gate.run["finish"]["interrupted"] is True


def test_reruns_are_attempts_of_their_own(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(
        """
        import pytest

        tries = []

        @pytest.fixture
        def shaky():
            tries.append(1)
            if len(tries) % 2:
                raise RuntimeError("setup")

        def test_passes_at_last(counter=[0]):
            counter[0] += 1
            assert counter[0] == 3

        def test_never_passes(): assert False
        def test_setup_recovers(shaky): pass
        def test_passes(): pass
        @pytest.mark.xfail
        def test_xfails(): assert False
        """
    )
    pytester.runpytest("--reruns", "2")
    assert gate.outcomes == {
        "test_passes_at_last": ["failed", "failed", "passed"],
        "test_never_passes": ["failed", "failed", "failed"],
        "test_setup_recovers": ["error", "passed"],
        "test_passes": ["passed"],
        "test_xfails": ["xfailed"],
    }
    assert gate.options == ["--reruns 2"]


def test_a_token_in_a_failure_is_taken_out(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile("import os\ndef test_fails(): assert os.environ['SYNCGATE_TOKEN'] == 'x'")
    pytester.runpytest()
    assert TOKEN not in gate.message("test_fails")
    assert "[token]" in gate.message("test_fails")


def test_a_repeated_call_without_a_setup_is_another_attempt() -> None:
    """Plugins that repeat only the test's body, without saying so in the report."""
    assembler = Assembler()
    attempts = []
    for when, outcome in [("setup", "passed"), ("call", "failed"), ("call", "passed"), ("teardown", "passed")]:
        report = pytest.TestReport("test_a.py::test", ("", 0, ""), {}, outcome, None, when, duration=0.25)  # type: ignore[arg-type]
        attempts += assembler.add(report)
    assert [(one.number, one.outcome, one.duration) for one in attempts] == [(1, "failed", 0.5), (2, "passed", 0.5)]
    assert assembler.unfinished() == []
