"""Delivers attempts to the gate from a thread of its own, so that tests never wait for the network.

Batches are numbered from 0, leave in order, and are sent again unchanged until the gate has acknowledged
them; so nothing is lost and nothing stored twice while the gate is away. What waits is in the spool, and what
cannot be delivered stays there for a later session.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from .client import GateClient, GateError, Json, Patience, Run
from .spool import Spool
from .spoolfile import SpoolError

_FLUSH_SECONDS = 1.0
_DUE_ATTEMPTS = 200


class Stream:
    """The way of one run's attempts to the gate."""

    def __init__(self, client: GateClient, run: Run, spool: Spool) -> None:
        """Start the thread; it has the client for itself until `close` returns."""
        self._client = client
        self._run = run
        self._spool = spool
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._patience = Patience(self._pause)
        self._error: GateError | None = None
        #: Whether an attempt could not be kept, so that the run will never be complete.
        self.lost_some = False
        self._thread = threading.Thread(target=self._deliver, name="syncgate", daemon=True)
        self._thread.start()

    def put(self, attempt: bytes) -> None:
        """Hand over one encoded attempt; never waits for the network."""
        self._keep(lambda: self._spool.append(attempt))
        if self._spool.waiting == _DUE_ATTEMPTS:
            with self._changed:
                self._changed.notify()

    def end(self, body: Json) -> None:
        """Keep how the run ended, so that a later session could tell it."""
        self._keep(lambda: self._spool.finish(body))

    def _keep(self, write: Callable[[], None]) -> None:
        if self.lost_some:
            return
        try:
            write()
        except SpoolError as error:
            self.lost_some = True
            self._error = self._error or GateError(str(error))

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
            while self._is_wanted():
                send_next(self._client, self._run, self._spool, self._patience)
        except GateError as error:
            self._error = self._error or error
        except Exception as error:
            # Whatever it is, the session must hear of it: a dead thread would look like a session without attempts.
            self._error = self._error or GateError(f"reporting broke: {type(error).__name__}: {error}")

    def _is_wanted(self) -> bool:
        """Wait until there is reason to send; `False` when all is sent and the session over."""
        with self._changed:
            while not self._closing.is_set():
                self._changed.wait_for(self._is_due, _FLUSH_SECONDS)
                if self._spool.waiting:
                    return True
        return self._spool.waiting > 0 and self._error is None

    def _is_due(self) -> bool:
        return self._spool.waiting >= _DUE_ATTEMPTS or self._closing.is_set()

    def _pause(self, seconds: float) -> None:
        """Wait before another try; the end of the session cuts the first such wait short."""
        if self._closing.is_set():
            threading.Event().wait(seconds)
        else:
            self._closing.wait(seconds)


def send_next(client: GateClient, run: Run, spool: Spool, patience: Patience) -> bool:
    """Send one batch from the spool, if any waits; raises `GateError` if the gate did not take it."""
    try:
        batch = spool.next_batch()
        if batch is None:
            return False
        client.append(run, batch.sequence, batch.attempts, patience)
        spool.acknowledge()
    except SpoolError as error:
        raise GateError(str(error)) from None
    return True
