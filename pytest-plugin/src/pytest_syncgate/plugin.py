"""pytest's entry: declares the options, and starts reporting if a gate is configured.

Does nothing without a gate's URL, nor when pytest only lists tests instead of running them.
"""

from __future__ import annotations

import pytest

from . import credentials, settings
from .client import GateClient
from .reporter import NotReporting, Reporter, WorkerNote
from .transport import Transport

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


def pytest_configure(config: pytest.Config) -> None:
    """Register what reports: the whole in the session's own process, next to nothing in an xdist worker.

    Raises `pytest.UsageError` if a gate is configured in a way that cannot work.
    """
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        if "syncgate_deselected" in worker_input:
            config.pluginmanager.register(WorkerNote(worker_input["syncgate_deselected"]), "syncgate-worker")
        return
    told = settings.load(config)
    if told is None or any(config.getoption(option, None) for option in _LISTING_OPTIONS):
        return
    if config.getoption("dist", "no") == "each":
        # The same test in several places would look like attempts of which the last one counts.
        raise pytest.UsageError("syncgate: --dist each cannot be reported: report one session per place instead")
    try:
        credential = credentials.find(told)
    except credentials.CredentialError as error:
        _give_up(config, told, str(error))
        return
    try:
        transport = Transport(told.url, told.ca_file)
    except OSError as error:
        raise pytest.UsageError(f"syncgate: the CA file {told.ca_file} cannot be used: {error}") from None
    client = GateClient(told.url, transport, credential)
    config.pluginmanager.register(Reporter(config, told, credential, client), "syncgate-reporter")


def _give_up(config: pytest.Config, told: settings.Settings, why: str) -> None:
    """End the session, or go on without reporting and say so, as configured."""
    if told.required:
        raise pytest.UsageError(
            f"syncgate: {why}; to run without reporting, set SYNCGATE_URL to nothing or add --no-syncgate-required"
        )
    config.pluginmanager.register(NotReporting(config, why), "syncgate-notice")
