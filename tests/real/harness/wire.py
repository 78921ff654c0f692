"""One call of Argo CD's API over each of its three wires, said the same way: a method and a message as REST has it.

The transports are bare, so that a test can send what no well-behaved client would: `Http1` and `Http2` put request
lines, paths and headers on the wire as they are given.
"""

from __future__ import annotations

import contextlib
import copy
import http.client
import json
import re
import socket
import ssl
import struct
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .protobuf import Binding, Facts, Method

Headers = list[tuple[str, str]]
# A sync that waits for nothing answers within a second; a plan of many applications takes longer.
_SECONDS = 60
# An answer that has begun and does not go on for so long is a stream; what has come of it is enough.
_SILENCE_SECONDS = 1


class Wire(str, Enum):
    """The ways in which Argo CD can be asked."""

    GRPC = "grpc"
    GRPC_WEB = "grpc-web"
    REST = "rest"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Answer:
    """What came back, in the words of gRPC."""

    wire: Wire
    code: int
    message: str
    decision: str
    """The value of `syncgate-decision`; empty if there is none."""
    body: bytes = b""
    """The message: JSON or protobuf."""

    @property
    def permitted(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        return f"{self.wire}: code {self.code}: {self.message} (decision {self.decision or 'none'})"

    def word(self) -> tuple[int, str]:
        """What must be the same on every wire: the code, and the sentence without its own decision."""
        return self.code, re.sub(r"\. decision [0-9A-Z]{26} - see \S+$", "", self.message)


@dataclass
class Reply:
    """An answer as HTTP has it."""

    status: int
    headers: Headers
    body: bytes = b""
    trailers: Headers = field(default_factory=list)

    def header(self, name: str) -> str:
        """The value of a header or trailer; empty if it is in neither."""
        return next((value for key, value in [*self.headers, *self.trailers] if key.lower() == name), "")


class Http1:
    """HTTP/1.1, one connection for each request."""

    def __init__(self, url: str, ca: Path, seconds: float = _SECONDS) -> None:
        self._host, self._port = _address(url)
        self._tls = _tls(ca, "http/1.1")
        self._seconds = seconds

    def send(self, method: str, target: str, headers: Headers, body: bytes | None = None) -> Reply:
        """Sends a request with exactly this target; `host` and, with a body, `content-length` are added."""
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls, timeout=self._seconds)
        # The target goes out as it is: what is no good in it is for the gate to tell.
        connection._validate_path = lambda _: None  # type: ignore[attr-defined]
        connection._encode_request = lambda line: line.encode("latin-1")  # type: ignore[attr-defined]
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in [("host", f"{self._host}:{self._port}"), *headers]:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            stream = connection.sock
            response = connection.getresponse()
            reply = Reply(response.status, response.getheaders())
            stream.settimeout(_SILENCE_SECONDS)
            with contextlib.suppress(TimeoutError):
                while part := response.read1(65536):
                    reply.body += part
            return reply
        finally:
            connection.close()


class Http2:
    """HTTP/2, one connection for each request."""

    def __init__(self, url: str, ca: Path, seconds: float = _SECONDS) -> None:
        self._host, self._port = _address(url)
        self._tls = _tls(ca, "h2")
        self._seconds = seconds

    @property
    def authority(self) -> str:
        return f"{self._host}:{self._port}"

    def send(self, headers: Headers, body: bytes = b"") -> Reply:
        """Sends a request with exactly these headers, those of HTTP/2 itself among them."""
        config = H2Configuration(
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            # A message of Argo CD may end with a space, which this library would refuse and gRPC's own do not.
            validate_inbound_headers=False,
            header_encoding="utf-8",
        )
        connection = H2Connection(config)
        with (
            socket.create_connection((self._host, self._port), timeout=self._seconds) as plain,
            self._tls.wrap_socket(plain, server_hostname=self._host) as stream,
        ):
            connection.initiate_connection()
            connection.send_headers(1, headers, end_stream=not body)
            if body:
                connection.send_data(1, body, end_stream=True)
            stream.sendall(connection.data_to_send())
            try:
                return _reply(connection, stream)
            except ProtocolError as error:
                raise ConnectionError(f"the answer is not HTTP/2: {error}") from error


def _reply(connection: H2Connection, stream: ssl.SSLSocket) -> Reply:
    reply = Reply(0, [])
    while True:
        try:
            data = stream.recv(65536)
        except TimeoutError:
            if reply.status:
                return reply
            raise
        if not data:
            raise ConnectionError("the connection was closed before the answer was complete")
        ended = False
        for event in connection.receive_data(data):
            ended = _take(reply, event, connection) or ended
        if ended:
            return reply
        if reply.status:
            stream.settimeout(_SILENCE_SECONDS)
        stream.sendall(connection.data_to_send())


def _take(reply: Reply, event: Event, connection: H2Connection) -> bool:
    """Adds what has come to the reply; says whether it was the end."""
    if isinstance(event, ResponseReceived):
        reply.headers = _texts(event.headers)
        reply.status = int(reply.header(":status"))
    elif isinstance(event, DataReceived):
        reply.body += event.data
        connection.acknowledge_received_data(event.flow_controlled_length, 1)
    elif isinstance(event, TrailersReceived):
        reply.trailers = _texts(event.headers)
    elif isinstance(event, (StreamReset, ConnectionTerminated)):
        raise ConnectionError(f"the stream was ended: {event}")
    return isinstance(event, StreamEnded)


def _texts(headers: Sequence[tuple[Any, Any]]) -> Headers:
    return [tuple(part if isinstance(part, str) else part.decode() for part in pair) for pair in headers]  # type: ignore[misc]


@dataclass
class Client:
    """Somebody who speaks all three wires to one server, with whatever token is given."""

    facts: Facts
    url: str
    ca: Path

    def __post_init__(self) -> None:
        self.http1 = Http1(self.url, self.ca)
        self.http2 = Http2(self.url, self.ca)

    def call(self, wire: Wire, name: str, fields: dict[str, Any], token: str) -> Answer:
        """Calls a unary method."""
        method = self.facts.methods[name]
        if wire is Wire.REST:
            return rest_answer(self.http1.send(*self.rest(method, fields, token)))
        frame = framed(self.facts.encode(method.request, fields))
        if wire is Wire.GRPC_WEB:
            headers = [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1"), ("token", token)]
            return grpc_answer(wire, self.http1.send("POST", method.path, headers, frame))
        return grpc_answer(wire, self.http2.send(self.grpc(method.path, token), frame))

    def grpc(self, path: str, token: str, content_type: str = "application/grpc") -> Headers:
        """The headers of a gRPC call."""
        return [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", path),
            (":authority", self.http2.authority),
            ("te", "trailers"),
            ("content-type", content_type),
            ("token", token),
        ]

    def rest(self, method: Method, fields: dict[str, Any], token: str) -> tuple[str, str, Headers, bytes | None]:
        """The parts of a REST call, as `Http1.send` takes them."""
        binding = method.bindings[0]
        target, body = rest_target(binding, fields)
        headers = [("authorization", f"Bearer {token}"), ("content-type", "application/json")]
        return binding.method, target, headers, body


def rest_target(binding: Binding, fields: dict[str, Any]) -> tuple[str, bytes | None]:
    """Path with query, and body, of a message in a REST binding."""
    rest: dict[str, Any] = copy.deepcopy(fields)

    def fill(found: re.Match[str]) -> str:
        *parents, last = found[1].split(".")
        holder = rest
        for key in parents:
            holder = holder[key]
        in_the_body = binding.body == "*" if parents else binding.body == last
        in_the_body = in_the_body or parents[:1] == [binding.body]
        return quote(str(holder[last] if in_the_body else holder.pop(last)), safe="")

    path = re.sub(r"\{([^}=]+)(?:=\*\*)?\}", fill, binding.template)
    if binding.body == "*":
        return path, json.dumps(rest).encode()
    body = json.dumps(rest.pop(binding.body, {})).encode() if binding.body else None
    query = urlencode(list(_flat("", rest)))
    return (f"{path}?{query}" if query else path), body


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(f"{prefix}.{key}" if prefix else key, item)]
    if isinstance(value, list):
        return [pair for item in value for pair in _flat(prefix, item)]
    return [(prefix, json.dumps(value) if isinstance(value, bool) else str(value))]


def framed(message: bytes, flags: int = 0) -> bytes:
    """One message of gRPC or gRPC-Web."""
    return struct.pack(">BI", flags, len(message)) + message


def rest_answer(reply: Reply) -> Answer:
    """What a REST answer says; a status other than 200 without an error in JSON is an error of this test."""
    decision = reply.header("syncgate-decision")
    if reply.status == 200:
        return Answer(Wire.REST, 0, "", decision, reply.body)
    try:
        body = json.loads(reply.body)
        return Answer(Wire.REST, int(body["code"]), str(body["message"]), decision, reply.body)
    except (ValueError, KeyError, TypeError):
        raise AssertionError(f"no answer of Argo CD's REST API: {reply}") from None


def grpc_answer(wire: Wire, reply: Reply) -> Answer:
    """What a gRPC or gRPC-Web answer says."""
    assert reply.status == 200, f"gRPC answers 200 whatever it says: {reply}"
    body, trailers = b"", list(reply.trailers)
    data = reply.body
    while data:
        flags, size = struct.unpack(">BI", data[:5])
        part, data = data[5 : 5 + size], data[5 + size :]
        if flags & 0x80:
            lines = part.decode().split("\r\n")
            trailers += [
                (key.strip().lower(), value.strip()) for key, _, value in (line.partition(":") for line in lines)
            ]
        else:
            body += part
    told = Reply(reply.status, reply.headers, body, trailers)
    assert told.header("grpc-status"), f"no grpc-status: {reply}"
    message = unquote(told.header("grpc-message"))
    return Answer(wire, int(told.header("grpc-status")), message, told.header("syncgate-decision"), body)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname, url
    return parts.hostname, parts.port or 443


def _tls(ca: Path, protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols([protocol])
    return context
