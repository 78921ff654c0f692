"""Argo CD's messages: from the JSON that its REST API speaks to the bytes that its gRPC API speaks.

Nothing here knows a message. What there is to know comes from `tests/argocd/rig facts`, which reads it from Argo CD's
own descriptors.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_TIMES = {f"k8s.io.apimachinery.pkg.apis.meta.v1.{name}" for name in ("Time", "MicroTime")}
# Messages of one field `raw`, which hold any JSON.
_FREE = {
    "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON",
    "k8s.io.apimachinery.pkg.runtime.RawExtension",
}


@dataclass(frozen=True)
class Binding:
    """How a method is called over REST."""

    method: str
    template: str
    body: str
    """`*` for the whole message, the name of a field, or nothing."""


@dataclass(frozen=True)
class Method:
    """One method of the API."""

    path: str
    """As gRPC has it: `/application.ApplicationService/Sync`."""
    request: str
    streams: bool
    bindings: tuple[Binding, ...]

    @property
    def name(self) -> str:
        """As policies have it: `ApplicationService.Sync`."""
        service, method = self.path.removeprefix("/").split("/")
        return f"{service.rsplit('.', 1)[1]}.{method}"


class Facts:
    """The API of the pinned Argo CD."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._messages: dict[str, Any] = {"google.protobuf.Empty": {"fields": []}, **facts["messages"]}
        self._enums: dict[str, dict[str, int]] = facts["enums"]
        methods = [
            Method(
                entry["path"],
                entry["request"],
                entry["client_streaming"] or entry["server_streaming"],
                tuple(Binding(rest["method"], rest["path"], rest["body"]) for rest in entry["rest"]),
            )
            for entry in facts["methods"]
        ]
        self.methods = {method.name: method for method in methods}

    def by_rest(self, name: str) -> str:
        """The method that answers where a method's REST binding points: the first of those that share it."""
        wanted = self.methods[name].bindings[0]
        return next(
            method.name
            for method in self.methods.values()
            if any((one.method, one.template) == (wanted.method, wanted.template) for one in method.bindings)
        )

    def fields(self, message: str) -> list[dict[str, Any]]:
        """The fields of a message, as the facts have them."""
        return list(self._messages[message]["fields"])

    def plain(self, message: str) -> bool:
        """Whether a message is in JSON what its fields are."""
        special = message in _TIMES | _FREE or message.endswith(".IntOrString")
        return not special and not self._messages[message].get("map_entry")

    def encode(self, message: str, value: dict[str, Any]) -> bytes:
        """`value`, as REST would say it, as a protobuf message. A key that the message does not have is an error."""
        rest = dict(value)
        if not {"apiVersion", "kind"} & {field["json"] for field in self._messages[message]["fields"]}:
            # What kind of object it is, JSON says in the object, and protobuf by its type.
            rest = {key: item for key, item in rest.items() if key not in {"apiVersion", "kind"}}
        out = b"".join(self._field(field, rest) for field in self._messages[message]["fields"])
        assert not rest, f"{message} has no {sorted(rest)}"
        return out

    def _field(self, field: dict[str, Any], rest: dict[str, Any]) -> bytes:
        number, kind, name = field["number"], field["kind"], field["type"]
        if field["json"] == "":  # its own fields stand in its place
            inner = {f["json"] for f in self._messages[name]["fields"]} & rest.keys()
            return _block(number, self.encode(name, {key: rest.pop(key) for key in inner})) if inner else b""
        if (value := rest.pop(field["json"], None)) is None:
            return b""
        if kind == "map" or self._messages.get(name, {}).get("map_entry"):
            return b"".join(_block(number, self._entry(name, key, item)) for key, item in value.items())
        items = value if field["label"] == "repeated" else [value]
        return b"".join(self._item(number, kind, name, item) for item in items)

    def _entry(self, name: str, key: str, item: Any) -> bytes:
        if name not in self._messages:  # Kubernetes has maps of text alone
            return _block(1, key.encode()) + _block(2, item.encode())
        key_field, value_field = self._messages[name]["fields"]
        head = self._item(1, key_field["kind"], key_field["type"], key)
        return head + self._item(2, value_field["kind"], value_field["type"], item)

    def _item(self, number: int, kind: str, name: str, item: Any) -> bytes:
        if kind == "enum":
            return _number(number, self._enums[name][item])
        if kind == "message":
            return _block(number, self._message(name, item))
        if name == "bytes":  # in JSON they are base64
            return _block(number, base64.b64decode(item))
        if name == "string":
            return _block(number, item.encode())
        return _number(number, int(item))

    def _message(self, name: str, item: Any) -> bytes:
        if name in _TIMES:
            return _number(1, int(datetime.fromisoformat(item.replace("Z", "+00:00")).timestamp()))
        if name in _FREE:
            return _block(1, json.dumps(item).encode())
        if name.endswith(".IntOrString"):
            return _number(2, item) if isinstance(item, int) else _number(1, 1) + _block(3, item.encode())
        return self.encode(name, item)


def varint(value: int) -> bytes:
    """A number as protobuf writes it; a negative one as 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def _block(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data
