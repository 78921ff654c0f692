"""Lines on the terminal, and what to do about a refusal.

What the gate or a file said may not control the terminal, so only printable characters get through.
"""

from __future__ import annotations

import sys

import pytest

from .client import GateError, GateRefusedError
from .settings import Settings

#: Exit statuses of sysexits.h, as the `syncgate` command uses them; pytest's own end at 5.
EXIT_NOT_REPORTED = 69
EXIT_REFUSED = 77
EXIT_PREFLIGHT = 78


def tell(config: pytest.Config, text: str, **markup: bool) -> None:
    """Write a line to the terminal, or to stderr where pytest has none."""
    line = "".join(char if char.isprintable() else "?" for char in text)
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        terminal.ensure_newline()
        terminal.write_line(line, **markup)
    else:
        sys.stderr.write(line + "\n")


def exit_status(error: GateError) -> int:
    """Return the status with which a session ends that is lost by this error."""
    return EXIT_REFUSED if isinstance(error, GateRefusedError) else EXIT_NOT_REPORTED


def advice(error: GateError, settings: Settings, source: str) -> str | None:
    """Say what to do about a refusal; `source` is where the credential comes from."""
    if not isinstance(error, GateRefusedError):
        return None
    if error.status == 401:
        return (
            f"the gate does not accept the {source}: it must be of an issuer that the gate trusts, for "
            "the gate's audience, and not expired; a Job mounts a projected service-account token with that audience"
        )
    if error.status == 403:
        return (
            f"this identity may not report for {settings.application}: correct SYNCGATE_APPLICATION, or have the "
            "gate's configuration map the identity to a role that may"
        )
    if error.status == 404:
        return "the gate does not know that application, or the URL is not the gate's"
    if error.passes:
        return (
            "run the tests in a PostSync hook, or once the application is synced (SYNCGATE_RETRY_SECONDS waits longer)"
        )
    return "correct the settings that the gate names"
