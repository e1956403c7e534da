"""Who wants a slice: on which flight they get it.

Decides whether a request for a slice leaves, or one that is on its way is followed, of whichever worker. It must not
know what an origin's answer means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdn.config.values import Route
from cdn.proxy import stored_slices as store
from cdn.proxy.slice_elsewhere import SliceElsewhere
from cdn.proxy.slice_flight import Arriving, SliceFlight
from cdn.proxy.slice_run import Run, RunSlice
from cdn.proxy.source import FillError, FillSource
from cdn.proxy.stored_slices import Sliced
from cdn.proxy.verdicts import Again, Asked, Broken
from cdn.rules.message import Fields, RequestHead
from cdn.rules.ranges import Range
from cdn.rules.slices import request_span, slice_request
from cdn.rules.validation import validation_request
from cdn.store import Fill

if TYPE_CHECKING:
    from cdn.proxy.site import Site


class ChangedError(FillError):
    """Asking again would bring nothing else."""


class GivenUpError(FillError):
    """Of a slice that somebody else fetched, nothing came: whoever looks again finds it, or fetches it."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants slices: what a request for one is made of. `specs` are those of the URL's variants."""

    site: Site
    route: Route
    request: RequestHead
    primary: bytes
    key: bytes  # where the complete response would be, as far as that is known before it is asked for
    query: str | None
    specs: tuple[tuple[str, ...], ...]
    peer: str
    trusted: bool

    def board(
        self, number: int, known: Sliced | None, validating: bool = False, reach: int = 0
    ) -> tuple[SliceFlight, bool]:
        """The flight for this slice that is on its way, or a new one; True for a new one.

        `reach`: a new one asks for so many slices at once, as far as nobody else fetches them or has just stored them.
        GivenUpError where that is so of the first.
        """
        site, memory = self.site, self.site.memory
        base = self.key if known is None else known.base
        key = store.slice_key(base, number)
        fill, won = memory.begin_fill(key)
        if not won:
            flight = site.flight(key)
            if not isinstance(flight, SliceFlight) or flight.fill is not fill:
                flight = self._elsewhere(fill, base, number, known)
            if site.joinable(flight):
                return flight, False
            memory.void(key)
            fill, won = memory.begin_fill(key)
            if not won:  # another worker's again, begun since
                return self._elsewhere(fill, base, number, known), False
        if reach and known is not None:
            if known.slice(memory, number) is not None:  # by another worker, since it was looked for
                fill.abort("stored")
                raise GivenUpError("the slice was stored meanwhile")
            if reach > 1:
                return self._run(fill, number, known, reach), True
        asked = self._asked(number, known, validating)
        new = SliceFlight(site, self.route, fill, asked, number, known, validating)
        site.depart(new)
        return new, True

    def _run(self, fill: Fill, number: int, known: Sliced, reach: int) -> SliceFlight:
        site, fills = self.site, [fill]
        for following in range(number + 1, number + reach):
            fill, won = site.memory.begin_fill(store.slice_key(known.base, following))
            if not won:
                break
            if known.slice(site.memory, following) is not None:
                fill.abort("stored")
                break
            fills.append(fill)
        span = number * known.size, request_span(number + len(fills) - 1, known.size)[1]
        run = Run(known, number, slice_request(self.request, span, known.validator))
        flights = [
            RunSlice(site, self.route, fill, self._asked(at, known, False), at, known, run)
            for at, fill in enumerate(fills, number)
        ]
        for flight in flights:
            site.depart(flight)
        return flights[0]

    def _elsewhere(self, fill: Fill, base: bytes, number: int, known: Sliced | None) -> SliceElsewhere:
        asked = self._asked(number, known, False)
        flight = SliceElsewhere(self.site, self.route, fill, asked, base, number, known)
        self.site.depart(flight)
        return flight

    def _asked(self, number: int, known: Sliced | None, validating: bool) -> Asked:
        request = self.request
        span: Range = request_span(number, self.site.slice)
        if validating and known is not None:
            lines = [("Range", f"bytes={span[0]}-{span[1]}")]
            fields: Fields = validation_request(request, known.stored).plus(lines)
        else:
            fields = slice_request(request, span, None if known is None else known.validator)
        return Asked(request, self.primary, self.query, fields, None, [], self.specs, self.peer, self.trusted)

    async def wanted(self, number: int, known: Sliced, reach: int = 1) -> tuple[SliceFlight, FillSource]:
        """A slice of `known` for somebody in the middle of it, joined. Raises FillError when it is not to be had."""
        flight, _ = self.board(number, known, reach=reach)
        flight.boarded += 1
        try:
            await flight.decided.wait()
            return flight, joined(flight, known)
        finally:
            flight.boarded -= 1


def joined(flight: SliceFlight, known: Sliced) -> FillSource:
    """A reader of the slice that a flight brings, which must be of `known`."""
    landed = flight.landed
    if isinstance(flight.verdict, Again):
        raise GivenUpError("the slice was given up")
    if isinstance(flight.verdict, Broken):
        raise flight.verdict.error or FillError("the slice was given up")
    if not isinstance(landed, Arriving) or not landed.sliced.same_as(known):
        raise ChangedError("the representation has changed, or is not to be had in slices any more")
    if landed.fill.released:
        raise GivenUpError("the slice is stored, and looked for there")
    source = FillSource(landed.fill, known.stored, "", None, flight.overflow)
    flight.joined(source)
    return source
