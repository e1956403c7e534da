"""Partial content: answering from stored parts, completing them, and keeping a 206 as a part (RFC 9111 §3.3, §3.4).

    what is asked for is there     fresh: serve; stale: ask with the stored entity-tag, then serve
    a range, some of it is there   fetch what is missing with If-Range, serve both, keep the new part
    everything, some is there      a flight fetches what is missing, so that everybody gets the whole, which is stored
    anything else                  as if nothing were stored; a 206 that comes back is kept

A stretch with several gaps is fetched in one request, so that one validator speaks for all of it. Decides this order;
what a part is and which belong together is the rules' (`rules.partial`), how they lie in the store `stored_parts`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cdn.config.values import CachePolicy, Route
from cdn.proxy import interim, passing, stored_slices
from cdn.proxy import parts_keeping as keeping
from cdn.proxy import stored_parts as store
from cdn.proxy.drafts import draft
from cdn.proxy.following import board
from cdn.proxy.lookup import Found
from cdn.proxy.redeciding import decide_again
from cdn.proxy.splicing import Completion, PartsSource, completed, measured
from cdn.proxy.stored_parts import StoredParts
from cdn.rules import ranges
from cdn.rules.coding import alone
from cdn.rules.conditional import Verdict, evaluate
from cdn.rules.directives import request_directives
from cdn.rules.fields import entity_tag
from cdn.rules.message import Fields, RequestHead
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.partial import Part, completing_request, decide_part
from cdn.rules.storing import DontStore
from cdn.rules.use import Decision, decide_use, is_error
from cdn.rules.validation import (
    freshen,
    is_conditional,
    selects,
    updated_fields,
    validation_request,
)
from cdn.store import Draft
from cdn.tier import OriginError, OriginResponse

if TYPE_CHECKING:
    from cdn.proxy.exchange import Exchange
    from cdn.proxy.site import Site


def known(
    exchange: Exchange, route: Route, policy: CachePolicy, request: RequestHead, found: Found
) -> StoredParts | None:
    """The parts for this request, as today's rules judge them."""
    site = exchange.site
    held = store.find(site.memory, found, request)
    if held is None or site.purges.current(held.index.stamp, held.index.key):
        return held
    index = Found(found.primary, held.base, held.index)
    stored = decide_again(exchange.site, route, policy, request, index, held.index, held.stored)
    if stored is None or index.entry is None:
        for piece in held.pieces:
            site.memory.remove(store.part_key(found.primary, piece.token))
        return None
    part = Part(stored.with_body(held.length), held.part.spans, held.length)
    return replace(held, index=index.entry, part=part)


async def answered(
    exchange: Exchange,
    route: Route,
    policy: CachePolicy,
    request: RequestHead,
    query: str | None,
    found: Found,
) -> bool:
    """Answer with the help of stored parts. False: they are of no help, go on as if nothing were stored."""
    held = known(exchange, route, policy, request, found)
    if held is None or speaks_of_codings(route, request):
        return False
    return await answered_from(exchange, route, policy, request, query, found, held)


async def answered_from(
    exchange: Exchange,
    route: Route,
    policy: CachePolicy,
    request: RequestHead,
    query: str | None,
    found: Found,
    held: StoredParts,
) -> bool:
    """The same with the parts found already."""
    site = exchange.site
    now = site.clock.now()
    use = decide_use(request, held.stored, policy, now)
    selected = ranges.select(request, held.stored, held.length)
    there = held.part.complete and (
        isinstance(selected, list) or not keeping.negotiable(site, route, request, held)
    )
    if isinstance(selected, list):
        there = there or all(held.part.holds(first, last) for first, last in selected)
    if use.decision is Decision.SERVE and there:
        held.touch(now)
        await _serve_held(exchange, request, held, Outcome.HIT)
        return True
    if request.method == "HEAD" or must_not_fetch(request, policy, now):
        return False
    if use.decision not in (Decision.SERVE, Decision.SERVE_STALE_SWR, Decision.VALIDATE):
        return False
    held.touch(now)
    if there:
        if not held.stored.has_validator:
            return False  # nothing to ask with
        exchange.fwd = "request" if use.reason.startswith("request-") else "stale"
        return await _validated(exchange, route, policy, request, query, found, held)
    if (
        not held.part.joinable
        or is_conditional(request)
        or site.hindsight.predicted_uncacheable(found.primary)
    ):
        return False
    if isinstance(selected, list) and len(selected) == 1:
        gap = held.gap(*selected[0])
        if gap is None or gap == selected[0]:
            return False
        exchange.fwd = "partial"
        await _range_completed(exchange, route, request, query, found, held, gap)
        return True
    if "range" in request.fields:
        return False
    gap = held.gap(0, held.length - 1)
    if gap is None or gap == (0, held.length - 1):
        return False
    if held.length > min(site.config.limits.object, site.memory.largest):
        return False
    exchange.fwd = "partial"
    fields = completing_request(request, held.part, gap)
    asked = replace(
        keeping.asked_for(exchange, request, query, found), fields=fields, completion=Completion(held, gap)
    )
    return await board(exchange, route, request, found, asked)


def speaks_of_codings(route: Route, request: RequestHead) -> bool:
    """Where the route compresses, the client's copy may be a coded one, and its validators speak of that."""
    if not route.compress:
        return False
    return is_conditional(request) or alone(request.fields, route.compress) is not request.fields


def must_not_fetch(request: RequestHead, policy: CachePolicy, now: int) -> bool:
    if policy.request_directives != "none" and request_directives(request.fields).no_store:
        return True
    return decide_use(request, None, policy, now).decision is Decision.GATEWAY_TIMEOUT


async def fetch_range(
    exchange: Exchange, route: Route, request: RequestHead, query: str | None, found: Found
) -> None:
    """A range of which nothing is there: the client's own request goes on; what comes back is kept if it may be."""
    fields = alone(request.fields, route.compress)
    answer = await _fetch(exchange, route, request, query, found, fields)
    await _taken(exchange, route, request, query, found, answer)


# --- asking the origin ---


async def _fetch(
    exchange: Exchange, route: Route, request: RequestHead, query: str | None, found: Found, fields: Fields
) -> keeping.Answer:
    site, stream = exchange.site, exchange.stream
    since = site.departure(found.primary)
    request_time = site.clock.now()
    response = await site.fetch(
        route,
        request,
        fields,
        query,
        peer=stream.address,
        trusted=exchange.trusted,
        on_interim=lambda status, fields: interim.send(stream, status, fields),
    )
    exchange.entry.origin = response.server
    exchange.entry.origin_first_byte_us = int(response.first_byte_ms * 1000)
    return keeping.Answer(response, since, request_time, site.clock.now())


async def _taken(
    exchange: Exchange,
    route: Route,
    request: RequestHead,
    query: str | None,
    found: Found,
    answer: keeping.Answer,
) -> None:
    """The response is the client's answer: a 206 becomes a part where it may, anything else is a miss like any."""
    response = answer.response
    if response.head.status != 206:
        await passing.store_along(
            exchange,
            route,
            request,
            query,
            found,
            answer.since,
            response,
            answer.request_time,
            answer.response_time,
        )
        return
    made = decide_part(
        request,
        response.head,
        route.cache,
        request_time=answer.request_time,
        response_time=answer.response_time,
    )
    reason = NoStoreReason.PARTIAL
    if isinstance(made, DontStore):
        reason = made.reason
    elif _is_the_answer(request, made, measured(response)):
        answer.response = measured(response)
        if await keeping.keep(exchange, route, request, found, answer, made, None):
            return
        reason = NoStoreReason.NO_SPACE
    answer.since.abort("not-stored")
    await passing.relay(exchange, response, response.head, request, Outcome.MISS, reason)


def _is_the_answer(request: RequestHead, made: Part, response: OriginResponse) -> bool:
    """Whether the origin has sent the very bytes that we would choose, and its framing says so, too."""
    ((first, last),) = made.spans
    if made.length is None or response.length != last - first + 1:
        return False
    if evaluate(request, made.stored) is not Verdict.PROCEED:
        return False
    return ranges.select(request, made.stored, made.length) == [(first, last)]


# --- what is there is stale ---


async def _validated(
    exchange: Exchange,
    route: Route,
    policy: CachePolicy,
    request: RequestHead,
    query: str | None,
    found: Found,
    held: StoredParts,
) -> bool:
    """Ask whether the parts still hold; if not, the client's range of what has taken their place (RFC 9111 §4.3)."""
    site = exchange.site
    own = [line for line in request.fields if line[0].lower() in ("range", "if-range")]
    fields = validation_request(request, held.stored).without(("if-range",)).plus(own)
    answer: keeping.Answer | None = None
    failure: OriginError | None = None
    try:
        answer = await _fetch(exchange, route, request, query, found, fields)
    except OriginError as error:
        failure = error
    if answer is None or is_error(answer.response.head.status):
        use = decide_use(request, held.stored, policy, site.clock.now(), origin_failed=True)
        if use.decision in (Decision.SERVE, Decision.SERVE_STALE_SIE):
            if answer is not None:
                answer.drop()
            await _serve_held(exchange, request, held, Outcome.STALE_SIE)
            return True
    if answer is None:
        assert failure is not None
        raise failure
    if answer.response.head.status != 304:
        _drop_if_changed(site, found, held, answer.response)
        await _taken(exchange, route, request, query, found, answer)
        return True
    renewed = _renewed(exchange, route, request, found, held, answer)
    answer.drop()
    if renewed is None:
        return False
    source = PartsSource(renewed[0], renewed[1].stored, held.length, held.base, renewed[1])
    await exchange.serve(request, source, Outcome.REVALIDATED)
    return True


def _renewed(
    exchange: Exchange,
    route: Route,
    request: RequestHead,
    found: Found,
    held: StoredParts,
    answer: keeping.Answer,
) -> tuple[Draft, StoredParts] | None:
    """The parts as a 304 leaves them; None when it speaks of something else."""
    site, head = exchange.site, answer.response.head
    if not selects(held.stored, head, answer.response_time // 1000):
        return None
    stored = freshen(
        held.stored,
        request,
        head,
        route.cache,
        request_time=answer.request_time,
        response_time=answer.response_time,
    )
    edits, old_origin = route.headers.response, head.version < (1, 1)
    if isinstance(stored, DontStore):
        exchange.entry.no_store = stored.reason.value
        _drop(site, found, held)
        shown = replace(held.stored, fields=updated_fields(held.stored, head, answer.response_time))
        return draft(shown, edits, old_origin=old_origin), replace(
            held, part=replace(held.part, stored=shown)
        )
    record = draft(stored, edits, answer.since.stamp, old_origin=old_origin)
    if answer.since.purged:
        exchange.entry.no_store = NoStoreReason.PURGED.value
    else:
        site.memory.republish(held.index, record)
    return record, replace(held, part=replace(held.part, stored=stored.with_body(held.length)))


def _drop_if_changed(site: Site, found: Found, held: StoredParts, response: OriginResponse) -> None:
    """A response that shows another representation ends the use of the old one's parts, storable or not."""
    head = response.head
    same = held.part.joinable and entity_tag(head.fields) == held.stored.etag
    if head.status in (200, 206) and not same:
        _drop(site, found, held)


def _drop(site: Site, found: Found, held: StoredParts) -> None:
    store.drop(site.memory, found.primary, held.base)
    stored_slices.drop(site.memory, held.base)


# --- some of it is missing ---


async def _range_completed(
    exchange: Exchange,
    route: Route,
    request: RequestHead,
    query: str | None,
    found: Found,
    held: StoredParts,
    gap: ranges.Range,
) -> None:
    """A range whose missing bytes are fetched, provided they are of the same representation (RFC 9111 §3.4)."""
    fields = completing_request(request, held.part, gap)
    answer = await _fetch(exchange, route, request, query, found, fields)
    response = answer.response
    _drop_if_changed(exchange.site, found, held, response)
    if response.head.status not in (206, 416):
        await _taken(exchange, route, request, query, found, answer)
        return
    answer.response = measured(response)
    made = completed(
        held, gap, request, answer.response, route.cache, answer.request_time, answer.response_time
    )
    if made is not None and await keeping.keep(exchange, route, request, found, answer, made, held):
        return
    answer.drop()
    await fetch_range(exchange, route, request, query, found)


async def _serve_held(exchange: Exchange, request: RequestHead, held: StoredParts, outcome: Outcome) -> None:
    source = PartsSource(held.index, held.stored, held.length, held.base, held)
    await exchange.serve(request, source, outcome)
