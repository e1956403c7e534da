"""The two files of a segment, data and log: their names, their sizes, how they begin and how they end.

Decides in which order they are made, synced and removed, so that whatever is there after a loss of power can be told
from damage. An entry counts when its record is in the log: first the data is written and synced, then the log. A
segment of which a file has been removed by others is lost: what it held is forgotten, its place is free, and the roster
keeps its number. Must not know what an entry is, or which segment is cleared when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdn.store.disk import format as fmt
from cdn.store.disk._table import Table
from cdn.store.disk.files import Bytes, Files
from cdn.store.disk.roster import Roster

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


@dataclass(slots=True)
class Active:
    """The segment that is being written."""

    place: int  # in the index
    number: int
    data: int = fmt.PAGE  # where the next batch begins
    log: int = fmt.RECORD


@dataclass(frozen=True, slots=True)
class Gone:
    """A removal to be logged."""

    hash: int
    serial: int


def gone_records(number: int, gones: Sequence[Gone]) -> list[bytes]:
    return [fmt.log_record(fmt.GONE, number, gone.hash, gone.serial, 0, 0, 0) for gone in gones]


class SegmentFiles:
    """Of segments of `size` bytes. Methods raise OSError."""

    def __init__(self, files: Files, table: Table, size: int) -> None:
        self.files = files
        self._table = table
        self._roster = Roster(files)
        self.log_room = size // LOG_SHARE // fmt.PAGE * fmt.PAGE
        self.data_room = size - self.log_room
        self.syncs = self.lost = self.evicted = 0

    def create(self, place: int, number: int) -> Active:
        files = self.files
        files.create(data_name(number), self.data_room)
        files.create(log_name(number))
        files.write(data_name(number), [fmt.file_head(fmt.DATA, number)], 0)
        files.write(log_name(number), [fmt.file_head(fmt.LOG, number)], 0)
        files.sync(data_name(number))
        files.sync(log_name(number))
        files.sync_folder()
        self._roster.enter(number, (n for _, n, _ in self._table.segments()))
        return Active(place, number)

    def write_data(self, active: Active, pieces: Sequence[Bytes], size: int) -> None:
        """So many bytes at `active.data`, durable."""
        self.files.write(data_name(active.number), pieces, active.data)
        self.files.sync(data_name(active.number))
        self.syncs += 1
        active.data += -(-size // fmt.PAGE) * fmt.PAGE

    def write_log(self, active: Active, records: list[bytes], serials: list[int]) -> None:
        if not records:
            return
        self._table.note_serial(active.place, min(serials))
        self.files.write(log_name(active.number), [b"".join(records)], active.log)
        self.files.sync(log_name(active.number))
        self.syncs += 1
        active.log += len(records) * fmt.RECORD
        # not synced by itself: the next batch does that, or the end of the segment
        self.files.write(log_name(active.number), [fmt.file_head(fmt.LOG, active.number, active.log)], 0)

    def seal(self, active: Active) -> None:
        """Nothing more is written to it; its spare room is given back."""
        self._table.seal(active.place)
        self.files.truncate(data_name(active.number), active.data)
        self.files.sync(log_name(active.number))
        self.done(active.number)

    def done(self, number: int) -> None:
        self.files.done(data_name(number))
        self.files.done(log_name(number))

    def linked(self, number: int) -> bool:
        """Whether both files, which are open, are still to be found under their names."""
        return self.files.linked(data_name(number)) and self.files.linked(log_name(number))

    def look(self) -> None:
        """Find the segments that others have removed."""
        there = set(self.files.names())
        for place, number, _ in self._table.segments():
            if {data_name(number), log_name(number)} <= there or not self._table.leave_at(place, number):
                continue
            # nobody else touches it now; since the look its writer may have made its files, and ended
            if {data_name(number), log_name(number)} <= set(self.files.names()):
                self._table.seal(place)
            else:
                self.lose(place, number)

    def lose(self, place: int, number: int) -> None:
        """Forget a segment that is ours to clear. Its log stays, if there is one: it says what its entries replaced."""
        try:
            self.files.unlink(data_name(number))
        finally:
            self.evicted += self._table.evict_all(place)
            self._table.free(place)
            # not listed: it was a process of ours that died beginning or clearing it
            self.lost += self._roster.lists(number)

    def remove(self, place: int, number: int) -> None:
        try:
            self._roster.strike(number)
            self.files.unlink(data_name(number))
            self.files.sync_folder()  # so that data without a log is always damage
            self.files.unlink(log_name(number))
            self.files.sync_folder()
        finally:
            self._table.free(place)
