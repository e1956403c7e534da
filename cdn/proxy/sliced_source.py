"""A body that is read slice by slice: what is stored from the store, the rest from the flights that fetch it.

Decides when a slice is fetched: when its first byte is wanted, and the one behind it then already if it will be wanted.
So a reader holds two slices at most, however long its range is. Whoever reads faster than slices come gets more of them
with one request, twice as many each time, and the next such run is asked for in the middle of the one before; a slow
reader gets one ahead. A slice that breaks off is asked for once more, under the same validator; where the
representation has changed meanwhile, the body ends. It knows no client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from cdn.proxy.lookup import log_hash
from cdn.proxy.slice_asking import Asker, ChangedError, GivenUpError, joined
from cdn.proxy.slice_flight import SliceFlight
from cdn.proxy.slice_run import Run, RunSlice
from cdn.proxy.source import FillError, FillSource, Source
from cdn.proxy.stored_slices import Sliced, load, slice_key
from cdn.rules.ranges import Range
from cdn.rules.slices import number_of, span_of
from cdn.store import Draft, Entry, RecordFlag
from cdn.tier import OriginError

RUN = 32 << 20  # bytes that one request brings at most, or
RUN_SLICES = 64  # slices, or
RUN_OF_ALL = 64  # this part of the store
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

    def loosen(self) -> None:
        self._source.loosen()


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
        self._looked = -1  # the slice at whose beginning it was looked ahead
        self._reach = 1  # slices to be asked for at once
        self._until = 0  # up to here they are asked for, if they were many
        self._runs: deque[Run] = deque(maxlen=3)  # that were asked for last
        self._first = first
        if first is not None:
            with suppress(GivenUpError):
                self._piece = Coming(first, joined(first, sliced))
                self._number = first.number

    async def read(self, offset: int, n: int) -> bytes:
        number = number_of(offset, self._sliced.size)
        first, last = span_of(number, self._sliced.size, self._sliced.length)
        while True:
            try:
                if number != self._number or self._piece is None:
                    await self._turn_to(number)
                assert self._piece is not None
                if self._looked != number:
                    self._looked = number
                    self._look_ahead(number)
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
        if ahead is not None and not ahead[1].done():
            self._reach = min(2 * self._reach, self._most)
        try:
            self._piece = await (ahead[1] if ahead is not None else self._get(number))
        finally:
            ahead = None  # a task whose error's traceback holds the task would stay, and the fill with it
        self._number = number

    @property
    def _most(self) -> int:
        size = self._sliced.size
        return max(1, min(RUN // size, RUN_SLICES, self._asker.site.memory.size // RUN_OF_ALL // size))

    def _look_ahead(self, number: int) -> None:
        following = number + 1
        reach = self._missing(following)
        if reach and self._ahead is None:
            task = asyncio.get_running_loop().create_task(self._get(following, reach))
            self._ahead = (following, task)
        if following < self._until <= number + self._reach // 2:
            start = self._until
            reach = self._missing(start)
            self._until = start + 1
            if reach:
                with suppress(GivenUpError):
                    self._noted(self._asker.board(start, self._sliced, reach=reach)[0])

    def _missing(self, first: int) -> int:
        """How many slices from `first` on, as far as we reach, are wanted and not there."""
        wanted = next((wanted for wanted in self._spans if first in wanted), None)
        if wanted is None:
            return 0
        last = min(first + self._reach, wanted.stop)
        if first == 0:
            last = min(last, 1)  # never all of it: that would be another kind of answer
        tier = self._asker.site.disk
        for number in range(first, last):
            there = self._held(number) is not None
            if there or (
                number > first and tier is not None and tier.has(slice_key(self._sliced.base, number))
            ):
                return number - first
        return last - first

    def _noted(self, flight: SliceFlight) -> None:
        """A run that we have asked for, or follow."""
        if isinstance(flight, RunSlice):
            self._until = max(self._until, flight.in_run.end)
            if flight.number == flight.in_run.first:
                self._runs.append(flight.in_run)

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

    async def _get(self, number: int, reach: int = 1) -> Piece:
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
                flight, source = await self._asker.wanted(number, self._sliced, reach)
                self._noted(flight)
                return Coming(flight, source)
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
        if isinstance(self._piece, Coming):
            self._piece.loosen()
        if self.holds():
            self._let_go()
        first, self._first = self._first, None
        if first is not None:  # whoever boarded it has it still
            first.let_go()
        ahead = self._ahead
        if ahead is not None and ahead[1].done():
            self._ahead = None
            _forget(ahead[1])
        return True

    def close(self) -> None:
        self._let_go()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            _forget(ahead[1])
        for run in self._runs:
            run.abandoned = True


def _forget(task: asyncio.Task[Piece]) -> None:
    """End a read-ahead that nobody waits for. What its flight brings is stored all the same."""
    task.add_done_callback(_close)
    task.cancel()


def _close(task: asyncio.Task[Piece]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
