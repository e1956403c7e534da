"""A hop in front of a server whose network can be made bad: slow, resetting, or cutting answers short."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType

SLOWNESS = 0.15  # seconds that each piece waits, in each direction
PAUSE = 0.1  # seconds at most before a connection is reset
CUT = 700  # bytes of answers that pass where they are cut


class Relay:
    """Passes bytes from a port of its own to `target`. `mode`: pass, slow, reset or cut; `close` refuses everybody."""

    def __init__(self, target: int, port: int) -> None:
        self.target, self.port = target, port
        self._mode = "pass"
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def listen(self) -> None:
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._passage, "127.0.0.1", self.port, backlog=512), self._loop
        ).result(10)

    def close(self) -> None:
        """Refuse connections, and end those there are."""

        async def closing() -> None:
            if self._server is not None:
                self._server.close()
            self._server = None
            self._reset_all()

        asyncio.run_coroutine_threadsafe(closing(), self._loop).result(10)

    def mode(self, mode: str) -> None:
        async def turn() -> None:
            self._mode = mode
            if mode == "reset":
                self._reset_all()

        asyncio.run_coroutine_threadsafe(turn(), self._loop).result(10)

    def _reset_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    async def _passage(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            if self._mode == "reset":
                with suppress(TimeoutError):  # of some protocols the server speaks first
                    await asyncio.wait_for(reader.read(100), PAUSE)
                _reset(writer)
                return
            theirs, other = await asyncio.open_connection("127.0.0.1", self.target)
            self._open.add(other)
            await asyncio.gather(self._copy(reader, other, False), self._copy(theirs, writer, True))
        except OSError:
            _reset(writer)
        finally:
            for one in (writer, other):
                if one is not None:
                    self._open.discard(one)
                    one.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        while data := await reader.read(16 << 10):
            if self._mode == "slow":
                await asyncio.sleep(SLOWNESS)
            if self._mode == "cut" and answers and len(data) > CUT:
                writer.write(data[:CUT])
                await writer.drain()
                await asyncio.sleep(0.01)
                _reset(writer)
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
