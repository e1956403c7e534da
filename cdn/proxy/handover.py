"""From the fill lane to the general lane: what the lane has begun and does not carry on itself.

    again      nothing has come yet: an exchange asks again, and goes on counting where the lane began
    given      a response is there, and it is nothing for the lane: an exchange goes on with it
    begun      so is a body that the lane has sent the beginning of: a flight stores the rest, an exchange sends it
    failed     the origin failed before anything was sent to the client
    flight_of  others ask for what the lane is fetching: they board a flight, as in the general lane

Decides nothing about responses: the same code judges them as if the general lane had asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cdn._core import split_target
from cdn.config.values import Route
from cdn.proxy._front import ClientStream
from cdn.proxy.drafts import stored_of, stored_of_draft
from cdn.proxy.flight import Flight
from cdn.proxy.lookup import log_hash
from cdn.proxy.source import FillSource
from cdn.proxy.verdicts import Asked, Broken, NotStored, Streaming
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.outcome import NoStoreReason
from cdn.rules.validation import variants_request
from cdn.rules.vary import Spec, key_extras
from cdn.store import Draft, Entry, Fill
from cdn.tier import Attempt, OriginError, OriginResponse

if TYPE_CHECKING:
    from cdn.proxy.site import Site

Lines = list[tuple[str, str]]


@dataclass(slots=True)
class Given:
    """A response that was fetched for the exchange before it began. `flight` is that of a miss, and flies already;
    `since` marks the departure of one that nobody should wait for. Where it was asked for a further variant `key` is
    that variant's, and `specs` by what its URL's responses vary."""

    route: Route
    response: OriginResponse
    request_time: int
    response_time: int
    flight: Flight | None = None
    since: Fill | None = None
    key: bytes | None = None
    specs: tuple[Spec, ...] = ()

    def drop(self) -> None:
        """The exchange does not want it."""
        if self.flight is not None:
            self.flight.leader = False
            self.flight.drop()
        else:
            self.response.abort()
        if self.since is not None:
            self.since.abort("dropped")


@dataclass(slots=True)
class Begun:
    """An answer whose head and first `offset` bytes of body have been sent; `source` has joined the flight."""

    route: Route
    flight: Flight
    source: FillSource
    offset: int


def request_head_of(method: str, target: bytes, secure: bool, lines: Lines) -> RequestHead:
    """The request as the general lane sees it; it has been found well-formed."""
    host = next((value for name, value in lines if name.lower() == "host"), "")
    authority, path, query = split_target(target, secure, host.encode("latin-1"), method)
    return RequestHead(method, "https" if secure else "http", authority, path, query, Fields(lines))


def fly_on(
    site: Site, flight: Flight, response: OriginResponse, request_time: int, response_time: int, leader: bool
) -> None:
    """The flight goes on with this response; `leader`: an exchange follows that may take it."""
    flight.leader = flight.expected = leader
    flight.server = response.server
    flight.first_byte_us = int(response.first_byte_ms * 1000)
    site.spawn(site.fly_on(flight, response, request_time, response_time))


def restart(site: Site, flight: Flight, attempt: Attempt) -> None:
    """The kept connection was dead, or its server has failed: the flight asks again on its own."""
    flight.asked = replace(flight.asked, attempt=attempt)
    site.spawn(site.fly(flight))


def again(site: Site, stream: ClientStream, attempt: Attempt | None) -> None:
    """Start the exchange of a request that the lane has asked in vain; None: a flight goes on with that."""
    from cdn.proxy.exchange import Exchange

    made = Exchange(site, stream)
    made.attempt = attempt
    stream.task = site.spawn(made.run())


def exchange(site: Site, stream: ClientStream, given: Given) -> None:
    """Start the exchange that goes on with a response."""
    from cdn.proxy.exchange import Exchange  # it is what knows all the ways; it need not know this one

    stream.task = site.spawn(Exchange(site, stream, given).run())


def failed(site: Site, stream: ClientStream, error: OriginError, key: bytes | None) -> None:
    """Answer a failure of the origin, in the fill lane's name; `key` is that of a miss."""
    from cdn.proxy.exchange import Exchange

    made = Exchange(site, stream)
    made.lane = "fill"
    made.entry.key_hash = None if key is None else log_hash(key)
    made.origin_failed(error)
    made.finish_log()


def flight_of(
    site: Site,
    route: Route,
    fill: Fill,
    door: bytes,
    primary: bytes,
    request: RequestHead,
    query: str | None,
    peer: str,
    trusted: bool,
    specs: tuple[Spec, ...],
    asked_about: list[Entry],
) -> Flight:
    """A flight that others can board; its response comes through the lane.

    They look for it under `door`: the URL's key or, where it is known by what that varies (`specs`), a variant's.
    `fill` is that key's, or another variant's that the response has turned out to be.
    """
    candidates = [(entry, stored_of(entry)) for entry in asked_about]
    fields = variants_request(request, [stored for _, stored in candidates]) if specs else request.fields
    asked = Asked(request, primary, query, fields, None, candidates, specs, peer, trusted)
    flight = Flight(site, route, fill, asked)
    flight.keys = [door]
    site.flights[door] = flight
    if fill.key != door:
        flight.moved(fill)
    return flight


def streaming(flight: Flight, draft: Draft, aged: bool) -> None:
    """The lane has begun to store the response."""
    stored = stored_of_draft(draft)
    extras = key_extras(stored.vary, flight.asked.request.fields)
    key = log_hash(flight.fill.key)
    flight.decide(Streaming(flight.fill, stored, stored.vary, extras, key, aged, None))


def not_stored(flight: Flight, reason: str, head: ResponseHead) -> None:
    """The lane gives the response to its own client; whoever waits goes on alone."""
    flight.decide(NotStored(None, NoStoreReason(reason), head))


def broken(flight: Flight, error: OriginError | None) -> None:
    flight.decide(Broken(error, None))


def head_of(flight: Flight) -> ResponseHead:
    """The head of the response that a flight stores, as it is stored."""
    assert isinstance(flight.verdict, Streaming)
    stored = flight.verdict.stored
    return ResponseHead(stored.status, stored.fields, stored.reason)


def carry_on(site: Site, flight: Flight, response: OriginResponse) -> None:
    """The flight goes on storing what is left of the body."""
    site.spawn(site.carry_on(flight, response))


def read_on(site: Site, stream: ClientStream, route: Route, flight: Flight, offset: int) -> None:
    """The exchange goes on sending from `offset` in the body; before the flight goes on, which counts its readers."""
    from cdn.proxy.exchange import Exchange

    assert isinstance(flight.verdict, Streaming)
    begun = Begun(route, flight, flight.source(flight.verdict, None), offset)
    stream.task = site.spawn(Exchange(site, stream).run(begun))
