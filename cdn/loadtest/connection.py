"""One connection of the generator: sends a head, reads the answer, tells its owner; one request at a time.

Decides nothing about what is sent when.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import Protocol, cast

from cdn.loadtest import errors
from cdn.loadtest.answer import Answer, MalformedError


class Owner(Protocol):
    """Whom a connection tells. After `lost` it is never heard of again."""

    def ready(self, connection: Connection) -> None: ...
    def answered(self, connection: Connection) -> None: ...
    def failed(self, connection: Connection, kind: str) -> None: ...
    def lost(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """`begin_ns` is when the request in flight should have been sent, `sent_ns` when it was."""

    __slots__ = ("_lost", "_owner", "_transport", "answer", "begin_ns", "busy", "sent_ns")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._lost = False
        self._transport: asyncio.Transport | None = None
        self.answer = Answer()
        self.busy = False
        self.begin_ns = self.sent_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._owner.ready(self)

    def send(self, head: bytes, begin_ns: int) -> None:
        """Only while it is not busy."""
        assert self._transport is not None
        self.busy = True
        self.answer.again()
        self.begin_ns = begin_ns
        self.sent_ns = monotonic_ns()
        self._transport.write(head)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            if not self._lost:
                self.give_up()  # bytes that nobody asked for: another connection takes its place
            return
        try:
            whole = self.answer.feed(data)
        except MalformedError:
            self.fail(errors.MALFORMED)
            return
        if whole:
            self._answered()

    def _answered(self) -> None:
        self.busy = False
        if self.answer.close:
            self._owner.answered(self)
            self.give_up()
        else:
            self._owner.answered(self)
            if not self._lost:
                self._owner.ready(self)

    def fail(self, kind: str) -> None:
        """Ends the request in flight, and the connection."""
        self.busy = False
        self._owner.failed(self, kind)
        self.give_up()

    def give_up(self) -> None:
        """Ends the connection; the owner is told now."""
        if self._transport is not None:
            self._transport.abort()
        self._gone()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            self.busy = False
            if exc is None and self.answer.end():
                self._owner.answered(self)
            else:
                reset = isinstance(exc, ConnectionError)
                self._owner.failed(self, errors.RESET if reset else errors.CLOSED)
        self._gone()

    def _gone(self) -> None:
        if not self._lost:
            self._lost = True
            self._owner.lost(self)
