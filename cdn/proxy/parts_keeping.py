"""Parts on their way into the store, and from there, once they are complete, to where the whole response belongs.

Decides what of a 206 is kept while its client reads it, and when parts become a whole (RFC 9111 §3.4). Whether a 206
may be a part at all, the rules have said (`rules.partial`); why the origin was asked for it, `parts` knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cdn.config.values import Route
from cdn.proxy import stored_parts as store
from cdn.proxy import stored_slices
from cdn.proxy.drafts import draft
from cdn.proxy.flight import Flight
from cdn.proxy.lookup import Found, log_hash
from cdn.proxy.source import FillSource
from cdn.proxy.splicing import PartsSource, Spliced
from cdn.proxy.stored_parts import StoredParts
from cdn.proxy.verdicts import Asked, Streaming
from cdn.rules.message import Fields, RequestHead
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.partial import Part
from cdn.rules.stored import NO_FLAGS
from cdn.rules.storing import stored_fields
from cdn.rules.vary import key_extras
from cdn.store import Fill
from cdn.tier import OriginResponse

if TYPE_CHECKING:
    from cdn.proxy.exchange import Exchange
    from cdn.proxy.site import Site

FINISHED_ALONE = 4 << 20  # bytes of a part that are still fetched after its client has left; more is given up


@dataclass(slots=True)
class Answer:
    """`since` marks when the request left: a purge from then on voids what would be stored."""

    response: OriginResponse
    since: Fill
    request_time: int
    response_time: int

    def drop(self) -> None:
        self.response.abort()
        self.since.abort("of-no-use")


def asked_for(exchange: Exchange, request: RequestHead, query: str | None, found: Found) -> Asked:
    peer = exchange.stream.address
    return Asked(request, found.primary, query, request.fields, None, [], found.specs, peer, exchange.trusted)


def negotiable(site: Site, route: Route, request: RequestHead, held: StoredParts) -> bool:
    """Whether the whole would be stored in a coding of the route's: it is then made, not read from the parts."""
    whole = Spliced(held, None, None)
    return site.coders.plan(route, request, whole).flags != NO_FLAGS


class Incoming(Flight):
    """A part on its way into the store. It is under no key that anybody else asks for."""

    def __init__(
        self, site: Site, route: Route, fill: Fill, asked: Asked, made: Part, token: bytes, limit: int
    ) -> None:
        super().__init__(site, route, fill, asked)
        self.made = made
        self.token = token
        self.limit = limit

    async def digest(self, response: OriginResponse, request_time: int, response_time: int) -> None:
        await self._stream(response, self.fill, self.limit)

    def committed(self, fill: Fill) -> None:
        asked, site = self.asked, self.site
        assert fill.entry is not None
        held = store.record(site, self.route, asked.request, asked.primary, self.made, self.token, fill.entry)
        if held is not None:
            stored_slices.drop_others(site.memory, held.base, held.stored, site.slice)
        if held is not None and held.part.complete:
            promote(site, self.route, asked, held)


async def keep(
    exchange: Exchange,
    route: Route,
    request: RequestHead,
    found: Found,
    answer: Answer,
    made: Part,
    held: StoredParts | None,
) -> bool:
    """Stream a 206 into the store and answer from there, with what is `held` around it. False: no room for it."""
    site, head = exchange.site, answer.response.head
    ((first, last),) = made.spans
    assert made.length is not None
    if last - first + 1 > site.config.limits.object:
        return False
    old_origin = head.version < (1, 1)
    token = store.new_token()
    fill, _ = site.memory.begin_fill(store.part_key(found.primary, token), since=answer.since)
    if not fill.start(store.part_draft(made, old_origin=old_origin), last - first + 1):
        fill.abort(NoStoreReason.NO_SPACE.value)
        return False
    answer.since.abort("answered")
    asked = asked_for(exchange, request, None, found)
    flight = Incoming(site, route, fill, asked, made, token, site.config.limits.object)
    live = FillSource(fill, made.stored, log_hash(found.key), None, flight.overflow)
    flight.joined(live)
    task = site.spawn(site.fly_on(flight, answer.response, answer.request_time, answer.response_time))
    # The client gets every field; what is only for it (`private="name"`) is not in the store.
    whole = stored_fields(head.fields.without(("content-range",)), frozenset(), answer.response_time)
    mine = replace(made.stored, fields=_in_place(whole, made.stored.fields))
    shown = draft(mine, route.headers.response, old_origin=old_origin)
    source = PartsSource(shown, made.stored, made.length, found.key, held, ((first, last), live))
    source.aged = "age" in head.fields
    try:
        await exchange.serve(request, source, Outcome.MISS)
    finally:
        flight.left(live)
        if not fill.ended and last + 1 - first - fill.arrived > FINISHED_ALONE:
            task.cancel()
    return True


def _in_place(received: Fields, kept: Fields) -> Fields:
    return received.plus(line for line in kept if line[0].lower() not in received)


class Promotion(Flight):
    """Parts that have become complete, on their way to where the whole response belongs (RFC 9111 §3.4).

    Whoever may be answered from them finds them where they lie, until then.
    """

    recalled = True

    async def digest(self, response: OriginResponse, request_time: int, response_time: int) -> None:
        await self._stream(response, self.fill, self.site.config.limits.object)


def promote(site: Site, route: Route, asked: Asked, held: StoredParts) -> None:
    """Copy complete parts to where the whole belongs, if it may be there as it is and nobody fetches it just now."""
    if held.length > min(site.config.limits.object, site.memory.largest):
        return
    if negotiable(site, route, asked.request, held):
        return
    fill, won = site.memory.begin_fill(held.base)
    if not won:
        return  # somebody fetches the whole just now
    if not fill.start(held.index.draft(), held.length):
        fill.abort(NoStoreReason.NO_SPACE.value)
        return
    stored = held.stored
    flight = Promotion(site, route, fill, asked)
    extras = key_extras(stored.vary, asked.request.fields)
    flight.decide(Streaming(fill, stored, stored.vary, extras, log_hash(held.base), True, None))
    site.flights[held.base] = flight
    site.spawn(site.fly_on(flight, Spliced(held, None, None), stored.request_time, stored.response_time))
