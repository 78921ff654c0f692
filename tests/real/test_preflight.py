"""`syncgate preflight` with tokens that a real API server has signed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from test_sign_in import expired

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from conftest import People
    from harness.cluster import Repository
    from harness.gate import Gate
    from harness.tokens import Provider

_SOON = 2.0


@pytest.fixture(scope="module", autouse=True)
def _synced(people: People, shop: Repository) -> None:
    """cart in staging is what was synced last, so that a run has something to be about."""
    shop.touch("A commit to report for")
    people.cli("alice").run("app", "sync", "cart-staging").ok()


def preflight(gate: Gate, token: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Asks as the tests of `cart-staging` would, and takes two seconds at most."""
    begin = time.monotonic()
    done = gate.command("preflight", "--app", "cart-staging", "--environment", "staging", *more, token=token)
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
