"""Attempts on disk until the gate has them: what is killed, or finds no gate, can be sent later.

One file for each run, of lines that are only ever added: `h` what run this is (a JSON object), `a` an attempt (as it
will be sent), `b` a batch (its sequence and how many attempts), written before that batch is sent for the first time,
`k` a batch that the gate acknowledged, `f` the finish that was about to be sent. Whoever takes the file over
makes the same batches from the same attempts, so that one which had arrived is not stored twice.

In: encoded attempts. Out: numbered batches. The memory it needs does not grow with what waits. Never: a token.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from .spoolfile import LONGEST_LINE, SUFFIX, Disk, Memory, SpoolError, open_new

_BATCH_ATTEMPTS = 200
#: Well below the gate's 4 MiB, and little enough to send again over a slow line.
_BATCH_BYTES = 1024 * 1024
#: When all was acknowledged, a file longer than this begins anew.
_COMPACT_BYTES = 8 * 1024 * 1024
_READ_BYTES = 256 * 1024
_LEFTOVERS = 20

Json = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Attempts that belong together under one sequence number."""

    sequence: int
    attempts: list[bytes]


class Spool:
    """The attempts of one run on their way."""

    def __init__(self, file: Disk | Memory, run: Json) -> None:
        self._file = file
        self._lock = Lock()
        self._read_at = 0
        self._lines: deque[bytes] = deque()
        self._rest = b""
        #: Sizes of batches that an earlier session had cut, but the gate did not acknowledge.
        self._cut: deque[int] = deque()
        self._skip = 0
        #: What run this is, as it was told to `create`.
        self.run = run
        #: Attempts handed over, batches acknowledged; of all sessions that had this spool.
        self.attempts = 0
        self.batches = 0
        self._unread = 0
        self.finishing: Json | None = None

    @classmethod
    def create(cls, folder: Path | None, run: Json) -> Spool:
        """Begin a spool in `folder`, in a temporary folder if it cannot be written, else in memory."""
        file = open_new(folder)
        spool = cls(file, run)
        spool._begin()
        return spool

    @classmethod
    def take_over(cls, path: Path) -> Spool | None:
        """Take over what an earlier session left; `None` if its session lives, or there is nothing to be sent.

        Raises `SpoolError` if the file is not a spool of ours.
        """
        file = Disk.existing(path)
        if file is None:
            return None
        try:
            spool = cls(file, {})
            if spool._recall():
                return spool
            file.remove()
        except (ValueError, LookupError, TypeError):
            file.close()
            raise SpoolError(f"{path} cannot be read as attempts: delete it") from None
        return None

    @property
    def place(self) -> str | None:
        """Path of the file, if it outlives the session and is found by the next."""
        return str(self._file.path) if isinstance(self._file, Disk) and self._file.found_again else None

    @property
    def left_at(self) -> float:
        """When the session that this was taken over from last wrote, in seconds since the epoch."""
        return self._file.left_at

    @property
    def in_memory(self) -> bool:
        """Whether nothing could be written to disk."""
        return isinstance(self._file, Memory)

    @property
    def waiting(self) -> int:
        """How many attempts were not yet given out in a batch."""
        return self._unread

    def append(self, attempt: bytes) -> None:
        """Keep one encoded attempt, without line ends; raises `SpoolError` when there is no room for it."""
        with self._lock:
            self._write(b"a" + attempt)
            self.attempts += 1
            self._unread += 1

    def next_batch(self) -> Batch | None:
        """Give the next attempts out, or nothing if none waits. To be acknowledged before the next call."""
        size = self._cut.popleft() if self._cut else 0
        attempts: list[bytes] = []
        length = 0
        while len(attempts) < (size or _BATCH_ATTEMPTS) and (line := self._next_attempt()) is not None:
            if attempts and not size and length + len(line) > _BATCH_BYTES:
                self._lines.appendleft(b"a" + line)
                break
            attempts.append(line)
            length += len(line)
        if not attempts:
            return None
        with self._lock:
            self._unread -= len(attempts)
            if not size:
                self._write(b"b%d %d" % (self.batches, len(attempts)))
        return Batch(self.batches, attempts)

    def acknowledge(self) -> None:
        """Note that the gate has the batch that was given out last."""
        with self._lock:
            self._write(b"k%d" % self.batches)
            self.batches += 1
            if self._unread == 0 and self._file.size > _COMPACT_BYTES and self._file.can_replace:
                self._begin()

    def finish(self, body: Json) -> None:
        """Keep how the run ended, before the gate is told."""
        with self._lock:
            self.finishing = body
            self._write(b"f" + _encode(body))

    def discard(self) -> None:
        """Forget all: the gate has it, or will never take it."""
        self._file.remove()

    def close(self) -> None:
        """Let go of the file and leave it to a later session."""
        self._file.close()

    def _begin(self) -> None:
        header = {**self.run, "format": 1, "attempts": self.attempts, "batches": self.batches}
        line = b"h" + _encode(header) + b"\n"
        if self._file.size:
            self._file.replace(line)
        else:
            self._file.append(line)
        self._read_at, self._rest = self._file.size, b""
        self._lines.clear()

    def _write(self, line: bytes) -> None:
        self._file.append(line + b"\n")

    def _next_attempt(self) -> bytes | None:
        while (line := self._next_line()) is not None:
            if line[:1] == b"a":
                if not self._skip:
                    return line[1:]
                self._skip -= 1
        return None

    def _next_line(self) -> bytes | None:
        """Read on; a last line without its end is not there yet, or was torn when its writer was killed."""
        while not self._lines:
            data = self._file.read(self._read_at, _READ_BYTES)
            if not data:
                return None
            self._read_at += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            if max(map(len, (*lines, self._rest))) > LONGEST_LINE:
                raise ValueError("a line is too long")
            self._lines.extend(lines)
        return self._lines.popleft()

    def _recall(self) -> bool:
        """Go through the lines of an earlier session; whether there is anything that the gate may lack."""
        first = self._next_line()
        if first is None:
            return False  # killed before it said what run it is about
        self.run = _object(first, b"h")
        if self.run["format"] != 1:
            raise ValueError("of a later version")
        self.attempts, self.batches = int(self.run["attempts"]), int(self.run["batches"])
        cut: list[int] = []
        for line in iter(self._next_line, None):
            kind, rest = line[:1], line[1:]
            if kind == b"a":
                _object(line, b"a")
                self._unread += 1
            elif kind == b"b":
                cut.append(int(rest.split()[1]))
            elif kind == b"k":
                gone = cut.pop(0)
                self._skip += gone
                self.batches += 1
            elif kind == b"f":
                self.finishing = _object(line, b"f")
        self.attempts += self._unread
        self._unread -= self._skip
        if self._unread < sum(cut) or any(one <= 0 for one in cut):
            raise ValueError("batches without their attempts")
        self._cut.extend(cut)
        self._read_at, self._rest = 0, b""
        self._file.cut_torn_line()
        return True


def leftovers(folder: Path) -> list[Path]:
    """Name the spools in a folder, oldest first; whether their sessions still live is not known yet."""
    try:
        files = sorted(
            (path for path in folder.iterdir() if path.suffix == SUFFIX), key=lambda path: path.stat().st_mtime
        )
    except OSError:
        return []
    return files[:_LEFTOVERS]


def _object(line: bytes, kind: bytes) -> Json:
    value = json.loads(line[1:])
    if line[:1] != kind or not isinstance(value, dict):
        raise ValueError("not what is expected here")
    return value


def _encode(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
