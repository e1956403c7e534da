"""Waiting for a flight, and what its verdict means for one exchange.

    again: look again | streaming: read along | validated: served renewed
    not stored: the leader takes it, the others go on their own
    broken: a stale response where the rules allow it, else what the origin said, else an error

Decides by the verdict alone; what may be stored or served is the rules'. Must not know how a flight asks its origin.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cdn.config.values import Route
from cdn.proxy import passing
from cdn.proxy.flight import Flight
from cdn.proxy.lookup import Found
from cdn.proxy.source import EntrySource
from cdn.proxy.verdicts import OF_THE_REQUEST, Again, Asked, Broken, NotStored, Streaming, Validated
from cdn.rules.message import RequestHead
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.stored import Stored
from cdn.rules.use import Decision, decide_use
from cdn.rules.vary import key_extras
from cdn.store import FillState

if TYPE_CHECKING:
    from cdn.proxy.exchange import Exchange


async def board(exchange: Exchange, route: Route, request: RequestHead, found: Found, asked: Asked) -> bool:
    """Board the flight for this key, sent out with `asked` if it is a new one. False: it was not for us."""
    flight, leader = exchange.site.board(route, found.key, lambda: asked)
    return await follow(exchange, flight, leader, request, None, found)


async def follow(
    exchange: Exchange,
    flight: Flight,
    leader: bool,
    request: RequestHead,
    stored: Stored | None,
    found: Found,
) -> bool:
    """Wait for the flight's verdict and answer by it. False: it was not for us, look again."""
    with aboard(flight, leader):
        return await _land(exchange, flight, leader, request, stored, found)


@contextlib.contextmanager
def aboard(flight: Flight, leader: bool) -> Iterator[None]:
    """One more waits for this flight, or reads what it brings; it is sent on while there is anybody."""
    if leader:
        flight.leader = True
    flight.boarded += 1
    try:
        yield
    finally:
        flight.boarded -= 1


async def decided(exchange: Exchange, flight: Flight, leader: bool) -> None:
    """Wait for the verdict, interim responses going on to the client meanwhile. Who joins what arrives does so before
    anything else happens."""
    try:
        with flight.interims.passed_to(exchange.stream, leader):
            await flight.decided.wait()
    except asyncio.CancelledError:
        if leader:
            flight.leader = False
            flight.drop()
        raise
    exchange.entry.origin = flight.server
    exchange.entry.origin_first_byte_us = flight.first_byte_us


async def _land(
    exchange: Exchange,
    flight: Flight,
    leader: bool,
    request: RequestHead,
    stored: Stored | None,
    found: Found,
) -> bool:
    site = exchange.site
    await decided(exchange, flight, leader)
    verdict = flight.verdict
    if isinstance(verdict, Again):
        if verdict.uncacheable and exchange.route is not None:
            await passing.forward(exchange, exchange.route, request, NoStoreReason.PREDICTED_UNCACHEABLE)
            return True
        return False
    if isinstance(verdict, Streaming):
        if verdict.fill.released or (verdict.fill.remote and verdict.fill.state is FillState.ABORTED):
            return False
        if not leader and key_extras(verdict.spec, request.fields) != verdict.extras:
            return False
        await exchange.read_along(flight, verdict, request, Outcome.MISS if leader else Outcome.COLLAPSED)
        return True
    if isinstance(verdict, Validated):
        if not leader and key_extras(verdict.stored.vary, request.fields) != key_extras(
            verdict.stored.vary, flight.asked.request.fields
        ):
            return False
        exchange.entry.no_store = verdict.reason.value if verdict.reason else None
        await exchange.serve(request, EntrySource(verdict.entry, verdict.stored), Outcome.REVALIDATED)
        return True
    if isinstance(verdict, NotStored):
        if not leader:
            return await _released(exchange, request, verdict)
        assert verdict.response is not None
        await passing.relay(exchange, verdict.response, verdict.head, request, Outcome.MISS, verdict.reason)
        return True
    assert isinstance(verdict, Broken)
    entry = found.entry
    if (
        stored is not None
        and entry is not None
        and exchange.route is not None
        and exchange.route.cache is not None
    ):
        use = decide_use(request, stored, exchange.route.cache, site.clock.now(), origin_failed=True)
        if use.decision in (Decision.SERVE, Decision.SERVE_STALE_SIE):
            if leader:
                flight.leader = False
                flight.drop()
            await exchange.serve(request, EntrySource(entry, stored), Outcome.STALE_SIE)
            return True
    if verdict.answer is not None:
        if isinstance(verdict.answer, Streaming):
            if verdict.answer.fill.released:
                return False
            await exchange.read_along(
                flight, verdict.answer, request, Outcome.MISS if leader else Outcome.COLLAPSED
            )
            return True
        if not leader:
            return await _released(exchange, request, verdict.answer)
        assert verdict.answer.response is not None
        await passing.relay(
            exchange,
            verdict.answer.response,
            verdict.answer.head,
            request,
            Outcome.MISS,
            verdict.answer.reason,
        )
        return True
    if verdict.error is not None:
        exchange.origin_failed(verdict.error)
    else:
        exchange.say(502)
    return True


async def _released(exchange: Exchange, request: RequestHead, verdict: NotStored) -> bool:
    assert exchange.route is not None
    if verdict.reason in OF_THE_REQUEST:
        return False
    await passing.forward(exchange, exchange.route, request, NoStoreReason.PREDICTED_UNCACHEABLE)
    return True
