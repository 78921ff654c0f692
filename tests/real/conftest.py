"""The fixtures: one real Argo CD, one OpenID provider and one gate for the whole session.

Environment: `SYNCGATE_BIN` (the program under test), `SYNCGATE_RIG_CACHE` (where the control plane's program is kept),
`SYNCGATE_TEST_KEEP` (keep the folder with all logs).
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from harness.cli import Cli, free_port
from harness.cluster import Kubernetes, Repository
from harness.doors import REPORTER, STAGING, Doors
from harness.fleet import Account
from harness.gate import AUDIENCE, ENVIRONMENTS, ROOT, Gate, Setting, binary
from harness.processes import Service, processes_of
from harness.protobuf import Facts
from harness.stage import Stage
from harness.testdoor import TestDoor
from harness.tokens import Provider
from harness.webhook import Webhook
from harness.wire import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Rig = dict[str, Any]
# Building the rig's program takes a quarter of an hour; `tests/run` has done it before.
_RIG_SECONDS = 240

_gate_log = pytest.StashKey[Path]()


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Everything that the session writes."""
    # Short, since the paths of unix sockets in it must be.
    path = Path(tempfile.mkdtemp(prefix="syncgate-real-", dir="/tmp"))
    yield path
    if os.environ.get("SYNCGATE_TEST_KEEP"):
        print(f"kept: {path}", file=sys.stderr)
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def rig(folder: Path) -> Iterator[Rig]:
    """A real Argo CD on a real Kubernetes control plane, as the line of JSON that it prints."""
    state = folder / "rig"
    command = [ROOT / "tests/argocd/rig", "up", "--dir", state, "--path-prefix", Path(sys.executable).parent]
    service = Service("the rig", [str(part) for part in command], folder / "rig.log")
    try:
        facts: Rig = json.loads(service.line(lambda line: line.startswith("{"), within=_RIG_SECONDS))
        yield facts
    finally:
        code = service.stop()
    assert code == 0, f"the rig ended with {code}\n{service.tail()}"
    assert processes_of(state) == []


@pytest.fixture(scope="session")
def facts(rig: Rig) -> Facts:
    """The API of this Argo CD, from its own descriptors."""
    program = Path(rig["bin"]) / "argocd-rig"
    done = subprocess.run([program, "facts"], capture_output=True, check=True, timeout=60)
    return Facts(json.loads(done.stdout))


@pytest.fixture(scope="session")
def oidc(folder: Path) -> Iterator[Provider]:
    """An OpenID provider that is not ours."""
    service = Service("the OpenID provider", ["node", ROOT / "tests/oidc/provider.mjs"], folder / "oidc.log")
    try:
        facts = json.loads(service.line(lambda line: line.startswith("{"), within=30))
        yield Provider(facts["issuer"], facts["clients"])
    finally:
        code = service.stop()
    assert code == 0, service.tail()


@pytest.fixture(scope="session")
def kubernetes(rig: Rig) -> Iterator[Kubernetes]:
    client = Kubernetes(rig["kubernetes"])
    yield client
    client.close()


@pytest.fixture(scope="session")
def shop(rig: Rig) -> Repository:
    """The repository of all components."""
    return _repository(rig, "shop")


@pytest.fixture(scope="session")
def config_repository(rig: Rig) -> Repository:
    """The second repository, from which payments takes its limits."""
    return _repository(rig, "config")


@pytest.fixture(scope="session")
def doors(rig: Rig, kubernetes: Kubernetes, folder: Path) -> Doors:
    """The applications of the repository `doors`, of which there are none yet."""
    doors = Doors(kubernetes, _repository(rig, "doors"), folder)
    doors.prepare()
    return doors


def _repository(rig: Rig, name: str) -> Repository:
    facts = rig["git"]["repositories"][name]
    return Repository(facts["url"], Path(facts["worktree"]))


@pytest.fixture(scope="session")
def gate(
    request: pytest.FixtureRequest, rig: Rig, oidc: Provider, kubernetes: Kubernetes, folder: Path
) -> Iterator[Gate]:
    """The gate in front of the rig; the shop's test Jobs know it."""
    assert binary().exists(), f"{binary()} is missing: cargo build --features failpoints, or set SYNCGATE_BIN"
    gate = Gate.prepare(rig, oidc.issuer, folder / "gate")
    request.config.stash[_gate_log] = gate.log
    gate.start()
    for environment in ENVIRONMENTS:
        settings = {
            "SYNCGATE_URL": gate.url,
            "SYNCGATE_CA_FILE": str(gate.ca),
            # The folder that the tests run in is no work tree of what is deployed.
            "SYNCGATE_COMMITS": "none",
            "SYNCGATE_RETRY_SECONDS": "5",
        }
        kubernetes.write_config_map(f"shop-{environment}", "syncgate", settings)
    try:
        yield gate
    finally:
        if gate.service is not None and gate.service.running():
            gate.stop()


@dataclass
class Guard:
    """Makes gates that have an admission door, one at a time."""

    rig: Rig
    oidc: Provider
    kubernetes: Kubernetes
    folder: Path
    config: pytest.Config
    _number: itertools.count[int] = field(default_factory=itertools.count)

    def prepare(self, mode: str = "enforce", rollback: str = "") -> Gate:
        """A gate, not started."""
        setting = Setting(admission=f"127.0.0.1:{free_port()}", mode=mode, rollback=rollback)
        return Gate.prepare(self.rig, self.oidc.issuer, self.folder / f"guard-{next(self._number)}", setting)

    @contextmanager
    def installed(self, mode: str = "enforce", gate: Gate | None = None, **environment: str) -> Iterator[Gate]:
        """A gate that runs, `gate` if it is prepared already, and whose admission door Kubernetes asks."""
        gate = gate or self.prepare(mode)
        gate.start(**environment)
        webhook = Webhook(self.kubernetes, gate)
        other = self.config.stash.get(_gate_log, gate.log)
        self.config.stash[_gate_log] = gate.log
        try:
            webhook.install()
            yield gate
        finally:
            webhook.remove()
            self.config.stash[_gate_log] = other
            if gate.service is not None and gate.service.running():
                gate.stop()


@pytest.fixture(scope="session")
def guard(
    request: pytest.FixtureRequest, rig: Rig, oidc: Provider, kubernetes: Kubernetes, folder: Path, gate: Gate
) -> Guard:
    assert gate.service is not None  # the usual gate comes first: its log is shown where no other runs
    return Guard(rig, oidc, kubernetes, folder, request.config)


@pytest.fixture(scope="session")
def account(rig: Rig, kubernetes: Kubernetes, folder: Path) -> Account:
    """The account as which gates take back what has failed."""
    return Account.prepare(kubernetes, Path(rig["bin"]) / "kustomize", folder / "account")


@pytest.fixture(scope="session")
def testdoor(rig: Rig, oidc: Provider, folder: Path) -> Iterator[TestDoor]:
    """A gate with endpoints under test, and the service behind them."""
    door = TestDoor.prepare(rig, oidc.issuer, folder / "testdoor")
    try:
        door.start()
        yield door
    finally:
        door.stop()


@pytest.fixture(params=["grpc", "grpc-web"])
def grpc_web(request: pytest.FixtureRequest) -> bool:
    """Both ways in which the CLI speaks."""
    return bool(request.param == "grpc-web")


_prices = itertools.count(2001)


@pytest.fixture
def price() -> str:
    """A price that nothing has had before."""
    return str(next(_prices))


@dataclass
class People:
    """The stock CLI of each person, signed in once with `argocd login --sso`."""

    program: Path
    gate: Gate
    oidc: Provider
    folder: Path
    _known: dict[tuple[str, bool], Cli] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict)

    def new(self, name: str, *, grpc_web: bool = False, token: str | None = None) -> Cli:
        """A computer on which nobody has signed in yet."""
        home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        return Cli(self.program, self.gate.url, self.gate.ca, home, grpc_web=grpc_web, token=token)

    def cli(self, login: str, *, grpc_web: bool = False) -> Cli:
        """The CLI of somebody who has signed in."""
        key = (login, grpc_web)
        if key not in self._known:
            cli = self.new(login, grpc_web=grpc_web)
            cli.login_sso(login).ok()
            self._known[key] = cli
        return self._known[key]

    def at(self, gate: Gate) -> People:
        """The same people, at another gate."""
        return People(self.program, gate, self.oidc, self.folder, _tokens=self._tokens)

    def token(self, login: str) -> str:
        """An ID token, as it would be stored by the CLI."""
        if login not in self._tokens:
            self._tokens[login] = self.oidc.id_token(login)
        return self._tokens[login]


@pytest.fixture(scope="session")
def people(rig: Rig, gate: Gate, oidc: Provider, folder: Path) -> People:
    homes = folder / "homes"
    homes.mkdir()
    return People(Path(str(rig["cli"])), gate, oidc, homes)


@pytest.fixture(scope="session")
def reporter(doors: Doors) -> str:
    """The token of the service account that tests what is `staged`."""
    return doors.kubernetes.service_account_token(*REPORTER, audience=AUDIENCE)


@pytest.fixture(scope="module")
def staged(doors: Doors, people: People) -> Iterator[str]:
    """An application in staging that rests: test runs of this module are about the commit that this gives."""
    doors.create(doors.application(STAGING, "staging"))
    try:
        commit = doors.commit()
        doors.compared(STAGING, commit)
        people.cli("alice").run("app", "sync", STAGING).ok()
        doors.at_rest(STAGING, commit)
        yield commit
    finally:
        doors.remove_all()


@pytest.fixture
def stage(doors: Doors, guard: Guard, rig: Rig, people: People, facts: Facts) -> Iterator[Stage]:
    """A gate with its door in front of `auto-prod` and `plain-prod`; the first has rolled out what has passed."""
    doors.create(doors.application(STAGING, "staging"))
    try:
        with guard.installed() as gate:
            stage = Stage(rig, doors, gate, Client(facts, gate.url, gate.ca), people.token)
            stage.prove()
            stage.automated("auto-prod")
            stage.plain("plain-prod")
            yield stage
    finally:
        doors.remove_all()


@pytest.fixture
def cli(people: People, grpc_web: bool) -> Callable[[str], Cli]:
    """`cli("alice")` is the CLI of alice, who has signed in; the test runs once for each way of speaking."""
    return lambda login: people.cli(login, grpc_web=grpc_web)


@pytest.fixture(scope="session")
def direct(rig: Rig, folder: Path) -> Cli:
    """The CLI of the administrator, past the gate."""
    argocd: dict[str, str] = rig["argocd"]
    return Cli(
        Path(str(rig["cli"])),
        argocd["url"],
        Path(argocd["ca"]),
        folder / "direct",
        token=argocd["account_token"],
    )


@pytest.fixture(scope="session")
def rest(gate: Gate) -> Iterator[httpx.Client]:
    """HTTP/1.1 to the gate, as the web UI and scripts speak it; no credential."""
    verify = ssl.create_default_context(cafile=str(gate.ca))
    with httpx.Client(base_url=gate.url, verify=verify, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def job_token(kubernetes: Kubernetes) -> Callable[..., str]:
    """`job_token("checkout", "staging")` is the token of that component's test Job."""

    def token(component: str, environment: str = "staging", *, audience: str = AUDIENCE, seconds: int = 3600) -> str:
        return kubernetes.service_account_token(
            f"shop-{environment}", f"{component}-tests", audience=audience, seconds=seconds
        )

    return token


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    log = item.config.stash.get(_gate_log, None)
    item.stash[_log_offset] = (log, log.stat().st_size if log and log.exists() else 0)
    return (yield)


_log_offset = pytest.StashKey[tuple[Path | None, int]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[pytest.TestReport]:
    """Shows with a failure what the gate wrote while the test ran."""
    report: pytest.TestReport = yield
    log = item.config.stash.get(_gate_log, None)
    if report.failed and log and log.exists():
        with log.open(errors="replace") as file:
            before, offset = item.stash.get(_log_offset, (None, 0))
            file.seek(offset if before == log else 0)
            written = file.read().splitlines()[-60:]
        report.sections.append((f"the gate's log ({log})", "\n".join(written)))
    return report
