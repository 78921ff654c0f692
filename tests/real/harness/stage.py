"""Where the doors are tried: applications, and what Argo CD keeps of repositories and clusters."""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cluster import ARGOCD, path_of
from .doors import AUTOMATED, STAGING, Doors
from .wire import Client, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from .gate import Gate

Json = dict[str, Any]
PARENT = "rows-parent"
"""An application in staging with two children that do not sync by themselves."""
HISTORY = "history"
"""`history-N` have rolled out a commit, and then another."""
ROLLOUTS = ("resumed", "resumed-v2", "promoted")
"""`NAME-N` have rolled out a Rollout, which waits. Since it was there before the gate, it may go on until tests fail."""
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass
class Stage:
    """A gate with its admission door installed, and applications in front of it."""

    rig: Json
    doors: Doors
    gate: Gate
    client: Client
    token: Callable[[str], str]
    old: dict[str, str] = field(default_factory=dict)
    """The commits that were rolled out before there was a gate, by what was rolled out."""

    @classmethod
    def set_before_the_gate(cls, doors: Doors) -> dict[str, str]:
        """Creates what can only be there without a gate, and gives its commits; no test has run for any of them."""
        doors.kubernetes.apply(f"{_CRDS}/rollouts.argoproj.io", doors.manifest("rollouts-crd.yaml"))
        doors.create(doors.parent(PARENT, "staging", folder="heal"))
        doors.create(doors.application(STAGING, "staging"))
        old = {PARENT: doors.repository.head()} | {kind: doors.commit() for kind in (HISTORY, *ROLLOUTS)}
        numbered = {f"{kind}-{number}": kind for kind in (HISTORY, *ROLLOUTS) for number in range(len(Wire))}
        for name, kind in numbered.items():
            path = "plain" if kind == HISTORY else "rollout"
            doors.create(doors.application(name, "prod", path=path))
        everything = {PARENT: PARENT} | numbered
        for name, kind in everything.items():
            start(doors, name, old[kind])
        for name, kind in everything.items():
            doors.rolled_out(name, old[kind])
        newer = doors.commit()
        histories = [name for name, kind in numbered.items() if kind == HISTORY]
        for name in histories:
            start(doors, name, newer)
        for name in histories:
            doors.rolled_out(name, newer)
        return old

    @property
    def head(self) -> str:
        """The newest commit."""
        return self.doors.repository.head()

    def prove(self, commit: str | None = None, *, passed: bool = True) -> None:
        """Rolls a commit out to staging, and reports whether its tests have passed."""
        commit = commit or self.head
        source = {"targetRevision": commit}
        self.doors.kubernetes.patch_application(STAGING, {"spec": {"source": source}})
        self.doors.compared(STAGING, commit)
        answer = self.client.call(Wire.REST, "ApplicationService.Sync", {"name": STAGING}, self.token("alice"))
        assert answer.code == 0, str(answer)
        self.doors.at_rest(STAGING, commit)
        self.doors.report(self.gate, passed=passed)

    def automated(self, name: str, **source: Any) -> None:
        """An application in prod that syncs by itself, and has done so."""
        self.doors.create(self.doors.application(name, "prod", AUTOMATED, **source))
        self.doors.rolled_out(name, source.get("targetRevision", self.head))

    def plain(self, name: str) -> None:
        """An application in prod that waits to be synced."""
        self.doors.create(self.doors.application(name, "prod"))

    def rollout(self, name: str) -> Json:
        """The Rollout that an application has rolled out."""
        return self.doors.kubernetes.get(path_of("rollouts", f"{name}-app", namespace="doors-prod"))

    def live(self, kind: str, name: str) -> Json | None:
        """An object of Argo CD, if it is there."""
        answer = self.doors.kubernetes.ask("GET", path_of(kind, name))
        return dict(answer.json()) if answer.status_code == 200 else None

    def spec(self, name: str) -> Json:
        """The spec of an application."""
        return dict(self.doors.kubernetes.application(name)["spec"])

    def set_of(self, name: str, policy: Json | None = None) -> Json:
        """An ApplicationSet that makes the application `NAME-child-prod`."""
        made = self.doors.manifest("sets/list.yaml")
        made["metadata"]["name"] = name
        template = made["spec"]["template"]
        template["metadata"]["name"] = f"{name}-child-{{{{environment}}}}"
        template["spec"]["source"]["kustomize"]["namePrefix"] = f"{name}-child-{{{{environment}}}}-"
        template["spec"].pop("syncPolicy")
        if policy:
            template["spec"]["syncPolicy"] = policy
        return made

    def repository(self, name: str) -> str:
        """The URL of a repository that nobody has told Argo CD of yet."""
        path = Path(self.rig["git"]["root"]) / f"{name}.git"
        if not path.exists():
            shutil.copytree(path.with_name("config.git"), path)
        return f"file://{path}"

    def secret(self, name: str, kind: str, /, **data: str) -> None:
        """What Argo CD keeps of a repository, a credential or a cluster, as `kubectl` creates it."""
        labels = {"argocd.argoproj.io/secret-type": kind}
        metadata = {"name": name, "namespace": ARGOCD, "labels": labels}
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
        self.doors.kubernetes.apply(path_of("secrets", name), manifest)

    def kept(self, *values: str) -> bool:
        """Whether Argo CD keeps a repository, a credential or a cluster in which all of these values are."""
        listed = self.doors.kubernetes.get(path_of("secrets") + "?labelSelector=argocd.argoproj.io/secret-type")
        found = (
            {base64.b64decode(value).decode() for value in item.get("data", {}).values()} for item in listed["items"]
        )
        return any(set(values) <= secret for secret in found)


def start(doors: Doors, name: str, commit: str | None = None) -> None:
    """Starts a sync as `kubectl` does: by writing the operation."""
    sync: Json = {"syncStrategy": {"hook": {}}}
    if commit:
        sync["revision"] = commit
    doors.kubernetes.patch_application(name, {"operation": {"initiatedBy": {"username": "kubectl"}, "sync": sync}})
