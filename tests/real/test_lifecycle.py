"""The shipped hook Jobs on a real Argo CD: pytest before and after each sync, by the real Job controller.

Two applications of applications: in one the children sync by themselves, in the other `argocd app sync -l` does it.
One component whose containers end otherwise than their tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.cluster import path_of
from harness.doors import AUTOMATED, Doors
from harness.lifecycle import PROD, STAGING, Lifecycle, remove_settings
from harness.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Guard, People, Rig
    from harness.cli import Cli
    from harness.gate import Gate

Json = dict[str, Any]


@pytest.fixture
def life(doors: Doors, rig: Rig, folder: Path) -> Iterator[Lifecycle]:
    yield Lifecycle(doors, Path(rig["images"]), folder)
    doors.remove_all()
    remove_settings(doors)


def value_of(life: Lifecycle, component: str, namespace: str) -> str | None:
    """What a component has rolled out, if it has."""
    answer = life.doors.kubernetes.ask("GET", path_of("configmaps", f"{component}-settings", namespace=namespace))
    return str(answer.json()["data"]["VALUE"]) if answer.is_success else None


def runs_of(gate: Gate, token: str, commit: str, application: str) -> list[Json]:
    """The runs of the integration tests of an application at a commit, oldest first, with all that is known of them."""
    listed = gate.json("evidence", "list", "--commit", commit, "--app", application, token=token)["runs"]
    runs = [gate.json("evidence", "show", str(run["run"]), token=token) for run in reversed(listed)]
    return [run for run in runs if run["suite"] == "integration"]


def verdicts(runs: list[Json]) -> list[str]:
    return [run["result"]["verdict"] if run.get("result") else "none" for run in runs]


def heard(gate: Gate, token: str, commit: str, application: str) -> list[Json]:
    """The same, once the gate has seen how the Job of each of them ended."""
    found: list[Json] = []

    def done() -> bool:
        found[:] = runs_of(gate, token, commit, application)
        return bool(found) and all(run["hook"] and run["hook"]["phase"] != "Running" for run in found)

    eventually(f"the gate has seen how the tests of {application} ended", done, within=30)
    return found


def disagreements(runs: list[Json]) -> list[str | None]:
    return [run["disagreement"] and run["disagreement"]["reason"] for run in runs]


def hooks_of(cli: Cli, application: str) -> dict[str, str]:
    """How the hook Jobs of the last operation ended, as `argocd app get` shows it."""
    shown = cli.json("app", "get", application)
    assert isinstance(shown, dict)
    resources = shown["status"]["operationState"]["syncResult"]["resources"]
    return {item["name"]: item["hookPhase"] for item in resources if item["kind"] == "Job"}


def test_children_that_sync_by_themselves(life: Lifecycle, guard: Guard, people: People) -> None:
    doors, component = life.doors, "life-auto"
    with guard.installed() as gate:
        security = people.token("sam")
        at_the_gate = people.at(gate)
        alice, rita = (at_the_gate.new(login, token=people.token(login)) for login in ("alice", "rita"))
        life.prepare(gate)
        # By default Argo CD tries an automated sync five times more, and its tests with it.
        policy = {**AUTOMATED, "retry": {"limit": 0}}
        children = {env: life.application(component, env, policy) for env in ("staging", "prod")}
        parents = [life.parent(f"life-{env}", env, [child]) for env, child in children.items()]
        for parent in parents:
            doors.create(parent)
        commit = life.push(11)
        for parent in ("life-staging", "life-prod"):
            doors.compared(parent, commit)

        # Nobody has tested anything yet: what is new in prod is refused, what is new in staging is how to begin.
        said = rita.run("app", "sync", "life-prod").refused()
        assert f"life-auto-prod: life-auto@{commit[:7]} has no passing 'integration' run in staging" in said
        alice.run("app", "sync", "life-staging").ok()
        state = doors.rolled_out("life-auto-staging", commit)
        assert state["phase"] == "Succeeded", state
        ended = hooks_of(alice, "life-auto-staging")
        assert ended == {"life-auto-smoke": "Succeeded", "life-auto-integration": "Succeeded"}
        [run] = heard(gate, security, commit, "life-auto-staging")
        assert (verdicts([run]), disagreements([run])) == (["passed"], [None])
        # Beside the run is what `argocd app get` shows, also once Argo CD has forgotten it.
        assert run["hook"].items() >= {"kind": "PostSync", "job": f"{STAGING}/life-auto-integration"}.items()
        assert run["hook"]["phase"] == ended["life-auto-integration"]
        rita.run("app", "sync", "life-prod").ok()
        doors.rolled_out("life-auto-prod", commit)

        def pushed(value: int, phase: str) -> str:
            """A commit that staging takes up by itself, and how that ends."""
            commit = life.push(value)
            for name in ("life-auto-staging", "life-auto-prod"):
                doors.compared(name, commit)
            state = doors.rolled_out("life-auto-staging", commit)
            assert state["phase"] == phase, state
            assert hooks_of(alice, "life-auto-staging")["life-auto-integration"] == phase
            return commit

        # From now on each commit goes through both by itself, as far as its tests carry it.
        commit = pushed(12, "Succeeded")
        doors.in_sync("life-auto-prod", commit)
        assert value_of(life, component, PROD) == "12"

        commit = pushed(-1, "Failed")
        # The Job controller tries twice, and each try is on record.
        runs = heard(gate, security, commit, "life-auto-staging")
        assert verdicts(runs) == ["failed", "failed"]
        assert [run["hook"]["phase"] for run in runs] == ["Failed", "Failed"]
        assert disagreements(runs) == [None, None]
        failing = {attempt["test"] for attempt in runs[-1]["attempts"] if attempt["outcome"] == "failed"}
        assert failing == {"integration/test_value.py::test_value_is_positive"}
        said = eventually(
            "Argo CD says why prod does not follow",
            lambda: next(
                (
                    condition["message"]
                    for condition in doors.status("life-auto-prod").get("conditions", [])
                    if commit[:7] in condition["message"]
                ),
                "",
            ),
            within=60,
        )
        assert "failed" in str(said)
        assert value_of(life, component, PROD) == "12"

        # A test that fails at its first try only: both tries are told, and the newest word counts.
        commit = pushed(17, "Succeeded")
        runs = heard(gate, security, commit, "life-auto-staging")
        assert verdicts(runs) == ["failed", "passed"]
        # The Job ended as its last try did, which contradicts neither.
        assert [run["hook"]["phase"] for run in runs] == ["Succeeded", "Succeeded"]
        assert disagreements(runs) == [None, None]
        doors.in_sync("life-auto-prod", commit)

        # A test that never ends is ended by the Job's deadline, and is no pass.
        commit = pushed(0, "Failed")
        runs = heard(gate, security, commit, "life-auto-staging")
        assert "passed" not in verdicts(runs)
        assert {run["hook"]["phase"] for run in runs} == {"Failed"}
        assert all("deadline" in run["hook"]["message"] for run in runs)
        assert value_of(life, component, PROD) == "17"

        commit = pushed(21, "Succeeded")
        doors.in_sync("life-auto-prod", commit)
        assert value_of(life, component, PROD) == "21"


def test_children_that_are_synced_by_label(life: Lifecycle, guard: Guard, people: People) -> None:
    doors, components = life.doors, ("life-one", "life-two")
    with guard.installed() as gate:
        security = people.token("sam")
        at_the_gate = people.at(gate)
        alice, rita = (at_the_gate.new(login, token=people.token(login)) for login in ("alice", "rita"))
        life.prepare(gate)
        for environment, cli in (("staging", alice), ("prod", rita)):
            children = [life.application(component, environment) for component in components]
            for child in children:
                child["metadata"]["labels"]["life"] = environment
            doors.create(life.parent(f"life-plain-{environment}", environment, children))
            # Children that do not sync by themselves are made without tests: nothing runs by that.
            cli.run("app", "sync", f"life-plain-{environment}").ok()
        commit = life.push(31)
        for name in (f"{component}-{environment}" for component in components for environment in ("staging", "prod")):
            doors.compared(name, commit)

        said = rita.run("app", "sync", "-l", "life=prod").refused()
        assert f"@{commit[:7]} has no passing 'integration' run in staging" in said
        alice.run("app", "sync", "-l", "life=staging").ok()
        for component in components:
            assert doors.rolled_out(f"{component}-staging", commit)["phase"] == "Succeeded"
            assert verdicts(heard(gate, security, commit, f"{component}-staging")) == ["passed"]
            smoke = gate.json("evidence", "list", "--suite", "smoke", "--app", f"{component}-staging", token=security)
            # It ran before the sync, on what was there until then: no word on these commits.
            assert [run["result"]["verdict"] for run in smoke["runs"]] == ["refused"]
            assert json.dumps(smoke["runs"][0]["result"]["reasons"]).count("presync") >= 1
            assert smoke["runs"][0]["hook"].items() >= {"kind": "PreSync", "phase": "Succeeded"}.items()
            assert smoke["runs"][0]["disagreement"] is None
        rita.run("app", "sync", "-l", "life=prod").ok()
        for component in components:
            doors.rolled_out(f"{component}-prod", commit)
            assert value_of(life, component, PROD) == "31"


def test_of_the_tests_and_their_job_the_worse_counts(life: Lifecycle, guard: Guard, people: People) -> None:
    doors, staging, prod = life.doors, "life-odd-staging", "life-odd-prod"
    with guard.installed() as gate:
        security = people.token("sam")
        at_the_gate = people.at(gate)
        alice, rita = (at_the_gate.new(login, token=people.token(login)) for login in ("alice", "rita"))
        life.prepare(gate)
        doors.repository.add("Hooks whose containers end otherwise than their tests")
        for environment in ("staging", "prod"):
            doors.create(life.application("life-odd", environment))

        def synced(value: int, phase: str) -> tuple[str, list[Json]]:
            """A commit that is rolled out in staging, how that ends, and its runs."""
            commit = life.push(value)
            for name in (staging, prod):
                doors.compared(name, commit)
            done = alice.run("app", "sync", staging)
            assert (done.code == 0) == (phase == "Succeeded"), str(done)
            state = doors.rolled_out(staging, commit)
            assert state["phase"] == phase, state
            runs = heard(gate, security, commit, staging)
            jobs = {item["name"]: item for item in state["syncResult"]["resources"] if item["kind"] == "Job"}
            job = jobs["life-odd-integration"]
            for run in runs:
                hook = {"kind": "PostSync", "phase": job["hookPhase"], "message": job["message"]}
                assert run["hook"].items() >= hook.items()
                assert hook["phase"] == phase
            return commit, runs

        def disputed(run: Json, reason: str, reported: str) -> None:
            """The run and the log say that the two disagree."""
            found = run["disagreement"]
            assert (found["reason"], found["reported"], found["counts_as"]) == (reason, reported, "failed")
            entry = json.dumps(gate.json("log", "show", found["decision"], token=security))
            assert "Run.Disputed" in entry
            assert run["run"] in entry
            shown = gate.command("evidence", "show", str(run["run"]), token=security).stdout
            assert f"hook Job {STAGING}/life-odd-integration (PostSync): {run['hook']['phase']}" in shown
            assert f"report and Job disagree: the report is worth {reported}, the run counts as failed" in shown

        commit, runs = synced(41, "Succeeded")
        assert (verdicts(runs), disagreements(runs)) == (["passed"], [None])
        rita.run("app", "sync", prod).ok()
        doors.rolled_out(prod, commit)

        # All tests pass and say so; then the container fails, at each try.
        commit, runs = synced(43, "Failed")
        assert verdicts(runs) == ["failed"] * len(runs)
        for run in runs:
            assert run["result"]["tests"]["failed"] == 0
            disputed(run, "hook-failed", "passed")
        said = rita.run("app", "sync", prod).refused()
        assert "the Job says otherwise" in said
        assert f"{STAGING}/life-odd-integration ended Failed" in said
        assert value_of(life, "life-odd", PROD) == "41"

        # Tests fail; the container ends as if nothing were.
        commit, [run] = synced(-44, "Succeeded")
        assert run["result"]["verdict"] == "failed"
        disputed(run, "hook-succeeded", "failed")
        said = rita.run("app", "sync", prod).refused()
        assert "its Job succeeded all the same" in said
        assert value_of(life, "life-odd", PROD) == "41"
