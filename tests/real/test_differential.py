"""What the gate says a request is, argocd-server must have executed, and nothing else, however the request is written.

Requests of every method and wire are mutated and sent through the gate by somebody who may do everything. Then three
things are compared: the gate's record, by the decision of the answer; the answer; and argocd-server's log of its calls.

Environment: `SYNCGATE_FUZZ_SECONDS` (how long; a few seconds by default), `SYNCGATE_FUZZ_SEED` (one number, to repeat a
run). Requests that have once shown a difference are kept in `seeds/` and always sent.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from harness import fuzz
from harness.calls import CallLog, Executed
from harness.cluster import path_of
from harness.processes import eventually
from harness.wire import Http1, Http2, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from conftest import People, Rig
    from harness.cluster import Kubernetes
    from harness.doors import Doors
    from harness.gate import Gate
    from harness.protobuf import Facts
    from harness.wire import Reply

SECONDS = float(os.environ.get("SYNCGATE_FUZZ_SECONDS", "8"))
SEEDS = sorted((Path(__file__).parent / "seeds").glob("*.json"))

# An application in staging that rolls out a ConfigMap, which may be done to it what can be done.
APPLICATION = "fuzz-staging"
MARK = "fuzz-"
# Streams that only end with their client; their classification is that of the unary methods.
ENDLESS = {"ApplicationService.Watch", "ApplicationService.WatchResourceTree", "ApplicationSetService.Watch"}
# How the gate itself asks argocd-server about what it plans.
OWN = {
    "ApplicationService.Get",
    "ApplicationService.GetManifests",
    "ApplicationService.List",
    "ApplicationService.RevisionMetadata",
    "ApplicationService.Watch",
    "ApplicationSetService.Generate",
    "ApplicationSetService.Get",
    "ProjectService.Get",
    "SettingsService.Get",
    "VersionService.Version",
}
# What the gate asks about an application whose sync has failed.
OF_SNAPSHOTS = {"ApplicationService.GetManifests", "ApplicationService.ResourceTree"}
# What argocd-server serves beside its API; it is not in the log of its calls.
BESIDE = {"UiAsset"}
# How a call fails that was passed on: argocd-server drops a call at the deadline that the caller has set (`grpc-timeout`),
# and is still at it.
MAY_HAVE_ACTED = {"upstream-protocol", "upstream-timeout"}
# The index of applications that reads are decided by, and what it does not have.
READS_FIRST = {"ApplicationService.Get", "ApplicationService.Watch"}
# Where a message names its application, if not in `name`.
_NAMES = {
    "ApplicationService.Create": "application.metadata.name",
    "ApplicationService.ManagedResources": "applicationName",
    "ApplicationService.ResourceTree": "applicationName",
    "ApplicationService.ServerSideDiff": "appName",
    "ApplicationService.Update": "application.metadata.name",
    "ApplicationService.WatchResourceTree": "applicationName",
}


@dataclass
class Seen:
    """One request, and what became of it."""

    request: fuzz.Request
    reply: Reply | None
    entry: dict[str, Any] | None
    executed: list[Executed]
    late: bool = False
    """No answer came in time: Argo CD dials out, for example."""

    def difference(self) -> str | None:
        """What disagrees, in words; nothing if all agree."""
        if self.entry is None and not self.late:
            asked = [call.operation for call in self.executed]
            return f"no decision, and yet argocd-server was asked for {asked}" if asked else None
        if self.entry is None:
            return None
        opening, outcome = self.entry["opening"], (self.entry["closing"] or {}).get("outcome", {})
        calls = list(self.executed)
        if outcome.get("kind") == "forwarded" or outcome.get("stage") in MAY_HAVE_ACTED:
            mine = [call for call in calls if call.operation == opening["operation"]]
            if mine:
                calls.remove(mine[-1])
                if wrong := _same(opening, mine[-1]):
                    return wrong
            # A page of the web UI is no call.
            elif opening["operation"] not in BESIDE and outcome["kind"] == "forwarded" and not _failed(outcome["status"]):
                return f"recorded as {opening['operation']}, executed as {[call.operation for call in calls]}"
        # To plan, and to answer by itself, the gate reads; a read that it refuses needs no reading of anything else.
        own = OWN if opening["effect"] != "read" or outcome.get("kind") == "answered" else READS_FIRST
        if opening["operation"] not in OF_SNAPSHOTS:
            own = own | {call.operation for call in calls if _is_of_a_snapshot(call)}
        others = [call.operation for call in calls if call.operation not in own]
        told = f"recorded as {opening['operation']} ({outcome.get('kind')}), and {others} was executed too"
        return told if others else None

    def __str__(self) -> str:
        answer = f"{self.reply.status} {self.reply.headers} {self.reply.body[:300]!r}" if self.reply else "none"
        return (
            f"request: {json.dumps(self.request.to_json())}\nbody: {self.request.body!r}\nanswer: {answer}\n"
            f"record: {json.dumps(self.entry)[:1500]}\nexecuted: {self.executed}"
        )


def _is_of_a_snapshot(call: Executed) -> bool:
    content = call.content or {}
    return call.operation in OF_SNAPSHOTS and APPLICATION in (content.get("name"), content.get("applicationName"))


def _failed(status: dict[str, int]) -> bool:
    """Whether the upstream could not even read the message, so that it logs no call."""
    return status.get("grpc", 0) != 0 or status.get("http", 200) >= 400


def _same(opening: dict[str, Any], call: Executed) -> str | None:
    """Whether the application and the options that were decided on are those that were executed."""
    if call.content is None or not opening["operation"].startswith("ApplicationService."):
        return None
    value: Any = call.content
    for key in _NAMES.get(call.operation, "name").split("."):
        value = value.get(key, {}) if isinstance(value, dict) else {}
    decided = [application["name"] for application in opening["applications"]]
    if decided and decided[0] != value:
        return f"decided on {decided}, executed on {value!r}"
    asked = opening.get("request") or {}
    if call.operation == "ApplicationService.Sync" and asked:
        content = call.content
        done = {
            "dry_run": bool(content.get("dryRun")),
            "prune": bool(content.get("prune")),
            "partial": bool(content.get("resources")),
            "local": bool(content.get("manifests")),
        }
        wrong = {key: (asked[key], said) for key, said in done.items() if key in asked and asked[key] != said}
        return f"options (decided, executed): {wrong}" if wrong else None
    return None


@dataclass
class Bench:
    """Sends requests one after the other, so that what argocd-server logs meanwhile is what they did."""

    gate: Gate
    http1: Http1
    http2: Http2
    log: httpx.Client
    calls: CallLog
    people: People

    def send(self, request: fuzz.Request) -> Seen:
        self.calls.read()
        reply, late = None, False
        try:
            reply = request.send(self.http1, self.http2, self.people.token("olga"))
        except TimeoutError:
            late = True
        except (OSError, http.client.HTTPException, ValueError):
            pass  # the connection was closed, which is an answer, too
        decision = reply.header("syncgate-decision") if reply else ""
        return Seen(request, reply, self._entry(decision) if decision else None, self.calls.read(), late)

    def _entry(self, decision: str) -> dict[str, Any]:
        """The record of a decision, once it is closed: both halves are written after the answer."""
        headers = {"authorization": f"Bearer {self.people.token('sam')}"}

        def closed() -> dict[str, Any] | None:
            answer = self.log.get(f"/syncgate/v1/log/{decision}", headers=headers)
            entry = answer.json() if answer.status_code == 200 else {}
            return entry if entry.get("closing") else None

        entry = eventually(f"decision {decision} is recorded and closed", closed, within=10, every=0.01)
        assert isinstance(entry, dict)
        return entry


@pytest.fixture(scope="module")
def bench(
    gate: Gate, people: People, rest: httpx.Client, rig: Rig, kubernetes: Kubernetes, doors: Doors
) -> Iterator[Bench]:
    doors.create(doors.application(APPLICATION, "staging"))
    calls = CallLog(Path(rig["logs"]) / "argocd-server.log")
    # What earlier tests have begun is looked after each second until it has ended.
    eventually("the gate asks for nothing by itself", lambda: not calls.read(), within=120, every=2.5)
    yield Bench(gate, Http1(gate.url, gate.ca, 10), Http2(gate.url, gate.ca, 10), rest, calls, people)
    doors.remove(APPLICATION)
    _clean(kubernetes)


def _clean(kubernetes: Kubernetes) -> None:
    """Removes what the requests have made: it is named by a marker, or holds one."""
    for kind in ("applications", "applicationsets", "appprojects"):
        for item in kubernetes.get(path_of(kind))["items"]:
            if item["metadata"]["name"].startswith(MARK):
                kubernetes.delete(path_of(kind, item["metadata"]["name"]))
    for item in kubernetes.get(path_of("secrets"))["items"]:
        values = [base64.b64decode(value) for value in item.get("data", {}).values()]
        if any(value.startswith(MARK.encode()) for value in values):
            kubernetes.delete(path_of("secrets", item["metadata"]["name"]))


def base(random: Random, facts: Facts) -> fuzz.Request:
    """A valid request, mostly about something that does not exist."""
    name = random.choice([name for name in facts.methods if name not in ENDLESS])
    marker = f"{MARK}{random.getrandbits(40):010x}"
    if name.startswith("ApplicationService.") and name != "ApplicationService.Delete" and random.random() < 0.5:
        marker = APPLICATION
    fields = fuzz.fields_of(random, facts, facts.methods[name], marker)
    for key in ("project", "projects", "appNamespace"):
        if name.startswith("ApplicationService.") and random.random() < 0.8:
            fields.pop(key, None)
    return fuzz.valid(random, facts, name, random.choice(list(Wire)), fields)


@pytest.mark.timeout(SECONDS + 300)
def test_what_was_classified_is_what_was_executed(bench: Bench, facts: Facts) -> None:
    seed = int(os.environ.get("SYNCGATE_FUZZ_SEED", secrets.randbits(32)))
    random, outcomes, wrong = Random(seed), Counter[str](), list[str]()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and len(wrong) < 5:
        request = base(random, facts)
        if random.random() < 0.9:
            request = fuzz.mutate(random, request, random.choice((APPLICATION, "cart-staging", "fuzz-other")))
        seen = bench.send(request)
        outcomes[_outcome(seen)] += 1
        if difference := seen.difference():
            wrong.append(f"{difference}\n{seen}")
    print(f"seed {seed}: {sum(outcomes.values())} requests: {dict(outcomes)}")
    assert not wrong, f"seed {seed}\n\n" + "\n\n".join(wrong)
    # A run in which nothing gets through, or everything, compares nothing.
    assert outcomes["forwarded"] > sum(outcomes.values()) // 20, outcomes
    assert outcomes["refused"] > sum(outcomes.values()) // 20, outcomes


def _outcome(seen: Seen) -> str:
    if seen.entry is None:
        return "late" if seen.late else "no decision" if seen.reply else "no answer"
    return str((seen.entry["closing"] or {}).get("outcome", {}).get("kind", "open"))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.stem)
def test_what_once_was_different(bench: Bench, seed: Path) -> None:
    told = json.loads(seed.read_text())
    seen = bench.send(fuzz.Request.from_json(told["request"]))
    assert seen.difference() is None, f"{told['why']}\n{seen.difference()}\n{seen}"
