"""Segments as one process writes them: from the beginning of one to its end, and on to the next.

Decides where an entry lies and when a segment is cleared: when there are as many as may be, or the disk is full. What a
cleared one leaves behind is `clearing`'s, the order in which files are written `segment_files`'s. So writing is
sequential.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from cdn.store.disk import format as fmt
from cdn.store.disk._table import Table
from cdn.store.disk.clearing import Clearing
from cdn.store.disk.files import Bytes, Files
from cdn.store.disk.segment_files import Active, Gone, SegmentFiles, gone_records
from cdn.store.disk.times import Times
from cdn.store.record import Draft


class Storable(Protocol):
    """What is written of a stored response; an `Entry` is one."""

    @property
    def key(self) -> bytes: ...
    @property
    def stamp(self) -> int: ...
    @property
    def head(self) -> bytes: ...
    @property
    def meta(self) -> bytes: ...
    @property
    def body_length(self) -> int: ...
    def draft(self) -> Draft: ...
    def read(self, offset: int = 0, length: int | None = None) -> bytes: ...


@dataclass(eq=False, slots=True)
class Put:
    """One entry on its way to the disk. `serial` is that of the hand-over."""

    key: bytes
    hash: int
    serial: int
    entry: Storable
    size: int


@dataclass(slots=True)
class _Batch:
    """What goes to the disk together: pieces of data, and the record of each entry in them."""

    start: int
    pieces: list[Bytes] = field(default_factory=list)
    size: int = 0
    puts: list[tuple[Put, int, int, int]] = field(default_factory=list)  # stamp, offset, length (units)

    @property
    def end(self) -> int:
        return self.start + self.size


class Segments:
    """The segment files of one writing process. Every method that writes raises OSError.

    `keep(key)`: whether memory has this key now. `count`: how many segments may stay; there is one more for each
    process while it begins one.
    """

    def __init__(
        self, files: Files, table: Table, times: Times, size: int, count: int, keep: Callable[[bytes], bool]
    ) -> None:
        self._table = table
        self._times = times
        self._count = count
        self._files = SegmentFiles(files, table, size)
        self.clearing = Clearing(self._files, table, keep)
        self._active: Active | None = None
        self._cleared_in_vain = False
        self.forget_all = False  # what is on disk is not to be found at the next start
        self.squeezed = False  # the file system holds less than the configuration says

    @property
    def largest(self) -> int:
        """No entry longer than this can be stored."""
        return self._files.data_room - fmt.PAGE

    @property
    def lost(self) -> int:
        """How many segments were removed by others."""
        return self._files.lost

    # -- a batch ----------------------------------------------------------------------------------------------------

    def append(self, puts: Iterable[Put], gones: Iterable[Gone]) -> None:
        """All of it is on disk and in the index when this returns; what was superseded meanwhile is left out."""
        self._forget_what_was()
        self._miss_active()
        waiting = [put for put in puts if self._table.pending(put.hash, put.serial)]
        removed = list(gones)
        while waiting or removed:
            active = self._active or self._next()
            batch = _Batch(active.data)
            room = max(0, (self._files.log_room - active.log) // fmt.RECORD)
            taken = 0
            while taken < len(waiting) and taken < room:
                if batch.end + waiting[taken].size > self._files.data_room:
                    break
                self._lay(batch, active, waiting[taken])
                taken += 1
            if batch.pieces:
                self._files.write_data(active, batch.pieces, batch.size)
            logged = removed[: room - taken]
            self._log(active, batch, logged)
            waiting, removed = waiting[taken:], removed[len(logged) :]
            if waiting or removed:
                self.seal()

    def _lay(self, batch: _Batch, active: Active, put: Put) -> None:
        draft, stamp, length = put.entry.draft(), put.entry.stamp, put.entry.body_length
        pieces = [put.entry.read(at, fmt.WRITE_PIECE) for at in range(0, length, fmt.WRITE_PIECE)]
        sums = fmt.block_sums(pieces)
        offset = fmt.units(batch.end)
        front = fmt.pack_front(
            active.number,
            offset,
            put.key,
            draft,
            stamp,
            length,
            sums,
            self._times.written(),
            self._times.to_wall(),
        )
        used = len(front) + length
        size = fmt.units(used)
        batch.pieces += [front, *pieces, bytes(size * fmt.UNIT - used)]
        batch.size += size * fmt.UNIT
        batch.puts.append((put, stamp, offset, size))

    def _log(self, active: Active, batch: _Batch, gones: list[Gone]) -> None:
        table, number = self._table, active.number
        if batch.puts:
            # before it is looked whether they are still wanted: whoever clears a segment meanwhile must know of them
            table.note_serial(active.place, min(item[0].serial for item in batch.puts))
        still = [item for item in batch.puts if table.pending(item[0].hash, item[0].serial)]
        records = [
            fmt.log_record(fmt.ENTRY, number, put.hash, put.serial, stamp, offset, size)
            for put, stamp, offset, size in still
        ]
        records += gone_records(number, gones)
        serials = [item[0].serial for item in still] + [gone.serial for gone in gones]
        self._files.write_log(active, records, serials)
        for put, _, offset, size in still:
            table.settle(put.hash, put.serial, fmt.place(active.place, offset, size))
        for gone in gones:
            table.forget(gone.hash, gone.serial)

    # -- from one segment to the next -------------------------------------------------------------------------------

    def seal(self) -> None:
        """Write no more to the segment in hand."""
        active, self._active = self._active, None
        if active is not None:
            self._files.seal(active)

    def give_up(self) -> None:
        """After an error: whatever was under way is not known to be there. The next batch begins another segment."""
        active, self._active = self._active, None
        if active is not None:
            self._table.seal(active.place)
            self._files.done(active.number)

    def look(self) -> None:
        """Find the segments that others have removed."""
        self._files.look()

    def _next(self) -> Active:
        """A new segment to write, then room again for the one after it."""
        self.look()
        active = self._active = self._create()
        while len(self._table.segments()) > self._count:
            if not self.clearing.clear(active):
                break
        return self._active or self._next()

    def _create(self) -> Active:
        for attempt in (1, 2, 3):
            got = self._table.open_segment()
            if got is None:
                raise OSError(errno.ENOSPC, "there are as many segments as may be")
            place, number = got
            try:
                active = self._files.create(place, number)
            except OSError as error:
                self._files.remove(place, number)
                full = error.errno in (errno.ENOSPC, errno.EDQUOT) and not self._cleared_in_vain
                # There is less than the configuration says: the oldest makes room, if that helps.
                if not full or attempt == 3 or not self.clearing.clear(None):
                    self._cleared_in_vain = self._cleared_in_vain or attempt > 1
                    raise
            else:
                self.squeezed = self.squeezed or attempt > 1
                self._cleared_in_vain = False
                return active
        raise AssertionError

    def _miss_active(self) -> None:
        """Begin another segment where the one in hand has been removed: nothing of it is there after a start."""
        active = self._active
        if active is not None and not self._files.linked(active.number):
            self.give_up()
            if self._table.leave_at(active.place, active.number):
                self._files.lose(active.place, active.number)

    def _forget_what_was(self) -> None:
        if self.forget_all:
            self.seal()
            while self.clearing.clear(None, whatever=True):
                pass
            self.forget_all = False

    def probe(self) -> None:
        """Whether the disk takes writes again: OSError while it does not."""
        self._forget_what_was()
        if self._active is None:
            self._next()

    def stats(self) -> dict[str, int]:
        return {
            "moved": self.clearing.moved,
            "evictions": self.clearing.evicted + self._files.evicted,
            "cleared": self.clearing.cleared,
            "lost_segments": self._files.lost,
            "syncs": self._files.syncs,
        }
