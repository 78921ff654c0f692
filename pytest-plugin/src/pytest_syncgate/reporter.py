"""One run, from its opening before the first test to the verdict after the last.

Hooks of the session's own process (under xdist the controller: workers hand their reports to it). Opening and
finishing are waited for; attempts go through `stream`. A required run that cannot be opened ends the session
before the first test; one that cannot be finished, or that the gate refuses as evidence, makes a passing
session fail. Nothing here turns a failing session into a passing one.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Event
from time import time
from typing import Any

import pytest

from . import opening, preflight, worktree
from .attempts import Assembler, Attempt, clean_name, timestamp
from .client import GateClient, GateError, GateRefusedError, Json, Patience, Run
from .credentials import Credential
from .recovery import finish_body, recover
from .settings import Settings
from .spool import Spool
from .spoolfile import SpoolError
from .stream import Stream
from .terminal import EXIT_NOT_REPORTED, EXIT_PREFLIGHT, EXIT_REFUSED, advice, exit_status, tell

_WORKER_ANSWER_SECONDS = 10
#: What an earlier session left is not worth waiting longer for.
_RECOVERY_SECONDS = 10.0


class Reporter:
    """Reports one session to the gate."""

    def __init__(self, config: pytest.Config, settings: Settings, credential: Credential, client: GateClient) -> None:
        self._config = config
        self._settings = settings
        self._credential = credential
        self._client = client
        self._started_at = time()
        self._attempts = Assembler(client.redact)
        self._deselected = 0
        self._collection_errors: dict[str, Attempt] = {}
        self._workers: dict[str, Any] = {}
        self._opened = False
        self._preflight_failed = False
        self._run: Run | None = None
        self._spool: Spool | None = None
        self._stream: Stream | None = None
        self._failure: GateError | None = None
        self._verdict: Json | None = None
        self._reported = 0

    @cached_property
    def _work_tree(self) -> worktree.WorkTree | None:
        return worktree.inspect(self._config.rootpath)

    def told(self) -> Mapping[str, Any]:
        """Return what the gate told about the run that is open, in plain values; nothing if none is."""
        if self._run is None:
            return {}
        commits, environment = self._run.answer.get("commits"), self._run.answer.get("environment")
        return {
            "run": self._run.id,
            "run_url": self._run.url,
            "environment": environment if isinstance(environment, str) else None,
            "commits": [str(commit) for commit in commits] if isinstance(commits, list) else [],
        }

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

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Ask the gate if all is well, before time goes into collecting tests."""
        if not self._settings.preflight:
            return
        try:
            found = preflight.ask(self._client, self._settings, self._credential.source)
        except GateError as error:
            self._lose_run(error)
            return
        required = self._settings.required
        for line in found.lines:
            self._tell(f"syncgate: {line}", red=not found.passed and required, yellow=not found.passed and not required)
        if not found.passed and required:
            self._preflight_failed = True
            pytest.exit("syncgate: no test was run, since the preflight failed", EXIT_PREFLIGHT)

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
        """Give each xdist worker the settings, and a channel: for what it deselected, and for what the gate told."""
        channel = node.gateway.newchannel()
        node.workerinput["syncgate_channel"] = channel
        node.workerinput["syncgate_settings"] = self._settings.plain()
        self._workers[node.gateway.id] = channel

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Open the run when the first worker has collected; xdist sees to it that all collect the same."""
        channel = self._workers[node.gateway.id]
        try:
            deselected = channel.receive(timeout=_WORKER_ANSWER_SECONDS)
        except Exception as error:  # execnet's own kinds, which are not importable without it
            pytest.exit(
                f"syncgate: worker {node.gateway.id} did not tell what it deselected: is the plugin installed there? "
                f"({error})",
                EXIT_NOT_REPORTED,
            )
        if not self._opened:
            self._open(ids, deselected)
        with suppress(OSError):  # a worker that died; xdist sees to it
            channel.send(dict(self.told()))

    def _open(self, node_ids: Iterable[str], deselected: int) -> None:
        self._opened = True
        if self._failure is not None:
            return
        collected = opening.collected([clean_name(node_id) for node_id in node_ids], deselected)
        told = self._settings
        body = opening.body(self._config, told, self._work_tree, collected, self._started_at)
        folder = self._spool_folder()
        try:
            if folder is not None:
                patience = Patience(Event().wait, min(_RECOVERY_SECONDS, told.retry_seconds))
                for line in recover(folder, told.url, self._client, patience):
                    self._tell(f"syncgate: {line}", yellow=True)
            self._run = self._client.open_run(body, str(uuid.uuid4()), Patience(Event().wait, told.retry_seconds))
        except GateError as error:
            self._lose_run(error)
            return
        run = {"gate": told.url, "application": told.application, "suite": told.suite}
        try:
            self._spool = Spool.create(folder, {**run, "run": self._run.id, "url": self._run.url})
        except SpoolError as error:
            self._lose_run(GateError(str(error)))
            return
        if self._spool.in_memory:
            self._tell("syncgate: there is no folder to write to: attempts wait in memory", yellow=True)
        self._stream = Stream(self._client, self._run, self._spool)
        self._put(self._collection_errors.values())

    def _lose_run(self, error: GateError) -> None:
        """End the session before its first test, or go on without a run, as configured."""
        self._failure = error
        if self._settings.required:
            self._tell(f"syncgate: {self._explain(error)}", red=True)
            pytest.exit("syncgate: no test was run, since the run could not be opened", exit_status(error))

    def _spool_folder(self) -> Path | None:
        if self._settings.spool_dir is not None:
            return self._settings.spool_dir
        cache = getattr(self._config, "cache", None)  # absent with -p no:cacheprovider
        if cache is None:
            return None
        with suppress(OSError):
            return Path(cache.mkdir("syncgate"))
        return None

    # While tests run

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send an attempt on its way when its last report has come."""
        self._put(self._attempts.add(report))

    def _put(self, attempts: Iterable[Attempt]) -> None:
        if self._stream is not None:
            for attempt in attempts:
                self._stream.put(attempt.encode())

    # After the last test

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Deliver the rest, finish the run, and let a passing session fail if its evidence is lost or refused."""
        if not self._opened and self._collection_errors:  # xdist: no worker came as far as to collect
            self._open((), 0)
        if self._run is not None and self._spool is not None and self._stream is not None:
            self._put(self._attempts.unfinished())
            try:
                self._verdict = self._finish(self._run, self._spool, self._stream, session)
            except GateError as error:
                self._failure = error
            except KeyboardInterrupt:
                self._failure = GateError("interrupted before all was delivered")
            # What the gate has, or will never have as a whole, is of no use to a later session; another token may be.
            refused = isinstance(self._failure, GateRefusedError) and self._failure.status != 401
            if self._failure is None or refused or self._stream.lost_some:
                self._spool.discard()
                self._spool = None
            else:
                self._spool.close()
        self._client.close()
        if self._settings.required and session.exitstatus == pytest.ExitCode.OK:
            if self._failure is not None:
                session.exitstatus = exit_status(self._failure)
            elif self._verdict is not None and self._verdict.get("verdict") not in ("passed", "failed"):
                session.exitstatus = EXIT_REFUSED

    def _finish(self, run: Run, spool: Spool, stream: Stream, session: pytest.Session) -> Json:
        status = int(session.exitstatus)
        cut_short = bool(session.shouldstop or session.shouldfail)
        interrupted = cut_short or status in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        stream.end({"exit_status": status, "finished_at": timestamp(time()), "interrupted": interrupted})
        stream.close(self._settings.retry_seconds)
        self._reported = spool.attempts
        return self._client.finish(run, finish_body(spool), Patience(Event().wait, self._settings.retry_seconds))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_terminal_summary(self) -> Generator[None, None, None]:
        """Tell the verdict with its reasons and the link to the run, or what was lost and what to do, last of all."""
        yield
        if self._failure is not None:
            if self._run is not None or not self._settings.required:  # else told when it happened
                self._tell(f"syncgate: {self._explain(self._failure)}", red=True)
        elif self._verdict is not None:
            self._tell_verdict(self._verdict)
        elif not self._preflight_failed:
            self._tell("syncgate: no run was opened, since pytest ended before its tests", red=True)

    def _tell_verdict(self, answer: Json) -> None:
        verdict = str(answer.get("verdict", "no verdict"))
        reported = f"{self._reported} attempt{'s' if self._reported != 1 else ''} reported"
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
        if answer.get("snapshot"):
            self._tell(f"syncgate: what the application was like: {answer['snapshot']}", red=True)

    # Words

    def _subject(self) -> str:
        return f"{self._settings.application}, suite {self._settings.suite}"

    def _explain(self, error: GateError) -> str:
        if self._run is None:
            what = f"the run for {self._subject()} could not be opened: {error}"
        elif self._spool is not None and self._spool.place is not None:
            what = (
                f"the run was not reported completely and does not count: {error} - {self._run.url} - "
                f"what is missing waits in {self._spool.place}, and the next session there sends it"
            )
        else:
            what = f"the run was not reported completely and will not count: {error} - {self._run.url}"
        words = advice(error, self._settings, self._credential.source)
        return what + (f" - {words}" if words else "")

    def _tell(self, text: str, **markup: bool) -> None:
        tell(self._config, text, **markup)


class NotReporting:
    """Says at the end why nothing was reported, where that is allowed to happen."""

    def __init__(self, config: pytest.Config, why: str) -> None:
        self._config = config
        self._why = why

    def pytest_terminal_summary(self) -> None:
        """Say it."""
        tell(self._config, f"syncgate: nothing was reported: {self._why}", yellow=True)


class WorkerNote:
    """In an xdist worker: tells the session's own process how many tests were deselected, and hears about the run."""

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

    @cached_property
    def _told(self) -> Mapping[str, Any]:
        told: Mapping[str, Any] = self._channel.receive(timeout=_WORKER_ANSWER_SECONDS)
        return told

    def told(self) -> Mapping[str, Any]:
        """Return what the gate told about the run; it is sent before the first test."""
        return self._told
