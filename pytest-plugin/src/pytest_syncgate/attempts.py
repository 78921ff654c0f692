"""Puts pytest's reports of setup, call and teardown together to attempts, numbered 1..n per test.

In: `TestReport`s as the session sees them (from xdist's workers too, in any interleaving), with what
pytest-rerunfailures and subtests do to them. Out: one `Attempt` for each time a test was tried, whatever came of
it. When in doubt about an attempt, it did not pass: a test body that never ran is not a pass, and a test
that began and never ended is an error.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from time import time

import pytest

_LONGEST_MESSAGE = 4096
_LONGEST_NAME = 16 * 1024


@dataclass(frozen=True)
class Attempt:
    """One try of one test."""

    test: str
    number: int
    outcome: str
    started_at: float
    duration: float
    message: str | None
    worker: str | None

    def encode(self) -> bytes:
        """Return the JSON text of the gate's run API."""
        value = {
            "test": self.test,
            "attempt": self.number,
            "outcome": self.outcome,
            "duration_ms": round(self.duration * 1000),
            "started_at": timestamp(self.started_at),
            "message": self.message,
            "worker": self.worker,
        }
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass
class _Open:
    """An attempt of which not all reports have come."""

    started_at: float
    duration: float = 0.0
    outcome: str | None = None
    messages: list[str] = field(default_factory=list)
    body_ended: bool = False
    repeated: bool = False


class Assembler:
    """Takes reports in the order in which the session gets them, gives attempts as they are complete."""

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        """Take what takes secrets out of messages; it sees them whole, before they are cut."""
        self._redact = redact
        self._open: dict[tuple[str, str | None], _Open] = {}
        self._numbers: Counter[str] = Counter()

    def add(self, report: pytest.TestReport) -> list[Attempt]:
        """Take one report; return the attempts that it completes (none, one, or two)."""
        key = (clean_name(report.nodeid), _worker(report))
        done = []
        current = self._open.get(key)
        if current is not None and _begins_anew(report, current):
            done.append(self._close(key))
            current = None
        if current is None:
            current = self._open[key] = _Open(_start(report))
        _merge(current, report)
        if report.when not in ("setup", "call"):  # teardown, or what xdist says of a crashed worker
            done.append(self._close(key))
        return done

    def add_collection_error(self, report: pytest.CollectReport) -> Attempt:
        """Turn a file that could not be collected into an errored attempt of its own."""
        key = (clean_name(report.nodeid) or ".", None)
        self._open[key] = _Open(time(), 0.0, "error", [_failure_text(report)])
        return self._close(key)

    def unfinished(self) -> list[Attempt]:
        """Close what began and will not end any more, since the session is over."""
        attempts = []
        for key, current in list(self._open.items()):
            if not current.repeated:  # of a repeated attempt all is known that there will be
                current.outcome = "error"
                current.messages.append("the test began but did not end before the session did")
            attempts.append(self._close(key))
        return attempts

    def _close(self, key: tuple[str, str | None]) -> Attempt:
        test, worker = key
        current = self._open.pop(key)
        self._numbers[test] += 1
        if current.outcome is None:  # --setup-only and the like
            current.outcome = "skipped"
            current.messages.append("the test was set up and torn down, but its body did not run")
        message = _cut(self._redact("\n\n".join(text for text in current.messages if text))) or None
        return Attempt(
            test, self._numbers[test], current.outcome, current.started_at, current.duration, message, worker
        )


def _begins_anew(report: pytest.TestReport, current: _Open) -> bool:
    """Whether this report is the first of another attempt.

    pytest-rerunfailures before 16 drops the teardown of an attempt that it repeats; others that repeat tests
    send a second call without a setup.
    """
    if report.when == "setup":
        return True
    if current.repeated:
        return report.when != "teardown"
    return report.when == "call" and current.body_ended


def _merge(current: _Open, report: pytest.TestReport) -> None:
    """Fold one report into its attempt."""
    outcome = _outcome(report)
    if _is_subtest(report):
        # The test's own report follows, and covers its time; before pytest 9 it passes though a subtest failed.
        if outcome == "failed":
            current.outcome = outcome
            current.messages.append(_message(report))
        return
    current.duration += report.duration
    current.repeated |= _is_repeat(report)
    current.body_ended |= report.when == "call"
    if outcome == "passed" and report.when != "call":
        return
    if outcome in ("failed", "error") or current.outcome in (None, "passed"):
        if outcome != "passed":
            current.messages.append(_message(report))
        # A test that failed and then also could not be torn down, failed.
        if current.outcome != "failed":
            current.outcome = outcome


def _outcome(report: pytest.TestReport) -> str:
    """Name what came of one phase; an outcome that pytest does not know (a repeat) is a failure."""
    if hasattr(report, "wasxfail") and report.outcome in ("passed", "skipped"):
        return "xpassed" if report.outcome == "passed" else "xfailed"
    if report.outcome in ("passed", "skipped"):
        return report.outcome
    return "failed" if report.when == "call" else "error"


def _is_repeat(report: pytest.TestReport) -> bool:
    return report.outcome not in ("passed", "failed", "skipped")


def _is_subtest(report: pytest.TestReport) -> bool:
    return type(report).__name__ in ("SubtestReport", "SubTestReport")  # pytest's own, pytest-subtests'


def _worker(report: pytest.TestReport) -> str | None:
    name = getattr(report, "worker_id", None)
    if name is None:  # xdist's own report of a crashed worker
        name = getattr(getattr(getattr(report, "node", None), "gateway", None), "id", None)
    return name if isinstance(name, str) else None


def _start(report: pytest.TestReport) -> float:
    start = getattr(report, "start", None)
    return start if isinstance(start, float) else time() - report.duration


def _message(report: pytest.TestReport) -> str:
    if report.outcome == "skipped":
        if hasattr(report, "wasxfail"):
            return clean(str(report.wasxfail))
        if isinstance(report.longrepr, tuple):
            return clean(report.longrepr[2])
    if report.outcome == "passed":
        return clean(str(getattr(report, "wasxfail", "")))
    return _failure_text(report)


def _failure_text(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the failure's place and last words, then its whole text: the start is what is kept of it."""
    text = report.longreprtext
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        text = f"{crash.path}:{crash.lineno}: {crash.message}\n\n{text}"
    phase = getattr(report, "when", None)
    if phase in ("setup", "teardown"):
        text = f"at {phase}: {text}"
    return clean(text)


def clean(text: str) -> str:
    """Make text fit for JSON and for databases: no lone surrogates, no NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def clean_name(text: str) -> str:
    """Make a name fit for the gate: control characters escaped, at most 16 KiB; what is longer ends in its digest."""
    name = clean(text)
    if not name.isprintable():
        name = "".join(char if unicodedata.category(char) != "Cc" else f"\\x{ord(char):02x}" for char in name)
    data = name.encode()
    if len(data) <= _LONGEST_NAME:
        return name
    return data[: _LONGEST_NAME - 70].decode("utf-8", "ignore") + "..." + hashlib.sha256(data).hexdigest()


def _cut(text: str) -> str:
    return text.encode()[:_LONGEST_MESSAGE].decode("utf-8", "ignore")


def timestamp(seconds: float) -> str:
    """Format seconds since the epoch by RFC 3339, in UTC."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
