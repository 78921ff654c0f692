"""The applications of the repository `doors`: made when a test wants them, and gone when it ends.

All roll out the same ConfigMap under a name of their own, and are one component, `doors`: what has passed its tests in
`doors-staging` may be rolled out in prod wherever it has the same commit and parameters.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import count
from typing import TYPE_CHECKING, Any

import yaml

from .cluster import ARGOCD, path_of
from .processes import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from .cluster import Kubernetes, Repository
    from .gate import Gate

PROJECT = "doors"
PARENTS = "doors-parents"
STAGING = "doors-staging"
FLEET = tuple(f"child-{letter}" for letter in "abcde")
"""Components that are rolled out together."""
HOOKED = ("life-auto", "life-odd", "life-one", "life-two", *FLEET)
"""Components whose applications in staging carry the shipped hook Jobs."""
REPORTER = ("doors-staging", "doors-tests")
"""Namespace and name of the service account that reports tests of the applications in staging."""
_CLUSTER = "https://kubernetes.default.svc"
_JUNIT = '<testsuite name="doors" tests="1"><testcase classname="doors" name="test_value" time="0.01"/></testsuite>'

Json = dict[str, Any]
AUTOMATED: Json = {"automated": {"prune": True, "selfHeal": True}}


@dataclass
class Doors:
    """The applications, and the repository that they come from."""

    kubernetes: Kubernetes
    repository: Repository
    folder: Path
    _values: count[int] = field(default_factory=lambda: count(2))

    def prepare(self) -> None:
        """Puts the projects and their namespaces into the cluster."""
        for environment in ("staging", "prod"):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"doors-{environment}"}}
            self.kubernetes.apply(f"/api/v1/namespaces/doors-{environment}", namespace)
        self.kubernetes.apply(path_of("appprojects", PROJECT), self.manifest("project.yaml"))
        self.kubernetes.apply(path_of("appprojects", PARENTS), self.manifest("parents-project.yaml"))

    def manifest(self, file: str) -> Json:
        """One of the repository's files."""
        return dict(yaml.safe_load((self.repository.worktree / file).read_text()))

    def application(self, name: str, environment: str, policy: Json | None = None, **source: Any) -> Json:
        """An Application that rolls out the ConfigMap, not created yet."""
        labels = {"syncgate.dev/environment": environment, "syncgate.dev/component": "doors"}
        parameters = {"path": "plain", "targetRevision": "main", "kustomize": {"namePrefix": f"{name}-"}} | source
        spec: Json = {
            "project": PROJECT,
            "source": {"repoURL": self.repository.url, **parameters},
            "destination": {"server": _CLUSTER, "namespace": f"doors-{environment}"},
        }
        if policy:
            spec["syncPolicy"] = policy
        metadata = {"name": name, "namespace": ARGOCD, "labels": labels}
        return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata, "spec": spec}

    def parent(self, name: str, environment: str, policy: Json | None = None, *, folder: str = "") -> Json:
        """An Application of the Applications in `parents/`, not created yet."""
        parent = self.application(name, environment, policy, path=f"parents/{folder or name}")
        del parent["metadata"]["labels"]["syncgate.dev/component"], parent["spec"]["source"]["kustomize"]
        parent["spec"]["project"] = PARENTS
        parent["spec"]["destination"]["namespace"] = ARGOCD
        return parent

    def create(self, application: Json) -> str:
        """Creates an Application as `kubectl` does, waits until it is compared with Git, and gives its name."""
        self.kubernetes.create(path_of("applications"), application)
        name = str(application["metadata"]["name"])
        eventually(f"{name} is compared", lambda: self.status(name).get("sync", {}).get("revision"))
        return name

    def arm(self, name: str) -> None:
        """Switches automated sync on, as `kubectl` does."""
        self.kubernetes.patch_application(name, {"spec": {"syncPolicy": AUTOMATED}})

    def status(self, name: str) -> Json:
        """The status of an Application; nothing if there is none."""
        answer = self.kubernetes.ask("GET", path_of("applications", name))
        return dict(answer.json().get("status", {})) if answer.is_success else {}

    def commit(self) -> str:
        """A commit in which the ConfigMap has a value that it has never had."""
        return self.repository.set("plain/settings.yaml", "VALUE", str(next(self._values)))

    def value(self, name: str, environment: str = "prod") -> str | None:
        """The value that an application has rolled out, if it has."""
        path = path_of("configmaps", f"{name}-settings", namespace=f"doors-{environment}")
        answer = self.kubernetes.ask("GET", path)
        return str(answer.json()["data"]["VALUE"]) if answer.is_success else None

    def compared(self, name: str, commit: str) -> None:
        """Waits until Argo CD has seen a commit."""
        refresh = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        self.kubernetes.patch_application(name, refresh)

        def done() -> bool:
            application = self.kubernetes.application(name)
            sync = application["status"]["sync"]
            wanted = application["spec"]["source"]["targetRevision"]
            # By another name for the same commit it may have been compared before.
            return sync.get("revision") == commit and sync["comparedTo"]["source"]["targetRevision"] == wanted

        eventually(f"{name} is compared with {commit}", done)

    def in_sync(self, name: str, commit: str) -> None:
        """Waits until what runs is a commit, by whatever operation."""
        synced = {"status": "Synced", "revision": commit}
        eventually(
            f"{name} runs {commit}", lambda: synced.items() <= self.status(name).get("sync", {}).items(), within=60
        )

    def settled(self, name: str) -> Json:
        """Waits until no operation runs, and gives the state of the last one."""

        def state() -> Json | None:
            application = self.kubernetes.application(name)
            last = dict(application.get("status", {}).get("operationState", {}))
            return last if "operation" not in application and last.get("finishedAt") else None

        found = eventually(f"the operation of {name} has ended", state, within=60)
        assert isinstance(found, dict)
        return found

    def rolled_out(self, name: str, commit: str) -> Json:
        """Waits until a commit has been rolled out, and gives the state of the operation."""

        def done() -> Json | None:
            state = self.settled(name)
            return state if state.get("syncResult", {}).get("revision") == commit else None

        found = eventually(f"{name} is at {commit}", done, within=60)
        assert isinstance(found, dict)
        return found

    def at_rest(self, name: str, commit: str) -> None:
        """Waits until a commit runs, and whatever a test does from now on is later than its rollout."""
        started = self.rolled_out(name, commit)["startedAt"]
        self.in_sync(name, commit)
        # Argo CD tells whole seconds: tests that began in the one in which the operation did may have begun before it.
        eventually(
            "the second of the start is over",
            lambda: datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") > started,
        )

    def report(self, gate: Gate, name: str = STAGING, *, passed: bool = True) -> None:
        """Reports whether the tests of what an application in staging runs have passed."""
        junit = self.folder / "doors.xml"
        junit.write_text(_JUNIT if passed else _JUNIT.replace("/>", "><failure/></testcase>", 1))
        token = self.kubernetes.service_account_token(*REPORTER, audience="syncgate")
        what = ["--junit", str(junit), "--app", name, "--environment", "staging", "--suite", "integration"]
        done = gate.command("evidence", "submit", *what, token=token)
        assert done.returncode == (0 if passed else 1), done.stdout + done.stderr

    def remove(self, *names: str) -> None:
        """Removes applications and what they rolled out."""
        for name in names:
            self._halt(name)
            self.kubernetes.delete(path_of("applications", name))
            for environment in ("staging", "prod"):
                self.kubernetes.delete(path_of("configmaps", f"{name}-settings", namespace=f"doors-{environment}"))
            self.kubernetes.delete(path_of("rollouts", f"{name}-app", namespace="doors-prod"))

    def _halt(self, name: str) -> None:
        """Starts nothing any more: an operation goes on without its application, and would make all of it again."""
        disarmed = {"spec": {"syncPolicy": None}}
        self.kubernetes.ask(
            "PATCH", path_of("applications", name), disarmed, content_type="application/merge-patch+json"
        )

        def idle() -> bool:
            answer = self.kubernetes.ask("GET", path_of("applications", name))
            return not answer.is_success or "operation" not in answer.json()

        # What cannot end, such as a hook that waits, is not made again either.
        with contextlib.suppress(AssertionError):
            eventually(f"no operation of {name} runs", idle, within=10)

    def remove_all(self) -> None:
        """Removes all that was made of this repository."""
        for item in self.kubernetes.get(path_of("applicationsets"))["items"]:
            self.kubernetes.delete(path_of("applicationsets", item["metadata"]["name"]))
        mine = [
            app["metadata"]["name"]
            for app in self.kubernetes.applications()
            if app["spec"]["project"] in {PROJECT, PARENTS}
        ]
        # Parents first, or those that heal themselves would make their children again.
        for name in sorted(mine, key=lambda name: "child" in name):
            with contextlib.suppress(AssertionError):
                self.remove(name)
