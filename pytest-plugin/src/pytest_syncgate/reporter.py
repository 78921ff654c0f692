"""One run, from its opening before the first test to the verdict after the last.

Hooks of the session's own process (under xdist the controller: workers hand their reports to it). Opening and
finishing are waited for; attempts go through `stream`. A required run that cannot be opened ends the session
before the first test; one that cannot be finished, or that the gate refuses as evidence, makes a passing
session fail. Nothing here turns a failing session into a passing one.
"""

from __future__ import annotations

import hashlib
import platform
import sys
import uuid
from collections.abc import Generator, Iterable
from dataclasses import replace
from functools import cached_property
from threading import Event
from time import time
from typing import Any

import pytest

from . import __version__, worktree
from .attempts import Assembler, Attempt, clean, timestamp
from .client import GateClient, GateError, GateRefusedError, Json, Patience, Run
from .credentials import Credential
from .settings import Settings
from .stream import Stream

#: Exit statuses of sysexits.h, as the `syncgate` command uses them; pytest's own end at 5.
EXIT_NOT_REPORTED = 69
EXIT_REFUSED = 77

#: Options that decide which tests run and what counts as a failure; others may hold secrets and are not told.
_TOLD_OPTIONS = {
    "keyword": "-k",
    "markexpr": "-m",
    "deselect": "--deselect",
    "ignore": "--ignore",
    "ignore_glob": "--ignore-glob",
    "lf": "--last-failed",
    "stepwise": "--stepwise",
    "maxfail": "--maxfail",
    "runxfail": "--runxfail",
    "setuponly": "--setup-only",
    "continue_on_collection_errors": "--continue-on-collection-errors",
    "reruns": "--reruns",
    "only_rerun": "--only-rerun",
    "numprocesses": "--numprocesses",
    "dist": "--dist",
}
_WORKER_ANSWER_SECONDS = 10


class Reporter:
    """Reports one session to the gate."""

    def __init__(self, config: pytest.Config, settings: Settings, credential: Credential, client: GateClient) -> None:
        self._config = config
        self._settings = settings
        self._credential = credential
        self._client = client
        self._started_at = time()
        self._attempts = Assembler()
        self._deselected = 0
        self._collection_errors: dict[str, Attempt] = {}
        self._workers: dict[str, Any] = {}
        self._opened = False
        self._run: Run | None = None
        self._stream: Stream | None = None
        self._failure: GateError | None = None
        self._verdict: Json | None = None

    @cached_property
    def _work_tree(self) -> worktree.WorkTree | None:
        return worktree.inspect(self._config.rootpath)

    # Before the first test

    def pytest_report_header(self) -> list[str]:
        """Say where this session reports to, and as who; never the token."""
        told = self._settings
        where = f", environment {told.environment}" if told.environment else ""
        lines = [
            f"syncgate: reports to {told.url} for {self._subject()}{where}",
            f"syncgate: signs in with the {self._credential.source}",
        ]
        tree = self._work_tree
        if tree is not None and tree.changed:
            first = ", ".join(tree.changed[:3]) + (", ..." if len(tree.changed) > 3 else "")
            lines.append(f"syncgate: the work tree differs from its commit {tree.commit[:7]}: {first}")
        return lines

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what the session will not run."""
        self._deselected += len(items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep collection errors: each xdist worker tells them, once is enough."""
        if report.failed and report.nodeid not in self._collection_errors:
            self._collection_errors[report.nodeid] = self._attempts.add_collection_error(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Open the run, unless the tests are collected by xdist's workers."""
        if not self._config.pluginmanager.hasplugin("dsession"):
            self._open([item.nodeid for item in session.items], self._deselected)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give each xdist worker a channel on which it tells how many tests it deselected."""
        channel = node.gateway.newchannel()
        node.workerinput["syncgate_deselected"] = channel
        self._workers[node.gateway.id] = channel

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Open the run when the first worker has collected; xdist sees to it that all collect the same."""
        if self._opened:
            return
        worker = node.gateway.id
        try:
            deselected = self._workers[worker].receive(timeout=_WORKER_ANSWER_SECONDS)
        except Exception as error:  # execnet's own kinds, which are not importable without it
            pytest.exit(
                f"syncgate: worker {worker} did not tell what it deselected: is the plugin installed there? ({error})",
                EXIT_NOT_REPORTED,
            )
        self._open(ids, deselected)

    def _open(self, node_ids: Iterable[str], deselected: int) -> None:
        self._opened = True
        body = self._opening(sorted({clean(node_id) for node_id in node_ids}), deselected)
        patience = Patience(Event().wait, self._settings.retry_seconds)
        try:
            self._run = self._client.open_run(body, str(uuid.uuid4()), patience)
        except GateError as error:
            self._failure = error
            if self._settings.required:
                self._tell(f"syncgate: {self._explain(error)}", red=True)
                pytest.exit("syncgate: no test was run, since the run could not be opened", _exit_status(error))
            return
        self._stream = Stream(self._client, self._run)
        self._put(self._collection_errors.values())

    def _opening(self, tests: list[str], deselected: int) -> Json:
        told = self._settings
        tree = self._work_tree
        commits = told.commits
        if commits is None and tree is not None:
            commits = (tree.commit,)
        return {
            "application": told.application,
            "application_namespace": told.application_namespace,
            "environment": told.environment,
            "suite": told.suite,
            "commits": list(commits) if commits else None,
            "dirty": bool(tree.changed) if tree is not None else None,
            "collected": {
                "tests": len(tests),
                "digest": hashlib.sha256("\n".join(tests).encode()).hexdigest(),
                "deselected": deselected,
            },
            "tool": {
                "name": "pytest",
                "version": pytest.__version__,
                "plugin": __version__,
                "python": platform.python_version(),
                "platform": sys.platform,
            },
            "options": _told_options(self._config),
            "started_at": timestamp(self._started_at),
        }

    # While tests run

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send an attempt on its way when its last report has come."""
        self._put(self._attempts.add(report))

    def _put(self, attempts: Iterable[Attempt]) -> None:
        if self._stream is not None:
            for attempt in attempts:
                message = attempt.message and self._client.redact(attempt.message)
                self._stream.put(replace(attempt, message=message).encode())

    # After the last test

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Deliver the rest, finish the run, and let a passing session fail if its evidence is lost or refused."""
        if not self._opened and self._collection_errors:  # xdist: no worker came as far as to collect
            self._open((), 0)
        if self._run is not None and self._stream is not None:
            self._put(self._attempts.unfinished())
            try:
                self._verdict = self._finish(self._run, self._stream, session)
            except GateError as error:
                self._failure = error
            except KeyboardInterrupt:
                self._failure = GateError("interrupted before all was delivered")
        self._client.close()
        if self._settings.required and session.exitstatus == pytest.ExitCode.OK:
            if self._failure is not None:
                session.exitstatus = _exit_status(self._failure)
            elif self._verdict is not None and self._verdict.get("verdict") not in ("passed", "failed"):
                session.exitstatus = EXIT_REFUSED

    def _finish(self, run: Run, stream: Stream, session: pytest.Session) -> Json:
        stream.close(self._settings.retry_seconds)
        status = int(session.exitstatus)
        cut_short = bool(session.shouldstop or session.shouldfail)
        body = {
            "exit_status": status,
            "finished_at": timestamp(time()),
            "batches": stream.batches,
            "attempts": stream.attempts,
            "interrupted": cut_short or status in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR),
        }
        return self._client.finish(run, body, Patience(Event().wait, self._settings.retry_seconds))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_terminal_summary(self) -> Generator[None, None, None]:
        """Tell the verdict with its reasons and the link to the run, or what was lost and what to do, last of all."""
        yield
        if self._failure is not None:
            if self._run is not None or not self._settings.required:  # else told when it happened
                self._tell(f"syncgate: {self._explain(self._failure)}", red=True)
        elif self._verdict is not None:
            self._tell_verdict(self._verdict)
        else:
            self._tell("syncgate: no run was opened, since pytest ended before its tests", red=True)

    def _tell_verdict(self, answer: Json) -> None:
        verdict = str(answer.get("verdict", "no verdict"))
        attempts = self._stream.attempts if self._stream is not None else 0
        reported = f"{attempts} attempt{'s' if attempts != 1 else ''} reported"
        commits = self._run.answer.get("commits") if self._run is not None else None
        at = " at " + ", ".join(str(commit)[:7] for commit in commits) if isinstance(commits, list) and commits else ""
        parts = [f"syncgate: {verdict}: {self._subject()}{at}, {reported}"]
        counts = {
            "now": "counts now",
            "when-operation-succeeds": "counts when the sync it ran in succeeds",
            "never": "does not count as evidence",
        }.get(str(answer.get("counts")))
        if counts:
            parts.append(counts)
        if self._run is not None:
            parts.append(str(answer.get("url") or self._run.url))
        self._tell(" - ".join(parts), red=verdict != "passed", green=verdict == "passed")
        reasons = answer.get("reasons")
        for reason in reasons if isinstance(reasons, list) else []:
            if isinstance(reason, dict):
                self._tell(f"syncgate: reason {reason.get('code')}: {reason.get('detail')}", red=verdict != "passed")

    # Words

    def _subject(self) -> str:
        return f"{self._settings.application}, suite {self._settings.suite}"

    def _explain(self, error: GateError) -> str:
        if self._run is None:
            what = f"the run for {self._subject()} could not be opened: {error}"
        else:
            what = f"the run was not reported completely and will not count: {error} - {self._run.url}"
        advice = _advice(error, self._settings, self._credential)
        return what + (f" - {advice}" if advice else "")

    def _tell(self, text: str, **markup: bool) -> None:
        _tell(self._config, text, **markup)


class NotReporting:
    """Says at the end why nothing was reported, where that is allowed to happen."""

    def __init__(self, config: pytest.Config, why: str) -> None:
        self._config = config
        self._why = why

    def pytest_terminal_summary(self) -> None:
        """Say it."""
        _tell(self._config, f"syncgate: nothing was reported: {self._why}", yellow=True)


class WorkerNote:
    """In an xdist worker: tells the controller how many tests were deselected, and nothing else."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._deselected = 0

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what this worker will not run."""
        self._deselected += len(items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        """Tell it before xdist tells what was collected, so that it is there by then."""
        self._channel.send(self._deselected)


def _tell(config: pytest.Config, text: str, **markup: bool) -> None:
    """Write a line to the terminal; what came from the gate must not control it."""
    line = "".join(char if char.isprintable() else "?" for char in text)
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        terminal.ensure_newline()
        terminal.write_line(line, **markup)
    else:
        sys.stderr.write(line + "\n")


def _exit_status(error: GateError) -> int:
    return EXIT_REFUSED if isinstance(error, GateRefusedError) else EXIT_NOT_REPORTED


def _advice(error: GateError, settings: Settings, credential: Credential) -> str | None:
    """Say what to do about a refusal."""
    if not isinstance(error, GateRefusedError):
        return None
    if error.status == 401:
        return (
            f"the gate does not accept the {credential.source}: it must be of an issuer that the gate trusts, for "
            "the gate's audience, and not expired; a Job mounts a projected service-account token with that audience"
        )
    if error.status == 403:
        return (
            f"this identity may not report for {settings.application}: correct SYNCGATE_APPLICATION, or have the "
            "gate's configuration map the identity to a role that may"
        )
    if error.status == 404:
        return "the gate does not know that application, or the URL is not the gate's"
    return "correct the settings that the gate names"


def _told_options(config: pytest.Config) -> list[str]:
    options = []
    for name, flag in _TOLD_OPTIONS.items():
        value = config.getoption(name, None)
        if not value or (name == "dist" and value == "no"):
            continue
        for one in value if isinstance(value, list) else [value]:
            options.append(flag if one is True else clean(f"{flag} {one}"))
    return options
