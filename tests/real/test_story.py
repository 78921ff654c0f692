"""The main job: a sync is refused, the tests are reported, and the same sync goes through with its commit pinned."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cluster import decision_of, revision_of
from harness.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import People
    from harness.cli import Cli
    from harness.cluster import Kubernetes, Repository
    from harness.fleet import Account
    from harness.gate import Gate

SETTINGS = "components/checkout/base/configmap.yaml"


def refusal(gate: Gate, why: str) -> str:
    """What the CLI prints when evidence is missing: one line, and all that one needs to go on."""
    return (
        r"rpc error: code = FailedPrecondition desc = sync of checkout-prod refused: "
        + why
        + rf"\. decision (?P<decision>[0-9A-Z]{{26}}) - see {re.escape(gate.url)}/syncgate/v1/log/(?P=decision)"
    )


def test_a_sync_is_refused_until_its_commit_has_passed(
    gate: Gate, people: People, cli: Callable[[str], Cli], shop: Repository, kubernetes: Kubernetes, price: str
) -> None:
    alice, rita, security = cli("alice"), cli("rita"), people.token("sam")
    commit = shop.set(SETTINGS, "PRICE_CENTS", price)

    # Nobody has tested the commit: refused, in one printable line.
    said = rita.run("app", "sync", "checkout-prod").refused()
    found = re.fullmatch(
        refusal(
            gate,
            rf"checkout@{commit[:7]} has no passing 'integration' run in staging(; newest that would pass: [0-9a-f]{{7}})?",
        ),
        said,
    )
    assert found, said
    assert said.isascii()
    assert said.isprintable()
    assert "%" not in said
    shown = gate.json("log", "show", found["decision"], token=security)
    assert shown["opening"]["word"] == "deny"
    assert shown["opening"]["operation"] == "ApplicationService.Sync"
    assert shown["opening"]["caller"]["display"] == "rita@shop.example"
    assert shown["opening"]["planned"][0]["finding"]["kind"] == "blocked"
    assert shown["opening"]["planned"][0]["plan"]["sources"][0]["commit"] == commit
    assert shown["closing"]["outcome"] == {"kind": "refused", "code": "evidence"}

    # An engineer rolls it out to staging, where its own tests run in a hook Job and report.
    alice.run("app", "sync", "checkout-staging").ok()
    assert revision_of(kubernetes.application("checkout-staging")) == commit
    runs = gate.json("evidence", "list", "--commit", commit, "--environment", "staging", token=security)["runs"]
    assert len(runs) == 1
    assert runs[0]["reporter"].endswith("#system:serviceaccount:shop-staging:checkout-tests")
    assert runs[0]["commits"] == [commit]
    assert runs[0]["result"]["verdict"] == "passed"
    run = gate.json("evidence", "show", str(runs[0]["run"]), token=security)
    assert {(attempt["test"], attempt["outcome"]) for attempt in run["attempts"]} == {
        ("test_checkout.py::test_price_is_a_positive_number_of_cents", "passed"),
        ("test_checkout.py::test_currency_is_known", "passed"),
        ("test_checkout.py::test_workload_identity_is_there", "passed"),
    }

    # The same sync goes through, with the commit pinned.
    rita.run("app", "sync", "checkout-prod").ok()
    application = kubernetes.application("checkout-prod")
    assert application["status"]["operationState"]["operation"]["sync"]["revision"] == commit
    assert revision_of(application) == commit
    assert kubernetes.config_map("shop-prod", "checkout")["PRICE_CENTS"] == price

    # Both decisions are on record, and the operation carries that of its permission.
    permit = gate.json("log", "show", decision_of(application), token=security)
    assert permit["opening"]["word"] == "permit"
    assert permit["opening"]["caller"]["display"] == "rita@shop.example"
    assert permit["opening"]["planned"][0]["finding"] == {"kind": "satisfied", "runs": [runs[0]["run"]]}
    assert permit["opening"]["planned"][0]["plan"]["sources"][0]["commit"] == commit
    assert permit["closing"]["outcome"]["kind"] == "forwarded"
    listed = gate.json(
        "log", "list", "--app", "checkout-prod", "--operation", "ApplicationService.Sync", token=security
    )
    decisions = [entry["decision"] for entry in listed["entries"]]
    assert decisions.index(decision_of(application)) < decisions.index(found["decision"])
    told = gate.command("log", "show", decision_of(application), token=security).stdout
    assert commit in told
    assert str(runs[0]["run"]) in told

    # The branch moves on: refused again, and told which commit would pass.
    newer = shop.touch("A commit that nobody has tested")
    said = rita.run("app", "sync", "checkout-prod").refused()
    wanted = rf"checkout@{newer[:7]} has no passing 'integration' run in staging; newest that would pass: {commit[:7]}"
    assert re.fullmatch(refusal(gate, wanted), said), said
    assert revision_of(kubernetes.application("checkout-prod")) == commit
    # And that one does.
    rita.run("app", "sync", "checkout-prod", "--revision", commit).ok()
    assert revision_of(kubernetes.application("checkout-prod")) == commit


def test_a_role_decides_who_may_sync_prod(cli: Callable[[str], Cli], kubernetes: Kubernetes) -> None:
    before = kubernetes.application("checkout-prod").get("status", {}).get("operationState")
    said = cli("alice").run("app", "sync", "checkout-prod").refused()
    assert said.startswith("rpc error: code = PermissionDenied desc = sync of checkout-prod in prod refused for alice@")
    assert "needs the role `release-manager`" in said
    # Who may not sync anyway is not told about tests, which would not help.
    assert "integration" not in said
    assert kubernetes.application("checkout-prod").get("status", {}).get("operationState") == before


def test_who_has_no_role_can_do_nothing(cli: Callable[[str], Cli]) -> None:
    nick = cli("nick")
    assert "PermissionDenied" in nick.run("app", "sync", "checkout-staging").refused()
    assert "PermissionDenied" in nick.run("app", "get", "checkout-staging").refused()


def test_failing_tests_keep_a_commit_out_of_prod(
    gate: Gate, people: People, shop: Repository, kubernetes: Kubernetes
) -> None:
    alice, rita = people.cli("alice"), people.cli("rita")
    before = revision_of(kubernetes.application("checkout-prod"))
    commit = shop.set(SETTINGS, "PRICE_CENTS", "-1")
    try:
        failed = alice.run("app", "sync", "checkout-staging")
        assert failed.code == 1, failed
        assert "one or more synchronization tasks completed unsuccessfully" in failed.out
        run = gate.json("evidence", "list", "--commit", commit, token=people.token("sam"))["runs"][0]
        assert run["result"]["verdict"] == "failed"
        assert run["result"]["tests"]["failed"] == 1
        # What let the sync through tells how it ended.
        decision = decision_of(kubernetes.application("checkout-staging"))

        def ended() -> list[dict[str, Any]]:
            shown = gate.json("log", "show", decision, token=people.token("sam"))
            return list(shown.get("ends", []))

        eventually("the end of the sync is on record", ended)
        [end] = ended()
        assert (end["facts"]["state"], end["facts"]["phase"]) == ("failed", "Failed")
        [hook] = end["facts"]["hooks"]
        assert (hook["kind"], hook["job"]) == ("PostSync", "shop-staging/checkout-integration")
        assert hook["phase"] == "Failed"

        said = rita.run("app", "sync", "checkout-prod").refused()
        wanted = rf"checkout@{commit[:7]} has no passing 'integration' run in staging \(last: failed .*1 test.*\).*"
        assert re.fullmatch(refusal(gate, wanted), said), said
        assert revision_of(kubernetes.application("checkout-prod")) == before
    finally:
        shop.set(SETTINGS, "PRICE_CENTS", "1999")


def test_an_application_with_two_sources_is_pinned_to_two_commits(
    gate: Gate,
    people: People,
    cli: Callable[[str], Cli],
    shop: Repository,
    config_repository: Repository,
    kubernetes: Kubernetes,
) -> None:
    alice, rita = cli("alice"), cli("rita")
    commits = [shop.touch("Something new"), config_repository.touch("Something new, too")]
    short = "+".join(commit[:7] for commit in commits)

    said = rita.run("app", "sync", "payments-prod").refused()
    assert f"sync of payments-prod refused: payments@{short} has no passing 'integration' run in staging" in said
    alice.run("app", "sync", "payments-staging").ok()
    rita.run("app", "sync", "payments-prod").ok()
    application = kubernetes.application("payments-prod")
    assert application["status"]["operationState"]["syncResult"]["revisions"] == commits
    permit = gate.json("log", "show", decision_of(application), token=people.token("sam"))
    assert [source["commit"] for source in permit["opening"]["planned"][0]["plan"]["sources"]] == commits

    # One of the two moves: that is another thing than what was tested.
    newer = config_repository.touch("Something newer")
    said = rita.run("app", "sync", "payments-prod").refused()
    assert f"payments@{commits[0][:7]}+{newer[:7]} has no passing" in said
    assert f"newest that would pass: {short}" in said


def test_auto_sync_is_refused_while_its_revision_moves(
    people: People, kubernetes: Kubernetes, shop: Repository
) -> None:
    olga = people.cli("olga")
    # Arming it where tests are required would roll out without a check.
    said = olga.run("app", "set", "cart-prod", "--sync-policy", "automated").refused()
    assert "automated sync would roll out commits without a check" in said
    assert "automated" not in (kubernetes.application("cart-prod")["spec"].get("syncPolicy") or {})

    # And where it is armed already, Argo CD takes no other revision than that of the spec, which moves.
    shop.touch("A commit for auto-sync")
    policy = {"syncPolicy": {"automated": {}, "retry": {"limit": 0}}}
    kubernetes.patch_application("cart-prod", {"spec": policy})
    try:
        said = olga.run("app", "sync", "cart-prod").refused()
        assert "FailedPrecondition" in said
        assert re.search(r"cart-prod refused: .*auto(mated|-sync)", said), said
    finally:
        kubernetes.patch_application("cart-prod", {"spec": {"syncPolicy": None}})


def test_a_parent_of_plain_children_rolls_out_none_of_them(people: People, kubernetes: Kubernetes) -> None:
    """Its sync writes the children; what they run, they run by syncs of their own."""
    before = {name: kubernetes.application(name)["status"].get("history") for name in ("cart-prod", "checkout-prod")}
    said = people.cli("alice").run("app", "sync", "shop-prod").refused()
    assert "PermissionDenied" in said
    people.cli("rita").run("app", "sync", "shop-prod").ok()
    after = {name: kubernetes.application(name)["status"].get("history") for name in before}
    assert after == before
    # A parent that belongs nowhere is for nobody.
    said = people.cli("olga").run("app", "sync", "shop-staging").refused()
    assert "the application must match exactly one environment" in said


def test_the_story_of_the_demo_is_the_same_here(
    gate: Gate, people: People, shop: Repository, account: Account, price: str, tmp_path: Path
) -> None:
    """`syncgate demo` tells it over stand-ins; the same code tells it over this Argo CD."""
    git = f"git -C {shlex.quote(str(shop.worktree))}"
    settings = shlex.quote(str(shop.worktree / SETTINGS))
    push, push_failing = (
        f"sed -i 's/PRICE_CENTS: .*/PRICE_CENTS: \"{cents}\"/' {settings}"
        f" && {git} commit --quiet --all --message='The price of the story'"
        f" && {git} push --quiet origin HEAD && {git} rev-parse HEAD"
        for cents in (price, "-1")
    )
    told = tmp_path / "story.json"
    people_of_the_story = {"engineer": "alice", "release_manager": "rita", "security": "sam"}
    tokens = {role: [name, people.token(name)] for role, name in people_of_the_story.items()}
    pushes = {"push": push, "push_failing": push_failing}
    setting = {"gate": gate.url, "ca_file": str(gate.ca), "component": "checkout", **pushes, **tokens}
    told.write_text(json.dumps(setting))
    name = "story::the_story_is_as_told_on_a_real_argo_cd"
    usual = gate.config.read_text()
    gate.restart(account.section(admission=False))
    try:
        done = subprocess.run(
            ["cargo", "test", "--all-features", "--test", "integration", name, "--", "--exact", "--nocapture"],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"SYNCGATE_STORY": str(told)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    finally:
        gate.stop()
        gate.config.write_text(usual)
        gate.start()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert done.stdout.count("REFUSED") == 2
    assert done.stdout.count("ALLOWED") == 2
    assert done.stdout.count("TAKEN BACK") == 1
