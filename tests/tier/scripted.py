"""Scripted origins on raw sockets, and both clients behind one way of asking: shared by the tests of `tier`.

A script is a coroutine function that is given one accepted connection; it says exactly which bytes leave
when, and how the connection ends. `run` gives each test a uvloop loop and fails it when one of that loop's
callbacks failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import uvloop

from cdn.config.values import Address, Origin, OriginTimeouts, Server
from cdn.rules.message import Fields
from cdn.tier.call import Call, host_value
from cdn.tier.own import OwnServer
from cdn.tier.seam import OnInterim, OriginError, OriginRequest, OriginResponse
from tests.tier.certificates import local_authority

Result = TypeVar("Result")
LIMIT = 20.0  # seconds for one test's whole coroutine

FAST = OriginTimeouts(connect=5_000, first_byte=2_000, idle=4_000, between_bytes=2_000)


def run(coro: Coroutine[Any, Any, Result], limit: float = LIMIT) -> Result:
    """Run on a fresh uvloop loop. Fails on a timeout and on any exception that only the loop heard of."""
    faults: list[dict[str, Any]] = []

    async def bounded() -> Result:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with asyncio.timeout(limit):
            result = await coro
        await asyncio.sleep(0)
        return result

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(bounded())
    assert not faults, faults
    return result


@dataclass
class Peer:
    """One connection as the origin sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int  # 1 for the origin's first connection

    async def request(self) -> bytes:
        """The next request's head; b"" when the client closed instead."""
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def send(self, data: bytes) -> None:
        """Send, and wait while the client does not read. A client that has gone is the test's business."""
        if self.writer.transport.is_closing():
            return
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def drip(self, data: bytes, pause: float = 0) -> None:
        """Byte by byte, each in a segment of its own as far as the kernel lets them."""
        for i in range(len(data)):
            await self.send(data[i : i + 1])
            await asyncio.sleep(pause)

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def closed(self) -> bytes:
        """Wait until the client has closed; what it sent before."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Scripted:
    """A running origin."""

    port: int
    connections: int = 0
    peers: list[Peer] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)


@contextlib.asynccontextmanager
async def scripted(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """An origin on an ephemeral port. A failure of its script fails the test."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        origin.connections += 1
        peer = Peer(reader, writer, origin.connections)
        origin.peers.append(peer)
        try:
            await script(peer)
        except asyncio.CancelledError:
            pass
        except ConnectionError:
            pass
        except BaseException as exc:
            origin.failures.append(exc)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    origin = Scripted(server.sockets[0].getsockname()[1])
    try:
        yield origin
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.sleep(0)
        for peer in origin.peers:
            peer.writer.transport.abort()
        await asyncio.sleep(0)
    assert not origin.failures, origin.failures


def serving(*answers: bytes, close: bool = False) -> Script:
    """Answer each request of a connection with the next of `answers`, then close, or let the client do so."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            if not await peer.request():
                return
            await peer.send(answer)
        if not close:
            await peer.closed()

    return script


def free_port() -> int:
    """A port that refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def origin_of(
    *ports: int, scheme: str = "http", timeouts: OriginTimeouts = FAST, host: str | None = None
) -> Origin:
    servers = tuple(Server(Address(scheme, "127.0.0.1", port)) for port in ports)
    return Origin("app", servers, host=host, timeouts=timeouts)


@dataclass
class Answer:
    """A response read to its end, or to its failure."""

    status: int = 0
    fields: Fields = field(default_factory=Fields)
    length: int | None = None
    by_close: bool = False
    complete: bool = False
    body: bytes = b""
    error: OriginError | None = None

    @property
    def kind(self) -> str | None:
        return None if self.error is None else self.error.kind.value


async def drain(response: OriginResponse) -> Answer:
    answer = Answer(response.head.status, response.head.fields, response.length, response.delimited_by_close)
    try:
        while piece := await response.read():
            answer.body += piece
        assert await response.read() == b""
    except OriginError as error:
        answer.error = error
    answer.complete = response.complete
    await response.close()
    return answer


class Asker:
    """The client of one origin's first server: "own" over plain TCP, "tls" over TLS to a `secured` origin."""

    def __init__(self, client: str, origin: Origin, tls: ssl.SSLContext | None = None) -> None:
        if client == "tls":
            servers = tuple(
                replace(one, address=replace(one.address, scheme="https")) for one in origin.servers
            )
            origin = replace(origin, servers=servers)
            tls = tls or local_authority().client()
        self.origin = origin
        self.address = origin.servers[0].address
        self.server = OwnServer(origin, origin.servers[0], asyncio.get_running_loop(), tls)

    async def open(
        self,
        method: str = "GET",
        target: str = "/",
        fields: Fields | None = None,
        body: AsyncIterator[bytes] | None = None,
        body_length: int | None = None,
        on_interim: OnInterim | None = None,
    ) -> OriginResponse:
        request = OriginRequest(method, target, "www.example.com", fields or Fields())
        host = host_value(self.origin, self.address, request)
        return await self.server.fetch(Call(request, host, body, body_length, on_interim))

    async def ask(self, method: str = "GET", target: str = "/", **more: Any) -> Answer:
        """A whole exchange; what failed is in the answer."""
        try:
            response = await self.open(method, target, **more)
        except OriginError as error:
            return Answer(error=error)
        return await drain(response)


@contextlib.asynccontextmanager
async def asking(client: str, origin: Origin, tls: ssl.SSLContext | None = None) -> AsyncIterator[Asker]:
    asker = Asker(client, origin, tls)
    try:
        yield asker
    finally:
        await asker.server.close()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], limit: float = 5.0) -> None:
    """Wait for `condition`, looking every few milliseconds."""
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110 (any condition, whoever makes it true)
            await asyncio.sleep(0.003)
