"""The test door in front of a real service: HTTPS, a websocket and gRPC, from real test runs and by real tokens.

The service believes nothing but the assertion that it verifies with the gate's published keys.
"""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from harness.doors import REPORTER, STAGING
from harness.gate import AUDIENCE
from harness.processes import eventually
from harness.runs import Project
from harness.testdoor import API, LEDGER, RPC, SOCKET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import People
    from harness.cluster import Kubernetes
    from harness.testdoor import TestDoor

Json = dict[str, Any]
NAME = f"system:serviceaccount:{REPORTER[0]}:{REPORTER[1]}"
_TESTS = """
import pytest


@pytest.fixture(params=["syncgate_httpx", "syncgate_requests"])
def session(request):
    return request.getfixturevalue(request.param)


def test_reads(session, syncgate, api):
    answer = session.get(syncgate.endpoint(api) + "carts/7")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["method"], said["path"]) == ("GET", "/carts/7")
    assert said["who"]["who"] == "NAME"
    assert said["who"]["environment"] == syncgate.environment == "staging"
    print("SEEN", dict(answer.headers))


def test_writes(session, syncgate, api):
    answer = session.post(syncgate.endpoint(api) + "carts/7/items", json={"item": 1})
    assert answer.status_code == 200, answer.text
    assert answer.json()["method"] == "POST"
    assert answer.json()["body"].replace(" ", "") == '{"item":1}'
    print("SEEN", dict(answer.headers))


def test_prod_is_not_open(session, syncgate, prod):
    answer = session.get(syncgate.endpoint(prod) + "carts/7")
    assert answer.status_code == 403, answer.text
    print("SEEN", dict(answer.headers), answer.text)
""".replace("NAME", NAME)
_CONFTEST = f'''
import pytest


@pytest.fixture
def api():
    return "{API}"


@pytest.fixture
def prod():
    return "{LEDGER}"
'''


@pytest.fixture(scope="module")
def stranger(kubernetes: Kubernetes) -> str:
    """Of another service account of that namespace, which has no role."""
    return kubernetes.service_account_token(REPORTER[0], "idler", audience=AUDIENCE)


@pytest.fixture
def client(testdoor: TestDoor, reporter: str) -> Iterator[httpx.Client]:
    """HTTP to the gate, signed in."""
    verify = ssl.create_default_context(cafile=str(testdoor.gate.ca))
    headers = {"authorization": f"Bearer {reporter}"}
    with httpx.Client(base_url=testdoor.gate.url, verify=verify, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
def entry(testdoor: TestDoor, people: People) -> Any:
    """`entry(decision)` is what the log has of a decision, once it is closed."""

    def found(decision: str) -> Json | None:
        shown = testdoor.gate.json("log", "show", decision, token=people.token("sam"))
        return shown if shown["closing"] else None

    return lambda decision: eventually(f"{decision} is closed", lambda: found(decision))


def keys_of(heard: list[Json]) -> list[str]:
    """The credentials that the service was called with."""
    return [value for line in heard for name, value in line["headers"] if name.lower() == "x-api-key"]


def assert_nothing_of(names: set[str], heard: list[Json]) -> None:
    """None of these headers came to the service."""
    came = {name.lower() for line in heard for name, _ in line["headers"]}
    assert not names & came, came


def test_a_run_reaches_what_it_tests(
    testdoor: TestDoor, staged: str, people: People, reporter: str, tmp_path: Path
) -> None:
    gate, before = testdoor.gate, len(testdoor.heard)
    project = Project.create(tmp_path / "project", gate, reporter, suite="endpoints")
    project.write("test_api.py", _TESTS)
    project.write("conftest.py", _CONFTEST)
    ended = project.pytest("-s", ENDPOINTS=API)
    assert ended.code == 0, ended.out
    assert "preflight passed: 5 checks" in ended.out
    assert ended.summary.startswith(f"passed: {STAGING}, suite endpoints at {staged[:7]}, 6 attempts reported")

    heard = testdoor.heard_since(before, lambda line: line["who"].get("who") == NAME)
    assert [line["what"] for line in heard] == ["GET /carts/7"] * 2 + ["POST /carts/7/items"] * 2
    assert keys_of(heard) == [testdoor.keys[-1]] * 4
    assert_nothing_of({"authorization", "cookie", "token"}, heard)
    assert reporter not in testdoor.heard_file.read_text()
    # Of the service's credential nobody sees anything: not the tests, and not who reads logs.
    assert ended.out.count("SEEN") == 6
    listed = gate.command("log", "list", "--limit", "200", "--output", "json", token=people.token("sam"))
    for text in (ended.out, listed.stdout, gate.log.read_text()):
        assert testdoor.keys[-1] not in text
    assert "of-the-service" not in ended.out

    # Each request is a decision on record, and the service was told which.
    entries = json.loads(listed.stdout)["entries"]
    reached = ("Endpoint.read", "Endpoint.write")
    of_the_run = [entry for entry in entries if entry["opening"]["operation"] in reached]
    words = sorted((entry["opening"]["operation"], entry["opening"]["word"]) for entry in of_the_run)
    assert words == sorted(
        [("Endpoint.read", "permit")] * 2 + [("Endpoint.write", "permit")] * 2 + [("Endpoint.read", "deny")] * 2
    )
    assert {entry["opening"]["caller"]["display"] for entry in of_the_run} == {NAME}
    permitted = {entry["decision"] for entry in of_the_run if entry["opening"]["word"] == "permit"}
    assert {line["who"]["decision"] for line in heard} == permitted


def test_another_service_account_is_refused(
    testdoor: TestDoor, client: httpx.Client, stranger: str, entry: Any
) -> None:
    before = len(testdoor.heard)
    answer = client.get(f"/endpoints/{API}/carts/7", headers={"authorization": f"Bearer {stranger}"})
    assert answer.status_code == 403, answer.text
    assert "idler" in answer.text
    assert "reaching endpoints of dev and staging from a test job needs the role `test-job`" in answer.text
    shown = entry(answer.headers["syncgate-decision"])
    assert (shown["opening"]["operation"], shown["opening"]["word"]) == ("Endpoint.read", "deny")
    assert shown["opening"]["caller"]["display"].endswith(":idler")
    assert client.get(f"/endpoints/{API}/carts/7", headers={"authorization": ""}).status_code == 401
    assert testdoor.heard_since(before) == []


def test_who_calls_cannot_be_claimed(testdoor: TestDoor, client: httpx.Client) -> None:
    """An assertion of the caller's does not arrive, also not one that the gate has signed for somebody else."""
    before = len(testdoor.heard)
    forged = {
        "syncgate-identity": "a.b.c",
        "Syncgate_Identity": "a.b.c",
        "x-forwarded-user": "root",
        "x-api-key": "mine",
    }
    answer = client.post(f"/endpoints/{API}/carts", headers=forged, content=b"{}")
    assert answer.status_code == 200, answer.text
    claims = answer.json()["who"]
    assert claims["who"] == NAME
    assert claims["sub"].endswith(f"#{NAME}")
    assert claims["roles"] == ["test-job"]
    assert claims["aud"] == f"https://127.0.0.1:{testdoor.ports[0]}"
    assert claims["exp"] - claims["iat"] == 60
    assert claims["decision"] == answer.headers["syncgate-decision"]
    assert "x-api-key" not in answer.headers
    assert "x-debug" not in answer.headers
    assert "set-cookie" not in answer.headers
    [line] = testdoor.heard_since(before)
    values = [value for _, value in line["headers"]]
    assert not {"a.b.c", "root", "mine"} & set(values), line


def test_a_key_that_is_replaced(testdoor: TestDoor, client: httpx.Client) -> None:
    """As the kubelet replaces a mounted secret; the gate goes on without a restart."""

    def key() -> str:
        before = len(testdoor.heard)
        answer = client.get(f"/endpoints/{API}/status")
        assert answer.status_code == 200, answer.text
        assert not any(known in str(answer.headers) for known in testdoor.keys)
        [found] = keys_of(testdoor.heard_since(before))
        return found

    assert key() == testdoor.keys[-1]
    testdoor.rotate("the-second-key-of-the-service")
    eventually("the new key is used", lambda: key() == testdoor.keys[-1], within=15)


def test_a_websocket(testdoor: TestDoor, reporter: str, stranger: str, entry: Any) -> None:
    trust = ssl.create_default_context(cafile=str(testdoor.gate.ca))
    url = f"{testdoor.gate.url.replace('https', 'wss')}/endpoints/{SOCKET}/talk"

    def line(credential: str) -> Any:
        headers = {"authorization": f"Bearer {credential}"}
        return connect(url, ssl=trust, additional_headers=headers, proxy=None, open_timeout=20)

    before = len(testdoor.heard)
    with line(reporter) as talk:
        assert talk.response is not None
        decision = talk.response.headers["syncgate-decision"]
        who = json.loads(talk.recv(timeout=20))
        assert (who["who"], who["decision"]) == (NAME, decision)
        for word in ("one", "two " * 20_000):
            talk.send(word)
            assert talk.recv(timeout=20) == word.upper()
    shown = entry(decision)
    assert (shown["opening"]["operation"], shown["opening"]["word"]) == ("Endpoint.write", "permit")
    assert shown["closing"]["outcome"]["kind"] == "forwarded"
    heard = testdoor.heard_since(before)
    assert keys_of(heard) == [testdoor.keys[-1]]
    assert_nothing_of({"authorization"}, heard)

    with pytest.raises(InvalidStatus) as refused, line(stranger):
        pass
    assert refused.value.response.status_code == 403
    assert testdoor.heard_since(before) == heard


def test_grpc(testdoor: TestDoor, reporter: str, stranger: str, entry: Any) -> None:
    trust = grpc.ssl_channel_credentials(testdoor.gate.ca.read_bytes())
    before = len(testdoor.heard)
    with grpc.secure_channel(urlsplit(testdoor.gate.url).netloc, trust) as channel:
        service = f"/endpoints/{RPC}/shop.Carts"

        def call(method: str, credential: str) -> tuple[bytes, Any]:
            answer, told = channel.unary_unary(f"{service}/{method}").with_call(
                b'{"cart": 7}', metadata=[("authorization", f"Bearer {credential}")], timeout=30
            )
            return answer, told

        message, told = call("Get", reporter)
        said = json.loads(message)
        decision = dict(told.initial_metadata())["syncgate-decision"]
        assert said["asked"] == {"cart": 7}
        assert (said["who"]["who"], said["who"]["decision"]) == (NAME, decision)
        assert entry(decision)["opening"]["operation"] == "Endpoint.write"
        stream = channel.unary_stream(f"{service}/Watch")
        heard = [json.loads(m) for m in stream(b"{}", metadata=[("authorization", f"Bearer {reporter}")], timeout=30)]
        assert [line["number"] for line in heard] == [0, 1, 2]
        for method, credential, code, words in (
            ("Drop", reporter, grpc.StatusCode.NOT_FOUND, "no such cart"),
            ("Get", stranger, grpc.StatusCode.PERMISSION_DENIED, "needs the role `test-job`"),
            ("Get", "a.b.c", grpc.StatusCode.UNAUTHENTICATED, ""),
        ):
            with pytest.raises(grpc.RpcError) as failed:
                call(method, credential)
            assert failed.value.code() is code, failed.value
            assert words in failed.value.details()
    heard = testdoor.heard_since(before)
    assert [line["what"] for line in heard] == ["Get", "Watch", "Drop"]
    assert keys_of(heard) == [testdoor.keys[-1]] * 3
    assert_nothing_of({"authorization"}, heard)
