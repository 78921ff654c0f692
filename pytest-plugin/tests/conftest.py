"""What the tests share: a gate to report to, and a session configured for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gate import TOKEN, Gate


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the outer session: no gate, no options, no Git repository above the temporary directory."""
    for name in [name for name in os.environ if name.startswith(("SYNCGATE_", "PYTEST_", "GIT_", "HTTP", "http"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path(os.environ.get("TMPDIR", "/tmp")).resolve()))


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A running gate, which must have seen no breach of the protocol."""
    server = Gate()
    yield server
    server.stop()
    assert server.protocol_errors == []


@pytest.fixture
def configured(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment of a hook Job that reports to the gate."""
    monkeypatch.setenv("SYNCGATE_URL", gate.url)
    monkeypatch.setenv("SYNCGATE_APPLICATION", "checkout-staging")
    monkeypatch.setenv("SYNCGATE_TOKEN", TOKEN)
    monkeypatch.setenv("SYNCGATE_RETRY_SECONDS", "20")
