"""Where the doors are tried: applications, and what Argo CD keeps of repositories and clusters."""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cluster import ARGOCD, path_of
from .doors import AUTOMATED, STAGING, Doors
from .processes import eventually
from .wire import Client, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from .gate import Gate

Json = dict[str, Any]
PARENT = "rows-parent"
"""An application in staging with two children that do not sync by themselves."""
HISTORIES = 3
"""So many applications `history-N` have rolled out, before there was a gate, a commit that nobody has tested."""


@dataclass
class Stage:
    """A gate with its admission door installed, and applications in front of it."""

    rig: Json
    doors: Doors
    gate: Gate
    client: Client
    token: Callable[[str], str]
    old: str = ""
    """The commit that the histories begin with."""

    @classmethod
    def set_before_the_gate(cls, doors: Doors) -> str:
        """Creates what can only be there without a gate, and gives the commit of the histories' first entry."""
        names = [f"history-{number}" for number in range(HISTORIES)]
        old = doors.repository.head()
        doors.create(doors.parent(PARENT, "staging", folder="heal"))
        doors.create(doors.application(STAGING, "staging"))
        for name in names:
            doors.create(doors.application(name, "prod"))
        for name in (PARENT, *names):
            start(doors, name)
        for name in (PARENT, *names):
            doors.rolled_out(name, old)
        newer = doors.commit()
        for name in names:
            doors.compared(name, newer)
            start(doors, name)
        for name in names:
            doors.rolled_out(name, newer)
        return old

    @property
    def head(self) -> str:
        """The newest commit."""
        return self.doors.repository.head()

    def prove(self, commit: str | None = None) -> None:
        """Rolls a commit out to staging, and reports that its tests have passed."""
        commit = commit or self.head
        source = {"targetRevision": commit}
        self.doors.kubernetes.patch_application(STAGING, {"spec": {"source": source}})
        self.doors.compared(STAGING, commit)
        answer = self.client.call(Wire.REST, "ApplicationService.Sync", {"name": STAGING}, self.token("alice"))
        assert answer.code == 0, str(answer)
        started = self.doors.rolled_out(STAGING, commit)["startedAt"]
        synced = {"status": "Synced", "revision": commit}
        eventually(f"{STAGING} runs {commit}", lambda: synced.items() <= self.doors.status(STAGING)["sync"].items())
        # Argo CD tells whole seconds: tests that began in the one in which the operation did may have begun before it.
        eventually("the second of the start is over", lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") > started)
        self.doors.report(self.gate)

    def automated(self, name: str, **source: Any) -> None:
        """An application in prod that syncs by itself, and has done so."""
        self.doors.create(self.doors.application(name, "prod", AUTOMATED, **source))
        self.doors.rolled_out(name, source.get("targetRevision", self.head))

    def plain(self, name: str) -> None:
        """An application in prod that waits to be synced."""
        self.doors.create(self.doors.application(name, "prod"))

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
        found = ({base64.b64decode(value).decode() for value in item.get("data", {}).values()} for item in listed["items"])
        return any(set(values) <= secret for secret in found)


def start(doors: Doors, name: str, commit: str | None = None) -> None:
    """Starts a sync as `kubectl` does: by writing the operation."""
    sync: Json = {"syncStrategy": {"hook": {}}}
    if commit:
        sync["revision"] = commit
    doors.kubernetes.patch_application(name, {"operation": {"initiatedBy": {"username": "kubectl"}, "sync": sync}})
