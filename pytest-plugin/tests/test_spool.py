"""Attempts on disk: bounded, private, and the same batches again for whoever takes them over."""

from __future__ import annotations

import json
import os
import random
import stat
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_syncgate import spoolfile
from pytest_syncgate.spool import Batch, Spool, leftovers
from pytest_syncgate.spoolfile import SpoolError

RUN = {"gate": "https://gate.example.com", "run": "01J0", "url": "https://gate.example.com/syncgate/v1/runs/01J0"}


def attempt(number: int, length: int = 40) -> bytes:
    return json.dumps({"test": f"test_{number}", "message": "x" * length}).encode()


def drain(spool: Spool) -> list[tuple[int, list[bytes]]]:
    """Take all batches out, each acknowledged."""
    batches = []
    while batch := spool.next_batch():
        batches.append((batch.sequence, batch.attempts))
        spool.acknowledge()
    return batches


def taken_over(folder: Path) -> Spool:
    (path,) = leftovers(folder)
    spool = Spool.take_over(path)
    assert spool is not None
    return spool


def test_batches_in_order_within_bounds(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, RUN)
    given = [attempt(number, 20_000 if number % 50 == 0 else 40) for number in range(1_000)]
    for one in given:
        spool.append(one)
    batches = drain(spool)
    assert [sequence for sequence, _ in batches] == list(range(len(batches)))
    assert [one for _, attempts in batches for one in attempts] == given
    assert max(len(attempts) for _, attempts in batches) == 200
    large = [attempt(number, 100_000) for number in range(30)]
    for one in large:
        spool.append(one)
    batches = drain(spool)
    assert [one for _, attempts in batches for one in attempts] == large
    assert max(sum(map(len, attempts)) for _, attempts in batches) <= 1024 * 1024
    assert (spool.attempts, spool.waiting) == (1_030, 0)
    spool.discard()
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "new" / "folder", RUN)
    assert spool.place is not None
    assert stat.S_IMODE(Path(spool.place).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new" / "folder").stat().st_mode) == 0o700
    spool.close()


def test_a_living_session_is_left_alone(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, RUN)
    spool.append(attempt(1))
    (path,) = leftovers(tmp_path)
    assert Spool.take_over(path) is None
    spool.close()
    assert taken_over(tmp_path).run["run"] == "01J0"


class Story:
    """A spool that is killed now and then, and a gate that stores a batch once by its sequence."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.folder, self.dice = folder, dice
        self.spool = Spool.create(folder, RUN)
        self.handed_over: list[bytes] = []
        self.stored: list[bytes] = []
        self.batches = 0
        self.under_way: Batch | None = None

    def append(self) -> None:
        for _ in range(self.dice.choice([1, 3, 150])):
            self.handed_over.append(attempt(len(self.handed_over)))
            self.spool.append(self.handed_over[-1])

    def send(self) -> None:
        self.under_way = self.under_way or self.spool.next_batch()
        if self.under_way is not None and self.dice.random() < 0.6:  # else lost on its way
            self.arrive(self.under_way)

    def arrive(self, batch: Batch) -> None:
        if batch.sequence == self.batches:
            self.stored += batch.attempts
            self.batches += 1
        assert batch.sequence == self.batches - 1

    def acknowledge(self) -> None:
        if self.under_way is not None and self.under_way.sequence < self.batches:
            self.spool.acknowledge()
            self.under_way = None

    def kill(self, torn: bytes = b"") -> None:
        self.spool.close()
        (path,) = leftovers(self.folder)
        with path.open("ab") as file:
            file.write(torn)
        self.spool, self.under_way = taken_over(self.folder), None
        assert self.spool.attempts == len(self.handed_over)

    def kill_while_writing(self) -> None:
        self.kill(b'a{"test": "torn')

    def end(self) -> None:
        self.kill()
        while batch := self.spool.next_batch():
            self.arrive(batch)
            self.spool.acknowledge()
        assert self.stored == self.handed_over
        assert (self.spool.batches, self.spool.attempts) == (self.batches, len(self.handed_over))
        self.spool.discard()


@given(
    st.lists(st.sampled_from(["append", "append", "send", "acknowledge", "kill", "kill_while_writing"]), max_size=60),
    st.randoms(use_true_random=False),
)
def test_killed_at_any_time_nothing_is_lost_or_doubled(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], dice: random.Random
) -> None:
    story = Story(tmp_path_factory.mktemp("spool"), dice)
    for step in steps:
        getattr(story, step)()
    story.end()


def test_how_it_ended_is_kept(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, RUN)
    spool.append(attempt(1))
    spool.finish({"exit_status": 1, "interrupted": False})
    spool.close()
    again = taken_over(tmp_path)
    assert again.finishing == {"exit_status": 1, "interrupted": False}
    assert len(drain(again)) == 1
    again.close()
    last = taken_over(tmp_path)
    assert (last.batches, last.waiting, last.finishing) == (1, 0, again.finishing)
    last.close()


def test_a_long_run_does_not_fill_the_disk(tmp_path: Path) -> None:
    """What was acknowledged makes room, and a session killed after that still knows how much there was."""
    spool = Spool.create(tmp_path, RUN)
    for turn in range(100):
        for number in range(200):
            spool.append(attempt(turn * 200 + number, 1_000))
        drain(spool)
        (path,) = tmp_path.iterdir()
        assert path.stat().st_size < 10 * 1024 * 1024
    spool.append(attempt(20_000))
    spool.close()
    again = taken_over(tmp_path)
    assert (again.attempts, again.batches, again.waiting) == (20_001, spool.batches, 1)
    assert drain(again) == [(spool.batches, [attempt(20_000)])]


def test_what_waits_does_not_cost_memory(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, RUN)
    tracemalloc.start()
    for number in range(50_000):
        spool.append(attempt(number, 500))
    batch = spool.next_batch()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert batch is not None
    assert spool.waiting == 49_800
    assert peak < 3 * 1024 * 1024
    spool.discard()


def test_a_full_spool_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoolfile, "MAX_BYTES", 1024 * 1024)
    spool = Spool.create(tmp_path, RUN)
    while spool.attempts < 900:
        spool.append(attempt(spool.attempts, 1_000))
    with pytest.raises(SpoolError, match="1 MiB of attempts wait for the gate, and more are not kept"):
        spool.append(attempt(900, 1024 * 1024))
    assert sum(len(attempts) for _, attempts in drain(spool)[:2]) == 400
    spool.discard()


def test_a_full_disk_says_so() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    file = spoolfile.Disk(Path("/dev/full"), os.open("/dev/full", os.O_RDWR), None)
    assert file.size == 0
    with pytest.raises(SpoolError, match="attempts cannot be written to /dev/full: No space left"):
        file.append(b"x")
    file.close()


def test_a_file_system_without_locks_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Iterator[OSError | None] = iter([OSError("no locks available"), None])

    def lock(_descriptor: int, _how: int) -> None:
        if error := next(answers):
            raise error

    monkeypatch.setattr(spoolfile, "flock", lock)
    spool = Spool.create(tmp_path, RUN)
    assert (spool.place, spool.in_memory) == (None, False)
    assert list(tmp_path.iterdir()) == []
    spool.discard()


def test_without_a_folder_it_is_a_temporary_one_and_then_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    spool = Spool.create(blocked / "folder", RUN)
    assert (spool.place, spool.in_memory) == (None, False)
    spool.discard()

    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: (_ for _ in ()).throw(PermissionError("read-only")))
    spool = Spool.create(blocked / "folder", RUN)
    assert (spool.place, spool.in_memory) == (None, True)
    given = [attempt(number) for number in range(500)]
    for one in given:
        spool.append(one)
    assert [one for _, attempts in drain(spool) for one in attempts] == given
    monkeypatch.setattr(spoolfile, "MAX_MEMORY_BYTES", 1024)
    with pytest.raises(SpoolError, match=r"wait for the gate in memory.*SYNCGATE_SPOOL_DIR"):
        spool.append(attempt(1, 2_000))
    spool.discard()


HEADER = b'h{"gate":"g","run":"r","url":"u","format":1,"attempts":0,"batches":0}\n'


@pytest.mark.parametrize(
    "content",
    [
        b"not a spool\n",
        b"h[]\n",
        b"h{}\n",
        HEADER.replace(b'"format":1', b'"format":2'),
        HEADER.replace(b'"attempts":0', b'"attempts":"x"'),
        HEADER + b'a{}],"x":[\n',
        HEADER + b"a[]\n",
        HEADER + b"a{}\nb0 2\n",
        HEADER + b"a{}\nb0 -1\n",
        HEADER + b"a{}\nb0\n",
        HEADER + b"a{}\nk0\n",
        HEADER + b"f[]\n",
        HEADER + b"a" + b"x" * 300_000,
        b"\xff\xfe\n",
    ],
)  # fmt: skip
def test_what_is_not_a_spool_is_not_sent(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run-x.spool"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(SpoolError, match=r"cannot be read as attempts: delete it"):
        Spool.take_over(path)
    assert path.exists()


def test_what_others_could_have_written_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool.create(tmp_path, RUN)
    spool.close()
    (path,) = leftovers(tmp_path)
    path.chmod(0o666)
    with pytest.raises(SpoolError, match="is left alone"):
        Spool.take_over(path)
    path.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(SpoolError, match="is left alone"):
        Spool.take_over(path)
    monkeypatch.undo()
    (tmp_path / "link.spool").symlink_to(path)
    assert Spool.take_over(tmp_path / "link.spool") is None
    (tmp_path / "folder.spool").mkdir()
    assert Spool.take_over(tmp_path / "folder.spool") is None
    os.mkfifo(tmp_path / "pipe.spool", 0o600)
    with pytest.raises(SpoolError, match="is left alone"):
        Spool.take_over(tmp_path / "pipe.spool")


def test_killed_before_anything_was_said(tmp_path: Path) -> None:
    path = tmp_path / "run-x.spool"
    path.touch(0o600)
    assert Spool.take_over(path) is None
    assert not path.exists()
    assert Spool.take_over(tmp_path / "none.spool") is None
    assert leftovers(tmp_path / "none") == []
