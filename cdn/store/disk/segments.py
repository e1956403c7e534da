"""Segment files: one is written from its beginning to its end, and when there are enough of them the oldest is cleared.

Decides where an entry lies and who goes: what was read since it was written, or is wanted in memory (`keep`), moves on
to the segment being written, at most half a segment of it; the rest goes with the file. So writing is sequential, a
file is never written over, and clearing costs what the segment held, whatever the disk holds.

An entry counts when its record is in the log: first the data is written and synced, then the log. A segment of which a
file has been removed by others is lost: what it held is forgotten, its place is free, and the roster keeps its number.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from cdn.store.disk import format as fmt
from cdn.store.disk._table import Table
from cdn.store.disk.files import Bytes, Files
from cdn.store.disk.format import DamagedError, LogRecord
from cdn.store.disk.roster import Roster
from cdn.store.disk.times import Times
from cdn.store.record import Draft

LOG_SHARE = 16  # a segment's log may take this part of it
LEAST_SEGMENT = 4 << 20
MOST_SEGMENT = 256 << 20
MOST_SEGMENTS = 4096
RESERVE = 8 << 20  # of the size: the purges, twice while they are written anew; lock, format, secret


def segment_bytes(size: int, writers: int = 1) -> int:
    """How big a segment of a disk of `size` bytes is, its log included, where so many processes write one each."""
    wanted = max(min(size // max(32, 4 * writers), MOST_SEGMENT), size // MOST_SEGMENTS)
    return max(LEAST_SEGMENT, (wanted + (1 << 20) - 1) >> 20 << 20)


def data_name(number: int) -> str:
    return f"{number:016x}.data"


def log_name(number: int) -> str:
    return f"{number:016x}.log"


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


def _breathe(n: int) -> None:
    """Let the threads that serve go first now and then."""
    if n % 256 == 255:
        time.sleep(0.0005)


@dataclass(frozen=True, slots=True)
class Gone:
    hash: int
    serial: int


@dataclass(slots=True)
class _Active:
    place: int
    number: int
    data: int = fmt.PAGE  # where the next batch begins
    log: int = fmt.RECORD


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
        self._files = files
        self._table = table
        self._times = times
        self._size = size
        self._count = count
        self._keep = keep
        self._active: _Active | None = None
        self._cleared_in_vain = False
        self.log_room = size // LOG_SHARE // fmt.PAGE * fmt.PAGE
        self.data_room = size - self.log_room
        self._roster = Roster(files)
        self.moved = self.evicted = self.cleared = self.syncs = self.lost = 0
        self.forget_all = False  # what is on disk is not to be found at the next start
        self.squeezed = False  # the file system holds less than the configuration says

    @property
    def largest(self) -> int:
        """No entry longer than this can be stored."""
        return self.data_room - fmt.PAGE

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
            room = max(0, (self.log_room - active.log) // fmt.RECORD)
            taken = 0
            while taken < len(waiting) and taken < room:
                if batch.end + waiting[taken].size > self.data_room:
                    break
                self._lay(batch, active, waiting[taken])
                taken += 1
            if batch.pieces:
                self._files.write(data_name(active.number), batch.pieces, batch.start)
                self._files.sync(data_name(active.number))
                self.syncs += 1
                active.data = -(-batch.end // fmt.PAGE) * fmt.PAGE
            logged = removed[: room - taken]
            self._log(active, batch, logged)
            waiting, removed = waiting[taken:], removed[len(logged) :]
            if waiting or removed:
                self.seal()

    def _lay(self, batch: _Batch, active: _Active, put: Put) -> None:
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

    def _log(self, active: _Active, batch: _Batch, gones: list[Gone]) -> None:
        table, number = self._table, active.number
        if batch.puts:
            # before it is looked whether they are still wanted: whoever clears a segment meanwhile must know of them
            table.note_serial(active.place, min(item[0].serial for item in batch.puts))
        still = [item for item in batch.puts if table.pending(item[0].hash, item[0].serial)]
        records = [
            fmt.log_record(fmt.ENTRY, number, put.hash, put.serial, stamp, offset, size)
            for put, stamp, offset, size in still
        ]
        records += [fmt.log_record(fmt.GONE, number, gone.hash, gone.serial, 0, 0, 0) for gone in gones]
        self._write_log(active, records, [item[0].serial for item in still] + [gone.serial for gone in gones])
        for put, _, offset, size in still:
            table.settle(put.hash, put.serial, fmt.place(active.place, offset, size))
        for gone in gones:
            table.forget(gone.hash, gone.serial)

    def _write_log(self, active: _Active, records: list[bytes], serials: list[int]) -> None:
        if not records:
            return
        self._table.note_serial(active.place, min(serials))
        self._files.write(log_name(active.number), [b"".join(records)], active.log)
        self._files.sync(log_name(active.number))
        self.syncs += 1
        active.log += len(records) * fmt.RECORD
        # not synced by itself: the next batch does that, or the end of the segment
        self._files.write(log_name(active.number), [fmt.file_head(fmt.LOG, active.number, active.log)], 0)

    # -- from one segment to the next -------------------------------------------------------------------------------

    def seal(self) -> None:
        """Write no more to the segment in hand; its spare room is given back."""
        active, self._active = self._active, None
        if active is None:
            return
        self._table.seal(active.place)
        self._files.truncate(data_name(active.number), active.data)
        self._files.sync(log_name(active.number))
        self._files.done(data_name(active.number))
        self._files.done(log_name(active.number))

    def give_up(self) -> None:
        """After an error: whatever was under way is not known to be there. The next batch begins another segment."""
        active, self._active = self._active, None
        if active is not None:
            self._table.seal(active.place)
            self._files.done(data_name(active.number))
            self._files.done(log_name(active.number))

    def _next(self) -> _Active:
        """A new segment to write, then room again for the one after it."""
        self.look()
        active = self._active = self._create()
        while len(self._table.segments()) > self._count:
            if not self._clear(active):
                break
        return self._active or self._next()

    def _create(self) -> _Active:
        for attempt in (1, 2, 3):
            got = self._table.open_segment()
            if got is None:
                raise OSError(errno.ENOSPC, "there are as many segments as may be")
            place, number = got
            try:
                self._files.create(data_name(number), self.data_room)
                self._files.create(log_name(number))
                self._files.write(data_name(number), [fmt.file_head(fmt.DATA, number)], 0)
                self._files.write(log_name(number), [fmt.file_head(fmt.LOG, number)], 0)
                self._files.sync(data_name(number))
                self._files.sync(log_name(number))
                self._files.sync_folder()
                self._roster.enter(number, (n for _, n, _ in self._table.segments()))
                self.squeezed = self.squeezed or attempt > 1
                self._cleared_in_vain = False
                return _Active(place, number)
            except OSError as error:
                self._remove(place, number)
                full = error.errno in (errno.ENOSPC, errno.EDQUOT) and not self._cleared_in_vain
                # There is less than the configuration says: the oldest makes room, if that helps.
                if not full or attempt == 3 or not self._clear(None):
                    self._cleared_in_vain = self._cleared_in_vain or attempt > 1
                    raise
        raise AssertionError

    def _miss_active(self) -> None:
        """Begin another segment where the one in hand has been removed: nothing of it is there after a start."""
        active = self._active
        if active is not None and not (
            self._files.linked(data_name(active.number)) and self._files.linked(log_name(active.number))
        ):
            self.give_up()
            if self._table.leave_at(active.place, active.number):
                self._lose(active.place, active.number)

    def look(self) -> None:
        """Find the segments that others have removed."""
        there = set(self._files.names())
        for place, number, _ in self._table.segments():
            if {data_name(number), log_name(number)} <= there or not self._table.leave_at(place, number):
                continue
            # nobody else touches it now; since the look its writer may have made its files, and ended
            if {data_name(number), log_name(number)} <= set(self._files.names()):
                self._table.seal(place)
            else:
                self._lose(place, number)

    def _lose(self, place: int, number: int) -> None:
        """Forget a segment that is ours to clear. Its log stays, if there is one: it says what its entries replaced."""
        try:
            self._files.unlink(data_name(number))
        finally:
            self.evicted += self._table.evict_all(place)
            self._table.free(place)
            self.lost += self._roster.lists(
                number
            )  # else it was a process of ours that died beginning or clearing it

    def _remove(self, place: int, number: int) -> None:
        try:
            self._roster.strike(number)
            self._files.unlink(data_name(number))
            self._files.sync_folder()  # so that data without a log is always damage
            self._files.unlink(log_name(number))
            self._files.sync_folder()
        finally:
            self._table.free(place)

    def _clear(self, into: _Active | None, whatever: bool = False) -> bool:
        """Clear the oldest sealed segment, copying what is wanted `into` another. False: there is none."""
        got = self._table.leave()
        if got is None:
            return False
        place, number = got
        try:
            log = fmt.log_records(self._files.read(log_name(number))[fmt.RECORD :], number)
        except FileNotFoundError:
            self._lose(place, number)
            return True
        except OSError:
            log = []  # it cannot be read: what it held is found missing when it is asked for
        if into is None and not whatever and self._holds_back(place, log):
            self._table.seal(place)
            return False
        try:
            if into is not None:
                moving = self._wanted(place, number, log)
                if moving:
                    self._move(into, place, moving)
        finally:
            again = self._evict(place, log)
            try:
                if into is not None:
                    self._log_again(into, again)
            finally:
                self._remove(place, number)
        self.cleared += 1
        return True

    def _holds_back(self, place: int, log: list[LogRecord]) -> bool:
        """Whether something older would come back at the next start if nothing of this segment was logged again."""
        oldest = self._table.oldest_elsewhere(place)
        return any(
            record.serial > oldest
            and (
                record.kind == fmt.GONE
                or self._table.stored_at(record.hash, fmt.place(place, record.offset, record.length))
                is not None
            )
            for record in log
        )

    def _wanted(self, place: int, number: int, log: list[LogRecord]) -> list[tuple[LogRecord, bytes]]:
        """The entries of a segment that are read or in memory, up to half of what a segment holds."""
        try:
            file = self._files.open(data_name(number))
        except OSError:
            return []
        out = []
        left = self.data_room // 2
        for n, record in enumerate(reversed(log)):  # the newest first: they have had least time to be used
            _breathe(n)
            if record.kind != fmt.ENTRY:
                continue
            used = self._table.stored_at(record.hash, fmt.place(place, record.offset, record.length))
            size = record.length * fmt.UNIT
            if used is None or size > left:
                continue
            try:
                if not used and not self._in_memory(file.fd, record):
                    continue
                data = os.pread(file.fd, size, record.offset * fmt.UNIT)
                front = fmt.read_front(data, number, record.offset * fmt.UNIT, size)
                fmt.check_blocks(front, memoryview(data)[front.size : front.size + front.length])
            except (OSError, DamagedError, IndexError):
                continue
            out.append((record, data))
            left -= size
        out.reverse()
        return out

    def _in_memory(self, fd: int, record: LogRecord) -> bool:
        """Only the key of an entry is read for this, and not trusted: whatever is copied is verified."""
        head = os.pread(fd, 4096, record.offset * fmt.UNIT)
        key = fmt.key_in(head)
        return key is not None and self._keep(key)

    def _move(self, into: _Active, place: int, moving: list[tuple[LogRecord, bytes]]) -> None:
        start = at = into.data
        pieces: list[Bytes] = []
        placed: list[tuple[LogRecord, int]] = []
        for record, data in moving:
            if at + len(data) > self.data_room or into.log + (len(placed) + 1) * fmt.RECORD > self.log_room:
                break
            size = fmt.front_size(data)
            pieces += [
                fmt.moved_front(data[:size], into.number, at // fmt.UNIT),
                memoryview(data)[size:],
            ]
            placed.append((record, at // fmt.UNIT))
            at += len(data)
        self._files.write(data_name(into.number), pieces, start)
        self._files.sync(data_name(into.number))
        self.syncs += 1
        into.data = -(-at // fmt.PAGE) * fmt.PAGE
        self._table.note_serial(into.place, self._table.serial)
        records, renewed = [], []
        for record, offset in placed:
            serial = self._table.renew(record.hash, fmt.place(place, record.offset, record.length))
            if serial:
                records.append(
                    fmt.log_record(
                        fmt.ENTRY, into.number, record.hash, serial, record.stamp, offset, record.length
                    )
                )
                renewed.append((record.hash, serial, fmt.place(into.place, offset, record.length)))
        self._write_log(into, records, [serial for _, serial, _ in renewed])
        for hash, serial, where in renewed:
            self.moved += self._table.move(hash, serial, where)

    def _evict(self, place: int, log: list[LogRecord]) -> list[Gone]:
        """Take what is left of a segment out of the index; returns what would come back at the next start.

        That needs something older in another segment, which only another process can be writing.
        """
        again = []
        oldest = self._table.oldest_elsewhere(place)
        for n, record in enumerate(log):
            older = oldest < record.serial
            _breathe(n)
            if record.kind == fmt.ENTRY:
                gone = self._table.evict(record.hash, fmt.place(place, record.offset, record.length))
                self.evicted += gone
                # not known: evicted by a process that died before it could log that
                older = older and (gone or not self._table.known(record.hash))
            if older:
                again.append(Gone(record.hash, record.serial))
        return again

    def _log_again(self, active: _Active, gones: list[Gone]) -> None:
        """There is room: the log of a segment that has just begun takes as many records as any other's."""
        number = active.number
        records = [fmt.log_record(fmt.GONE, number, gone.hash, gone.serial, 0, 0, 0) for gone in gones]
        self._write_log(active, records, [gone.serial for gone in gones])

    def _forget_what_was(self) -> None:
        if self.forget_all:
            self.seal()
            while self._clear(None, whatever=True):
                pass
            self.forget_all = False

    def probe(self) -> None:
        """Whether the disk takes writes again: OSError while it does not."""
        self._forget_what_was()
        if self._active is None:
            self._next()

    def stats(self) -> dict[str, int]:
        return {
            "moved": self.moved,
            "evictions": self.evicted,
            "cleared": self.cleared,
            "lost_segments": self.lost,
            "syncs": self.syncs,
        }
