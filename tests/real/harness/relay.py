"""A network that fails when it is told to: a TCP relay on loopback, in front of a port that works."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 64 * 1024
_SECONDS = 10


class Relay:
    """Carries bytes to a port of this machine and back; connections can be cut, and answers be lost."""

    def __init__(self, port: int) -> None:
        self.lost = 0
        """How many answers were lost."""
        self.cuts = 0
        """How many connections were cut, or reset because the network was."""
        self._to = port
        self._is_cut = False
        self._losing: set[_Pair] = set()
        self._pairs: set[_Pair] = set()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Resets all connections, and those that are made until `restore`."""
        self._do(self._cut)

    def restore(self) -> None:
        """Carries again."""
        self._do(lambda: setattr(self, "_is_cut", False))

    def lose_answer(self) -> None:
        """Carries the next request on a connection that is open now, and resets that instead of bringing its answer."""
        self._do(self._lose)

    def close(self) -> None:
        """Ends the relay with all its connections."""
        self._do(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=_SECONDS)
        self._loop.close()

    def _do(self, what: Callable[[], None]) -> None:
        async def call() -> None:
            what()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(timeout=_SECONDS)

    def _cut(self) -> None:
        self._is_cut = True
        for pair in tuple(self._pairs):
            self._reset(pair)

    def _lose(self) -> None:
        assert self._pairs, "no connection is open whose answer could be lost"
        self._losing |= self._pairs

    def _end(self) -> None:
        self._cut()
        self._server.close()

    def _reset(self, pair: _Pair) -> None:
        self.cuts += 1
        for side in pair:
            _reset(side)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            self.cuts += 1
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:  # nobody listens there now
            _reset(writer)
            return
        pair = (writer, far_writer)
        self._pairs.add(pair)
        there = asyncio.create_task(self._pump(reader, far_writer))
        back = asyncio.create_task(self._pump(far_reader, writer, pair))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        self._pairs.discard(pair)
        self._losing.discard(pair)
        for side in pair:
            side.close()
        await asyncio.gather(there, back)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers_of: _Pair | None = None
    ) -> None:
        """Carries one direction to its end; `answers_of` is given where it is the way back."""
        try:
            while data := await reader.read(_CHUNK):
                if answers_of in self._losing:
                    self.lost += 1
                    self._losing.clear()
                    self._reset(answers_of)
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # it was cut, here or there


def _reset(side: asyncio.StreamWriter) -> None:
    """Ends a connection with a reset, and without what still waits to be sent."""
    sock: socket.socket = side.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    side.transport.abort()


_Pair = tuple[asyncio.StreamWriter, asyncio.StreamWriter]
