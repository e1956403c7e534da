"""Each deadline fires near its time and names itself; progress moves it; our own delays do not count."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from cdn.config.values import Address, Origin, OriginTimeouts, Server
from tests.tier.certificates import secured
from tests.tier.scripted import FAST, Answer, Peer, asking, free_port, origin_of, run, scripted

BOTH = pytest.mark.parametrize("client", ["own", "tls"])
OK = b"HTTP/1.1 200 OK\r\n"
SHORT = OriginTimeouts(connect=150, first_byte=150, idle=4_000, between_bytes=150)
ROOMY = OriginTimeouts(connect=2_000, first_byte=600, idle=4_000, between_bytes=600)  # for what must not fire


def expect_timeout(got: Answer, kind: str, took: float, after: float = 0.15) -> None:
    assert got.kind == kind, got.error
    assert got.error is not None
    assert got.error.status == 504
    assert after - 0.02 <= took < after + 3.0


@BOTH
def test_connect(client: str) -> None:
    """A listener whose queue is full answers no SYN."""

    async def main() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            port = listener.getsockname()[1]
            crowd = [socket.socket() for _ in range(3)]
            for sock in crowd:
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            await asyncio.sleep(0.05)
            async with asking(client, origin_of(port, timeouts=SHORT)) as asker:
                began = time.monotonic()
                got = await asker.ask()
                expect_timeout(got, "connect-timeout", time.monotonic() - began)
                assert got.error is not None
                assert not got.error.sent
            for sock in crowd:
                sock.close()

    run(main())


@BOTH
def test_refused(client: str) -> None:
    async def main() -> None:
        async with asking(client, origin_of(free_port())) as asker:
            got = await asker.ask()
            assert got.kind == "connect-refused"
            assert got.error is not None
            assert (got.error.status, got.error.sent, got.error.received) == (502, False, False)

    run(main())


@BOTH
def test_a_name_that_does_not_resolve(client: str) -> None:
    async def main() -> None:
        server = Server(Address("http", "no-such-host.invalid", 80))
        origin = Origin("app", (server,), timeouts=replace(FAST, connect=8_000))
        async with asking(client, origin) as asker:
            got = await asker.ask()
            assert got.kind == "dns"
            assert got.error is not None
            assert got.error.status == 502

    run(main())


@BOTH
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nX: "])
def test_first_byte(client: str, said: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port, timeouts=SHORT)) as asker,
        ):
            began = time.monotonic()
            expect_timeout(await asker.ask(), "first-byte-timeout", time.monotonic() - began, after=0.0)
            assert 0.13 < time.monotonic() - began < 3.0
            assert origin.connections == 1

    run(main())


@BOTH
def test_a_head_that_drips_has_an_absolute_deadline(client: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.drip(OK + b"X: " + b"y" * 100, pause=0.02)
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port, timeouts=SHORT)) as asker,
        ):
            began = time.monotonic()
            got = await asker.ask()
            expect_timeout(got, "first-byte-timeout", time.monotonic() - began)

    run(main())


@BOTH
@pytest.mark.parametrize("framing", [b"Content-Length: 99\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_silence_inside_a_body(client: str, framing: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + framing + b"\r\n")
        await asyncio.sleep(0.02)
        await peer.send(b"2\r\nhi\r\n" if b"chunked" in framing else b"hi")
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port, timeouts=SHORT)) as asker,
        ):
            began = time.monotonic()
            got = await asker.ask()
            expect_timeout(got, "between-bytes-timeout", time.monotonic() - began, after=0.17)
            assert got.body == b"hi"
            assert not got.complete

    run(main())


@BOTH
def test_progress_moves_the_deadline(client: str) -> None:
    """A body that takes twice the silence allowed, never silent for so long."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 10\r\n\r\n")
        await peer.drip(b"0123456789", pause=0.15)
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port, timeouts=ROOMY)) as asker,
        ):
            got = await asker.ask()
            assert (got.body, got.complete) == (b"0123456789", True), got.error

    run(main())


@BOTH
def test_a_slow_reader_is_not_the_origins_silence(client: str) -> None:
    size = 4 << 20

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: %d\r\n\r\n" % size)
        await peer.send(bytes(size))
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port, timeouts=ROOMY)) as asker,
        ):
            response = await asker.open()
            await asyncio.sleep(0.9)
            total = 0
            while piece := await response.read():
                total += len(piece)
            assert total == size
            assert response.complete

    run(main())


def test_interim_responses_give_more_time() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for _ in range(4):
            await asyncio.sleep(0.25)
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await peer.send(OK + b"Content-Length: 0\r\n\r\n")
        await peer.closed()

    async def main() -> None:
        async with scripted(script) as origin, asking("own", origin_of(origin.port, timeouts=ROOMY)) as asker:
            assert (await asker.ask()).status == 200

    run(main())


async def slowly(*parts: bytes, pause: float) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(pause)
        yield part


@BOTH
def test_a_slow_request_body_is_not_the_origins_delay(client: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        assert await peer.reader.readexactly(3) == b"abc"
        await asyncio.sleep(0.1)
        await peer.send(OK + b"Content-Length: 0\r\n\r\n")
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port, timeouts=ROOMY)) as asker,
        ):
            got = await asker.ask("POST", body=slowly(b"a", b"b", b"c", pause=0.3), body_length=3)
            assert got.status == 200, got.error

    run(main())


@BOTH
def test_silence_after_the_request_body(client: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, secured(client)) as origin,
            asking(client, origin_of(origin.port, timeouts=SHORT)) as asker,
        ):
            began = time.monotonic()
            got = await asker.ask("POST", body=slowly(b"a", b"b", pause=0.12), body_length=2)
            expect_timeout(got, "first-byte-timeout", time.monotonic() - began, after=0.39)

    run(main())


def test_an_origin_that_stops_reading_our_body() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.writer.transport.pause_reading()
        await asyncio.sleep(3)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 18)

    async def main() -> None:
        async with scripted(script) as origin, asking("own", origin_of(origin.port, timeouts=SHORT)) as asker:
            began = time.monotonic()
            got = await asker.ask("POST", body=endless())
            expect_timeout(got, "between-bytes-timeout", time.monotonic() - began)

    run(main())


def test_a_late_loop_hears_what_came_in_time() -> None:
    """The loop was busy past the deadline, the answer lay in the socket: it counts."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 2\r\n\r\nok")
        time.sleep(0.3)  # noqa: ASYNC251 (blocking the one loop of both sides is the point)
        await peer.closed()

    async def main() -> None:
        async with scripted(script) as origin, asking("own", origin_of(origin.port, timeouts=SHORT)) as asker:
            got = await asker.ask()
            assert got.body == b"ok", got.error

    run(main())
