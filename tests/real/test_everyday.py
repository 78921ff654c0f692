"""What people do all day behaves as without the gate, for who may do it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import People
    from harness.cli import Cli
    from harness.cluster import Kubernetes, Repository


@pytest.fixture(scope="module")
def synced(people: People, shop: Repository) -> str:
    """cart in staging at the newest commit, which is given."""
    commit = shop.touch("A commit to look at")
    people.cli("alice").run("app", "sync", "cart-staging").ok()
    return commit


@pytest.mark.parametrize(
    "command",
    [
        ["app", "list"],
        ["app", "list", "-o", "json"],
        ["app", "list", "-l", "syncgate.dev/environment=prod", "-o", "name"],
        ["app", "get", "cart-staging"],
        ["app", "get", "cart-staging", "-o", "json"],
        ["app", "get", "cart-staging", "-o", "tree"],
        ["app", "get", "cart-staging", "--refresh", "-o", "name"],
        ["app", "history", "cart-staging"],
        ["app", "logs", "cart-staging", "--kind", "Job"],
        ["app", "manifests", "cart-staging"],
        ["app", "manifests", "cart-prod", "--source", "git"],
        ["app", "resources", "cart-staging"],
        ["app", "diff", "cart-staging"],
        ["app", "diff", "payments-prod"],
        ["app", "get", "there-is-none"],
        ["app", "actions", "list", "cart-staging"],
        ["proj", "get", "shop"],
        ["proj", "list"],
    ],
    ids=" ".join,
)
def test_reading_gives_what_argo_cd_gives(
    command: list[str], cli: Callable[[str], Cli], direct: Cli, synced: str
) -> None:
    assert synced
    through, past = cli("rita").run(*command), direct.run(*command)
    assert through.code == past.code, f"{through}\n{past}"
    assert comparable(through.out) == comparable(past.out)


def comparable(text: str) -> list[str]:
    """What is printed, without what must differ: addresses, numbers that grow by themselves, and the order of a tree,
    which the CLI takes from a Go map.
    """
    text = re.sub(r"https://(127\.0\.0\.1|localhost):\d+/applications", "URL/applications", text)
    text = re.sub(r'"(resourceVersion|reconciledAt|observedAt|time)": ".*?"', r'"\1": ""', text)
    return sorted(text.splitlines())


def test_sync_and_wait(cli: Callable[[str], Cli], shop: Repository, kubernetes: Kubernetes) -> None:
    alice = cli("alice")
    commit = shop.touch("A commit to wait for")
    alice.run("app", "sync", "cart-staging", "--async").ok()
    alice.run("app", "wait", "cart-staging", "--operation", "--sync", "--health", "--timeout", "60").ok()
    state = kubernetes.application("cart-staging")["status"]
    assert state["operationState"]["phase"] == "Succeeded"
    assert state["operationState"]["syncResult"]["revision"] == commit
    assert commit[:7] in alice.run("app", "history", "cart-staging").ok().out.splitlines()[-1]


def test_a_dry_run_changes_nothing(people: People, kubernetes: Kubernetes, shop: Repository) -> None:
    rita = people.cli("rita")
    shop.touch("A commit to try")
    history = kubernetes.application("cart-prod")["status"].get("history")
    rita.run("app", "sync", "cart-prod", "--dry-run").ok()
    operation = kubernetes.application("cart-prod")["status"]["operationState"]["operation"]
    assert operation["sync"]["dryRun"] is True
    assert kubernetes.application("cart-prod")["status"].get("history") == history
    # And is no evidence.
    assert "has no passing" in rita.run("app", "sync", "cart-prod").refused()


def test_set(cli: Callable[[str], Cli], kubernetes: Kubernetes, price: str) -> None:
    limit = int(price) % 100 + 1
    cli("alice").run("app", "set", "cart-staging", "--revision-history-limit", str(limit)).ok()
    assert kubernetes.application("cart-staging")["spec"]["revisionHistoryLimit"] == limit
    said = cli("alice").run("app", "set", "cart-prod", "--revision-history-limit", str(limit)).refused()
    assert "PermissionDenied" in said
    assert kubernetes.application("cart-prod")["spec"].get("revisionHistoryLimit") != limit


def test_a_source_that_was_changed_is_another_thing_than_what_was_tested(
    people: People, shop: Repository, kubernetes: Kubernetes
) -> None:
    alice, rita = people.cli("alice"), people.cli("rita")
    commit = shop.touch("A commit with other parameters")
    alice.run("app", "sync", "cart-staging").ok()
    source = kubernetes.application("cart-prod")["spec"]["source"]
    rita.run("app", "set", "cart-prod", "--kustomize-image", "rig.local/cart-tests=rig.local/checkout-tests:1").ok()
    try:
        said = rita.run("app", "sync", "cart-prod").refused()
        assert f"cart@{commit[:7]} has no passing 'integration' run in staging" in said
    finally:
        kubernetes.patch_application("cart-prod", {"spec": {"source": {**source, "kustomize": None}}})
    rita.run("app", "sync", "cart-prod").ok()
