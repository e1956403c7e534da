"""Clearing the oldest segment: what of it moves on, what goes, and what has to be logged again because of that.

What was read since it was written, or is wanted in memory (`keep`), moves on to the segment being written, at most half
a segment of it; the rest goes with the file. So a file is never written over, and clearing costs what the segment held,
whatever the disk holds. Must not know when a segment is to be cleared.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from cdn.store.disk import format as fmt
from cdn.store.disk._table import Table
from cdn.store.disk.files import Bytes
from cdn.store.disk.format import DamagedError, LogRecord
from cdn.store.disk.segment_files import Active, Gone, SegmentFiles, data_name, gone_records, log_name


def _breathe(n: int) -> None:
    """Let the threads that serve go first now and then."""
    if n % 256 == 255:
        time.sleep(0.0005)


class Clearing:
    """`keep(key)`: whether memory has this key now. Methods raise OSError."""

    def __init__(self, segments: SegmentFiles, table: Table, keep: Callable[[bytes], bool]) -> None:
        self._segments = segments
        self._files = segments.files
        self._table = table
        self._keep = keep
        self.moved = self.evicted = self.cleared = 0

    def clear(self, into: Active | None, whatever: bool = False) -> bool:
        """Clear the oldest sealed segment, copying what is wanted `into` another. False: there is none.

        Without `into` nothing can be logged again: False also where that is needed, unless `whatever`.
        """
        got = self._table.leave()
        if got is None:
            return False
        place, number = got
        try:
            log = fmt.log_records(self._files.read(log_name(number))[fmt.RECORD :], number)
        except FileNotFoundError:
            self._segments.lose(place, number)
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
            again = self.evict(place, log)
            try:
                if into is not None:
                    # there is room: the log of a segment that has just begun takes as many records as any other's
                    records = gone_records(into.number, again)
                    self._segments.write_log(into, records, [gone.serial for gone in again])
            finally:
                self._segments.remove(place, number)
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
        left = self._segments.data_room // 2
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

    def _move(self, into: Active, place: int, moving: list[tuple[LogRecord, bytes]]) -> None:
        segments = self._segments
        at = into.data
        pieces: list[Bytes] = []
        placed: list[tuple[LogRecord, int]] = []
        for record, data in moving:
            if at + len(data) > segments.data_room:
                break
            if into.log + (len(placed) + 1) * fmt.RECORD > segments.log_room:
                break
            size = fmt.front_size(data)
            pieces += [
                fmt.moved_front(data[:size], into.number, at // fmt.UNIT),
                memoryview(data)[size:],
            ]
            placed.append((record, at // fmt.UNIT))
            at += len(data)
        segments.write_data(into, pieces, at - into.data)
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
        segments.write_log(into, records, [serial for _, serial, _ in renewed])
        for hash, serial, where in renewed:
            self.moved += self._table.move(hash, serial, where)

    def evict(self, place: int, log: list[LogRecord]) -> list[Gone]:
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
