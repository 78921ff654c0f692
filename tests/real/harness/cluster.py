"""The control plane under test: Argo CD and Kubernetes as their administrator sees them, and the Git repositories."""

from __future__ import annotations

import base64
import re
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ARGOCD = "argocd"
_MERGE_PATCH = "application/merge-patch+json"


def _argo(kind: str) -> str:
    return f"/apis/argoproj.io/v1alpha1/namespaces/{ARGOCD}/{kind}"


class Kubernetes:
    """The API server, as its administrator."""

    def __init__(self, facts: dict[str, str]) -> None:
        self.facts = facts
        self._http = httpx.Client(
            base_url=facts["url"],
            verify=ssl.create_default_context(cafile=facts["ca"]),
            headers={"authorization": f"Bearer {facts['token']}"},
            trust_env=False,
            timeout=20,
        )

    def close(self) -> None:
        self._http.close()

    def service_account_token(self, namespace: str, name: str, *, audience: str, seconds: int = 3600) -> str:
        """A token such as a projected volume holds; the service account is made if it is missing."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        made = self._http.post(accounts, json={"metadata": {"name": name}})
        assert made.status_code in {201, 409}, made.text
        answer = self._http.post(
            f"{accounts}/{name}/token",
            json={"spec": {"audiences": [audience], "expirationSeconds": seconds}},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["status"]["token"])

    def write_config_map(self, namespace: str, name: str, data: dict[str, str]) -> None:
        answer = self._http.patch(
            f"/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager=tests&force=true",
            headers={"content-type": "application/apply-patch+yaml"},
            json={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data},
        )
        assert answer.is_success, answer.text

    def config_map(self, namespace: str, name: str) -> dict[str, str]:
        answer = self._http.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        assert answer.is_success, answer.text
        return dict(answer.json()["data"])

    def application(self, name: str) -> dict[str, Any]:
        """The Application as it is stored."""
        answer = self._http.get(f"{_argo('applications')}/{name}")
        assert answer.is_success, answer.text
        return dict(answer.json())

    def create_application(self, name: str, spec: dict[str, Any], *, labels: dict[str, str] | None = None) -> None:
        """Creates an Application past Argo CD, as `kubectl` does."""
        metadata = {"name": name, "namespace": ARGOCD, "labels": labels or {}}
        manifest = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata, "spec": spec}
        answer = self._http.post(_argo("applications"), json=manifest)
        assert answer.is_success, answer.text

    def delete_marked(self, prefix: str) -> None:
        """Removes what of Argo CD's own begins with `prefix`, and what it does not name itself but holds it."""
        for kind in ("applications", "applicationsets", "appprojects"):
            for item in self._http.get(_argo(kind)).json()["items"]:
                name = item["metadata"]["name"]
                if name.startswith(prefix):
                    self._http.patch(
                        f"{_argo(kind)}/{name}",
                        headers={"content-type": _MERGE_PATCH},
                        json={"metadata": {"finalizers": None}},
                    )
                    self._http.delete(f"{_argo(kind)}/{name}")
        secrets = f"/api/v1/namespaces/{ARGOCD}/secrets"
        for item in self._http.get(secrets, params={"labelSelector": "argocd.argoproj.io/secret-type"}).json()["items"]:
            if any(base64.b64decode(value).decode(errors="replace").startswith(prefix) for value in item["data"].values()):
                self._http.delete(f"{secrets}/{item['metadata']['name']}")

    def patch_application(self, name: str, patch: dict[str, Any]) -> None:
        answer = self._http.patch(
            f"{_argo('applications')}/{name}",
            headers={"content-type": _MERGE_PATCH},
            json=patch,
        )
        assert answer.is_success, answer.text


@dataclass(frozen=True)
class Repository:
    """A Git repository that Argo CD deploys from, and a clone of it to commit in."""

    url: str
    worktree: Path

    def head(self) -> str:
        """The commit that the branch points to."""
        return self._git("rev-parse", "HEAD")

    def set(self, file: str, key: str, value: str) -> str:
        """Gives `key: "value"` in a file another value, commits and pushes; gives the commit."""
        path = self.worktree / file
        text, count = re.subn(rf"^(\s*{re.escape(key)}: ).*$", rf'\g<1>"{value}"', path.read_text(), flags=re.MULTILINE)
        assert count == 1, f"{file} has {count} lines with {key}"
        path.write_text(text)
        return self._push(f"Set {key} to {value}")

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
