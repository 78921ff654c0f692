"""The admission door, installed: the shipped configuration of the webhook, at an address of this machine."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from .cluster import path_of
from .gate import ROOT
from .processes import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from .cluster import Kubernetes
    from .gate import Gate

_ALL = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_KIND = "ValidatingWebhookConfiguration"


@dataclass
class Webhook:
    """The webhook of one gate."""

    kubernetes: Kubernetes
    gate: Gate

    def manifest(self) -> dict[str, Any]:
        """As it is shipped, but for where the gate is and whom to trust there."""
        shipped = shipped_manifest()
        bundle = base64.b64encode(self.gate.ca.read_bytes()).decode()
        url = f"https://{self.gate.setting.admission}"
        for webhook in shipped["webhooks"]:
            path = webhook["clientConfig"]["service"].get("path", "/validate")
            webhook["clientConfig"] = {"url": url + path, "caBundle": bundle}
        return shipped

    @property
    def path(self) -> str:
        return f"{_ALL}/{shipped_manifest()['metadata']['name']}"

    def install(self) -> None:
        """Installs it, and waits until the API server asks it."""
        manifest = self.manifest()
        self.kubernetes.apply(self.path, manifest)
        eventually("the webhook is asked", self.asked)

    def remove(self) -> None:
        """Removes it, and waits until the API server no longer asks."""
        self.kubernetes.delete(self.path)
        eventually("the webhook is no longer asked", lambda: not self.asked())

    def asked(self) -> bool:
        """Whether a write of an application that forges a status is refused; nothing is written in any case."""
        forged = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": "forged"},
            "spec": {"project": "default", "destination": {}},
            "status": {"history": [{"id": 1, "revision": "0" * 40, "deployedAt": "2026-01-01T00:00:00Z"}]},
        }
        answer = self.kubernetes.ask("POST", f"{path_of('applications')}?dryRun=All", forged)
        return "admission webhook" in answer.text


def shipped_manifest() -> dict[str, Any]:
    """The configuration of the webhook in `config/kubernetes`."""
    files: list[Path] = sorted((ROOT / "config" / "kubernetes").rglob("*.yaml"))
    found = [doc for file in files for doc in yaml.safe_load_all(file.read_text()) if doc and doc.get("kind") == _KIND]
    assert len(found) == 1, f"{len(found)} of {_KIND} in config/kubernetes"
    return dict(found[0])
