"""The admission door on a real Kubernetes: what never passes Argo CD's API is gated all the same.

Automated syncs, self-heal, ApplicationSets, kubectl, other API servers: without evidence they are denied with our
sentence, which Argo CD shows, and with it they happen by themselves. Installing the door stops nobody, and a gate that
is down can be got out of the way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.cli import Cli
from harness.cluster import ARGOCD, path_of
from harness.doors import AUTOMATED, STAGING, Doors
from harness.gate import ROOT
from harness.processes import eventually
from harness.stage import Stage, start
from harness.webhook import Webhook
from harness.wire import Client, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Guard, People, Rig
    from harness.cluster import Kubernetes
    from harness.protobuf import Facts

Json = dict[str, Any]
OURS = "has no passing 'integration' run in staging"


@pytest.fixture
def clean(doors: Doors) -> Iterator[Doors]:
    """No application of the doors yet, and none afterwards."""
    yield doors
    doors.remove_all()


@pytest.fixture
def stage(clean: Doors, guard: Guard, rig: Rig, people: People, facts: Facts) -> Iterator[Stage]:
    """The gate with its door installed, in front of `auto-prod`, which has rolled out a commit that has passed."""
    clean.create(clean.application(STAGING, "staging"))
    with guard.installed() as gate:
        stage = Stage(rig, clean, gate, Client(facts, gate.url, gate.ca), people.token)
        stage.prove()
        stage.automated("auto-prod")
        yield stage


def conditions(doors: Doors, name: str) -> str:
    """What Argo CD says is wrong with an application."""
    return " ".join(condition["message"] for condition in doors.status(name).get("conditions", []))


def told(doors: Doors, name: str, commit: str) -> str:
    """Waits until Argo CD shows our sentence about a commit."""
    found = eventually(
        f"{name} says why {commit} is not rolled out",
        lambda: said if f"@{commit[:7]} {OURS}" in (said := conditions(doors, name)) else "",
        within=60,
    )
    return str(found)


def test_an_automated_sync_waits_for_its_evidence(stage: Stage, people: People) -> None:
    doors, before = stage.doors, stage.doors.value("auto-prod")
    commit = doors.commit()
    doors.compared("auto-prod", commit)
    said = told(doors, "auto-prod", commit)
    assert "denied the request: " in said
    assert doors.value("auto-prod") == before
    assert doors.status("auto-prod")["sync"]["status"] == "OutOfSync"

    # It is on record who wanted what.
    [denied, *_] = stage.gate.entries(
        people.token("sam"), "--app", "auto-prod", "--operation", "ApplicationService.Sync"
    )
    assert denied["opening"]["word"] == "deny"
    assert denied["opening"]["door"] == "admission"
    assert denied["opening"]["caller"]["display"] == "system:serviceaccount:argocd:argocd-application-controller"

    # Nobody has to do anything but test.
    stage.prove()
    state = doors.rolled_out("auto-prod", commit)
    assert state["operation"]["initiatedBy"] == {"automated": True}
    eventually("the condition is gone", lambda: OURS not in conditions(doors, "auto-prod"))


def test_self_heal_goes_on_with_what_has_passed_and_takes_nothing_else(stage: Stage) -> None:
    doors, kubernetes = stage.doors, stage.doors.kubernetes
    path = path_of("configmaps", "auto-prod-settings", namespace="doors-prod")
    passed = doors.value("auto-prod")
    kubernetes.merge(path, {"data": {"VALUE": "drifted"}})
    eventually("the drift is healed", lambda: doors.value("auto-prod") == passed, within=60)

    commit = doors.commit()
    doors.compared("auto-prod", commit)
    told(doors, "auto-prod", commit)
    kubernetes.merge(path, {"data": {"VALUE": "drifted"}})
    doors.compared("auto-prod", commit)
    told(doors, "auto-prod", commit)
    assert doors.value("auto-prod") == "drifted"
    stage.prove()
    doors.rolled_out("auto-prod", commit)
    assert doors.value("auto-prod") not in {passed, "drifted"}


def kubectl(kubernetes: Kubernetes, name: str, patch: Json) -> str:
    """What kubectl is told when it may not."""
    answer = kubernetes.ask("PATCH", path_of("applications", name), patch, content_type="application/merge-patch+json")
    assert answer.status_code in {400, 403}, answer.text
    assert "admission webhook" in answer.text
    return str(answer.json()["message"])


def test_kubectl_is_bound_by_evidence_too(stage: Stage) -> None:
    doors, kubernetes = stage.doors, stage.doors.kubernetes
    stage.plain("plain-prod")
    commit = doors.commit()
    doors.compared("plain-prod", commit)
    sync: Json = {"revision": commit, "syncStrategy": {"hook": {}}}
    local: Json = {"revision": commit, "manifests": ['{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}']}
    tried: list[Json] = [
        {"operation": {"sync": sync}},
        {"operation": {"sync": sync, "initiatedBy": {"username": "argocd-server"}}},
        {"operation": {"sync": {**sync, "resources": [{"kind": "ConfigMap", "name": "plain-prod-settings"}]}}},
        {"spec": {"syncPolicy": AUTOMATED}},
    ]
    for patch in tried:
        assert f"@{commit[:7]} {OURS}" in kubectl(kubernetes, "plain-prod", patch), patch
    for patch, why in (
        ({"operation": {"sync": local}}, "manifests"),
        # Argo CD would take it for whatever the branch points to when the operation runs.
        ({"operation": {"sync": {**sync, "revision": "main"}}}, "commit SHA"),
        ({"status": {"history": [{"id": 0, "revision": commit, "deployedAt": "2026-01-01T00:00:00Z"}]}}, "status"),
        ({"metadata": {"labels": {"syncgate.dev/environment": "dev"}}}, "environment"),
        ({"spec": {"destination": {"namespace": "doors-staging"}, "syncPolicy": AUTOMATED}}, OURS),
    ):
        assert why in kubectl(kubernetes, "plain-prod", patch), patch
    answer = kubernetes.ask("POST", path_of("applications"), doors.application("new-prod", "prod", AUTOMATED))
    assert answer.status_code in {400, 403}
    assert f"@{commit[:7]} {OURS}" in answer.text
    assert doors.value("plain-prod") is None

    stage.prove()
    start(doors, "plain-prod", commit)
    doors.rolled_out("plain-prod", commit)
    doors.create(doors.application("new-prod", "prod", AUTOMATED))
    doors.rolled_out("new-prod", commit)


@pytest.fixture
def core(rig: Rig, kubernetes: Kubernetes, folder: Path) -> Iterator[Cli]:
    """`argocd --core`: an API server of one's own, with one's own kubeconfig.

    It finds Argo CD's other parts by their Pods; here these stand for what runs beside them.
    """
    ports = {"argocd-repo-server": (8081, "repo_server_port"), "argocd-redis": (6379, "redis_port")}
    pods = f"/api/v1/namespaces/{ARGOCD}/pods"
    for name, (port, key) in ports.items():
        container = {"name": "none", "image": "rig.local/cart-tests:1", "command": ["sleep", "600"]}
        metadata = {
            "name": name,
            "labels": {"app.kubernetes.io/name": name},
            "annotations": {"rig.local/ports": f"{port}={rig['argocd'][key]}"},
        }
        spec = {"containers": [container], "restartPolicy": "Never"}
        kubernetes.create(pods, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    for name in ports:
        eventually(f"{name} is there", lambda n=name: kubernetes.get(f"{pods}/{n}")["status"].get("phase") == "Running")
    cli = Cli(Path(rig["cli"]), rig["argocd"]["url"], Path(rig["argocd"]["ca"]), folder / "core")
    cli.core = Path(rig["kubernetes"]["kubeconfig"])
    yield cli
    for name in ports:
        kubernetes.delete(f"{pods}/{name}")


def test_another_api_server_is_bound_too(stage: Stage, core: Cli) -> None:
    doors = stage.doors
    stage.plain("plain-prod")
    commit = doors.commit()
    doors.compared("plain-prod", commit)
    for command in (
        ["app", "sync", "plain-prod"],
        ["app", "sync", "plain-prod", "--revision", commit],
        ["app", "set", "plain-prod", "--sync-policy", "automated"],
    ):
        said = core.run(*command).refused()
        assert f"@{commit[:7]} {OURS}" in said, command
    assert doors.value("plain-prod") is None
    stage.prove()
    # The second takes away what the first has left of its state.
    for _ in range(2):
        core.run("app", "sync", "plain-prod").ok()
        doors.rolled_out("plain-prod", commit)


@pytest.fixture(params=["without-health", "with-health"])
def health(request: pytest.FixtureRequest, kubernetes: Kubernetes) -> Iterator[bool]:
    """Whether an Application has a health, for which its parent's sync waits."""
    settings = path_of("configmaps", "argocd-cm")
    key = "resource.customizations.health.argoproj.io_Application"
    on = request.param == "with-health"
    lua = (ROOT / "tests/argocd/fixtures/cluster/application-health.lua").read_text()
    kubernetes.merge(settings, {"data": {key: lua if on else None}})
    yield on
    kubernetes.merge(settings, {"data": {key: None}})


def test_a_root_rolls_out_what_has_passed(stage: Stage, health: bool, people: People) -> None:
    """Who may deploy to staging must not roll out prod by a parent in staging; nobody what has not passed."""
    doors, at_the_gate = stage.doors, people.at(stage.gate)
    alice, rita = (at_the_gate.new(login, token=people.token(login)) for login in ("alice", "rita"))
    commit = doors.commit()
    doors.create(doors.parent("root", "staging"))
    doors.compared("root", commit)
    said = alice.run("app", "sync", "root").refused()
    assert "PermissionDenied" in said
    assert "root-child-prod" in said
    said = rita.run("app", "sync", "root").refused()
    assert f"root-child-prod: doors@{commit[:7]} {OURS}" in said
    assert doors.status("root").get("operationState") is None
    assert not doors.kubernetes.has_application("root-child-prod")
    stage.prove()
    rita.run("app", "sync", "root").ok()
    for name in ("root", "root-child-staging", "root-child-prod"):
        state = doors.rolled_out(name, commit)
        assert state["phase"] == "Succeeded", name
    if health:

        def healthy() -> bool:
            shown = rita.json("app", "get", "root")
            assert isinstance(shown, dict)
            resources = shown["status"]["resources"]
            return {resource["name"]: resource["health"]["status"] for resource in resources} == {
                "root-child-staging": "Healthy",
                "root-child-prod": "Healthy",
            }

        eventually("the root knows how its children are", healthy)


def test_a_set_makes_only_what_has_passed(stage: Stage) -> None:
    doors, kubernetes = stage.doors, stage.doors.kubernetes
    commit = doors.commit()
    kubernetes.create(path_of("applicationsets"), doors.manifest("sets/list.yaml"))
    said = eventually("the set says why it makes nothing", lambda: complaint(stage, "list"), within=60)
    assert f"@{commit[:7]} {OURS}" in str(said)
    assert not kubernetes.has_application("list-child-prod")
    stage.prove()
    # The controller tries again, at longer and longer intervals.
    eventually("the application is made", lambda: kubernetes.has_application("list-child-prod"), within=120)
    doors.rolled_out("list-child-prod", commit)


def complaint(stage: Stage, name: str) -> str:
    """What a set says is wrong."""
    status = (stage.live("applicationsets", name) or {}).get("status", {})
    said = " ".join(condition["message"] for condition in status.get("conditions", []))
    return said if OURS in said else ""


def test_a_rolling_set_starts_only_what_has_passed(stage: Stage) -> None:
    doors, kubernetes = stage.doors, stage.doors.kubernetes
    kubernetes.create(path_of("applicationsets"), doors.manifest("sets/rolling.yaml"))
    eventually("the application is made", lambda: kubernetes.has_application("rolling-child-prod"), within=60)
    state = doors.rolled_out("rolling-child-prod", stage.head)
    assert state["operation"]["initiatedBy"]["username"] == "applicationset-controller"
    before = doors.value("rolling-child-prod")
    commit = doors.commit()
    doors.compared("rolling-child-prod", commit)
    eventually("the controller has been denied", lambda: denials(stage, "rolling-child-prod", commit), within=60)
    assert doors.value("rolling-child-prod") == before
    stage.prove()
    doors.rolled_out("rolling-child-prod", commit)


def denials(stage: Stage, name: str, commit: str) -> list[Json]:
    """The entries in which a rollout of a commit was denied."""
    found = stage.gate.entries(stage.token("sam"), "--app", name)
    return [
        entry
        for entry in found
        if entry["opening"]["word"] == "deny" and commit in json.dumps(entry["opening"]["planned"])
    ]


def test_an_operation_in_git_starts_nothing_that_has_not_passed(stage: Stage) -> None:
    """A parent that syncs by itself writes what its child's manifest says, an operation too."""
    doors = stage.doors
    child = doors.application("git-child-prod", "prod")
    parent = doors.parent("git-parent", "staging")
    file = "parents/git-parent/child.yaml"
    doors.repository.write(file, json.dumps(child), "A child")
    doors.create(parent)
    doors.arm("git-parent")
    eventually("the child is there", lambda: doors.kubernetes.has_application("git-child-prod"), within=60)

    # What the operation names is a commit, since a branch cannot be pinned; it is older than that which names it.
    commit = doors.commit()
    operation: Json = {"sync": {"revision": commit, "syncStrategy": {"hook": {}}}}
    started = {**child, "spec": {**child["spec"], "revisionHistoryLimit": 7}, "operation": operation}
    newer = doors.repository.write(file, json.dumps(started), "A child that starts itself")
    doors.compared("git-parent", newer)
    said = told(doors, "git-parent", commit)
    assert "git-child-prod" in said
    assert doors.value("git-child-prod") is None
    stage.prove(commit)
    doors.rolled_out("git-child-prod", commit)


def test_a_status_in_git_starts_nothing(clean: Doors, guard: Guard) -> None:
    """The parent is in no environment, so nobody looks at what it renders; the write of its child is asked about."""
    doors, old = clean, clean.repository.head()
    child = doors.application("lying-child-prod", "prod")
    file = "parents/lying-parent/child.yaml"
    doors.repository.write(file, json.dumps(child), "A child")
    # Without a retry, which would put off the next commit.
    doors.create(doors.parent("lying-parent", "nowhere", {**AUTOMATED, "retry": {"limit": 0}}))
    eventually("the child is there", lambda: doors.kubernetes.has_application("lying-child-prod"), within=60)
    doors.settled("lying-parent")
    with guard.installed():
        operation: Json = {"sync": {"revision": old, "source": child["spec"]["source"], "syncStrategy": {"hook": {}}}}
        state: Json = {"operation": operation, "phase": "Running", "startedAt": "2026-01-01T00:00:00Z"}
        for status in ({"operationState": state}, {"operationState": {**state, "syncResult": {"revision": old}}}):
            lying = {**child, "spec": {**child["spec"], "revisionHistoryLimit": 7}, "status": status}
            commit = doors.repository.write(file, json.dumps(lying), "A child that says that it runs")
            doors.compared("lying-parent", commit)
            said = eventually("the parent says why", lambda c=commit: refusal_of(doors, "lying-parent", c), within=60)
            assert "status" in str(said)
            assert "operationState" not in doors.status("lying-child-prod")
            doors.repository.write(file, json.dumps(child), "A child that says nothing")
        # A status that is replaced cannot be told from what Argo CD has found. Nothing runs by it.
        replaced = {**child, "status": {"operationState": state}}
        replaced["metadata"] = {
            **child["metadata"],
            "annotations": {"argocd.argoproj.io/sync-options": "Replace=true"},
        }
        doors.repository.write(file, json.dumps(replaced), "A child that is replaced and says that it runs")
        eventually("it says so", lambda: doors.status("lying-child-prod").get("operationState") == state, within=60)
        said = kubectl(doors.kubernetes, "lying-child-prod", {"operation": {"sync": {"revision": doors.commit()}}})
        assert "status is set by Argo CD alone" in said
        assert doors.value("lying-child-prod") is None


def refusal_of(doors: Doors, name: str, commit: str) -> str:
    """What Argo CD shows of a commit that a parent could not apply."""
    state = doors.status(name).get("operationState", {})
    if state.get("operation", {}).get("sync", {}).get("revision") != commit:
        return ""
    resources = state.get("syncResult", {}).get("resources", [])
    said = " ".join([state.get("message", ""), *(resource.get("message", "") for resource in resources)])
    return said if "admission webhook" in said else ""


def test_a_root_may_hold_itself(clean: Doors, guard: Guard, rig: Rig, people: People, facts: Facts) -> None:
    """An application that is among its own manifests, unchanged, rolls out nothing by that."""
    doors = clean
    root = doors.parent("self", "staging", AUTOMATED)
    child = doors.application("self-child-prod", "prod", AUTOMATED)
    doors.repository.write("parents/self/self.yaml", json.dumps(root), "A root that holds itself")
    doors.create(doors.application(STAGING, "staging"))
    doors.create(root)
    doors.rolled_out("self", doors.repository.head())
    with guard.installed() as gate:
        stage = Stage(rig, doors, gate, Client(facts, gate.url, gate.ca), people.token)
        commit = doors.repository.write("parents/self/child.yaml", json.dumps(child), "And a child")
        doors.compared("self", commit)
        said = told(doors, "self", commit)
        assert "self-child-prod" in said
        assert not doors.kubernetes.has_application("self-child-prod")
        stage.prove()
        doors.rolled_out("self", commit)
        doors.rolled_out("self-child-prod", commit)


def test_installing_the_door_stops_nobody(clean: Doors, guard: Guard, rig: Rig, people: People, facts: Facts) -> None:
    """What runs goes on, although nobody has ever tested it; what is new needs its tests."""
    doors = clean
    doors.create(doors.application(STAGING, "staging"))
    old = doors.repository.head()
    doors.create(doors.application("auto-prod", "prod", AUTOMATED))
    doors.create(doors.application("plain-prod", "prod"))
    doors.create(doors.parent("heal", "staging", AUTOMATED))
    doors.rolled_out("auto-prod", old)
    start(doors, "plain-prod")
    doors.rolled_out("plain-prod", old)
    eventually("the parent has its children", lambda: doors.kubernetes.has_application("heal-child-prod"))
    doors.create(doors.application("slow", "staging", path="slow"))
    start(doors, "slow")
    eventually("an operation runs", lambda: doors.status("slow").get("operationState", {}).get("phase") == "Running")

    with guard.installed() as gate:
        stage = Stage(rig, doors, gate, Client(facts, gate.url, gate.ca), people.token)
        # It is compared, and a parent heals its children.
        for name in ("auto-prod", "plain-prod", "heal"):
            seen = doors.status(name)["reconciledAt"]
            refresh = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
            doors.kubernetes.patch_application(name, refresh)
            eventually(f"{name} is compared again", lambda n=name, s=seen: doors.status(n)["reconciledAt"] > s)
        doors.kubernetes.patch_application("heal-child-prod", {"spec": {"source": {"targetRevision": "HEAD"}}})
        eventually(
            "the child is healed",
            lambda: stage.spec("heal-child-prod")["source"]["targetRevision"] == "main",
            within=60,
        )
        # The operation that ran goes on, and can be ended.
        assert doors.status("slow")["operationState"]["phase"] == "Running"
        answer = stage.client.call(
            Wire.REST, "ApplicationService.TerminateOperation", {"name": "slow"}, people.token("alice")
        )
        assert answer.code == 0, str(answer)
        doors.settled("slow")
        # What is new has to be tested.
        commit = doors.commit()
        doors.compared("auto-prod", commit)
        told(doors, "auto-prod", commit)
        stage.prove()
        doors.rolled_out("auto-prod", commit)


def test_what_ran_before_the_door_is_still_healed(clean: Doors, guard: Guard) -> None:
    doors = clean
    doors.create(doors.application("auto-prod", "prod", AUTOMATED))
    doors.rolled_out("auto-prod", doors.repository.head())
    settings = path_of("configmaps", "auto-prod-settings", namespace="doors-prod")
    value = doors.value("auto-prod")
    with guard.installed():
        doors.kubernetes.merge(settings, {"data": {"VALUE": "drifted"}})
        eventually("the drift is healed", lambda: doors.value("auto-prod") == value, within=60)


def test_who_only_observes_lets_everything_through_and_writes_it_down(
    clean: Doors, guard: Guard, people: People
) -> None:
    doors = clean
    doors.create(doors.application("plain-prod", "prod"))
    with guard.installed("observe") as gate:
        commit = doors.commit()
        doors.compared("plain-prod", commit)
        start(doors, "plain-prod", commit)
        doors.rolled_out("plain-prod", commit)
        doors.create(doors.application("auto-prod", "prod", AUTOMATED))
        doors.rolled_out("auto-prod", commit)
        for name in ("plain-prod", "auto-prod"):
            words = {entry["opening"]["word"] for entry in gate.entries(people.token("sam"), "--app", name)}
            assert "observe-deny" in words, name
            assert not words & {"deny", "refuse"}, name


def test_a_gate_that_is_down_blocks_and_can_be_got_out_of_the_way(
    clean: Doors, guard: Guard, kubernetes: Kubernetes
) -> None:
    """Argo CD may deploy the gate itself: that one application is exempt, by the shipped configuration."""
    doors, old = clean, clean.repository.head()
    doors.create(doors.application("plain-prod", "prod"))
    kubernetes.create(path_of("applications"), exempt(doors))
    doors.rolled_out("syncgate", old)
    with guard.installed() as gate:
        try:
            gate.kill()
            commit = doors.commit()
            # Nothing is started, not even what has run before.
            said = kubectl_fails(kubernetes, "plain-prod", {"operation": {"sync": {"revision": old}}})
            assert "failed calling webhook" in said
            # Argo CD still compares and shows.
            eventually("it is compared", lambda: doors.status("plain-prod")["sync"]["revision"] == commit, within=60)
            # The gate's own application syncs by itself, so that a broken gate is replaced by a push.
            doors.rolled_out("syncgate", commit)
            # Nobody else starts it: not even with the gate down.
            kubectl_fails(kubernetes, "syncgate", {"operation": {"sync": {"revision": old}}})
            # And who may take the configuration away has recovered.
            Webhook(kubernetes, gate).remove()
            start(doors, "plain-prod", commit)
            doors.rolled_out("plain-prod", commit)
        finally:
            kubernetes.delete(path_of("applications", "syncgate"))
            kubernetes.delete(path_of("appprojects", "syncgate"))


def kubectl_fails(kubernetes: Kubernetes, name: str, patch: Json) -> str:
    answer = kubernetes.ask("PATCH", path_of("applications", name), patch, content_type="application/merge-patch+json")
    assert answer.status_code == 500, answer.text
    return answer.text


def exempt(doors: Doors) -> Json:
    """The application that deploys the gate, and its project; here it rolls out a ConfigMap."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "syncgate"}}
    doors.kubernetes.apply("/api/v1/namespaces/syncgate", namespace)
    project = doors.manifest("project.yaml")
    project["metadata"]["name"] = "syncgate"
    project["spec"]["destinations"] = [{"server": "https://kubernetes.default.svc", "namespace": "syncgate"}]
    doors.kubernetes.apply(path_of("appprojects", "syncgate"), project)
    own = doors.application("syncgate", "prod", AUTOMATED)
    own["metadata"] = {"name": "syncgate", "namespace": ARGOCD}
    own["spec"] |= {"project": "syncgate"}
    own["spec"]["destination"]["namespace"] = "syncgate"
    return own
