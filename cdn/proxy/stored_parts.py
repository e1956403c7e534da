"""Parts of a representation as they lie in the store, and how they are found there.

Decides keys and record layouts, and which parts stay when a new one comes. What belongs together is the rules'
(`rules.partial`); it must not know a client or an origin.

    base                        the URL's key, or a variant's: here the complete response would be
    base + PARTS                the index: a record with the head and the lifetime of the response that the parts are
                                of; its body is u64 complete length | n × (token, u64 first, u64 last)
    URL's key + PART + token    one part: its bytes; meta u64 first | u64 last | u64 complete length | entity-tag

A token is given once, so an index never names bytes of another representation, whatever was evicted or replaced in
between. All keys begin with the URL's: a purge reaches them. Only the index is renewed by a validation.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from cdn.config.values import Route
from cdn.proxy.drafts import draft, stored_of
from cdn.proxy.lookup import Found, look_up, variant_key
from cdn.proxy.purge_log import Grade
from cdn.rules.message import RequestHead
from cdn.rules.partial import Part, combine
from cdn.rules.ranges import Range
from cdn.rules.stored import MetaError, Stored
from cdn.rules.vary import key_extras
from cdn.store import Draft, Entry, Memory, RecordFlag

if TYPE_CHECKING:
    from cdn.proxy.site import Site

PARTS = b"\x00parts"
PART = b"\x00part"
MAX_PARTS = 64  # of one representation; the one received longest ago goes
_LENGTH = struct.Struct("<Q")
_LISTED = struct.Struct("<8sQQ")
_META = struct.Struct("<QQQ")


def index_key(base: bytes) -> bytes:
    return base + len(PARTS).to_bytes(4, "little") + PARTS


def part_key(primary: bytes, token: bytes) -> bytes:
    return b"".join((primary, len(PART).to_bytes(4, "little"), PART, len(token).to_bytes(4, "little"), token))


def new_token() -> bytes:
    return secrets.token_bytes(8)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `first` to `last`, both included; `entry` is pinned while this is alive."""

    token: bytes
    first: int
    last: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class StoredParts:
    """What is there of one representation. `part.stored` has the complete length as its body's."""

    base: bytes
    index: Entry
    part: Part
    length: int
    pieces: tuple[Piece, ...]

    @property
    def stored(self) -> Stored:
        return self.part.stored

    def gap(self, first: int, last: int) -> Range | None:
        """The one stretch of [first, last] that takes in all that is missing there; None when nothing is."""
        missing = self.part.missing(first, last)
        return (missing[0][0], missing[-1][1]) if missing else None

    def read(self, offset: int, n: int) -> bytes:
        """At least one byte and at most `n` from `offset` on; b"" where nothing is held."""
        best: Piece | None = None
        for piece in self.pieces:
            if piece.first <= offset <= piece.last and (best is None or piece.last > best.last):
                best = piece
        return b"" if best is None else best.entry.read(offset - best.first, min(n, best.last + 1 - offset))

    def touch(self, now: int) -> None:
        self.index.touch(now)
        for piece in self.pieces:
            piece.entry.touch(now)


def find(memory: Memory, found: Found, request: RequestHead) -> StoredParts | None:
    """The parts that match a request; of several the one with the newest Date (RFC 9111 §4.1)."""
    return newest([load(memory, found.primary, base) for base in bases(found, request)])


def bases(found: Found, request: RequestHead) -> list[bytes]:
    """Where the complete response to a request would be: under one key, or under one of each `Vary` specification."""
    variants = [variant_key(found.primary, spec, key_extras(spec, request.fields)) for spec in found.specs]
    return variants or [found.primary]


class _Dated(Protocol):
    @property
    def stored(self) -> Stored: ...


_Held = TypeVar("_Held", bound=_Dated)


def newest(held: Iterable[_Held | None]) -> _Held | None:
    """The first of those with the newest Date."""
    return max((one for one in held if one is not None), key=lambda one: one.stored.date, default=None)


def load(memory: Memory, primary: bytes, base: bytes) -> StoredParts | None:
    """What the index under `base` names and is still there; None when that is nothing."""
    index = memory.lookup(index_key(base))
    if index is None:
        return None
    try:
        stored = stored_of(index)
        length, listed = _decode(index.read())
    except (MetaError, struct.error):
        memory.remove(index.key)
        return None
    pieces: list[Piece] = []
    for token, first, last in listed:
        entry = memory.lookup(part_key(primary, token))
        if entry is not None and entry.meta == _meta(first, last, length, stored.etag or ""):
            pieces.append(Piece(token, first, last, entry))
    if not pieces:
        memory.remove(index.key)
        return None
    part = Part(stored.with_body(length), merged(pieces), length)
    return StoredParts(base, index, part, length, tuple(pieces))


def keys_listed(primary: bytes, index: Entry) -> list[bytes]:
    """Where the parts lie that an index names."""
    try:
        return [part_key(primary, token) for token, _, _ in _decode(index.read())[1]]
    except struct.error:
        return []


def drop(memory: Memory, primary: bytes, base: bytes) -> None:
    """Forget the parts under `base`: a complete response has taken their place, or they are out of date."""
    index = memory.lookup(index_key(base))
    if index is None:
        memory.remove(index_key(base))  # on disk it may be all the same
        return
    memory.remove(index.key)
    try:
        _, listed = _decode(index.read())
    except struct.error:
        return
    for token, _, _ in listed:
        memory.remove(part_key(primary, token))


def part_draft(made: Part, *, old_origin: bool) -> Draft:
    """The record of the one span of `made`."""
    ((first, last),) = made.spans
    stored = made.stored
    assert made.length is not None
    return Draft(
        status=0,
        head=b"\r\n",
        status_line_len=2,
        born=stored.born,
        fresh_until=stored.fresh_until,
        swr_until=stored.swr_until,
        sie_until=stored.sie_until,
        response_time=stored.response_time,
        flags=int(RecordFlag.OLD_ORIGIN) if old_origin else 0,
        meta=_meta(first, last, made.length, stored.etag or ""),
    )


def record(
    site: Site, route: Route, request: RequestHead, primary: bytes, made: Part, token: bytes, entry: Entry
) -> StoredParts | None:
    """A part has come in whole and lies in `entry`: list it beside what is there of the same representation.

    None: it was of no use, because a complete or a newer response is stored, or there is no room for the list.
    """
    memory = site.memory
    key = part_key(primary, token)
    now_stored = look_up(memory, primary, request)
    if now_stored.entry is not None or _purged(site, request, entry, made.stored):
        memory.remove(key)
        return None
    base = base_of(site, request, primary, made.stored, now_stored.specs)
    ((first, last),) = made.spans
    assert made.length is not None
    old = load(memory, primary, base)
    if old is not None and _purged(site, request, old.index, old.stored):
        drop(memory, primary, base)
        old = None
    pieces = [Piece(token, first, last, entry)]
    stored, told_by = made.stored, entry
    if old is not None:
        newer = _age_order(made.stored) >= _age_order(old.stored)
        before = Part(old.stored, (), old.length)  # only the fields: there is no bound to spans but ours
        together = combine(before, made) if newer else combine(made, before)
        if together is None and not newer:
            memory.remove(key)
            return None
        if together is None:
            drop(memory, primary, base)
        else:
            stored, told_by = together.stored, entry if newer else old.index
            pieces = _with(memory, primary, old, pieces[0])
    listing = _LENGTH.pack(made.length) + b"".join(_LISTED.pack(p.token, p.first, p.last) for p in pieces)
    index = memory.publish(
        index_key(base),
        draft(
            stored,
            route.headers.response,
            told_by.stamp,
            old_origin=bool(told_by.flags & RecordFlag.OLD_ORIGIN),
        ),
        listing,
        aside=True,
    )
    if index is None:
        memory.remove(key)
        return None
    part = Part(stored.with_body(made.length), merged(pieces), made.length)
    return StoredParts(base, index, part, made.length, tuple(pieces))


def _purged(site: Site, request: RequestHead, entry: Entry, stored: Stored) -> bool:
    return site.purges.find(entry.stamp, request, stored.tags, entry.key).grade is Grade.GONE


def _with(memory: Memory, primary: bytes, old: StoredParts, new: Piece) -> list[Piece]:
    """What stays beside a new piece; what does not is removed from the store."""
    if old.part.holds(new.first, new.last):
        kept = list(old.pieces)
    else:
        kept = [piece for piece in old.pieces if piece.first < new.first or new.last < piece.last]
        kept = [*kept, new][-MAX_PARTS:]
    for piece in (*old.pieces, new):
        if piece not in kept:
            memory.remove(part_key(primary, piece.token))
    return kept


def base_of(
    site: Site, request: RequestHead, primary: bytes, stored: Stored, specs: tuple[tuple[str, ...], ...]
) -> bytes:
    """Where the complete response would lie; where it varies, the URL's key holds the marker (RFC 9111 §4.1)."""
    if not stored.vary and not specs:
        return primary
    base = variant_key(primary, stored.vary, key_extras(stored.vary, request.fields))
    until = max(stored.fresh_until, stored.swr_until, stored.sie_until)
    site.variants.filled(primary, base, stored.vary, stored.response_time, until)
    return base


def _age_order(stored: Stored) -> tuple[int, int]:
    return stored.date, stored.response_time


def _meta(first: int, last: int, length: int, etag: str) -> bytes:
    return _META.pack(first, last, length) + etag.encode("latin-1")


def _decode(body: bytes) -> tuple[int, list[tuple[bytes, int, int]]]:
    (length,) = _LENGTH.unpack_from(body, 0)
    return length, list(_LISTED.iter_unpack(body[_LENGTH.size :]))


def merged(pieces: list[Piece]) -> tuple[Range, ...]:
    spans: list[Range] = []
    for first, last in sorted((piece.first, piece.last) for piece in pieces):
        if spans and first <= spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], max(spans[-1][1], last))
        else:
            spans.append((first, last))
    return tuple(spans)
