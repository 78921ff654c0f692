"""Power cuts: what was begun is in the log as what it is, and nothing is forwarded that was not written down before."""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from harness.cluster import decision_of, revision_of
from harness.gate import Gate, has_fail_points
from harness.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import People, Rig
    from harness.cli import Cli
    from harness.cluster import Kubernetes, Repository
    from harness.tokens import Provider

SYNC = "ApplicationService.Sync"


@pytest.fixture
def crashing(rig: Rig, oidc: Provider, folder: Path, request: pytest.FixtureRequest) -> Iterator[Gate]:
    """A gate with a log of its own, not yet started; its program can be stopped at named places."""
    assert has_fail_points(), "the program has no fail points: cargo build --features failpoints"
    gate = Gate.prepare(rig, oidc.issuer, folder / request.node.name.replace("[", "-").strip("]"))
    yield gate
    if gate.service is not None and gate.service.running():
        gate.stop()


class Call(threading.Thread):
    """One REST call, made in the background."""

    def __init__(self, gate: Gate, token: str, application: str) -> None:
        super().__init__(daemon=True)
        self._gate, self._token, self._application = gate, token, application
        self.answer: httpx.Response | None = None

    def run(self) -> None:
        verify = ssl.create_default_context(cafile=str(self._gate.ca))
        try:
            self.answer = httpx.post(
                f"{self._gate.url}/api/v1/applications/{self._application}/sync",
                headers={"authorization": f"Bearer {self._token}"},
                json={},
                verify=verify,
                trust_env=False,
                timeout=60,
            )
        except httpx.HTTPError:
            pass  # the gate was killed


def syncs(gate: Gate, token: str) -> list[dict[str, Any]]:
    return list(gate.json("log", "list", "--operation", SYNC, token=token)["entries"])


@pytest.mark.parametrize("place", ["before-forward", "after-forward"])
def test_killed_in_the_middle(
    place: str, crashing: Gate, people: People, kubernetes: Kubernetes, tmp_path: Path
) -> None:
    people.cli("alice").run("app", "wait", "cart-staging", "--operation", "--timeout", "60").ok()
    before = kubernetes.application("cart-staging")["status"].get("operationState")
    reached = tmp_path / "reached"
    crashing.start(SYNCGATE_FAILPOINT=f"{place}={reached}")
    call = Call(crashing, people.token("alice"), "cart-staging")
    call.start()
    eventually("the fail point is reached", reached.exists)
    crashing.kill()
    call.join(timeout=30)
    assert place == "after-forward" or call.answer is None

    # What was written before the kill is there, and tells that nobody knows how it ended.
    store = ["--store", str(crashing.folder / "syncgate.db")]
    [entry] = crashing.json("log", "list", "--operation", SYNC, *store, token="")["entries"]
    assert entry["opening"]["word"] == "permit"
    assert entry["closing"] is None

    # The next start finds out what became of it.
    crashing.start()
    entry = eventually(
        "the entry is closed",
        lambda: next((e for e in syncs(crashing, people.token("sam")) if e["closing"]), None),
    )
    assert isinstance(entry, dict)
    assert entry["opening"]["word"] == "permit"
    outcome = entry["closing"]["outcome"]
    assert outcome["kind"] == "interrupted"
    if place == "before-forward":
        assert outcome["reached"] == "no"
        assert kubernetes.application("cart-staging")["status"].get("operationState") == before
    else:
        assert outcome["reached"] == "yes"
        application = eventually(
            "the operation has ended",
            lambda: ended(kubernetes.application("cart-staging")),
        )
        assert isinstance(application, dict)
        assert decision_of(application) == entry["decision"]


def ended(application: dict[str, Any]) -> dict[str, Any] | None:
    state = application["status"].get("operationState", {})
    return application if "operation" not in application and state.get("finishedAt") else None


def test_a_branch_that_moves_between_check_and_sync(
    crashing: Gate, people: People, kubernetes: Kubernetes, shop: Repository, direct: Cli, tmp_path: Path
) -> None:
    commit = shop.touch("The commit that is checked")
    reached = tmp_path / "reached"
    crashing.start(SYNCGATE_FAILPOINT=f"before-forward={reached}")
    call = Call(crashing, people.token("alice"), "checkout-staging")
    call.start()
    eventually("the call is checked, and not yet forwarded", reached.exists)
    newer = shop.touch("The commit that comes too late")
    direct.run("app", "get", "checkout-staging", "--refresh").ok()
    assert kubernetes.application("checkout-staging")["status"]["sync"]["revision"] == newer
    reached.unlink()
    call.join(timeout=60)
    assert call.answer is not None
    assert call.answer.status_code == 200, call.answer.text
    application = eventually("the operation has ended", lambda: ended(kubernetes.application("checkout-staging")))
    assert isinstance(application, dict)
    assert decision_of(application) == call.answer.headers["syncgate-decision"]
    assert application["status"]["operationState"]["operation"]["sync"]["revision"] == commit
    assert revision_of(application) == commit
