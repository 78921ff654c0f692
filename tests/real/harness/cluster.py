"""The control plane under test: Argo CD and Kubernetes as their administrator sees them, and the Git repositories."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ARGOCD = "argocd"
_MERGE_PATCH = "application/merge-patch+json"


def path_of(kind: str, name: str = "", *, namespace: str = ARGOCD) -> str:
    """The path of an object, or of all of its kind, that Argo CD reads: `path_of("applications", "cart-prod")`."""
    groups = {"configmaps": "/api/v1", "secrets": "/api/v1"}
    base = f"{groups.get(kind, '/apis/argoproj.io/v1alpha1')}/namespaces/{namespace}/{kind}"
    return f"{base}/{name}" if name else base


class Kubernetes:
    """The API server, as its administrator."""

    def __init__(self, facts: dict[str, str]) -> None:
        self.facts = facts
        self._http = httpx.Client(
            base_url=facts["url"],
            verify=ssl.create_default_context(cafile=facts["ca"]),
            headers={"authorization": f"Bearer {facts['token']}"},
            trust_env=False,
            timeout=40,
        )

    def close(self) -> None:
        self._http.close()

    def ask(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> httpx.Response:
        """One request, however it ends."""
        content = None if body is None else json.dumps(body)
        return self._http.request(method, path, content=content, headers={"content-type": content_type})

    def get(self, path: str) -> dict[str, Any]:
        """What is at a path."""
        return self._done("GET", path)

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Creates an object."""
        return self._done("POST", path, body)

    def merge(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Changes an object by a merge patch."""
        return self._done("PATCH", path, patch, content_type=_MERGE_PATCH)

    def apply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Creates an object, or changes it to this."""
        return self._done(
            "PATCH", f"{path}?fieldManager=tests&force=true", body, content_type="application/apply-patch+yaml"
        )

    def delete(self, path: str) -> None:
        """Removes an object, if it is there, without waiting for what its finalizers want."""
        if self.ask("PATCH", path, {"metadata": {"finalizers": None}}, content_type=_MERGE_PATCH).status_code != 404:
            answer = self.ask("DELETE", path)
            assert answer.is_success or answer.status_code == 404, answer.text

    def _done(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        answer = self.ask(method, path, body, content_type=content_type)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return dict(answer.json())

    def service_account_token(self, namespace: str, name: str, *, audience: str, seconds: int = 3600) -> str:
        """A token such as a projected volume holds; the service account is made if it is missing."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        made = self.ask("POST", accounts, {"metadata": {"name": name}})
        assert made.status_code in {201, 409}, made.text
        spec = {"audiences": [audience], "expirationSeconds": seconds}
        return str(self.create(f"{accounts}/{name}/token", {"spec": spec})["status"]["token"])

    def write_config_map(self, namespace: str, name: str, data: dict[str, str]) -> None:
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        self.apply(path_of("configmaps", name, namespace=namespace), manifest)

    def config_map(self, namespace: str, name: str) -> dict[str, str]:
        return dict(self.get(path_of("configmaps", name, namespace=namespace))["data"])

    def application(self, name: str) -> dict[str, Any]:
        """The Application as it is stored."""
        return self.get(path_of("applications", name))

    def has_application(self, name: str) -> bool:
        return self.ask("GET", path_of("applications", name)).status_code == 200

    def applications(self) -> list[dict[str, Any]]:
        """All Applications as they are stored."""
        return list(self.get(path_of("applications"))["items"])

    def patch_application(self, name: str, patch: dict[str, Any]) -> None:
        self.merge(path_of("applications", name), patch)


@dataclass(frozen=True)
class Repository:
    """A Git repository that Argo CD deploys from, and a clone of it to commit in."""

    url: str
    worktree: Path

    def head(self) -> str:
        """The commit that the branch points to."""
        return self._git("rev-parse", "HEAD")

    def parent(self, commit: str) -> str:
        """The commit before a commit."""
        return self._git("rev-parse", f"{commit}~1")

    def set(self, file: str, key: str, value: str) -> str:
        """Gives `key: "value"` in a file another value, commits and pushes; gives the commit."""
        path = self.worktree / file
        text, count = re.subn(rf"^(\s*{re.escape(key)}: ).*$", rf'\g<1>"{value}"', path.read_text(), flags=re.MULTILINE)
        assert count == 1, f"{file} has {count} lines with {key}"
        path.write_text(text)
        return self._push(f"Set {key} to {value}")

    def write(self, file: str, text: str, message: str) -> str:
        """Writes a whole file, commits and pushes; gives the commit."""
        path = self.worktree / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self._git("add", "--", file)
        return self._push(message)

    def add(self, message: str) -> str:
        """Commits and pushes all that is in the clone; gives the commit."""
        self._git("add", "--all")
        return self._push(message)

    def touch(self, message: str) -> str:
        """A commit that changes nothing that is deployed."""
        with (self.worktree / "README.md").open("a") as file:
            file.write(f"\n{message}\n")
        return self._push(message)

    def _push(self, message: str) -> str:
        self._git("commit", "--quiet", "--all", "--allow-empty", f"--message={message}")
        self._git("push", "--quiet", "origin", "HEAD")
        return self.head()

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.worktree), *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()


def revision_of(application: dict[str, Any]) -> str:
    """The commit of the latest operation, as Argo CD says what it has rolled out."""
    result = application.get("status", {}).get("operationState", {}).get("syncResult", {})
    return str(result.get("revision", ""))


def decision_of(application: dict[str, Any]) -> str:
    """The decision that the latest operation carries."""
    infos = application["status"]["operationState"]["operation"].get("info", [])
    found = [info["value"] for info in infos if info["name"] == "syncgate-decision"]
    assert len(found) == 1, infos
    return str(found[0])
