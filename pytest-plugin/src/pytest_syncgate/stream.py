"""Delivers attempts to the gate from a thread of its own, so that tests never wait for the network.

Batches are numbered from 0, leave in order, and are sent again unchanged until the gate has acknowledged
them; so nothing is lost and nothing stored twice while the gate is away. What cannot be delivered stays
in memory until the session ends, and some seconds more.
"""

from __future__ import annotations

import threading
from collections import deque

from .client import GateClient, GateError, Patience, Run

_FLUSH_SECONDS = 1.0
_BATCH_ATTEMPTS = 200
#: Well below the gate's 4 MiB, and little enough to send again over a slow line.
_BATCH_BYTES = 1024 * 1024


class Stream:
    """The way of one run's attempts to the gate."""

    def __init__(self, client: GateClient, run: Run) -> None:
        """Start the thread; it has the client for itself until `close` returns `True`."""
        self._client = client
        self._run = run
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._patience = Patience(self._pause)
        self._error: GateError | None = None
        self.attempts = 0
        self.batches = 0
        self._thread = threading.Thread(target=self._deliver, name="syncgate", daemon=True)
        self._thread.start()

    def put(self, attempt: bytes) -> None:
        """Hand over one encoded attempt; never waits."""
        with self._changed:
            self._waiting.append(attempt)
            self.attempts += 1
            if len(self._waiting) == _BATCH_ATTEMPTS:
                self._changed.notify()

    def close(self, seconds: float) -> None:
        """Deliver the rest, within that time; raises `GateError` if anything was not delivered."""
        self._patience.bound(seconds)
        self._closing.set()
        with self._changed:
            self._changed.notify()
        # One request that is under way may still run into its own timeout after patience is over.
        self._thread.join(seconds + 60)
        if self._error is not None:
            raise self._error
        if self._thread.is_alive():
            raise GateError("the last attempts could not be delivered in time")

    def _deliver(self) -> None:
        try:
            while batch := self._next_batch():
                self._client.append(self._run, self.batches, batch, self._patience)
                self.batches += 1
        except GateError as error:
            self._error = error
        except Exception as error:
            # Whatever it is, the session must hear of it: a dead thread would look like a session without attempts.
            self._error = GateError(f"reporting broke: {type(error).__name__}: {error}")

    def _next_batch(self) -> list[bytes]:
        """Wait until there is reason to send; nothing means that all is sent and the session over."""
        with self._changed:
            while not self._closing.is_set():
                self._changed.wait_for(self._is_due, _FLUSH_SECONDS)
                if self._waiting:
                    break
            batch: list[bytes] = []
            size = 0
            while self._waiting and len(batch) < _BATCH_ATTEMPTS:
                size += len(self._waiting[0])
                if batch and size > _BATCH_BYTES:
                    break
                batch.append(self._waiting.popleft())
            return batch

    def _is_due(self) -> bool:
        return len(self._waiting) >= _BATCH_ATTEMPTS or self._closing.is_set()

    def _pause(self, seconds: float) -> None:
        """Wait before another try; the end of the session cuts the first such wait short."""
        if self._closing.is_set():
            threading.Event().wait(seconds)
        else:
            self._closing.wait(seconds)
