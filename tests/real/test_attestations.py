"""Attestations that securesystemslib has signed: which the gate takes, and what a required signature is worth."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from harness.gate import Gate, Setting

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import People, Rig
    from harness.cluster import Repository
    from harness.tokens import Provider

Json = dict[str, Any]

_NOW = "2026-11-23T14:00:00Z"


@dataclass
class Hand:
    """Somebody who signs."""

    signer: CryptoSigner
    pem: str

    @classmethod
    def new(cls, kind: str) -> Hand:
        key = Ed25519PrivateKey.generate() if kind == "ed25519" else generate_private_key(SECP256R1())
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return cls(CryptoSigner(key), pem)

    def sign(self, statement: Json) -> Json:
        envelope = Envelope(json.dumps(statement).encode(), "application/vnd.in-toto+json", {})
        envelope.sign(self.signer)
        signed: Json = envelope.to_dict()
        return signed


@pytest.fixture(scope="module")
def hands() -> dict[str, Hand]:
    return {kind: Hand.new(kind) for kind in ("ed25519", "ecdsa")}


@pytest.fixture(scope="module")
def strict(rig: Rig, oidc: Provider, folder: Path, gate: Gate, hands: dict[str, Hand]) -> Iterator[Gate]:
    """A gate whose prod wants one of the hands to have signed its tests."""
    assert gate.service is not None  # its settings are what the Jobs of the shop know
    signers = tuple((f"ci-{kind}", hand.pem) for kind, hand in hands.items())
    strict = Gate.prepare(rig, oidc.issuer, folder / "strict", Setting(signers=signers))
    strict.start()
    try:
        yield strict
    finally:
        if strict.service is not None and strict.service.running():
            strict.stop()


@pytest.fixture
def commit(people: People, shop: Repository) -> str:
    """A commit that cart runs in staging, and that nobody has tested at the strict gate."""
    commit = shop.touch("A commit to sign for")
    people.cli("alice").run("app", "sync", "cart-staging").ok()
    return commit


def statement(commit: str, result: str = "PASSED", **lists: list[str]) -> Json:
    """What CI says about the tests at `commit`."""
    tests = {"passedTests": ["test_empty", "test_total[\u20ac]"], "warnedTests": ["test_flaky"], "failedTests": []}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "shop", "digest": {"gitCommit": commit}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": "WARNED" if result == "PASSED" else result,
            "configuration": [{"name": "suite integration"}],
            "url": f"https://ci.shop.example/{commit}",
            **tests,
            **lists,
        },
    }


def submit(gate: Gate, token: str, file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return gate.command("evidence", "submit", "--app", "cart-staging", *more, str(file), token=token)


def written(folder: Path, envelope: Json) -> Path:
    file = folder / "statement.dsse.json"
    file.write_text(json.dumps(envelope, indent=1) + "\n")
    return file


@pytest.fixture
def web(strict: Gate) -> Iterator[httpx.Client]:
    """HTTP to the strict gate, without a credential."""
    verify = ssl.create_default_context(cafile=str(strict.ca))
    with httpx.Client(base_url=strict.url, verify=verify, trust_env=False, timeout=30) as client:
        yield client


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_prod_opens_for_what_ci_has_signed(
    kind: str,
    strict: Gate,
    hands: dict[str, Hand],
    people: People,
    job_token: Callable[..., str],
    commit: str,
    web: httpx.Client,
    tmp_path: Path,
) -> None:
    rita = people.at(strict).new("rita", token=people.token("rita"))
    security, token = people.token("sam"), job_token("cart")
    sync = ("app", "sync", "cart-prod")
    said = rita.run(*sync).refused()
    assert f"cart@{commit[:7]} has no passing 'integration' run in staging" in said, said

    # A pass that nobody has signed is not enough, and the refusal says what would be.
    report = tmp_path / "report.xml"
    cases = "".join(f"<testcase name='{name}'/>" for name in ("empty", "total", "flaky"))
    report.write_text(f"<testsuite name='s' tests='3'>{cases}</testsuite>")
    done = submit(strict, token, report, "--junit")
    assert done.returncode == 0, done.stdout + done.stderr
    said = rita.run(*sync).refused()
    unsigned = r"passed [0-9:]+, not signed by ci-ed25519 or ci-ecdsa; run it again and send its attestation with it"
    assert re.search(unsigned, said), said

    file = written(tmp_path, hands[kind].sign(statement(commit)))
    done = submit(strict, token, file, "--suite", "integration", "--attestation")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"signed by ci-{kind} " in done.stdout, done.stdout
    rita.run(*sync).ok()

    # What was signed is there for whoever wants to verify it again.
    (run,) = [
        run
        for run in strict.json("evidence", "list", "--commit", commit, token=security)["runs"]
        if run["result"]["attestation"]
    ]
    kept = web.get(f"/syncgate/v1/runs/{run['run']}/attestation", headers={"authorization": f"Bearer {security}"})
    assert kept.text == file.read_text().strip()
    envelope = Envelope.from_dict(json.loads(kept.text))
    assert envelope.verify([hands[kind].signer.public_key], 1)
    attested = {"signed_by": [f"ci-{kind}"], "payload_sha256": hashlib.sha256(envelope.payload).hexdigest()}
    assert run["result"]["attestation"] == attested
    shown = strict.json("log", "show", run["result"]["decision"], token=security)
    assert shown["opening"]["request"]["attestation"] == attested
    assert f"signed by ci-{kind} " in strict.command("evidence", "show", run["run"], token=security).stdout

    # One statement is good for one run.
    done = submit(strict, token, file, "--attestation")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"this attestation has finished run `{run['run']}`" in done.stderr, done.stderr


def test_what_ci_has_signed_to_have_failed_is_no_pass(
    strict: Gate, hands: dict[str, Hand], people: People, job_token: Callable[..., str], commit: str, tmp_path: Path
) -> None:
    failed = statement(commit, "FAILED", passedTests=["test_empty"], warnedTests=[], failedTests=["test_total"])
    done = submit(strict, job_token("cart"), written(tmp_path, hands["ecdsa"].sign(failed)), "--attestation")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed-tests: 1 test failed: test_total" in done.stdout, done.stdout
    said = people.at(strict).new("rita", token=people.token("rita")).run("app", "sync", "cart-prod").refused()
    assert "(last: failed" in said, said


def test_what_does_not_hold_is_refused_and_finishes_nothing(
    hands: dict[str, Hand], people: People, job_token: Callable[..., str], commit: str, web: httpx.Client
) -> None:
    web.headers["authorization"] = f"Bearer {job_token('cart')}"
    names = ["test_empty", "test_flaky", "test_total[\u20ac]"]
    outcomes = [("test_empty", 1, "passed"), ("test_total[\u20ac]", 1, "passed")]
    outcomes += [("test_flaky", 1, "failed"), ("test_flaky", 2, "passed")]
    opened = web.post(
        "/syncgate/v1/runs",
        json={
            "application": "cart-staging",
            "suite": "integration",
            "collected": {"tests": 3, "digest": hashlib.sha256("\n".join(names).encode()).hexdigest()},
            "tool": {"name": "by hand"},
            "started_at": _NOW,
        },
    )
    assert opened.status_code == 201, opened.text
    page = f"/syncgate/v1/runs/{opened.json()['run']}"
    attempts = [
        {"test": test, "attempt": number, "outcome": outcome, "duration_ms": 1, "started_at": _NOW}
        for test, number, outcome in outcomes
    ]
    batch = web.post(f"{page}/attempts", json={"sequence": 0, "attempts": attempts})
    assert batch.status_code == 200, batch.text

    def finish(envelope: Json | None) -> httpx.Response:
        end = {"exit_status": 0, "finished_at": _NOW, "batches": 1, "attempts": 4}
        return web.post(f"{page}/finish", json=end | ({"attestation": envelope} if envelope else {}))

    sign = hands["ed25519"].sign
    good = statement(commit)
    edited = sign(good) | {"payload": base64.b64encode(json.dumps(good | {"more": 1}).encode()).decode()}
    unsigned = sign(good) | {"signatures": []}
    plain = sign(good) | {"payloadType": "text/plain"}
    for envelope, code in (
        (Hand.new("ed25519").sign(good), "attestation-unverified"),
        (Hand.new("ecdsa").sign(good), "attestation-unverified"),
        (edited, "attestation-unverified"),
        (unsigned, "attestation-invalid"),
        (plain, "attestation-invalid"),
        (sign(statement("d" * 40)), "attestation-subject"),
        (sign(statement(commit, passedTests=["test_empty"])), "attestation-tests"),
        (sign(statement(commit, passedTests=names, warnedTests=[])), "attestation-tests"),
        (sign(statement(commit, "FAILED")), "attestation-result"),
    ):
        said = finish(envelope)
        assert (said.status_code, said.json()["code"]) == (409, code), said.text
        assert said.headers["content-type"] == "application/problem+json"
    security = {"authorization": f"Bearer {people.token('sam')}"}
    assert web.get(page, headers=security).json()["result"] is None
    said = finish(sign(good))
    assert said.status_code == 200, said.text
    assert said.json()["attestation"]["signed_by"] == ["ci-ed25519"]
