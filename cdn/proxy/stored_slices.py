"""Slices of a representation as they lie in the store, and how they are found there.

Decides keys and record layouts, and what becomes of the slices of another representation. Which slices belong together
is the rules' (`rules.slices`); it must not know a client, nor how an origin is asked.

    base                     the URL's key, or a variant's: here the complete response would be
    base + SLICES            the list: a record with the head and the lifetime of the response that the slices are of;
                             its body is u64 complete length | 8 bytes token | u32 length of a slice
    base + SLICE + u64       one slice, by its number: its bytes; meta is the token. While it arrives, it has the list's
                             record in the place of its own, and the list's body before that one's meta (`announced`)

A token is given once, to one representation: a slice under another token is no slice of it, and is overwritten when it
is next fetched. So nothing is listed, a slice may go or come at any time, and to forget the list is to forget them all.
All keys begin with the URL's: a purge reaches them, and what is on its way to them. Only the list is renewed by a
validation. The hit lane reads these layouts, too (`_lane.pyx`).
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cdn.config.values import Route
from cdn.proxy import stored_parts
from cdn.proxy.drafts import draft, stored_of, stored_of_draft
from cdn.proxy.lookup import Found, look_up
from cdn.proxy.purge_log import Grade
from cdn.proxy.stored_parts import Piece, StoredParts, bases, merged, newest
from cdn.rules.message import Fields, RequestHead
from cdn.rules.partial import Part
from cdn.rules.ranges import Range
from cdn.rules.slices import numbers, span_of, validator
from cdn.rules.stored import MetaError, Stored
from cdn.store import Draft, Entry, Fill, Memory, RecordFlag

if TYPE_CHECKING:
    from cdn.proxy.site import Site

SLICES = b"\x00slices"
SLICE = b"\x00slice"
TOKEN = 8
NO_TOKEN = bytes(TOKEN)
PACED = b"\x01" + bytes(TOKEN - 1)  # in the place of the token: it comes at the pace of a client
RENEWED_EVERY = 1000  # ms: the list is not written again for every one of many slices that come at once
DROPPED = (
    512  # slices that are removed at once with their list; what nobody can find any more is evicted in time
)
_LIST = struct.Struct("<Q8sI")
_SUFFIX = len(SLICES).to_bytes(4, "little") + SLICES
_PREFIX = len(SLICE).to_bytes(4, "little") + SLICE + (8).to_bytes(4, "little")


def list_key(base: bytes) -> bytes:
    return base + _SUFFIX


def slice_key(base: bytes, number: int) -> bytes:
    return b"".join((base, _PREFIX, number.to_bytes(8, "little")))


@dataclass(frozen=True, slots=True)
class Sliced:
    """A representation of which slices are, or may come to be, stored.

    `shown` has its head; the list's record where there is one. `stored` has the complete length as its body's. `token`
    is None before anything of it is stored.
    """

    base: bytes
    shown: Entry | Draft
    stored: Stored
    length: int
    size: int
    validator: str
    token: bytes | None

    def same_as(self, other: Sliced) -> bool:
        """Whether the bytes of both may be joined."""
        return (self.validator, self.length, self.size) == (other.validator, other.length, other.size)

    def slice(self, memory: Memory, number: int) -> Entry | None:
        """One slice, if it is stored."""
        if self.token is None:
            return None
        entry = memory.lookup(slice_key(self.base, number))
        if entry is None or entry.meta != self.token:
            return None
        first, last = span_of(number, self.size, self.length)
        return entry if entry.body_length == last - first + 1 else None

    def numbers(self, span: Range) -> range:
        return numbers(span[0], span[1], self.size)


def find(memory: Memory, found: Found, request: RequestHead, size: int) -> Sliced | None:
    """What matches a request; of several variants the one with the newest Date (RFC 9111 §4.1)."""
    return newest([load(memory, base, size) for base in bases(found, request)])


def load(memory: Memory, base: bytes, size: int) -> Sliced | None:
    """The list under `base`; None where there is none, or one of slices of another size."""
    entry = memory.lookup(list_key(base))
    if entry is None:
        return None
    try:
        stored = stored_of(entry)
        length, token, held_size = _LIST.unpack(entry.read())
    except (MetaError, struct.error):
        memory.remove(entry.key)
        return None
    proof = validator(stored)
    if proof is None or held_size != size:
        memory.remove(entry.key)
        return None
    return Sliced(base, entry, stored.with_body(length), length, size, proof, token)


def keys_listed(base: bytes, listed: Entry, most: int) -> list[bytes]:
    """Where all slices of a list may lie; none of what is longer than `most` bytes."""
    try:
        length, _, size = _LIST.unpack(listed.read())
    except struct.error:
        return []
    if length > most or size < 1:
        return []
    return [slice_key(base, number) for number in range(-(-length // size))]


def as_parts(memory: Memory, held: Sliced) -> StoredParts | None:
    """What is there of it in the form that makes a whole of parts; None: nothing is. Looks at every slice."""
    if not isinstance(held.shown, Entry):
        return None
    pieces: list[Piece] = []
    for number in held.numbers((0, held.length - 1)):
        entry = held.slice(memory, number)
        if entry is not None:
            first, last = span_of(number, held.size, held.length)
            pieces.append(Piece(b"", first, last, entry))
    if not pieces:
        return None
    part = Part(held.stored, merged(pieces), held.length)
    return StoredParts(held.base, held.shown, part, held.length, tuple(pieces))


def drop_list(memory: Memory, base: bytes) -> None:
    """Nobody finds the slices any more; who reads them goes on."""
    memory.remove(list_key(base))


def drop(memory: Memory, base: bytes) -> None:
    """Forget the slices under `base`: a complete response has taken their place, or they are out of date."""
    entry = memory.lookup(list_key(base))
    if entry is None:
        drop_list(memory, base)  # on disk it may be all the same
        return
    memory.remove(entry.key)
    try:
        length, _, size = _LIST.unpack(entry.read())
    except struct.error:
        return
    for number in range(min(-(-length // max(1, size)), DROPPED)):
        memory.remove(slice_key(base, number))


def drop_others(memory: Memory, base: bytes, stored: Stored, size: int) -> None:
    """`stored` has been received by other means: older slices are of no use beside it, unless they are of the same."""
    held = load(memory, base, size)
    if (
        held is not None
        and held.validator != validator(stored)
        and _age_order(held.stored) <= _age_order(stored)
    ):
        drop(memory, base)


def announced(sliced: Sliced, *, paced: bool = False) -> Draft:
    """The record of a slice while it arrives: the head of what it is of, so that another worker can follow it.

    `paced`: its bytes come as fast as some client reads.
    """
    shown = sliced.shown
    assert isinstance(shown, Draft)
    announcement = _LIST.pack(sliced.length, PACED if paced else NO_TOKEN, sliced.size)
    return replace(shown, stamp=None, meta=announcement + shown.meta)


@dataclass(frozen=True, slots=True)
class Announcement:
    sliced: Sliced
    paced: bool


def announcement(base: bytes, record: Draft) -> Announcement | None:
    """What a slice that arrives under `base` is of; None: nothing that can be joined with others."""
    try:
        length, pace, size = _LIST.unpack(record.meta[: _LIST.size])
        shown = replace(record, stamp=None, meta=record.meta[_LIST.size :])
        stored = stored_of_draft(shown)
    except (MetaError, struct.error):
        return None
    proof = validator(stored)
    if proof is None:
        return None
    return Announcement(
        Sliced(base, shown, stored.with_body(length), length, size, proof, None), pace == PACED
    )


def settled(held: Sliced) -> dict[str, Any]:
    """What the record of a slice says once it has come in whole, instead of its announcement: fields of a draft."""
    stored = held.stored
    return {
        "status": 0,
        "head": b"\r\n",
        "status_line_len": 2,
        "born": stored.born,
        "fresh_until": stored.fresh_until,
        "swr_until": stored.swr_until,
        "sie_until": stored.sie_until,
        "response_time": stored.response_time,
        "flags": int(held.shown.flags) & RecordFlag.OLD_ORIGIN,
        "last_modified": stored.comparison_date,  # eviction sees that it may be of use when it is stale
        "etag_offset": 0,
        "etag_len": 0,
        "lines_304": 0,
        "meta": held.token,
    }


def admit(
    site: Site, route: Route, request: RequestHead, primary: bytes, new: Sliced, fill: Fill
) -> Sliced | None:
    """A slice of `new` has come in whole and waits in `fill`: list its representation, if it is not listed.

    Returns what it is a slice of, token included; None where it must not be stored: a purge came since its request
    left, a complete or a newer response is there, or there is no room for the list.
    """
    memory = site.memory
    if fill.purged or site.purges.find(fill.stamp, request, new.stored.tags, primary).grade is not Grade.NONE:
        return None
    if look_up(memory, primary, request).entry is not None:
        return None
    old = load(memory, new.base, new.size)
    fields = new.stored.fields
    token = secrets.token_bytes(TOKEN)
    if old is not None:
        purged = site.purges.find(_stamp(old), request, old.stored.tags, primary)
        if purged.grade is Grade.GONE:
            drop(memory, new.base)
            old = None
    if old is not None and old.same_as(new):
        assert old.token is not None
        if new.stored.response_time - old.stored.response_time < RENEWED_EVERY:
            return old
        token = old.token
        kept = (line for line in old.stored.fields if line[0].lower() not in fields)
        fields = Fields([*fields, *kept])
    elif old is not None:
        if _age_order(new.stored) < _age_order(old.stored):
            return None
        drop(memory, new.base)
    stored = replace(new.stored, fields=fields)
    old_origin = bool(new.shown.flags & RecordFlag.OLD_ORIGIN)
    record = draft(stored, route.headers.response, fill.stamp, old_origin=old_origin)
    stored_parts.drop(memory, primary, new.base)
    entry = memory.publish(list_key(new.base), record, _LIST.pack(new.length, token, new.size), aside=True)
    return None if entry is None else replace(new, shown=entry, stored=stored, token=token)


def _stamp(held: Sliced) -> int:
    return held.shown.stamp or 0


def _age_order(stored: Stored) -> tuple[int, int]:
    return stored.date, stored.response_time
