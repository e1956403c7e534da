"""The stream's queue: paused above 256 KiB, resumed when it has drained, small chunks joined."""

from __future__ import annotations

import sys

from tests.tier.fake import Wired
from tests.tier.scripted import run

HEAD = b"HTTP/1.1 200 OK\r\n"


def test_paused_and_resumed() -> None:
    async def main() -> None:
        wired = Wired()
        wired.conn.data_received(HEAD + b"Content-Length: 1000000\r\n\r\n")
        piece = bytes(64 << 10)
        for _ in range(4):
            wired.conn.data_received(piece)
        assert wired.transport.reading
        wired.conn.data_received(piece)
        assert not wired.transport.reading
        for left in (4, 3, 2):
            await wired.stream.read()
            assert not wired.transport.reading, left
        await wired.stream.read()
        assert wired.transport.reading
        wired.end()

    run(main())


def test_a_response_that_ends_while_paused_leaves_a_listening_connection() -> None:
    async def main() -> None:
        wired = Wired()
        size = 300 << 10
        wired.conn.data_received(HEAD + b"Content-Length: %d\r\n\r\n" % (size + 1))
        wired.conn.data_received(bytes(size))
        assert not wired.transport.reading
        wired.conn.data_received(b"x")
        assert wired.transport.reading  # so that a close while it idles is heard
        assert wired.pool.idle_count == 1
        body = await wired.stream.read() + await wired.stream.read()
        assert len(body) == size + 1
        assert wired.stream.complete
        wired.end()

    run(main())


def test_many_tiny_chunks_in_one_segment_are_one_piece() -> None:
    async def main() -> None:
        wired = Wired()
        wired.conn.data_received(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        wired.conn.data_received(b"1\r\nx\r\n" * 10_000)
        piece = await wired.stream.read()
        assert piece == b"x" * 10_000
        assert sys.getsizeof(piece) < 11_000
        wired.end()

    run(main())
