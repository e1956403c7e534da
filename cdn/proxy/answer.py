"""One answer to one client from a stored response or a fill: full, 304, 206, several ranges, 412 or 416.

Decides how much of the body goes and in which head; whether the response may be used at all was decided before.
The head is written by the same leaf as in the hit lane, so both lanes give the same bytes.
"""

from __future__ import annotations

from cdn.proxy._front import ClientStream
from cdn.proxy._lane import compose_head
from cdn.proxy.source import PIECE, FillError, Source
from cdn.rules import ranges
from cdn.rules.conditional import Verdict, evaluate
from cdn.rules.message import RequestHead
from cdn.rules.stored import Stored


async def serve(stream: ClientStream, request: RequestHead, source: Source, tail: bytes, age: int) -> int:
    """Write the whole answer; returns its status. `tail` are our own field lines (Via, Cache-Status).

    Raises FillError when the fill behind `source` died after the head was out, ConnectionResetError when the
    client left. The caller closes `source`.
    """
    stored = source.stored
    if evaluate(request, stored) is Verdict.NOT_MODIFIED:
        head = compose_head(source.head, source.status_line_len, source.lines_304, 304, -1, 0, 0, age)
        stream.start_stored(head + tail, 304, 0)
        stream.finish()
        return 304
    if source.length is not None and not source.no_body:
        selected = ranges.select(request, stored, source.length)
        if isinstance(selected, ranges.Unsatisfiable):
            return _unsatisfiable(stream, source, tail, age)
        if selected is not None and len(selected) == 1:
            first, last = selected[0]
            head = compose_head(
                source.head, source.status_line_len, 0, 206, last - first + 1, first, source.length, age
            )
            stream.start_stored(head + tail, 206, last - first + 1)
            await _body(stream, source, first, last + 1)
            stream.finish()
            return 206
        if selected is not None:
            return await _several(stream, source, selected, tail, age)
    return await _full(stream, source, tail, age)


async def rest(stream: ClientStream, source: Source, offset: int) -> None:
    """Write what follows the first `offset` bytes of a whole body; raises as `serve`."""
    await stream.drain()
    await _body(stream, source, offset, source.length)
    stream.finish()


def first_position(request: RequestHead, stored: Stored, length: int) -> int | None:
    """Where the first byte of the answer to a range request lies; None when the answer has no single start."""
    selected = ranges.select(request, stored, length)
    return selected[0][0] if isinstance(selected, list) and len(selected) == 1 else None


def _age(age: int) -> bytes:
    return b"Age: %d\r\n" % age if age >= 0 else b""


async def _full(stream: ClientStream, source: Source, tail: bytes, age: int) -> int:
    if source.no_body:
        head = compose_head(source.head, source.status_line_len, 0, 0, -1, 0, 0, age)
        stream.start_stored(head + tail, source.status, 0)
    elif source.length is None:
        head = compose_head(source.head, source.status_line_len, 0, 0, -1, 0, 0, age)
        stream.start(head + tail, source.status, None)
        if stream.method != "HEAD":
            await _body(stream, source, 0, None)
    else:
        length = source.length
        head = compose_head(source.head, source.status_line_len, 0, 0, length, 0, length, age)
        if stream.method == "HEAD":
            stream.start_stored(head + tail, source.status, 0)
        else:
            stream.start_stored(head + tail, source.status, length)
            await _body(stream, source, 0, length)
    stream.finish()
    return source.status


async def _body(stream: ClientStream, source: Source, offset: int, end: int | None) -> None:
    while end is None or offset < end:
        data = await source.read(offset, PIECE if end is None else min(PIECE, end - offset))
        if not data:
            if end is not None:
                raise FillError("the stored body is short")
            return
        stream.write(data)
        offset += len(data)
        if offset == end:
            return  # the last piece is the connection's to send: what is held for the answer is let go of
        await stream.drain()


async def _several(
    stream: ClientStream, source: Source, selected: list[tuple[int, int]], tail: bytes, age: int
) -> int:
    """multipart/byteranges (RFC 9110 §14.6)."""
    assert source.length is not None
    parts = ranges.multipart(selected, source.length, source.stored)
    lines = [
        line
        for line in source.head[source.status_line_len :].split(b"\r\n")
        if line and not line.lower().startswith(b"content-type:")
    ]
    head = b"HTTP/1.1 206 Partial Content\r\n" + b"".join(line + b"\r\n" for line in lines)
    head += b"Content-Type: " + parts.content_type.encode("latin-1") + b"\r\n"
    head += b"Content-Length: %d\r\n" % parts.length + _age(age)
    stream.start_stored(head + tail, 206, parts.length)
    for piece in parts.pieces:
        if isinstance(piece, bytes):
            stream.write(piece)
        else:
            await _body(stream, source, piece[0], piece[1] + 1)
    stream.finish()
    return 206


def _unsatisfiable(stream: ClientStream, source: Source, tail: bytes, age: int) -> int:
    head = b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */%d\r\nContent-Length: 0\r\n" % (
        source.length or 0
    )
    head += _age(age)
    stream.start_stored(head + tail, 416, 0)
    stream.finish()
    return 416
