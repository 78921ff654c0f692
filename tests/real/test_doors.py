"""Every door of Argo CD's API, tried by who may and who may not, without evidence and with it, on every wire.

The table is in `harness/rows.py`. The admission door is installed meanwhile, so what the API door permits has to pass
there, too. `uncovered.txt` lists the changing methods that no row tries; it may only shrink.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.calls import CallLog
from harness.rows import ROWS, Row
from harness.stage import HISTORY, PARENT, ROLLOUTS, Stage
from harness.wire import Answer, Client, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Guard, People, Rig
    from harness.doors import Doors
    from harness.protobuf import Facts

EVIDENCE = 9
UNCOVERED = Path(__file__).parent / "uncovered.txt"
# They change nothing, although REST has another word than GET for them: they carry more than fits a query.
READS = {"RepositoryService.GetAppDetails"}
# The gate's own reads: those that plan a call, and those of a snapshot.
_READS = re.compile(r"\.(Get|List|Watch|Generate|(PodLogs|ResourceTree)$)")
_TAGS = {Wire.GRPC: "grpc", Wire.GRPC_WEB: "web", Wire.REST: "rest"}


@pytest.fixture(scope="module")
def stage(guard: Guard, doors: Doors, rig: Rig, people: People, facts: Facts) -> Iterator[Stage]:
    """The applications, then the gate before them."""
    old = Stage.set_before_the_gate(doors)
    with guard.installed() as gate:
        stage = Stage(rig, doors, gate, Client(facts, gate.url, gate.ca), people.token, old)
        stage.prove()
        yield stage
        # The gate must see the end of what it let through.
        for application in doors.kubernetes.applications():
            if "operation" in application:
                doors.settled(application["metadata"]["name"])
    doors.remove_all()


def wires(facts: Facts, operation: str) -> list[Wire]:
    """The wires on which a method can be reached: over REST some share an address, and the first of them has it."""
    return [wire for wire in Wire if wire is not Wire.REST or facts.by_rest(operation) == operation]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_door(row: Row, stage: Stage, facts: Facts, people: People, rig: Rig) -> None:
    tags = {wire: f"{slug(row)}-{_TAGS[wire]}" for wire in wires(facts, row.operation)}
    prepare(row, stage, tags)
    calls = CallLog(Path(rig["logs"]) / "argocd-server.log")

    def ask(login: str) -> dict[Wire, Answer]:
        return {wire: call(row, stage, wire, tag, people.token(login)) for wire, tag in tags.items()}

    refused(ask(row.may_not), row.code, tags)
    if row.evidence:
        refused(ask(row.may), EVIDENCE, tags)
    assert [one.operation for one in calls.read() if changes(one.operation)] == []
    if row.evidence:
        stage.prove(stage.old[row.of_old] if row.of_old else None)
    for wire, tag in tags.items() if row.may else ():
        calls.read()
        answer = call(row, stage, wire, tag, people.token(row.may))
        assert row.operation in [one.operation for one in calls.read()]
        recorded(stage, people, answer, row)
        if row.lost_by_rest and wire is Wire.REST:
            continue
        assert answer.permitted or not row.upstream, f"{answer}"
        row.after(stage, tag)


_CHILD = ["--kind", "Application", "--resource-name", "heal-child-prod"]
_MERGE = ["--patch", '{"spec":{"syncPolicy":{"automated":{}}}}']


@pytest.mark.parametrize("grpc_web", [False, True], ids=["grpc", "grpc-web"])
@pytest.mark.parametrize(
    "command",
    [
        ["app", "sync", "history-0"],
        ["app", "rollback", "history-0", "0"],
        ["app", "set", "history-0", "--sync-policy", "automated"],
        ["app", "patch", "history-0", "--type", "merge", *_MERGE],
        ["app", "delete", "history-0", "--yes"],
        ["app", "terminate-op", "history-0"],
        ["app", "actions", "run", PARENT, "toggle-auto-sync", *_CHILD],
        ["app", "patch-resource", PARENT, "--patch-type", "application/merge-patch+json", *_CHILD, *_MERGE],
        ["app", "delete-resource", "resumed-0", "--kind", "Rollout", "--resource-name", "resumed-0-app"],
        ["proj", "create", "another"],
        ["proj", "set", "doors", "--description", "another"],
        ["repo", "add", "file:///nowhere"],
        ["repo", "rm", "file:///nowhere"],
        ["repocreds", "add", "https://git.example"],
        ["cluster", "rm", "in-cluster", "--yes"],
        ["cert", "rm", "git.example"],
        ["gpg", "rm", "0000000000000000"],
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_the_stock_cli_is_refused_who_may_not(
    command: list[str], stage: Stage, people: People, *, grpc_web: bool
) -> None:
    cli = people.at(stage.gate).new("alice", grpc_web=grpc_web, token=people.token("alice"))
    said = cli.run(*command).refused()
    assert re.match(r"rpc error: code = PermissionDenied desc = .* refused for alice@shop\.example: ", said), said


def prepare(row: Row, stage: Stage, tags: dict[Wire, str]) -> None:
    """Makes what the calls are about; where evidence is needed, it is missing then."""
    if row.evidence and not row.of_old:
        stage.doors.commit()
    if row.of_old in ROLLOUTS:
        stage.prove(stage.old[row.of_old], passed=False)
    for tag in tags.values():
        row.before(stage, tag)


def call(row: Row, stage: Stage, wire: Wire, tag: str, token: str) -> Answer:
    """Says a row to one wire."""
    return stage.client.call(wire, row.operation, row.fields(stage, tag), token)


def slug(row: Row) -> str:
    """A name for objects of Kubernetes that tells the row."""
    words = re.sub(r"(?<!^)(?=[A-Z])", "-", row.operation.replace("Service.", "."))
    text = f"{words.replace('.', '')}-{row.kind}".lower()
    # The tracking label of what is rolled out has at most 63 characters.
    return re.sub(
        r"-+", "-", text.replace("application", "app").replace("repository", "repo").replace("credentials", "creds")
    ).strip("-")


def refused(answers: dict[Wire, Answer], code: int, tags: dict[Wire, str]) -> None:
    """Refused with this code, on record, and on every wire in the same words."""
    words = {wire: (answer.code, answer.word()[1].replace(tags[wire], "TAG")) for wire, answer in answers.items()}
    assert {said[0] for said in words.values()} == {code}, "\n".join(str(answer) for answer in answers.values())
    words = {
        wire: (said[0], re.sub(rf"({'|'.join((HISTORY, *ROLLOUTS))})-\d", r"\1", said[1]))
        for wire, said in words.items()
    }
    assert len(set(words.values())) == 1, words
    for answer in answers.values():
        assert answer.decision, str(answer)
        assert answer.message.isascii(), answer.message
        assert answer.message.isprintable(), answer.message


def recorded(stage: Stage, people: People, answer: Answer, row: Row) -> None:
    """The record tells what was asked, and that it was forwarded."""
    entry = stage.gate.json("log", "show", answer.decision, token=people.token("sam"))
    assert entry["opening"]["operation"] == row.operation
    assert entry["opening"]["word"] == "permit"
    assert entry["opening"]["caller"]["display"] == f"{row.may}@shop.example"
    assert entry["closing"]["outcome"]["kind"] == "forwarded", entry["closing"]
    if row.evidence:
        kinds = {planned["finding"]["kind"] for planned in entry["opening"]["planned"] if planned["finding"]}
        assert kinds & {"satisfied", "incumbent"}, entry["opening"]["planned"]
        assert "blocked" not in kinds


def changes(operation: str) -> bool:
    """Whether a method is none of those by which the gate reads."""
    return not _READS.search(operation)


def test_every_method_that_changes_something_is_tried(facts: Facts) -> None:
    changing = {
        method.name
        for method in facts.methods.values()
        if any(binding.method != "GET" for binding in method.bindings) and method.name not in READS
    }
    # What REST asks with GET, and yet is written somewhere.
    changing |= {"ApplicationService.Get"}
    tried = {row.operation for row in ROWS}
    listed = set(UNCOVERED.read_text().split())
    assert tried <= changing, f"no such method: {tried - changing}"
    assert listed <= changing, f"uncovered.txt lists what is not there: {listed - changing}"
    assert not listed & tried, f"uncovered.txt lists what is covered: {listed & tried}"
    assert listed | tried == changing, f"neither tried nor listed: {changing - tried - listed}"


def test_nothing_was_rolled_out_unrecorded(stage: Stage, people: People) -> None:
    """Every entry of every history belongs to a permit for just these commits, but for what was before the gate."""
    permits = permitted(stage, people)
    unexplained = []
    for application in stage.doors.kubernetes.applications():
        name = application["metadata"]["name"]
        for entry in application.get("status", {}).get("history", []):
            commits = entry.get("revisions") or [entry["revision"]]
            if entry["deployedAt"] > stage.gate.since and (name, *commits) not in permits:
                unexplained.append((name, entry))
    assert unexplained == []


def permitted(stage: Stage, people: People) -> set[tuple[Any, ...]]:
    """Application and commits of every rollout that was permitted."""
    found = set()
    for entry in stage.gate.entries(people.token("sam")):
        if entry["opening"]["word"] in {"permit", "observe-deny"}:
            for planned in entry["opening"]["planned"]:
                if plan := planned.get("plan"):
                    found.add((plan["application"]["name"], *(source["commit"] for source in plan["sources"])))
    return found
