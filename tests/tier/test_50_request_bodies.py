"""Request bodies: framed anew, sent at the origin's pace, stopped when the answer makes the rest unwanted."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from cdn.rules.message import Fields
from cdn.tier.call import Call
from cdn.tier.own import OwnServer
from cdn.tier.seam import Kind, OriginError, OriginRequest
from tests.tier.certificates import secured
from tests.tier.scripted import Peer, asking, drain, origin_of, pieces, run, scripted, until

BOTH = pytest.mark.parametrize("client", ["own", "tls"])
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"


async def read_chunks(peer: Peer) -> bytes:
    body = b""
    while size := int(await peer.reader.readuntil(b"\r\n"), 16):
        body += await peer.reader.readexactly(size)
        assert await peer.reader.readexactly(2) == b"\r\n"
    assert await peer.reader.readexactly(2) == b"\r\n"
    return body


@BOTH
@pytest.mark.parametrize("length", [11, None])
def test_framed_anew(client: str, length: int | None) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while head := await peer.request():
            seen.append(head)
            body = await read_chunks(peer) if length is None else await peer.reader.readexactly(length)
            assert body == b"hello world"
            await peer.send(DONE)

    async def main() -> None:
        fields = Fields([("Content-Length", "99"), ("Transfer-Encoding", "gzip"), ("Expect", "100-continue")])
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            for _ in range(2):
                body = pieces(b"hello", b"", b" wor", b"ld")
                got = await asker.ask("POST", fields=fields, body=body, body_length=length)
                assert got.body == b"done", got.error
            assert origin.connections == 1

    run(main())
    for head in seen:
        lines = head.lower().split(b"\r\n")
        framing = [line for line in lines if line.startswith((b"content-length", b"transfer-encoding"))]
        assert framing == ([b"transfer-encoding: chunked"] if length is None else [b"content-length: 11"])
        assert not any(
            line.startswith((b"expect", b"user-agent", b"accept", b"content-type")) for line in lines
        )


@pytest.mark.parametrize("size", [1, 1024, 200_000])
def test_one_that_is_there_leaves_with_its_head(size: int) -> None:
    data = bytes(n % 251 for n in range(size))
    asked = 0

    async def script(peer: Peer) -> None:
        nonlocal asked
        while head := await peer.request():
            assert b"\r\nContent-Length: %d\r\n" % size in head
            assert await peer.reader.readexactly(size) == data
            asked += 1
            if asked == 3:
                peer.reset()
                return
            await peer.send(DONE)

    async def main() -> None:
        async with scripted(script) as origin:
            configured = origin_of(origin.port)
            server = OwnServer(configured, configured.servers[0], asyncio.get_running_loop())
            call = Call(OriginRequest("POST", "/", "www.example.com"), "www.example.com", data, size)
            for _ in range(2):
                got = await drain(await server.fetch(call))
                assert (got.body, got.kind) == (b"done", None)
            with pytest.raises(OriginError) as caught:  # what may have been done is not done twice
                await server.fetch(call)
            assert caught.value.kind is Kind.RESET
            assert (origin.connections, asked) == (1, 3)
            await server.close()

    run(main())


def test_what_is_ready_is_what_would_be_read() -> None:
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            await more.wait()
            await peer.send(b"done")
            await peer.send(b"done")

    async def main() -> None:
        async with scripted(script) as origin:
            configured = origin_of(origin.port)
            server = OwnServer(configured, configured.servers[0], asyncio.get_running_loop())
            call = Call(OriginRequest("GET", "/", "www.example.com"), "www.example.com")
            response = await server.fetch(call)
            assert response.ready() is None
            reading = asyncio.ensure_future(response.read())
            await asyncio.sleep(0)
            assert response.ready() is None  # nothing is there, and another reads
            more.set()
            body = await reading
            await until(lambda: response.complete)
            while (piece := response.ready()) != b"":
                assert piece is not None
                body += piece
            assert (body, response.ready()) == (b"donedone", b"")
            await server.close()

    run(main())


@BOTH
def test_no_body_for_a_post_says_so(client: str) -> None:
    async def script(peer: Peer) -> None:
        assert b"content-length: 0\r\n" in (await peer.request()).lower()
        await peer.send(DONE)
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            assert (await asker.ask("POST")).body == b"done"

    run(main())


@BOTH
@pytest.mark.parametrize("length", [48 << 20, None])
def test_a_large_body_waits_for_the_origin(client: str, length: int | None) -> None:
    """The source is read no further ahead of a slow origin than the buffers on the way."""
    size = 48 << 20
    ahead = 0
    produced = 0
    taken = 0
    digest = hashlib.sha256()
    sent = hashlib.sha256()

    async def source() -> AsyncIterator[bytes]:
        nonlocal produced, ahead
        for number in range(size >> 18):
            piece = bytes([number % 251]) * (1 << 18)
            sent.update(piece)
            produced += len(piece)
            ahead = max(ahead, produced - taken)
            yield piece

    async def script(peer: Peer) -> None:
        nonlocal taken
        await peer.request()
        await asyncio.sleep(0.2)
        while taken < size:
            if length is None:
                count = int(await peer.reader.readuntil(b"\r\n"), 16)
                piece = await peer.reader.readexactly(count)
                assert await peer.reader.readexactly(2) == b"\r\n"
            else:
                piece = await peer.reader.read(1 << 18)
            digest.update(piece)
            taken += len(piece)
        if length is None:
            assert await peer.reader.readexactly(5) == b"0\r\n\r\n"
        await peer.send(DONE)
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            got = await asker.ask("PUT", body=source(), body_length=length)
            assert got.body == b"done", got.error

    run(main())
    assert digest.digest() == sent.digest()
    assert ahead < 16 << 20  # the kernel's two socket buffers are most of it


class Source:
    """A body that counts what is taken and knows whether it was closed."""

    def __init__(self, piece: bytes = b"x" * 1024, pause: float = 0.0) -> None:
        self.piece = piece
        self.pause = pause
        self.taken = 0
        self.closed = False

    async def endless(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.taken += 1
                yield self.piece
                await asyncio.sleep(self.pause)
        finally:
            self.closed = True


@pytest.mark.parametrize("pause", [0.0, 0.005])
@pytest.mark.parametrize("close", [True, False], ids=["closes", "stays"])
def test_an_early_refusal_is_heard_and_ends_the_sending(pause: float, close: bool) -> None:
    """The origin answers 413 without reading the body, whether or not it closes at once behind it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        if not close:
            await peer.closed()

    async def main() -> None:
        for _ in range(20):
            source = Source(pause=pause)
            async with scripted(script) as origin, asking("own", origin_of(origin.port)) as asker:
                assert isinstance(asker.server, OwnServer)
                got = await asker.ask("POST", body=source.endless())
                assert (got.status, got.body, got.complete) == (413, b"big", True), got.error
                pool = asker.server.pool
                await until(lambda source=source: source.closed)
                await until(lambda pool=pool: pool.live_count == 0)
                assert origin.connections == 1
                assert pool.idle_count == 0

    run(main())


@BOTH
def test_after_an_early_refusal_the_next_request_has_its_own_connection(client: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            await peer.closed()
        else:
            await peer.send(DONE)
            await peer.closed()

    async def main() -> None:
        source = Source(pause=0.01)
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            got = await asker.ask("POST", body=source.endless(), body_length=1 << 40)
            assert got.status == 401, got.error
            assert (await asker.ask()).body == b"done"
            assert origin.connections == 2
            await until(lambda: source.closed)

    run(main())


@BOTH
def test_an_answer_that_streams_while_the_body_goes_out(client: str) -> None:
    """A 200 before the body's end does not stop it: an echo."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        left = 6
        while left:
            got = await peer.reader.read(left)
            left -= len(got)
            await peer.send(b"%x\r\n%s\r\n" % (len(got), got))
        await peer.send(b"0\r\n\r\n")
        await peer.closed()

    async def main() -> None:
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            for _ in range(5):
                yield (await heard.get())[-1:].upper() or b"?"

        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            response = await asker.open("POST", body=body(), body_length=6)
            echoed = b""
            while piece := await response.read():
                echoed += piece
                for _ in piece:
                    heard.put_nowait(piece)
            assert echoed == b"aAAAAA"
            assert response.complete

    run(main())


class ClientGoneError(Exception):
    pass


async def failing(*parts: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    await asyncio.sleep(pause)
    raise ClientGoneError


@BOTH
def test_a_body_that_fails_before_the_answer_is_raised_as_it_is(client: str) -> None:
    ends: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        ends.append(await peer.closed())

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            with pytest.raises(ClientGoneError):
                await asker.open("POST", body=failing(b"abc"))
            await until(lambda: bool(ends))
            assert not ends[0].endswith(b"0\r\n\r\n")  # never made to look whole

    run(main())


@BOTH
def test_a_body_that_fails_after_the_answer_cuts_it(client: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            response = await asker.open("POST", body=failing(b"abc", pause=0.05))
            assert await response.read() == b"abc"
            with pytest.raises(OriginError) as caught:
                await response.read()
            assert caught.value.kind == "request-body"
            assert not response.complete

    run(main())


@BOTH
@pytest.mark.parametrize(("length", "parts"), [(5, (b"abc",)), (2, (b"ab", b"c")), (2, (b"abc",))])
def test_a_body_of_another_length_than_declared(client: str, length: int, parts: tuple[bytes, ...]) -> None:
    ends: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        ends.append(await peer.closed())

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port)) as asker,
        ):
            got = await asker.ask("POST", body=pieces(*parts), body_length=length)
            assert got.kind == "request-body"
            await until(lambda: bool(ends))
            assert len(ends[0]) <= min(length, 3)

    run(main())


def test_a_cancelled_upload_closes_source_and_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.closed()

    async def main() -> None:
        source = Source(pause=0.005)
        async with scripted(script) as origin, asking("own", origin_of(origin.port)) as asker:
            assert isinstance(asker.server, OwnServer)
            pool = asker.server.pool
            task = asyncio.ensure_future(asker.ask("POST", body=source.endless()))
            await until(lambda: source.taken > 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: source.closed and pool.live_count == 0)

    run(main())
