"""Settings, refusals and verdicts: what a user sees, and with which exit status pytest ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from gate import TOKEN, Gate

from pytest_syncgate import credentials

PASSING = "def test_passes(): pass"


def test_without_a_gate_nothing_happens(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCGATE_APPLICATION", "checkout-staging")
    monkeypatch.setenv("SYNCGATE_TOKEN_FILE", "/there/is/none")
    pytester.makepyfile("import threading\ndef test_passes(): assert 'syncgate' not in str(threading.enumerate())")
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.OK
    assert not any(line.startswith("syncgate") for line in result.outlines)


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("off", ["--syncgate-url=", "--collect-only", "--help", "--markers"])
def test_switched_off(pytester: pytest.Pytester, gate: Gate, off: str) -> None:
    pytester.makepyfile(PASSING)
    assert pytester.runpytest(off).ret == pytest.ExitCode.OK
    assert gate.requests == []


def test_settings_from_the_project_file(pytester: pytest.Pytester, gate: Gate) -> None:
    (pytester.path / "token").write_text(TOKEN)
    pytester.makepyprojecttoml(
        f"""
        [tool.pytest.ini_options]
        syncgate_url = "{gate.url}/"
        syncgate_application = "checkout-staging"
        syncgate_application_namespace = "shop"
        syncgate_environment = "staging"
        syncgate_suite = "smoke"
        syncgate_commits = ["{"a" * 40}", "{"b" * 40}"]
        syncgate_token_file = "token"
        syncgate_required = false
        syncgate_retry_seconds = "5"
        """
    )
    pytester.makepyfile(PASSING)
    result = pytester.runpytest("-v")
    assert result.ret == pytest.ExitCode.OK
    opening = gate.run["opening"]
    assert opening["application"] == "checkout-staging"
    assert opening["application_namespace"] == "shop"
    assert opening["environment"] == "staging"
    assert opening["suite"] == "smoke"
    assert opening["commits"] == ["a" * 40, "b" * 40]
    result.stdout.fnmatch_lines([f"syncgate: reports to {gate.url} for checkout-staging, suite smoke, *staging"])


@pytest.mark.usefixtures("configured")
def test_flag_wins_over_environment_and_that_over_file(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\nsyncgate_suite = of-the-file\nsyncgate_environment = of-the-file\n")
    monkeypatch.setenv("SYNCGATE_SUITE", "of-the-environment")
    pytester.makepyfile(PASSING)
    pytester.runpytest("--syncgate-application=of-the-flag")
    opening = gate.run["opening"]
    assert opening["application"] == "of-the-flag"
    assert opening["suite"] == "of-the-environment"
    assert opening["environment"] == "of-the-file"


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("URL", "gate.example.com", "*not of the form https://*"),
        ("URL", "http://gate.example.com", "*would send the token unencrypted*"),
        ("URL", "https://someone:secret@gate.example.com", "*must have no user name*"),
        ("APPLICATION", "", "*configured but no application*"),
        ("REQUIRED", "perhaps", "*must be true or false*"),
        ("RETRY_SECONDS", "soon", "*must be a number*"),
        ("PREFLIGHT", "perhaps", "*`preflight` must be true or false*"),
        ("ENDPOINTS", "../admin", "*is not the name of an endpoint*"),
        ("ENDPOINTS", "cart=http://cart.example.com", "*would send the token unencrypted*"),
        ("ENDPOINTS", "cart=https://someone:secret@cart.example.com", "*the URL of endpoint cart must have no user*"),
        ("TOKEN", "two words", "*does not hold a token*"),
        ("TOKEN_FILE", "/there/is/none", "*cannot read the token file /there/is/none: No such file*"),
    ],
)
def test_mistakes_are_usage_errors(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv("SYNCGATE_" + name, value)
    pytester.makepyfile(PASSING)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([words])
    assert "secret" not in result.stderr.str()
    assert gate.requests == []


@pytest.mark.usefixtures("configured")
def test_a_ca_file_that_cannot_be_read(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCGATE_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("SYNCGATE_CA_FILE", "none.pem")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the CA file *none.pem cannot be used*"])


@pytest.mark.usefixtures("configured")
def test_a_missing_token_says_where_one_may_be(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNCGATE_TOKEN")
    monkeypatch.setattr(credentials, "DEFAULT_TOKEN_FILE", Path("/there/is/none"))
    pytester.makepyfile(PASSING)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no token found: mount * SYNCGATE_TOKEN_FILE, or set SYNCGATE_TOKEN*"])
    result = pytester.runpytest("--no-syncgate-required")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["syncgate: nothing was reported: no token found*"])
    assert gate.requests == []


@pytest.mark.usefixtures("configured")
def test_the_usual_mount_of_a_job(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mounted").write_text(TOKEN)
    monkeypatch.delenv("SYNCGATE_TOKEN")
    monkeypatch.setattr(credentials, "DEFAULT_TOKEN_FILE", tmp_path / "mounted")
    pytester.makepyfile(PASSING)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.OK
    assert gate.outcomes == {"test_passes": ["passed"]}
    result.stdout.fnmatch_lines(["syncgate: signs in with the token file *mounted"])


@pytest.mark.usefixtures("configured")
def test_a_passing_run(pytester: pytest.Pytester, gate: Gate) -> None:
    pytester.makepyfile(PASSING)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "syncgate: passed: checkout-staging, suite integration at 3f2c1a9, 1 attempt reported - "
            f"counts when the sync it ran in succeeds - {gate.url}/syncgate/v1/runs/01J0"
        ]
    )
    assert TOKEN not in result.stdout.str() + result.stderr.str()


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("flag", "verdict", "status"),
    [
        ("--syncgate-required", "refused", 77),
        ("--no-syncgate-required", "refused", 0),
        ("--syncgate-required", "failed", 0),
        ("--syncgate-required", "something new", 77),
    ],
)
def test_what_a_verdict_does_to_a_passing_session(
    pytester: pytest.Pytester, gate: Gate, flag: str, verdict: str, status: int
) -> None:
    gate.verdict = {
        "verdict": verdict,
        "reasons": [{"code": "dirty", "detail": "changed\x1b[2J files"}],
        "counts": "never",
    }
    pytester.makepyfile(PASSING)
    result = pytester.runpytest(flag)
    assert result.ret == status
    result.stdout.fnmatch_lines(
        [f"syncgate: {verdict}: *does not count as evidence*", "syncgate: reason dirty: changed?[[]2J files"]
    )


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("status", "problem", "words"),
    [
        (403, {"code": "not-permitted", "detail": "jobs of shop may not report", "decision": "01JX"},
         "*403 not-permitted: jobs of shop may not report (decision 01JX) - *correct SYNCGATE_APPLICATION*"),
        (409, {"code": "other-commit", "detail": "not this. decision 01JX - see gate/1", "decision": "01JX"},
         "*409 other-commit: not this. decision 01JX - see gate/1 - correct the settings*"),
        (404, {"code": "no-such-application", "detail": "there is none"}, "*does not know that application*"),
        (422, {"code": "bad-suite", "detail": "no suite of that name"}, "*bad-suite: no suite of that name*"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("required", [True, False])
def test_a_refused_run(
    pytester: pytest.Pytester, gate: Gate, status: int, problem: dict[str, str], words: str, required: bool
) -> None:
    gate.fault = lambda _kind, _before: (status, problem)
    pytester.makepyfile("import pathlib\ndef test_runs(): pathlib.Path('ran').touch()")
    result = pytester.runpytest("--syncgate-required" if required else "--no-syncgate-required")
    assert result.ret == (77 if required else 0)
    result.stdout.fnmatch_lines([words])
    assert len(gate.requests) == 1  # a no is not asked again
    assert (pytester.path / "ran").exists() is not required
    assert TOKEN not in result.stdout.str() + result.stderr.str()


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(("seconds", "ready"), [("20", True), ("1.5", False)])
def test_a_sync_that_has_not_rolled_everything_out_is_waited_for(
    pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch, seconds: str, ready: bool
) -> None:
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", seconds)
    early = (409, {"code": "not-rolled-out", "detail": "the operation goes on"})
    gate.fault = lambda kind, before: early if kind == "runs" and not (ready and before == 2) else None
    pytester.makepyfile(PASSING)
    result = pytester.runpytest()
    if ready:
        assert result.ret == 0
        assert len(gate.runs) == 1
    else:
        assert result.ret == 77
        result.stdout.fnmatch_lines(
            ["*could not be opened: 409 not-rolled-out: the operation goes on - run the tests in a PostSync hook*"]
        )
        assert not gate.runs


@pytest.mark.usefixtures("configured")
def test_a_token_that_is_not_accepted(pytester: pytest.Pytester, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCGATE_TOKEN", "a-token-of-someone-else")
    pytester.makepyfile(PASSING)
    words = "*401 expired: the token has expired - the gate does not accept the environment variable SYNCGATE_TOKEN: *"
    for flags, status in [((), 78), (("--no-syncgate-preflight",), 77)]:
        result = pytester.runpytest(*flags)
        assert result.ret == status
        result.stdout.fnmatch_lines([words])
        assert "a-token-of-someone-else" not in result.stdout.str() + result.stderr.str()
    assert len(gate.requests) == 1


@pytest.mark.usefixtures("configured")
def test_no_gate_at_that_place(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCGATE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "0.5")
    pytester.makepyfile(PASSING)
    result = pytester.runpytest()
    assert result.ret == 69
    result.stdout.fnmatch_lines(
        ["*could not be opened: the gate http://127.0.0.1:1 cannot be used: connection refused*"]
    )


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("answer", [(200, {}), (302, {})])
def test_something_that_is_no_gate(pytester: pytest.Pytester, gate: Gate, answer: tuple[int, dict[str, str]]) -> None:
    gate.fault = lambda _kind, _before: answer
    pytester.makepyfile(PASSING)
    assert pytester.runpytest().ret == 69


@pytest.mark.usefixtures("configured")
def test_the_commit_of_the_work_tree(pytester: pytest.Pytester, gate: Gate) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"]
        return subprocess.run(
            ["git", *identity, *words], cwd=pytester.path, check=True, capture_output=True, text=True
        ).stdout.strip()

    pytester.makepyfile(PASSING)
    (pytester.path / ".gitignore").write_text("__pycache__/\n.pytest_cache/\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "tests")
    pytester.runpytest()
    (pytester.path / "conftest.py").write_text("")
    result = pytester.runpytest("--syncgate-commits=none")
    clean, dirty = (run["opening"] for run in gate.runs.values())
    assert (clean["commits"], clean["dirty"]) == ([git("rev-parse", "HEAD")], False)
    assert (dirty["commits"], dirty["dirty"]) == (None, True)
    result.stdout.fnmatch_lines(["syncgate: the work tree differs from its commit ???????: conftest.py"])


@pytest.mark.usefixtures("configured")
def test_without_a_terminal_reporter(pytester: pytest.Pytester, gate: Gate) -> None:
    gate.fault = lambda _kind, _before: (403, {"detail": "no"})
    pytester.makepyfile(PASSING)
    result = pytester.runpytest("-p", "no:terminal")
    assert result.ret == 77
    result.stderr.fnmatch_lines(["syncgate: the run for * could not be opened: 403: no*"])
