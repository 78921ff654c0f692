"""Applications of the repository `doors` that carry the shipped hook Jobs, as they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .cluster import path_of
from .doors import FLEET, HOOKED, Doors
from .gate import ROOT

if TYPE_CHECKING:
    from .gate import Gate

Json = dict[str, Any]
STAGING, PROD = "doors-staging", "doors-prod"
_HOOKS = ROOT / "config/kubernetes/hooks"
_SMOKE = '''"""Before the sync: what it needs is there."""

import os


def test_settings_are_there():
    assert os.environ["SYNCGATE_URL"].startswith("https://")
'''
_INTEGRATION = '''"""After the sync: VALUE is what has just been rolled out."""

import os
import time
from pathlib import Path

VALUE = int(os.environ["VALUE"])


def test_value_is_positive():
    assert VALUE >= 0


def test_it_answers_in_time():
    if VALUE == 0:
        time.sleep(120)


def test_it_answers_at_once():
    """Fails for each value that ends in 7, the first time."""
    before = Path(os.environ["MARKS"]) / os.environ["SYNCGATE_APPLICATION"] / str(VALUE)
    if VALUE % 10 == 7 and not before.exists():
        before.parent.mkdir(exist_ok=True)
        before.touch()
        raise AssertionError("not yet")


def test_the_secret_is_there():
    assert os.environ["API_KEY"] == "only for tests"
    assert Path("/var/run/secrets/tests/API_KEY").read_text() == "only for tests"
'''
# The container of `life-odd` ends otherwise than its tests: badly for a value that ends in 3, well for one in 4.
_ODD = 'python -m pytest "$0"; status=$?; case "$VALUE" in *3) exit 1;; *4) exit 0;; esac; exit $status'


@dataclass
class Lifecycle:
    """The repository with the hooks in it, and what the namespaces hold for them."""

    doors: Doors
    images: Path
    folder: Path

    def prepare(self, gate: Gate) -> None:
        """Copies the shipped components, and writes what their README asks for."""
        doors = self.doors
        shutil.copytree(_HOOKS, doors.repository.worktree / "hooks", dirs_exist_ok=True)
        for component in sorted(set(HOOKED) - set(FLEET)):
            for environment in ("staging", "prod"):
                self._write(f"lifecycle/{component}-{environment}", _overlay(component, environment))
        image = self.images / "lifecycle-tests"
        for name, text in (("smoke/test_smoke.py", _SMOKE), ("integration/test_value.py", _INTEGRATION)):
            (image / name).parent.mkdir(parents=True, exist_ok=True)
            (image / name).write_text(text)
        marks = self.folder / "marks"
        marks.mkdir(exist_ok=True)
        write_settings(doors, gate, MARKS=str(marks))

    def _write(self, folder: str, content: Json) -> None:
        path = self.doors.repository.worktree / folder / "kustomization.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))

    def application(self, component: str, environment: str, policy: Json | None = None) -> Json:
        """The Application of a component in an environment; it carries the hooks in staging."""
        name = f"{component}-{environment}"
        application = self.doors.application(name, environment, policy, path=f"lifecycle/{name}")
        del application["spec"]["source"]["kustomize"]
        application["metadata"]["labels"]["syncgate.dev/component"] = component
        return application

    def parent(self, name: str, environment: str, children: list[Json]) -> Json:
        """An application of these; not created yet. Its manifests, and all that is not committed yet, are pushed."""
        for child in children:
            file = self.doors.repository.worktree / f"parents/{name}/{child['metadata']['name']}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(child))
        self.doors.repository.add(f"The parent {name}")
        return self.doors.parent(name, environment)

    def push(self, value: int) -> str:
        """A commit that rolls out another value."""
        return self.doors.repository.set("plain/settings.yaml", "VALUE", str(value))


def write_settings(doors: Doors, gate: Gate, **more: str) -> None:
    """What the README of the shipped components asks for in the namespace of the Jobs."""
    settings = {
        "SYNCGATE_URL": gate.url,
        "SYNCGATE_CA_FILE": "/etc/syncgate/ca.crt",
        "SYNCGATE_COMMITS": "none",
        "SYNCGATE_RETRY_SECONDS": "5",
        **more,
    }
    doors.kubernetes.write_config_map(STAGING, "syncgate", settings)
    doors.kubernetes.write_config_map(STAGING, "syncgate-ca", {"ca.crt": gate.ca.read_text()})
    secret = {"API_KEY": "only for tests"}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tests"}, "stringData": secret}
    doors.kubernetes.apply(f"/api/v1/namespaces/{STAGING}/secrets/tests", manifest)


def remove_settings(doors: Doors) -> None:
    """Takes it away again."""
    for kind, name in (("configmaps", "syncgate"), ("configmaps", "syncgate-ca"), ("secrets", "tests")):
        doors.kubernetes.delete(path_of(kind, name, namespace=STAGING))


def _overlay(component: str, environment: str) -> Json:
    overlay: Json = {"namePrefix": f"{component}-", "resources": ["../../plain"]}
    if environment == "staging":
        overlay["components"] = [f"../../hooks/{part}" for part in ("account", "smoke", "integration")]
        overlay["images"] = [{"name": "tests", "newName": "rig.local/lifecycle-tests", "newTag": "1"}]
        container = "/spec/template/spec/containers/0"
        application = {"name": "SYNCGATE_APPLICATION", "value": f"{component}-staging"}
        everywhere = [{"op": "add", "path": f"{container}/env/-", "value": application}]
        integration = [
            {"op": "add", "path": f"{container}/envFrom/-", "value": {"configMapRef": {"name": "settings"}}},
            {"op": "replace", "path": "/spec/activeDeadlineSeconds", "value": 40},
        ]
        if component == "life-odd":
            integration.append({"op": "replace", "path": f"{container}/command", "value": ["sh", "-c", _ODD]})
        overlay["patches"] = [
            {"target": {"kind": "Job"}, "patch": json.dumps(everywhere)},
            {"target": {"kind": "Job", "name": "integration"}, "patch": json.dumps(integration)},
        ]
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **overlay}
