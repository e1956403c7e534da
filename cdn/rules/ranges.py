"""Which bytes of a complete response a request gets, and the shape of the 206 that carries them (RFC 9110
§14, §15.3.7).

Arithmetic and framing only: no body passes through here. Whatever a client asks for, the answer is never
longer than the whole response would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from cdn import _core
from cdn.rules.conditional import if_range_passes
from cdn.rules.message import RequestHead
from cdn.rules.norms import MAX_RANGES
from cdn.rules.stored import Stored

Range = tuple[int, int]  # first and last byte position, both included


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """Well-formed, but nothing of it is there: 416 with `unsatisfied_range`."""


UNSATISFIABLE: Final = Unsatisfiable()


def select(request: RequestHead, stored: Stored, length: int) -> Unsatisfiable | list[Range] | None:
    """None: send the whole response. One range: a plain 206. Several: `multipart`. `length` is the body's.

    Ranges that overlap or touch are sent once, as one; more than `MAX_RANGES` of them, or parts that would
    outweigh the whole, get the whole (§14.2 lets a server ignore Range).
    """
    if request.method != "GET" or stored.status != 200 or length < 0:
        return None
    lines = request.fields.all("range")
    if len(lines) != 1 or not if_range_passes(request, stored):
        return None
    found = _core.parse_ranges(lines[0].encode("latin-1"), length)
    if found is None:
        return None
    if not found:
        return UNSATISFIABLE
    if len(found) > MAX_RANGES:
        return None
    ranges = coalesce(found)
    if len(ranges) > 1 and multipart(ranges, length, stored).length > length:
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


@dataclass(frozen=True, slots=True)
class Multipart:
    """`pieces` alternates bytes to send as they are and ranges of the stored body; `length` is their exact
    sum.
    """

    content_type: str
    pieces: tuple[bytes | Range, ...]
    length: int


def multipart(ranges: list[Range], length: int, stored: Stored) -> Multipart:
    """A multipart/byteranges body (§14.6) of a stored body of `length` bytes.

    The response carries the result's `content_type` and no Content-Range of its own.
    """
    boundary = _boundary(ranges, length, stored)
    types = stored.fields.all("content-type")
    kind = f"Content-Type: {types[0]}\r\n" if types else ""
    pieces: list[bytes | Range] = []
    total = 0
    for index, (first, last) in enumerate(ranges):
        start = "" if index == 0 else "\r\n"
        head = f"{start}--{boundary}\r\n{kind}Content-Range: {content_range(first, last, length)}\r\n\r\n"
        pieces.append(head.encode("latin-1"))
        pieces.append((first, last))
        total += len(head) + last - first + 1
    end = f"\r\n--{boundary}--\r\n".encode("latin-1")
    pieces.append(end)
    return Multipart(f"multipart/byteranges; boundary={boundary}", tuple(pieces), total + len(end))


def _boundary(ranges: list[Range], length: int, stored: Stored) -> str:
    """The same for the same answer, and nothing that a body could hold by accident or guess beforehand."""
    seed = f"{stored.response_time} {stored.born} {stored.etag} {length} {ranges}"
    return blake2b(seed.encode("latin-1"), digest_size=16).hexdigest()
