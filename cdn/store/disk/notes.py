"""Notes that are durable before they count: the purges, each an opaque record in one append-only file.

Decides when a note is safe (synced) and what damage means: whoever reads a file that is not as it was written is told,
because a purge may be missing from it. Must not know what a note says.

    "cdn-nts\\0" u32 version u32 crc | records: u32 length, u32 CRC32C of length and content, content
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from cdn.store.disk._crc import crc32c
from cdn.store.disk.files import Files

NAME = "purges"
NEW = "purges.new"

_HEAD = b"cdn-nts\0" + struct.pack("<I", 1)
HEAD = _HEAD + struct.pack("<I", crc32c(_HEAD))
_RECORD = struct.Struct("<II")


def _record(note: bytes) -> bytes:
    length = struct.pack("<I", len(note))
    return length + struct.pack("<I", crc32c(note, crc32c(length))) + note


def read_notes(data: bytes) -> tuple[list[bytes], bool]:
    """The notes of a file, and whether it was whole to its end."""
    out: list[bytes] = []
    if data[: len(HEAD)] != HEAD:
        return out, False
    at = len(HEAD)
    while at < len(data):
        if at + _RECORD.size > len(data):
            return out, False
        length, crc = _RECORD.unpack_from(data, at)
        note = data[at + _RECORD.size : at + _RECORD.size + length]
        if len(note) != length or crc32c(note, crc32c(data[at : at + 4])) != crc:
            return out, False
        out.append(note)
        at += _RECORD.size + length
    return out, True


class Notes:
    """The file as any process of the node may write it, one at a time (`Files.alone`). Methods raise OSError."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def rewrite(self, notes: Iterable[bytes]) -> None:
        """These and no others; what was there stays until they are safe."""
        self._files.unlink(NEW)
        self._files.create(NEW)
        self._files.write(NEW, [b"".join([HEAD, *map(_record, notes)])], 0)
        self._files.sync(NEW)
        self._files.rename(NEW, NAME)
        self._files.done(NAME)
        self._files.sync_folder()

    def add(self, notes: Iterable[bytes]) -> int:
        """Safe when it returns. How long the file is."""
        data = b"".join(map(_record, notes))
        end = self._files.reopen(NAME)
        try:
            self._files.write(NAME, [data], end)
            self._files.sync(NAME)
        except OSError:
            self._files.truncate(NAME, end)
            raise
        finally:
            self._files.done(NAME)
        return end + len(data)
