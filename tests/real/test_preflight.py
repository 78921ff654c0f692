"""`syncgate preflight`, and the preflight of the plugin, with tokens that a real API server has signed.

What pytest takes until it has ended is measured from its start; what the same session takes without the plugin is
subtracted: that is Python, pytest and its plugins being loaded.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from harness import tokens
from harness.clocks import ahead
from harness.gate import Gate
from harness.runs import Project
from harness.testdoor import API, AWAY, LEDGER, MUTE
from test_sign_in import expired

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from conftest import People, Rig
    from harness.cluster import Repository
    from harness.testdoor import TestDoor
    from harness.tokens import Provider

_SOON = 2.0


@pytest.fixture(scope="module", autouse=True)
def _synced(people: People, shop: Repository) -> None:
    """cart in staging is what was synced last, so that a run has something to be about."""
    shop.touch("A commit to report for")
    people.cli("alice").run("app", "sync", "cart-staging").ok()


def preflight(gate: Gate, token: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Asks as the tests of `cart-staging` would, and takes two seconds at most."""
    begin = time.monotonic()
    what = ["--app", "cart-staging", "--environment", "staging"]
    done = gate.command("preflight", *what, *more, token=token, **environment)
    took = time.monotonic() - begin
    assert took < _SOON, f"{took} s\n{done.stdout}\n{done.stderr}"
    return done


def checks(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The checks of the answer, by what they look at."""
    return {check["check"]: check for check in json.loads(done.stdout)["checks"]}


def failure(done: subprocess.CompletedProcess[str]) -> str:
    """The one line about what failed."""
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    return line


def test_all_is_well_for_the_service_account_of_the_tests(gate: Gate, job_token: Callable[..., str]) -> None:
    token = job_token("cart")
    done = preflight(gate, token, "--expected", "15m")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nok  ") == 4, done.stdout
    found = checks(preflight(gate, token, "--output", "json"))
    assert list(found) == ["credential", "lifetime", "clock", "report"]
    assert "system:serviceaccount:shop-staging:cart-tests by a service-account token" in found["credential"]["detail"]
    assert "may report `integration` for cart-staging in staging" in found["report"]["detail"]


def test_a_token_that_ends_before_the_run_is_told(gate: Gate, job_token: Callable[..., str]) -> None:
    # The least that an API server gives is ten minutes.
    line = failure(preflight(gate, job_token("cart", seconds=600), "--expected", "15m"))
    assert line.startswith("FAIL  lifetime: the token lives for another 9 min, but"), line


def test_a_token_for_another_gate_is_told(gate: Gate, job_token: Callable[..., str]) -> None:
    line = failure(preflight(gate, job_token("cart", audience="https://gate.elsewhere")))
    assert "the token is for `https://gate.elsewhere`" in line, line
    assert line.endswith("-> mount a projected token with that audience"), line


def test_an_expired_token_is_told(gate: Gate, oidc: Provider) -> None:
    line = failure(preflight(gate, expired(oidc)))
    assert line.startswith("FAIL  credential: the token expired "), line
    assert line.endswith("-> sign in again"), line


def test_who_may_not_report_is_told(gate: Gate, job_token: Callable[..., str]) -> None:
    found = checks(preflight(gate, job_token("payments"), "--output", "json"))
    assert found["report"]["ok"] is False
    assert "refused for system:serviceaccount:shop-staging:payments-tests" in found["report"]["detail"]
    assert 'service_account = "shop-staging/payments-tests"' in found["report"]["mend"]


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a test job, and what it is told."""

    words: str
    """A pattern of what both the plugin and the command say."""
    mend: str
    """What they say to do."""
    endpoints: tuple[str, ...] = (API,)
    token: Callable[[Rig, Callable[..., str]], str] = lambda _rig, job_token: job_token("cart")
    environment: dict[str, str] = field(default_factory=dict)


def _expired(rig: Rig, job_token: Callable[..., str]) -> str:
    now = int(time.time())
    return tokens.signed_by_the_cluster(rig, job_token("cart"), iat=now - 7200, nbf=now - 7200, exp=now - 3600)


TROUBLES = {
    "an endpoint that is away": Trouble(
        f"endpoint {AWAY}: .*refused", "see whether it is up, and whether the gate reaches it", (API, AWAY)
    ),
    "an endpoint that says nothing": Trouble(
        f"endpoint {MUTE}: (no answer within|it did not answer in time)", "see whether it is up", (API, MUTE)
    ),
    "an endpoint that is not for tests": Trouble(
        f"endpoint {LEDGER}: the policies do not let \\S+:cart-tests read it",
        "ask whoever keeps the gate's policies",
        (API, LEDGER),
    ),
    "an endpoint that there is not": Trouble(
        "endpoint shop-aip: this gate has no endpoint of that name", 'name = "shop-aip"', ("shop-aip",)
    ),
    "a token that has expired": Trouble(
        "the token expired \\S+Z, 1 hour ago", "read the token file again, the kubelet renews it", token=_expired
    ),
    "a token for somebody else": Trouble(
        "the token is for `https://elsewhere`",
        "mount a projected token with that audience",
        token=lambda _, job_token: job_token("cart", audience="https://elsewhere"),
    ),
    "a clock that is ahead": Trouble(
        "clock: the caller's clock is 6[0-4] seconds ahead of the gate's", "NTP", environment=ahead(64)
    ),
}


@pytest.fixture
def project(testdoor: TestDoor, job_token: Callable[..., str], tmp_path: Path) -> Project:
    """Tests of `cart-staging`."""
    return project_at(testdoor.gate, job_token("cart"), tmp_path)


def project_at(gate: Gate, token: str, folder: Path) -> Project:
    """Tests of `cart-staging` that report to a gate."""
    project = Project.create(folder / "project", gate, token, suite="integration", application="cart-staging")
    project.write("test_it.py", "def test_it():\n    print('A TEST RAN')\n")
    return project


def refused_at_once(project: Project, **settings: str) -> list[str]:
    """What the plugin says of what failed, before any test, with status 78 and within two seconds."""
    usual = project.pytest("-s", URL="")
    assert "A TEST RAN" in usual.out, usual.out
    ended = project.pytest("-s", **settings)
    assert ended.code == 78, ended.out
    assert "A TEST RAN" not in ended.out, ended.out
    assert "no test was run, since the preflight failed" in ended.out, ended.out
    took = ended.seconds - usual.seconds
    assert took < _SOON, f"{took} s\n{ended.out}"
    return [line for line in ended.told if line.startswith("preflight failed: ")]


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_a_run_does_not_begin(
    trouble: Trouble, project: Project, testdoor: TestDoor, rig: Rig, job_token: Callable[..., str]
) -> None:
    token = trouble.token(rig, job_token)
    project.sign_in(token)
    project.extra |= trouble.environment
    [told] = refused_at_once(project, ENDPOINTS=" ".join(trouble.endpoints))
    endpoints = [word for name in trouble.endpoints for word in ("--endpoint", name)]
    line = failure(preflight(testdoor.gate, token, *endpoints, **trouble.environment))
    for said in (told, line):
        assert re.search(trouble.words, said), said
        assert trouble.mend in said, said


def test_all_is_well_with_an_endpoint(project: Project, testdoor: TestDoor, job_token: Callable[..., str]) -> None:
    ended = project.pytest(ENDPOINTS=API)
    assert ended.code == 0, ended.out
    assert [line for line in ended.told if line.startswith("preflight passed: 5 checks")], ended.out
    done = preflight(testdoor.gate, job_token("cart"), "--endpoint", API)
    assert done.returncode == 0, done.stdout
    assert f"ok    endpoint {API}: may be read in staging, and answers" in done.stdout


def test_a_gate_whose_clock_is_ahead(
    rig: Rig, oidc: Provider, folder: Path, job_token: Callable[..., str], tmp_path: Path
) -> None:
    gate = Gate.prepare(rig, oidc.issuer, folder / "ahead")
    gate.start(**ahead(64))
    try:
        project = project_at(gate, job_token("cart"), tmp_path)
        [told] = refused_at_once(project)
        assert re.search("clock: the caller's clock is 6[4-8] seconds behind the gate's", told), told
        assert "or the gate's: tokens are judged by the gate's" in told
    finally:
        gate.stop()
