"""Which object a request names, what the store is asked for it, and what its answer becomes for HTTP clients.

Decides that only GET and HEAD of objects ever go out: no query of a client's reaches the store (`?acl` or
`?list-type=2` would be signed with our credentials), no listing, no client's Authorization. Must not know
connections or a clock.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from cdn.config.values import Bucket
from cdn.rules.message import Fields, ResponseHead
from cdn.tier.seam import OriginRequest

# The fields of a request that mean something to an object store.
FORWARDED = frozenset(
    {"range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "user-agent"}
)
LONGEST_KEY = 1024  # bytes, of the object's key
# Errors that say something about an object; any other says something about us or the store.
ABOUT_THE_OBJECT = frozenset({403, 404, 405, 412, 416})
SENTENCES = {
    403: "This object may not be read.",
    404: "There is no such object.",
    412: "The object is not in the state that was asked for.",
    416: "The object does not have these bytes.",
}


def object_key(path: str, bucket: Bucket) -> bytes | None:
    """The key of the object that a path in normal form names; None: no object can be called so."""
    names = path.removeprefix("/").split("/")
    if any("%2F" in name.upper() or "%00" in name for name in names):
        return None
    key = unquote_to_bytes("/".join(names))
    if not key or key.endswith(b"/"):
        key += bucket.index.encode()
    key = bucket.prefix.encode() + key
    return key if len(key) <= LONGEST_KEY else None


def asked_fields(request: OriginRequest, *, whole: bool = False) -> Fields:
    """What of the client's request the store is told. It has no If-Range: an entity-tag becomes If-Match, and
    a 412 then means that the range is to be forgotten (`whole`).
    """
    lines = [(name, value) for name, value in request.fields if name.lower() in FORWARDED]
    condition = request.fields.all("if-range")
    if not condition or "range" not in request.fields:
        return Fields(lines)
    fields = Fields(lines)
    if whole or len(condition) != 1 or not condition[0].startswith('"') or "if-match" in fields:
        return fields.without(("range",))
    return fields.plus([("If-Match", condition[0])])


def conditional_range(request: OriginRequest) -> bool:
    """Whether a 412 would only say that If-Range did not hold."""
    sent = asked_fields(request)
    return "if-match" in sent and "if-match" not in request.fields


def shown(head: ResponseHead) -> ResponseHead:
    """The head without what only speaks of the store itself; an object's own metadata stays."""
    return ResponseHead(
        head.status,
        Fields(
            (name, value)
            for name, value in head.fields
            if name.lower() != "server"
            and (not name.lower().startswith("x-amz-") or name.lower().startswith("x-amz-meta-"))
        ),
        head.reason,
        head.version,
    )
