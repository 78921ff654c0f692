"""The file under a spool: only its owner may read it, it is held under a lock while its session lives, and bounded.

In: lines to add, offsets to read. Where no folder can be written to, the same is kept in memory, within a tighter
bound. Never: a file that someone else could have written; what is in it is sent under our name.

What is called while tests run is bound to the class when it is loaded: tests put other file systems in the place of
`os` and `pathlib`, and neither may attempts go there, nor may the run be lost.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Lock

try:
    from fcntl import LOCK_EX, LOCK_NB, flock

    _LOCK = LOCK_EX | LOCK_NB
except ImportError:  # Windows: without locks nobody can tell a leftover from a live session's file
    flock = None  # type: ignore[assignment]

#: Bytes that may wait on disk, and in memory where there is no disk.
MAX_BYTES = 256 * 1024 * 1024
MAX_MEMORY_BYTES = 64 * 1024 * 1024
LONGEST_LINE = 128 * 1024
SUFFIX = ".spool"
_START, _END = os.SEEK_SET, os.SEEK_END
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class SpoolError(Exception):
    """No more attempts can be kept, or a file is not a spool; the message says why."""


class Disk:
    """A file of ours under a lock."""

    #: Windows cannot replace a file that is open.
    can_replace = flock is not None

    _open_file = staticmethod(os.open)
    _lock_file = staticmethod(flock) if flock is not None else None
    _replace_file = staticmethod(os.replace)
    _unlink_file = staticmethod(os.unlink)
    _close_file = staticmethod(os.close)
    _seek = staticmethod(os.lseek)
    _read_file = staticmethod(os.read)
    _write_file = staticmethod(os.write)

    def __init__(self, path: Path, descriptor: int, folder: Path | None) -> None:
        self.path = path
        self._name = str(path)
        #: A temporary folder of its own, which no later session finds.
        self._folder = folder
        self._descriptor = descriptor
        #: When an earlier session last wrote to it, in seconds since the epoch.
        self.left_at = 0.0
        self._io = Lock()
        self.size = self._seek(descriptor, 0, _END)

    @property
    def found_again(self) -> bool:
        """Whether a later session finds the file."""
        return self._folder is None and flock is not None

    @classmethod
    def new(cls, folder: Path | None) -> Disk:
        """Make an empty file in `folder`, or in a temporary one; raises `OSError`."""
        own = Path(tempfile.mkdtemp(prefix="syncgate-")) if folder is None else None
        descriptor, name = tempfile.mkstemp(SUFFIX, "run-", folder or own)
        file = cls(Path(name), descriptor, own)
        try:
            if flock is not None:
                flock(descriptor, _LOCK)
        except OSError:  # a file system without locks
            file.remove()
            raise
        return file

    @classmethod
    def existing(cls, path: Path) -> Disk | None:
        """Open a leftover; raises `SpoolError` if someone else could have written it."""
        if flock is None:
            return None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None  # another session was faster, or it is not ours to read
        try:
            flock(descriptor, _LOCK)
            state = os.fstat(descriptor)
        except OSError:
            os.close(descriptor)
            return None
        ours = stat.S_ISREG(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & 0o077
        if not ours or state.st_size > MAX_BYTES or state.st_nlink != 1:
            os.close(descriptor)
            if state.st_nlink == 0:
                return None
            raise SpoolError(f"{path} is left alone: it is not a file that only this user can write, or too long")
        file = cls(path, descriptor, None)
        file.left_at = state.st_mtime
        return file

    def append(self, line: bytes) -> None:
        """Add at the end; raises `SpoolError` when there is no room."""
        if self.size + len(line) > MAX_BYTES:
            raise SpoolError(f"{MAX_BYTES >> 20} MiB of attempts wait for the gate, and more are not kept")
        try:
            with self._io:
                self._seek(self._descriptor, 0, _END)
                while line:
                    written = self._write_file(self._descriptor, line)
                    self.size += written
                    line = line[written:]
        except OSError as error:
            raise SpoolError(f"attempts cannot be written to {self._name}: {error.strerror}") from None

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; nothing at the end."""
        with self._io:
            self._seek(self._descriptor, offset, _START)
            return self._read_file(self._descriptor, length)

    def replace(self, content: bytes) -> None:
        """Begin anew with `content`, so that a reader finds either the old file or the new one."""
        beside = f"{self._name}.new"
        with suppress(OSError):
            self._unlink_file(beside)
        try:
            descriptor = self._open_file(beside, _NEW_FILE, 0o600)
            other = Disk(self.path, descriptor, self._folder)
            if self._lock_file is not None:
                self._lock_file(descriptor, _LOCK)
            other.append(content)
            self._replace_file(beside, self._name)
        except OSError as error:
            raise SpoolError(f"attempts cannot be written to {self._name}: {error.strerror}") from None
        with self._io:
            self._close_file(self._descriptor)
            self._descriptor, self.size = other._descriptor, other.size

    def cut_torn_line(self) -> None:
        """Drop what was written of a last line, so that the next one begins at its beginning."""
        tail = self.read(max(0, self.size - LONGEST_LINE), LONGEST_LINE)
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        if torn:
            self.size -= torn
            os.ftruncate(self._descriptor, self.size)

    def remove(self) -> None:
        """Delete the file."""
        with suppress(OSError):
            self.path.unlink()
        if self._folder is not None:
            with suppress(OSError):
                self._folder.rmdir()
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            self._close_file(self._descriptor)
            self._descriptor = -1


class Memory:
    """The same, where no folder can be written to."""

    can_replace = True
    left_at = 0.0

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def size(self) -> int:
        """Return the length in bytes."""
        return len(self._data)

    def append(self, line: bytes) -> None:
        """Add at the end; raises `SpoolError` when there is no room."""
        if len(self._data) + len(line) > MAX_MEMORY_BYTES:
            raise SpoolError(
                f"{MAX_MEMORY_BYTES >> 20} MiB of attempts wait for the gate in memory, and more are not kept: "
                "give SYNCGATE_SPOOL_DIR a folder that can be written"
            )
        self._data += line

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; nothing at the end."""
        return bytes(self._data[offset : offset + length])

    def replace(self, content: bytes) -> None:
        """Begin anew."""
        self._data[:] = content

    def cut_torn_line(self) -> None:
        """Do nothing: no session is killed and leaves its memory."""

    def remove(self) -> None:
        """Forget all."""
        self._data.clear()

    close = remove


def open_new(folder: Path | None) -> Disk | Memory:
    """Make a file in `folder`, in a temporary folder if it cannot be written, else in memory."""
    if folder is not None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Disk.new(folder)
        except OSError:
            pass
    try:
        return Disk.new(None)
    except OSError:
        return Memory()
