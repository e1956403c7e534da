"""Which bytes of a complete response a request gets, and the shape of the 206 that carries them (RFC 9110
§14, §15.3.7).

Arithmetic and framing only: no body passes through here. Whatever a client asks for, the answer is never
longer than the whole response would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cdn import _core
from cdn.rules.conditional import if_range_passes
from cdn.rules.message import RequestHead
from cdn.rules.norms import MAX_RANGES

Range = tuple[int, int]  # first and last byte position, both included


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """Well-formed, but nothing of it is there: 416 with `unsatisfied_range`."""


UNSATISFIABLE: Final = Unsatisfiable()


def select(
    request: RequestHead,
    stored_status: int,
    length: int,
    etag: str | None,
    last_modified: int | None,
    date: int,
    now_s: int,
) -> Unsatisfiable | list[Range] | None:
    """None: send the whole response. One range: a plain 206. Several: `multipart_parts`. Times are seconds.

    Ranges that overlap or touch are sent once, as one; more than `MAX_RANGES` of them, or parts that would
    outweigh the whole, get the whole (§14.2 lets a server ignore Range).
    """
    if request.method != "GET" or stored_status != 200 or length < 0:
        return None
    lines = request.fields.all("range")
    if len(lines) != 1 or not if_range_passes(request, etag, last_modified, date, now_s):
        return None
    found = _core.parse_ranges(lines[0].encode("latin-1"), length)
    if found is None:
        return None
    if not found:
        return UNSATISFIABLE
    if len(found) > MAX_RANGES:
        return None
    ranges = coalesce(found)
    if len(ranges) > 1 and sum(last - first + 1 for first, last in ranges) + _overhead(len(ranges)) > length:
        return None
    return ranges


def coalesce(ranges: list[Range]) -> list[Range]:
    """The same ranges in the same order when none overlap or touch, else merged and sorted."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return ranges if len(merged) == len(ranges) else merged


def content_range(first: int, last: int, length: int) -> str:
    return f"bytes {first}-{last}/{length}"


def unsatisfied_range(length: int) -> str:
    return f"bytes */{length}"


def _overhead(count: int) -> int:
    """About what the part heads cost; exact totals come from `multipart_parts`."""
    return 160 * count


@dataclass(frozen=True, slots=True)
class Multipart:
    """`parts` alternates bytes to send as they are and ranges of the stored body; `total` is their exact
    length.
    """

    content_type: str
    parts: tuple[bytes | Range, ...]
    total: int


def multipart_parts(ranges: list[Range], length: int, content_type: str | None, boundary: str) -> Multipart:
    """A multipart/byteranges body (§14.6). `boundary` is token characters that the body is not going to hold.

    The response carries `content_type` of the result and no Content-Range of its own.
    """
    parts: list[bytes | Range] = []
    kind = "" if content_type is None else f"Content-Type: {content_type}\r\n"
    total = 0
    for index, (first, last) in enumerate(ranges):
        start = "" if index == 0 else "\r\n"
        head = f"{start}--{boundary}\r\n{kind}Content-Range: {content_range(first, last, length)}\r\n\r\n"
        parts.append(head.encode("latin-1"))
        parts.append((first, last))
        total += len(head) + last - first + 1
    end = f"\r\n--{boundary}--\r\n".encode("latin-1")
    parts.append(end)
    return Multipart(f"multipart/byteranges; boundary={boundary}", tuple(parts), total + len(end))
