"""pytest's entry: declares the options, and starts reporting if a gate is configured.

Does nothing without a gate's URL, nor when pytest only lists tests instead of running them.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest

from . import credentials, hooks, settings
from .client import GateClient
from .credentials import Credential
from .facts import ACCESS, Access
from .fixtures import syncgate, syncgate_httpx, syncgate_requests
from .reporter import NotReporting, Reporter, WorkerNote
from .transport import Transport

__all__ = ["syncgate", "syncgate_httpx", "syncgate_requests"]

#: Options with which pytest runs no test.
_LISTING_OPTIONS = (
    "help",
    "version",
    "collectonly",
    "markers",
    "showfixtures",
    "show_fixtures_per_test",
    "cacheshow",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings."""
    settings.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook for other kinds of credentials."""
    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    """Register what reports: the whole in the session's own process, next to nothing in an xdist worker.

    Raises `pytest.UsageError` if a gate is configured in a way that cannot work.
    """
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        if "syncgate_channel" in worker_input:
            _configure_worker(config, worker_input)
        return
    told = settings.load(config)
    if told is None or any(config.getoption(option, None) for option in _LISTING_OPTIONS):
        return
    if config.getoption("dist", "no") == "each":
        # The same test in several places would look like attempts of which the last one counts.
        raise pytest.UsageError("syncgate: --dist each cannot be reported: report one session per place instead")
    try:
        credential = _credential(config, told)
    except credentials.CredentialError as error:
        _give_up(config, told, str(error))
        return
    try:
        transport = Transport(told.url, told.ca_file)
    except OSError as error:
        raise pytest.UsageError(f"syncgate: the CA file {told.ca_file} cannot be used: {error}") from None
    client = GateClient(told.url, transport, credential)
    reporter = Reporter(config, told, credential, client)
    config.pluginmanager.register(reporter, "syncgate-reporter")
    config.stash[ACCESS] = Access(told, lambda: credential, reporter.told)


def _configure_worker(config: pytest.Config, worker_input: dict[str, Any]) -> None:
    note = WorkerNote(worker_input["syncgate_channel"])
    config.pluginmanager.register(note, "syncgate-worker")
    told = settings.Settings.of_plain(worker_input["syncgate_settings"])
    environ = dict(os.environ)  # as it is before a test changes it

    @cache
    def credential() -> Credential:
        return _credential(config, told, environ)

    config.stash[ACCESS] = Access(told, credential, note.told)


def _credential(config: pytest.Config, told: settings.Settings, environ: dict[str, str] | None = None) -> Credential:
    """Return the project's own credential, or find one; raises `CredentialError`."""
    own: Credential | None = config.hook.pytest_syncgate_credential(config=config)
    return own or credentials.find(told, os.environ if environ is None else environ)


def _give_up(config: pytest.Config, told: settings.Settings, why: str) -> None:
    """End the session, or go on without reporting and say so, as configured."""
    if told.required:
        raise pytest.UsageError(
            f"syncgate: {why}; to run without reporting, set SYNCGATE_URL to nothing or add --no-syncgate-required"
        )
    config.pluginmanager.register(NotReporting(config, why), "syncgate-notice")
