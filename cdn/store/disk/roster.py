"""Which segments there are, as a file says: one that is missing with its log and all is noticed at the next start.

    head      "cdn-ros\\0" u32 version u32 how many
    numbers   u64 each
              u32 CRC32C of all that

A number is entered before anything is logged in its segment, and struck out before its files are removed: whoever stops
in between leaves a file too many, never one too few. What others have removed stays on the roster until a start has
made sure that nothing older is trusted (`tier.Disk.begin_notes`). Must not know what a segment holds.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable

from cdn.store.disk._crc import crc32c
from cdn.store.disk.files import Files

NAME, NEW = "segments", "segments.new"
BYTE = 1  # of the lock file: who writes a roster keeps the writers of notes waiting no longer than they keep each other

_HEAD = struct.Struct("<8sII")
_MAGIC, _VERSION = b"cdn-ros\0", 1
_CRC = struct.Struct("<I")


def read_roster(files: Files) -> set[int] | None:
    """The numbers; None: there is no roster, or not a whole one. OSError."""
    try:
        data = files.read(NAME)
    except FileNotFoundError:
        return None
    body = data[: -_CRC.size]
    if len(body) < _HEAD.size or data[len(body) :] != _CRC.pack(crc32c(body)):
        return None
    magic, version, count = _HEAD.unpack_from(body)
    if (magic, version) != (_MAGIC, _VERSION) or len(body) != _HEAD.size + 8 * count:
        return None
    return set(struct.unpack_from(f"<{count}Q", body, _HEAD.size))


class Roster:
    """As any process of the node may write it, one at a time. Methods raise OSError."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._own = threading.Lock()
        self._owed: set[int] = set()  # to be struck out with the next change: the disk was full

    def lists(self, number: int) -> bool:
        found = read_roster(self._files)
        return found is None or number in found

    def write(self, numbers: Iterable[int]) -> None:
        """These and no others."""
        with self._own, self._files.alone(BYTE):
            self._write(set(numbers))

    def enter(self, number: int, live: Iterable[int]) -> None:
        """`live`: all that there are, should the roster have gone."""
        with self._own, self._files.alone(BYTE):
            found = read_roster(self._files)
            self._write((set(live) if found is None else found - self._owed) | {number})
            self._owed.clear()

    def strike(self, number: int) -> None:
        """Also where that cannot be written now: a number too many costs no more than validations after a start."""
        self._owed.add(number)
        with self._own, self._files.alone(BYTE):
            found = read_roster(self._files)
            if found is None:
                return
            try:
                self._write(found - self._owed)
            except OSError:
                return
            self._owed.clear()

    def _write(self, numbers: set[int]) -> None:
        body = _HEAD.pack(_MAGIC, _VERSION, len(numbers)) + struct.pack(f"<{len(numbers)}Q", *sorted(numbers))
        self._files.unlink(NEW)
        self._files.create(NEW)
        self._files.write(NEW, [body, _CRC.pack(crc32c(body))], 0)
        self._files.sync(NEW)
        self._files.rename(NEW, NAME)
        self._files.done(NAME)
        self._files.sync_folder()
