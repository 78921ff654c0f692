"""Asks the gate before the first test if all is well, so that a mistake costs seconds and not the whole run.

In: what is configured. Out: whether the session may go on, and a line for each check that failed, with what to do. The
gate makes the checks (credential, its lifetime, the clock, the right to report, each endpoint) and bounds
them in time; here is only asked and told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from time import time
from typing import Any

from .attempts import timestamp
from .client import GateClient, GateRefusedError, Json, Patience
from .settings import Settings
from .terminal import advice

_MOST_CHECKS = 100


@dataclass(frozen=True)
class Preflight:
    """What came of it: lines for people, and whether every check passed."""

    passed: bool
    lines: list[str] = field(default_factory=list)


def ask(client: GateClient, settings: Settings, source: str, now: Callable[[], float] = time) -> Preflight:
    """Ask the gate; raises `GateAwayError` if it does not answer for as long as is configured."""

    def body() -> Json:
        return {
            "application": settings.application,
            "application_namespace": settings.application_namespace,
            "environment": settings.environment,
            "suite": settings.suite,
            "expected_seconds": None,
            "endpoints": list(settings.endpoints),
            "now": timestamp(now()),
        }

    try:
        answer = client.preflight(body, Patience(Event().wait, settings.retry_seconds))
    except GateRefusedError as refusal:
        words = advice(refusal, settings, source)
        return Preflight(False, [f"preflight failed: {refusal}" + (f" - {words}" if words else "")])
    if answer is None:
        return Preflight(True, ["preflight skipped: this gate has none yet"])
    return _read(answer)


def _read(answer: Json) -> Preflight:
    """Read the gate's checks; an answer that does not say that all is well is a failure."""
    checks = answer.get("checks")
    known = [check for check in checks if isinstance(check, dict)] if isinstance(checks, list) else []
    failed = [check for check in known if check.get("ok") is not True]
    if answer.get("ok") is True and not failed:
        until = answer.get("expires_at")
        note = f", credential good until {until}" if isinstance(until, str) else ""
        return Preflight(True, [f"preflight passed: {len(known)} check{'s' if len(known) != 1 else ''}{note}"])
    lines = [_line(check) for check in failed[:_MOST_CHECKS]]
    return Preflight(False, lines or ["preflight failed: the gate does not say which check"])


def _line(check: dict[str, Any]) -> str:
    about = f" {check['about']}" if check.get("about") else ""
    mend = f" - {check['mend']}" if check.get("mend") else ""
    return f"preflight failed: {check.get('check')}{about}: {check.get('detail')}{mend}"
