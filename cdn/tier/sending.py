"""Sends a request's body over a wire connection, at the pace that the origin takes it.

Decides slices and chunk framing (RFC 9112 §7.1). Must not know where the body comes from or what answers it;
it is cancelled when the answer came first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from cdn.tier._wire import Connection, Stream
from cdn.tier.seam import Kind, OriginError

SLICE = 64 << 10


async def send_body(conn: Connection, stream: Stream, body: AsyncIterator[bytes], length: int | None) -> None:
    """All of `body`, in chunks where `length` is None; what goes wrong is told to `conn`, never raised."""
    left = length
    try:
        async for piece in body:
            data = piece if isinstance(piece, bytes) else bytes(piece)
            if left is not None:
                left -= len(data)
                if left < 0:
                    raise OriginError(Kind.REQUEST_BODY, "the request's body is longer than its length")
            for at in range(0, len(data), SLICE):
                part = data if len(data) <= SLICE else memoryview(data)[at : at + SLICE]
                await stream.room(conn)
                # An answer, or an end, that already waits is heard before more is written into it: a write
                # that fails would take the unread answer with it.
                if conn.readable():
                    await asyncio.sleep(0)
                conn.write(part if left is not None else [b"%x\r\n" % len(part), part, b"\r\n"])
        if left:
            raise OriginError(Kind.REQUEST_BODY, "the request's body is shorter than its length")
        if left is None:
            conn.write(b"0\r\n\r\n")
        conn.body_sent()
    except Exception as exc:
        conn.body_failed(exc)
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
