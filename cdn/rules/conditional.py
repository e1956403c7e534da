"""Conditional requests against a representation's validators (RFC 9110 §13), in the order of §13.2.2.

Only comparison: which response the validators belong to, and whether it may be used, is decided elsewhere.
"""

from __future__ import annotations

from enum import StrEnum

from cdn import _core
from cdn.rules.dates import parse_date
from cdn.rules.message import Fields, RequestHead
from cdn.rules.stored import Flag, Stored


class Verdict(StrEnum):
    PROCEED = "proceed"
    NOT_MODIFIED = "not-modified"
    PRECONDITION_FAILED = "precondition-failed"


def etag_matches(value: str, etag: str | None, *, weak: bool) -> bool:
    """Does an If-Match / If-None-Match value match this entity-tag? `*` matches whatever exists.

    A stored value without quotes (of no comma, quote or white space) is matched by a member that repeats it byte
    for byte, in weak comparison only: it is what the client was given. A quoted member never matches it, nor one
    without quotes a tag that has them.
    """
    if etag is None:
        return value.strip(" \t") == "*"
    return _core.etag_list_matches(value.encode("latin-1"), etag.encode("latin-1"), weak)


def _one_date(fields: Fields, name: str, now_s: int) -> int | None:
    """A field that is no list and holds an HTTP-date; None when absent, repeated or malformed: it is then
    ignored.
    """
    lines = fields.all(name)
    return parse_date(lines[0], now_s) if len(lines) == 1 else None


def evaluate(request: RequestHead, stored: Stored) -> Verdict:
    """The outcome of all preconditions. Range is not looked at: see `if_range_passes`.

    They say nothing about a response that is no success (§13.2.1). Where the response has no Last-Modified,
    its Date is what If-Modified-Since is compared with (RFC 9111 §4.3.2).
    """
    if not 200 <= stored.status <= 299:
        return Verdict.PROCEED
    return evaluate_validators(
        request, stored.etag, stored.last_modified, stored.date, stored.response_time // 1000
    )


def evaluate_validators(
    request: RequestHead, etag: str | None, last_modified: int | None, date: int, now_s: int
) -> Verdict:
    """RFC 9110 §13.2.2; all times in seconds."""
    fields = request.fields
    if_match = fields.get("if-match")
    if if_match is not None:
        if not etag_matches(if_match, etag, weak=False):
            return Verdict.PRECONDITION_FAILED
    elif last_modified is not None:
        until = _one_date(fields, "if-unmodified-since", now_s)
        if until is not None and last_modified > until:
            return Verdict.PRECONDITION_FAILED
    reading = request.method in ("GET", "HEAD", "QUERY")
    if_none_match = fields.get("if-none-match")
    if if_none_match is not None:
        if not etag_matches(if_none_match, etag, weak=True):
            return Verdict.PROCEED
        return Verdict.NOT_MODIFIED if reading else Verdict.PRECONDITION_FAILED
    if reading:
        since = _one_date(fields, "if-modified-since", now_s)
        if since is not None and (date if last_modified is None else last_modified) <= since:
            return Verdict.NOT_MODIFIED
    return Verdict.PROCEED


def is_strong(etag: str | None) -> bool:
    return etag is not None and etag.startswith('"')


def if_range_passes(request: RequestHead, stored: Stored) -> bool:
    """May the Range be honoured? True without If-Range."""
    # with codings every one of them has the same date
    last_modified = None if stored.flags & Flag.NEGOTIATED else stored.last_modified
    return if_range_holds(request, stored.etag, last_modified, stored.date, stored.response_time // 1000)


def if_range_holds(
    request: RequestHead, etag: str | None, last_modified: int | None, date: int, now_s: int
) -> bool:
    """RFC 9110 §13.1.5; all times in seconds.

    A date counts only as a strong validator: exactly Last-Modified, and at least a second before Date
    (§8.8.2.2).
    """
    lines = request.fields.all("if-range")
    if not lines:
        return True
    if len(lines) != 1:
        return False
    value = lines[0]
    if value.endswith('"'):
        return value == etag and is_strong(value)
    when = parse_date(value, now_s)
    return when is not None and when == last_modified and date - when >= 1
