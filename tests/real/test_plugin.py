"""Runs of the real plugin at a real gate while either of them, or what is between them, breaks.

Each run says in its own tests what breaks when, so that it is always in the middle of something. In the end the gate
has every attempt exactly once.
"""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from harness.doors import STAGING
from harness.gate import Gate
from harness.processes import eventually
from harness.relay import Relay
from harness.runs import Cues, Project, run_in, suite_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import People, Rig
    from harness.runs import Ended
    from harness.tokens import Provider

Json = dict[str, Any]
TESTS = 160
# A batch leaves each second, so a run of three or more has several of them.
_SUITE = """
import time

import pytest

from syncgate_cues import cue

CUES = {cues!r}


@pytest.mark.parametrize("number", range({tests}))
def test_number(number):
    if number in CUES:
        cue(CUES[number])
    time.sleep(0.02)
"""


def suite(cues: dict[int, str], tests: int = TESTS) -> str:
    """Some hundred tests, of which these give a cue."""
    return _SUITE.format(cues=cues, tests=tests)


@pytest.fixture(scope="module")
def own(rig: Rig, oidc: Provider, folder: Path) -> Iterator[Gate]:
    """A gate that may be killed."""
    gate = Gate.prepare(rig, oidc.issuer, folder / "plugin")
    gate.start()
    yield gate
    if gate.service is not None and gate.service.running():
        gate.stop()


@pytest.fixture
def project(own: Gate, staged: str, reporter: str, tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """A project for one test, with a suite of its own: no run is compared with that of another test."""
    assert staged
    return Project.create(tmp_path / "project", own, reporter, suite=suite_of(request.node.name))


@pytest.fixture
def relay(own: Gate) -> Iterator[Relay]:
    """The network between the plugin and the gate."""
    port = urlsplit(own.url).port
    assert port is not None
    relay = Relay(port)
    yield relay
    relay.close()


@pytest.fixture
def shown(own: Gate, people: People) -> Callable[[str], Json]:
    """`shown(run)` is all that the gate has of a run."""
    return lambda run: own.json("evidence", "show", run, token=people.token("sam"))


def assert_whole(run: Json, commit: str, tests: int = TESTS) -> None:
    """Every attempt is there exactly once, and the run passed."""
    attempts = sorted((attempt["test"], attempt["attempt"], attempt["outcome"]) for attempt in run["attempts"])
    assert attempts == sorted((f"test_it.py::test_number[{number}]", 1, "passed") for number in range(tests))
    assert run["result"]["verdict"] == "passed"
    assert run["result"]["reasons"] == []
    assert run["result"]["counts"] == "now"
    assert run["commits"] == [commit]


def assert_passed(ended: Ended, project: Project, commit: str, tests: int = TESTS) -> None:
    """The session passed, and its summary says what the gate says."""
    assert ended.code == 0, ended.out
    about = f"{STAGING}, suite {project.settings['SUITE']} at {commit[:7]}"
    assert ended.summary.startswith(f"passed: {about}, {tests} attempts reported - counts now - "), ended.out
    assert project.spooled == []


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["", "xdist"])
def test_gate_killed_and_started_again(
    workers: tuple[str, ...], project: Project, own: Gate, staged: str, shown: Callable[[str], Json]
) -> None:
    gone, wanted = threading.Event(), threading.Event()

    def kill() -> None:
        own.kill()
        gone.set()

    def start() -> None:
        # With workers, a later test may come first.
        assert gone.wait(timeout=60)
        wanted.set()

    project.write("test_it.py", suite({50: "kill", 90: "start"}))
    with Cues.of(project, kill=kill, start=start) as cues:
        running = project.start(*workers)
        assert wanted.wait(timeout=60)
        # In this thread: the program would die with another one.
        own.start()
        ended = running.ended()
    assert sorted(cues.given) == ["kill", "start"]
    assert_passed(ended, project, staged)
    run = shown(ended.run)
    assert_whole(run, staged)
    workers_seen = {attempt["worker"] for attempt in run["attempts"]}
    assert workers_seen == ({"gw0", "gw1"} if workers else {None})


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["", "xdist"])
def test_network_cut_and_restored(
    workers: tuple[str, ...], project: Project, relay: Relay, staged: str, shown: Callable[[str], Json]
) -> None:
    def restore() -> None:
        # With workers, a later test may come first.
        eventually("a connection was cut, and another could not be made", lambda: relay.cuts > 1)
        relay.restore()

    project.write("test_it.py", suite({50: "cut", 110: "restore"}))
    with Cues.of(project, cut=relay.cut, restore=restore) as cues:
        ended = project.pytest(*workers, URL=relay.url)
    assert sorted(cues.given) == ["cut", "restore"]
    assert_passed(ended, project, staged)
    assert_whole(shown(ended.run), staged)


def test_answers_lost(
    project: Project, relay: Relay, staged: str, own: Gate, people: People, shown: Callable[[str], Json]
) -> None:
    project.write("test_it.py", suite({30: "lose", 80: "lose", 130: "lose"}))
    # The answer to the opening: the connection is there from the preflight.
    project.write(
        "conftest.py",
        "from syncgate_cues import cue\n\n\ndef pytest_collection_finish():\n    cue('lose')\n",
    )
    with Cues.of(project, lose=relay.lose_answer) as cues:
        ended = project.pytest(URL=relay.url)
    assert cues.given == ["lose"] * 4
    assert relay.lost == 4
    assert_passed(ended, project, staged)
    assert_whole(shown(ended.run), staged)
    # What was lost were answers: the gate opened the run once, though it was asked twice.
    listed = own.json("evidence", "list", "--suite", project.settings["SUITE"], token=people.token("sam"))
    assert [run["run"] for run in listed["runs"]] == [ended.run]
    asked = own.entries(people.token("sam"), "--operation", "Run.report")
    opened = [entry for entry in asked if entry["opening"]["request"].get("suite") == project.settings["SUITE"]]
    assert [entry["closing"]["outcome"]["kind"] for entry in opened] == ["answered", "answered"]


def test_gate_stays_away_to_the_end(
    project: Project, own: Gate, staged: str, shown: Callable[[str], Json], tmp_path: Path
) -> None:
    project.write("test_it.py", suite({100: "kill"}))
    with Cues.of(project, kill=own.kill):
        away = project.pytest(RETRY_SECONDS="0.5")
    assert away.code == 69, away.out
    [lost] = [line for line in away.told if "was not reported completely" in line]
    [spool] = project.spooled
    assert f"what is missing waits in {spool}, and the next session there sends it" in lost, lost
    run = run_in(lost)
    kept = tmp_path / "kept"
    shutil.copy2(spool, kept)

    own.start()
    project.write("test_it.py", suite({}, tests=3))
    project.settings["SUITE"] += "-next"
    expected = f"an earlier session left the run {run}: {TESTS} attempts delivered, verdict passed - "
    after = project.pytest()
    assert [line for line in after.told if line.startswith(expected)], after.out
    assert_passed(after, project, staged, tests=3)
    assert_whole(shown(run), staged)

    # The same file once more, as from a backup of the volume: nothing is stored twice.
    shutil.copy2(kept, spool)
    again = project.pytest()
    assert [line for line in again.told if line.startswith(expected)], again.out
    assert_passed(again, project, staged, tests=3)
    assert_whole(shown(run), staged)


def test_session_killed(project: Project, staged: str, shown: Callable[[str], Json]) -> None:
    project.write("test_it.py", suite({99: "die"}))
    wanted = threading.Event()
    with Cues.of(project, die=wanted.set):
        running = project.start()
        assert wanted.wait(timeout=60)
        running.kill()
        assert running.ended().code == -9
    assert len(project.spooled) == 1
    project.write("test_it.py", suite({}, tests=3))
    project.settings["SUITE"] += "-next"
    after = project.pytest()
    assert_passed(after, project, staged, tests=3)
    [told] = [line for line in after.told if line.startswith("an earlier session left the run ")]
    run = shown(run_in(told))
    # Of each test that had ended, and of no other.
    ended = len(run["attempts"])
    assert 99 <= ended < TESTS
    assert f": {ended} attempts delivered, verdict refused - " in told, told
    assert sorted(attempt["test"] for attempt in run["attempts"]) == sorted(
        f"test_it.py::test_number[{number}]" for number in range(ended)
    )
    assert [reason["code"] for reason in run["result"]["reasons"]] == ["incomplete", "interrupted"]
    assert run["result"]["counts"] == "never"
