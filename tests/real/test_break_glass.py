"""Break-glass on a real Argo CD, by the stock CLI: what is not tested goes out in an emergency, and stays owed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from harness.processes import eventually

if TYPE_CHECKING:
    from conftest import People
    from harness.stage import Stage

WHY = "payments are down, INC-4711"


def listed(stage: Stage, people: People) -> dict[str, dict[str, Any]]:
    """What was let through, by the first application of each."""
    shown = stage.gate.json("break-glass", "list", token=people.token("rita"))["break_glass"]
    return {glass["scope"][0]["application"]["name"]: glass for glass in shown}


def test_an_emergency_goes_out_without_tests_and_stays_open_until_they_have_passed(
    stage: Stage, people: People
) -> None:
    doors, before = stage.doors, stage.doors.value("auto-prod")
    at_the_gate = people.at(stage.gate)
    rita, gina = at_the_gate.cli("rita"), at_the_gate.cli("gina")
    commit = doors.commit()
    doors.compared("auto-prod", commit)
    doors.compared("plain-prod", commit)
    info = ["--info", f"break-glass={WHY}"]
    said = rita.run("app", "sync", "plain-prod", *info).refused()
    assert "PermissionDenied" in said
    assert "breaking the glass needs the role `break-glass`" in said
    assert "has no passing 'integration' run" in gina.run("app", "sync", "plain-prod").refused()
    gina.run("app", "sync", "plain-prod", *info).ok()
    operation = doors.rolled_out("plain-prod", commit)["operation"]
    assert {"name": "break-glass", "value": WHY} in operation["info"]

    # It was broken for this application alone: the other one still waits for its tests, until it is broken for that.
    assert doors.value("auto-prod") == before
    assert "has no passing" in rita.run("app", "sync", "auto-prod").refused()
    opened = stage.gate.command("break-glass", "open", "auto-prod", "--justification", WHY, token=people.token("gina"))
    assert opened.returncode == 0, opened.stdout + opened.stderr
    assert "owes a passing 'integration' in staging" in opened.stdout
    state = doors.rolled_out("auto-prod", commit)
    assert state["operation"]["initiatedBy"] == {"automated": True}

    # Nor for another commit.
    newer = doors.commit()
    doors.compared("plain-prod", newer)
    assert "has no passing" in rita.run("app", "sync", "plain-prod").refused()
    open_ones = listed(stage, people)
    assert set(open_ones) == {"auto-prod", "plain-prod"}
    assert all(glass["closed_at"] is None for glass in open_ones.values())
    shown = stage.gate.command("log", "show", open_ones["plain-prod"]["decision"], token=people.token("sam"))
    assert f"BREAK-GLASS  {WHY}" in shown.stdout, shown.stdout

    # The tests of the commit that went out close both.
    stage.prove(commit)
    closed = eventually(
        "the tests are paid back",
        lambda: {name: glass for name, glass in listed(stage, people).items() if glass["closed_at"]} or None,
        within=60,
    )
    eventually("both", lambda: all(glass["closed_at"] for glass in listed(stage, people).values()), within=60)
    assert closed is not None
    assert all(len(glass["scope"][0]["paid"]) == 1 for glass in listed(stage, people).values())


def test_it_expires(stage: Stage, people: People) -> None:
    doors = stage.doors
    stage.gate.restart('[break_glass]\nexpires = "5s"\n')
    at_the_gate = people.at(stage.gate)
    rita, gina = at_the_gate.cli("rita"), at_the_gate.cli("gina")
    commit = doors.commit()
    doors.compared("plain-prod", commit)
    asked = ["break-glass", "open", "plain-prod", "--justification", WHY]
    opened = stage.gate.command(*asked, token=people.token("gina"))
    assert opened.returncode == 0, opened.stderr
    time.sleep(5)
    assert "has no passing" in rita.run("app", "sync", "plain-prod").refused()
    gina.run("app", "sync", "plain-prod", "--info", f"break-glass={WHY}").ok()
    doors.rolled_out("plain-prod", commit)
