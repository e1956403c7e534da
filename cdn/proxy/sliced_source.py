"""A body that is read slice by slice: what is stored from the store, the rest from the flights that fetch it.

Decides when a slice is fetched: when its first byte is wanted, and the one behind it then already if it will be wanted.
So a reader holds two slices at most, however long its range is. A slice that breaks off is asked for once more,
under the same validator; where the representation has changed meanwhile, the body ends. It knows no client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cdn.proxy.lookup import log_hash
from cdn.proxy.slice_asking import Asker, ChangedError, GivenUpError, joined
from cdn.proxy.slice_flight import SliceFlight
from cdn.proxy.source import FillError, FillSource, Source
from cdn.proxy.stored_slices import Sliced, load, slice_key
from cdn.rules.ranges import Range
from cdn.rules.slices import number_of, span_of
from cdn.store import Draft, Entry, RecordFlag
from cdn.tier import OriginError

OTHERS = 8  # workers that may give up a slice, one after the other


class Kept:
    """A slice in the store, pinned while it is read."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    async def read(self, offset: int, n: int) -> bytes:
        return self._entry.read(offset, n)

    def close(self) -> None:
        self._entry.release()

    def holds(self) -> bool:
        return True


class Coming:
    """A slice on its way."""

    def __init__(self, flight: SliceFlight, source: FillSource) -> None:
        self._flight = flight
        self._source = source

    async def read(self, offset: int, n: int) -> bytes:
        return await self._source.read(offset, n)

    def close(self) -> None:
        self._source.close()
        self._flight.left(self._source)

    def holds(self) -> bool:
        return self._source.holds()


Piece = Kept | Coming


class SlicedSource(Source):
    """`shown` has the head, `spans` are the bytes that will be read. `first`: a slice that is arriving already."""

    def __init__(
        self,
        asker: Asker,
        sliced: Sliced,
        spans: Sequence[Range],
        shown: Entry | Draft,
        first: SliceFlight | None = None,
    ) -> None:
        self.stored = sliced.stored
        self.status = shown.status
        self.head = shown.head
        self.status_line_len = shown.status_line_len
        self.lines_304 = shown.lines_304
        self.no_body = False
        self.old_origin = bool(shown.flags & RecordFlag.OLD_ORIGIN)
        self.length = sliced.length
        self.key_hash = log_hash(sliced.base)
        self._asker = asker
        self._sliced = sliced
        self._spans = [sliced.numbers(span) for span in spans]
        self._number = -1
        self._piece: Piece | None = None
        self._ahead: tuple[int, asyncio.Task[Piece]] | None = None
        self._again = -1  # the slice that was asked for a second time
        if first is not None:
            self._number = first.number
            self._piece = Coming(first, joined(first, sliced))

    async def read(self, offset: int, n: int) -> bytes:
        number = number_of(offset, self._sliced.size)
        first, last = span_of(number, self._sliced.size, self._sliced.length)
        while True:
            try:
                if number != self._number or self._piece is None:
                    await self._turn_to(number)
                assert self._piece is not None
                data = await self._piece.read(offset - first, min(n, last + 1 - offset))
                if not data:
                    raise FillError("a slice is short")
                return data
            except ChangedError:
                raise
            except (FillError, OriginError) as failure:
                self._let_go()
                if self._again == number:
                    raise FillError(str(failure)) from failure
                self._again = number

    async def _turn_to(self, number: int) -> None:
        self._let_go()
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] != number:
            _forget(ahead[1])
            ahead = None
        try:
            self._piece = await (ahead[1] if ahead is not None else self._get(number))
        finally:
            ahead = None  # a task whose error's traceback holds the task would stay, and the fill with it
        self._number = number
        following = number + 1
        if any(following in wanted for wanted in self._spans) and self._held(following) is None:
            task = asyncio.get_running_loop().create_task(self._get(following))
            self._ahead = (following, task)

    def _held(self, number: int) -> Entry | None:
        memory = self._asker.site.memory
        entry = self._sliced.slice(memory, number)
        if entry is not None:
            return entry
        # Listed since, or anew: under another token the same bytes may be there.
        now = load(memory, self._sliced.base, self._sliced.size)
        if now is None or now.token == self._sliced.token or not now.same_as(self._sliced):
            return None
        self._sliced = now
        return now.slice(memory, number)

    async def _get(self, number: int) -> Piece:
        entry = self._held(number)
        tier = self._asker.site.disk
        if entry is None and tier is not None:
            await tier.bring_keys([slice_key(self._sliced.base, number)])
        for _ in range(OTHERS):
            entry = self._held(number)
            if entry is not None:
                entry.touch(self._asker.site.clock.now())
                return Kept(entry)
            try:
                return Coming(*await self._asker.wanted(number, self._sliced))
            except GivenUpError:
                continue
        raise FillError("the slice was given up by one worker after the other")

    def _let_go(self) -> None:
        piece, self._piece = self._piece, None
        self._number = -1
        if piece is not None:
            piece.close()

    def holds(self) -> bool:
        return self._piece is not None and self._piece.holds()

    def loosen(self) -> bool:
        """The slice is looked for, or fetched, again when more of it is wanted. What is held lets nobody wait."""
        if self.holds():
            self._let_go()
        return True

    def close(self) -> None:
        self._let_go()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            _forget(ahead[1])


def _forget(task: asyncio.Task[Piece]) -> None:
    """End a read-ahead that nobody waits for. What its flight brings is stored all the same."""
    task.add_done_callback(_close)
    task.cancel()


def _close(task: asyncio.Task[Piece]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
