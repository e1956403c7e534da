"""Parts of a representation: which 206 responses may be kept, put together and used (RFC 9111 §3.3, §3.4).

A part is a stored response of status 200 of which only some spans of bytes are there. Only a strong
entity-tag proves that two parts are of one representation (RFC 9110 §15.3.7.3): a 206 without one is kept, and
answers what lies within it, but stays alone. Nothing here holds bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from cdn.config.values import CachePolicy
from cdn.rules.conditional import is_strong
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.outcome import NoStoreReason
from cdn.rules.ranges import Range
from cdn.rules.stored import Stored
from cdn.rules.storing import DontStore, decide_store
from cdn.rules.validation import fill_fields

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\Z", re.IGNORECASE)
MAX_SPANS = 64  # of one part; more are not kept track of


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Both ends included; `length` of the whole is None where the sender does not know it."""

    first: int
    last: int
    length: int | None


def parse_content_range(fields: Fields) -> ContentRange | None:
    """RFC 9110 §14.4; None for an unsatisfied range, another unit, several lines or anything impossible."""
    lines = fields.all("content-range")
    found = _CONTENT_RANGE.match(lines[0]) if len(lines) == 1 else None
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    length = None if found[3] == "*" else int(found[3])
    if last < first or (length is not None and last >= length):
        return None
    return ContentRange(first, last, length)


@dataclass(frozen=True, slots=True)
class Part:
    """`spans` are sorted and neither overlap nor touch; `length` is that of the whole, None while nobody said
    it.
    """

    stored: Stored
    spans: tuple[Range, ...]
    length: int | None

    @property
    def joinable(self) -> bool:
        """May it be completed, or joined by another (RFC 9111 §3.4)?"""
        return is_strong(self.stored.etag)

    @property
    def complete(self) -> bool:
        return self.length is not None and self.spans == ((0, self.length - 1),)

    def holds(self, first: int, last: int) -> bool:
        """May a request for exactly these bytes be answered, with a 206 (§3.3)?"""
        return any(start <= first and last <= end for start, end in self.spans)

    def missing(self, first: int, last: int) -> list[Range]:
        """The gaps in [first, last], in order."""
        gaps: list[Range] = []
        at = first
        for start, end in self.spans:
            if end < at:
                continue
            if start > last:
                break
            if start > at:
                gaps.append((at, start - 1))
            at = end + 1
        if at <= last:
            gaps.append((at, last))
        return gaps


def decide_part(
    request: RequestHead,
    response: ResponseHead,
    policy: CachePolicy | None,
    *,
    request_time: int,
    response_time: int,
) -> Part | DontStore:
    """A 206 to a GET, as the part that it is: judged like the 200 it is cut from (§3, §3.3)."""
    span = parse_content_range(response.fields)
    if response.status != 206 or span is None:
        return DontStore(NoStoreReason.PARTIAL)
    whole = ResponseHead(200, response.fields.without(["content-range"]), "OK", response.version)
    asked = replace(request, fields=fill_fields(request.fields))
    made = decide_store(asked, whole, policy, request_time=request_time, response_time=response_time)
    if isinstance(made, DontStore):
        return made
    return Part(made, ((span.first, span.last),), span.length)


def combine(old: Part, new: Part) -> Part | None:
    """Both as one (§3.4): the newer's fields replace the older's. None when they are not of one
    representation.
    """
    if old.stored.etag != new.stored.etag or not is_strong(new.stored.etag):
        return None
    if old.length is not None and new.length is not None and old.length != new.length:
        return None
    spans: list[Range] = []
    for first, last in sorted((*old.spans, *new.spans)):
        if spans and first <= spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], max(spans[-1][1], last))
        else:
            spans.append((first, last))
    length = new.length if old.length is None else old.length
    if len(spans) > MAX_SPANS or (length is not None and spans[-1][1] >= length):
        return None
    replaced = {name.lower() for name, _ in new.stored.fields}
    kept = [line for line in old.stored.fields if line[0].lower() not in replaced]
    return Part(replace(new.stored, fields=Fields([*new.stored.fields, *kept])), tuple(spans), length)


def completing_request(request: RequestHead, part: Part, gap: Range) -> Fields:
    """The client's fields with a range for one gap, valid only for this representation (§3.4, RFC 9110
    §13.1.5).
    """
    assert part.stored.etag is not None
    lines = [("Range", f"bytes={gap[0]}-{gap[1]}"), ("If-Range", part.stored.etag)]
    return fill_fields(request.fields).plus(lines)
