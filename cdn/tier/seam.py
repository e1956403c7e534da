"""The seam between an exchange and its origin: a request goes down, a response or an OriginError comes back.

Decides the shape that the client answers in. Must not know how a
connection is made, pooled or framed, and nothing of clients or storage. Field vocabulary: RFC 9110;
framing: RFC 9112.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cdn.rules.message import Fields, ResponseHead

OnInterim = Callable[[int, Fields], None]

NO_FIELDS = Fields()

# Methods that may be sent a second time when a kept connection turned out to be dead (RFC 9110 §9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"})

# Fields about framing or the connection (RFC 9110 §7.6.1, RFC 9112 §6): the clients write their own and never
# copy these from a request's fields.
OWN_FIELDS = frozenset(
    {
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "content-length",
        "upgrade",
        "expect",
        "http2-settings",
    }
)

# Upgrades that may be tunnelled. Never `h2c`: it would start a second protocol that nobody judges.
DEFAULT_UPGRADES = frozenset({"websocket"})


class Kind(StrEnum):
    """What went wrong between us and an origin; the names appear in the log and in Cache-Status."""

    CONNECT_REFUSED = "connect-refused"  # refused, unreachable: no connection came to be
    CONNECT_TIMEOUT = "connect-timeout"
    DNS = "dns"
    TLS = "tls"
    FIRST_BYTE_TIMEOUT = "first-byte-timeout"  # no complete response head in time
    BETWEEN_BYTES_TIMEOUT = "between-bytes-timeout"  # silence inside a body, the origin's or ours
    RESET = "reset"  # the connection ended before a response head, or was reset
    MALFORMED = "malformed"  # the response is not HTTP/1.1 as RFC 9112 frames it
    TRUNCATED = "truncated"  # the body ended before its framing said so
    NO_SERVER = "no-server"
    REFUSED = "refused"  # the origin does not know us: credentials, region
    TOTAL_TIMEOUT = "total-timeout"  # the exchange as a whole took too long
    QUEUE_FULL = "queue-full"  # every server is at its limit, and so is the queue
    QUEUE_TIMEOUT = "queue-timeout"  # no server had a place in time
    UNSENDABLE = "unsendable"  # the request can't be written as one unambiguous message; nothing was sent
    REQUEST_BODY = "request-body"  # the request's own body failed after the response head had come


TIMEOUTS = frozenset(
    {Kind.CONNECT_TIMEOUT, Kind.FIRST_BYTE_TIMEOUT, Kind.BETWEEN_BYTES_TIMEOUT, Kind.TOTAL_TIMEOUT}
)

# The origin is not at fault: there is more to ask of it than it is allowed to be asked.
OVERLOADS = frozenset({Kind.QUEUE_FULL, Kind.QUEUE_TIMEOUT})

# Failures before any byte of the request left: another server may be asked.
CONNECT_FAILURES = frozenset({Kind.CONNECT_REFUSED, Kind.CONNECT_TIMEOUT, Kind.DNS, Kind.TLS})


class OriginError(Exception):
    """An origin did not give a (whole) answer. `str()` is one sentence, safe for the log, never for a client.

    `sent` says whether bytes of the request had gone out, `received` whether bytes of a response had come in.
    """

    def __init__(
        self, kind: Kind, detail: str, *, server: str = "", sent: bool = False, received: bool = False
    ) -> None:
        super().__init__(f"origin {server}: {detail}" if server else detail)
        self.kind = kind
        self.detail = detail
        self.server = server
        self.sent = sent
        self.received = received

    @property
    def status(self) -> int:
        """What to answer when nothing was sent to the client yet: 504 for a timeout, 503 for a queue, else 502."""
        return 504 if self.kind in TIMEOUTS else 503 if self.kind in OVERLOADS else 502


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """A request for an origin.

    `target` is in origin-form (or `*`), already normalised. `host` is the Host value; the origin's
    configured `host` goes before it, and where both are None the server's own address is sent. `fields` are
    end-to-end; Host and every field about framing or the connection are written by the client, and such
    lines in `fields` are left out.
    """

    method: str
    target: str
    host: str | None
    fields: Fields = NO_FIELDS


class OriginResponse(ABC):
    """A final response whose body is still arriving.

    head                the status line and fields as received, hop-by-hop fields included
    length              bytes that `read` will give in total, where the framing says so beforehand (0 for a
                        HEAD, 204 or 304, whatever their Content-Length says); None for chunked and
                        close-delimited bodies
    delimited_by_close  the body ends when the origin closes: a truncation can't be told from its end
    complete            the framing proved that the whole body was received. True only after the last byte
                        came in (`read` may still have some to give) and never for a close-delimited body:
                        whoever stores decides what to do with `delimited_by_close` after `read` gave b""
    trailers            always empty for now: trailer lines are checked and dropped
    server              the address that answered, as `http://host:port`
    connect_ms          what making the connection took; 0.0 on a kept one
    first_byte_ms       from the request's head written to the response's first byte

    The body must be read to its end, or `close` be called; an object that is dropped closes itself.
    """

    head: ResponseHead
    length: int | None
    delimited_by_close: bool
    trailers: Fields = NO_FIELDS
    server: str
    connect_ms: float
    first_byte_ms: float

    @property
    @abstractmethod
    def complete(self) -> bool: ...

    @abstractmethod
    def read(self) -> Coroutine[Any, Any, bytes]:
        """The next piece of the body, as it arrived; b"" at its end, and at every call after that.

        What arrived before a failure is given first, then OriginError is raised: TRUNCATED, RESET, MALFORMED,
        BETWEEN_BYTES_TIMEOUT or REQUEST_BODY. One reader at a time. The socket is paused while more than
        256 KiB wait.
        """

    def ready(self) -> bytes | None:
        """What `read` would give at once, or None: it has to be waited for, or has failed. While nobody reads."""
        return None

    @abstractmethod
    def abort(self) -> None:
        """Give up the rest: the connection is closed at once, unless the body was whole. Idempotent."""

    async def close(self) -> None:
        """The same as `abort`, for `async with`-like code."""
        self.abort()


class Tunnel(ABC):
    """A connection after 101: raw bytes both ways (RFC 9110 §7.8). Whoever got it must `abort` it at last.

    Either read and write here, or `attach` a protocol of one's own once and use `transport` from then on.
    """

    head: ResponseHead
    server: str

    @property
    @abstractmethod
    def transport(self) -> asyncio.Transport: ...

    @abstractmethod
    def attach(self, protocol: asyncio.Protocol) -> None:
        """Hand the transport over: `protocol.connection_made` is called now, then `data_received` with what
        had come behind the 101, then the transport feeds it. A transport that is closed already calls
        `connection_lost` soon.
        """

    @abstractmethod
    def read(self) -> Coroutine[Any, Any, bytes]:
        """What arrived; b"" when the origin ended its side. Raises OriginError(RESET). Back-pressure as for
        a body.
        """

    @abstractmethod
    def write(self, data: bytes) -> Coroutine[Any, Any, None]:
        """Send, and wait while the transport's buffer is full. Raises OriginError(RESET)."""

    @abstractmethod
    def write_eof(self) -> None:
        """End our side and keep reading."""

    @abstractmethod
    def abort(self) -> None: ...


def allowed_upgrade(offered: str | None, allowed: frozenset[str] = DEFAULT_UPGRADES) -> str | None:
    """The first protocol of a client's Upgrade field that may be tunnelled, in lower case, or None."""
    for token in (offered or "").split(","):
        name = token.strip(" \t").lower()
        if name in allowed and name != "h2c":
            return name
    return None
