"""Callers by AWS: `syncgate token aws` at a gate that asks moto's STS, which recomputes signatures."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from harness.cli import free_port
from harness.gate import Gate, Setting
from harness.processes import Service, eventually
from harness.testdoor import listens

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from conftest import Rig
    from harness.tokens import Provider

ROLE = "arn:aws:iam::123456789012:role/auditor"
# Before it checks anything, moto lets this many actions pass: a user with a key and a policy, and a role.
_UNCHECKED = "4"


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
        yield Aws(url, key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        service.stop()


@pytest.fixture(scope="module")
def gate(rig: Rig, oidc: Provider, aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate to which the role is `security`; the user is known, and has no role."""
    sections = f"""
[aws]
sts = [{json.dumps(aws.url)}]

[[role]]
name = "security"
aws = [{json.dumps(ROLE)}]
"""
    gate = Gate.prepare(rig, oidc.issuer, tmp_path_factory.mktemp("gate"), Setting(more=sections))
    gate.start()
    try:
        yield gate
    finally:
        gate.stop()


def token(gate: Gate, aws: Aws, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `syncgate token aws`."""
    return gate.command("token", "aws", *options, token="", **aws.environment(**environment))


def test_the_session_of_a_role_calls_as_the_role(gate: Gate, aws: Aws) -> None:
    done = token(gate, aws, "--role-arn", "arn:aws:iam::123456789012:role/teams/auditor")
    assert done.returncode == 0, done.stderr
    own = done.stdout.removesuffix("\n")
    gate.json("log", "list", token=own)
    assert ROLE in json.dumps(gate.json("log", "list", token=own))


def test_a_user_is_known_and_may_nothing_without_a_role(gate: Gate, aws: Aws) -> None:
    done = token(gate, aws)
    assert done.returncode == 0, done.stderr
    refused = gate.command("log", "list", token=done.stdout.strip())
    assert refused.returncode == 1
    assert "security" in refused.stderr


def test_who_cannot_sign_gets_no_token(gate: Gate, aws: Aws) -> None:
    done = token(gate, aws, AWS_SECRET_ACCESS_KEY="wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert "AWS STS refused the proof (`SignatureDoesNotMatch`)" in done.stderr
