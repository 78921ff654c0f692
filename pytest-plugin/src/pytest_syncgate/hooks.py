"""Hooks that a project may implement in a `conftest.py` or a plugin of its own."""

from __future__ import annotations

import pytest

from .credentials import Credential


@pytest.hookspec(firstresult=True)
def pytest_syncgate_credential(config: pytest.Config) -> Credential | None:
    """Return a source of tokens that is used before all others, or `None` to leave it to them.

    Called once in the session's own process, and once in each xdist worker that uses a signed session. A `conftest.py`
    must be one that pytest loads at its start: beside the ini file, or of a folder named on the command line.
    """
