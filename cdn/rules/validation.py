"""Asking the origin whether a stored response still holds, and taking in its answer (RFC 9111 §4.3, §3.2).

Makes the fields of the validating request and updates the stored response; sends nothing and stores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from cdn.config.values import CachePolicy
from cdn.rules.coding import OURS, updated
from cdn.rules.conditional import is_strong
from cdn.rules.dates import format_date, parse_date
from cdn.rules.fields import end_to_end, entity_tag
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.norms import CONDITIONALS
from cdn.rules.outcome import NoStoreReason
from cdn.rules.stored import Brief, Flag, Stored
from cdn.rules.storing import DontStore, Store, decide_store
from cdn.rules.vary import select as newest

# RFC 9111 §3.2: a 304 brings no body, so nothing that describes the bytes in store changes. Content-Type and
# the rest are updated: the stored bytes are kept as they came.
_NOT_UPDATED = frozenset({"content-length", "content-encoding", "content-range", "etag", "age"})


def validation_request(request: RequestHead, stored: Stored) -> Fields:
    """The client's fields with its own conditions and ranges replaced by the stored validators (§4.3.1).

    Last-Modified goes along with an entity-tag, for caches on the way that know only dates.
    """
    lines: list[tuple[str, str]] = []
    etag = stored.origin_etag
    if etag is not None:
        lines.append(("If-None-Match", etag))
    if stored.last_modified is not None:
        text = stored.fields.all("last-modified")
        lines.append(("If-Modified-Since", text[0] if text else format_date(stored.last_modified)))
    return fill_fields(request.fields).plus(lines)


def fill_fields(fields: Fields) -> Fields:
    """For a request whose whole answer is wanted: no conditions, no ranges."""
    return fields.without((*CONDITIONALS, "range"))


def forward_conditionals(request: RequestHead, fill: bool) -> Fields:
    """The fields for the origin when nothing is stored.

    A shared fill (`fill`, others may wait for it) asks for the whole answer: a 304 or 206 would be no use to
    them. Any other request carries the client's own conditions, which the origin then answers (§4.3.2); the
    200 that may come is storable all the same.
    """
    return fill_fields(request.fields) if fill else request.fields


def selects(stored: Stored, response: ResponseHead, now_s: int, *, only: bool = True) -> bool:
    """Does this 304 (or 200 to a HEAD) speak of the stored response (§4.3.4)?

    A strong entity-tag must be the same; a weak one, or Last-Modified, must match as far as both sides have
    one. A 304 without any validator speaks of the response it was asked about, provided only one was
    (`only`).
    """
    etag = entity_tag(response.fields)
    known = stored.origin_etag
    if etag is not None:
        if is_strong(etag) and is_strong(known):
            return etag == known
        if known is not None:
            return _opaque(etag) == _opaque(known)
        if is_strong(etag):
            return False
    lines = response.fields.all("last-modified")
    modified = parse_date(lines[0], now_s) if lines else None
    if modified is not None and stored.last_modified is not None:
        return modified == stored.last_modified
    return only and etag is None


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/")


def updated_fields(stored: Stored, response: ResponseHead, response_time: int) -> Fields:
    """The stored fields with those of a 304 put in their place, several lines for several (§3.2)."""
    news: dict[str, list[tuple[str, str]]] = {}
    for name, value in end_to_end(response.fields):
        lower = name.lower()
        if lower not in _NOT_UPDATED or (lower == "etag" and stored.etag is None):
            news.setdefault(lower, []).append((name, value))
    if "date" not in news:
        news["date"] = [("Date", format_date(response_time // 1000))]
    out: list[tuple[str, str]] = []
    placed: set[str] = set()
    for name, value in stored.fields:
        lower = name.lower()
        if lower not in news:
            out.append((name, value))
        elif lower not in placed:
            placed.add(lower)
            out.extend(news[lower])
    for lower, lines in news.items():
        if lower not in placed:
            out.extend(lines)
    return updated(stored, Fields(out))


def freshen(
    stored: Stored,
    request: RequestHead,
    response: ResponseHead,
    policy: CachePolicy | None,
    *,
    request_time: int,
    response_time: int,
) -> Store | DontStore:
    """The stored response as a 304 leaves it; `DontStore` when by its new fields it may not be kept.

    The client is answered from `updated_fields` either way. `request` is the client's: its conditions are not
    what made the 304.
    """
    asked = RequestHead(
        request.method if request.method != "HEAD" else "GET",
        request.scheme,
        request.authority,
        request.path,
        request.query,
        fill_fields(request.fields),
        request.version,
    )
    fields = updated_fields(stored, response, response_time)
    if "age" in response.fields:
        fields = fields.plus(("Age", value) for value in response.fields.all("age"))
    whole = ResponseHead(stored.status, fields, stored.reason)
    made = decide_store(asked, whole, policy, request_time=request_time, response_time=response_time)
    if isinstance(made, DontStore):
        return made
    if made.no_transform and stored.flags & Flag.CODED:
        return DontStore(NoStoreReason.NO_TRANSFORM)
    return Store(
        **{
            **{name: getattr(made, name) for name in Stored.__slots__},
            "body_length": stored.body_length,
            "flags": made.flags | (stored.flags & OURS),
            "tags": made.tags or stored.tags,
        }
    )


class HeadUpdate(StrEnum):
    """What a 200 to HEAD means for the stored GET response (§4.3.5)."""

    FRESHEN = "freshen"
    INVALIDATE = "invalidate"
    IGNORE = "ignore"


def head_update(stored: Stored, response: ResponseHead, now_s: int) -> HeadUpdate:
    """Whatever validators and length it has are the stored ones: as good as a 304. Otherwise the stored response is
    known to be old.
    """
    if response.status != 200 or stored.status != 200:
        return HeadUpdate.IGNORE
    lengths = response.fields.all("content-length")
    ours = stored.flags & Flag.CODED  # then the origin speaks of another length
    if lengths and not ours and stored.body_length >= 0 and lengths[0] != str(stored.body_length):
        return HeadUpdate.INVALIDATE
    etag = entity_tag(response.fields)
    lines = response.fields.all("last-modified")
    modified = parse_date(lines[0], now_s) if lines else None
    if (etag is not None and etag != stored.origin_etag) or (
        modified is not None and modified != stored.last_modified
    ):
        return HeadUpdate.INVALIDATE
    return HeadUpdate.FRESHEN


def variants_request(request: RequestHead, candidates: Sequence[Stored | Brief]) -> Fields:
    """When variants are stored but none matches: ask whether one of them would do after all (§4.3.1).

    Only entity-tags can tell variants apart. Without any the fields are those of a plain fill.
    """
    etags = [stored.origin_etag for stored in candidates]
    tags = list(dict.fromkeys(etag for etag in etags if etag is not None))
    fields = fill_fields(request.fields)
    return fields.plus([("If-None-Match", ", ".join(tags))]) if tags else fields


def select_variant(candidates: Sequence[Stored], response: ResponseHead, now_s: int) -> Stored | None:
    """The stored response that this 304 speaks of (§4.3.4), the newest of several; None: it may update
    nothing.
    """
    only = len(candidates) == 1
    matching = [stored for stored in candidates if selects(stored, response, now_s, only=only)]
    return newest(matching)


def is_conditional(request: RequestHead) -> bool:
    """Does the client have a copy of its own to ask about? With nothing stored, such a request goes on as it
    is.
    """
    return "if-none-match" in request.fields or "if-modified-since" in request.fields
