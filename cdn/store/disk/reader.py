"""Reading entries: every byte that leaves here has been verified.

Decides whether a read may wait for the device (`now`: only what is in the page cache, by RWF_NOWAIT) and what a damaged
entry means: it is taken out of the index, and the caller sees that there is nothing. One whose file others have removed
is no damage; whoever writes is told to look (`missed`). Must not know who asks.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cdn.store.disk import format as fmt
from cdn.store.disk._table import Table
from cdn.store.disk.files import Files, OpenFile
from cdn.store.disk.format import DamagedError, Front
from cdn.store.disk.segment_files import data_name

FIRST = 64 << 10  # bytes of a longer entry that are read first: nearly always all of its front


class ColdError(Exception):
    """It is not in the page cache: reading it has to wait for the device."""


class LostError(Exception):
    """What was being read is damaged or gone; it is out of the index."""


@dataclass(slots=True)
class Counts:
    reads: int = 0
    bytes: int = 0
    errors: int = 0  # reads that failed
    damaged: int = 0  # entries whose bytes were not what was written


class Stored:
    """An entry that lies on disk, its front read and verified. Times are as written: see `times`."""

    __slots__ = ("_file", "_offset", "_reader", "front", "hash", "where")

    def __init__(
        self, reader: Reader, hash: int, where: int, file: OpenFile, offset: int, front: Front
    ) -> None:
        self._reader = reader
        self._file = file
        self._offset = offset
        self.hash = hash
        self.where = where
        self.front = front

    def read(self, offset: int, length: int, now: bool = False) -> bytes:
        """Verified body bytes [offset, offset + length), less at the end. LostError; ColdError where `now`."""
        front = self.front
        length = min(length, front.length - offset)
        if length <= 0:
            return b""
        first = offset // fmt.BLOCK
        start = first * fmt.BLOCK
        end = min(front.length, -(-(offset + length) // fmt.BLOCK) * fmt.BLOCK)
        try:
            data = self._reader.pread(self._file, end - start, self._offset + front.size + start, now)
            fmt.check_blocks(front, data, first)
        except DamagedError:
            self._reader.lost(self.hash, self.where)
            raise LostError from None
        return data if (start, end) == (offset, offset + length) else data[offset - start :][:length]


class Reader:
    """Reads what the index points at. Methods may be called from several threads."""

    def __init__(self, files: Files, table: Table) -> None:
        self._files = files
        self._table = table
        self._open: dict[int, OpenFile] = {}
        self._lock = threading.Lock()
        self.counts = Counts()
        self.removed: list[tuple[int, int]] = []  # hash and serial of damaged entries, to be logged
        self.missed: Callable[[], None] = lambda: None
        self.nowait = True  # until the file system says that it cannot

    def find(self, key: bytes) -> tuple[int, int] | None:
        """Hash and place of what may be stored under this key."""
        hash = self._table.hash(key)
        where = self._table.find(hash)
        return None if where is None else (hash, where)

    def entry(
        self, key: bytes, hash: int, where: int, now: bool = False
    ) -> tuple[Stored, bytes | None] | None:
        """What lies there, if it is of this key; with its body where that was read along.

        None: it is not, or it is damaged. ColdError where `now`.
        """
        segment, offset, size = fmt.parts_of(where)
        number = self._table.number_of(segment)
        if not number:
            return None
        try:
            file = self._file(number)
            data = self.pread(file, min(size, FIRST), offset, now)
            need = fmt.front_size(data)
            if need > len(data):
                if need > size:
                    raise DamagedError("the front of an entry is cut")
                data += self.pread(file, need - len(data), offset + len(data), now)
            front = fmt.read_front(data, number, offset, size)
            if front.key != key:
                return None
            body = None
            if size <= FIRST:
                body = data[front.size : front.size + front.length]
                fmt.check_blocks(front, body)
        except FileNotFoundError:
            if self.lost(hash, where, damaged=False):
                self.missed()
            return None
        except (DamagedError, LostError):
            self.lost(hash, where)
            return None
        return Stored(self, hash, where, file, offset, front), body

    def pread(self, file: OpenFile, length: int, offset: int, now: bool) -> bytes:
        """Exactly so many bytes. DamagedError where the file ends before, LostError where it cannot be read."""
        pieces: list[bytes] = []
        left = length
        while left:
            try:
                piece = self._some(file.fd, left, offset, now)
            except BlockingIOError:
                raise ColdError from None
            except OSError as error:
                if now and error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
                    self.nowait = False
                    raise ColdError from None
                self.counts.errors += 1
                raise DamagedError(f"reading failed: {error.strerror}") from None
            if not piece:
                raise DamagedError("the file is too short")
            pieces.append(piece)
            left -= len(piece)
            offset += len(piece)
        self.counts.reads += 1
        self.counts.bytes += length
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _some(self, fd: int, length: int, offset: int, now: bool) -> bytes:
        if not now:
            return os.pread(fd, length, offset)
        if not self.nowait:
            raise ColdError
        buffer = bytearray(length)
        n = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
        return bytes(buffer) if n == length else bytes(memoryview(buffer)[:n])

    def _file(self, number: int) -> OpenFile:
        file = self._open.get(number)
        if file is None:
            try:
                file = self._files.open(data_name(number))
            except FileNotFoundError:
                raise
            except OSError:
                self.counts.errors += 1
                raise DamagedError("a segment cannot be opened") from None
            with self._lock:
                file = self._open.setdefault(number, file)
        return file

    def lost(self, hash: int, where: int, damaged: bool = True) -> bool:
        """Out of the index; where it had left already (its segment was cleared), nothing was wrong with it."""
        serial = self._table.remove_at(hash, where)
        if serial:
            self.counts.damaged += damaged
            with self._lock:
                self.removed.append((hash, serial))
        return serial != 0

    def take_removed(self) -> list[tuple[int, int]]:
        with self._lock:
            removed, self.removed = self.removed, []
        return removed

    def prune(self) -> None:
        """Close the files of segments that are cleared: their room is given back only then."""
        live = {number for _, number, _ in self._table.segments()}
        with self._lock:
            for number in [number for number in self._open if number not in live]:
                del self._open[number]
