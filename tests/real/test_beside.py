"""What argocd-server serves beside its API: terminals, back ends of extensions, and the hook of Git hosts."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

    from conftest import People
    from harness.gate import Gate

PUSH = {"ref": "refs/heads/main", "repository": {"html_url": "https://git.example/shop", "default_branch": "main"}}
_OF_A_POD = "pod=cart-integration&container=pytest&appName=cart-prod&projectName=shop&namespace=shop-prod"
_UPGRADE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
}
_OF_AN_APPLICATION = {"argocd-application-name": "argocd:cart-prod", "argocd-project-name": "shop"}

# How it is asked for; who may not, who may; the operation as the record has it.
DOORS: dict[str, tuple[str, str, dict[str, Any], str, str, str]] = {
    "terminal": ("GET", f"/terminal?{_OF_A_POD}", {"headers": _UPGRADE}, "alice", "rita", "Terminal"),
    "extension": (
        "GET",
        "/extensions/metrics/api",
        {"headers": _OF_AN_APPLICATION},
        "alice",
        "rita",
        "Extensions",
    ),
    "webhook": (
        "POST",
        "/api/webhook",
        {"headers": {"x-github-event": "push", "content-type": "application/json"}, "content": json.dumps(PUSH)},
        "rita",
        "olga",
        "Webhook",
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_beside_the_api(door: str, rest: httpx.Client, gate: Gate, people: People) -> None:
    method, path, how, may_not, may, operation = DOORS[door]

    def ask(**headers: str) -> httpx.Response:
        return rest.request(method, path, **{**how, "headers": {**how["headers"], **headers}})

    assert ask().status_code == 401
    for login, word in ((may_not, "deny"), (may, "permit")):
        answer = ask(authorization=f"Bearer {people.token(login)}")
        entry = gate.json("log", "show", answer.headers["syncgate-decision"], token=people.token("sam"))
        assert entry["opening"]["operation"] == operation
        assert entry["opening"]["word"] == word, f"{login}: {answer.text}"
        assert (answer.status_code == 403) == (word == "deny"), answer.text
        assert entry["closing"]["outcome"]["kind"] == ("refused" if word == "deny" else "forwarded")


@pytest.mark.parametrize("path", ["/api/badge?name=cart-prod", "/api/dex/auth", "/swagger-ui", "/auth/login"])
def test_what_nobody_needs_is_shut(path: str, rest: httpx.Client, people: People) -> None:
    answer = rest.get(path, headers={"authorization": f"Bearer {people.token('olga')}"})
    assert answer.status_code == 403, answer.text
