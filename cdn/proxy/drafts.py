"""From a decision to store to the record that is published, and back.

Decides the bytes of a record: the replayed head with the route's response edits in it, where its entity-tag stands, and
what the rules need to decide again. Which responses are stored, and how long they are good, came from `rules`.

meta = u8 kind | [u32 n | n bytes of head as received, when the edits changed something] | the rules' own part
"""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import lru_cache

from cdn.config.values import FieldEdits
from cdn.rules.forwarding import edit
from cdn.rules.stored import (
    Brief,
    Flag,
    Stored,
    decode,
    encode_meta,
    encode_vary_marker,
    flags_in,
    head_bytes,
    in_304,
)
from cdn.store import Draft, Entry, RecordFlag

_SAME, _EDITED = b"\x00", b"\x01"
_LENGTH = struct.Struct("<I")
_WEAKENED = int(Flag.WEAKENED)
# Statuses whose responses have no content and no Content-Length (RFC 9110 §15.3.5, §15.4.5).
BODILESS = frozenset({204, 304})


def draft(stored: Stored, edits: FieldEdits, stamp: int | None = None, *, old_origin: bool = False) -> Draft:
    """The record that says `stored`. The head's field lines are the stored fields with the route's edits.

    `old_origin`: the response came as HTTP/1.0, which our Via says (RFC 9110 §7.6.3).
    """
    received = head_bytes(stored)
    shown = edit(stored.fields, edits)
    meta = encode_meta(stored)
    if shown == stored.fields:
        head, meta = received, _SAME + meta
    else:
        line_end = received.index(b"\r\n") + 2
        head = received[:line_end] + "".join(f"{n}: {v}\r\n" for n, v in shown).encode("latin-1")
        meta = _EDITED + _LENGTH.pack(len(received)) + received + meta
    etag_offset = etag_len = 0
    if stored.etag is not None:
        at = head.lower().find(b"\r\netag: ")
        if at >= 0 and head[at + 8 :].startswith(stored.etag.encode("latin-1") + b"\r\n"):
            etag_offset, etag_len = at + 8, len(stored.etag)
    mask = 0
    for index, (name, _) in enumerate(shown):
        if index < 64 and in_304(name.lower(), stored.etag is not None):
            mask |= 1 << index
    flags = RecordFlag.OLD_ORIGIN if old_origin else RecordFlag(0)
    if stored.status in BODILESS:
        flags |= RecordFlag.NO_BODY
    if stored.flags & Flag.MUST_REVALIDATE:
        flags |= RecordFlag.NO_STALE
    if stored.flags & Flag.NO_CACHE:
        flags |= RecordFlag.NO_CACHE
    return Draft(
        status=stored.status,
        head=head,
        status_line_len=head.index(b"\r\n") + 2,
        born=stored.born,
        fresh_until=stored.fresh_until,
        swr_until=stored.swr_until,
        sie_until=stored.sie_until,
        response_time=stored.response_time,
        flags=int(flags),
        stamp=stamp,
        last_modified=stored.comparison_date,
        etag_offset=etag_offset,
        etag_len=etag_len,
        lines_304=mask,
        meta=meta,
    )


def stored_of(entry: Entry) -> Stored:
    """What the rules know of a record. Raises `rules.stored.MetaError` on foreign bytes."""
    return stored_in(entry, entry.body_length)


def brief_of(entry: Entry) -> Brief:
    """A part of what `stored_of` says, for less where the record shows it as it is. Raises `MetaError`, too."""
    head, meta = entry.head, entry.meta
    if meta[:1] == _SAME:
        lower = head.lower()
        if b"\r\ncontent-encoding:" not in lower:
            flags, etag = flags_in(meta[1:]), entry.etag
            if etag is not None and not flags & _WEAKENED:
                return Brief(etag.decode("latin-1"), None, flags)
            if etag is None and b"\r\netag:" not in lower:
                return Brief(None, None, flags)
    stored = stored_of(entry)
    return Brief(stored.origin_etag, stored.content_coding, int(stored.flags))


def stored_of_draft(record: Draft) -> Stored:
    """The same while its body is still arriving."""
    return stored_in(record, -1)


def stored_in(entry: Entry | Draft, body_length: int) -> Stored:
    """The same of a body that lies elsewhere."""
    meta = entry.meta
    head = entry.head
    if meta[:1] == _EDITED:
        (n,) = _LENGTH.unpack_from(meta, 1)
        head, meta = meta[5 : 5 + n], meta[5 + n :]
    else:
        meta = meta[1:]
    stored = decode(
        head=head,
        meta=meta,
        born=entry.born,
        fresh_until=entry.fresh_until,
        swr_until=entry.swr_until,
        sie_until=entry.sie_until,
        response_time=entry.response_time,
        last_modified=entry.last_modified,
        body_length=body_length,
    )
    return soft_window(stored)


def soft_window(stored: Stored) -> Stored:
    """Purged softly, it also ends that much earlier to answer while it is refreshed. A record is not changed so."""
    early = stored.born + stored.lifetime - stored.fresh_until
    if stored.no_cache or early <= 0:
        return stored
    return replace(stored, swr_until=max(stored.fresh_until, stored.swr_until - early))


@lru_cache(maxsize=256)  # URLs of a site vary by the same few fields
def first_marker(spec: tuple[str, ...]) -> bytes:
    """The meta of a marker that lists one specification."""
    return encode_vary_marker((spec,))


@lru_cache(maxsize=64)  # many URLs have the same in one millisecond
def vary_marker(specs: tuple[tuple[str, ...], ...], now: int, until: int) -> Draft:
    """What lies under the primary key of a response that varies; kept for as long as its newest variant is of use."""
    return Draft(
        status=0,
        head=b"\r\n",
        status_line_len=2,
        born=now,
        fresh_until=until,
        swr_until=until,
        sie_until=until,
        response_time=now,
        flags=int(RecordFlag.VARY_MARKER),
        meta=encode_vary_marker(specs),
    )
