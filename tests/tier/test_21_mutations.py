"""Responses with bytes changed, lost or added: however they are cut, one outcome, and never an exception."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.tier.seam import Kind, OriginError
from tests.tier.fake import Wired
from tests.tier.scripted import run

SEEDS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nETag: x\r\n\r\nhello world",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhi!!!\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 103 E\r\nLink: y\r\n\r\nHTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello world",
    b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello",
]
INTERESTING = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"0", b"9", b"\0", b" ", b":", b";", b",", b"\xff"]
)
EDIT = st.tuples(
    st.integers(0, 200), st.integers(0, 3), st.one_of(st.just(b""), INTERESTING, st.binary(max_size=3))
)


async def outcome(parts: list[bytes], method: str, upgrade: str | None) -> tuple[object, ...]:
    wired = Wired(method, upgrade)
    for part in parts:
        if not wired.transport.aborted:
            wired.conn.data_received(part)
    kept = wired.pool.idle_count
    assert not (kept and wired.transport.aborted)
    wired.conn.eof_received()
    stream = wired.stream
    body = b""
    kind: Kind | None = None
    try:
        await stream.answer()
        while piece := await stream.read():
            body += piece
    except OriginError as error:
        kind = error.kind
    status = stream.head.status if stream.head is not None else 0
    seen = (status, body, kind, stream.complete, stream.by_close, kept, tuple(wired.interim))
    stream.abort()
    wired.end()
    return seen


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(EDIT, max_size=3),
    st.lists(st.integers(1, 120), max_size=4),
    st.sampled_from(["GET", "HEAD"]),
    st.sampled_from([None, "websocket"]),
)
def test_one_outcome_however_it_is_cut(
    seed: bytes, edits: list[tuple[int, int, bytes]], cuts: list[int], method: str, upgrade: str | None
) -> None:
    wire = seed
    for at, drop, put in edits:
        at %= len(wire) + 1
        wire = wire[:at] + put + wire[at + drop :]
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    parts = [wire[a:b] for a, b in pairwise(places)]

    async def main() -> None:
        whole = await outcome([wire] if wire else [], method, upgrade)
        cut = await outcome(parts, method, upgrade)
        assert whole == cut
        await asyncio.sleep(0)

    run(main())
