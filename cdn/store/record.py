"""What a stored response is made of, as a value: the fields that a record is published with.

Decides nothing: times, flags and head come from `rules`, where the bytes lie is the store's. Times are ms
of node time, `last_modified` is in seconds; the flags are those of `layout.pxd`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag


class RecordFlag(IntFlag):
    """`layout.pxd` says what each one means."""

    VARY_MARKER = 1
    NO_BODY = 2
    HAS_DATE = 4
    SYNTHETIC = 8
    UNCACHEABLE = 16
    NO_STALE = 256
    NO_CACHE = 512
    NO_RANGES = 1024
    HEURISTIC = 2048
    OLD_ORIGIN = 4096


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before it is published.

    `head` is the status line and the field lines, each with CRLF, without the final empty line; its first
    `status_line_len` bytes are the status line. `etag_offset` and `etag_len` say where in it the entity-tag
    is (length 0: none). Bit i of `lines_304`: field line i belongs in a 304. `meta` is the rules' own.
    A `stamp` of None is the epoch in which the fill began (or the store's, for what is published at once).
    """

    status: int
    head: bytes
    status_line_len: int
    born: int
    fresh_until: int
    swr_until: int
    sie_until: int
    response_time: int
    flags: int = 0
    stamp: int | None = None
    last_modified: int | None = None
    etag_offset: int = 0
    etag_len: int = 0
    lines_304: int = 0
    meta: bytes = b""
