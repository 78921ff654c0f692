"""The gate in front of the rig: its certificate, its configuration, its process, and its own commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import doors
from .cli import free_port
from .processes import Service

ROOT = Path(__file__).resolve().parents[3]
AUDIENCE = "syncgate"
COMPONENTS = ("cart", "checkout", "payments")
ENVIRONMENTS = ("staging", "prod")
# A debug build checks its policies slowly.
_START_SECONDS = 60

# (role, group); a role of its own for each kind of person in the default policies.
_ROLES = (
    ("engineer", "engineering"),
    ("release-manager", "release-managers"),
    ("platform-admin", "platform"),
    ("security", "security"),
    ("freeze-passer", "on-call"),
    ("break-glass", "on-call"),
)


def binary() -> Path:
    """The program under test."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return Path(os.environ.get("SYNCGATE_BIN", target / "debug" / "syncgate"))


def has_fail_points() -> bool:
    """Whether the program was built with `--features failpoints`."""
    return b"SYNCGATE_FAILPOINT" in binary().read_bytes()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback, signed by itself, and its key."""
    certificate, key = folder / "gate.crt", folder / "gate.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=syncgate", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        + ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return certificate, key


def _text(value: object) -> str:
    """A TOML string: JSON's escapes are TOML's."""
    return json.dumps(str(value))


# A policy beside the default ones, for whom lists must be filtered: the default roles read every application or none.
_LISTS = """
@id("test-job-lists")
@advice("listing needs the role `test-job`")
permit (
  principal in Syncgate::Role::"test-job",
  action in [Syncgate::Action::"ApplicationService.List", Syncgate::Action::"ApplicationService.Watch"],
  resource is Syncgate::ArgoCd
);
"""


def policies(folder: Path) -> Path:
    """The default policies, and one more."""
    copy = folder / "policies"
    shutil.copytree(ROOT / "policies", copy, dirs_exist_ok=True)
    (copy / "lists.cedar").write_text(_LISTS)
    return copy


@dataclass(frozen=True)
class Setting:
    """In what a gate may differ from another."""

    admission: str = ""
    """The address of the admission door, if it has one. Then parents of the repository `doors` are in staging, too."""
    mode: str = "enforce"
    """What the environments do with a refusal."""
    rollback: str = ""
    """The section of rollbacks, if it has one. Then those parents are in staging as well."""
    callers: str = "account"
    """As whom calls of callers arrive at Argo CD."""
    more: str = ""
    """Further sections of the configuration."""
    signers: tuple[tuple[str, str], ...] = ()
    """The names and public keys (PEM) of those one of whom must sign the tests that prod requires; none need not."""


def configuration(rig: dict[str, Any], issuer: str, folder: Path, url: str, setting: Setting) -> str:
    """The file: staging requires nothing, prod requires that `integration` has passed in staging."""
    certificate, key = make_certificate(folder)
    argocd: dict[str, str] = rig["argocd"]
    kubernetes: dict[str, str] = rig["kubernetes"]
    (folder / "argocd.token").write_text(argocd["account_token"])
    (folder / "argocd.token").chmod(0o600)
    blocks = [
        f"""
url = {_text(url)}
store = "syncgate.db"
policies = {_text(policies(folder))}

[listen]
address = {_text(url.removeprefix("https://"))}
certificate = {_text(certificate)}
key = {_text(key)}
drain = "5s"

[admin]
address = "127.0.0.1:0"

[upstream]
url = {_text(argocd["url"])}
ca = {_text(argocd["ca"])}
token = "file:argocd.token"
callers = {_text(setting.callers)}

[[oidc]]
name = "The shop"
issuer = {_text(issuer)}
cli_client_id = "argocd-cli"
ui_client_id = "argocd-ui"

[[kubernetes]]
issuer = {_text(kubernetes["service_account_issuer"])}
jwks_uri = {_text(kubernetes["jwks_uri"])}
ca = {_text(kubernetes["ca"])}
audience = {_text(AUDIENCE)}
"""
    ]
    blocks += [
        f"""
[[role]]
name = {_text(role)}
groups = [{{ issuer = {_text(issuer)}, group = {_text(group)} }}]
"""
        for role, group in _ROLES
    ]
    if setting.admission:
        blocks.append(_admission(setting.admission, certificate, key, kubernetes["service_account_issuer"]))
    accounts = [f"shop-{env}/{component}-tests" for env in ENVIRONMENTS for component in COMPONENTS]
    hooked = {f"doors-staging/{component}-tests": f"{component}-staging" for component in doors.HOOKED}
    accounts += ["/".join(doors.REPORTER), *hooked]
    blocks.append(
        f"""
[[role]]
name = "test-job"
service_accounts = {json.dumps(accounts)}
"""
    )
    # The parents roll out to the namespace of Argo CD: shop-staging is in no environment; shop-prod is in prod, but has
    # no component. Both can be read, and neither can be synced.
    parents = ["argocd"] if setting.admission or setting.rollback else []
    namespaces = ["shop-staging", "doors-staging", *parents]
    places = {"staging": f"namespaces = {json.dumps(namespaces)}, ", "prod": ""}
    for environment in ENVIRONMENTS:
        labels = f'labels = {{ "syncgate.dev/environment" = {_text(environment)} }}'
        blocks.append(
            f"""
[[environment]]
name = {_text(environment)}
mode = {_text(setting.mode)}
applications = {{ projects = ["shop", "doors", "doors-parents"], {places[environment]}{labels} }}
component = "label:syncgate.dev/component"
"""
        )
    blocks.append(
        """
[[environment.requires]]
suite = "integration"
environment = "staging"
max_age = "7d"
"""
    )
    if setting.signers:
        blocks.append(f"signed_by = {json.dumps([name for name, _ in setting.signers])}\n")
    blocks += [
        f"""
[[signer]]
name = {_text(name)}
public_key = {_text(pem)}
"""
        for name, pem in setting.signers
    ]
    blocks += [
        f"""
[[workload]]
service_account = "shop-{environment}/{component}-tests"
applications = "{component}-{environment}"
"""
        for environment in ENVIRONMENTS
        for component in COMPONENTS
    ]
    blocks.append(
        f"""
[[workload]]
service_account = {_text("/".join(doors.REPORTER))}
applications = "*-staging"
"""
    )
    blocks += [
        f"""
[[workload]]
service_account = {_text(account)}
applications = {_text(application)}
"""
        for account, application in hooked.items()
    ]
    repositories: dict[str, dict[str, str]] = rig["git"]["repositories"]
    blocks += [
        f"""
[[git]]
repository = {_text(repository["url"])}
branches = ["main"]
"""
        for repository in repositories.values()
    ]
    return "".join([*blocks, setting.rollback, setting.more]).lstrip()


def _admission(address: str, certificate: Path, key: Path, cluster: str) -> str:
    """The admission door, and the roles of those who come to it."""
    controllers = ["argocd/argocd-application-controller", "argocd/argocd-applicationset-controller"]
    return f"""
[admission]
address = {_text(address)}
certificate = {_text(certificate)}
key = {_text(key)}
issuer = {_text(cluster)}

[[role]]
name = "argocd-controller"
service_accounts = {json.dumps(controllers)}

[[role]]
name = "argocd-server"
service_accounts = ["argocd/argocd-server"]

[[role]]
name = "cluster-admin"
groups = [{{ issuer = {_text(cluster)}, group = "system:masters" }}]
"""


@dataclass
class Gate:
    """A gate: where it is, and the folder that holds all it has."""

    url: str
    folder: Path
    service: Service | None = None
    admin: str = ""
    since: str = ""
    """When it was first started, as Argo CD writes times."""
    setting: Setting = field(default_factory=Setting)

    @property
    def ca(self) -> Path:
        return self.folder / "gate.crt"

    @property
    def config(self) -> Path:
        return self.folder / "syncgate.toml"

    @property
    def log(self) -> Path:
        return self.folder / "gate.log"

    @classmethod
    def prepare(cls, rig: dict[str, Any], issuer: str, folder: Path, setting: Setting | None = None) -> Gate:
        """Writes everything a gate needs; starts nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        gate = cls(f"https://127.0.0.1:{free_port()}", folder, setting=setting or Setting())
        gate.config.write_text(configuration(rig, issuer, folder, gate.url, gate.setting))
        return gate

    def start(self, **environment: str) -> None:
        """Starts the gate and waits until it serves."""
        self.since = self.since or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        env = {key: value for key, value in os.environ.items() if not key.startswith("SYNCGATE_")}
        env |= {"RUST_BACKTRACE": "1", **environment}
        command = [binary(), "serve", "--config", self.config]
        self.service = Service("syncgate serve", command, self.log, env=env)
        told = self.service.line(lambda line: "listening on " in line, within=_START_SECONDS)
        assert told == f"syncgate listening on {self.url}", told
        admin = self.service.line(lambda line: "admin on " in line, within=5)
        self.admin = admin.split("admin on ")[1].strip()

    def restart(self, sections: str) -> None:
        """Stops the gate and starts it with more sections in its configuration."""
        self.stop()
        self.config.write_text(f"{self.config.read_text()}\n{sections}")
        self.start()

    def stop(self) -> None:
        """Stops the gate, which must end well."""
        assert self.service is not None
        code = self.service.stop(within=30)
        assert code == 0, f"syncgate serve ended with {code}\n{self.service.tail()}"

    def kill(self) -> None:
        """SIGKILL."""
        assert self.service is not None
        self.service.kill()

    def command(
        self, *arguments: str, token: str, within: float = 60, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs one of the gate's own commands, such as `log list`, with a token."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("SYNCGATE_")}
        env |= {"SYNCGATE_URL": self.url, "SYNCGATE_TOKEN": token, "SYNCGATE_CA_FILE": str(self.ca), **environment}
        command: list[str | Path] = [binary(), *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=within, check=False)

    def json(self, *arguments: str, token: str) -> dict[str, Any]:
        """Runs one of the gate's own commands with `--output json`."""
        done = self.command(*arguments, "--output", "json", token=token)
        assert done.returncode == 0, f"syncgate {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return dict(json.loads(done.stdout))

    def entries(self, token: str, *filters: str) -> list[dict[str, Any]]:
        """All entries of the log, newest first."""
        found: list[dict[str, Any]] = []
        while True:
            before = ["--before", str(found[-1]["seq"])] if found else []
            page = self.json("log", "list", "--limit", "200", *filters, *before, token=token)["entries"]
            if not page:
                return found
            found += page
