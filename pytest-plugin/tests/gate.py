"""A small real HTTP server that plays the gate by its contract, and can be told to misbehave or to be away."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
TOKEN = "header.claims-of-the-job.signature"
CUT_BEFORE = "cut before it is stored"
CUT_AFTER = "cut after it is stored"
Fault = str | tuple[int, Json] | None


class Gate:
    """One gate with the runs it was told of; `fault` may name what goes wrong with a request."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tokens = {TOKEN}
        self.seen_tokens: list[str] = []
        self.runs: dict[str, Json] = {}
        self.keys: dict[str, str] = {}
        self.requests: list[tuple[str, Json]] = []
        self.protocol_errors: list[str] = []
        #: Given the kind of request (`runs`, `attempts`, `finish`) and how many of it came before.
        self.fault: Callable[[str, int], Fault] = lambda _kind, _before: None
        #: What preflights asked, and what goes wrong with them: `(404, {})` is a gate without any.
        self.preflights: list[Json] = []
        self.preflight_fault: Fault = None
        self.preflight_faults: list[Fault] = []
        self.checks: list[Json] = [
            {"check": name, "about": None, "ok": True, "detail": "fine", "mend": None}
            for name in ("credential", "lifetime", "clock", "report")
        ]
        #: What answers at `/syncgate/v1/token`, given path and body.
        self.token_endpoint: Callable[[str, str], tuple[int, Json]] | None = None
        #: Requests to endpoints: method, path, headers.
        self.door: list[tuple[str, str, dict[str, str]]] = []
        self.verdict: Json = {"verdict": "passed", "reasons": [], "counts": "when-operation-succeeds"}
        self._lock = threading.Lock()
        self._tls = tls
        self.connections: set[socket.socket] = set()
        self._port = 0
        self.start()

    def start(self) -> None:
        """Listen, after a `stop` at the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _Handler)
        self._port = self._server.server_address[1]
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up
        if self._tls is not None:
            # The handshake is left to the thread of the connection.
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.gate = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        where = "http://127.0.0.1" if self._tls is None else "https://localhost"
        return f"{where}:{self._port}"

    def stop(self) -> None:
        """Be away, with every connection cut."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection, whatever is under way on it."""
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def run(self) -> Json:
        """The only run there is."""
        (run,) = self.runs.values()
        return run

    @property
    def options(self) -> list[str]:
        """Options of the only run, without the plugins that are installed here."""
        return [option for option in self.run["opening"]["options"] if not option.startswith("plugin ")]

    @property
    def outcomes(self) -> dict[str, list[str]]:
        """Outcomes by test name, in the order of their attempts, which must be numbered 1..n."""
        by_test: dict[str, list[Json]] = {}
        for attempt in self.run["attempts"]:
            by_test.setdefault(attempt["test"].split("::", 1)[-1], []).append(attempt)
        for attempts in by_test.values():
            assert [one["attempt"] for one in attempts] == list(range(1, len(attempts) + 1)), attempts
        return {name: [one["outcome"] for one in attempts] for name, attempts in by_test.items()}

    def message(self, test: str) -> str:
        """Message of the only attempt of a test."""
        (message,) = [one["message"] for one in self.run["attempts"] if one["test"].endswith("::" + test)]
        return cast(str, message)

    def answer(self, kind: str, run_id: str, key: str | None, body: Json) -> tuple[int, Json]:
        if kind == "runs":
            return self._open(key, body)
        run = self.runs.get(run_id)
        if run is None:
            return 404, {"code": "no-such-run"}
        return self._append(run_id, run, body) if kind == "attempts" else self._finish(run_id, run, body)

    def _open(self, key: str | None, body: Json) -> tuple[int, Json]:
        run_id = self.keys.get(key or "", f"01J{len(self.runs)}")
        if key:
            self.keys[key] = run_id
        self.runs.setdefault(run_id, {"opening": body, "attempts": [], "next": 0, "finish": None})
        commits = body["commits"] or ["3f2c1a9be07d44c1ab1c1b4a8ac7d9e24f0d5c66"]  # what is deployed
        url = f"{self.url}/syncgate/v1/runs/{run_id}"
        return 201, {"run": run_id, "commits": commits, "url": url, "decision": "01JD"}

    def _append(self, run_id: str, run: Json, body: Json) -> tuple[int, Json]:
        if run["finish"] is not None:
            self.protocol_errors.append("attempts after the run was finished")
        if not 0 < len(body["attempts"]) <= 1000:
            self.protocol_errors.append(f"a batch of {len(body['attempts'])}")
        if body["sequence"] == run["next"]:
            run["attempts"] += body["attempts"]
            run["next"] += 1
        elif body["sequence"] > run["next"]:
            self.protocol_errors.append("a gap in the sequence of batches")
            return 409, {"code": "gap", "next": run["next"]}
        return 200, {"run": run_id, "next": run["next"]}

    def _finish(self, run_id: str, run: Json, body: Json) -> tuple[int, Json]:
        if (body["batches"], body["attempts"]) != (run["next"], len(run["attempts"])):
            self.protocol_errors.append(f"finished with {body} but {run['next']} batches are here")
        run["finish"] = body
        return 200, {"run": run_id, "url": f"{self.url}/syncgate/v1/runs/{run_id}", **self.verdict}

    def _answer_preflight(self, token: str, body: Json) -> tuple[int, Json]:
        self.preflights.append(body)
        if token not in self.tokens:
            return _EXPIRED
        known = {"application", "application_namespace", "environment", "suite", "expected_seconds", "endpoints", "now"}
        if set(body) != known:
            self.protocol_errors.append(f"a preflight with the fields {sorted(body)}")
        return 200, {
            "ok": all(check["ok"] for check in self.checks),
            "gate": self.url,
            "version": "0.1.0",
            "now": body["now"],
            "caller": "system:serviceaccount:shop:tests",
            "expires_at": "2026-11-23T13:00:00Z",
            "expected_seconds": 900,
            "checks": self.checks,
            "decision": "01JP",
        }

    def serve_endpoint(self, handler: _Handler) -> None:
        """Answer for an endpoint under test: who called, or a redirect that was asked for."""
        handler.rfile.read(int(handler.headers["Content-Length"] or 0))
        self.door.append((handler.command, handler.path, dict(handler.headers)))
        query = parse_qs(urlsplit(handler.path).query)
        if "cut" in query:
            handler.close_connection = True
            return
        signed = handler.headers["Authorization"] in {f"Bearer {token}" for token in self.tokens}
        content = json.dumps({"signed": signed, "path": handler.path}).encode()
        handler.send_response(302 if "to" in query else 200 if signed else 401)
        if "to" in query:
            handler.send_header("Location", query["to"][0])
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def serve(self, handler: _Handler) -> None:
        parts = handler.path.split("/")
        kind = "runs" if len(parts) == 4 else parts[-1]
        if parts[3:] == ["preflight"]:
            kind = "preflight"
        size = int(handler.headers["Content-Length"])
        if size > 4 * 1024 * 1024:
            self.protocol_errors.append(f"a body of {size} bytes")
        body = json.loads(handler.rfile.read(size).decode("utf-8", "strict"))
        token = handler.headers["Authorization"].removeprefix("Bearer ")
        with self._lock:
            self.seen_tokens.append(token)
            if kind == "preflight":
                fault = self.preflight_faults.pop(0) if self.preflight_faults else self.preflight_fault
            else:
                before = sum(1 for other, _ in self.requests if other == kind)
                self.requests.append((kind, body))
                fault = self.fault(kind, before)
            if fault is None or fault == CUT_AFTER:
                if kind == "preflight":
                    status, answer = self._answer_preflight(token, body)
                elif token not in self.tokens:
                    status, answer = _EXPIRED
                else:
                    status, answer = self.answer(kind, parts[4] if len(parts) > 4 else "", _key(handler), body)
            elif isinstance(fault, tuple):
                status, answer = fault
        if isinstance(fault, str):
            handler.close_connection = True
            return
        content = json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json" if status < 300 else "application/problem+json")
        handler.send_header("Content-Length", str(len(content)))
        if answer.get("code") == "not-rolled-out":
            handler.send_header("Retry-After", "1")
        handler.end_headers()
        handler.wfile.write(content)


_EXPIRED = (401, {"title": "Unauthorized", "detail": "the token has expired", "code": "expired"})


def _key(handler: _Handler) -> str | None:
    return handler.headers["Idempotency-Key"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def gate(self) -> Gate:
        return cast(Gate, self.server.gate)  # type: ignore[attr-defined]

    def setup(self) -> None:
        self.gate.connections.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.gate.connections.discard(self.request)
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        self.gate.serve_endpoint(self)

    def do_POST(self) -> None:
        if self.path.startswith("/syncgate/v1/token") and self.gate.token_endpoint is not None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            if self.headers["Authorization"] is not None:
                self.gate.protocol_errors.append("a credential for the token endpoint in a header")
            status, told = self.gate.token_endpoint(self.path, body)
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        elif self.path.startswith("/syncgate/"):
            self.gate.serve(self)
        else:
            self.gate.serve_endpoint(self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name in the base class)
        """Stay quiet: what counts is asserted."""
