"""A rollback that is disturbed ends all the same, well or loudly: power cuts, parts of Argo CD away, other people.

Five plain applications in three waves, of which the last fails. At the end each is at what has passed or at what a
person has synced, or the rollback says that it is stuck; and nothing moves any more.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from harness.doors import FLEET
from harness.fleet import PARENT, Account, Fleet, settled, steps
from harness.gate import has_fail_points
from harness.lifecycle import remove_settings
from harness.processes import eventually, pid_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Guard, People, Rig
    from harness.cli import Cli
    from harness.doors import Doors

Json = dict[str, Any]
pytestmark = pytest.mark.timeout(400)
# Long enough for an application that comes back and for a gate that is started anew.
PATIENCE = "30s"
GOOD = {"superseded", "verified"}


@pytest.fixture(scope="module")
def five(guard: Guard, account: Account, doors: Doors, rig: Rig, folder: Path) -> Iterator[Fleet]:
    """The applications, not created yet, and a gate that may take them back."""
    assert has_fail_points(), "the program has no fail points: cargo build --features failpoints"
    with guard.installed(gate=guard.prepare(rollback=account.section(PATIENCE))) as gate:
        fleet = Fleet(doors, Path(rig["images"]), folder / "fleet-marks", gate, FLEET)
        fleet.prepare()
        try:
            fleet.plain(0, 0, 1, 1, 2)
            yield fleet
        finally:
            for mark in fleet.marks.glob("*-*"):
                mark.unlink()
            if not gate.service or not gate.service.running():
                gate.start()
            doors.remove_all()
            remove_settings(doors)


@pytest.fixture
def token(people: People) -> str:
    """An engineer's, who may deploy to staging."""
    return people.token("alice")


@pytest.fixture
def fleet(five: Fleet, token: str) -> Fleet:
    """All of them run what has passed."""
    rollouts = five.gate.json("rollout", "list", token=token)["rollouts"]
    last = next((rollout for rollout in rollouts if "rollback" in rollout), None)
    if last is not None:
        # Whatever a test has left is over first.
        state = five.ended(token, last["decision"])["rollback"]["state"]
        for name in five.names:
            five.doors.settled(name)
        if state not in GOOD:
            five.compared(five.push())
    if last is None or state not in GOOD:
        rollout = at_once(five, token)
        eventually("all of it has passed", lambda: settled(five.show(token, rollout)), within=90, every=1)
    return five


def at_once(fleet: Fleet, token: str) -> str:
    """Syncs the parent and all of its children at the same time, as one rollout, and gives that."""
    verify = ssl.create_default_context(cafile=str(fleet.gate.ca))
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=fleet.gate.url, verify=verify, headers=headers, trust_env=False, timeout=60) as client:
        opened = client.post("/syncgate/v1/rollouts", json={"application": PARENT})
        assert opened.status_code == 201, opened.text
        rollout = str(opened.json()["decision"])
        what = {"infos": [{"name": "rollout", "value": rollout}], "strategy": {"hook": {}}}
        for name in (PARENT, *fleet.names):
            if name != PARENT:
                eventually(f"{name} is there", partial(fleet.doors.kubernetes.has_application, name))
            answer = client.post(f"/api/v1/applications/{name}/sync", json=what)
            assert answer.status_code == 200, answer.text
    return rollout


def broken(fleet: Fleet, token: str) -> tuple[str, str]:
    """Rolls out a commit with which the last application fails; gives the rollout and the commit."""
    commit = fleet.push(fleet.names[-1])
    fleet.compared(commit)
    return at_once(fleet, token), commit


def running(fleet: Fleet, token: str, rollout: str) -> Json:
    """Waits until a rollback goes on, and gives the rollout."""

    def seen() -> Json | None:
        found = fleet.show(token, rollout)
        return found if found.get("rollback", {}).get("state") == "running" else None

    found = eventually("the rollback has begun", seen, within=60)
    assert isinstance(found, dict)
    return found


def note(fleet: Fleet, token: str, rollout: str, name: str) -> str:
    """What a rollback says of an application."""
    rollback = fleet.show(token, rollout).get("rollback", {"steps": []})
    return next((step["note"] for step in rollback["steps"] if step["application"]["name"] == name), "")


def verified(fleet: Fleet, token: str, rollout: str, before: dict[str, tuple[str, int]]) -> None:
    """The rollback ends well, all of it is as it was before, and stays so."""
    ended = fleet.ended(token, rollout)
    assert ended["rollback"]["state"] == "verified", json.dumps(ended["rollback"], indent=1)
    assert steps(ended) == dict.fromkeys(fleet.names, "verified")
    assert fleet.now() == before
    fleet.stays()
    assert fleet.now() == before


def cli(fleet: Fleet, people: People, token: str) -> Cli:
    return people.at(fleet.gate).new("alice", token=token)


@pytest.mark.parametrize("place", ["before-rollback", "after-rollback"])
def test_killed_in_the_middle(place: str, fleet: Fleet, token: str, tmp_path: Path) -> None:
    before, reached = fleet.now(), tmp_path / "reached"
    fleet.gate.stop()
    fleet.gate.start(SYNCGATE_FAILPOINT=f"{place}={reached}")
    rollout, _ = broken(fleet, token)
    eventually("the fail point is reached", reached.exists, within=60)
    fleet.gate.kill()
    reached.unlink()
    fleet.gate.start()
    verified(fleet, token, rollout, before)


@contextmanager
def paused(rig: Rig, program: str) -> Iterator[None]:
    """A part of Argo CD does not answer."""
    pid = pid_of(program, Path(rig["dir"]))
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_argo_cd_is_away(fleet: Fleet, token: str, rig: Rig) -> None:
    before = fleet.now()
    rollout, _ = broken(fleet, token)
    running(fleet, token, rollout)
    with paused(rig, "argocd-server"):
        threading.Event().wait(12)
        assert fleet.show(token, rollout)["rollback"]["state"] == "running"
    verified(fleet, token, rollout, before)


def test_the_controller_is_away(fleet: Fleet, token: str, rig: Rig) -> None:
    before, last = fleet.now(), fleet.names[-1]
    rollout, _ = broken(fleet, token)
    running(fleet, token, rollout)
    with paused(rig, "argocd-application-controller"):
        threading.Event().wait(12)
        assert fleet.show(token, rollout)["rollback"]["state"] == "running"
        assert steps(fleet.show(token, rollout))[last] != "verified"
    verified(fleet, token, rollout, before)


def test_an_operation_goes_on_when_it_begins(fleet: Fleet, token: str, people: People) -> None:
    before, held = fleet.now(), fleet.names[0]
    mark = fleet.hold(held, fleet.value + 1)
    try:
        rollout, bad = broken(fleet, token)
        running(fleet, token, rollout)
        state = fleet.state(held)
        assert (state["phase"], state["operation"]["sync"]["revision"]) == ("Running", bad)
        verified(fleet, token, rollout, before)
    finally:
        mark.unlink()
    # What was ended is on record as the gate's own act.
    entries = fleet.gate.entries(people.token("sam"), "--app", held)
    by = {entry["opening"]["operation"]: entry for entry in entries}
    assert by["ApplicationService.TerminateOperation"]["opening"]["door"] == "controller"


def test_tests_that_never_end_where_it_goes(fleet: Fleet, token: str) -> None:
    before, held = fleet.now(), fleet.names[1]
    mark = fleet.hold(held, before[held][1])
    try:
        rollout, _ = broken(fleet, token)
        ended = fleet.ended(token, rollout)
        assert ended["rollback"]["state"] == "stuck", json.dumps(ended["rollback"], indent=1)
        assert steps(ended) == {**dict.fromkeys(fleet.names, "verified"), held: "failed"}
        assert held in ended["rollback"]["why"]
        told = fleet.gate.command("rollout", "show", rollout, token=token).stdout
        assert "ROLLBACK STUCK" in told
        fleet.stays()
    finally:
        mark.unlink()
    # It is mended; whoever looked lets it go on.
    resumed = fleet.gate.command("rollout", "resume", rollout, token=token, within=120)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    verified(fleet, token, rollout, before)


def test_tests_that_fail_where_it_goes(fleet: Fleet, token: str) -> None:
    before, spoilt = fleet.now(), fleet.names[2]
    mark = fleet.spoil(spoilt, before[spoilt][1])
    try:
        rollout, _ = broken(fleet, token)
        ended = fleet.ended(token, rollout)
    finally:
        mark.unlink()
    rollback = ended["rollback"]
    assert rollback["state"] == "stuck", json.dumps(rollback, indent=1)
    assert steps(ended) == {**dict.fromkeys(fleet.names, "verified"), spoilt: "failed"}
    # Once more at the end, and no more.
    assert {step["tries"] for step in rollback["steps"] if step["application"]["name"] == spoilt} == {2}
    fleet.stays()
    # Nothing waits for it any longer.
    abandoned = fleet.gate.json("rollout", "abandon", rollout, token=token)
    assert abandoned["rollback"]["state"] == "abandoned"
    assert "alice@shop.example" in abandoned["rollback"]["why"]
    resumed = fleet.gate.command("rollout", "resume", rollout, token=token)
    assert resumed.returncode == 1, resumed.stdout
    fleet.stays()
    revisions = {name: fleet.state(name)["syncResult"]["revision"] for name in fleet.names}
    assert revisions == {name: commit for name, (commit, _) in before.items()}


def test_without_its_right(fleet: Fleet, token: str, account: Account) -> None:
    before = fleet.now()
    with account.without_its_right():
        rollout, _ = broken(fleet, token)
        ended = fleet.ended(token, rollout)
        assert ended["rollback"]["state"] == "stuck", json.dumps(ended["rollback"], indent=1)
        assert steps(ended) == dict.fromkeys(fleet.names, "failed")
        assert 'cannot patch resource "applications"' in ended["rollback"]["why"]
        fleet.stays()
    resumed = fleet.gate.command("rollout", "resume", rollout, token=token, within=120)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    verified(fleet, token, rollout, before)


def test_the_parent_is_synced_meanwhile(fleet: Fleet, token: str, people: People) -> None:
    before = fleet.now()
    rollout, bad = broken(fleet, token)
    running(fleet, token, rollout)
    cli(fleet, people, token).run("app", "sync", PARENT).ok()
    assert fleet.state(PARENT)["syncResult"]["revision"] == bad
    assert fleet.show(token, rollout)["rollback"]["state"] == "running"
    verified(fleet, token, rollout, before)


def test_a_person_goes_ahead_meanwhile(fleet: Fleet, token: str, people: People) -> None:
    before, theirs = fleet.now(), fleet.names[0]
    rollout, _ = broken(fleet, token)
    running(fleet, token, rollout)
    newer = fleet.push()
    fleet.doors.compared(theirs, newer)
    cli(fleet, people, token).run("app", "sync", theirs, "--revision", newer).ok()
    ended = fleet.ended(token, rollout)
    assert ended["rollback"]["state"] == "superseded", json.dumps(ended["rollback"], indent=1)
    assert steps(ended) == {**dict.fromkeys(fleet.names, "verified"), theirs: "overtaken"}
    assert "alice@shop.example" in ended["rollback"]["why"]
    expected = {**before, theirs: (newer, fleet.value)}
    assert fleet.now() == expected
    fleet.stays()
    assert fleet.now() == expected
