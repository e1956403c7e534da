"""A stored response as rules see it, and the compact codec for what a store record has no room for.

A record keeps status, times, lengths and the replayed head lines itself; its `meta` bytes carry the rest,
written here. Nothing here knows how or where records lie.

meta, little-endian:

    u8 version 2 | u8 flags | u8 lifetime source, + 128 with tags, + 64 where the head's Vary says it
    i32 date - response time (s) | u16 request delay (ms) | u32 lifetime (s)
    without that: u8 count × (u8 n + vary name) | with tags: u16 count × (u16 n + tag)

Where a number does not fit: u8 version 1, then i64 date (s) | u32 request delay (ms) | u64 lifetime (ms) instead.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from functools import lru_cache

from cdn.rules.dates import parse_date
from cdn.rules.fields import entity_tag, list_members
from cdn.rules.message import Fields

META_VERSION = 2
META_WIDE = 1
MARKER_VERSION = 1
MAX_SPECS = 4
_FIRST = struct.Struct("<BBB")
_NARROW = struct.Struct("<iHI")
_WIDE = struct.Struct("<qIQ")
TAGGED = 128
_LISTED = 64
_U8 = struct.Struct("<B")
_U16 = struct.Struct("<H")


# Where a lifetime can come from (`freshness.LifetimeSource`); positions are part of the format.
SOURCES = ("none", "override_ttl", "s-maxage", "max-age", "Expires", "status_ttl", "ttl", "heuristic")


class MetaError(ValueError):
    """The bytes are not what this version writes: the record counts as absent."""


class Flag(IntFlag):
    MUST_REVALIDATE = 1  # never served stale: must-revalidate, proxy-revalidate, s-maxage, no-cache
    NO_CACHE = 2  # validated before every use
    IMMUTABLE = 4
    NO_TRANSFORM = 8
    AUTHORIZED = 16  # the request carried Authorization
    NEGOTIATED = 32  # it varies by Accept-Encoding on this node's word
    CODED = 64  # its content coding was applied here
    WEAKENED = 128  # its entity-tag is the origin's strong one, made weak


NO_FLAGS = Flag(0)


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of a stored response. Times are milliseconds of node time, absolute; age(now) = now -
    born.

    Fresh while now < fresh_until; may be served while it is being validated until `swr_until`, when
    validation fails until `sie_until`; both equal `fresh_until` where that is not allowed. `fields` is the
    stored form, which has no Content-Length, Age or hop-by-hop field. `last_modified` and `date` are seconds;
    `vary` is () when nothing varies. `body_length` is -1 until the body is complete.
    """

    status: int
    fields: Fields
    born: int
    fresh_until: int
    swr_until: int
    sie_until: int
    request_time: int
    response_time: int
    date: int
    reason: str = ""
    body_length: int = -1
    etag: str | None = None
    last_modified: int | None = None
    vary: tuple[str, ...] = ()
    flags: Flag = NO_FLAGS
    lifetime: int = 0
    lifetime_source: str = "none"
    tags: tuple[str, ...] = ()

    @property
    def must_revalidate(self) -> bool:
        return bool(self.flags & Flag.MUST_REVALIDATE)

    @property
    def no_cache(self) -> bool:
        return bool(self.flags & Flag.NO_CACHE)

    @property
    def immutable(self) -> bool:
        return bool(self.flags & Flag.IMMUTABLE)

    @property
    def no_transform(self) -> bool:
        return bool(self.flags & Flag.NO_TRANSFORM)

    @property
    def has_validator(self) -> bool:
        return self.etag is not None or self.last_modified is not None

    @property
    def origin_etag(self) -> str | None:
        """The entity-tag that the origin knows."""
        if self.etag is None or not self.flags & Flag.WEAKENED:
            return self.etag
        return self.etag.removeprefix("W/")

    @property
    def content_coding(self) -> str | None:
        return self.fields.get("content-encoding")

    @property
    def comparison_date(self) -> int:
        """What If-Modified-Since is compared with, in seconds: the record's own `last_modified` (RFC 9111
        §4.3.2).
        """
        return self.date if self.last_modified is None else self.last_modified

    def age(self, now: int) -> int:
        """Whole seconds, never negative: the value of the Age field."""
        return max(0, now - self.born) // 1000

    def ended(self, now: int) -> Stored:
        """The same, to be validated before any use from `now` on."""
        until = min(self.fresh_until, now)
        return replace(self, fresh_until=until, swr_until=until, sie_until=until)

    def with_body(self, length: int) -> Stored:
        return replace(self, body_length=length)


# RFC 9110 §15.4.5: a 304 carries no metadata of a representation it does not bring, beyond what updates a
# cache needs.
_NOT_IN_304 = frozenset(
    {"content-encoding", "content-language", "content-md5", "content-range", "content-type", "content-digest"}
    | {"content-disposition", "accept-ranges", "repr-digest", "digest"}
)


def status_line(status: int, reason: str) -> bytes:
    return f"HTTP/1.1 {status} {reason}\r\n".encode("latin-1")


def head_bytes(stored: Stored) -> bytes:
    """The record's head: status line and field lines, without the final empty line."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in stored.fields)
    return status_line(stored.status, stored.reason) + lines.encode("latin-1")


def in_304(name: str, has_etag: bool) -> bool:
    """Whether a 304 made from the stored response carries this field (lower case)."""
    return name not in _NOT_IN_304 and not (name == "last-modified" and has_etag)


def lines_304(stored: Stored) -> int:
    """Bit i set: field line i belongs into a 304. Lines from the 65th on have no bit and are left out."""
    has_etag = stored.etag is not None
    mask = 0
    for index, (name, _) in enumerate(stored.fields):
        if index < 64 and in_304(name.lower(), has_etag):
            mask |= 1 << index
    return mask


def parse_head(head: bytes) -> tuple[int, str, Fields]:
    """(status, reason, fields) of what `head_bytes` wrote. Raises `MetaError`."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if version != "HTTP/1.1" or not status.isdigit() or not lines or lines.pop():
        raise MetaError("not a stored head")
    pairs: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(": ")
        if not colon:
            raise MetaError("not a stored head")
        pairs.append((name, value))
    return int(status), reason, Fields(pairs)


@dataclass(frozen=True, slots=True)
class Brief:
    """What is to be known of a stored response for asking its origin about it as one of several variants."""

    origin_etag: str | None
    content_coding: str | None
    flags: int


def flags_in(meta: bytes) -> int:
    """The flags alone of what `encode_meta` gave. Raises `MetaError` on foreign bytes."""
    if len(meta) < _FIRST.size or meta[0] not in (META_VERSION, META_WIDE):
        raise MetaError("no meta of this version")
    return meta[1]


def encode_meta(stored: Stored) -> bytes:
    """The part of `stored` that neither the record's fixed part nor its head holds."""
    delay = min(max(0, stored.response_time - stored.request_time), 0xFFFF_FFFF)
    source = SOURCES.index(stored.lifetime_source) | (TAGGED if stored.tags else 0)
    if stored.vary == _listed(stored.fields):
        source |= _LISTED
    seconds, rest = divmod(stored.lifetime, 1000)
    behind = stored.date - stored.response_time // 1000
    if rest == 0 and seconds <= 0xFFFF_FFFF and delay <= 0xFFFF and -(1 << 31) <= behind < 1 << 31:
        out = [_FIRST.pack(META_VERSION, int(stored.flags), source), _NARROW.pack(behind, delay, seconds)]
    else:
        out = [
            _FIRST.pack(META_WIDE, int(stored.flags), source),
            _WIDE.pack(stored.date, delay, stored.lifetime),
        ]
    if not source & _LISTED:
        out.append(_names(stored.vary))
    out.append(encode_tags(stored.tags))
    return b"".join(out)


def encode_tags(tags: Sequence[str]) -> bytes:
    """The end of what `encode_meta` gives, empty without tags; `TAGGED` in its third byte says that it is there."""
    return b"".join([_U16.pack(len(tags)), *(_text(tag) for tag in tags)]) if tags else b""


def decode(
    *,
    head: bytes,
    meta: bytes,
    born: int,
    fresh_until: int,
    swr_until: int,
    sie_until: int,
    response_time: int,
    body_length: int,
    last_modified: int | None = None,
) -> Stored:
    """A record's parts as a value. Raises `MetaError` on foreign bytes.

    `last_modified` of the record may be `comparison_date` and so is not read: the field itself is in the
    head.
    """
    try:
        version, flags, source = _FIRST.unpack_from(meta, 0)
        if version == META_VERSION:
            behind, delay, seconds = _NARROW.unpack_from(meta, _FIRST.size)
            date, lifetime = response_time // 1000 + behind, seconds * 1000
            reader = _Reader(meta, _FIRST.size + _NARROW.size)
        elif version == META_WIDE:
            date, delay, lifetime = _WIDE.unpack_from(meta, _FIRST.size)
            reader = _Reader(meta, _FIRST.size + _WIDE.size)
        else:
            raise MetaError(f"meta version {version}, expected {META_VERSION}")
        vary = () if source & _LISTED else reader.names()
        tags = tuple(reader.text() for _ in range(reader.u16())) if source & TAGGED else ()
        listed = source & _LISTED
        source &= ~(TAGGED | _LISTED)
        reader.end()
    except struct.error:
        raise MetaError("meta too short") from None
    if source >= len(SOURCES):
        raise MetaError("an unknown source of a lifetime")
    status, reason, fields = parse_head(head)
    if listed:
        vary = _listed(fields)
    modified = fields.all("last-modified")
    return Stored(
        status=status,
        fields=fields,
        born=born,
        fresh_until=fresh_until,
        swr_until=swr_until,
        sie_until=sie_until,
        request_time=response_time - delay,
        response_time=response_time,
        date=date,
        reason=reason,
        body_length=body_length,
        etag=entity_tag(fields),
        last_modified=parse_date(modified[0], response_time // 1000) if modified else None,
        vary=vary,
        flags=Flag(flags),
        lifetime=lifetime,
        lifetime_source=SOURCES[source],
        tags=tags,
    )


def encode_vary_marker(specs: Sequence[tuple[str, ...]]) -> bytes:
    """Up to `MAX_SPECS` specifications, newest first; later ones are dropped."""
    kept = list(dict.fromkeys(specs))[:MAX_SPECS]
    return _U8.pack(MARKER_VERSION) + _U8.pack(len(kept)) + b"".join(_names(names) for names in kept)


@lru_cache(maxsize=256)  # URLs of a site vary by the same few fields
def decode_vary_marker(meta: bytes) -> tuple[tuple[str, ...], ...]:
    """Raises `MetaError`."""
    try:
        reader = _Reader(meta, 0)
        version = reader.u8()
        if version != MARKER_VERSION:
            raise MetaError(f"marker version {version}, expected {MARKER_VERSION}")
        specs = tuple(reader.names() for _ in range(reader.u8()))
        reader.end()
    except struct.error:
        raise MetaError("marker too short") from None
    return specs


def _listed(fields: Fields) -> tuple[str, ...]:
    return tuple(sorted({name.lower() for name in list_members(fields.get("vary") or "")}))


def _short(text: str) -> bytes:
    raw = text.encode("latin-1")[:255]
    return _U8.pack(len(raw)) + raw


def _text(text: str) -> bytes:
    raw = text.encode("latin-1")[:0xFFFF]
    return _U16.pack(len(raw)) + raw


def _names(names: Sequence[str]) -> bytes:
    if len(names) > 255 or any(len(name) > 255 for name in names):
        raise MetaError("too many names, or one too long")
    return _U8.pack(len(names)) + b"".join(_short(name) for name in names)


class _Reader:
    __slots__ = ("_at", "_raw")

    def __init__(self, raw: bytes, at: int) -> None:
        self._raw = raw
        self._at = at

    def u8(self) -> int:
        (value,) = _U8.unpack_from(self._raw, self._at)
        self._at += 1
        return int(value)

    def u16(self) -> int:
        (value,) = _U16.unpack_from(self._raw, self._at)
        self._at += 2
        return int(value)

    def _take(self, n: int) -> str:
        raw = self._raw[self._at : self._at + n]
        if len(raw) != n:
            raise MetaError("meta cut short")
        self._at += n
        return raw.decode("latin-1")

    def short(self) -> str:
        return self._take(self.u8())

    def text(self) -> str:
        return self._take(self.u16())

    def names(self) -> tuple[str, ...]:
        return tuple(self.short() for _ in range(self.u8()))

    def end(self) -> None:
        if self._at != len(self._raw):
            raise MetaError("bytes behind the meta")
