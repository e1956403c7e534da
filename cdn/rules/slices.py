"""Slices: the stretches of equal length in which ranges are fetched and kept, and when two of them belong together.

Decides which slices a range takes, what an origin's 206 means for the slice that was asked for, and which validator
proves that slices are of one representation (RFC 9111 §3.4). Nothing here holds bytes, or knows where they lie.

    strong ETag                            slices of it are joined, asked for with If-Range
    no ETag, a strong Last-Modified        the same (RFC 9110 §8.8.2.2)
    a weak ETag, a weak date, neither      never joined: the origin is asked for just what the client wants
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from cdn import _core
from cdn.config.values import CachePolicy
from cdn.rules.conditional import is_strong
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.outcome import NoStoreReason
from cdn.rules.partial import parse_content_range
from cdn.rules.ranges import Range
from cdn.rules.stored import Stored
from cdn.rules.storing import DontStore, decide_store
from cdn.rules.validation import fill_fields

# Seconds that Date must be later than Last-Modified before a date alone proves that two slices are of one
# representation: an origin whose clock, or whose second, is not quite right would else mix two versions.
SURE_AFTER = 60
_UNKNOWN_LENGTH: Final = 1 << 62  # of a representation: longer than any


def number_of(position: int, size: int) -> int:
    """The slice that a byte lies in; both count from 0."""
    return position // size


def numbers(first: int, last: int, size: int) -> range:
    """The slices that bytes `first` to `last`, both included, lie in."""
    return range(first // size, last // size + 1)


def span_of(number: int, size: int, length: int) -> Range:
    """The bytes of a slice, both ends included; the last one of `length` bytes may be shorter."""
    first = number * size
    return first, min(first + size, length) - 1


def request_span(number: int, size: int) -> Range:
    """What is asked of the origin: the whole slice, which the end of the representation may cut."""
    return span_of(number, size, _UNKNOWN_LENGTH)


def opening(fields: Fields, size: int) -> int | None:
    """The slice to ask for first when nothing is known; None: the request is no single range that it could answer.

    A suffix is of a length that nobody knows yet: the first slice tells it.
    """
    lines = fields.all("range")
    found = _core.parse_ranges(lines[0].encode("latin-1"), _UNKNOWN_LENGTH) if len(lines) == 1 else None
    if found is None or len(found) != 1:
        return None
    first = found[0][0]
    if first > _UNKNOWN_LENGTH // 2:
        return 0 if found[0][1] == _UNKNOWN_LENGTH - 1 else None
    return number_of(first, size)


def validator(stored: Stored) -> str | None:
    """What slices of this representation are asked for and compared with: an If-Range value; None: it has none.

    Of a response that came without Date, a date proves nothing: the stored one is our own (the caller looks).
    """
    etags = stored.fields.all("etag")
    if etags:
        return stored.etag if is_strong(stored.etag) else None
    dates, sent = stored.fields.all("last-modified"), stored.fields.all("date")
    if len(dates) != 1 or len(sent) != 1 or stored.last_modified is None:
        return None
    return dates[0] if stored.date - stored.last_modified >= SURE_AFTER else None


@dataclass(frozen=True, slots=True)
class Slice:
    """`stored` is the response that the whole would be; the slice is the bytes `first` to `last` of `length`."""

    stored: Stored
    first: int
    last: int
    length: int

    @property
    def whole(self) -> bool:
        return self.first == 0 and self.last == self.length - 1


def decide_slice(
    request: RequestHead,
    response: ResponseHead,
    policy: CachePolicy | None,
    asked: Range,
    *,
    request_time: int,
    response_time: int,
) -> Slice | DontStore:
    """A 206 to a request for the bytes `asked`: exactly these, or up to the representation's end, and storable.

    The caller compares the framing with the span, and the validator with that of other slices.
    """
    span = parse_content_range(response.fields)
    if response.status != 206 or span is None or span.length is None:
        return DontStore(NoStoreReason.PARTIAL)
    if span.first != asked[0] or span.last != min(asked[1], span.length - 1):
        return DontStore(NoStoreReason.PARTIAL)
    whole = as_whole(response)
    plain = replace(request, fields=fill_fields(request.fields))
    made = decide_store(plain, whole, policy, request_time=request_time, response_time=response_time)
    if isinstance(made, DontStore):
        return made
    return Slice(made, span.first, span.last, span.length)


def as_whole(response: ResponseHead) -> ResponseHead:
    """The head of the 200 that a 206 is cut from."""
    fields = response.fields.without(("content-range", "content-length"))
    return ResponseHead(200, fields, "OK", response.version)


def slice_request(request: RequestHead, span: Range, known: str | None) -> Fields:
    """The client's fields with a range for one stretch of slices, valid only for the representation `known`."""
    lines = [("Range", f"bytes={span[0]}-{span[1]}")]
    if known is not None:
        lines.append(("If-Range", known))
    return fill_fields(request.fields).plus(lines)
