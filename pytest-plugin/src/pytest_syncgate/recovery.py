"""Sends what earlier sessions left in the spool, as far as the gate still takes it.

A session leaves its spool behind when it was killed, or when the gate stayed away at its end. Its run is the one
that it had opened; nothing is reported under a new one. A session that did not come to its end is finished as
interrupted, which is not a pass.
"""

from __future__ import annotations

from pathlib import Path
from time import time

import pytest

from .attempts import timestamp
from .client import GateClient, GateError, GateRefusedError, Json, Patience, Run
from .spool import Spool, leftovers
from .spoolfile import SpoolError
from .stream import send_next

#: Refusals that another identity in the same folder would not meet: a run is its reporter's alone.
_OF_ANOTHER = (401, 403, 404)
_KEPT_SECONDS = 24 * 3600


def finish_body(spool: Spool) -> Json:
    """Return how the run of a spool ended, once all its batches were acknowledged."""
    return {**(spool.finishing or {}), "batches": spool.batches, "attempts": spool.attempts}


def recover(folder: Path, gate: str, client: GateClient, patience: Patience) -> list[str]:
    """Deliver and finish what earlier sessions left for this gate; return a line about each."""
    lines = []
    for path in leftovers(folder):
        try:
            spool = Spool.take_over(path)
        except SpoolError as error:
            lines.append(str(error))
            continue
        if spool is None:
            continue
        if spool.run.get("gate") != gate:
            spool.close()
            continue
        run = Run(str(spool.run.get("run")), str(spool.run.get("url")), {})
        lines.append(f"an earlier session left the run {run.id}: {_deliver(spool, run, client, patience)}")
    return lines


def _deliver(spool: Spool, run: Run, client: GateClient, patience: Patience) -> str:
    try:
        if spool.finishing is None:
            ended = {"exit_status": int(pytest.ExitCode.INTERRUPTED), "finished_at": timestamp(spool.left_at)}
            spool.finish({**ended, "interrupted": True})
        while send_next(client, run, spool, patience):
            pass
        answer = client.finish(run, finish_body(spool), patience)
    except GateRefusedError as refusal:
        if refusal.status in _OF_ANOTHER and time() - spool.left_at < _KEPT_SECONDS:
            spool.close()
            return f"the gate does not take it from this identity: {refusal}"
        spool.discard()
        return f"the gate takes it no more: {refusal}"
    except (GateError, SpoolError) as error:
        spool.close()
        return f"not delivered yet: {error}"
    spool.discard()
    count = f"{spool.attempts} attempt{'s' if spool.attempts != 1 else ''}"
    return f"{count} delivered, verdict {answer.get('verdict')} - {run.url}"
