"""What the gate is asked: the preflight, and a run from opening to finish; with patience for a gate that is away.

Every request may be repeated safely: a run has an idempotency key, a batch its sequence number, and finishing
twice is finishing once. So whatever leaves the fate of a request unknown is answered by sending it again.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import quote

from . import __version__
from .credentials import Credential, CredentialError
from .transport import Answer, CertificateError, Transport, TransportError

Json = dict[str, Any]

_FIRST_DELAY, _LONGEST_DELAY = 0.2, 5.0
_LONGEST_RETRY_AFTER = 30.0
#: A token of a kind that is sent to the gate, perhaps by an xdist worker; its parts are base64url (RFC 7515).
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")
_PASSING_STATUS = (408, 425, 429)
_CONFLICT = 409


class GateError(Exception):
    """The gate did not do what was asked; the message says why, in words for people."""


class GateAwayError(GateError):
    """No useful answer came for as long as it was asked for."""


class GateRefusedError(GateError):
    """The gate said no, and asking again would not change that, or has not for as long as it was asked."""

    def __init__(self, status: int, problem: Json, *, passes: bool = False) -> None:
        """Keep the facts of an RFC 9457 problem document (empty if the answer was not one).

        `passes`: the gate says that it might say yes a little later.
        """
        self.status = status
        self.passes = passes
        self.code = _string(problem, "code")
        self.next = problem.get("next")
        detail = _string(problem, "detail") or _string(problem, "title") or "no reason given"
        decision = _string(problem, "decision")
        # The gate's sentences name their decision themselves, with the way to it.
        note = f" (decision {decision})" if decision and decision not in detail else ""
        super().__init__(f"{status}{f' {self.code}' if self.code else ''}: {detail}{note}")


class Patience:
    """How long to go on trying: without end, until `bound` sets one (from any thread)."""

    def __init__(self, wait: Callable[[float], object], seconds: float | None = None) -> None:
        """Take the function that waits (it may return early), and the bound if there is one already."""
        self._wait = wait
        self._until: float | None = None
        if seconds is not None:
            self.bound(seconds)

    def bound(self, seconds: float) -> None:
        """Give up `seconds` from now."""
        self._until = monotonic() + seconds

    def wait(self, seconds: float) -> bool:
        """Wait before the next try; `False` at once if patience would be over by then."""
        until = self._until
        if until is not None and monotonic() + seconds > until:
            return False
        self._wait(seconds)
        return True


@dataclass(frozen=True)
class Run:
    """An open run: its id, and the gate's page about it."""

    id: str
    url: str
    answer: Json


class GateClient:
    """Speaks to one gate as one caller. Not for use by two threads at a time."""

    def __init__(self, url: str, transport: Transport, credential: Credential) -> None:
        self._url = url
        self._transport = transport
        self._credential = credential
        self._sent_tokens: set[str] = set()
        #: Whether anything answered, and whether that was a gate.
        self._met = self._proved = False

    def preflight(self, body: Callable[[], Json], patience: Patience) -> Json | None:
        """Ask if all is well, with a body made anew for each try; `None` from a gate that has no preflight yet."""
        try:
            return self._post("/syncgate/v1/preflight", lambda: _encode(body()), patience)
        except GateRefusedError as refusal:
            if refusal.status in (404, 405):
                return None  # also what is no gate; opening the run will tell
            raise

    def open_run(self, body: Json, key: str, patience: Patience) -> Run:
        """Open a run; the same key gives the same run again."""
        answer = self._post("/syncgate/v1/runs", _encode(body), patience, {"Idempotency-Key": key})
        run = answer.get("run")
        if not isinstance(run, str) or not run:
            raise GateAwayError(f"{self._url} does not answer like a gate: is the URL right?")
        return Run(run, _string(answer, "url") or f"{self._url}/syncgate/v1/runs/{quote(run, safe='')}", answer)

    def append(self, run: Run, sequence: int, attempts: list[bytes], patience: Patience) -> None:
        """Append a batch of encoded attempts; a batch that the gate has already counts as appended."""
        body = b'{"sequence":%d,"attempts":[%b]}' % (sequence, b",".join(attempts))
        try:
            self._post(f"/syncgate/v1/runs/{quote(run.id, safe='')}/attempts", body, patience)
        except GateRefusedError as refusal:
            if refusal.status != _CONFLICT or refusal.next != sequence + 1:
                raise

    def finish(self, run: Run, body: Json, patience: Patience) -> Json:
        """Finish a run and return the gate's verdict with its reasons."""
        return self._post(f"/syncgate/v1/runs/{quote(run.id, safe='')}/finish", _encode(body), patience)

    def redact(self, text: str) -> str:
        """Take tokens out of a text, for example a failed assertion on headers: those sent so far, and every JWT."""
        for token in tuple(self._sent_tokens):
            text = text.replace(token, "[token]")
        return _JWT.sub("[token]", text) if "eyJ" in text else text

    def close(self) -> None:
        """Drop the connection."""
        self._transport.close()

    def _post(
        self, path: str, body: bytes | Callable[[], bytes], patience: Patience, headers: dict[str, str] | None = None
    ) -> Json:
        """Send until there is an answer that settles it, or patience is over."""
        delay = _FIRST_DELAY
        while True:
            pause, refusal = 0.0, None
            try:
                token = self._credential.token()
                self._sent_tokens.add(token)
                content = body() if callable(body) else body
                answer = self._transport.post(path, content, self._headers(token, headers))
                self._met = True
                if answer.status == 401 and self._credential.token() != token:
                    continue  # replaced between our reading it and the gate's judging it
                waits = answer.status == _CONFLICT and "retry-after" in answer.headers
                passes = waits or answer.status >= 500 or answer.status in _PASSING_STATUS
                if not passes and not self._is_foreign(answer):
                    value = self._settle(answer)
                    self._proved = True
                    return value
                refusal = GateRefusedError(answer.status, _problem(answer), passes=waits)
                trouble = f"it answers {refusal}"
                pause = _retry_after(answer)
            except (TransportError, CredentialError) as error:
                trouble = str(error)
                if isinstance(error, CertificateError) and not self._met:
                    raise self._away(trouble) from None  # a mistake in the settings, and not one that passes
            if not patience.wait(max(delay * random.uniform(0.5, 1.0), pause)):  # noqa: S311 (jitter)
                if refusal is not None and refusal.passes:
                    raise refusal
                raise self._away(trouble)
            delay = min(delay * 2, _LONGEST_DELAY)

    def _is_foreign(self, answer: Answer) -> bool:
        """Whether something else answers in the place of a gate that was there: a page of a load balancer."""
        return self._proved and (300 <= answer.status < 400 or not _problem(answer))

    def _away(self, trouble: str) -> GateAwayError:
        return GateAwayError(f"the gate {self._url} cannot be used: {trouble}")

    @staticmethod
    def _headers(token: str, more: dict[str, str] | None) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json, application/problem+json",
            "User-Agent": f"pytest-syncgate/{__version__}",
            **(more or {}),
        }

    def _settle(self, answer: Answer) -> Json:
        if 300 <= answer.status < 400:
            where = answer.headers.get("location", "somewhere else")
            raise GateAwayError(f"{self._url} redirects to {where}: configure the gate's own URL")
        if answer.status >= 400:
            raise GateRefusedError(answer.status, _problem(answer))
        try:
            value = json.loads(answer.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise GateAwayError(f"{self._url} does not answer like a gate: is the URL right?")
        return value


def _encode(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _problem(answer: Answer) -> Json:
    try:
        value = json.loads(answer.body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _string(value: Json, key: str) -> str | None:
    text = value.get(key)
    return text if isinstance(text, str) and text else None


def _retry_after(answer: Answer) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), _LONGEST_RETRY_AFTER) if text.isascii() and text.isdecimal() else 0.0
