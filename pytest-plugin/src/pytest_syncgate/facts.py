"""What a test may know about the run it belongs to: the value of the fixture `syncgate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from .credentials import Credential
from .settings import Settings, endpoint_name


@dataclass(frozen=True)
class Syncgate:
    """One run: what is tested, and where the gate is."""

    #: The gate, without a slash at its end (`https://gate.example.com`).
    gate_url: str
    application: str
    #: As configured; `None` for the namespace that Argo CD is in.
    application_namespace: str | None
    #: As the gate told, else as configured.
    environment: str | None
    suite: str
    #: Commits under test as the gate told them, one per source; empty if no run is open.
    commits: tuple[str, ...] = ()
    #: The run's id and its page; `None` where reporting is not required and no run could be opened.
    run: str | None = None
    run_url: str | None = None
    #: Configured endpoints: `None` for the gate's own path, else the URL of the endpoint's host.
    endpoints: Mapping[str, str | None] = field(default_factory=dict)

    def endpoint(self, name: str) -> str:
        """Return the base URL of an endpoint behind the test door, with a slash at its end.

        `NAME=URL` in the setting `endpoints` gives an endpoint a host of its own; every other name is a path of the
        gate, configured here or not. Raises `pytest.UsageError` for what cannot be a name.
        """
        return (self.endpoints.get(endpoint_name(name)) or f"{self.gate_url}/endpoints/{name}") + "/"


@dataclass(frozen=True)
class Access:
    """What the fixtures are made of, in the session's own process and in xdist's workers."""

    settings: Settings
    credential: Callable[[], Credential]
    #: What the gate told when the run was opened; nothing if none is open. May wait for the session's own process.
    told: Callable[[], Mapping[str, Any]]

    def facts(self) -> Syncgate:
        """Return what a test may know."""
        told = self.told()
        return Syncgate(
            gate_url=self.settings.url,
            application=self.settings.application,
            application_namespace=self.settings.application_namespace,
            environment=told.get("environment") or self.settings.environment,
            suite=self.settings.suite,
            commits=tuple(told.get("commits") or ()),
            run=told.get("run"),
            run_url=told.get("run_url"),
            endpoints=self.settings.endpoints,
        )


#: Where plugin and fixtures meet; absent while no gate is configured.
ACCESS = pytest.StashKey[Access]()
