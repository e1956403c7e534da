"""Notes that are durable before they count: the purges, each an opaque record in one append-only file.

Decides when a note is safe (synced) and what damage means: whoever reads a file that is not as it was written is told,
because a purge may be missing from it. Must not know what a note says.

    head      "cdn-nts\\0" u32 version u32 0 u64 safe u32 0 u32 CRC32C
    records   u32 length, u32 CRC32C of length and content, content

`safe` is how long the file certainly was; one that is shorter was cut, even where a record ends. It is written behind
each sync, so it may say less than there is, and never more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from cdn.store.disk._crc import crc32c
from cdn.store.disk.files import Files

NAME = "purges"
NEW = "purges.new"

_HEAD = struct.Struct("<8sIIQI")
_MAGIC, _VERSION = b"cdn-nts\0", 2
HEAD = _HEAD.size + 4  # bytes
_RECORD = struct.Struct("<II")


class CutError(OSError):
    """The file is not there, or shorter than it was: what it held has to be written again."""


def _head(safe: int) -> bytes:
    head = _HEAD.pack(_MAGIC, _VERSION, 0, safe, 0)
    return head + struct.pack("<I", crc32c(head))


def _safe(data: bytes) -> int | None:
    """How long the file was that begins like this; None: nobody knows."""
    if len(data) < HEAD:
        return None
    safe = int(_HEAD.unpack_from(data)[3])
    return safe if data[:HEAD] == _head(safe) else None


def _record(note: bytes) -> bytes:
    length = struct.pack("<I", len(note))
    return length + struct.pack("<I", crc32c(note, crc32c(length))) + note


def read_notes(data: bytes) -> tuple[list[bytes], bool]:
    """The notes of a file, and whether it was whole to its end, and that end is where it was."""
    out: list[bytes] = []
    safe = _safe(data)
    if safe is None:
        return out, False
    at = HEAD
    while at < len(data):
        if at + _RECORD.size > len(data):
            return out, False
        length, crc = _RECORD.unpack_from(data, at)
        note = data[at + _RECORD.size : at + _RECORD.size + length]
        if len(note) != length or crc32c(note, crc32c(data[at : at + 4])) != crc:
            return out, False
        out.append(note)
        at += _RECORD.size + length
    return out, len(data) >= safe


class Notes:
    """The file as any process of the node may write it, one at a time (`Files.alone`). Methods raise OSError."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def rewrite(self, notes: Iterable[bytes]) -> int:
        """These and no others; what was there stays until they are safe. How long the file is."""
        data = b"".join(map(_record, notes))
        self._files.unlink(NEW)
        self._files.create(NEW)
        self._files.write(NEW, [_head(HEAD + len(data)), data], 0)
        self._files.sync(NEW)
        self._files.rename(NEW, NAME)
        self._files.done(NAME)
        self._files.sync_folder()
        return HEAD + len(data)

    def add(self, notes: Iterable[bytes]) -> int:
        """Safe when it returns. How long the file is. CutError: write all of them anew."""
        data = b"".join(map(_record, notes))
        try:
            end = self._files.reopen(NAME)
        except FileNotFoundError as error:
            raise CutError(*error.args) from None
        try:
            safe = _safe(self._files.beginning(NAME, HEAD))
            if safe is None or end < safe:
                raise CutError
            try:
                self._files.write(NAME, [data], end)
                self._files.sync(NAME)
            except OSError:
                self._files.truncate(NAME, end)
                raise
            # not synced by itself: the next one does that
            self._files.write(NAME, [_head(end + len(data))], 0)
        finally:
            self._files.done(NAME)
        return end + len(data)
