"""The cacheable path of an exchange: key --> lookup --> may it be used?

      | yes: serve (hit, stale while a flight refreshes it)
      | no:  board the flight for this key and follow it, or go on alone where nobody should wait

Decides the order of these steps; what may be used is the rules', what a flight's verdict means is `following`'s.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cdn.config.values import CachePolicy, Route
from cdn.proxy import answer, coding, parts, passing, slicing
from cdn.proxy.asking import ask
from cdn.proxy.content import content_key
from cdn.proxy.drafts import stored_of
from cdn.proxy.flight import Flight
from cdn.proxy.following import follow
from cdn.proxy.large import served as from_disk
from cdn.proxy.lookup import Found, keyed_target, log_hash, look_up, primary_key
from cdn.proxy.pieces import bring as bring_pieces
from cdn.proxy.redeciding import decide_again
from cdn.proxy.source import EntrySource
from cdn.proxy.verdicts import Streaming
from cdn.rules.directives import request_directives
from cdn.rules.message import RequestHead
from cdn.rules.no_vary_search import equivalent, variance
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.stored import MetaError, Stored
from cdn.rules.use import Decision, decide_use
from cdn.rules.validation import is_conditional
from cdn.rules.vary import key_extras
from cdn.store import Entry

if TYPE_CHECKING:
    from cdn.proxy.exchange import Exchange

ROUNDS = 4  # times a follower may find that a flight was not for it before it goes on its own


async def answer_cached(exchange: Exchange, route: Route, policy: CachePolicy, request: RequestHead) -> None:
    site = exchange.site
    query = keyed_target(request, exchange.table.query_filter(route.index))
    primary = primary_key(request, query, policy)
    if exchange.content is not None:
        primary = content_key(primary, request, exchange.content)
    request = coding.asked(route, request)
    exchange.entry.key_hash = log_hash(primary)
    given = exchange.taken(route)
    if given is not None:
        exchange.fwd = "vary-miss" if given.specs else "uri-miss"
        found = Found(primary, given.key or primary, None, given.specs)
        if request.method == "HEAD":
            await passing.answer_head(
                exchange, route, request, given.response, None, given.request_time, given.response_time
            )
            return
        if given.flight is None:
            assert given.since is not None
            await passing.store_along(
                exchange,
                route,
                request,
                query,
                found,
                given.since,
                given.response,
                given.request_time,
                given.response_time,
            )
            return
        if await follow(exchange, given.flight, True, request, None, found):
            return
    for _ in range(ROUNDS):
        if site.table is not exchange.table:
            break  # what the route of an earlier configuration decides is not stored as of the new one
        now = site.clock.now()
        found, stored = _find(exchange, route, policy, request, primary)
        if stored is None:
            found, stored = _equivalent(exchange, route, policy, request, query, found)
        if stored is None and site.disk is not None:
            large = await site.disk.bring(primary, request)
            if large and await from_disk(exchange, route, policy, request, large):
                return
            found, stored = _find(exchange, route, policy, request, primary)
            now = site.clock.now()
            if stored is None:
                await bring_pieces(site.disk, site.memory, found, request)
        if stored is None and await parts.answered(exchange, route, policy, request, query, found):
            return
        if stored is None:
            done = await slicing.answered(exchange, route, policy, request, query, found)
            if done is slicing.Done.YES:
                return
            if done is slicing.Done.AGAIN:
                continue
        use = decide_use(request, stored, policy, now)
        entry = found.entry
        if use.decision is Decision.SERVE and entry is not None and stored is not None:
            await exchange.serve(request, EntrySource(entry, stored, exchange.site.clock), Outcome.HIT)
            return
        if use.decision is Decision.SERVE_STALE_SWR and entry is not None and stored is not None:
            site.board(route, found.key, partial(ask, exchange, request, query, found, stored))
            await exchange.serve(request, EntrySource(entry, stored), Outcome.STALE_SWR)
            return
        if use.decision is Decision.GATEWAY_TIMEOUT:
            exchange.say(504, detail="It is not stored here, and only a stored response was asked for.")
            return
        if use.reason == "request-no-store":
            await passing.forward(exchange, route, request, NoStoreReason.REQUEST_NO_STORE)
            return
        exchange.fwd = _forward_reason(found, stored, use.reason)
        if request.method == "HEAD" or (stored is None and _alone(exchange, policy, request, primary)):
            if await _alone_or_stored(exchange, route, policy, request, query, found, stored):
                return
            continue
        flight, leader = site.board(route, found.key, partial(ask, exchange, request, query, found, stored))
        if await follow(exchange, flight, leader, request, stored, found):
            return
    await passing.forward(exchange, route, request, NoStoreReason.PREDICTED_UNCACHEABLE)


def _find(
    exchange: Exchange, route: Route, policy: CachePolicy, request: RequestHead, primary: bytes
) -> tuple[Found, Stored | None]:
    """What is stored for this request; a record of an earlier epoch is decided again first."""
    site = exchange.site
    found = look_up(site.memory, primary, request)
    entry = found.entry
    if entry is None:
        return found, None
    stored: Stored | None
    try:
        stored = stored_of(entry)
    except MetaError:
        site.memory.remove(entry.key)
        found.entry = None
        return found, None
    if not site.purges.current(entry.stamp, entry.key):
        stored = decide_again(site, route, policy, request, found, entry, stored)
    if stored is not None and found.entry is not None:
        found.entry.touch(site.clock.now())
    return found, stored


def _equivalent(
    exchange: Exchange,
    route: Route,
    policy: CachePolicy,
    request: RequestHead,
    query: str | None,
    nothing: Found,
) -> tuple[Found, Stored | None]:
    """What is stored for another query that means the same, if it is usable as it is (No-Vary-Search)."""
    known = exchange.site.equivalents.find(request, query, nothing.primary)
    if known is None:
        return nothing, None
    found, stored = _find(exchange, route, policy, request, known.primary)
    if stored is None or not equivalent(known.query, query, variance(stored.fields)):
        return nothing, None
    if decide_use(request, stored, policy, exchange.site.clock.now()).decision is not Decision.SERVE:
        return nothing, None
    return found, stored


def _alone(exchange: Exchange, policy: CachePolicy, request: RequestHead, primary: bytes) -> bool:
    """Whether this miss should not wait for, or be waited for by, anybody."""
    by_itself = "range" in request.fields and not exchange.site.hindsight.without_ranges(primary)
    if by_itself or is_conditional(request) or exchange.site.hindsight.predicted_uncacheable(primary):
        return True
    return policy.request_directives != "none" and request_directives(request.fields).no_store


async def _alone_or_stored(
    exchange: Exchange,
    route: Route,
    policy: CachePolicy,
    request: RequestHead,
    query: str | None,
    found: Found,
    stored: Stored | None,
) -> bool:
    """A miss that is fetched for this client only; what turns out storable is stored all the same.

    False: somebody else's request has changed what is stored, look again.
    """
    site = exchange.site
    if "range" in request.fields and request.method == "GET":
        flight = site.flight(found.key)
        if flight is not None and site.joinable(flight) and await _join_range(exchange, flight, request):
            return True
        if stored is None:
            done = await slicing.opened(exchange, route, policy, request, query, found)
            if done is slicing.Done.NO:
                await parts.fetch_range(exchange, route, request, query, found)
            return done is not slicing.Done.AGAIN
    told = None
    if request.method == "HEAD" and stored is None:
        told = _listed(exchange, route, policy, request, found)
    await passing.fetch_alone(exchange, route, request, query, found, stored, told)
    return True


def _listed(
    exchange: Exchange, route: Route, policy: CachePolicy, request: RequestHead, found: Found
) -> tuple[Entry, Stored] | None:
    """What is known of a representation that is stored in parts or slices only."""
    held = parts.known(exchange, route, policy, request, found)
    if held is not None:
        return held.index, held.stored
    sliced = slicing.known(exchange, route, policy, request, found)
    return (sliced.shown, sliced.stored) if sliced is not None and isinstance(sliced.shown, Entry) else None


async def _join_range(exchange: Exchange, flight: Flight, request: RequestHead) -> bool:
    """A range that a flight has received already is read from it; one beyond does not wait (RFC 9110 §14)."""
    verdict = flight.verdict
    if not isinstance(verdict, Streaming) or not flight.streaming or verdict.fill.length is None:
        return False
    if key_extras(verdict.spec, request.fields) != verdict.extras:
        return False
    first = answer.first_position(request, verdict.stored, verdict.fill.length)
    if first is None or first >= verdict.fill.arrived:
        return False
    await exchange.read_along(flight, verdict, request, Outcome.COLLAPSED)
    return True


def _forward_reason(found: Found, stored: Stored | None, reason: str) -> str:
    """The `fwd` of RFC 9211 §2.2."""
    if stored is None:
        return "vary-miss" if found.specs else "uri-miss"
    return "request" if reason.startswith("request-") else "stale"
