"""A wire connection without a network: bytes are fed by hand, what it writes and does is recorded."""

from __future__ import annotations

import asyncio
from typing import Any

from cdn.tier._wire import Connection, Pool, Stream
from cdn.tier.seam import OnInterim
from tests.tier.scripted import FAST


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.aborted = False
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


class Wired:
    """One connection with one exchange under way."""

    def __init__(
        self, method: str = "GET", upgrade: str | None = None, heard: OnInterim | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self.pool = Pool("http://fake", loop, 4_000)
        self.transport = FakeTransport()
        self.conn = Connection(self.pool, FAST, 64 << 10, 256)
        self.conn.connection_made(self.transport)
        self.interim: list[int] = []
        self.stream = Stream(loop, heard or (lambda status, _: self.interim.append(status)))
        self.conn.start(self.stream, b"GET / HTTP/1.1\r\n\r\n", method == "HEAD", False, upgrade)

    def end(self) -> None:
        """Give everything up, timers too."""
        self.conn.abort()
        self.conn.connection_lost(None)
        self.pool.close()
