"""What the web UI and scripts say: REST and server-sent events with a bearer token."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from conftest import People, Rig
    from harness.cluster import Repository
    from harness.gate import Gate

ALL = {f"{component}-{env}" for component in ("cart", "checkout", "payments") for env in ("staging", "prod")}


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", **headers}


def names(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {item["metadata"]["name"] for item in answer.json()["items"] or []}


def test_a_list_has_what_the_caller_may_read(rest: httpx.Client, people: People, job_token: Callable[..., str]) -> None:
    assert names(rest.get("/api/v1/applications", headers=bearer(people.token("alice")))) == {
        *ALL,
        "shop-staging",
        "shop-prod",
    }
    assert names(rest.get("/api/v1/applications", headers=bearer(job_token("payments")))) == {"payments-staging"}
    nobody = rest.get("/api/v1/applications", headers=bearer(people.token("nick")))
    assert nobody.status_code == 403 or names(nobody) == set()
    fields = {"fields": "items.metadata.name,items.spec.project"}
    some = rest.get("/api/v1/applications", headers=bearer(people.token("alice")), params=fields)
    assert names(some) == {*ALL, "shop-staging", "shop-prod"}


def test_one_application(rest: httpx.Client, people: People) -> None:
    answer = rest.get("/api/v1/applications/cart-prod", headers=bearer(people.token("alice")))
    assert answer.status_code == 200
    assert answer.json()["spec"]["project"] == "shop"
    assert len(answer.headers["syncgate-decision"]) == 26


def test_a_refusal_says_why_as_json(rest: httpx.Client, people: People, shop: Repository, gate: Gate) -> None:
    commit = shop.touch("A commit for the web")
    for login, status, code, said in (
        ("alice", 403, 7, "needs the role `release-manager`"),
        ("rita", 400, 9, f"checkout@{commit[:7]} has no passing 'integration' run in staging"),
    ):
        answer = rest.post("/api/v1/applications/checkout-prod/sync", headers=bearer(people.token(login)), json={})
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert body["code"] == code
        assert body["error"] == body["message"]
        assert said in body["message"]
        decision = answer.headers["syncgate-decision"]
        assert body["message"].endswith(f"decision {decision} - see {gate.url}/syncgate/v1/log/{decision}")


def test_events_of_the_applications_that_the_caller_may_read(
    rest: httpx.Client, people: People, job_token: Callable[..., str]
) -> None:
    seen = first_events(rest, "/api/v1/stream/applications", people.token("rita"), 8)
    assert {event["result"]["application"]["metadata"]["name"] for event in seen} == {*ALL, "shop-staging", "shop-prod"}
    seen = first_events(rest, "/api/v1/stream/applications", job_token("cart"), 1)
    assert [event["result"]["application"]["metadata"]["name"] for event in seen] == ["cart-staging"]
    tree = first_events(rest, "/api/v1/stream/applications/cart-staging/resource-tree", people.token("alice"), 1)
    assert "result" in tree[0]


def first_events(rest: httpx.Client, path: str, token: str, count: int) -> list[dict]:
    found: list[dict] = []
    with rest.stream("GET", path, headers=bearer(token, accept="text/event-stream")) as stream:
        assert stream.status_code == 200, stream.read()
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
            if len(found) == count:
                break
    return found


def test_a_refused_stream_is_refused_as_json(rest: httpx.Client, people: People) -> None:
    path = "/api/v1/stream/applications/cart-staging/resource-tree"
    answer = rest.get(path, headers=bearer(people.token("nick"), accept="text/event-stream"))
    assert answer.status_code == 403
    assert answer.json()["code"] == 7


def test_logs_of_a_pod(rest: httpx.Client, people: People) -> None:
    people.cli("alice").run("app", "sync", "cart-staging").ok()
    query = {"kind": "Job", "group": "batch", "resourceName": "cart-integration", "namespace": "shop-staging"}
    path = "/api/v1/applications/cart-staging/logs"
    answer = rest.get(path, headers=bearer(people.token("alice")), params=query)
    assert answer.status_code == 200
    assert "test session starts" in answer.text


def test_what_everybody_may_know(rest: httpx.Client, gate: Gate) -> None:
    settings = rest.get("/api/v1/settings").json()
    assert settings["url"] == gate.url
    assert settings["oidcConfig"]["cliClientID"] == "argocd-cli"
    assert settings["userLoginsDisabled"] is True
    assert "dexConfig" not in settings
    assert rest.get("/api/version").json() == {"Version": "v3.6.1"}
    assert rest.get("/api/v1/session/userinfo").json().get("loggedIn", False) is False


def test_who_am_i(rest: httpx.Client, people: People) -> None:
    answer = rest.get("/api/v1/session/userinfo", headers=bearer(people.token("rita"))).json()
    assert answer["loggedIn"] is True
    assert answer["username"] == "rita@shop.example"
    assert answer["groups"] == ["release-managers"]


def test_can_i(rest: httpx.Client, people: People) -> None:
    def can(login: str, question: str) -> str:
        answer = rest.get(f"/api/v1/account/can-i/{question}", headers=bearer(people.token(login)))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["value"])

    assert can("alice", "applications/sync/shop/cart-staging") == "yes"
    assert can("alice", "applications/sync/shop/cart-prod") == "no"
    assert can("rita", "applications/sync/shop/cart-prod") == "yes"
    assert can("nick", "applications/get/shop/cart-prod") == "no"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/there-is-no-such-thing"),
        ("POST", "/api/v1/applications/cart-prod"),
        ("GET", "/api/v1/applications/cart-prod%2Fsync"),
        ("GET", "/terminal?pod=x&container=y&appName=cart-prod&projectName=shop&namespace=shop-prod"),
        ("POST", "/api/v1/session"),
        ("POST", "/api/v1/account/admin/token"),
        ("GET", "/auth/login"),
        ("GET", "/api/dex/auth"),
        ("GET", "/extensions/x"),
    ],
)
def test_what_is_not_in_the_table_is_refused(rest: httpx.Client, people: People, method: str, path: str) -> None:
    answer = rest.request(method, path, headers=bearer(people.token("olga"), **{"content-type": "application/json"}))
    assert answer.status_code in {400, 403}, f"{answer.status_code} {answer.text}"
    assert answer.json()["code"] in {3, 7}


def test_an_encoded_slash_is_no_way_round(rest: httpx.Client, people: People) -> None:
    for path in ("/api/v1/applications/checkout-prod%2Fsync", "/api/v1//applications/checkout-prod/sync"):
        answer = rest.post(path, headers=bearer(people.token("alice")), json={})
        assert answer.status_code in {400, 403}, f"{path}: {answer.status_code} {answer.text}"


def test_a_key_in_other_letters_is_no_way_round(rest: httpx.Client, people: People) -> None:
    body = '{"revision":"main","REVISION":"0000000000000000000000000000000000000000"}'
    headers = bearer(people.token("olga"), **{"content-type": "application/json"})
    answer = rest.post("/api/v1/applications/cart-staging/sync", headers=headers, content=body)
    assert answer.status_code == 400
    assert "REVISION" in answer.json()["message"]


def test_a_refusal_before_the_body_was_read_ends_the_connection_and_says_so(gate: Gate) -> None:
    context = ssl.create_default_context(cafile=str(gate.ca))
    host, port = gate.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as wire,
    ):
        head = "POST /api/v1/there-is-no-such-thing HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\n"
        wire.sendall(f"{head}content-length: 2\r\n\r\n".encode())
        answer = b""
        while part := wire.recv(65536):
            answer += part
    head, body = answer.decode().split("\r\n\r\n")
    assert head.startswith("HTTP/1.1 403 ")
    assert "connection: close" in head.lower().split("\r\n")
    assert json.loads(body)["code"] == 7


def test_rest_over_http_2(gate: Gate, people: People) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is missing"
    options = ["--silent", "--show-error", "--http2", "--write-out", "\n%{http_version} %{http_code}"]
    options += ["--cacert", str(gate.ca), "--header", f"authorization: Bearer {people.token('alice')}"]
    done = subprocess.run(
        [curl, *options, f"{gate.url}/api/v1/applications/cart-prod"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    body, facts = done.stdout.rsplit("\n", 1)
    assert facts == "2 200", done.stdout
    assert json.loads(body)["metadata"]["name"] == "cart-prod"


def test_no_credential_gets_out(rest: httpx.Client, people: People, rig: Rig, gate: Gate) -> None:
    secret = rig["argocd"]["account_token"]
    headers = bearer(people.token("olga"), **{"grpc-metadata-token": "x", "cookie": "argocd.token=x"})
    for path in ("/api/v1/applications", "/api/v1/clusters", "/api/v1/session/userinfo", "/api/v1/settings"):
        for sent in (headers, bearer(people.token("olga")), {}):
            answer = rest.get(path, headers=sent)
            everything = answer.text + str(answer.headers)
            assert secret not in everything, path
            assert "renew-token" not in everything.lower(), path
            assert not any(cookie.startswith("argocd.token=ey") for cookie in answer.headers.get_list("set-cookie"))
    # Nor is one kept: in the log, the record, the evidence.
    callers = [people.token(login) for login in ("alice", "rita", "olga")]
    kept = [file for file in gate.folder.iterdir() if file.is_file() and file.name != "argocd.token"]
    assert {"gate.log", "syncgate.db"} <= {file.name for file in kept}
    for file in kept:
        held = file.read_bytes()
        for token in (secret, *callers):
            assert token.rsplit(".", 1)[1].encode() not in held, file
