"""Upgrades: raw bytes only after the origin's 101 to what was asked; otherwise an ordinary answer, or 502."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cdn.rules.message import Fields
from cdn.tier import Kind, OriginError, OriginRequest, OriginResponse, Origins, Tunnel
from tests.tier.scripted import Peer, Script, Scripted, drain, origin_of, run, scripted, until

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: y\r\n\r\n"
REQUEST = OriginRequest("GET", "/chat", "www.example.com", Fields([("Sec-WebSocket-Key", "k")]))


@asynccontextmanager
async def upgrading(script: Script) -> AsyncIterator[tuple[Scripted, Origins]]:
    async with scripted(script) as origin:
        origins = Origins({"app": origin_of(origin.port)})
        try:
            yield origin, origins
        finally:
            await origins.close()


async def tunnel_of(origins: Origins) -> Tunnel:
    tunnel = await origins.upgrade("app", REQUEST)
    assert isinstance(tunnel, Tunnel)
    return tunnel


async def read_exactly(tunnel: Tunnel, n: int) -> bytes:
    got = b""
    while len(got) < n:
        piece = await tunnel.read()
        assert piece
        got += piece
    return got


def test_bytes_both_ways_with_leftovers_and_half_closes() -> None:
    async def script(peer: Peer) -> None:
        head = await peer.request()
        assert head == (
            b"GET /chat HTTP/1.1\r\nHost: www.example.com\r\nSec-WebSocket-Key: k\r\n"
            b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        await peer.send(SWITCH + b"first")
        assert await peer.reader.readexactly(4) == b"ping"
        await peer.send(b"pong")
        assert await peer.reader.read() == b"last"  # our end came, theirs is still open
        await peer.send(b"bye")

    async def main() -> None:
        async with upgrading(script) as (origin, origins):
            tunnel = await tunnel_of(origins)
            assert tunnel.head.status == 101
            assert tunnel.head.fields.get("x") == "y"
            assert tunnel.server == f"http://127.0.0.1:{origin.port}"
            assert await read_exactly(tunnel, 5) == b"first"
            await tunnel.write(b"ping")
            assert await read_exactly(tunnel, 4) == b"pong"
            await tunnel.write(b"last")
            tunnel.write_eof()
            assert await read_exactly(tunnel, 3) == b"bye"
            assert await tunnel.read() == b""
            assert await tunnel.read() == b""
            tunnel.abort()

    run(main())


def test_the_origin_ends_its_side_first() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCH + b"all")
        peer.writer.write_eof()
        assert await peer.reader.read() == b"still here"

    async def main() -> None:
        async with upgrading(script) as (_, origins):
            tunnel = await tunnel_of(origins)
            assert await read_exactly(tunnel, 3) == b"all"
            assert await tunnel.read() == b""
            await tunnel.write(b"still here")
            tunnel.write_eof()
            await asyncio.sleep(0.02)
            tunnel.abort()

    run(main())


class Recorder(asyncio.Protocol):
    def __init__(self) -> None:
        self.calls: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")


def test_attach_hands_over_the_transport_and_what_had_come() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCH + b"left")
        assert await peer.reader.readexactly(2) == b"go"
        await peer.send(b"over")
        await asyncio.sleep(0.02)

    async def main() -> None:
        async with upgrading(script) as (_, origins):
            tunnel = await tunnel_of(origins)
            recorder = Recorder()
            tunnel.attach(recorder)
            assert recorder.calls == ["made", b"left"]
            tunnel.transport.write(b"go")
            await until(lambda: "lost" in recorder.calls)
            assert recorder.calls == ["made", b"left", b"over", "eof", "lost"]

    run(main())


@pytest.mark.parametrize("paused", [False, True])
def test_attach_late(paused: bool) -> None:
    """What came before, a full queue or the end included, is heard in order, once."""
    size = 1 << 20 if paused else 10

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCH)
        await peer.send(bytes(size))

    async def main() -> None:
        async with upgrading(script) as (_, origins):
            tunnel = await tunnel_of(origins)
            await asyncio.sleep(0.1)
            recorder = Recorder()
            tunnel.attach(recorder)
            await until(lambda: "lost" in recorder.calls)
            assert recorder.calls[0] == "made"
            assert recorder.calls[-2:] == ["eof", "lost"]
            assert sum(len(call) for call in recorder.calls if isinstance(call, bytes)) == size

    run(main())


def test_attach_to_a_broken_one_hears_of_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCH)
        await asyncio.sleep(0.02)
        peer.reset()

    async def main() -> None:
        async with upgrading(script) as (_, origins):
            tunnel = await tunnel_of(origins)
            await asyncio.sleep(0.08)
            recorder = Recorder()
            tunnel.attach(recorder)
            await until(lambda: "lost" in recorder.calls)
            assert recorder.calls == ["made", "lost"]

    run(main())


def test_a_reset_is_raised_to_both_sides() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCH)
        await asyncio.sleep(0.02)
        peer.reset()

    async def main() -> None:
        async with upgrading(script) as (_, origins):
            tunnel = await tunnel_of(origins)
            with pytest.raises(OriginError) as caught:
                await tunnel.read()
            assert caught.value.kind is Kind.RESET
            with pytest.raises(OriginError):
                await tunnel.write(b"x")

    run(main())


def test_writes_wait_for_a_slow_origin() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCH)
        peer.writer.transport.pause_reading()
        await asyncio.sleep(5)

    async def main() -> None:
        async with upgrading(script) as (_, origins):
            tunnel = await tunnel_of(origins)
            sent = 0

            async def flood() -> None:
                nonlocal sent
                while True:
                    await tunnel.write(bytes(64 << 10))
                    sent += 64 << 10

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(flood(), 0.3)
            assert sent < 32 << 20
            tunnel.abort()

    run(main())


def test_an_ordinary_answer_forwards_nothing_behind_the_request() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        seen.append(await peer.closed())

    async def main() -> None:
        async with upgrading(script) as (_, origins):
            answer = await origins.upgrade("app", REQUEST)
            assert isinstance(answer, OriginResponse)
            got = await drain(answer)
            assert (got.status, got.body, got.complete) == (200, b"no", True)
            await until(lambda: bool(seen))

    run(main())
    assert seen == [b""]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 S\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 S\r\nUpgrade: websocket2\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_a_101_to_something_else_is_malformed(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        assert await peer.closed() == b""

    async def main() -> None:
        async with upgrading(script) as (_, origins):
            with pytest.raises(OriginError) as caught:
                await origins.upgrade("app", REQUEST)
            assert caught.value.kind is Kind.MALFORMED
            assert caught.value.status == 502

    run(main())


@pytest.mark.parametrize("protocol", ["h2c", "H2C", "tls/1.0", "websocket\r\nX: y", ""])
def test_what_is_not_allowed_is_never_asked_for(protocol: str) -> None:
    async def script(peer: Peer) -> None:
        assert await peer.request() == b""

    async def main() -> None:
        async with scripted(script) as origin:
            origins = Origins({"app": origin_of(origin.port)}, upgrades=frozenset({"websocket", "h2c"}))
            with pytest.raises(OriginError) as caught:
                await origins.upgrade("app", REQUEST, protocol=protocol)
            assert caught.value.kind is Kind.UNSENDABLE
            assert origin.connections == 0
            await origins.close()

    run(main())


def test_a_dropped_tunnel_closes() -> None:
    ended: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCH)
        ended.append(await peer.closed())

    async def main() -> None:
        async with upgrading(script) as (_, origins):
            tunnel = await tunnel_of(origins)
            del tunnel
            await until(lambda: bool(ended))

    run(main())
