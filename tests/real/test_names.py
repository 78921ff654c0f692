"""The gate as Argo CD's OpenID Connect issuer: Argo CD's own rules, events and history know who calls."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from harness.cli import Cli, free_port
from harness.cluster import ARGOCD, decision_of, path_of
from harness.doors import REPORTER, STAGING
from harness.gate import AUDIENCE, Gate, Setting
from harness.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Guard, People
    from harness.cluster import Kubernetes
    from harness.doors import Doors

OTHER = "other-staging"
# Who may deploy to staging by the gate's policies may here sync one application of it.
_RULES = f"""
p, role:deployer, projects, get, *, allow
p, role:deployer, applications, get, */*, allow
p, role:deployer, applications, sync, doors/{STAGING}, allow
g, syncgate:engineer, role:deployer
"""


def take_certificate(gate: Gate, rig: dict[str, Any], kubernetes: Kubernetes) -> None:
    """Gives the gate the certificate of argocd-server, which decides whom to trust with the keys of its issuer when its
    process starts: without an issuer, whoever has its own certificate.
    """
    pair = kubernetes.get(path_of("secrets", "argocd-server-tls"))["data"]
    certificate, key = (base64.b64decode(pair[name]).decode() for name in ("tls.crt", "tls.key"))
    gate.ca.write_text(certificate + Path(rig["argocd"]["ca"]).read_text())
    (gate.folder / "gate.key").write_text(key)


@contextmanager
def trusted(kubernetes: Kubernetes, gate: Gate) -> Iterator[None]:
    """Argo CD has the gate for its issuer, as the README says, until the end."""
    oidc = {
        "name": "Syncgate",
        "issuer": f"{gate.url}/syncgate/argocd",
        "clientID": "syncgate",
        "rootCA": gate.ca.read_text(),
    }
    rules = kubernetes.config_map(ARGOCD, "argocd-rbac-cm")["policy.csv"]
    settings, roles = (path_of("configmaps", name) for name in ("argocd-cm", "argocd-rbac-cm"))
    try:
        kubernetes.merge(roles, {"data": {"policy.csv": rules + _RULES}})
        kubernetes.merge(settings, {"data": {"oidc.config": yaml.safe_dump(oidc)}})
        yield
    finally:
        kubernetes.merge(settings, {"data": {"oidc.config": None}})
        kubernetes.merge(roles, {"data": {"policy.csv": rules}})


@pytest.fixture(scope="module")
def named(
    rig: dict[str, Any], kubernetes: Kubernetes, gate: Gate, guard: Guard, doors: Doors, folder: Path
) -> Iterator[Gate]:
    """A gate that names callers, with its admission door, and two applications in staging."""
    usual = gate
    setting = Setting(admission=f"127.0.0.1:{free_port()}", callers="named")
    gate = Gate.prepare(rig, guard.oidc.issuer, folder / "named", setting)
    take_certificate(gate, rig, kubernetes)
    log = Path(rig["logs"]) / "argocd-server.log"

    def starts() -> int:
        return log.read_text(errors="replace").count(" serving on port ")

    # It listens anew whenever its issuer changes, and before that waits 20 s for streams such as the usual gate's.
    before = starts()
    usual.stop()
    try:
        with trusted(kubernetes, gate), guard.installed(gate=gate):
            for name in (STAGING, OTHER):
                doors.create(doors.application(name, "staging"))
            eventually("argocd-server has its issuer", lambda: starts() == before + 1)
            yield gate
        eventually("argocd-server has no issuer", lambda: starts() == before + 2)
    finally:
        usual.start()
        doors.remove_all()


def claims_seen(rig: dict[str, Any]) -> str:
    """The log of argocd-server, which has the claims of each call, without the escapes of JSON in JSON."""
    return (Path(rig["logs"]) / "argocd-server.log").read_text(errors="replace").replace("\\", "")


def test_argo_cd_knows_who_calls_and_its_own_rules_hold_for_them(
    named: Gate, people: People, rig: dict[str, Any], kubernetes: Kubernetes
) -> None:
    here = people.at(named)
    alice = here.cli("alice")
    alice.run("app", "sync", STAGING).ok()

    # Whoever asks Argo CD learns that it was alice, and the decision leads to the gate's record.
    application = alice.json("app", "get", STAGING)
    assert isinstance(application, dict)
    status = application["status"]
    assert status["operationState"]["operation"]["initiatedBy"] == {"username": "alice@shop.example"}
    assert status["history"][-1]["initiatedBy"] == {"username": "alice@shop.example"}
    decision = decision_of(application)
    assert f'"jti":"{decision}"' in claims_seen(rig)

    # The admission door took it for what was permitted, and the gate for its own, though Argo CD wrote her name.
    entries = [entry["opening"] for entry in named.entries(here.token("sam"), "--app", STAGING)]
    syncs = [opening for opening in entries if opening["operation"] == "ApplicationService.Sync"]
    assert {(sync["door"], sync["word"]) for sync in syncs} == {("api", "permit"), ("admission", "answer")}, syncs
    assert "alarm" not in {opening["word"] for opening in entries}

    events = kubernetes.get(f"/api/v1/namespaces/{ARGOCD}/events")["items"]
    started = [event["message"] for event in events if event["involvedObject"]["name"] == STAGING]
    assert any(message.startswith("alice@shop.example initiated sync") for message in started), started

    # The gate lets her deploy all of staging; Argo CD does not, and says so itself.
    refused = alice.run("app", "sync", OTHER).refused()
    assert f"permission denied: applications, sync, doors/{OTHER}" in refused, refused
    assert "#alice" in refused
    assert "operationState" not in kubernetes.application(OTHER).get("status", {})

    # A workload is known by its subject, and has the groups of its own roles alone, which may do nothing here.
    token = kubernetes.service_account_token(*REPORTER, audience=AUDIENCE)
    job = here.new("job", token=token)
    refused = job.run("app", "get", STAGING).refused()
    assert refused.endswith("permission denied"), refused
    subject = f"{rig['kubernetes']['service_account_issuer']}#system:serviceaccount:{':'.join(REPORTER)}"
    assert f'"sub":"{subject}"' in claims_seen(rig)


def test_the_doctor_sees_what_fits_and_the_ways_past_the_gate(named: Gate, rig: dict[str, Any]) -> None:
    done = named.command("doctor", "--config", str(named.config), "--output", "json", token="")
    assert done.returncode == 1, done.stdout + done.stderr
    findings = json.loads(done.stdout)["findings"]
    for check in ("configuration", "policies", "certificate", "keys", "argocd", "callers"):
        assert {finding["state"] for finding in findings if finding["check"] == check} == {"well"}, findings
    # The rig's Argo CD takes a password, and has its own address for its links.
    passwords, links = (finding["found"] for finding in findings if finding["state"] == "wrong")
    assert "passwords" in passwords
    assert rig["argocd"]["url"] in links


def test_nothing_but_the_gate_is_believed_and_a_gate_that_starts_anew_is(
    named: Gate, people: People, rig: dict[str, Any], folder: Path
) -> None:
    # The token with which alice signs in at the gate is worth nothing at Argo CD.
    argocd = rig["argocd"]
    past = Cli(Path(str(rig["cli"])), argocd["url"], Path(argocd["ca"]), folder / "past", token=people.token("alice"))
    assert "Unauthenticated" in past.run("app", "get", STAGING).refused()

    # Each start makes another key, which Argo CD gets when it sees the first token of it.
    alice = people.at(named).cli("alice")
    alice.run("app", "get", STAGING).ok()
    named.stop()
    named.start()
    alice.run("app", "get", STAGING).ok()
