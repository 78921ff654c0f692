"""Sessions: what roles of AWS, service accounts, jobs of CI and people exchange their credentials for, with the stock CLI.

Of AWS it is moto's STS that is asked, which recomputes signatures. Of GitHub Actions it is an issuer here, with the claims
that GitHub documents.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import threading
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import httpx
import jwt
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import rsa

from harness.cli import free_port
from harness.gate import Gate, Setting
from harness.processes import Service, eventually
from harness.testdoor import listens

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from conftest import People, Rig
    from harness.cluster import Kubernetes
    from harness.tokens import Provider

ROLE = "arn:aws:iam::123456789012:role/auditor"
DEPLOYER = "arn:aws:iam::123456789012:role/deployer"
ACCOUNT = ("shop-staging", "deployer")
REPOSITORY = "shop/cart"
# Before it checks anything, moto lets this many actions pass: a user with a key and a policy, and two roles.
_UNCHECKED = "5"


def _policy(**statement: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


@dataclass(frozen=True)
class Aws:
    """A moto with one user, who may assume one role."""

    url: str
    key: str
    secret: str

    def environment(self, **more: str) -> dict[str, str]:
        """What `syncgate token aws` signs with."""
        nothing = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
        own = {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_ENDPOINT_URL": self.url}
        return {**nothing, **own, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", **more}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    port = free_port()
    command = [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": _UNCHECKED}
    service = Service("moto", command, tmp_path_factory.mktemp("moto") / "moto.log", env=environment)
    try:
        eventually("moto listens", lambda: listens(port))
        url = f"http://127.0.0.1:{port}"
        iam = boto3.client(
            "iam", endpoint_url=url, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
        )
        user = iam.create_user(UserName="ci")["User"]["Arn"]
        key = iam.create_access_key(UserName="ci")["AccessKey"]
        anything = _policy(Action="*", Resource="*")
        iam.put_user_policy(UserName="ci", PolicyName="anything", PolicyDocument=anything)
        trust = _policy(Action="sts:AssumeRole", Principal={"AWS": user})
        iam.create_role(RoleName="auditor", Path="/teams/", AssumeRolePolicyDocument=trust)
        iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=trust)
        yield Aws(url, key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        service.stop()


@dataclass(frozen=True)
class Forge:
    """An issuer of tokens for jobs of CI."""

    url: str
    key: rsa.RSAPrivateKey

    def job(self, **changed: object) -> str:
        """The token of a job, with the claims that GitHub documents."""
        claims = json.loads((_FIXTURES / "claims" / "github.json").read_text())
        now = int(time.time())
        claims |= {"iss": self.url, "aud": "syncgate", "iat": now, "nbf": now, "exp": now + 600}
        claims |= {"repository": REPOSITORY, "ref": "refs/heads/main", **changed}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "one"})


_FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    documents: dict[str, object] = {"/keys": {"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]}}

    class Documents(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(documents.get(self.path)).encode()
            self.send_response(200 if self.path in documents else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Documents)
    url = f"http://127.0.0.1:{server.server_port}"
    documents["/.well-known/openid-configuration"] = {"issuer": url, "jwks_uri": f"{url}/keys"}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Forge(url, key)
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def exchanging(
    rig: Rig, oidc: Provider, aws: Aws, forge: Forge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gate]:
    """A gate to which roles of AWS, an account and a job are what people are; the user of AWS is nobody."""
    sections = f"""
[aws]
sts = [{json.dumps(aws.url)}]

[[ci]]
provider = "github"
issuer = {json.dumps(forge.url)}
audience = "syncgate"

[[role]]
name = "security"
aws = [{json.dumps(ROLE)}]

[[role]]
name = "engineer"
aws = [{json.dumps(DEPLOYER)}]
service_accounts = [{json.dumps("/".join(ACCOUNT))}]
ci = [{{ issuer = {json.dumps(forge.url)}, repository = {json.dumps(REPOSITORY)}, ref = "refs/heads/main" }}]
"""
    exchanging = Gate.prepare(rig, oidc.issuer, tmp_path_factory.mktemp("gate"), Setting(more=sections))
    exchanging.start()
    try:
        yield exchanging
    finally:
        exchanging.stop()


@pytest.fixture(scope="module")
def sessions(
    exchanging: Gate, aws: Aws, forge: Forge, kubernetes: Kubernetes, people: People
) -> dict[str, Callable[[], str]]:
    """Makes a session of each kind."""

    def of_aws() -> str:
        done = token(exchanging, aws, "--role-arn", DEPLOYER)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def exchanged(credential: str) -> str:
        done = exchanging.command("token", "exchange", token=credential)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return {
        "aws": of_aws,
        "ci": lambda: exchanged(forge.job()),
        "kubernetes": lambda: exchanged(kubernetes.service_account_token(*ACCOUNT, audience="syncgate")),
        "oidc": lambda: exchanged(people.token("alice")),
    }


@pytest.mark.parametrize("kind", ["aws", "ci", "kubernetes", "oidc"])
def test_the_stock_cli_lists_and_syncs_by_a_session(
    kind: str, exchanging: Gate, sessions: dict[str, Callable[[], str]], people: People
) -> None:
    own = sessions[kind]()
    cli = people.at(exchanging).new(kind, token=own)
    assert "argocd/cart-staging" in cli.run("app", "list", "-o", "name").ok().out
    cli.run("app", "sync", "cart-staging").ok()
    (entry, *_) = exchanging.entries(people.token("sam"), "--operation", "ApplicationService.Sync")
    began = exchanging.entries(people.token("sam"), "--operation", "Session.begin")[0]
    assert entry["opening"]["caller"]["session"] == began["decision"]
    assert entry["opening"]["caller"]["roles"] == ["engineer"]


def test_a_session_is_exchanged_for_nothing(
    exchanging: Gate, forge: Forge, sessions: dict[str, Callable[[], str]]
) -> None:
    for credential, why in (
        (sessions["ci"](), "which this gate does not trust"),
        (forge.job(ref="refs/heads/feature"), "no role is given to"),
    ):
        done = exchanging.command("token", "exchange", token=credential)
        assert (done.returncode, done.stdout) == (1, "")
        assert why in done.stderr


def test_a_revoked_session_loses_what_it_watches_and_nobody_else_does(
    exchanging: Gate, sessions: dict[str, Callable[[], str]], people: People
) -> None:
    lost, kept = sessions["kubernetes"](), sessions["ci"]()
    sam = people.token("sam")
    listed = exchanging.json("session", "list", token=sam)["sessions"]
    lost_id = next(view["session"] for view in listed if view["who"] == f"system:serviceaccount:{':'.join(ACCOUNT)}")
    verify = ssl.create_default_context(cafile=str(exchanging.ca))
    ended: dict[str, float] = {}

    def watch(name: str, credential: str, begun: threading.Event) -> None:
        headers = {"authorization": f"Bearer {credential}", "accept": "text/event-stream"}
        timeout = httpx.Timeout(5, read=20)
        with (
            httpx.Client(base_url=exchanging.url, verify=verify, trust_env=False, timeout=timeout, headers=headers) as client,
            client.stream("GET", "/api/v1/stream/applications") as stream,
        ):
            try:
                for _ in stream.iter_bytes():
                    begun.set()
            except httpx.TransportError:
                pass
        ended[name] = time.monotonic()

    events = [threading.Event(), threading.Event()]
    for name, credential, begun in zip(("lost", "kept"), (lost, kept), events, strict=True):
        threading.Thread(target=watch, args=(name, credential, begun), daemon=True).start()
    assert all(begun.wait(10) for begun in events)
    at = time.monotonic()
    done = exchanging.command("session", "revoke", "--session", lost_id, "--reason", "a laptop was lost", token=sam)
    assert done.returncode == 0, done.stderr
    eventually("the watch of the revoked session has ended", lambda: "lost" in ended, within=5, every=0.1)
    assert ended["lost"] - at < 5
    assert "kept" not in ended
    refused = people.at(exchanging).new("lost", token=lost).run("app", "list")
    assert "the credential was revoked: sign in again" in refused.err, refused
    people.at(exchanging).new("kept", token=kept).run("app", "list").ok()


def token(exchanging: Gate, aws: Aws, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `syncgate token aws`."""
    return exchanging.command("token", "aws", *options, token="", **aws.environment(**environment))


def test_the_session_of_a_role_calls_as_the_role(exchanging: Gate, aws: Aws) -> None:
    done = token(exchanging, aws, "--role-arn", "arn:aws:iam::123456789012:role/teams/auditor")
    assert done.returncode == 0, done.stderr
    own = done.stdout.removesuffix("\n")
    exchanging.json("log", "list", token=own)
    assert ROLE in json.dumps(exchanging.json("log", "list", token=own))


def test_who_has_no_role_gets_no_token(exchanging: Gate, aws: Aws) -> None:
    done = token(exchanging, aws)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no role is given to `arn:aws:iam::123456789012:user/ci`" in done.stderr


def test_who_cannot_sign_gets_no_token(exchanging: Gate, aws: Aws) -> None:
    done = token(exchanging, aws, AWS_SECRET_ACCESS_KEY="wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert "AWS STS refused the proof (`SignatureDoesNotMatch`)" in done.stderr


def proof(aws: Aws, challenge: str, audience: str) -> str:
    """What the role `deployer` signs, made by botocore."""
    sts = boto3.client(
        "sts",
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id=aws.key,
        aws_secret_access_key=aws.secret,
    )
    role = sts.assume_role(RoleArn=DEPLOYER, RoleSessionName="run-42")["Credentials"]
    body = "Action=GetCallerIdentity&Version=2011-06-15"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    headers |= {"x-syncgate-audience": audience, "x-syncgate-challenge": challenge}
    request = AWSRequest("POST", f"{aws.url}/", data=body, headers=headers)
    keys = Credentials(role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"])
    SigV4Auth(keys, "sts", "us-east-1").add_auth(request)
    sent = {**dict(request.headers.items()), "Host": urlsplit(aws.url).netloc}
    text = json.dumps({"url": f"{aws.url}/", "body": body, "headers": sent})
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_a_proof_is_good_once_and_here(exchanging: Gate, aws: Aws) -> None:
    verify = ssl.create_default_context(cafile=str(exchanging.ca))
    with httpx.Client(base_url=exchanging.url, verify=verify, trust_env=False, timeout=30) as client:

        def exchange(proof: str) -> tuple[int, dict[str, str]]:
            form = {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token_type": "urn:syncgate:params:oauth:token-type:aws-sts-proof",
                "subject_token": proof,
            }
            answer = client.post("/syncgate/v1/token", data=form)
            return answer.status_code, answer.json()

        def challenge() -> tuple[str, str]:
            told = client.post("/syncgate/v1/token/challenge").json()
            return told["challenge"], told["audience"]

        made = proof(aws, *challenge())
        status, given = exchange(made)
        assert (status, given["token_type"]) == (200, "Bearer"), given
        for _ in range(2):
            status, refused = exchange(made)
            assert (status, refused["error"]) == (400, "invalid_request")
            assert "this challenge was used before" in refused["error_description"]
            # A gate that is started anew knows what was used.
            exchanging.stop()
            exchanging.start()
        text, _ = challenge()
        status, refused = exchange(proof(aws, text, "https://other.example"))
        assert status == 400
        assert "other.example" in refused["error_description"], refused
        # The proof for the other gate has used up nothing.
        assert exchange(proof(aws, text, exchanging.url))[0] == 200
