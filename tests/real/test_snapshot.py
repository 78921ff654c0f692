"""A failure comes with what the application was like: its resources, what Kubernetes says, what was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.cluster import decision_of
from harness.processes import eventually
from test_story import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from conftest import People
    from harness.cli import Cli
    from harness.cluster import Kubernetes, Repository
    from harness.gate import Gate

Json = dict[str, Any]


@pytest.fixture
def prices(shop: Repository, price: str, people: People) -> Iterator[tuple[str, str]]:
    """Commits with a price that passes the tests of checkout, and with one that does not; staging runs the first."""
    engineer = people.cli("alice")
    good = shop.set(SETTINGS, "PRICE_CENTS", price)
    engineer.run("app", "sync", "checkout-staging").ok()
    yield good, shop.set(SETTINGS, "PRICE_CENTS", f"-{price}")
    shop.set(SETTINGS, "PRICE_CENTS", price)
    engineer.run("app", "sync", "checkout-staging").ok()


def test_a_failed_hook_job_leads_to_the_state_it_failed_in(
    gate: Gate,
    people: People,
    cli: Callable[[str], Cli],
    kubernetes: Kubernetes,
    rest: httpx.Client,
    prices: tuple[str, str],
    price: str,
) -> None:
    good, bad = prices
    security = people.token("sam")
    assert cli("alice").run("app", "sync", "checkout-staging").code != 0
    application = kubernetes.application("checkout-staging")
    state = application["status"]["operationState"]
    assert state["phase"] == "Failed", state

    # The run: what the rollout has changed, and a link that the failing pytest has told.
    (listed,) = gate.json("evidence", "list", "--commit", bad, "--app", "checkout-staging", token=security)["runs"]

    def shown() -> Json | None:
        run = gate.json("evidence", "show", listed["run"], token=security)
        return run if run.get("snapshot") else None

    run = eventually("the run has a snapshot", shown)
    assert isinstance(run, dict)
    assert run["result"]["verdict"] == "failed"
    link = run["snapshot"]["url"]
    told = gate.command("evidence", "show", listed["run"], token=security).stdout
    assert link in told
    assert f"{good[:7]}..{bad[:7]}: ConfigMap shop-staging/checkout changed" in told
    snapshot = gate.json("evidence", "show", listed["run"], "--snapshot", token=people.token("alice"))
    assert snapshot["application"]["name"] == "checkout-staging"
    (changed,) = snapshot["changes"]["resources"]
    assert changed["patch"] == [{"op": "replace", "path": "/data/PRICE_CENTS", "value": f"-{price}"}]

    # The sync: its hook, and the last words of the pod, in which pytest has told the link, too.
    decision = decision_of(application)

    def failed() -> Json | None:
        entry = gate.json("log", "show", decision, token=security)
        return entry if entry.get("snapshot") else None

    entry = eventually("the decision has a snapshot", failed)
    assert isinstance(entry, dict)
    snapshot = rest.get(entry["snapshot"], headers={"authorization": f"Bearer {security}"}).json()
    assert snapshot["operation"]["phase"] == "Failed"
    assert {"Job checkout-integration Failed"} == {
        f"{result['kind']} {result['name']} {result['status']}" for result in snapshot["operation"]["results"]
    }
    ill = {f"{item['kind']} {item['status']}" for item in snapshot["resources"] if item["status"] == "Degraded"}
    assert "Pod Degraded" in ill, snapshot
    (log,) = snapshot["logs"]
    assert log["pod"].startswith("shop-staging/checkout-integration-")
    assert any(line.startswith(f"syncgate: what the application was like: {link}") for line in log["lines"]), log
    assert any("BackoffLimitExceeded" in event["reason"] for event in snapshot["events"]), snapshot["events"]
