"""Adjacent slices that one request brings, each a flight of its own: whoever wants one follows it like any other.

    one request for the whole stretch  ->  206  ->  cut into a 206 for each slice, one after the other
                                           anything else, or less than the first slice: that one's answer; the others
                                           are given up, and whoever wants one of them asks for it

A slice takes its bytes when those before it have been taken. Once nobody is left for whom the run was asked for, it
ends before the first slice that nobody follows. Decides how an answer is cut. What a slice's answer means is
`slice_flight`'s; it must not know a client.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cdn.config.values import Route
from cdn.proxy.slice_flight import SliceFlight
from cdn.proxy.splicing import measured
from cdn.proxy.stored_slices import Sliced
from cdn.proxy.verdicts import Again, Asked
from cdn.rules.message import Fields, ResponseHead
from cdn.rules.partial import parse_content_range
from cdn.rules.slices import span_of
from cdn.store import Fill
from cdn.tier import OriginError, OriginResponse

if TYPE_CHECKING:
    from cdn.proxy.site import Site


class Run:
    """`fields` ask for the slices `first` to `end`, without that one, of `known`."""

    def __init__(self, known: Sliced, first: int, fields: Fields) -> None:
        self.known = known
        self.first = self.end = first
        self.fields = fields
        self.abandoned = False  # nobody is left for whom it was asked for
        self.request_time = self.response_time = 0
        self._flights: dict[int, RunSlice] = {}
        self._response: OriginResponse | None = None
        self._rest = memoryview(b"")  # what came along with the slice before
        self._last = -1  # byte of the representation that the answer has
        self._at = -1  # the next byte

    def add(self, flight: RunSlice) -> None:
        self._flights[flight.number] = flight
        self.end = flight.number + 1

    def begin(self, response: OriginResponse, request_time: int, response_time: int) -> OriginResponse:
        """What the first slice is answered with."""
        self.request_time, self.response_time = request_time, response_time
        response = measured(response)
        span = parse_content_range(response.head.fields) if response.head.status == 206 else None
        known, begin = self.known, self.first * self.known.size
        if (
            span is None
            or (span.first, span.length) != (begin, known.length)
            or response.length != span.last - span.first + 1
            or span.last < span_of(self.first, known.size, known.length)[1]
        ):
            return response
        self._response, self._at, self._last = response, begin, span.last
        return self.portion(self.first)

    def portion(self, number: int) -> Portion:
        assert self._response is not None
        first, last = span_of(number, self.known.size, self.known.length)
        return Portion(self, self._response, first, last, self.known.length)

    async def read(self, last: int) -> bytes:
        """What comes next, of the bytes up to `last`; b"" at its end, or when there is no more."""
        assert self._response is not None
        if self._at > last:
            if last == self._last:
                await self._response.read()  # so that its connection is seen to be free
            return b""
        data = self._rest or memoryview(await self._response.read())
        now, self._rest = data[: last + 1 - self._at], data[last + 1 - self._at :]
        self._at += len(now)
        return bytes(now)

    def complete(self, last: int) -> bool:
        return self._at == last + 1

    def stop(self) -> None:
        """There is no more for anybody."""
        response, self._response = self._response, None
        if response is not None:
            response.abort()

    def next(self, number: int) -> None:
        """The flight of this slice has ended, and is let go: it is the next one's turn."""
        self._flights.pop(number, None)
        flight = self._flights.get(number + 1)
        _, last = span_of(number, self.known.size, self.known.length)
        if flight is None or self._response is None or not self.complete(last):
            self.stop()
            for left in self._flights.values():
                left.go.set()
            return
        _, last = span_of(flight.number, self.known.size, self.known.length)
        if last > self._last or (self.abandoned and not flight.wanted):
            self.stop()
        flight.go.set()

    @property
    def going(self) -> bool:
        return self._response is not None


class RunSlice(SliceFlight):
    """One slice of a run; the first one's flight sends the request."""

    def __init__(
        self, site: Site, route: Route, fill: Fill, asked: Asked, number: int, known: Sliced, run: Run
    ) -> None:
        super().__init__(site, route, fill, asked, number, known, False)
        self.in_run = run
        self.go = asyncio.Event()
        run.add(self)

    @property
    def wanted(self) -> bool:
        return self.boarded > 0 or bool(self.readers)

    async def _run(self) -> None:
        run = self.in_run
        try:
            if self.number == run.first:
                request_time = self.site.clock.now()
                response = await self._ask(run.fields)
                answer = run.begin(response, request_time, self.site.clock.now())
            else:
                await self.go.wait()
                if not run.going:
                    self.fill.abort("given-up")
                    self.decide(Again(None))
                    return
                answer = run.portion(self.number)
                self.server = answer.server
            await self._digested(answer, run.request_time, run.response_time)
        finally:
            run.next(self.number)

    def _fail(self, error: OriginError | None) -> None:
        self.in_run.stop()
        super()._fail(error)


class Portion(OriginResponse):
    """One slice's part of a run's answer, as if it had been asked for by itself."""

    def __init__(self, run: Run, response: OriginResponse, first: int, last: int, length: int) -> None:
        head = response.head
        lines = [
            ("Content-Range", f"bytes {first}-{last}/{length}"),
            ("Content-Length", str(last - first + 1)),
        ]
        fields = head.fields.without(("content-range", "content-length")).plus(lines)
        self.head = ResponseHead(206, fields, head.reason, head.version)
        self.length = last - first + 1
        self.delimited_by_close = False
        self.server = response.server
        self.connect_ms = response.connect_ms
        self.first_byte_ms = response.first_byte_ms
        self._run = run
        self._last = last

    @property
    def complete(self) -> bool:
        return self._run.complete(self._last)

    async def read(self) -> bytes:
        return await self._run.read(self._last)

    def abort(self) -> None:
        if not self.complete:
            self._run.stop()
