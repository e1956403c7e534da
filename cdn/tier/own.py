"""Our own client of one server: takes or makes a connection, sends one request, hands the response on.

Decides when a kept connection that turned out to be dead is replaced by a new one, and which failures are the
server's. Must not know which server is chosen, nor how a message is framed (that is `_wire`).

A lane that speaks for itself asks in the same steps:

    server, conn = upstream.kept()          # None: use `Origins.fetch`, which connects, or waits for a place
    conn.start(sink, head, …)               # a sink of its own
    server.worked(first_byte_ms, status)    # once a final head has come, or
    server.failed(error)                    # where the exchange broke, before its head or after it
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from cdn.config.values import Origin, Server
from cdn.tier._standing import Member
from cdn.tier._wire import CHUNKED, NO_BODY, Connection, Pool, Stream, request_head
from cdn.tier.call import Call, server_name
from cdn.tier.connecting import Dialer
from cdn.tier.figures import Figures
from cdn.tier.health import Health, State
from cdn.tier.rendezvous import hash_of
from cdn.tier.resolving import Addresses, Resolver, system_resolver
from cdn.tier.seam import IDEMPOTENT, OVERLOADS, Kind, OriginError, OriginResponse, Tunnel
from cdn.tier.sending import send_body

MAX_HEAD = 64 << 10
MAX_FIELDS = 256
MOST_SPARE = 256  # connections with which no more are made beforehand
PROBE_BODY = 64 << 10  # what a health check reads of an answer

# Failures that say nothing of the server.
_NOT_ITS_OWN = OVERLOADS | {Kind.UNSENDABLE, Kind.REQUEST_BODY, Kind.NO_SERVER}


class WireResponse(OriginResponse):
    def __init__(self, stream: Stream, server: str, connect_ms: float) -> None:
        self._stream = stream
        self.head = stream.head
        self.length = stream.length
        self.delimited_by_close = stream.by_close
        self.server = server
        self.connect_ms = connect_ms
        self.first_byte_ms = stream.first_byte_ms

    @property
    def complete(self) -> bool:
        return self._stream.complete

    def read(self) -> Coroutine[Any, Any, bytes]:
        return self._stream.read()

    def ready(self) -> bytes | None:
        return self._stream.ready()

    def limit(self, at: float) -> None:
        """The body has to be whole at `at`, loop time."""
        self._stream.limit(at)

    def abort(self) -> None:
        self._stream.abort()

    def __del__(self) -> None:
        self._stream.abort()


class WireTunnel(Tunnel):
    def __init__(self, stream: Stream, conn: Connection) -> None:
        self._stream = stream
        self._conn = conn
        self._attached = False
        self.head = stream.head
        self.server = conn.server

    @property
    def transport(self) -> asyncio.Transport:
        return self._conn.transport

    def attach(self, protocol: asyncio.Protocol) -> None:
        transport = self.transport
        error = self._stream.broken()
        waiting, ended = self._stream.detach()
        self._attached = True
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        for piece in waiting:
            protocol.data_received(piece)
        if error is not None or self._conn.lost:
            asyncio.get_running_loop().call_soon(protocol.connection_lost, error)
            return
        if ended and not protocol.eof_received():
            transport.close()
        transport.resume_reading()

    def read(self) -> Coroutine[Any, Any, bytes]:
        return self._stream.read()

    async def write(self, data: bytes) -> None:
        await self._stream.room(self._conn)
        if (error := self._stream.broken()) is not None:
            raise error
        self._conn.write(data)

    def write_eof(self) -> None:
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def abort(self) -> None:
        if self._attached:
            self.transport.abort()
        else:
            self._stream.abort()

    def __del__(self) -> None:
        if not self._attached:
            self._stream.abort()


class OwnServer(Member):
    """One server: its addresses and kept connections, its health, its figures.

    `told(sentence)` hears of changes of health and addresses. `tls` is for https servers; without one the system's
    authorities are believed.
    """

    def __init__(
        self,
        origin: Origin,
        server: Server,
        loop: asyncio.AbstractEventLoop,
        tls: ssl.SSLContext | None = None,
        *,
        backup: bool = False,
        resolver: Resolver = system_resolver,
        told: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._origin = origin
        self._loop = loop
        self._timeouts = origin.timeouts
        self.watch(origin.eject.statuses)
        self._refresher: asyncio.TimerHandle | None = None
        self._spare: asyncio.Task[None] | None = None
        address = self.address = server.address
        self.name = str(address)
        self.backup = backup
        self.weight = server.weight
        self.limit = origin.connections.per_server
        self.seed = hash_of(self.name.encode())
        self.figures = Figures()
        self.health = Health(origin.eject, origin.health, told, draining=server.drain)
        self.share = self.health.share
        self.pool = Pool(self.name, loop, origin.timeouts.idle)
        self._probes = Pool(self.name, loop, 0)  # connections of health checks: not kept, nor counted
        secure = address.scheme == "https"
        self.addresses: Addresses | None = None
        if address.path is None:
            self.addresses = Addresses(
                address.host, address.port, origin.resolve, loop, resolver, self.pool.renew, told
            )
        self._dialer = Dialer(
            address,
            self.addresses,
            loop,
            (tls or ssl.create_default_context()) if secure else None,
            server_name(origin, address) if secure else None,
        )

    # --- what chooses between servers asks ---

    @property
    def full(self) -> bool:
        return self.limit is not None and self.busy >= self.limit

    def now(self) -> int:
        return int(self._loop.time() * 1000)

    def worked(self, first_byte_ms: float, status: int) -> None:
        """A final response's head has come."""
        self.figures.answered(first_byte_ms)
        if status in self.suspect:
            self.health.failed(self.now(), f"it answers {status}")
        elif not self.health.steady:
            self.health.worked(self.now())

    def failed(self, error: OriginError) -> None:
        """The exchange broke; failures that are not the server's own count for nothing."""
        if error.kind in _NOT_ITS_OWN:
            return
        self.figures.failed(error.kind)
        self.health.failed(
            self.now(),
            error.detail,
            connect=not error.sent and not error.received,
            late=error.received and error.kind is not Kind.MALFORMED,
        )

    def _broke(self, error: OriginError | None) -> None:
        if isinstance(error, OriginError):
            self.failed(error)

    def stats(self) -> dict[str, Any]:
        now = self.now()
        state = self.health.state(now)
        return {
            "state": state.value,
            "up": int(state not in (State.DOWN, State.EJECTED, State.DRAINING)),
            "backup": int(self.backup),
            "weight": self.weight,
            "busy": self.busy,
            "idle": self.pool.idle_count,
            "opened": self.pool.opened,
            "reused": self.pool.reused,
            "ejections": self.health.ejections,
            **self.figures.stats(),
        }

    # --- what asks it ---

    async def fetch(self, call: Call) -> WireResponse:
        if call.body is None:
            length = NO_BODY if call.body_length is None else call.body_length
        else:
            length = CHUNKED if call.body_length is None else call.body_length
        request = call.request
        head = request_head(request.method, request.target, call.host, request.fields, length)
        if isinstance(call.body, bytes):
            head += call.body
        kept = self.pool.take()
        if kept is not None:
            try:
                return await self._exchange(kept, call, head)
            except OriginError as error:
                # It had been closed on the other side while it was kept: the origin has done nothing yet,
                # or what may be done twice (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
                again = error.kind is Kind.RESET and not error.received and call.body is None
                if not again or (error.sent and request.method not in IDEMPOTENT):
                    raise
        return await self._exchange(await self.connect(), call, head)

    async def _exchange(self, conn: Connection, call: Call, head: bytes) -> WireResponse:
        stream = Stream(self._loop, call.on_interim)
        connect_ms = conn.connect_ms
        await self._ask(conn, stream, call, head, None)
        return self.response(stream, conn.server, connect_ms)

    def response(self, stream: Stream, server: str, connect_ms: float) -> WireResponse:
        """A final response whose head has come to `stream`."""
        self.worked(stream.first_byte_ms, stream.head.status)
        return self.rest(stream, server, connect_ms)

    def rest(self, stream: Stream, server: str, connect_ms: float) -> WireResponse:
        """The same where its head has been told already."""
        if (error := stream.broken()) is not None:
            self._broke(error)  # it came with the head
        stream.over = self._broke
        return WireResponse(stream, server, connect_ms)

    async def upgrade(self, call: Call, protocol: str) -> WireResponse | WireTunnel:
        """Ask for `protocol` on a connection of its own; a 101 makes it a tunnel."""
        request = call.request
        head = request_head(request.method, request.target, call.host, request.fields, NO_BODY, protocol)
        conn = await self.connect()
        stream = Stream(self._loop, call.on_interim)
        await self._ask(conn, stream, call, head, protocol)
        if stream.tunnel:
            self.worked(stream.first_byte_ms, 101)
            return WireTunnel(stream, conn)
        return self.response(stream, conn.server, conn.connect_ms)

    async def _ask(
        self, conn: Connection, stream: Stream, call: Call, head: bytes, upgrade: str | None
    ) -> None:
        try:
            body = None if isinstance(call.body, bytes) else call.body
            conn.start(stream, head, call.request.method == "HEAD", body is not None, upgrade)
            if body is not None:
                sending = send_body(conn, stream, body, call.body_length)
                conn.set_sender(self._loop.create_task(sending))
            await stream.answer()
        except asyncio.CancelledError:
            conn.leave(stream)
            raise

    async def connect(self) -> Connection:
        """A new connection, ready for `start`. Raises OriginError of the kinds in CONNECT_FAILURES."""
        began = self._loop.time()
        self.connecting += 1
        conn: Connection | None = None
        try:
            conn = await self._dialer.dial(self._new, Connection.abort, self._timeouts.connect)
        finally:
            self.connecting -= 1
            if conn is None and self.pool.on_free is not None:
                self.pool.on_free()
        conn.connect_ms = (self._loop.time() - began) * 1000
        if self._refresher is None and self.addresses is not None and not self.addresses.literal:
            self._refresher = self._loop.call_later(self.addresses.good_for, self._refresh)
        return conn

    def spare(self) -> None:
        """Make one more connection, to be kept: a lane has found none, and its request goes on without waiting for it.

        What connects for itself takes one that has come back meanwhile, so there would never be more of them.
        """
        if self._spare is None and self.limit is None and 0 < self.pool.live_count < MOST_SPARE:
            self._spare = self._loop.create_task(self._connect_spare())

    async def _connect_spare(self) -> None:
        try:
            conn = await self.connect()
        except OriginError:
            return  # whoever needs one finds out by itself
        finally:
            self._spare = None
        conn.give_back()

    async def probe(self, call: Call) -> int:
        """The status of one answer on a connection of its own, for a health check. Raises OriginError."""
        request = call.request
        head = request_head(request.method, request.target, call.host, request.fields, NO_BODY)

        def new() -> Connection:
            return Connection(self._probes, self._timeouts, MAX_HEAD, MAX_FIELDS)

        conn = await self._dialer.dial(new, Connection.abort, self._timeouts.connect)
        stream = Stream(self._loop)
        try:
            await self._ask(conn, stream, call, head, None)
            left = PROBE_BODY
            while left > 0 and (piece := await stream.read()):
                left -= len(piece)
        finally:
            stream.abort()
        return stream.head.status

    def _new(self) -> Connection:
        return Connection(self.pool, self._timeouts, MAX_HEAD, MAX_FIELDS)

    def _refresh(self) -> None:
        """Look the name up while connections are held; without any, the next one does."""
        self._refresher = None
        if self.addresses is not None and self.pool.live_count:
            self.addresses.refresh()
            self._refresher = self._loop.call_later(self.addresses.good_for, self._refresh)

    async def close(self) -> None:
        if self._refresher is not None:
            self._refresher.cancel()
            self._refresher = None
        if self._spare is not None:
            self._spare.cancel()
        if self.addresses is not None:
            self.addresses.close()
        self._probes.close()
        self.pool.close()
