"""What argocd-server was asked, as its own log tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Executed:
    """One call that reached argocd-server."""

    operation: str
    """As policies have it: `ApplicationService.Sync`."""
    content: dict[str, Any] | None
    """The message as JSON; of calls that carry secrets Argo CD does not log it."""


class CallLog:
    """The log of argocd-server, read from where it was read last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size

    def read(self) -> list[Executed]:
        """The calls since the last reading, in the order in which they came."""
        started: list[str] = []
        contents: dict[str, list[dict[str, Any]]] = {}
        for line in self._lines():
            if line.get("msg") == "started call":
                started.append(_name(f"{line['grpc.service']}/{line['grpc.method']}"))
            elif "grpc.request.content" in line:
                operation = _name(line["msg"].rsplit(" /", 1)[1])
                contents.setdefault(operation, []).append(line["grpc.request.content"])
        return [Executed(name, contents[name].pop(0) if contents.get(name) else None) for name in started]

    def _lines(self) -> Iterator[dict[str, Any]]:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            written = file.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            if line.startswith(b"{"):
                yield json.loads(line)


def _name(path: str) -> str:
    service, method = path.split("/")
    return f"{service.rsplit('.', 1)[-1]}.{method}"
