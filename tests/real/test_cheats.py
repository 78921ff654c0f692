"""Reports that look better than the tests were, by the real plugin and command: each is refused with its own reason.

A cheat is what somebody would really do: leave tests out, excuse failures, edit a file, test something else, be
somebody else. Where it can be compared with an honest run, the honest run is handed in first, and passes.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from harness.doors import STAGING
from harness.processes import eventually
from harness.runs import Project, run_in, suite_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import People
    from harness.doors import Doors
    from harness.gate import Gate

Json = dict[str, Any]
TESTS = 12
_HONEST = f"""
import pytest


@pytest.mark.parametrize("number", range({TESTS}))
def test_number(number):
    pass
"""
_BROKEN = _HONEST + "\n\ndef test_price():\n    assert 1 == 2\n"
_EXCUSED_AT_LAST = (
    _HONEST
    + """

TRIES = []


@pytest.mark.flaky(reruns=2)
def test_price():
    TRIES.append(1)
    if len(TRIES) == 3:
        pytest.xfail("known")
    assert 1 == 2
"""
)
_EXCUSED_NOW = _HONEST.replace("    pass\n", "    assert number != 7\n").replace(
    "def test_number", "@pytest.mark.xfail(reason='known')\ndef test_number"
)
_DRY = "dry-staging"


@dataclass
class Scene:
    """What a cheat has at hand."""

    gate: Gate
    project: Project
    doors: Doors
    folder: Path
    junit: Path
    commit: str

    def honest(self) -> None:
        """Hands in a run that is evidence."""
        ended = self.run(_HONEST)
        assert ended.code == 0, ended.text

    def run(self, tests: str, *arguments: str, **settings: str) -> Said:
        """Runs these tests with the plugin."""
        self.project.write("test_it.py", tests)
        ended = self.project.pytest(*arguments, **settings)
        told = [line for line in ended.told if not line.startswith("an earlier session")]
        return Said(ended.code, "\n".join(told), ended.out)

    def write_junit(self, tests: str) -> str:
        """Runs these tests without the plugin, and gives what pytest writes of them."""
        self.project.write("test_it.py", tests)
        self.project.pytest(f"--junitxml={self.junit}", URL="")
        return self.junit.read_text()

    def submit(self, text: str, *more: str) -> Said:
        """Hands in a file with `syncgate evidence submit`."""
        self.junit.write_text(text)
        what = ["--app", STAGING, "--suite", self.project.settings["SUITE"], "--junit", str(self.junit)]
        token = (self.project.folder / "token").read_text()
        done = self.gate.command("evidence", "submit", *what, *more, token=token)
        return Said(done.returncode, done.stdout + done.stderr, done.stdout + done.stderr)

    def work_tree(self, commit: str) -> Path:
        """A clone of the repository at a commit."""
        tree = self.folder / "tree"
        for command in (
            ["clone", "--quiet", self.doors.repository.url, str(tree)],
            ["-C", str(tree), "checkout", "-q", commit],
        ):
            subprocess.run(["git", *command], check=True, timeout=60, capture_output=True)
        return tree


@dataclass(frozen=True)
class Said:
    """What the plugin or the command said of a report."""

    code: int
    text: str
    whole: str


def deselected(scene: Scene) -> Said:
    scene.honest()
    return scene.run(_HONEST, "-k", "not 7")


def shrunk(scene: Scene) -> Said:
    scene.honest()
    return scene.run(_HONEST.replace(str(TESTS), "6"))


def nothing_collected(scene: Scene) -> Said:
    return scene.run('"""No tests."""\n')


def all_skipped(scene: Scene) -> Said:
    return scene.run(_HONEST.replace("    pass\n", "    pytest.skip('not today')\n"))


def failures_excused_at_last(scene: Scene) -> Said:
    return scene.run(_EXCUSED_AT_LAST)


def failure_excused_now(scene: Scene) -> Said:
    scene.honest()
    return scene.run(_EXCUSED_NOW)


def older_commit(scene: Scene) -> Said:
    tree = scene.work_tree(f"{scene.commit}~1")
    return scene.run(_HONEST, f"--rootdir={tree}", ".")


def dirty_tree(scene: Scene) -> Said:
    tree = scene.work_tree(scene.commit)
    (tree / "plain/settings.yaml").write_text("VALUE: mine")
    return scene.run(_HONEST, f"--rootdir={tree}", ".")


def foreign_reporter(scene: Scene) -> Said:
    token = scene.doors.kubernetes.service_account_token("shop-staging", "payments-tests", audience="syncgate")
    scene.project.sign_in(token)
    return scene.run(_HONEST, "--no-syncgate-preflight")


def foreign_reporter_asks_before(scene: Scene) -> Said:
    token = scene.doors.kubernetes.service_account_token("shop-staging", "payments-tests", audience="syncgate")
    scene.project.sign_in(token)
    return scene.run(_HONEST)


def dry_run(scene: Scene) -> Said:
    commit = scene.doors.repository.head()
    sync: Json = {"dryRun": True, "revision": commit, "syncStrategy": {"hook": {}}}
    retry: Json = {"limit": 5, "backoff": {"duration": "2m", "factor": 1}}
    scene.doors.kubernetes.patch_application(_DRY, {"operation": {"sync": sync, "retry": retry}})

    def waits() -> bool:
        state = scene.doors.status(_DRY).get("operationState", {})
        return {"phase": "Running", "retryCount": 1}.items() <= state.items()

    # What it would roll out cannot be, so Argo CD waits until it tries again, and the operation goes on.
    eventually("the dry run waits", waits)
    try:
        return scene.run(_HONEST, "--no-syncgate-preflight", APPLICATION=_DRY)
    finally:
        scene.doors.kubernetes.patch_application(_DRY, {"operation": None})


def failure_edited_away(scene: Scene) -> Said:
    text = scene.write_junit(_BROKEN)
    assert scene.submit(text).code == 1
    edited, count = re.subn(r"<failure .*?</failure>", "", text, flags=re.DOTALL)
    assert count == 1
    return scene.submit(edited.replace('failures="1"', 'failures="0"'))


def failure_edited_away_badly(scene: Scene) -> Said:
    text = scene.write_junit(_BROKEN)
    return scene.submit(re.sub(r"<failure .*?</failure>", "", text, flags=re.DOTALL))


def case_edited_away(scene: Scene) -> Said:
    text = scene.write_junit(_BROKEN)
    return scene.submit(re.sub(r'<testcase [^>]*name="test_price".*?</testcase>', "", text, flags=re.DOTALL))


def exit_status_told(scene: Scene) -> Said:
    return scene.submit(scene.write_junit(_HONEST), "--exit-status", "1")


def replayed(scene: Scene) -> Said:
    text = scene.write_junit(_HONEST)
    assert scene.submit(text).code == 0
    return scene.submit(text)


def commit_told(scene: Scene) -> Said:
    return scene.submit(scene.write_junit(_HONEST), "--commit", "0" * 40)


# The cheat; how pytest or the command ends; the reason as the gate names it; what is said of it. Where there is no run to
# show, because it could not be opened, the reason is in the refusal.
CHEATS: list[tuple[Callable[[Scene], Said], int, str, str]] = [
    (deselected, 77, "narrowed", "1 test of the newest passing run left out by -k not 7"),
    (shrunk, 77, "shrunk", "6 tests ran, 12 in the newest passing run"),
    (nothing_collected, 5, "no-tests", "no test ran"),
    (all_skipped, 77, "no-tests", "no test passed: 12 skipped, 0 expected to fail"),
    (
        failures_excused_at_last,
        77,
        "hidden-failure",
        "1 test failed, then expected to fail or skipped: test_it.py::test_price",
    ),
    (failure_excused_now, 77, "turned-xfail", "1 test passed in the newest passing run, and failed as expected now"),
    (older_commit, 77, "409 other-commit", "the reporter tested `{older}`, but argocd/doors-staging is at {commit}"),
    (dirty_tree, 77, "dirty-tree", "the working tree differed from its commit"),
    (foreign_reporter, 77, "403", "this identity may not report for doors-staging"),
    (foreign_reporter_asks_before, 78, "preflight failed: report", 'account = "shop-staging/payments-tests"'),
    (dry_run, 77, "409 dry-run", "the operation that runs on argocd/dry-staging is a dry run; it rolls out nothing"),
    (failure_edited_away, 1, "replayed", "the same tests at the same times were reported in run"),
    (failure_edited_away_badly, 1, "failed-tests", "1 test failed: suite pytest"),
    (case_edited_away, 1, "failed-tests", "1 test failed: suite pytest"),
    (exit_status_told, 1, "exit-status", "the tool ended with 1, although no test failed"),
    (replayed, 1, "replayed", "the same tests at the same times were reported in run"),
    (commit_told, 1, "the gate refused", "the reporter tested `0000000000000000000000000000000000000000`"),
]


@pytest.fixture(scope="module", autouse=True)
def dry(doors: Doors) -> None:
    """An application whose dry run fails: nobody knows what it is to roll out. It goes with those that are `staged`."""
    unknown = 'apiVersion: example.dev/v1\nkind: Unknown\nmetadata:\n  name: "unknown"\n'
    doors.repository.write("unknown/unknown.yaml", unknown, "Something that the cluster does not know")
    application = doors.application(_DRY, "staging", path="unknown")
    del application["spec"]["source"]["kustomize"]
    doors.create(application)


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, gate: Gate, staged: str, doors: Doors, reporter: str, tmp_path: Path
) -> Scene:
    project = Project.create(tmp_path / "project", gate, reporter, suite=suite_of(request.node.name))
    return Scene(gate, project, doors, tmp_path, tmp_path / "junit.xml", staged)


@pytest.mark.parametrize(("cheat", "code", "reason", "words"), CHEATS, ids=[cheat[0].__name__ for cheat in CHEATS])
def test_cheat(
    cheat: Callable[[Scene], Said], code: int, reason: str, words: str, scene: Scene, people: People
) -> None:
    said = cheat(scene)
    assert said.code == code, said.whole
    older = scene.doors.repository.parent(scene.commit)
    words = words.format(commit=scene.commit, older=older)
    assert words in said.text, said.whole
    assert reason in said.text, said.whole
    assert not re.search("^passed", said.text, re.MULTILINE), said.whole
    if "/syncgate/v1/runs/" not in said.text:
        return
    # The gate says the same to who looks at it later.
    run = scene.gate.json("evidence", "show", run_in(said.text), token=people.token("sam"))
    reasons = {each["code"]: each["detail"] for each in run["result"]["reasons"]}
    assert words in reasons[reason], reasons
    assert run["result"]["verdict"] == ("failed" if reason == "failed-tests" else "refused")
    assert run["result"]["counts"] == ("now" if reason == "failed-tests" else "never")
    table = scene.gate.command("evidence", "show", run["run"], token=people.token("sam"))
    assert f"{reason}: " in table.stdout, table.stdout
