"""Our own client of one server: takes or makes a connection, sends one request, hands the response on.

Decides when a kept connection that turned out to be dead is replaced by a new one. Must not know which server
is chosen, nor how a message is framed (that is `_wire`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Coroutine
from typing import Any

from cdn.config.values import Address, Origin
from cdn.tier._wire import CHUNKED, NO_BODY, Connection, Pool, Stream, request_head
from cdn.tier.call import Call, server_name
from cdn.tier.seam import IDEMPOTENT, Kind, OriginError, OriginResponse, Tunnel
from cdn.tier.sending import send_body

MAX_HEAD = 64 << 10
MAX_FIELDS = 256


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


class OwnServer:
    """One server and its kept connections."""

    def __init__(
        self,
        origin: Origin,
        address: Address,
        loop: asyncio.AbstractEventLoop,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._origin = origin
        self._address = address
        self._loop = loop
        self._tls = tls if address.scheme == "https" else None
        self.pool = Pool(str(address), loop, origin.timeouts.idle)

    async def fetch(self, call: Call) -> OriginResponse:
        if call.body is None:
            length = NO_BODY if call.body_length is None else call.body_length
        else:
            length = CHUNKED if call.body_length is None else call.body_length
        request = call.request
        head = request_head(request.method, request.target, call.host, request.fields, length)
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

    async def _exchange(self, conn: Connection, call: Call, head: bytes) -> OriginResponse:
        stream = Stream(self._loop, call.on_interim)
        connect_ms = conn.connect_ms
        await self._ask(conn, stream, call, head, None)
        return WireResponse(stream, conn.server, connect_ms)

    async def upgrade(self, call: Call, protocol: str) -> OriginResponse | Tunnel:
        """Ask for `protocol` on a connection of its own; a 101 makes it a tunnel."""
        request = call.request
        head = request_head(request.method, request.target, call.host, request.fields, NO_BODY, protocol)
        conn = await self.connect()
        stream = Stream(self._loop, call.on_interim)
        await self._ask(conn, stream, call, head, protocol)
        if stream.tunnel:
            return WireTunnel(stream, conn)
        return WireResponse(stream, conn.server, conn.connect_ms)

    async def _ask(
        self, conn: Connection, stream: Stream, call: Call, head: bytes, upgrade: str | None
    ) -> None:
        try:
            conn.start(stream, head, call.request.method == "HEAD", call.body is not None, upgrade)
            if call.body is not None:
                sending = send_body(conn, stream, call.body, call.body_length)
                conn.set_sender(self._loop.create_task(sending))
            await stream.answer()
        except asyncio.CancelledError:
            conn.leave(stream)
            raise

    async def connect(self) -> Connection:
        """A new connection, ready for `start`. Raises OriginError of the kinds in CONNECT_FAILURES."""
        address = self._address
        timeouts = self._origin.timeouts
        conn = Connection(self.pool, timeouts, MAX_HEAD, MAX_FIELDS)
        began = self._loop.time()
        name = None if self._tls is None else server_name(self._origin, address)
        try:
            async with asyncio.timeout(timeouts.connect / 1000):
                await self._loop.create_connection(
                    lambda: conn, address.host, address.port, ssl=self._tls, server_hostname=name
                )
        except TimeoutError:
            kind, detail = Kind.CONNECT_TIMEOUT, f"no connection within {timeouts.connect / 1000:g} s"
        except (socket.gaierror, UnicodeError) as exc:
            kind, detail = Kind.DNS, f"its name can't be resolved ({exc})"
        except ssl.SSLError as exc:
            kind, detail = Kind.TLS, f"TLS failed ({exc.reason or exc})"
        except OSError as exc:
            kind, detail = Kind.CONNECT_REFUSED, f"no connection ({exc.strerror or exc})"
        except asyncio.CancelledError:
            conn.abort()
            raise
        else:
            conn.connect_ms = (self._loop.time() - began) * 1000
            return conn
        conn.abort()
        raise OriginError(kind, detail, server=str(address))

    async def close(self) -> None:
        self.pool.close()
