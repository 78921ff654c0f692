"""Who calls: `argocd login --sso`, renewal of its token, workloads, and every credential that must not hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import jwt
import pytest
import yaml

from harness import tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from conftest import People, Rig
    from harness.cli import Cli
    from harness.gate import Gate
    from harness.tokens import Provider


def test_login_by_single_sign_on(people: People, *, grpc_web: bool) -> None:
    cli = people.new("alice", grpc_web=grpc_web)
    assert "'alice@shop.example' logged in successfully" in cli.login_sso("alice").ok().out
    info = cli.run("account", "get-user-info").ok().out
    assert "Logged In: true" in info
    assert "Username: alice@shop.example" in info
    assert "Groups: engineering" in info
    cli.run("app", "get", "cart-staging").ok()
    cli.run("logout", cli.address).ok()
    assert "Unauthenticated" in cli.run("app", "get", "cart-staging").refused()


def test_the_cli_renews_its_token(people: People, oidc: Provider, *, grpc_web: bool) -> None:
    cli = people.new("rita", grpc_web=grpc_web)
    with oidc.id_tokens_good_for(2):
        cli.login_sso("rita").ok()
    before = stored(cli)
    assert before["refresh-token"]
    while tokens.claims_of(before["auth-token"])["exp"] > time.time():
        time.sleep(0.2)
    cli.run("app", "get", "cart-prod").ok()
    after = stored(cli)
    assert after["auth-token"] != before["auth-token"]
    assert tokens.claims_of(after["auth-token"])["email"] == "rita@shop.example"


def stored(cli: Cli) -> dict[str, str]:
    """What the CLI has stored for its only user."""
    return dict(yaml.safe_load(cli.config.read_text())["users"][0])


def test_a_stale_token_without_a_way_to_renew_it_is_told(people: People, oidc: Provider, *, grpc_web: bool) -> None:
    stale = expired(oidc)
    said = people.new("alice", grpc_web=grpc_web, token=stale).run("app", "list").refused()
    assert said.startswith("rpc error: code = Unauthenticated desc = the token expired ")
    assert "ago: sign in again. decision " in said


def test_nobody_may_ask_for_the_version_only(people: People, *, grpc_web: bool) -> None:
    nobody = people.new("nobody", grpc_web=grpc_web)
    assert "argocd-server: v3.6.1" in nobody.run("version").ok().out
    said = nobody.run("app", "list").refused()
    assert said.startswith("rpc error: code = Unauthenticated desc = sign in first: argocd login --sso")


def test_a_service_account_reads_its_own_application_only(
    people: People, job_token: Callable[..., str], *, grpc_web: bool
) -> None:
    job = people.new("job", grpc_web=grpc_web, token=job_token("cart"))
    assert job.run("app", "list", "-o", "name").ok().out.split() == ["argocd/cart-staging"]
    job.run("app", "history", "cart-staging").ok()
    assert "PermissionDenied" in job.run("app", "history", "checkout-staging").refused()
    assert "PermissionDenied" in job.run("app", "sync", "cart-staging").refused()


def test_passwords_accounts_and_tokens_of_argo_cd_are_out_of_reach(people: People, rig: Rig, *, grpc_web: bool) -> None:
    nobody = people.new("nobody", grpc_web=grpc_web)
    credentials = ["--username", rig["argocd"]["username"], "--password", rig["argocd"]["password"]]
    assert "argocd login" in nobody.run("login", nobody.address, *credentials).refused()
    # Not even for those who may do everything else.
    olga = people.cli("olga", grpc_web=grpc_web)
    for refused in (
        ["account", "generate-token", "--account", "syncgate"],
        [
            "account",
            "update-password",
            "--account",
            "syncgate",
            "--current-password",
            "x",
            "--new-password",
            "12345678y",
        ],
        ["proj", "role", "create-token", "shop", "ci"],
    ):
        said = olga.run(*refused).refused()
        assert "PermissionDenied" in said, refused
        assert "eyJ" not in said


BAD = {
    "absent": lambda _oidc, _rig: None,
    "garbage": lambda _oidc, _rig: "not-a-token",
    "expired": lambda oidc, _rig: expired(oidc),
    "for another client": lambda oidc, _rig: oidc.id_token("rita", client="other"),
    "alg none": lambda oidc, _rig: tokens.unsigned(oidc.id_token("rita")),
    "HS256 with the public key": lambda oidc, _rig: tokens.signed_with_the_public_key(oidc.id_token("rita"), oidc),
    "signed by somebody else": lambda oidc, _rig: tokens.signed_by_somebody_else(oidc.id_token("rita")),
    "with other groups": lambda oidc, _rig: tokens.with_a_changed_claim(
        oidc.id_token("nick"), "groups", ["release-managers"]
    ),
    "of another issuer": lambda oidc, _rig: tokens.signed_by_somebody_else(
        tokens.with_a_changed_claim(oidc.id_token("rita"), "iss", "https://issuer.example")
    ),
    "of Argo CD itself": lambda _oidc, rig: rig["argocd"]["account_token"],
}


@pytest.mark.parametrize("what", BAD)
def test_a_credential_that_does_not_hold(
    what: str, oidc: Provider, rig: Rig, rest: httpx.Client, people: People
) -> None:
    token = BAD[what](oidc, rig)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    for call in (
        rest.get("/api/v1/applications", headers=headers),
        rest.post("/api/v1/applications/cart-staging/sync", headers=headers, json={}),
    ):
        assert call.status_code == 401, call.text
        assert call.headers["www-authenticate"].startswith("Bearer")
        answer = call.json()
        assert answer["code"] == 16
        assert answer["error"] == answer["message"]
        assert f"decision {call.headers['syncgate-decision']}" in answer["message"]
        if token:
            assert token not in call.text
    own = rest.get("/syncgate/v1/log", headers=headers)
    assert own.status_code == 401
    assert own.headers["content-type"] == "application/problem+json"
    assert own.json()["code"] == "unauthenticated"
    cli = people.new("nobody", token=token or "")
    assert "code = Unauthenticated" in cli.run("app", "sync", "cart-staging").refused()


def test_a_service_account_token_for_another_audience_does_not_hold(
    rest: httpx.Client, job_token: Callable[..., str]
) -> None:
    token = job_token("cart", audience="https://kubernetes.default.svc")
    answer = rest.get("/api/v1/applications", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert "this gate needs one for" in answer.json()["message"]


def test_refused_calls_never_reach_argo_cd(gate: Gate, rig: Rig, rest: httpx.Client) -> None:
    marker = "never-to-be-seen-by-argo-cd"
    answer = rest.post(f"/api/v1/applications/{marker}/sync", json={})
    assert answer.status_code == 401
    forged = jwt.encode({"iss": "https://issuer.example", "sub": "x"}, "k" * 32, algorithm="HS256")
    headers = {"authorization": f"Bearer {forged}", "content-type": "application/json"}
    answer = rest.delete(f"/api/v1/applications/{marker}", headers=headers)
    assert answer.status_code == 401
    log = gate.folder.parent / "rig" / "logs" / "argocd-server.log"
    assert str(log).startswith(str(rig["dir"]))
    assert marker not in log.read_text(errors="replace")


def expired(oidc: Provider) -> str:
    """A token that was good for a second."""
    token = oidc.id_token("rita", seconds=1)
    while int(str(tokens.claims_of(token)["exp"])) >= time.time():
        time.sleep(0.1)
    return token
