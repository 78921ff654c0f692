"""Freezes and stopped lines on a real Argo CD: nothing new goes out, what runs stays, and what waited goes on by itself.

At the API door with the stock CLI, and at the admission door, where automated sync is held.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from harness.cluster import path_of
from harness.processes import eventually

if TYPE_CHECKING:
    from conftest import People
    from harness.doors import Doors
    from harness.stage import Stage

_ZONE = "Europe/Zurich"
# Long enough for all that is tried during the freeze.
_SECONDS = 75


def held(doors: Doors, name: str, because: str) -> str:
    """Waits until Argo CD shows why an application is held."""

    def said() -> str:
        conditions = doors.status(name).get("conditions", [])
        text = " ".join(condition["message"] for condition in conditions)
        return text if because in text else ""

    return str(eventually(f"{name} says that {because}", said, within=60))


def drift(doors: Doors, name: str) -> None:
    """Changes what an application has rolled out, and waits until Argo CD has healed it."""
    before = doors.value(name)
    path = path_of("configmaps", f"{name}-settings", namespace="doors-prod")
    doors.kubernetes.merge(path, {"data": {"VALUE": "drifted"}})
    eventually("the drift is healed", lambda: doors.value(name) == before, within=60)


def test_a_freeze_lets_those_pass_who_may_and_ends_by_itself(stage: Stage, people: People) -> None:
    doors, before = stage.doors, stage.doors.value("auto-prod")
    until = datetime.now(timezone.utc) + timedelta(seconds=_SECONDS)
    times = [until - timedelta(hours=1), until]
    began, ends = (f"{at.astimezone(ZoneInfo(_ZONE)).isoformat(timespec='seconds')}[{_ZONE}]" for at in times)
    stage.gate.restart(
        f"""
[[freeze]]
name = "drill"
environments = ["prod"]
reason = "a drill"
from = "{began}"
until = "{ends}"
"""
    )
    at_the_gate = people.at(stage.gate)
    rita, gina = at_the_gate.cli("rita"), at_the_gate.cli("gina")
    drift(doors, "auto-prod")

    commit = doors.commit()
    stage.prove(commit)
    doors.compared("auto-prod", commit)
    doors.compared("plain-prod", commit)
    said = held(doors, "auto-prod", "prod is frozen until")
    assert f"{_ZONE} by 'drill' (a drill); wait until the freeze ends" in said
    said = rita.run("app", "sync", "plain-prod").refused()
    assert "PermissionDenied" in said
    assert "sync of plain-prod refused: prod is frozen until" in said
    assert "or ask somebody with the role `freeze-passer`" in said
    gina.run("app", "sync", "plain-prod").ok()
    doors.rolled_out("plain-prod", commit)
    assert doors.value("auto-prod") == before
    # Otherwise all of this says nothing about a freeze.
    assert datetime.now(timezone.utc) < until, "it took too long"
    shown = stage.gate.json("line", "show", token=people.token("rita"))
    [freeze] = next(line["freezes"] for line in shown["lines"] if line["environment"] == "prod")
    assert (freeze["name"], freeze["in_force"], freeze["until"]) == ("drill", True, ends)

    time.sleep(max(0.0, (until - datetime.now(timezone.utc)).total_seconds()))
    state = doors.rolled_out("auto-prod", commit)
    assert state["operation"]["initiatedBy"] == {"automated": True}
    [denied, *_] = [
        entry["opening"]
        for entry in stage.gate.entries(people.token("sam"), "--app", "plain-prod")
        if entry["opening"]["word"] == "deny"
    ]
    assert denied["determining"] == ["freeze"]
    assert denied["planned"][0]["held"]["freezes"][0]["until"] == ends


def test_a_stopped_line_holds_what_is_new_until_it_is_started(stage: Stage, people: People) -> None:
    doors, before = stage.doors, stage.doors.value("auto-prod")
    rita = people.at(stage.gate).cli("rita")
    why = ["--reason", "payments fail"]
    stopped = stage.gate.command("line", "stop", "prod", *why, token=people.token("alice"))
    assert stopped.returncode == 0, stopped.stderr
    drift(doors, "auto-prod")

    commit = doors.commit()
    stage.prove(commit)
    doors.compared("auto-prod", commit)
    doors.compared("plain-prod", commit)
    because = "the line of prod was stopped at"
    assert "by alice@shop.example (payments fail)" in held(doors, "auto-prod", because)
    for name in ("auto-prod", "plain-prod"):
        said = rita.run("app", "sync", name).refused()
        assert f"sync of {name} refused: {because}" in said
    assert doors.value("auto-prod") == before

    # Who stopped it deploys to staging only.
    refused = stage.gate.command("line", "start", "prod", token=people.token("alice"))
    assert refused.returncode == 1
    assert "needs the role `release-manager`" in refused.stderr
    started = stage.gate.command("line", "start", "prod", token=people.token("rita"))
    assert started.returncode == 0, started.stderr
    state = doors.rolled_out("auto-prod", commit)
    assert state["operation"]["initiatedBy"] == {"automated": True}
    rita.run("app", "sync", "plain-prod").ok()
