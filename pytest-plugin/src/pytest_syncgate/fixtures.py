"""Fixtures for tests that use the gate: what is under test, and HTTP sessions that are signed in to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from .facts import ACCESS, Access, Syncgate
from .signing import Signer

if TYPE_CHECKING:
    import httpx
    import requests


@pytest.fixture(scope="session")
def syncgate(pytestconfig: pytest.Config) -> Syncgate:
    """Application, environment, suite and commits under test, the run, and the URLs of endpoints."""
    return _access(pytestconfig).facts()


@pytest.fixture(scope="session")
def syncgate_httpx(pytestconfig: pytest.Config) -> Iterator[httpx.Client]:
    """Give an `httpx.Client` that is signed in to the gate and to configured endpoint hosts, and to nobody else."""
    access = _access(pytestconfig)
    try:
        from . import over_httpx  # noqa: PLC0415 (an extra)
    except ImportError:
        _missing("httpx")
    with over_httpx.client(access.settings, Signer(access.settings, access.credential())) as client:
        yield client


@pytest.fixture(scope="session")
def syncgate_requests(pytestconfig: pytest.Config) -> Iterator[requests.Session]:
    """Give a `requests.Session` that is signed in to the gate and to configured endpoint hosts, and to nobody else."""
    access = _access(pytestconfig)
    try:
        from . import over_requests  # noqa: PLC0415 (an extra)
    except ImportError:
        _missing("requests")
    with over_requests.session(access.settings, Signer(access.settings, access.credential())) as session:
        yield session


def _access(config: pytest.Config) -> Access:
    access = config.stash.get(ACCESS, None)
    if access is None:
        pytest.fail(
            "syncgate: this test needs the gate, but none is in use: set SYNCGATE_URL and a token", pytrace=False
        )
    return access


def _missing(library: str) -> None:
    pytest.fail(
        f"syncgate: the fixture syncgate_{library} needs {library}: pip install 'pytest-syncgate[{library}]'",
        pytrace=False,
    )
