"""Conditional requests against a representation's validators (RFC 9110 §13), in the order of §13.2.2.

Only comparison: which response the validators belong to, and whether it may be used, is decided elsewhere.
"""

from __future__ import annotations

from enum import StrEnum

from cdn import _core
from cdn.rules.dates import parse_date
from cdn.rules.message import Fields, RequestHead


class Condition(StrEnum):
    PROCEED = "proceed"
    NOT_MODIFIED = "not-modified"
    PRECONDITION_FAILED = "precondition-failed"


def etag_matches(value: str, etag: str | None, *, weak: bool) -> bool:
    """Does an If-Match / If-None-Match value match this entity-tag? `*` matches whatever exists."""
    if etag is None:
        return value.strip(" \t") == "*"
    return _core.etag_list_matches(value.encode("latin-1"), etag.encode("latin-1"), weak)


def entity_tag(fields: Fields) -> str | None:
    """The ETag field as it stands; None when absent, empty or given twice.

    A value without quotes is no entity-tag (RFC 9110 §8.8.3) and matches no request, yet the origin that sent
    it may know it again: it is kept for validation.
    """
    lines = fields.all("etag")
    return lines[0] if len(lines) == 1 and lines[0] else None


def _one_date(fields: Fields, name: str, now_s: int) -> int | None:
    """A field that is no list and holds an HTTP-date; None when absent, repeated or malformed: it is then
    ignored.
    """
    lines = fields.all(name)
    return parse_date(lines[0], now_s) if len(lines) == 1 else None


def evaluate(request: RequestHead, etag: str | None, last_modified: int | None, now_s: int) -> Condition:
    """The outcome of all preconditions, `last_modified` in seconds. Range is not looked at: see
    `if_range_passes`.
    """
    failed = _evaluate_origin_conditions(request.fields, etag, last_modified, now_s)
    return failed if failed is not None else evaluate_cache_conditions(request, etag, last_modified, now_s)


def _evaluate_origin_conditions(
    fields: Fields, etag: str | None, last_modified: int | None, now_s: int
) -> Condition | None:
    """Steps 1 and 2, for whoever answers in the origin's place (RFC 9110 §13.1.1, §13.1.4)."""
    if_match = fields.get("if-match")
    if if_match is not None:
        return None if etag_matches(if_match, etag, weak=False) else Condition.PRECONDITION_FAILED
    until = _one_date(fields, "if-unmodified-since", now_s)
    if until is not None and last_modified is not None and last_modified > until:
        return Condition.PRECONDITION_FAILED
    return None


def evaluate_cache_conditions(
    request: RequestHead, etag: str | None, last_modified: int | None, now_s: int
) -> Condition:
    """Steps 3 and 4, the ones a cache applies (RFC 9111 §4.3.2); If-None-Match silences If-Modified-Since."""
    fields = request.fields
    reading = request.method in ("GET", "HEAD")
    if_none_match = fields.get("if-none-match")
    if if_none_match is not None:
        if not etag_matches(if_none_match, etag, weak=True):
            return Condition.PROCEED
        return Condition.NOT_MODIFIED if reading else Condition.PRECONDITION_FAILED
    if not reading or last_modified is None:
        return Condition.PROCEED
    since = _one_date(fields, "if-modified-since", now_s)
    if since is not None and last_modified <= since:
        return Condition.NOT_MODIFIED
    return Condition.PROCEED


def is_strong(etag: str | None) -> bool:
    return etag is not None and etag.startswith('"')


def if_range_passes(
    request: RequestHead, etag: str | None, last_modified: int | None, date: int, now_s: int
) -> bool:
    """May the Range be honoured (RFC 9110 §13.1.5)? True without If-Range.

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
        return value == etag and is_strong(etag)
    when = parse_date(value, now_s)
    return when is not None and when == last_modified and date - when >= 1
