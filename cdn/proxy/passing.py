"""Requests that go to the origin for one client: passed by configuration or method, and misses nobody should wait for.

Decides the order of streaming both ways and what happens around it (interim responses, invalidation after an unsafe
method). What comes back is stored only where `fetch_alone` finds that it may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cdn._core import format_http_date
from cdn.config.values import CachePolicy, Route
from cdn.proxy import coding, interim
from cdn.proxy._front import ClientStream
from cdn.proxy.asking import ask
from cdn.proxy.content import Held, fetch
from cdn.proxy.drafts import BODILESS, draft
from cdn.proxy.flight import Flight
from cdn.proxy.lookup import Found, keyed_target, primary_key
from cdn.proxy.purging import drop, equivalent_keys, key_of
from cdn.proxy.splicing import received
from cdn.proxy.verdicts import NotStored, Streaming
from cdn.rules.cache_status import member
from cdn.rules.coding import alone, not_modified
from cdn.rules.fields import end_to_end
from cdn.rules.forwarding import edit
from cdn.rules.invalidation import targets
from cdn.rules.message import RequestHead, ResponseHead
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.stored import Stored, status_line
from cdn.rules.storing import DontStore, decide_store
from cdn.rules.tags import invalidated_tags
from cdn.rules.use import Decision, decide_use, is_error, is_unsafe
from cdn.rules.validation import HeadUpdate, freshen, head_update
from cdn.store import Entry, Fill, JournalBusyError
from cdn.tier import Attempt, Kind, OriginError, OriginResponse

if TYPE_CHECKING:
    from cdn.proxy.exchange import Exchange
    from cdn.proxy.site import Site


async def forward(exchange: Exchange, route: Route, request: RequestHead, reason: NoStoreReason) -> None:
    """Pass the request, body and all; store nothing."""
    site = exchange.site
    if reason is NoStoreReason.PREDICTED_UNCACHEABLE and request.method not in ("GET", "HEAD"):
        reason = NoStoreReason.METHOD
    given = exchange.taken(route)
    if given is not None:
        await relay(exchange, given.response, given.response.head, request, Outcome.PASS, reason)
        return
    response = await _ask(exchange, route, request, exchange.content, exchange.attempted())
    if is_unsafe(request.method):
        await invalidate(site, request, response)
    await relay(exchange, response, response.head, request, Outcome.PASS, reason)


async def post(exchange: Exchange, route: Route, policy: CachePolicy, request: RequestHead) -> None:
    """Pass a POST. A response that says it is the target's own, and for how long, answers later GETs.

    RFC 9110 §9.3.3.
    """
    site = exchange.site
    query = keyed_target(request, exchange.table.query_filter(route.index))
    primary = primary_key(request, query, policy)
    request = coding.asked(route, request)
    request_time = site.clock.now()
    response = await _ask(exchange, route, request)
    await invalidate(site, request, response)
    since = site.departure(primary)  # behind the purge that this very response asked for
    response_time = site.clock.now()
    decision = decide_store(
        request, response.head, policy, request_time=request_time, response_time=response_time
    )
    if isinstance(decision, DontStore) or query != request.query:
        await relay(exchange, response, response.head, request, Outcome.PASS, NoStoreReason.METHOD)
        return
    found = Found(primary, primary, None)
    await store_along(exchange, route, request, query, found, since, response, request_time, response_time)


async def invalidate(site: Site, request: RequestHead, response: OriginResponse) -> None:
    """What an answer to an unsafe request makes unusable: by URL (RFC 9111 §4.4), by group (RFC 9875 §3).

    In force everywhere, and durable where the disk takes it, before that answer is sent.
    """
    head = response.head
    urls = targets(request, head)
    keys = {key_of(site.table, url) for url in urls} | equivalent_keys(site, urls)
    try:
        site.purges.invalidate(request, keys, invalidated_tags(request, head), site.clock.now())
    except JournalBusyError as error:
        site.report("purge-log", f"an unsafe request has invalidated nothing: {error.strerror or error}")
    drop(site, keys, False)
    if site.disk is not None and keys:
        try:
            await site.disk.note()
        except BaseException:
            response.abort()
            raise


async def _ask(
    exchange: Exchange,
    route: Route,
    request: RequestHead,
    held: Held | None = None,
    attempt: Attempt | None = None,
) -> OriginResponse:
    """Send the client's request on, with its body, of which `held` has been read already. OriginError."""
    site, stream = exchange.site, exchange.stream
    asking = site.fetch(
        route,
        request,
        request.fields,
        request.query,
        peer=stream.address,
        trusted=exchange.trusted,
        body=_content(stream, held),
        body_length=stream.body_length,
        on_interim=lambda status, fields: interim.send(stream, status, fields),
        attempt=attempt,
    )
    return await _counted(site, route, asking)


async def _counted(site: Site, route: Route, asking: Coroutine[Any, Any, OriginResponse]) -> OriginResponse:
    """What is asked for this client alone, with its failure counted, as a flight counts its own."""
    try:
        return await asking
    except OriginError:
        site.counters.origin(route.origin)["errors"] += 1
        raise


def _content(stream: ClientStream, held: Held | None = None) -> AsyncIterator[bytes] | bytes | None:
    """The request's body: at once where all of it is here, else as it comes; None where there is none."""
    if not stream.has_body:
        return None
    whole = stream.whole() if held is None else None
    return _body(stream, held) if whole is None else whole


async def _body(stream: ClientStream, held: Held | None = None) -> AsyncIterator[bytes]:
    if held is not None and held.data:
        yield held.data
    while True:
        data = await stream.read()
        if not data:
            return
        yield data


async def relay(
    exchange: Exchange,
    response: OriginResponse,
    head: ResponseHead,
    request: RequestHead,
    outcome: Outcome,
    reason: NoStoreReason | None,
) -> None:
    """Stream an origin's response to the one client. A response that breaks off cuts the client."""
    site, stream, entry = exchange.site, exchange.stream, exchange.entry
    assert exchange.route is not None
    count = site.counters.origin(exchange.route.origin)
    entry.outcome = outcome.value
    entry.no_store = reason.value if reason else None
    entry.origin = response.server
    entry.origin_first_byte_us = int(response.first_byte_ms * 1000)
    try:
        entry.status = head.status
        stream.start(
            _head(exchange, head, outcome, reason), head.status, _length(response, head, request.method)
        )
        while True:
            data = await response.read()
            if not data:
                break
            count["bytes"] += received(response, data)
            stream.write(data)
            await stream.drain()
    except OriginError as error:
        if not stream.started:
            raise
        count["errors"] += 1
        site.report("origin", str(error))
        stream.cut()
        return
    finally:
        response.abort()
    if response.delimited_by_close:
        stream.no_keep_alive()
    stream.finish()


def _length(response: OriginResponse, head: ResponseHead, method: str) -> int | None:
    """The body length to declare; for HEAD and 304 what the origin declared of the body it did not send."""
    if method == "HEAD" or head.status == 304:
        return told_length(head)
    if head.status in BODILESS:
        return -1
    return response.length


def told_length(head: ResponseHead) -> int:
    """The length that an answer to HEAD repeats; -1: none."""
    declared = head.fields.all("content-length")
    return int(declared[0]) if len(declared) == 1 and declared[0].isdigit() and head.status != 304 else -1


def shown(head: ResponseHead, route: Route, now: int) -> bytes:
    """Status line and fields of a response that only its client gets, without its length and our own fields."""
    fields = edit(end_to_end(head.fields).without(("content-length",)), route.headers.response)
    if "date" not in fields:
        fields = fields.plus([("Date", format_http_date(now // 1000))])
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return status_line(head.status, head.reason) + lines.encode("latin-1")


def _head(exchange: Exchange, head: ResponseHead, outcome: Outcome, reason: NoStoreReason | None) -> bytes:
    site, route = exchange.site, exchange.route
    assert route is not None
    fwd = exchange.fwd
    if outcome is Outcome.PASS:
        fwd = "method" if reason is NoStoreReason.METHOD else "bypass"
        if reason is NoStoreReason.PREDICTED_UNCACHEABLE:
            fwd = "uri-miss"
        elif reason is NoStoreReason.REQUEST_NO_STORE:
            fwd = "request"
    text = member(
        site.name,
        outcome,
        fwd=fwd,
        fwd_status=head.status if outcome is Outcome.MISS else None,
        detail=reason.value if reason else None,
    )
    via = f"{head.version[0]}.{head.version[1]} {site.name}"
    ours = f"Via: {via}\r\nCache-Status: {text}\r\n".encode("latin-1")
    return shown(head, route, site.clock.now()) + ours


async def fetch_alone(
    exchange: Exchange,
    route: Route,
    request: RequestHead,
    query: str | None,
    found: Found,
    stored: Stored | None,
    parts: tuple[Entry, Stored] | None = None,
) -> None:
    """A miss (or a HEAD) that nobody waits for. The client's own conditions go to the origin.

    A whole response that may be stored is stored: an uncacheable URL has changed. `parts`: the index of stored parts,
    which an answer to HEAD renews or shows to be out of date.
    """
    site, stream = exchange.site, exchange.stream
    since = site.departure(found.key)
    request_time = site.clock.now()
    failure: OriginError | None = None
    response: OriginResponse | None = None
    try:
        response = await _counted(
            site,
            route,
            fetch(
                site,
                exchange.content,
                route,
                request,
                alone(request.fields, route.compress),
                query,
                peer=stream.address,
                trusted=exchange.trusted,
                on_interim=lambda status, fields: interim.send(stream, status, fields),
                attempt=exchange.attempted(),
            ),
        )
    except OriginError as error:
        failure = error
    if (
        stored is not None
        and found.entry is not None
        and (response is None or is_error(response.head.status))
    ):
        assert route.cache is not None
        use = decide_use(request, stored, route.cache, site.clock.now(), origin_failed=True)
        if use.decision in (Decision.SERVE, Decision.SERVE_STALE_SIE):
            if response is not None:
                response.abort()
            await exchange.serve_entry(request, found.entry, stored, Outcome.STALE_SIE)
            return
    if response is None:
        assert failure is not None
        raise failure
    response_time = site.clock.now()
    if request.method == "HEAD":
        told = (found.entry, stored) if stored is not None and found.entry is not None else parts
        await answer_head(exchange, route, request, response, told, request_time, response_time)
        return
    await store_along(exchange, route, request, query, found, since, response, request_time, response_time)


async def answer_head(
    exchange: Exchange,
    route: Route,
    request: RequestHead,
    response: OriginResponse,
    told: tuple[Entry, Stored] | None,
    request_time: int,
    response_time: int,
) -> None:
    """Answer a HEAD as the origin did; `told` is the stored response that it tells something about."""
    if told is not None:
        _update_from_head(exchange, route, request, told, response.head, request_time, response_time)
    head = coding.described(route, request, response.head, request_time, response_time)
    await relay(exchange, response, head, request, Outcome.MISS, NoStoreReason.METHOD)


async def store_along(
    exchange: Exchange,
    route: Route,
    request: RequestHead,
    query: str | None,
    found: Found,
    since: Fill,
    response: OriginResponse,
    request_time: int,
    response_time: int,
) -> None:
    """Answer from a response that is there, through the store where it may be stored and nobody fills its key."""
    site = exchange.site
    # Of the epoch its request left in: a purge or a reload since then counts.
    fill, won = site.begin_with(found.key, since)
    since.abort("answered")
    if not won:
        reason = NoStoreReason.PREDICTED_UNCACHEABLE
        await relay(exchange, response, response.head, request, Outcome.MISS, reason)
        return
    asked = replace(ask(exchange, request, query, found, None), candidates=[], fields=request.fields)
    flight = Flight(site, route, fill, asked)
    flight.leader = True
    flight.server = response.server
    flight.first_byte_us = int(response.first_byte_ms * 1000)
    site.flights[found.key] = flight
    site.spawn(site.fly_on(flight, response, request_time, response_time))
    try:
        await flight.decided.wait()
    except asyncio.CancelledError:
        flight.leader = False
        flight.drop()
        raise
    exchange.entry.origin = flight.server
    exchange.entry.origin_first_byte_us = flight.first_byte_us
    verdict = flight.verdict
    if isinstance(verdict, Streaming):
        site.hindsight.storable_after_all(found.primary)
        await exchange.read_along(flight, verdict, request, Outcome.MISS)
        return
    if isinstance(verdict, NotStored):
        head = not_modified(request, response.head, route.compress)
        await relay(exchange, response, head, request, Outcome.MISS, verdict.reason)
        return
    raise OriginError(Kind.RESET, "the fill broke off before it began", server=response.server)


def _update_from_head(
    exchange: Exchange,
    route: Route,
    request: RequestHead,
    told: tuple[Entry, Stored],
    head: ResponseHead,
    request_time: int,
    response_time: int,
) -> None:
    """RFC 9111 §4.3.5: a response to HEAD renews the stored GET response, or shows that it is out of date."""
    site, (entry, stored) = exchange.site, told
    update = head_update(stored, head, response_time // 1000)
    if update is HeadUpdate.INVALIDATE:
        site.memory.soft_purge(entry.key, response_time)
    elif update is HeadUpdate.FRESHEN:
        renewed = freshen(
            stored, request, head, route.cache, request_time=request_time, response_time=response_time
        )
        if isinstance(renewed, Stored):
            site.memory.republish(
                entry,
                draft(renewed, route.headers.response, entry.stamp, old_origin=head.version < (1, 1)),
            )
        else:
            site.memory.soft_purge(entry.key, response_time)  # by its new fields it may not be kept
