"""Bytes from several places as one body: stored parts and what an origin is sending, in the order of the whole.

`PartsSource` is read by an answer, `Spliced` by whoever fills the store. Both know that all their bytes are of one
representation; that was decided before (`rules.partial`). Neither knows a client.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cdn.config.values import CachePolicy
from cdn.proxy.lookup import log_hash
from cdn.proxy.source import FillError, FillSource, Source
from cdn.proxy.stored_parts import StoredParts
from cdn.rules.fields import entity_tag
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.partial import Part, decide_part, parse_content_range
from cdn.rules.ranges import Range
from cdn.rules.stored import Stored
from cdn.rules.storing import DontStore
from cdn.store import Draft, Entry, RecordFlag
from cdn.tier import Kind, OriginError, OriginResponse

PIECE = 256 << 10  # bytes of a stored part that go into a fill at once


class PartsSource(Source):
    """`shown` has the head of the whole response. `live`: a part that is arriving, and where in the whole it begins."""

    def __init__(
        self,
        shown: Entry | Draft,
        stored: Stored,
        length: int,
        base: bytes,
        held: StoredParts | None,
        live: tuple[Range, FillSource] | None = None,
    ) -> None:
        self.stored = stored
        self.status = shown.status
        self.head = shown.head
        self.status_line_len = shown.status_line_len
        self.lines_304 = shown.lines_304
        self.no_body = False
        self.old_origin = bool(shown.flags & RecordFlag.OLD_ORIGIN)
        self.length = length
        self.key_hash = log_hash(base)
        self._held = held
        self._live = live

    async def read(self, offset: int, n: int) -> bytes:
        if self._live is not None:
            (first, last), source = self._live
            if first <= offset <= last:
                return await source.read(offset - first, min(n, last + 1 - offset))
        data = self._held.read(offset, n) if self._held is not None else b""
        if not data and self.length is not None and offset < self.length:
            raise FillError("a stored part is missing")
        return data

    def close(self) -> None:
        if self._live is not None:
            self._live[1].close()

    def holds(self) -> bool:
        return self._held is not None or (self._live is not None and self._live[1].holds())

    def loosen(self) -> bool:
        """What arrives can be found again once it is stored; other parts cannot, their list may be another by then."""
        return self._held is None and (self._live is None or self._live[1].loosen())


class Measured(OriginResponse):
    """A 206 in chunks: its Content-Range says how many bytes come, and any other number is a broken response."""

    def __init__(self, response: OriginResponse, length: int) -> None:
        self.head = response.head
        self.length = length
        self.delimited_by_close = False
        self.server = response.server
        self.connect_ms = response.connect_ms
        self.first_byte_ms = response.first_byte_ms
        self._response = response
        self._arrived = 0

    @property
    def complete(self) -> bool:
        return self._arrived == self.length and self._response.complete

    async def read(self) -> bytes:
        data = await self._response.read()
        self._arrived += len(data)
        if self.length is not None and self._arrived > self.length:
            self._response.abort()
            raise OriginError(
                Kind.MALFORMED, "a 206 is longer than its Content-Range says", server=self.server
            )
        return data

    def abort(self) -> None:
        self._response.abort()


def measured(response: OriginResponse) -> OriginResponse:
    """The response, its length known where Content-Range says it and the framing proves where the body ends."""
    if response.head.status != 206 or response.length is not None or response.delimited_by_close:
        return response
    span = parse_content_range(response.head.fields)
    return response if span is None else Measured(response, span.last - span.first + 1)


def completed(
    held: StoredParts,
    gap: Range,
    request: RequestHead,
    response: OriginResponse,
    policy: CachePolicy | None,
    request_time: int,
    response_time: int,
) -> Part | None:
    """The 206 that was asked for to close `gap`, with the stored fields that it left out; None when it is another.

    A 206 that answers If-Range need not repeat what the cache knows (RFC 9110 §15.3.7); what it does not repeat is
    kept (RFC 9111 §3.4).
    """
    head = response.head
    if head.status != 206 or entity_tag(head.fields) != held.stored.etag:
        return None
    whole = ResponseHead(206, with_kept(head.fields, held.stored), head.reason, head.version)
    made = decide_part(request, whole, policy, request_time=request_time, response_time=response_time)
    if isinstance(made, DontStore) or made.spans != (gap,) or made.length not in (None, held.length):
        return None
    if response.length != gap[1] - gap[0] + 1:
        return None
    return Part(made.stored, made.spans, held.length)


def with_kept(fields: Fields, stored: Stored) -> Fields:
    return fields.plus(
        line for line in stored.fields if line[0].lower() not in fields and line[0].lower() != "date"
    )


class Spliced(OriginResponse):
    """A complete 200 made of what is held and of a 206 for `gap` (None: nothing was missing)."""

    def __init__(self, held: StoredParts, gap: Range | None, response: OriginResponse | None) -> None:
        fields = held.stored.fields
        version = (1, 0) if held.index.flags & RecordFlag.OLD_ORIGIN else (1, 1)
        if response is not None:
            fields = with_kept(response.head.fields.without(("content-range", "content-length")), held.stored)
            version = response.head.version
            self.server = response.server
            self.connect_ms = response.connect_ms
            self.first_byte_ms = response.first_byte_ms
        else:
            self.server, self.connect_ms, self.first_byte_ms = "", 0.0, 0.0
        self.head = ResponseHead(200, fields, held.stored.reason, version)
        self.length = held.length
        self.delimited_by_close = False
        self.fetched = False  # whether the last piece came from the origin
        self._held = held
        self._gap = gap
        self._response = response
        self._at = 0

    @property
    def complete(self) -> bool:
        return self._at == self.length and (self._response is None or self._response.complete)

    async def read(self) -> bytes:
        gap, response = self._gap, self._response
        if gap is not None and response is not None and gap[0] <= self._at <= gap[1]:
            data = await response.read()
            self.fetched = True
            if self._at + len(data) > gap[1]:
                await response.read()  # the end, which only then is proven
        else:
            end = self._held.length if gap is None or self._at > gap[1] else gap[0]
            data = self._held.read(self._at, min(PIECE, end - self._at)) if self._at < end else b""
            self.fetched = False
            await asyncio.sleep(0)  # copying what is there must not keep others waiting
        self._at += len(data)
        return data

    def abort(self) -> None:
        if self._response is not None:
            self._response.abort()


@dataclass(frozen=True, slots=True)
class Completion:
    """What is held, and the stretch that a flight asks for to make it whole."""

    held: StoredParts
    gap: Range

    def whole(
        self,
        request: RequestHead,
        response: OriginResponse,
        policy: CachePolicy | None,
        request_time: int,
        response_time: int,
    ) -> Spliced | None:
        """The complete response; None when what came does not fit."""
        response = measured(response)
        made = completed(self.held, self.gap, request, response, policy, request_time, response_time)
        return None if made is None else Spliced(self.held, self.gap, response)


def received(response: OriginResponse, data: bytes) -> int:
    """How many bytes of `data`, the last piece read, an origin has sent."""
    return len(data) if not isinstance(response, Spliced) or response.fetched else 0
