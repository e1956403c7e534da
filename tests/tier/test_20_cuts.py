"""Every framing cut at every byte: never taken for whole; split anywhere: always the same."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from cdn.tier.seam import OriginError
from tests.tier.certificates import secured
from tests.tier.fake import Wired
from tests.tier.scripted import Answer, Peer, asking, origin_of, run, scripted

OK = b"HTTP/1.1 200 OK\r\n"


class Framing(NamedTuple):
    name: str
    head: bytes
    body: bytes  # as framed
    content: bytes
    by_close: bool = False


FRAMINGS = [
    Framing("length", OK + b"Content-Length: 11\r\n\r\n", b"hello world", b"hello world"),
    Framing(
        "chunks",
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n",
        b"hello world",
    ),
    Framing("close", OK + b'ETag: "x"\r\n\r\n', b"hello world", b"hello world", by_close=True),
    Framing("1.0", b"HTTP/1.0 200 OK\r\n\r\n", b"hello world", b"hello world", by_close=True),
    Framing(
        "interim",
        b"HTTP/1.1 103 E\r\n\r\n" + OK + b"Content-Length: 11\r\n\r\n",
        b"hello world",
        b"hello world",
    ),
]
NAMES = [framing.name for framing in FRAMINGS]


def judge(framing: Framing, cut: int, got: Answer, reset: bool) -> None:
    whole = len(framing.head) + len(framing.body)
    assert not got.complete
    assert framing.content.startswith(got.body)
    if cut < len(framing.head):
        assert got.status == 0
        assert got.kind is not None
    if reset or cut < len(framing.head):
        assert got.kind == "reset"
    elif framing.by_close:
        assert got.kind is None
        assert got.by_close
        assert got.body == framing.content[: cut - len(framing.head)]
    else:
        assert cut < whole
        assert got.kind == "truncated"
        assert framing.name == "chunks" or got.body == framing.content[: cut - len(framing.head)]


async def cut_everywhere(framing: Framing, client: str, reset: bool) -> None:
    wire = framing.head + framing.body
    cut = 0

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire[:cut])
        if reset:
            peer.reset()

    async with scripted(script, secured(client)) as origin, asking(client, origin_of(origin.port)) as asker:
        for cut in range(len(wire)):
            judge(framing, cut, await asker.ask(), reset)


@pytest.mark.parametrize("framing", FRAMINGS, ids=NAMES)
@pytest.mark.parametrize("client", ["own", "tls"])
def test_cut_by_close(framing: Framing, client: str) -> None:
    run(cut_everywhere(framing, client, reset=False))


@pytest.mark.parametrize("framing", FRAMINGS, ids=NAMES)
@pytest.mark.parametrize("client", ["own", "tls"])
def test_cut_by_reset(framing: Framing, client: str) -> None:
    run(cut_everywhere(framing, client, reset=True))


async def heard(framing: Framing, parts: list[bytes]) -> None:
    """What the awaiting side gets of one response that arrives as `parts`."""
    wired = Wired()
    for part in parts:
        wired.conn.data_received(part)
    if framing.by_close:
        wired.conn.eof_received()
    stream = wired.stream
    await stream.answer()
    body = b""
    while piece := await stream.read():
        body += piece
    assert stream.head.status == 200
    assert body == framing.content
    assert stream.complete is not framing.by_close
    assert stream.by_close is framing.by_close
    assert wired.interim == ([103] if framing.name == "interim" else [])
    assert wired.pool.idle_count == (0 if framing.by_close else 1)
    assert wired.transport.aborted is framing.by_close
    wired.end()


@pytest.mark.parametrize("framing", FRAMINGS, ids=NAMES)
def test_split_in_two_anywhere(framing: Framing) -> None:
    wire = framing.head + framing.body

    async def main() -> None:
        for i in range(1, len(wire)):
            await heard(framing, [wire[:i], wire[i:]])

    run(main())


@pytest.mark.parametrize("framing", FRAMINGS, ids=NAMES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_split_in_pieces(framing: Framing, size: int) -> None:
    wire = framing.head + framing.body
    run(heard(framing, [wire[i : i + size] for i in range(0, len(wire), size)]))


@pytest.mark.parametrize("framing", [f for f in FRAMINGS if not f.by_close], ids=lambda f: f.name)
@pytest.mark.parametrize("late", [False, True], ids=["with the end", "after the end"])
def test_bytes_behind_the_end_cost_the_connection(framing: Framing, late: bool) -> None:
    async def main() -> None:
        wired = Wired()
        wire = framing.head + framing.body
        if late:
            wired.conn.data_received(wire)
            assert wired.pool.idle_count == 1
            wired.conn.data_received(b"H")
        else:
            wired.conn.data_received(wire + b"H")
        assert wired.pool.idle_count == 0
        assert wired.transport.aborted
        await wired.stream.answer()
        assert await wired.stream.read() == framing.content
        assert await wired.stream.read() == b""
        assert wired.stream.complete
        wired.end()

    run(main())


def test_a_failing_listener_fails_its_exchange_only() -> None:
    def fail(status: int, fields: object) -> None:
        raise ValueError(status)

    async def main() -> None:
        wired = Wired(heard=fail)
        wired.conn.data_received(b"HTTP/1.1 103 E\r\n\r\n")
        with pytest.raises(ValueError, match="103"):
            await wired.stream.answer()
        assert wired.transport.aborted
        wired.end()

    run(main())


def test_abort_is_heard_by_the_reader() -> None:
    async def main() -> None:
        wired = Wired()
        wired.conn.data_received(OK + b"Content-Length: 5\r\n\r\nhe")
        await wired.stream.answer()
        wired.stream.abort()
        with pytest.raises(OriginError):
            await wired.stream.read()
        assert wired.transport.aborted
        wired.end()

    run(main())
