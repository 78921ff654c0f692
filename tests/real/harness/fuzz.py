"""Requests that no well-behaved client sends: valid ones of every method and wire, and what can be done to them.

All chance comes from the `Random` that is given, so that a seed tells the whole run.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .protobuf import varint
from .wire import Headers, Http1, Http2, Reply, Wire, framed, rest_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from .protobuf import Facts, Method

TOKEN = "$TOKEN"
"""In headers: where the token of the caller goes."""


@dataclass(frozen=True)
class Request:
    """A request as it goes on the wire."""

    http: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str, value: str) -> Request:
        """With one more header."""
        return replace(self, headers=(*self.headers, (name, value)))

    def without(self, name: str) -> Request:
        """Without the headers of that name."""
        return replace(self, headers=tuple(pair for pair in self.headers if pair[0].lower() != name))

    def send(self, http1: Http1, http2: Http2, token: str) -> Reply:
        headers: Headers = [(name, value.replace(TOKEN, token)) for name, value in self.headers]
        if self.http == 1:
            return http1.send(self.method, self.target, headers, self.body or None)
        own: Headers = [
            (":method", self.method),
            (":scheme", "https"),
            (":path", self.target),
            (":authority", http2.authority),
        ]
        return http2.send(own + [(name.lower(), value) for name, value in headers], self.body)

    def to_json(self) -> dict[str, Any]:
        """As it is kept in a file: each byte of the body as one character."""
        headers = [f"{name}: {value}" for name, value in self.headers]
        body = self.body.decode("latin-1")
        return {"http": self.http, "method": self.method, "target": self.target, "headers": headers, "body": body}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Request:
        headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in told["headers"]))
        return cls(told["http"], told["method"], told["target"], headers, told["body"].encode("latin-1"))


def valid(random: Random, facts: Facts, name: str, wire: Wire, fields: dict[str, Any]) -> Request:
    """A call as a well-behaved client makes it."""
    method = facts.methods[name]
    if wire is Wire.REST:
        binding = random.choice(method.bindings)
        target, body = rest_target(binding, fields)
        headers: tuple[tuple[str, str], ...] = (
            ("authorization", f"Bearer {TOKEN}"),
            ("content-type", "application/json"),
        )
        return Request(random.choice((1, 1, 2)), binding.method, target, headers, body or b"")
    body = framed(facts.encode(method.request, fields))
    if wire is Wire.GRPC:
        return Request(
            2, "POST", method.path, (("content-type", "application/grpc"), ("te", "trailers"), ("token", TOKEN)), body
        )
    headers = (("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1"), ("token", TOKEN))
    return Request(random.choice((1, 2)), "POST", method.path, headers, body)


def fields_of(random: Random, facts: Facts, method: Method, text: str) -> dict[str, Any]:
    """A message in which some fields say `text`, or yes, or one; what a path or the message itself needs is there."""
    needed = {
        key.split(".")[0].split("=")[0]
        for binding in method.bindings
        for key in re.findall(r"\{([^}]+)\}", binding.template)
    }
    return _message(random, facts, method.request, text, needed, 3)


def _message(random: Random, facts: Facts, name: str, text: str, needed: set[str], depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for field in facts.fields(name):
        key, kind, scalar = field["json"], field["kind"], field["type"]
        wanted = key in needed or field["label"] == "required"
        if key in {"", "-"} or not (wanted or random.random() < 0.4):
            continue
        item: Any = None
        if kind == "scalar" and scalar != "bytes":
            item = text if scalar == "string" else random.random() < 0.5 if scalar == "bool" else 1
        elif kind == "message" and depth and facts.plain(scalar):
            item = _message(
                random,
                facts,
                scalar,
                text,
                {"name", "url", "repo", "repoURL", "server", "value", "metadata"},
                depth - 1,
            )
        if item is not None:
            value[key] = [item] if field["label"] == "repeated" else item
    return value


def mutate(random: Random, request: Request, other: str) -> Request:
    """The request with one to three things done to it. `other` is the name of something else than it is about."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        request = random.choice(_MUTATIONS)(random, request, other)
    return request


# --- the path


def _percent(random: Random, request: Request, _: str) -> Request:
    """One byte of the target, percent-encoded once or twice, in either letter case."""
    place = random.randrange(1, len(request.target)) if len(request.target) > 1 else 0
    code = format(ord(request.target[place]) & 0xFF, random.choice(("02x", "02X")))
    encoded = random.choice(("%", "%", "%25")) + code
    return replace(request, target=request.target[:place] + encoded + request.target[place + 1 :])


_BITS = (
    "/", "//", "/./", "/../", "/x/../", "..;/", ";x=y", ";", "%2F", "%2f", "%5C", "\\", "%00", "%2e%2e%2f", "%23",
    "#", "?", "%3F", "%0d%0a", "%20", "+", "%C0%AF", "%ef%bc%8f", "\u00e9", "*", "%", "%zz", ":", "@", "/sync",
    "%2Fsync", "/operation", "/resource", "/spec", "/rollback",
)  # fmt: skip


def _insert(random: Random, request: Request, _: str) -> Request:
    """Something that some servers read over, and others do not."""
    path, mark, query = request.target.partition("?")
    places = [
        0,
        len(path),
        *(i for i, c in enumerate(path) if c == "/"),
        *(i + 1 for i, c in enumerate(path) if c == "/"),
    ]
    place = random.choice(places)
    return replace(request, target=path[:place] + random.choice(_BITS) + path[place:] + mark + query)


def _case(random: Random, request: Request, _: str) -> Request:
    """A part of the path in other letters."""
    parts = request.target.split("/")
    place = random.randrange(len(parts))
    parts[place] = random.choice((str.upper, str.title, str.swapcase))(parts[place])
    return replace(request, target="/".join(parts))


def _absolute(random: Random, request: Request, _: str) -> Request:
    """The form of a target that proxies take, or none at all."""
    start = random.choice(("https://localhost", "http://argocd", "//x", "*", "localhost:443", ""))
    cut = random.choice((0, 0, 1))
    return replace(request, target=start + request.target[cut:])


def _query(random: Random, request: Request, other: str) -> Request:
    """One more parameter, which may say something else than the path or the body."""
    names: tuple[str, ...] = (
        "name",
        "Name",
        "NAME",
        "n%61me",
        "appNamespace",
        "AppNamespace",
        "appName",
        "applicationName",
        "project",
        "dryRun",
    )
    names += (
        "dry_run",
        "cascade",
        "upsert",
        "revision",
        "refresh",
        "validate",
        "fields",
        "resourceName",
        "kind",
        "group",
        "unknown",
    )
    values = (other, "true", "false", "1", "", "argocd", "kube-system", "hard", "items.spec", f"{other}&{other}")
    sign = "&" if "?" in request.target else "?"
    sign = random.choice((sign, sign, sign, ";", "?", "&&"))
    return replace(request, target=f"{request.target}{sign}{random.choice(names)}={random.choice(values)}")


def _twice(random: Random, request: Request, _: str) -> Request:
    """A parameter that is there twice."""
    path, _mark, query = request.target.partition("?")
    if not query:
        return request
    again = random.choice(query.split("&"))
    return replace(request, target=f"{path}?{query}&{again}")


# --- method and headers

_TYPES = (
    "application/json; charset=utf-8", "application/json;charset=UTF-16", "APPLICATION/JSON", "text/plain",
    "text/json", "", "application/x-www-form-urlencoded", "multipart/form-data", "application/grpc",
    "application/grpc+proto", "Application/Grpc", "application/grpc+json", "application/grpc; charset=utf-8",
    "application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text", "application/grpc-web+json",
    "application/grpc-webfoo", "application/grpcfoo", "application/proto", "application/json, application/grpc",
    " application/grpc", "application/merge-patch+json", "application/strategic-merge-patch+json",
)  # fmt: skip


def _content_type(random: Random, request: Request, _: str) -> Request:
    """Another content type, none, or two."""
    how = random.randrange(4)
    if how:
        request = request.without("content-type")
    return request if how == 1 else request.header("content-type", random.choice(_TYPES).strip())


def _verb(random: Random, request: Request, _: str) -> Request:
    """Another method of HTTP."""
    verbs = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "post", "SYNC")
    return replace(request, method=random.choice(verbs))


_HEADERS = (
    ("x-http-method-override", "DELETE"), ("x-http-method-override", "GET"), ("x-http-method-override", "POST"),
    ("x-method-override", "PUT"), ("x-http-method", "PATCH"), ("grpc-metadata-token", "x"),
    ("grpc-metadata-authorization", "Bearer x"), ("grpc-encoding", "gzip"), ("grpc-encoding", "identity"),
    ("content-encoding", "gzip"), ("grpc-timeout", "1n"), ("grpc-timeout", "10S"), ("x-forwarded-host", "evil"),
    ("x-forwarded-prefix", "/api"), ("x-original-url", "/api/v1/applications"), ("x-rewrite-url", "/api/version"),
    ("x-grpc-web", "1"), ("te", "trailers"), ("accept", "text/event-stream"), ("accept", "application/grpc-web-text"),
    ("cookie", "argocd.token=x"), ("range", "bytes=0-1"), ("grpc-accept-encoding", "gzip"), ("expect", "x"),
)  # fmt: skip


def _header(random: Random, request: Request, _: str) -> Request:
    """A header that has a meaning somewhere."""
    return request.header(*random.choice(_HEADERS))


def _transport(_random: Random, request: Request, _: str) -> Request:
    """The same over the other version of HTTP."""
    return replace(request, http=3 - request.http)


# --- the body


def _json(random: Random, request: Request, other: str) -> Request:
    """A key twice, in other letters, escaped, or unknown; something before or behind the object."""
    text = request.body.decode("utf-8", errors="replace")
    keys = list(re.finditer(r'"([A-Za-z]+)": ?', text))
    how = random.randrange(8)
    if keys and how < 5:
        found = random.choice(keys)
        key = found[1]
        same = random.choice(
            (key, key.upper(), key.title(), key.replace("s", "\u017f"), f"\\u{ord(key[0]):04x}{key[1:]}")
        )
        value = json.dumps(random.choice((other, True, False, 1, None, [], {}, [other])))
        new = f'"{same}": '
        if how < 3:
            place = random.choice((found.start(), text.rfind("}")))
            piece = f"{new}{value}, " if place == found.start() else f", {new}{value}"
            text = text[:place] + piece + text[place:]
        else:
            text = text[: found.start()] + new + text[found.end() :]
    elif how == 5 and "{" in text:
        key = random.choice(
            (
                "name",
                "Name",
                "appNamespace",
                "dryRun",
                "revision",
                "manifests",
                "resources",
                "operation",
                "status",
                "zzz",
            )
        )
        rest = text[text.index("{") + 1 :]
        text = (
            "{"
            + f'"{key}": {json.dumps(random.choice((other, True, [other])))}'
            + ("," if rest.strip() != "}" else "")
            + rest
        )
    elif how == 6:
        text = random.choice(("\ufeff", " ", "null", "[]", "//\n")) + text
    else:
        text += random.choice(("{}", "null", ",", " ", f'{{"name": "{other}"}}', "\x00", "}"))
    return replace(request, body=text.encode())


def _protobuf(random: Random, request: Request, other: str) -> Request:
    """A field again, one that is unknown, a number written long, a frame that lies."""
    head, message = request.body[:5], request.body[5:]
    name = other.encode()
    how = random.randrange(9)
    if how == 0:
        number = random.randrange(1, 16)
        message += bytes([number << 3 | 2, len(name)]) + name
    elif how == 1:
        message = b"\x0a" + bytes([len(name)]) + name + message
    elif how == 2:
        number = random.choice((99, 1000, 18999)) << 3
        message += random.choice((varint(number) + b"\x01", varint(number | 2) + b"\x01x"))
    elif how == 3 and message:
        message = bytes([message[0] | 0x80, 0]) + message[1:]
    elif how == 4 and message:
        place = random.randrange(len(message))
        message = message[:place] + bytes([random.randrange(256)]) + message[place + 1 :]
    elif how == 5:
        message = message[: random.randrange(len(message) + 1)]
    elif how == 6:
        return replace(request, body=request.body + framed(message))
    elif how == 7:
        return replace(request, body=framed(message, random.choice((1, 2, 0x80, 0xFF))))
    else:
        return replace(request, body=head[:4] + bytes([random.randrange(256)]) + message)
    return replace(request, body=framed(message))


def _body(random: Random, request: Request, other: str) -> Request:
    """What fits the body; one that is text for gRPC-Web may be written so."""
    content_type = dict(request.headers).get("content-type", "")
    if content_type == "application/grpc-web+proto" and random.random() < 0.2:
        text = replace(request.without("content-type"), body=base64.b64encode(request.body))
        return text.header("content-type", "application/grpc-web-text")
    return (_protobuf if "grpc" in content_type else _json)(random, request, other)


_MUTATIONS: list[Callable[[Random, Request, str], Request]] = [
    _percent, _insert, _insert, _case, _absolute, _query, _query, _twice, _content_type, _verb, _header, _transport,
    _body, _body, _body, _body,
]  # fmt: skip
