"""`Cache-Status` (RFC 9211) to one word: what the cache nearest to the client did."""

from __future__ import annotations

import re

FRESH, STALE, REVALIDATED, COLLAPSED, UNKNOWN = (
    "hit",
    "hit, stale",
    "revalidated",
    "collapsed",
    "no Cache-Status",
)
HITS = (FRESH, STALE)

_FIELD = re.compile(rb"\r\ncache-status:([^\r]*)", re.I)
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')
_FORWARDED = re.compile(rb";\s*fwd=([a-z-]+)")


def outcome(head: bytes) -> str:
    """The outcome by the last member of the last line in a response head; `UNKNOWN` without one."""
    lines = _FIELD.findall(head)
    if not lines:
        return UNKNOWN
    value = lines[-1]
    if b'"' in value:
        value = _QUOTED.sub(b"s", value)
    member = value[value.rfind(b",") + 1 :]
    if b"hit" in member and re.search(rb";\s*hit\b(?!=\?0)", member):
        return STALE if b"ttl=-" in member else FRESH
    if b"collapsed" in member:
        return COLLAPSED
    forwarded = _FORWARDED.search(member)
    if forwarded is None:
        return UNKNOWN
    reason = forwarded[1].decode()
    if reason == "stale" and b"fwd-status=304" in member:
        return REVALIDATED
    return f"forwarded: {reason}"
