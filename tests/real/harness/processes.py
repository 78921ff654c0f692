"""Long-running programs: started, waited for by a line that they print, stopped by a signal, leaving nothing behind."""

from __future__ import annotations

import queue
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Service:
    """A program that runs while tests do. Its standard output is read line by line, its standard error kept in a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._lines: queue.Queue[str | None] = queue.Queue()
        # With `setpriv` the program dies with this process, however that ends.
        guard = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines, self.log.open("a") as log:
            for line in lines:
                log.write(line)
                log.flush()
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        return self._process.poll() is None

    def line(self, wanted: Callable[[str], bool], *, within: float) -> str:
        """The next line of standard output that is wanted; fails when the program ends or takes longer."""
        deadline = time.monotonic() + within
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"{self.name} did not say what was waited for in {within} s\n{self.tail()}"
                ) from None
            if line is None:
                code = self._process.wait(timeout=10)
                raise AssertionError(f"{self.name} ended with {code}\n{self.tail()}")
            if wanted(line):
                return line

    def stop(self, *, within: float = 60) -> int:
        """Asks the program to end, and gives its exit code; fails when it does not end in time."""
        if self.running():
            self._process.send_signal(signal.SIGTERM)
        return self.wait(within=within)

    def kill(self) -> None:
        """Ends the program without asking it."""
        self._process.kill()
        self._process.wait(timeout=10)
        self._reader.join(timeout=10)

    def wait(self, *, within: float) -> int:
        try:
            code = self._process.wait(timeout=within)
            self._reader.join(timeout=10)
            return code
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end in {within} s\n{self.tail()}") from None

    def tail(self, lines: int = 40) -> str:
        """The end of what the program wrote."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return f"--- the end of {self.log}\n" + "\n".join(text)


def processes_of(folder: Path) -> list[str]:
    """Command lines of all processes that were started for, or live in, `folder`."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            arguments = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            cwd = str((process / "cwd").readlink())
        except OSError:
            continue  # it has ended meanwhile
        if str(folder) in arguments or cwd.startswith(str(folder)):
            found.append(f"{process.name}: {arguments}")
    return found


def pid_of(program: str, folder: Path) -> int:
    """The one process of a program that was started for `folder`, as its environment or command line tells."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes()
            told = command + (process / "environ").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if Path(command.split(b"\0")[0].decode(errors="replace")).name == program and str(folder).encode() in told:
            found.append(int(process.name))
    assert len(found) == 1, f"{len(found)} processes of {program}"
    return found[0]


def eventually(what: str, check: Callable[[], object], *, within: float = 30, every: float = 0.2) -> object:
    """Calls `check` until it gives something true, and gives that."""
    deadline = time.monotonic() + within
    while True:
        if result := check():
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {within} s: {what} (last: {result!r})")
        time.sleep(every)
