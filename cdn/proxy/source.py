"""What an answer is read from: a stored record, or a fill that is still arriving. One face for both.

Decides nothing; `answer` asks it for the head's parts and for body bytes.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cdn.proxy.lookup import log_hash
from cdn.rules.stored import Stored
from cdn.store import Draft, Entry, Fill, FillState, Loose, RecordFlag

if TYPE_CHECKING:
    from cdn.proxy.clock import Clock
    from cdn.proxy.flight import Flight

PIECE = 64 << 10  # bytes read from the store and given to a client at once


class FillError(Exception):
    """The body will not be completed: a client in the middle of it is cut."""


class EvictedError(FillError):
    """What a slow client was reading was evicted after it had lost its pin."""


class Source(ABC):
    """`length` is the body's, None while unknown."""

    status: int
    head: bytes
    status_line_len: int
    lines_304: int
    no_body: bool
    old_origin: bool  # HTTP/1.0
    length: int | None
    stored: Stored
    key_hash: str
    aged: bool = True  # whether an Age belongs into the answer (RFC 9111 §5.1)

    @abstractmethod
    async def read(self, offset: int, n: int) -> bytes:
        """Body bytes at `offset`, at least one, at most `n`; b"" at the end. Raises FillError."""

    @abstractmethod
    def close(self) -> None:
        """No more will be read."""

    def holds(self) -> bool:
        """Whether it holds memory of the store."""
        return False

    def loosen(self) -> bool:
        """Hold nothing from now on. False: it cannot do without."""
        return not self.holds()


class EntrySource(Source):
    """With `clock` the entry is its own, so that it can be let go."""

    def __init__(self, entry: Entry, stored: Stored, clock: Clock | None = None) -> None:
        self.entry: Entry | None = entry
        self._clock = clock
        self._loose: Loose | None = None
        self.stored = stored
        self.status = entry.status
        self.head = entry.head
        self.status_line_len = entry.status_line_len
        self.lines_304 = entry.lines_304
        self.no_body = bool(entry.flags & RecordFlag.NO_BODY)
        self.old_origin = bool(entry.flags & RecordFlag.OLD_ORIGIN)
        self.length = entry.body_length
        self.key_hash = log_hash(entry.key)

    async def read(self, offset: int, n: int) -> bytes:
        if self.entry is not None:
            return self.entry.read(offset, n)
        assert self._loose is not None
        assert self._clock is not None
        return again(self._loose, offset, n, self._clock)

    def close(self) -> None:
        # The record stays pinned for as long as anybody (a refresh, say) holds the entry.
        return

    def holds(self) -> bool:
        return self.entry is not None

    def loosen(self) -> bool:
        if self.entry is not None and self._clock is not None:
            self._loose = self.entry.loosen()
            if self._loose is not None:
                self.entry.release()
                self.entry = None
        return self.entry is None


def again(loose: Loose, offset: int, n: int, clock: Clock) -> bytes:
    """Bytes of what a reader does not hold any more. EvictedError."""
    data = loose.read(offset, n, clock.now())
    if data is None:
        raise EvictedError("evicted while it was sent to a slow client")
    return data


class Overflow:
    """The part of a body that the store had no room for: a window over it, bounded by whoever fills it."""

    def __init__(self) -> None:
        self.ended = False
        self.size = 0
        self._begin = -1  # offset in the body of the first piece
        self._pieces: deque[bytes] = deque()

    @property
    def begun(self) -> bool:
        return self._begin >= 0

    def begin(self, offset: int) -> None:
        self._begin = offset

    def add(self, data: bytes) -> None:
        self._pieces.append(data)
        self.size += len(data)

    def read(self, offset: int, n: int) -> bytes:
        """Bytes at `offset`, b"" when they are not there yet."""
        at = self._begin
        for piece in self._pieces:
            if offset < at + len(piece):
                return piece[offset - at : offset - at + n]
            at += len(piece)
        return b""

    def release_before(self, offset: int) -> None:
        while self._pieces and self._begin + len(self._pieces[0]) <= offset:
            piece = self._pieces.popleft()
            self._begin += len(piece)
            self.size -= len(piece)


class FillSource(Source):
    """A follower of a fill. `position` is where it reads: the flight frees what all are past.

    What it has brought is in the store from its commit on, and is read from there: each reader holds it for itself, and
    who may not hold it finds it again.
    """

    def __init__(
        self, fill: Fill, stored: Stored, key_hash: str, draft: Draft | None, overflow: Overflow
    ) -> None:
        draft = draft or fill.draft
        assert draft is not None
        self.fill = fill
        self.stored = stored
        self.status = draft.status
        self.head = draft.head
        self.status_line_len = draft.status_line_len
        self.lines_304 = draft.lines_304
        self.no_body = bool(draft.flags & RecordFlag.NO_BODY)
        self.old_origin = bool(draft.flags & RecordFlag.OLD_ORIGIN)
        self.length = fill.length
        self.key_hash = key_hash
        self.position = 0
        self.cut = False  # it held up the others
        self.beside = False  # it is for a request of its own: eviction counts it as a use
        self._overflow = overflow
        self.on_read: Callable[[], None] | None = None
        self.flight: Flight | None = None
        self.successor: Callable[[], Awaitable[Flight | Entry | None]] | None = None
        self._entry: Entry | None = None
        self._loose: Loose | None = None
        self._waiter: asyncio.Future[None] | None = None
        fill.subscribe(self.changed)

    def keep(self) -> None:
        """Hold what is stored."""
        if self._entry is None and self._loose is None and self.fill.entry is not None:
            self._entry = self.fill.entry
            if self.beside and self.flight is not None:
                self._entry.touch(self.flight.site.clock.now())

    def changed(self) -> None:
        self.keep()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self, offset: int, n: int) -> bytes:
        self.position = offset
        if self.on_read is not None and self.fill.detached:
            self.on_read()
        while True:
            if self._entry is not None:
                return self._entry.read(offset, n)
            if self._loose is not None:
                assert self.flight is not None
                return again(self._loose, offset, n, self.flight.site.clock)
            fill = self.fill
            if fill.state is FillState.ABORTED or self.cut:
                if self.cut or not await self._go_on():
                    raise FillError(fill.reason or "too slow for the others")
                continue
            if offset < fill.arrived:
                return fill.read(offset, n)
            if self._overflow.begun:
                data = self._overflow.read(offset, n)
                if data or self._overflow.ended:
                    return data
            elif fill.ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def _go_on(self) -> bool:
        """The worker that filled it is gone: read on where the same bytes are."""
        if self.successor is None or self.flight is None:
            return False
        other = await self.successor()
        if other is None:
            return False
        self.flight.left(self)
        self.fill.unsubscribe(self.changed)
        if isinstance(other, Entry):
            self._entry = other
            return True
        self.successor = None
        self.fill = other.fill
        self._overflow = other.overflow
        self.fill.subscribe(self.changed)
        other.joined(self)
        return True

    def close(self) -> None:
        self.fill.unsubscribe(self.changed)

    def holds(self) -> bool:
        return self._entry is not None

    def loosen(self) -> bool:
        if self._entry is not None and self.flight is not None:
            self._loose = self._entry.loosen()
            if self._loose is not None:
                self._entry = None
                self.fill.unsubscribe(self.changed)
                self.flight.let_go()
                self.flight.left(self)
        return self._entry is None
