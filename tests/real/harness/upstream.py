"""A service under test, as a program of its own: HTTPS, a websocket and gRPC on loopback, each on a port of its own.

It knows nothing of the gate but where its keys are: who calls is what the verified assertion says. Each request is a
line in the file of what was heard, with the credential that it came with. It is started by `TestDoor`, with an `Order`.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import jwt
from websockets.sync.server import ServerConnection, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]
IDENTITY = "syncgate-identity"


@dataclass(frozen=True)
class Order:
    """What the service is told when it starts."""

    certificate: str
    key: str
    gate: str
    """The gate's URL, which is the issuer of assertions."""
    ca: str
    """What the gate's certificate is checked with."""
    heard: str
    ports: tuple[int, int, int]
    """Of HTTPS, of the websocket, of gRPC."""

    def text(self) -> str:
        return json.dumps(asdict(self))


class Service:
    """What all three have in common."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._lock = threading.Lock()
        trust = ssl.create_default_context(cafile=order.ca)
        self._keys = jwt.PyJWKClient(f"{order.gate}/syncgate/jwks.json", ssl_context=trust, lifespan=300)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(order.certificate, order.key)

    def who(self, token: str | None, port: int) -> Json:
        """The claims of the assertion, verified as the README says; or why it does not hold."""
        try:
            claims: Json = jwt.decode(
                token or "",
                self._keys.get_signing_key_from_jwt(token or "").key,
                algorithms=["ES256", "EdDSA"],
                issuer=self.order.gate,
                audience=f"https://127.0.0.1:{port}",
                options={"require": ["iss", "aud", "sub", "iat", "exp", "jti"]},
            )
        except jwt.PyJWTError as error:
            return {"refused": f"{type(error).__name__}: {error}"}
        return claims

    def heard(self, how: str, what: str, headers: list[tuple[str, str]], who: Json) -> None:
        """Writes down a request."""
        line = json.dumps({"how": how, "what": what, "headers": headers, "who": who})
        with self._lock, Path(self.order.heard).open("a") as file:
            file.write(line + "\n")


def https(service: Service, port: int) -> None:
    """Answers each request with who called; in its headers it gives away the credential and sets a cookie."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            who = service.who(self.headers.get(IDENTITY), port)
            service.heard("https", f"{self.command} {self.path}", list(self.headers.items()), who)
            answer = json.dumps({"method": self.command, "path": self.path, "who": who, "body": body.decode()}).encode()
            self.send_response(401 if "refused" in who else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.send_header("set-cookie", "session=of-the-service")
            self.send_header("x-api-key", self.headers.get("x-api-key", ""))
            self.send_header("x-debug", f"called with {self.headers.get('x-api-key')}")
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 (the names of http.server)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """What was heard is in the file."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.socket = service.tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


def websocket(service: Service, port: int) -> None:
    """Says who has connected, and then what it hears, in capitals."""

    def talk(line: ServerConnection) -> None:
        request = line.request
        assert request is not None
        who = service.who(request.headers.get(IDENTITY), port)
        service.heard("websocket", request.path, list(request.headers.raw_items()), who)
        line.send(json.dumps(who))
        for message in line:
            line.send(message.upper())

    with serve(talk, "127.0.0.1", port, ssl=service.tls) as server:
        server.serve_forever()


class Carts(grpc.GenericRpcHandler):  # type: ignore[misc] # grpcio has no types
    """`/shop.Carts/Get` says who calls, `Watch` says it thrice, and `Drop` fails; messages are JSON."""

    def __init__(self, service: Service, port: int) -> None:
        self._service = service
        self._port = port

    def service(self, details: Any) -> Any:
        calls: dict[str, Any] = {
            "/shop.Carts/Get": grpc.unary_unary_rpc_method_handler(self._get),
            "/shop.Carts/Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            "/shop.Carts/Drop": grpc.unary_unary_rpc_method_handler(self._drop),
        }
        return calls.get(details.method)

    def _heard(self, what: str, context: Any) -> Json:
        headers = [(name, str(value)) for name, value in context.invocation_metadata()]
        who = self._service.who(dict(headers).get(IDENTITY), self._port)
        self._service.heard("grpc", what, headers, who)
        return who

    def _get(self, message: bytes, context: Any) -> bytes:
        return json.dumps({"who": self._heard("Get", context), "asked": json.loads(message)}).encode()

    def _watch(self, _message: bytes, context: Any) -> Iterator[bytes]:
        who = self._heard("Watch", context)
        for number in range(3):
            yield json.dumps({"who": who, "number": number}).encode()

    def _drop(self, _message: bytes, context: Any) -> bytes:
        self._heard("Drop", context)
        context.abort(grpc.StatusCode.NOT_FOUND, "no such cart")
        raise AssertionError


def rpc(service: Service, port: int) -> None:
    """Serves `Carts`."""
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Carts(service, port),))
    pair = (Path(service.order.key).read_bytes(), Path(service.order.certificate).read_bytes())
    server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    server.start()
    server.wait_for_termination()


def main() -> None:
    """Serves all three, and says so."""
    order = Order(**json.loads(sys.argv[1]))
    service = Service(order)
    servers: tuple[Callable[[Service, int], None], ...] = (https, websocket, rpc)
    for serve_one, port in zip(servers, order.ports, strict=True):
        threading.Thread(target=serve_one, args=(service, port), daemon=True).start()
    print("serving", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
