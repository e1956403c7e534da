"""The bytes on disk, format 2. Nothing here reads or writes a file.

A segment is two files named by its number (16 hex digits), which is never given twice and never overwritten:

    NUMBER.data   head (64, padded to 4096) | entries, each from a multiple of 64 on, a batch from a multiple of 4096 on
    NUMBER.log    head (64) | records of 64 bytes: what of the data is committed, and what was removed

The head of a log says up to where it was safe: a log that ends before that was cut, wherever the cut may be. It is
written behind each sync, so it may say less than there is, and never more.

    entry         front | body
    front         header (192) | key | head | meta | CRC32C of each body block of 16 KiB (uint32 each)

The checksum of the front covers all of it, that of its blocks included, and the place where it lies: an entry that was
moved, cut or exchanged is damaged. A log record's checksum is seeded with the segment's number. Numbers are
little-endian, times are ms of wall time.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cdn.store.disk._crc import crc32c
from cdn.store.record import Draft

VERSION = 2
UNIT = 64
PAGE = 4096
BLOCK = 16 << 10
RECORD = 64
ENTRY, GONE = 1, 2  # kinds of log record
WRITE_PIECE = 256 << 10  # of a body, copied at once
MOST_TIME = 1 << 61  # ms; whatever is later is as good as never

_HEAD = struct.Struct(
    "<8sIIQQ28x"
)  # magic, version, block, number, safe; then the checksum of these 60 bytes
_SAFE_AT = 24
_RECORD = struct.Struct("<IQQQII24x")
_CRC = struct.Struct("<I")
_PLACE = struct.Struct("<QI")
_ENTRY = struct.Struct("<4sIIIQII8HIIQQ6qQqqQ40x")  # see `pack_front` for the order
_MAGIC = b"cdnE"
_FRONT_FROM = 8  # where the part that the front's checksum covers begins
_PLACE_AT = 16
DATA, LOG = b"cdn-data", b"cdn-log\0"

assert (_ENTRY.size, _RECORD.size, _HEAD.size) == (192, RECORD - 4, 60)


class DamagedError(Exception):
    """These bytes are not what was written here."""


def units(n: int) -> int:
    return (n + UNIT - 1) // UNIT


def place(segment: int, offset: int, length: int) -> int:
    """As the index has it; `offset` and `length` in units."""
    return segment << 48 | offset << 24 | length


def parts_of(where: int) -> tuple[int, int, int]:
    """(segment, offset, length) of a place; offset and length in bytes."""
    return where >> 48, (where >> 24 & 0xFFFFFF) * UNIT, (where & 0xFFFFFF) * UNIT


def file_head(magic: bytes, number: int, safe: int = 0) -> bytes:
    """`safe`: so many bytes of a log are certain to be there."""
    head = _HEAD.pack(magic, VERSION, BLOCK, number, safe)
    return head + _CRC.pack(crc32c(head))


def is_file_head(data: bytes, magic: bytes, number: int) -> bool:
    return data[:RECORD] == file_head(magic, number, safe_part(data))


def safe_part(data: bytes) -> int:
    """What a log's head says, if it is one."""
    return int.from_bytes(data[_SAFE_AT : _SAFE_AT + 8], "little")


def head_of(fd: int) -> bytes:
    return os.pread(fd, RECORD, 0)


def log_record(kind: int, number: int, hash: int, serial: int, stamp: int, offset: int, length: int) -> bytes:
    """`offset` and `length` in units; 0 for GONE."""
    body = _RECORD.pack(kind, hash, serial, stamp, offset, length)
    return _CRC.pack(crc32c(body, number & 0xFFFFFFFF)) + body


@dataclass(frozen=True, slots=True)
class LogRecord:
    kind: int
    hash: int
    serial: int
    stamp: int
    offset: int
    length: int


def log_records(log: bytes, number: int) -> list[LogRecord]:
    """Those of a log (without its head) that are whole."""
    out = []
    for at in range(0, len(log) - RECORD + 1, RECORD):
        body = log[at + 4 : at + RECORD]
        if _CRC.unpack_from(log, at)[0] == crc32c(body, number & 0xFFFFFFFF):
            out.append(LogRecord(*_RECORD.unpack(body)))
    return out


@dataclass(frozen=True, slots=True)
class Written:
    """When an entry was written: wall time, CLOCK_BOOTTIME (both ms) and which boot that counts from."""

    wall: int
    boot: int
    boot_id: int


@dataclass(frozen=True, slots=True)
class Front:
    """An entry without its body. The times of `draft` are wall times."""

    key: bytes
    draft: Draft
    length: int  # of the body
    crcs: tuple[int, ...]
    size: int  # of the front: where the body begins
    written: Written


def entry_size(key: int, head: int, meta: int, body: int) -> int:
    """Bytes of an entry with parts of these lengths."""
    return _ENTRY.size + key + head + meta + 4 * ((body + BLOCK - 1) // BLOCK) + body


def block_sums(pieces: Sequence[bytes]) -> list[int]:
    """The checksums of the blocks of a body that comes in pieces of whole blocks (but for the last)."""
    sums = []
    for piece in pieces:
        view = memoryview(piece)
        sums += [crc32c(view[at : at + BLOCK]) for at in range(0, len(piece), BLOCK)]
    return sums


def pack_front(
    number: int,
    offset: int,
    key: bytes,
    draft: Draft,
    stamp: int,
    length: int,
    sums: Sequence[int],
    written: Written,
    wall_of: Callable[[int], int],
) -> bytes:
    """The front of an entry at `offset` (in units) of segment `number`. `wall_of` turns node time into wall time."""
    text = key + draft.head + draft.meta + struct.pack(f"<{len(sums)}I", *sums)
    header = _ENTRY.pack(
        _MAGIC,
        0,
        _ENTRY.size + len(text),
        len(sums),
        number,
        offset,
        0,
        len(key),
        len(draft.head),
        len(draft.meta),
        draft.status,
        draft.status_line_len,
        draft.etag_offset,
        draft.etag_len,
        0 if draft.last_modified is None else 1,
        draft.flags,
        0,
        length,
        stamp,
        wall_of(draft.born),
        wall_of(draft.fresh_until),
        wall_of(draft.swr_until),
        wall_of(draft.sie_until),
        wall_of(draft.response_time),
        draft.last_modified or 0,
        draft.lines_304,
        written.wall,
        written.boot,
        written.boot_id,
    )
    front = bytearray(header)
    front += text
    _seal(front)
    return bytes(front)


def _seal(front: bytearray) -> None:
    _CRC.pack_into(front, 4, crc32c(memoryview(front)[_FRONT_FROM:]))


def moved_front(front: bytes, number: int, offset: int) -> bytes:
    """The same front for another place."""
    moved = bytearray(front)
    _PLACE.pack_into(moved, _PLACE_AT, number, offset)
    _seal(moved)
    return bytes(moved)


def front_size(data: bytes | memoryview) -> int:
    """How long the front is that begins here; DamagedError for none."""
    if len(data) < _ENTRY.size or bytes(data[:4]) != _MAGIC:
        raise DamagedError("no entry begins here")
    size = int(_CRC.unpack_from(data, 8)[0])
    if size < _ENTRY.size:
        raise DamagedError("the front of an entry is too short")
    return size


def key_in(data: bytes) -> bytes | None:
    """The key of the entry that begins here, unverified."""
    if len(data) < _ENTRY.size or data[:4] != _MAGIC:
        return None
    length = int.from_bytes(data[32:34], "little")
    return data[_ENTRY.size : _ENTRY.size + length] if len(data) >= _ENTRY.size + length else None


def read_front(data: bytes | memoryview, number: int, offset: int, size: int) -> Front:
    """The front at `offset` (in bytes) of segment `number`, of an entry of `size` bytes (padding included).

    DamagedError when anything about it is not as it was written.
    """
    end = front_size(data)
    if len(data) < end or end > size:
        raise DamagedError("the front of an entry is cut")
    view = memoryview(data)
    fields = _ENTRY.unpack_from(data)
    if crc32c(view[_FRONT_FROM:end]) != fields[1]:
        raise DamagedError("the checksum of an entry's front is wrong")
    (blocks, at_number, at_offset) = fields[3:6]
    (nkey, nhead, nmeta, status, line, etag, etag_len, dated) = fields[7:15]
    (flags, _, length, stamp, born, fresh, swr, sie, response, modified, lines) = fields[15:26]
    if (at_number, at_offset * UNIT) != (number, offset):
        raise DamagedError("an entry that belongs elsewhere")
    if blocks != (length + BLOCK - 1) // BLOCK or entry_size(nkey, nhead, nmeta, length) > size:
        raise DamagedError("an entry that is longer than its place")
    at = _ENTRY.size
    key = bytes(view[at : at + nkey])
    head = bytes(view[at + nkey : at + nkey + nhead])
    meta = bytes(view[at + nkey + nhead : at + nkey + nhead + nmeta])
    sums = struct.unpack_from(f"<{blocks}I", data, at + nkey + nhead + nmeta)
    draft = Draft(
        status=status,
        head=head,
        status_line_len=line,
        born=born,
        fresh_until=fresh,
        swr_until=swr,
        sie_until=sie,
        response_time=response,
        flags=flags,
        stamp=stamp,
        last_modified=modified if dated else None,
        etag_offset=etag,
        etag_len=etag_len,
        lines_304=lines,
        meta=meta,
    )
    return Front(key, draft, length, sums, end, Written(*fields[26:29]))


def check_blocks(front: Front, body: bytes | memoryview, first: int = 0) -> None:
    """Body bytes from block `first` on, whole blocks (but for the last of the body). DamagedError for a bad one."""
    view = memoryview(body)
    for index, at in enumerate(range(0, len(body), BLOCK), first):
        if crc32c(view[at : at + BLOCK]) != front.crcs[index]:
            raise DamagedError("the checksum of a block is wrong")
