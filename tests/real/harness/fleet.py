"""Applications that are rolled out together, each with the shipped hook Job, and the account that takes them back."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from .cluster import path_of
from .gate import ROOT
from .lifecycle import write_settings
from .processes import eventually

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from .cluster import Kubernetes
    from .doors import Doors
    from .gate import Gate

Json = dict[str, Any]
PARENT = "fleet"
# No two fleets roll out the same: what one has left would count as what the next has rolled out.
_VALUES = count(1)
_ENDED = {"abandoned", "proposed", "stuck", "superseded", "verified"}
# A rollout of some applications, one after the other, and the way back.
_SECONDS = 180
_SHIPPED = ROOT / "config/kubernetes"
_GROUPS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
}
"""What of the shipped manifests gives the gate its right, and where each kind is."""
_TESTS = '''"""After the sync: what was rolled out works, unless the marks say otherwise."""

import os
import time
from pathlib import Path

VALUE = int(os.environ["VALUE"])
MARKS = Path(os.environ["MARKS"])
ME = os.environ["SYNCGATE_APPLICATION"] + os.environ["VALUE"]


def test_it_is_there():
    with (MARKS / "ran").open("a") as ran:
        ran.write(os.environ["SYNCGATE_APPLICATION"] + " " + os.environ["VALUE"] + "\\n")


def test_value_is_positive():
    assert VALUE >= 0


def test_nothing_holds_it():
    while (MARKS / ("hold-" + ME)).exists():
        time.sleep(0.1)


def test_nothing_has_broken_it():
    assert not (MARKS / ("break-" + ME)).exists()
'''


@dataclass(frozen=True)
class Account:
    """The service account of the gate, with the rights that are shipped and no other."""

    kubernetes: Kubernetes
    kubeconfig: Path
    manifests: tuple[Json, ...]

    @classmethod
    def prepare(cls, kubernetes: Kubernetes, kustomize: Path, folder: Path) -> Account:
        """Applies what is shipped, and writes a kubeconfig with a token."""
        manifests = _shipped(kustomize, folder)
        for manifest in manifests:
            kubernetes.apply(_path(manifest), manifest)
        facts = kubernetes.facts
        token = kubernetes.service_account_token("syncgate", "syncgate", audience=facts["service_account_issuer"])
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "rig", "cluster": {"server": facts["url"], "certificate-authority": str(facts["ca"])}}
            ],
            "users": [{"name": "syncgate", "user": {"token": token}}],
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "syncgate"}}],
            "current-context": "rig",
        }
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        kubeconfig.chmod(0o600)
        return cls(kubernetes, kubeconfig, tuple(manifests))

    @contextmanager
    def without_its_right(self) -> Iterator[None]:
        """Somebody has taken the binding away."""
        [binding] = [manifest for manifest in self.manifests if manifest["kind"] == "RoleBinding"]
        self.kubernetes.delete(_path(binding))
        try:
            yield
        finally:
            self.kubernetes.apply(_path(binding), binding)

    def client(self) -> httpx.Client:
        """The API server, as this account."""
        facts = self.kubernetes.facts
        token = yaml.safe_load(self.kubeconfig.read_text())["users"][0]["user"]["token"]
        return httpx.Client(
            base_url=facts["url"],
            verify=ssl.create_default_context(cafile=facts["ca"]),
            headers={"authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=40,
        )

    def section(self, patience: str = "2m", *, admission: bool = True) -> str:
        """The section of a gate that writes with this account."""
        account = 'account = "syncgate/syncgate"' if admission else ""
        return f"""
[rollback]
kubeconfig = {json.dumps(str(self.kubeconfig))}
patience = {json.dumps(patience)}
{account}
"""


def _path(manifest: Json) -> str:
    metadata = manifest["metadata"]
    return f"{_GROUPS[manifest['kind']].format(namespace=metadata.get('namespace'))}/{metadata['name']}"


def _shipped(kustomize: Path, folder: Path) -> list[Json]:
    """What of an installation with the component `rollback` concerns rights."""
    overlay = folder / "overlay"
    overlay.mkdir(parents=True)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [_relative(_SHIPPED / "base", overlay)],
        "components": [_relative(_SHIPPED / "components/rollback", overlay)],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    done = subprocess.run([kustomize, "build", overlay], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    manifests = [dict(manifest) for manifest in yaml.safe_load_all(done.stdout) if manifest["kind"] in _GROUPS]
    # In the order in which they need each other.
    return sorted(manifests, key=lambda manifest: list(_GROUPS).index(manifest["kind"]))


def _relative(path: Path, start: os.PathLike[str]) -> str:
    """The way from one folder to another: kustomize takes no absolute one."""
    up = "/".join([".."] * (len(Path(start).resolve().parts) - 1))
    return f"{up}{path.resolve()}"


@dataclass
class Fleet:
    """A parent, and the applications that it rolls out; their tests do as the marks say."""

    doors: Doors
    images: Path
    marks: Path
    gate: Gate
    components: tuple[str, ...]
    value: int = 0
    """What was pushed last, where it is good."""

    @property
    def names(self) -> list[str]:
        """The applications, the first wave first."""
        return [f"{component}-staging" for component in self.components]

    def prepare(self) -> None:
        """Writes all that is rolled out; nothing is pushed yet."""
        worktree = self.doors.repository.worktree
        shutil.copytree(_SHIPPED / "hooks", worktree / "hooks", dirs_exist_ok=True)
        for component in self.components:
            folder = worktree / "fleet" / component
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(worktree / "plain/settings.yaml", folder / "settings.yaml")
            (folder / "kustomization.yaml").write_text(yaml.safe_dump(_overlay(component)))
        image = self.images / "fleet-tests/integration"
        image.mkdir(parents=True, exist_ok=True)
        (image / "test_value.py").write_text(_TESTS)
        self.marks.mkdir(exist_ok=True)
        (self.marks / "ran").write_text("")
        # A gate that is started anew takes its time.
        write_settings(self.doors, self.gate, MARKS=str(self.marks), SYNCGATE_RETRY_SECONDS="40")

    def application(self, component: str, policy: Json | None = None, *, wave: int = 0, **source: Any) -> Json:
        """The Application of a component."""
        name = f"{component}-staging"
        application = self.doors.application(name, "staging", policy, path=f"fleet/{component}", **source)
        del application["spec"]["source"]["kustomize"]
        application["metadata"]["labels"]["syncgate.dev/component"] = component
        application["metadata"]["annotations"] = {"argocd.argoproj.io/sync-wave": str(wave)}
        return application

    def write(self, children: list[Json]) -> None:
        """Writes the parent's manifests; they are pushed with what comes next."""
        folder = self.doors.repository.worktree / f"parents/{PARENT}"
        folder.mkdir(parents=True, exist_ok=True)
        for child in children:
            (folder / f"{child['metadata']['name']}.yaml").write_text(json.dumps(child))

    def push(self, *broken: str) -> str:
        """A commit that rolls out a new value everywhere, with which the tests of `broken` fail."""
        self.value = next(_VALUES)
        for component in self.components:
            mine = -self.value if f"{component}-staging" in broken else self.value
            file = self.doors.repository.worktree / f"fleet/{component}/settings.yaml"
            settings = yaml.safe_load(file.read_text())
            settings["data"]["VALUE"] = str(mine)
            file.write_text(yaml.safe_dump(settings))
        return self.doors.repository.add(f"Roll out {self.value}")

    def ran(self) -> list[tuple[str, int]]:
        """Which tests have run, and what was rolled out then; the oldest first."""
        lines = (self.marks / "ran").read_text().splitlines()
        return [(name, int(value)) for name, value in (line.split() for line in lines)]

    def rolled_out(self, name: str) -> int:
        """What an application has rolled out."""
        path = path_of("configmaps", f"{name.removesuffix('-staging')}-settings", namespace="doors-staging")
        return int(self.doors.kubernetes.get(path)["data"]["VALUE"])

    def hold(self, name: str, value: int) -> Path:
        """Lets the tests of an application wait wherever it rolls out `value`, until the file is removed."""
        return self._mark("hold", name, value)

    def spoil(self, name: str, value: int) -> Path:
        """Lets the tests of an application fail wherever it rolls out `value`, until the file is removed."""
        return self._mark("break", name, value)

    def _mark(self, what: str, name: str, value: int) -> Path:
        mark = self.marks / f"{what}-{name}{value}"
        mark.touch()
        return mark

    def compared(self, commit: str) -> None:
        """Waits until Argo CD has seen a commit everywhere."""
        for name in (PARENT, *self.names):
            if self.doors.kubernetes.has_application(name):
                self.doors.compared(name, commit)

    def state(self, name: str) -> Json:
        """How the last operation of an application goes or went."""
        return dict(self.doors.status(name).get("operationState", {}))

    def plain(self, *waves: int) -> str:
        """Creates the parent of plain children in these waves, and gives the commit that they are about to roll out."""
        children = [self.application(part, wave=wave) for part, wave in zip(self.components, waves, strict=True)]
        self.write(children)
        commit = self.push()
        self.doors.create(self.doors.parent(PARENT, "staging"))
        self.compared(commit)
        return commit

    def sync(self, token: str) -> tuple[int, str]:
        """`syncgate rollout sync`: how it ended, and what it said."""
        done = self.gate.command("rollout", "sync", PARENT, token=token, within=_SECONDS)
        return done.returncode, done.stdout + done.stderr

    def newest(self, token: str, name: str = "") -> Json:
        """The newest rollout with an application."""
        name = name or self.names[0]
        return dict(self.gate.json("rollout", "list", "--application", name, token=token)["rollouts"][0])

    def show(self, token: str, rollout: str) -> Json:
        """A rollout as it is now."""
        return self.gate.json("rollout", "show", rollout, token=token)

    def passed(self, token: str) -> None:
        """Rolls out what was pushed last, which passes its tests: what there is to go back to."""
        code, said = self.sync(token)
        assert code == 0, said
        rollout = self.newest(token)
        assert {member["application"]["name"] for member in rollout["members"]} == set(self.names)
        eventually("all of it has passed", lambda: settled(self.show(token, rollout["decision"])))
        assert "rollback" not in self.show(token, rollout["decision"])

    def ended(self, token: str, rollout: str, within: float = _SECONDS) -> Json:
        """Waits until the rollback of a rollout has ended, and gives the rollout."""
        seen: Json = {}

        def done() -> bool:
            seen.clear()
            seen.update(self.show(token, rollout))
            return seen.get("rollback", {}).get("state") in _ENDED

        try:
            eventually(f"the rollback of {rollout} has ended", done, within=within, every=1)
        except AssertionError as late:
            raise AssertionError(f"{late}: {json.dumps(seen.get('rollback'), indent=1)}") from late
        return seen

    def now(self) -> dict[str, tuple[str, int]]:
        """The commit and the value of each application, all of whose last operations have ended well."""
        found = {}
        for name in self.names:
            state = self.doors.settled(name)
            assert state["phase"] == "Succeeded", (name, state)
            found[name] = (str(state["syncResult"]["revision"]), self.rolled_out(name))
        return found

    def is_back(self, commit: str, value: int) -> None:
        """All applications run a commit, by an operation that ended well, and say so."""
        assert self.now() == dict.fromkeys(self.names, (commit, value))

    def starts(self) -> dict[str, str]:
        """When the last operation of each began, and how many it has carried out."""
        found = {}
        for name in self.names:
            status = self.doors.status(name)
            found[name] = f"{status.get('operationState', {}).get('startedAt')} {len(status.get('history', []))}"
        return found

    def stays(self, seconds: float = 8) -> None:
        """Nothing moves any more: no operation begins for a while."""
        before = self.starts()
        moved: list[object] = []

        def seen() -> bool:
            now = self.starts()
            if now != before:
                moved.append(now)
            return bool(moved)

        try:
            eventually("it moves", seen, within=seconds, every=0.5)
        except AssertionError:
            return
        raise AssertionError(f"an operation has begun: {before} became {moved}")


def settled(rollout: Json) -> bool:
    """Whether the gate has seen that all of a rollout ended well."""
    return all(member.get("state") == "succeeded" for member in rollout["members"])


def steps(rollout: Json) -> dict[str, str]:
    """How far the rollback is with each application."""
    return {step["application"]["name"]: step["state"] for step in rollout["rollback"]["steps"]}


def _overlay(component: str) -> Json:
    container = "/spec/template/spec/containers/0"
    application = {"name": "SYNCGATE_APPLICATION", "value": f"{component}-staging"}
    integration = [
        {"op": "add", "path": f"{container}/env/-", "value": application},
        {"op": "add", "path": f"{container}/envFrom/-", "value": {"configMapRef": {"name": "settings"}}},
        {"op": "replace", "path": "/spec/activeDeadlineSeconds", "value": 120},
        {"op": "replace", "path": "/spec/backoffLimit", "value": 0},
    ]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namePrefix": f"{component}-",
        "resources": ["settings.yaml"],
        "components": [f"../../hooks/{part}" for part in ("account", "integration")],
        "images": [{"name": "tests", "newName": "rig.local/fleet-tests", "newTag": "1"}],
        "patches": [{"target": {"kind": "Job"}, "patch": json.dumps(integration)}],
    }
