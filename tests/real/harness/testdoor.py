"""The gate's test door: a service under test behind it, and the files in which its credential is."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli import free_port
from .gate import Gate, Setting, make_certificate
from .processes import Service, eventually
from .upstream import Order

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]
API, SOCKET, RPC = "shop-api", "shop-socket", "shop-rpc"
"""The service by HTTPS, by websocket, by gRPC."""
LEDGER = "ledger"
"""The same service by HTTPS, as one of prod."""
AWAY, MUTE = "shop-away", "shop-mute"
"""Where nobody listens; where connections are taken and nothing is said."""


class Mounted:
    """A folder as the kubelet mounts a secret: what it shows is replaced at once, by a link."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        folder.mkdir()

    def show(self, **files: str) -> None:
        """Shows these files instead of those before."""
        self._number += 1
        content = self._folder / f"..{self._number}"
        content.mkdir()
        for name, text in files.items():
            (content / name).write_text(text)
        link = self._folder / "..new"
        link.symlink_to(content.name)
        link.rename(self._folder / "..data")
        for name in files:
            if not (self._folder / name).is_symlink():
                (self._folder / name).symlink_to(f"..data/{name}")


@dataclass
class TestDoor:
    """A gate with endpoints, and the service that they lead to."""

    __test__ = False

    gate: Gate
    secrets: Mounted
    heard_file: Path
    ports: tuple[int, int, int]
    service: Service | None = None
    _mute: socket.socket | None = None
    keys: list[str] = field(default_factory=list)
    """All keys that the service was ever called with, by configuration."""

    @classmethod
    def prepare(cls, rig: Json, issuer: str, folder: Path) -> TestDoor:
        """Writes everything, starts nothing."""
        folder.mkdir(parents=True)
        ports = (free_port(), free_port(), free_port())
        mute = socket.create_server(("127.0.0.1", 0), backlog=64)
        certificates = folder / "service"
        certificates.mkdir()
        ca, _ = make_certificate(certificates)
        addresses = dict(zip((API, SOCKET, RPC), ports, strict=True))
        addresses |= {LEDGER: ports[0], AWAY: free_port(), MUTE: mute.getsockname()[1]}
        blocks = [
            f"""
[[endpoint]]
name = "{name}"
environment = "{"prod" if name == LEDGER else "staging"}"
prefix = "/endpoints/{name}/"
url = "https://127.0.0.1:{port}"
ca = {json.dumps(str(ca))}
methods = ["GET", "POST", "DELETE"]
inject.header = {{ name = "X-Api-Key", value = "file:secrets/key" }}
"""
            for name, port in addresses.items()
        ]
        secrets = Mounted(folder / "secrets")
        door = cls(
            Gate.prepare(rig, issuer, folder, Setting(more="".join(blocks))),
            secrets,
            folder / "heard",
            ports,
            _mute=mute,
        )
        door.rotate("the-first-key-of-the-service")
        return door

    def rotate(self, key: str) -> None:
        """Gives the service another key, as who runs it would."""
        self.keys.append(key)
        self.secrets.show(key=key)

    def start(self) -> None:
        """Starts the service and the gate."""
        certificates = self.gate.folder / "service"
        order = Order(
            certificate=str(certificates / "gate.crt"),
            key=str(certificates / "gate.key"),
            gate=self.gate.url,
            ca=str(self.gate.ca),
            heard=str(self.heard_file),
            ports=self.ports,
        )
        self.heard_file.touch()
        program = Path(__file__).with_name("upstream.py")
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.service = Service(
            "the service under test",
            [sys.executable, program, order.text()],
            self.gate.folder / "service.log",
            env=kept,
        )
        self.service.line(lambda line: line == "serving", within=30)
        for port in self.ports:
            eventually(f"the service listens on {port}", lambda port=port: listens(port))  # type: ignore[misc]
        self.gate.start()

    def stop(self) -> None:
        """Stops both."""
        try:
            if self.gate.service is not None and self.gate.service.running():
                self.gate.stop()
        finally:
            if self.service is not None:
                self.service.stop()
            if self._mute is not None:
                self._mute.close()

    @property
    def heard(self) -> list[Json]:
        """What the service was asked, oldest first."""
        return [json.loads(line) for line in self.heard_file.read_text().splitlines()]

    def heard_since(self, count: int, wanted: Callable[[Json], bool] = lambda _: True) -> list[Json]:
        """What it was asked after the first so many."""
        return [line for line in self.heard[count:] if wanted(line)]


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
