"""From a request to its key, and from the key to what is stored for it, variants included.

Decides nothing about use: it finds. The key is the leaf's (`_core.cache_key`), the variant's extras are the rules'.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdn._core import QueryFilter, cache_key, key_hash
from cdn.config.values import CachePolicy
from cdn.proxy.drafts import stored_of
from cdn.rules.coding import normal_encoding
from cdn.rules.message import Fields, RequestHead
from cdn.rules.stored import decode_vary_marker
from cdn.rules.vary import key_extras
from cdn.store import Entry, Memory, RecordFlag

LOG_SECRET = b"cdn log key hash"  # as in `_log.pyx`: the hash in a log is the same on every node
VARIANT = b"\x00vary"  # the extra that parts a variant's key from its URL's


def log_hash(key: bytes) -> str:
    """16 hex digits that name a key in logs."""
    return f"{key_hash(LOG_SECRET, key)[0]:016x}"


def keyed_target(request: RequestHead, filter: QueryFilter) -> str | None:
    """The query that is in the key; also what a cacheable fill sends, so that nothing unkeyed reaches the origin."""
    if request.query is None or not filter.active:
        return request.query
    kept = filter.filter(request.query.encode("latin-1"))
    return None if kept is None else kept.decode("latin-1")


def primary_key(request: RequestHead, query: str | None, policy: CachePolicy) -> bytes:
    """scheme, authority, path, query, and the fields and cookies that the route puts into the key."""
    extras: list[bytes] = []
    spec = policy.key
    if spec.headers:
        extras += key_extras(spec.headers, request.fields)
    for wanted in spec.cookies:
        extras.append(_cookies(request, wanted))
    return cache_key(
        request.scheme == "https",
        request.authority.encode("latin-1"),
        request.path.encode("latin-1"),
        None if query is None else query.encode("latin-1"),
        tuple(extras),
    )


def url_part(key: bytes) -> bytes:
    """The beginning of a key that stands for the URL alone: scheme, authority, path and query."""
    end = 1
    for _ in range(3):
        length = int.from_bytes(key[end : end + 4], "little")
        end += 4 if length == 0xFFFF_FFFF else 4 + length
    return key[:end]


def _cookies(request: RequestHead, wanted: str) -> bytes:
    """The cookies of that name (or prefix, `name*`) in the order sent; absent differs from empty."""
    found: list[str] = []
    for line in request.fields.all("cookie"):
        for pair in line.split(";"):
            name = pair.partition("=")[0].strip()
            if name == wanted or (wanted.endswith("*") and name.startswith(wanted[:-1])):
                found.append(pair.strip())
    return ("\x01" + ";".join(found)).encode("latin-1") if found else b"\x00"


def variant_key(primary: bytes, spec: tuple[str, ...], extras: tuple[bytes, ...]) -> bytes:
    """The primary key, then which fields were compared and their normalised values, length-prefixed."""
    parts = [primary]
    for part in (VARIANT, ",".join(spec).encode("latin-1"), *extras):
        parts.append(len(part).to_bytes(4, "little"))
        parts.append(part)
    return b"".join(parts)


def normal_value(name: str, value: str) -> bytes:
    """The extra for one field that a request has; what the hit lane remembers.

    Behind a NUL in `name` stand the codings of the route, by which Accept-Encoding is brought to its normal form first.
    """
    name, _, codings = name.partition("\0")
    if codings:
        value = normal_encoding(value, codings.split(","))
    return key_extras((name,), Fields([(name, value)]))[0]


@dataclass(slots=True)
class Found:
    """`key` is where a fill for this request belongs; `entry` what is stored there, or the best match, or None."""

    primary: bytes
    key: bytes
    entry: Entry | None
    specs: tuple[tuple[str, ...], ...] = ()


def look_up(memory: Memory, primary: bytes, request: RequestHead) -> Found:
    """Follow a vary marker to the variants that match, and take the one with the newest Date (RFC 9111 §4.1)."""
    entry = memory.lookup(primary)
    if entry is None or not entry.flags & RecordFlag.VARY_MARKER:
        return Found(primary, primary, entry)
    specs = decode_vary_marker(entry.meta)
    best: Entry | None = None
    best_date = -1
    best_key = fill_key = b""
    for spec in specs:
        key = variant_key(primary, spec, key_extras(spec, request.fields))
        fill_key = fill_key or key
        variant = memory.lookup(key)
        if variant is not None:
            date = stored_of(variant).date
            if date > best_date:
                best, best_date, best_key = variant, date, key
    return Found(primary, best_key or fill_key or primary, best, specs)
