"""Real runs of pytest that report to a gate: a project of their own, the installed plugin, a token in a file."""

from __future__ import annotations

import os
import re
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .doors import STAGING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .gate import Gate

# A run of some hundred tests takes seconds, and one whose gate has gone waits for it.
_SECONDS = 90
_RUN = re.compile(r"/syncgate/v1/runs/([0-9A-Z]{26})")
_CUE = '''"""Says when something is to happen, and waits until it has."""

import os
import socket


def cue(name):
    with socket.create_connection(("127.0.0.1", int(os.environ["CUES"])), timeout=60) as line:
        line.sendall(name.encode() + b"\\n")
        assert line.makefile().readline() == "done\\n", name
'''


@dataclass(frozen=True)
class Ended:
    """How one run of pytest ended, and what it printed."""

    code: int
    out: str
    seconds: float

    @property
    def told(self) -> list[str]:
        """The lines of the plugin, without its name."""
        return [line.removeprefix("syncgate: ") for line in self.out.splitlines() if line.startswith("syncgate: ")]

    @property
    def summary(self) -> str:
        """The line with the verdict."""
        found = [line for line in self.told if " reported" in line]
        assert len(found) == 1, self.out
        return found[0]

    @property
    def run(self) -> str:
        """The run that was reported, as the gate names it."""
        return run_in(self.summary)


def run_in(line: str) -> str:
    """The run whose page a line names."""
    found = _RUN.search(line)
    assert found, line
    return found[1]


def suite_of(test: str) -> str:
    """The name of a suite of a test's own."""
    name = re.sub("[^a-z0-9]+", "-", test.removeprefix("test_").lower())
    return name.strip("-")[:60]


@dataclass
class Project:
    """A folder with tests, and what the plugin is told there."""

    folder: Path
    settings: dict[str, str]
    extra: dict[str, str] = field(default_factory=dict)
    """Further variables of the environment."""

    @classmethod
    def create(cls, folder: Path, gate: Gate, token: str, *, suite: str, application: str = STAGING) -> Project:
        """A project whose tests are of an application, and that signs in as its test Job does."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "syncgate_cues.py").write_text(_CUE)
        settings = {
            "URL": gate.url,
            "CA_FILE": str(gate.ca),
            "APPLICATION": application,
            "SUITE": suite,
            "TOKEN_FILE": str(folder / "token"),
        }
        project = cls(folder, settings)
        project.sign_in(token)
        return project

    def sign_in(self, token: str) -> None:
        """Puts a token where a projected volume has it."""
        (self.folder / "token").write_text(token)

    def write(self, name: str, text: str) -> None:
        """Writes a file of the project, in place of what it was."""
        (self.folder / name).write_text(text)

    def start(self, *arguments: str, **settings: str) -> Running:
        """Starts pytest, and does not wait for it; `settings` are the plugin's, without their prefix."""
        told = {f"SYNCGATE_{name}": value for name, value in {**self.settings, **settings}.items()}
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        env = {**kept, "PYTHONDONTWRITEBYTECODE": "1", "NO_PROXY": "127.0.0.1", **told, **self.extra}
        command = [sys.executable, "-m", "pytest", *arguments]
        return Running(command, self.folder, env)

    def pytest(self, *arguments: str, **settings: str) -> Ended:
        """Runs pytest to its end."""
        return self.start(*arguments, **settings).ended()

    @property
    def spooled(self) -> list[Path]:
        """The files in which attempts wait for the gate."""
        return sorted((self.folder / ".pytest_cache").rglob("*.spool"))


class Running:
    """A pytest that runs."""

    def __init__(self, command: list[str], folder: Path, env: Mapping[str, str]) -> None:
        self._begin = time.monotonic()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def ended(self) -> Ended:
        """Waits for its end, and gives it."""
        try:
            out, _ = self._process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, _ = self._process.communicate(timeout=10)
            raise AssertionError(f"pytest did not end in {_SECONDS} s\n{out}") from None
        return Ended(self._process.returncode, out, time.monotonic() - self._begin)


class Cues:
    """What tests of a run have happen in the middle of it: they say its name, and wait until it is done."""

    def __init__(self, **actions: Callable[[], object]) -> None:
        self.given: list[str] = []
        """The names, in the order in which they were said."""
        self.failed: list[BaseException] = []
        cues = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                name = self.rfile.readline().decode().strip()
                try:
                    actions[name]()
                except BaseException as error:  # whatever it is, the test that waits must hear of it
                    cues.failed.append(error)
                    self.wfile.write(b"failed\n")
                else:
                    cues.given.append(name)
                    self.wfile.write(b"done\n")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @classmethod
    @contextmanager
    def of(cls, project: Project, **actions: Callable[[], object]) -> Iterator[Cues]:
        """Answers the tests of a project as long as the context lasts; fails if anything could not be done."""
        cues = cls(**actions)
        project.extra["CUES"] = str(cues.port)
        cues._thread.start()
        try:
            yield cues
        finally:
            cues._server.shutdown()
            cues._server.server_close()
            cues._thread.join(timeout=10)
        if cues.failed:
            raise cues.failed[0]
