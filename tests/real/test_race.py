"""A commit that is pushed between the check and the rollout is never rolled out unverified.

Every round has a commit that has passed its tests, and one that is pushed while the first is being rolled out: half of
the rounds by a sync through the API door, which is held between its check and its forwarding; half by automated sync,
where the push falls somewhere between the evidence and the rollout.
"""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING

import pytest

from harness.doors import STAGING
from harness.gate import has_fail_points
from harness.processes import eventually
from harness.stage import Stage
from harness.wire import Answer, Client, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Guard, People, Rig
    from harness.doors import Doors
    from harness.protobuf import Facts

# Of each kind.
ROUNDS = 15
PLAIN, AUTO = "race-plain", "race-auto"


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file by which the gate says that it stands between check and forwarding, and waits."""
    return tmp_path_factory.mktemp("race") / "reached"


@pytest.fixture(scope="module")
def stage(guard: Guard, doors: Doors, rig: Rig, people: People, facts: Facts, reached: Path) -> Iterator[Stage]:
    assert has_fail_points(), "the program has no fail points: cargo build --features failpoints"
    doors.create(doors.application(STAGING, "staging"))
    with guard.installed(SYNCGATE_FAILPOINT=f"before-forward={reached}") as gate:
        yield Stage(rig, doors, gate, Client(facts, gate.url, gate.ca), people.token)
    doors.remove_all()


class Held(threading.Thread):
    """A call that the gate holds between its check and its forwarding, until it is released."""

    def __init__(self, stage: Stage, login: str, name: str, wire: Wire, reached: Path) -> None:
        super().__init__(daemon=True)
        self._stage, self._login, self._name, self._wire, self._reached = stage, login, name, wire, reached
        self.answer: Answer | None = None

    def run(self) -> None:
        fields = {"name": self._name}
        self.answer = self._stage.client.call(
            self._wire, "ApplicationService.Sync", fields, self._stage.token(self._login)
        )

    def wait(self) -> None:
        eventually("the call is checked, and not yet forwarded", lambda: self._reached.exists() or self.answer)

    def release(self) -> Answer:
        self._reached.unlink(missing_ok=True)
        self.join(timeout=60)
        assert self.answer is not None
        return self.answer


def prove(stage: Stage, reached: Path) -> str:
    """A new commit that passes in staging; the sync there is held, too, and released at once."""
    commit = stage.doors.commit()
    done = threading.Event()

    def release() -> None:
        while not done.wait(0.05):
            reached.unlink(missing_ok=True)

    releasing = threading.Thread(target=release, daemon=True)
    releasing.start()
    try:
        stage.prove(commit)
    finally:
        done.set()
        releasing.join()
    return commit


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_a_push_between_check_and_forwarding(stage: Stage, reached: Path) -> None:
    doors = stage.doors
    stage.plain(PLAIN)
    for number in range(ROUNDS):
        commit = prove(stage, reached)
        doors.compared(PLAIN, commit)
        call = Held(stage, "rita", PLAIN, list(Wire)[number % 3], reached)
        call.start()
        call.wait()
        newer = doors.commit()
        doors.compared(PLAIN, newer)
        answer = call.release()
        assert answer.code == 0, str(answer)
        state = doors.settled(PLAIN)
        assert state["operation"]["sync"]["revision"] == commit
        assert state["syncResult"]["revision"] == commit
        assert state["phase"] == "Succeeded"
    verified(stage, PLAIN)


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_a_push_between_evidence_and_automated_sync(stage: Stage, reached: Path) -> None:
    doors, random = stage.doors, Random(0)
    prove(stage, reached)
    stage.automated(AUTO)
    for _ in range(ROUNDS):
        commit = prove(stage, reached)
        # The evidence has set the controller going; the push comes before, while, or after it begins.
        threading.Event().wait(random.uniform(0, 2))
        newer = doors.commit()
        doors.compared(AUTO, newer)
        state = doors.settled(AUTO)
        assert state["syncResult"]["revision"] != newer, f"{newer} was rolled out, and only {commit} has passed"
    verified(stage, AUTO)
    # In the end it goes where the evidence is.
    commit = prove(stage, reached)
    doors.rolled_out(AUTO, commit)


def verified(stage: Stage, name: str) -> None:
    """Everything in the history has passed, and is on record as a permit."""
    runs = stage.gate.json("evidence", "list", "--environment", "staging", "--limit", "200", token=stage.token("sam"))[
        "runs"
    ]
    passed = {commit for run in runs if run["result"]["verdict"] == "passed" for commit in run["commits"]}
    rolled_out = {entry["revision"] for entry in stage.doors.status(name)["history"]}
    assert rolled_out <= passed
