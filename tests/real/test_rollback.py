"""What was rolled out together is taken back together, when the tests of one of it fail, on a real Argo CD.

Each application has the shipped hook Job, whose pytest fails where the value that is rolled out is negative. The gate
writes as its own service account, with the rights that `config/kubernetes` gives it and no other.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.cluster import decision_of, path_of, revision_of
from harness.doors import AUTOMATED, FLEET
from harness.fleet import PARENT, Account, Fleet, settled, steps
from harness.gate import ENVIRONMENTS, Gate, Setting
from harness.lifecycle import remove_settings
from harness.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Guard, People, Rig
    from harness.cluster import Kubernetes, Repository
    from harness.doors import Doors
    from harness.tokens import Provider

Json = dict[str, Any]


@pytest.fixture
def clean(doors: Doors) -> Iterator[Doors]:
    """No application of the doors yet, and none afterwards."""
    yield doors
    doors.remove_all()
    remove_settings(doors)


@pytest.fixture
def fleet(guard: Guard, account: Account, clean: Doors, rig: Rig, tmp_path: Path) -> Iterator[Fleet]:
    """Three applications that are rolled out together, not created yet, and a gate that may take them back."""
    with guard.installed(gate=guard.prepare(rollback=account.section())) as gate:
        fleet = Fleet(clean, Path(rig["images"]), tmp_path / "marks", gate, FLEET[:3])
        fleet.prepare()
        yield fleet


@pytest.mark.timeout(600)
def test_a_set_comes_back_to_what_has_passed(fleet: Fleet, people: People) -> None:
    gate = fleet.gate
    alice, security = people.token("alice"), people.token("sam")
    first, second, third = fleet.names
    before = fleet.plain(0, 1, 2)
    good = fleet.value
    fleet.passed(alice)

    bad = fleet.push(third)
    fleet.compared(bad)
    code, said = fleet.sync(alice)
    assert code == 1, said
    assert f"{third}: Failed" in said
    rollout = fleet.newest(alice)
    [failing] = gate.json("evidence", "list", "--app", third, "--commit", bad, token=security)["runs"]
    rollout = fleet.ended(alice, rollout["decision"])
    rollback = rollout["rollback"]
    assert rollback["state"] == "verified", json.dumps(rollback, indent=1)
    assert steps(rollout) == dict.fromkeys(fleet.names, "verified")
    assert rollback["because"]["application"]["name"] == third
    assert [step["application"]["name"] for step in rollback["steps"]] == [third, second, first]
    fleet.is_back(before, good)
    # Each began when the one behind it had ended, tests included.
    states = {name: fleet.state(name) for name in fleet.names}
    assert states[third]["finishedAt"] <= states[second]["startedAt"]
    assert states[second]["finishedAt"] <= states[first]["startedAt"]
    assert fleet.ran()[-3:] == [(third, good), (second, good), (first, good)]

    # Whoever looks sees what happened, and why.
    cli = people.at(gate).new("alice", token=alice)
    shown = cli.json("app", "get", third)
    assert isinstance(shown, dict)
    operation = shown["status"]["operationState"]["operation"]
    assert operation["sync"]["revision"] == before
    assert operation["initiatedBy"] == {"username": "syncgate"}
    infos = {info["name"]: info["value"] for info in operation["info"]}
    # Whichever the gate heard of first.
    assert re.search(r"'integration' run failed \(1 test\)|PostSync hook Job .* failed", infos["syncgate-rollback"])
    told = cli.run("app", "get", third, "--show-operation").ok().out
    assert before[:7] in told
    decisions = {step["application"]["name"]: step["decision"] for step in rollback["steps"]}
    assert infos["syncgate-decision"] == decisions[third]
    entries = gate.entries(security, "--app", third)
    by_operation = {entry["opening"]["operation"]: entry for entry in reversed(entries)}
    assert {"Rollback.begin", "Rollout.rollback", "Rollback.end"} <= by_operation.keys()
    decided = gate.json("log", "show", decisions[third], token=security)
    assert decided["opening"]["word"] == "permit"
    assert decided["opening"]["operation"] == "Rollout.rollback"
    assert decided["opening"]["door"] == "controller"
    assert decided["opening"]["request"]["rollout"] == rollout["decision"]
    assert by_operation["Rollback.end"]["opening"]["request"]["state"] == "verified"

    # What has failed stays on record as what it is.
    run = gate.json("evidence", "show", str(failing["run"]), token=security)
    assert run["result"]["verdict"] == "failed"
    assert {item["test"] for item in run["attempts"] if item["outcome"] == "failed"} == {
        "integration/test_value.py::test_value_is_positive"
    }
    fleet.stays()


def automated(fleet: Fleet, *broken: str) -> tuple[str, int]:
    """Pushes a new value, and then its commit as what the children are to roll out by themselves; gives both."""
    # By default Argo CD tries an automated sync five times more, and its tests with it.
    policy = {**AUTOMATED, "retry": {"limit": 0}}
    commit = fleet.push(*broken)
    waves = enumerate(fleet.components)
    fleet.write([fleet.application(part, policy, wave=wave, targetRevision=commit) for wave, part in waves])
    head = fleet.doors.repository.add(f"Let the children roll out {commit}")
    if not fleet.doors.kubernetes.has_application(PARENT):
        # What Argo CD has not looked at yet may not come with automated sync on.
        fleet.doors.create(fleet.doors.parent(PARENT, "staging"))
        fleet.doors.kubernetes.patch_application(PARENT, {"spec": {"syncPolicy": policy}})
    fleet.doors.compared(PARENT, head)
    return commit, fleet.value


@pytest.mark.timeout(600)
def test_what_syncs_by_itself_does_not_come_again(fleet: Fleet, people: People) -> None:
    doors, alice, third = fleet.doors, people.token("alice"), fleet.names[-1]
    before, good = automated(fleet)
    for name in fleet.names:
        eventually(f"{name} is there", partial(doors.kubernetes.has_application, name))
        assert doors.rolled_out(name, before)["phase"] == "Succeeded"
    eventually("all of it has passed", lambda: settled(fleet.newest(alice)))

    bad, _ = automated(fleet, third)
    assert doors.rolled_out(third, bad)["phase"] == "Failed"
    rollout = fleet.newest(alice, third)
    assert {member["application"]["name"] for member in rollout["members"]} == set(fleet.names)
    rollout = fleet.ended(alice, rollout["decision"])
    assert rollout["rollback"]["state"] == "verified", json.dumps(rollout["rollback"], indent=1)
    assert steps(rollout) == dict.fromkeys(fleet.names, "verified")
    fleet.is_back(before, good)

    # Argo CD would like to go forward again, and heals nothing: the specs are as they are in Git.
    for name in fleet.names:
        said = eventually(f"{name} says why it stays", partial(denied, fleet, name, bad), within=60)
        assert "it was rolled back since its tests failed" in str(said)
    fleet.stays(35)
    fleet.is_back(before, good)
    for name in fleet.names:
        application = doors.kubernetes.application(name)
        assert application["spec"]["source"]["targetRevision"] == bad
        assert application["status"]["sync"]["status"] == "OutOfSync"
    assert doors.status(PARENT)["sync"]["status"] == "Synced"
    shown = fleet.show(alice, rollout["decision"])
    assert shown["rollback"] == rollout["rollback"]

    # The failure is understood, and mended.
    mended, value = automated(fleet)
    cli = people.at(fleet.gate).new("alice", token=alice)
    eventually("the parent is synced", lambda: cli.run("app", "sync", PARENT).code == 0, within=60, every=2)
    for name in fleet.names:
        assert doors.rolled_out(name, mended)["phase"] == "Succeeded"
    fleet.is_back(mended, value)
    eventually("all of it has passed", lambda: settled(fleet.newest(alice, third)))
    fleet.stays()


def denied(fleet: Fleet, name: str, commit: str) -> str:
    """What Argo CD says of a commit that it may not roll out, if it does."""
    conditions = fleet.doors.status(name).get("conditions", [])
    said = " ".join(condition["message"] for condition in conditions)
    return said if commit in said or "denied the request" in said else ""


@pytest.mark.timeout(600)
def test_one_application_comes_back(fleet: Fleet, people: People) -> None:
    alice, name = people.token("alice"), fleet.names[0]
    fleet.components = fleet.components[:1]
    cli = people.at(fleet.gate).new("alice", token=alice)
    doors = fleet.doors

    def synced(*broken: str) -> tuple[str, int, int]:
        """Rolls out a new commit; gives it, its value, and how the CLI ended."""
        commit = fleet.push(*broken)
        if not doors.kubernetes.has_application(name):
            doors.create(fleet.application(fleet.components[0]))
        doors.compared(name, commit)
        return commit, fleet.value, cli.run("app", "sync", name).code

    before, good, code = synced()
    assert code == 0
    eventually("it has passed", lambda: settled(fleet.newest(alice)))
    _, _, code = synced(name)
    assert code == 1
    rollout = fleet.ended(alice, fleet.newest(alice)["decision"])
    assert rollout["rollback"]["state"] == "verified", json.dumps(rollout["rollback"], indent=1)
    fleet.is_back(before, good)

    # What passes its own tests, and fails those that somebody else runs.
    commit, _, code = synced()
    assert code == 0
    doors.at_rest(name, commit)
    eventually("it has passed", lambda: settled(fleet.newest(alice)))
    doors.report(fleet.gate, name, passed=False)
    rollout = fleet.ended(alice, fleet.newest(alice)["decision"])
    assert rollout["rollback"]["state"] == "verified", json.dumps(rollout["rollback"], indent=1)
    assert rollout["rollback"]["because"]["run"]
    fleet.is_back(before, good)
    fleet.stays()

    # A person may roll out what was taken back: it is understood.
    cli.run("app", "sync", name, "--revision", commit).ok()
    assert doors.rolled_out(name, commit)["phase"] == "Succeeded"
    assert fleet.rolled_out(name) > good


def only_proposes(policies: Path) -> None:
    """Takes from the gate that it may take back by itself what is in prod, as the comment of that policy tells."""
    policy, cases = policies / "rollout.cedar", policies / "rollout.cases.json"
    head, rest = policy.read_text().split("\n);", 1)
    assert '@id("rollback-by-itself")' in head
    policy.write_text(f'{head}\n)\nunless {{ resource.environment == Syncgate::Environment::"prod" }};{rest}')
    told = json.loads(cases.read_text())
    for case in told:
        if case["reason"] == ["rollback-by-itself"]:
            case["application"]["environment"] = "staging"
    cases.write_text(json.dumps(told))


@pytest.mark.timeout(600)
def test_without_the_door_automated_sync_would_undo_it(
    rig: Rig, oidc: Provider, clean: Doors, account: Account, people: People, tmp_path: Path
) -> None:
    alice, part, name = people.token("alice"), FLEET[0], f"{FLEET[0]}-staging"
    gate = Gate.prepare(rig, oidc.issuer, tmp_path / "gate", Setting(rollback=account.section(admission=False)))
    gate.start()
    try:
        fleet = Fleet(clean, Path(rig["images"]), tmp_path / "marks", gate, (part,))
        fleet.prepare()
        cli = people.at(gate).new("alice", token=alice)
        before = fleet.push()
        clean.create(fleet.application(part))
        cli.run("app", "sync", name).ok()
        eventually("it has passed", lambda: settled(fleet.newest(alice)))
        mark = fleet.hold(name, -(fleet.value + 1))
        bad = fleet.push(name)
        clean.compared(name, bad)
        cli.run("app", "sync", name, "--async").ok()
        eventually("its tests run", lambda: fleet.ran()[-1] == (name, -fleet.value))
        armed = {"source": {"targetRevision": bad}, "syncPolicy": {"automated": {}, "retry": {"limit": 0}}}
        clean.kubernetes.patch_application(name, {"spec": armed})
        mark.unlink()

        rollout = fleet.ended(alice, fleet.newest(alice)["decision"])
        assert rollout["rollback"]["state"] == "proposed", json.dumps(rollout["rollback"], indent=1)
        assert f"automated sync of {name} would undo it" in rollout["rollback"]["why"]
        refused = gate.command("rollout", "rollback", rollout["decision"], token=alice)
        assert refused.returncode == 1, refused.stdout
        assert f"automated sync of {name} would undo it" in refused.stderr
        fleet.stays(15)
        clean.kubernetes.patch_application(name, {"spec": {"syncPolicy": None}})
        started = gate.command("rollout", "rollback", rollout["decision"], token=alice, within=120)
        assert started.returncode == 0, started.stdout + started.stderr
        assert fleet.show(alice, rollout["decision"])["rollback"]["state"] == "verified"
        fleet.is_back(before, fleet.value - 1)
    finally:
        gate.stop()


@pytest.fixture
def shop_gate(
    rig: Rig, oidc: Provider, kubernetes: Kubernetes, gate: Gate, account: Account, folder: Path
) -> Iterator[Gate]:
    """A gate without an admission door, which may not take anything back in prod by itself; the shop reports to it."""
    setting = Setting(rollback=account.section(admission=False))
    mine = Gate.prepare(rig, oidc.issuer, folder / "propose", setting)
    only_proposes(mine.folder / "policies")
    before = {env: kubernetes.config_map(f"shop-{env}", "syncgate") for env in ENVIRONMENTS}
    mine.start()
    for environment, settings in before.items():
        address = {"SYNCGATE_URL": mine.url, "SYNCGATE_CA_FILE": str(mine.ca)}
        kubernetes.write_config_map(f"shop-{environment}", "syncgate", {**settings, **address})
    assert gate.url != mine.url
    try:
        yield mine
    finally:
        for environment, settings in before.items():
            kubernetes.write_config_map(f"shop-{environment}", "syncgate", settings)
        mine.stop()


@pytest.mark.timeout(600)
def test_what_the_gate_may_not_do_by_itself_it_proposes(
    shop_gate: Gate, people: People, shop: Repository, kubernetes: Kubernetes, price: str
) -> None:
    file, name = "components/checkout/overlays/prod/environment.yaml", "checkout-prod"
    settings = (shop.worktree / file).read_text()
    here = people.at(shop_gate)
    tokens = {login: people.token(login) for login in ("alice", "rita", "sam")}
    alice, rita = (here.new(login, token=tokens[login]) for login in ("alice", "rita"))

    def newest_of(login: str) -> Json:
        listed = shop_gate.json("rollout", "list", "--application", name, token=tokens[login])
        return dict(listed["rollouts"][0])

    before = shop.set("components/checkout/base/configmap.yaml", "PRICE_CENTS", price)
    alice.run("app", "sync", "checkout-staging").ok()
    rita.run("app", "sync", name).ok()
    eventually("it has passed", lambda: settled(newest_of("rita")))
    try:
        # The tests of staging pass, and those of prod do not.
        bad = shop.write(file, f"{settings.rstrip()}\n  CURRENCY: none\n", "No currency in prod")
        alice.run("app", "sync", "checkout-staging").ok()
        assert rita.run("app", "sync", name).code == 1
        found = eventually(
            "a rollback is proposed", lambda: rollout if "rollback" in (rollout := newest_of("rita")) else None
        )
        assert isinstance(found, dict)
        assert found["rollback"]["state"] == "proposed", json.dumps(found["rollback"], indent=1)
        assert found["rollback"]["steps"][0]["commits"] == [before]
        told = shop_gate.command("rollout", "show", found["decision"], token=tokens["rita"]).stdout
        assert "ROLLBACK PROPOSED" in told
        state = kubernetes.application(name)["status"]["operationState"]
        assert (state["syncResult"]["revision"], state["phase"]) == (bad, "Failed")

        # It is for those who may deploy there.
        ask = ["rollout", "rollback", found["decision"]]
        refused = shop_gate.command(*ask, token=tokens["alice"])
        assert refused.returncode == 1, refused
        assert "release-manager" in refused.stderr
        assert newest_of("rita")["rollback"]["state"] == "proposed"
        started = shop_gate.command(*ask, token=tokens["rita"], within=120)
        assert started.returncode == 0, started.stdout + started.stderr
        rollback = newest_of("rita")["rollback"]
        assert (rollback["state"], rollback["by"]) == ("verified", "rita@shop.example")
        application = kubernetes.application(name)
        assert revision_of(application) == before
        assert application["status"]["operationState"]["operation"]["initiatedBy"] == {"username": "rita@shop.example"}
        permit = shop_gate.json("log", "show", decision_of(application), token=tokens["sam"])
        assert permit["opening"]["caller"]["display"] == "rita@shop.example"
        # It is done: nobody can do it again.
        again = shop_gate.command(*ask, token=tokens["rita"])
        assert again.returncode == 1
        assert "verified" in again.stderr
    finally:
        shop.write(file, settings, "The currency is back")


def test_the_account_may_do_nothing_else(fleet: Fleet, account: Account, people: People) -> None:
    """Neither by its rights, nor, where those reach further, by the admission door."""
    doors, name = fleet.doors, fleet.names[0]
    fleet.components = fleet.components[:1]
    commit = fleet.push()
    doors.create(fleet.application(fleet.components[0]))
    doors.compared(name, commit)
    application = path_of("applications", name)
    patch = "application/merge-patch+json"
    with account.client() as stolen:
        for method, path in (
            ("GET", application),
            ("GET", path_of("applications")),
            ("DELETE", application),
            ("PATCH", path_of("applications", name, namespace="doors-staging")),
            ("PATCH", path_of("appprojects", "doors")),
            ("PATCH", path_of("configmaps", "argocd-cm")),
            ("GET", path_of("secrets", "argocd-secret")),
            ("PATCH", path_of("configmaps", "syncgate", namespace="doors-staging")),
        ):
            answer = stolen.request(method, path, content=b"{}", headers={"content-type": patch})
            assert answer.status_code == 403, (method, path, answer.text)
            assert "admission webhook" not in answer.text
        operation: Json = {"sync": {"revision": commit, "syncStrategy": {"hook": {}}}}
        forged = {"name": "syncgate-decision", "value": "01KXYZ00000000000000000000"}
        for change in (
            {"operation": operation},
            {"operation": {**operation, "info": [forged], "initiatedBy": {"username": "syncgate"}}},
            {"spec": {"source": {"targetRevision": "0" * 40}}},
            {"spec": {"syncPolicy": AUTOMATED}},
            {"metadata": {"labels": {"syncgate.dev/environment": "prod"}}},
            {"status": {"history": [{"id": 0, "revision": commit, "deployedAt": "2026-01-01T00:00:00Z"}]}},
        ):
            answer = stolen.patch(application, content=json.dumps(change), headers={"content-type": patch})
            assert answer.status_code in {400, 403}, (change, answer.text)
            assert "admission webhook" in answer.text
    assert "operationState" not in doors.status(name)
    # Others may, here and now.
    people.at(fleet.gate).new("alice", token=people.token("alice")).run("app", "sync", name).ok()
